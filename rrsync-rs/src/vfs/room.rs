//! How much more may be brought into a workspace: its quota, and the free space that must be left on the disk.

use std::cell::Cell;
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use nix::sys::statvfs::fstatvfs;

use super::Fault;
use super::walk::walk;
use crate::grant::{FileRules, Quota};
use crate::ledger::{Ledger, Taken, Usage};

/// How much may be written before the file system is asked again: others write too.
const STEP: u64 = 16 << 20;

/// How much a session takes from the count ahead of what it writes. So much a session can be over its quota, when the
/// files are counted while it writes.
const AHEAD: u64 = 1 << 20;

/// Files with several names that a count remembers; more are counted once for each name.
const MOST_LINKED: usize = 100_000;

/// Watches over what is brought into one workspace.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes that must stay free on the file system; 0 for no such rule.
    least_free: u64,
    /// Bytes that may be written before the next look at it.
    until_next_look: Cell<u64>,
    meter: Option<Meter>,
}

/// A quota, and what this session has taken and not used yet.
#[derive(Debug)]
struct Meter {
    ledger: Option<Ledger>,
    quota: Quota,
    ahead: Cell<u64>,
    counted: Cell<u64>,
}

impl Room {
    pub(super) fn new(rules: &FileRules, ledger: Option<Ledger>) -> Self {
        let limited = rules.quota != Quota::default();
        Self {
            least_free: rules.min_free.unwrap_or(0),
            until_next_look: Cell::new(0),
            meter: limited.then(|| Meter {
                ledger,
                quota: rules.quota,
                ahead: Cell::default(),
                counted: Cell::default(),
            }),
        }
    }

    /// Whether what is written must be found by a count that is made meanwhile.
    pub(super) fn counts(&self) -> bool {
        self.meter.is_some()
    }

    /// Allows to write `bytes` on the file system of `fd`, or fails as a full disk does.
    pub(super) fn write(&self, fd: impl AsFd, bytes: u64) -> Result<(), Fault> {
        if self.least_free == 0 {
            return Ok(());
        }
        if self.until_next_look.get() < bytes {
            let found = fstatvfs(fd)?;
            let free = found.blocks_available().saturating_mul(found.fragment_size());
            let over = free.saturating_sub(self.least_free);
            if over < bytes {
                return Err(Errno::ENOSPC.into());
            }
            self.until_next_look.set(over.min(STEP.max(bytes)));
        }
        self.until_next_look.set(self.until_next_look.get() - bytes);
        Ok(())
    }

    /// Allows the workspace to grow by `more`; `count` looks at every file.
    pub(super) fn grow(&self, more: Usage, count: impl Fn() -> Result<Usage, Errno>) -> Result<(), Fault> {
        let Some(meter) = &self.meter else { return Ok(()) };
        let ahead = meter.ahead.get();
        if more.files == 0 && more.bytes <= ahead {
            meter.ahead.set(ahead - more.bytes);
            return Ok(());
        }
        let need = Usage { bytes: more.bytes.saturating_sub(ahead), files: more.files };
        // Without a count nothing is known to fit.
        let ledger = meter.ledger.as_ref().ok_or(Errno::EDQUOT)?;
        let taken = ledger.take(need, if need.bytes > 0 { AHEAD } else { 0 }, meter.quota, count)?;
        if need.bytes > 0 {
            // What was ahead before is used up, so all that is ahead now comes from this count.
            meter.counted.set(taken.counted);
        }
        meter.ahead.set((ahead + taken.bytes).saturating_sub(more.bytes));
        Ok(())
    }

    /// The workspace has become smaller by `less`.
    pub(super) fn shrink(&self, less: Usage) {
        if less != Usage::default()
            && let Some(ledger) = self.meter.as_ref().and_then(|meter| meter.ledger.as_ref())
        {
            // A count that stays too high is corrected before anything is refused.
            let _ = ledger.give(less);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(ledger) = &self.ledger
            && self.ahead.get() > 0
        {
            let _ = ledger.give_back(Taken { bytes: self.ahead.get(), counted: self.counted.get() });
        }
    }
}

/// What lies below `dirs`, which are open for reading; a directory itself is not counted.
pub(super) fn count(dirs: impl Iterator<Item = Result<OwnedFd, Errno>>) -> Result<Usage, Errno> {
    let mut usage = Usage::default();
    let mut linked = HashSet::new();
    for dir in dirs {
        walk(dir?, &mut |step| {
            let Some(stat) = step.stat() else { return Ok(()) };
            if step.kind == SFlag::S_IFREG && stat.st_nlink > 1 {
                let seen = (stat.st_dev, stat.st_ino);
                if linked.len() < MOST_LINKED && !linked.insert(seen) {
                    return Ok::<(), Errno>(());
                }
            }
            usage.files += 1;
            if step.kind == SFlag::S_IFREG {
                usage.bytes = usage.bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
            }
            Ok(())
        })?;
    }
    Ok(usage)
}
