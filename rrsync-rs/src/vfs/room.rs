//! How much more may be brought into a workspace: its quota, and the free space that must be left on the disk.

use std::cell::Cell;
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use rustix::fs::StatVfs;

use super::Fault;
use super::walk::walk;
use crate::grant::{FileRules, Quota};
use crate::ledger::{Hold, Ledger, Usage};

/// How much may be written before the file system is asked again: others write too.
const STEP: u64 = 16 << 20;

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

/// A quota, and the count for it.
#[derive(Debug)]
struct Meter {
    ledger: Option<Ledger>,
    quota: Quota,
}

impl Room {
    pub(super) fn new(rules: &FileRules, ledger: Option<Ledger>) -> Self {
        let limited = rules.quota != Quota::default();
        Self {
            least_free: rules.min_free.unwrap_or(0),
            until_next_look: Cell::new(0),
            meter: limited.then(|| Meter { ledger, quota: rules.quota }),
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
            let over = free(fd)?.saturating_sub(self.least_free);
            if over < bytes {
                return Err(Errno::ENOSPC.into());
            }
            self.until_next_look.set(over.min(STEP.max(bytes)));
        }
        self.until_next_look.set(self.until_next_look.get() - bytes);
        Ok(())
    }

    /// Keeps other sessions from changing how much there is, until what is returned is dropped.
    pub(super) fn hold(&self) -> Result<Option<Hold<'_>>, Fault> {
        let ledger = self.meter.as_ref().and_then(|meter| meter.ledger.as_ref());
        Ok(ledger.map(Ledger::hold).transpose()?)
    }

    /// Allows to keep `bytes` on the file system of `fd`, beside what has them now.
    pub(super) fn keep(&self, fd: impl AsFd, bytes: u64) -> Result<(), Fault> {
        if self.least_free > 0 && free(fd)?.saturating_sub(self.least_free) < bytes {
            return Err(Errno::ENOSPC.into());
        }
        Ok(())
    }

    /// Allows the workspace to grow by `more`; `count` looks at every file.
    pub(super) fn grow(&self, more: Usage, count: impl Fn() -> Result<Usage, Errno>) -> Result<(), Fault> {
        let Some(meter) = self.meter.as_ref().filter(|_| more != Usage::default()) else { return Ok(()) };
        // Without a count nothing is known to fit.
        let ledger = meter.ledger.as_ref().ok_or(Errno::EDQUOT)?;
        Ok(ledger.take(more, meter.quota, count)?)
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

/// Bytes that are free on the file system of `fd`.
pub(super) fn free(fd: impl AsFd) -> Result<u64, Errno> {
    let disk = disk(fd)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The file system of `fd`. (Under musl, nix has half of its id.)
pub(super) fn disk(fd: impl AsFd) -> Result<StatVfs, Errno> {
    rustix::fs::fstatvfs(fd).map_err(|error| Errno::from_raw(error.raw_os_error()))
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
