//! What a path loses is kept first: the workspace's version store.
//!
//! Keeping takes a while, and others may be as fast as this session. So a name never loses anything directly: what is to
//! go is moved aside by one step that cannot fail half-way, and only when it is certain that this is what was kept, it
//! is removed.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, renameat};
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::attributes::size_of;
use super::hidden;
use super::links;
use super::place::{Spot, hold_in, open_in};
use super::{Fault, Mount};
use crate::beneath::{Held, is_same, kind};
use crate::rename::{RenameFlags, renameat2};
use crate::versions::{Loss, Reason, StoreError};

impl Mount {
    /// Keeps what `held` has, if this workspace keeps anything.
    fn keep(&self, held: &Held, reason: Reason) -> Result<(), Fault> {
        self.keep_found(held, reason, || self.reopen_same(held, OFlag::O_RDONLY))
    }

    fn keep_found(
        &self,
        held: &Held,
        reason: Reason,
        open: impl FnOnce() -> Result<OwnedFd, Fault>,
    ) -> Result<(), Fault> {
        let store = self.store.as_ref().ok_or(Fault::NotKept(Errno::ENOENT))?;
        let loss = Loss { path: &held.at, reason, origin: self.origin.as_deref() };
        let kept = match kind(&held.stat) {
            SFlag::S_IFREG => {
                let file = open().map_err(|fault| match fault {
                    // It is another by now, or gone.
                    Fault::Os(Errno::EAGAIN | Errno::ENOENT) => fault,
                    fault => as_not_kept(fault),
                })?;
                self.room.keep(store.directories()[0].0, size_of(&file)?).map_err(as_not_kept)?;
                store.keep(&file, &loss)
            }
            SFlag::S_IFLNK => store.keep_link(links::text_of(held)?.as_ref(), &loss),
            // A directory is empty when it goes, and nothing else has content.
            _ => return Ok(()),
        };
        kept.map(drop).map_err(not_kept)
    }

    /// Opens what is held, and nothing that has taken its place.
    pub(super) fn reopen_same(&self, held: &Held, flags: OFlag) -> Result<OwnedFd, Fault> {
        let fd = self.reopen(&held.at, flags)?;
        if is_same(&fstat(&fd)?, &held.stat) { Ok(fd) } else { Err(Errno::EAGAIN.into()) }
    }

    /// Removes the name of `spot`, which was found to be `held`.
    pub(super) fn remove_kept(&self, spot: &Spot, held: &Held) -> Result<(), Fault> {
        if !self.rules.files.versions || held.is_dir() {
            let what = if held.is_dir() { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
            return self.losing((&spot.dir, &spot.name), held, || {
                Ok(unlinkat(&spot.dir, spot.name.as_os_str(), what)?)
            });
        }
        self.keep(held, Reason::Removed)?;
        self.take_away(spot, held, Reason::Removed)
    }

    /// Gives what is under `name` in `dir` the name of `target`, whose present content `victim` goes. Where others see that
    /// name too, it is that of `seen`.
    pub(super) fn replace_kept(
        &self,
        (dir, name, seen): (&OwnedFd, &OsStr, Option<&Spot>),
        target: &Spot,
        victim: &Held,
    ) -> Result<(), Fault> {
        let (to, to_name) = (&target.dir, target.name.as_os_str());
        let replace = || self.losing((to, to_name), victim, || Ok(renameat(dir, name, to, to_name)?));
        if !self.rules.files.versions || victim.is_dir() {
            return replace();
        }
        self.keep(victim, Reason::Overwritten)?;
        let exchange = RenameFlags::EXCHANGE;
        match renameat2(dir, name, to, to_name, exchange) {
            // The file system has no such step.
            Err(Errno::EINVAL) => replace(),
            exchanged => {
                exchanged?;
                let removed = match seen {
                    Some(spot) => self.take_away(spot, victim, Reason::Overwritten),
                    None => self.remove_aside((dir, name), victim, Reason::Overwritten),
                };
                removed.inspect_err(|_| {
                    let _ = renameat2(dir, name, to, to_name, exchange);
                })
            }
        }
    }

    /// Makes a change by which `name` in `dir` loses `held`, and tells the count what that was.
    fn losing(
        &self,
        (dir, name): (&OwnedFd, &OsStr),
        held: &Held,
        change: impl FnOnce() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if !self.room.counts() {
            return change();
        }
        self.counted(|| {
            // Since it was found, it may have got another size, or the name to another thing.
            let found = hold_in(dir, name, &held.at)?;
            if !is_same(&found.stat, &held.stat) {
                return Err(Errno::EAGAIN.into());
            }
            change()?;
            self.lost(&found);
            Ok(())
        })
    }

    /// Removes what is under the name of `spot` by way of a name that nobody else sees.
    fn take_away(&self, spot: &Spot, kept: &Held, reason: Reason) -> Result<(), Fault> {
        let aside = self.begin_hidden(spot)?;
        let (dir, name) = (&spot.dir, spot.name.as_os_str());
        let moved = renameat(dir, name, dir, aside.as_os_str());
        let removed = moved.map_err(Fault::from).and_then(|()| {
            let removed = self.remove_aside((dir, &aside), kept, reason);
            removed.inspect_err(|_| {
                let _ = renameat2(dir, aside.as_os_str(), dir, name, RenameFlags::NOREPLACE);
            })
        });
        self.end_hidden();
        removed
    }

    /// Removes what was moved aside, `kept` before; another thing, or one that has changed since, is kept now.
    fn remove_aside(
        &self,
        (dir, name): (&OwnedFd, &OsStr),
        kept: &Held,
        reason: Reason,
    ) -> Result<(), Fault> {
        let found = hold_in(dir, name, &kept.at)?;
        if !is_same(&found.stat, &kept.stat) || times(&found.stat) != times(&kept.stat) {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
            self.keep_found(&found, reason, || open_in(dir, name, flags))?;
        }
        self.losing((dir, name), &found, || Ok(unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?))
    }

    /// What was found is gone.
    fn lost(&self, found: &Held) {
        let last = found.is_dir() || found.stat.st_nlink <= 1;
        let has_content = kind(&found.stat) == SFlag::S_IFREG && !self.rules.files.versions;
        let bytes = if has_content { u64::try_from(found.stat.st_size).unwrap_or(0) } else { 0 };
        if last {
            self.shrink(bytes, 1);
        }
    }

    /// A hidden name beside `spot`, in the journal.
    pub(super) fn begin_hidden(&self, spot: &Spot) -> Result<std::ffi::OsString, Fault> {
        let name = hidden::name();
        if let Some(journal) = &self.journal {
            let at = spot.at.with_file_name(&name);
            journal.begin(&at).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        }
        Ok(name)
    }

    /// The hidden name is no more.
    pub(super) fn end_hidden(&self) {
        if let Some(journal) = &self.journal {
            journal.end();
        }
    }
}

fn as_not_kept(fault: Fault) -> Fault {
    if let Fault::Os(errno) = fault { Fault::NotKept(errno) } else { fault }
}

fn times(stat: &FileStat) -> (i64, i64, i64) {
    (stat.st_size, stat.st_mtime, stat.st_mtime_nsec)
}

#[allow(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn not_kept(error: StoreError) -> Fault {
    Fault::NotKept(match error {
        StoreError::Io(_, error) => error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
        StoreError::Damaged(_) | StoreError::BadPath => Errno::EIO,
    })
}
