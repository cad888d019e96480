//! Atomic uploads: written where nobody sees them, given their name when they are complete.
//!
//! Nobody sees a partial file under its final name. Where the file system can, the file has no name at all until then, and
//! is gone with the session that writes it, however that ends. Elsewhere it has a hidden name, which the next session
//! removes if this one is killed.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, ResolveFlag};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{UnlinkatFlags, fdatasync, linkat, unlinkat};

use super::attributes::size_of;
use super::place::Spot;
use super::{ATTEMPTS, Fault, Mount, OpenHow};
use crate::beneath::{Held, open_beneath};
use crate::rename::{RenameFlags, renameat2};

/// A file that is to take the place of `target`.
#[derive(Debug)]
pub(super) struct Upload {
    mount: Rc<Mount>,
    target: Spot,
    /// Its hidden name, if it has one.
    hidden: Option<OsString>,
    /// Whether what is under the target's name may be replaced.
    replace: bool,
}

impl Upload {
    /// An empty file that is to be at `target`, open for writing, and if `reads` also for reading.
    pub(super) fn new(
        mount: &Rc<Mount>,
        target: Spot,
        (mode, reads): (Mode, bool),
        replace: bool,
    ) -> Result<(Self, OwnedFd), Fault> {
        let mut upload = Self { mount: Rc::clone(mount), target, hidden: None, replace };
        let open = |path: &Path, flags| {
            let flags = flags | if reads { OFlag::O_RDWR } else { OFlag::O_WRONLY };
            open_beneath(&upload.target.dir, path, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, mode)
        };
        // A count for the quota finds only what has a name; so there it is made while nobody counts.
        if !mount.room.counts()
            && let Ok(fd) = open(Path::new(""), OFlag::O_TMPFILE)
        {
            return Ok((upload, fd));
        }
        let name = mount.begin_hidden(&upload.target)?;
        let made = mount.counted(|| {
            mount.grow(0, 1)?;
            let made = open(Path::new(&name), OFlag::O_CREAT | OFlag::O_EXCL).map_err(Fault::resolving);
            made.inspect_err(|_| mount.shrink(0, 1))
        });
        match made {
            Ok(fd) => {
                upload.hidden = Some(name);
                Ok((upload, fd))
            }
            Err(fault) => {
                mount.end_hidden();
                Err(fault)
            }
        }
    }

    /// A file that is to replace `held`, with its permissions and, unless it is to be emptied, its content.
    pub(super) fn replacing(
        mount: &Rc<Mount>,
        held: &Held,
        how: &OpenHow,
        reads: bool,
    ) -> Result<(Self, OwnedFd), Fault> {
        let (upload, fd) = Self::new(mount, mount.spot(&held.at)?, (Mode::empty(), reads), true)?;
        match upload.fill(&fd, held, how) {
            Ok(()) => Ok((upload, fd)),
            Err(fault) => {
                upload.give_up(fd.as_fd());
                Err(fault)
            }
        }
    }

    fn fill(&self, fd: &OwnedFd, held: &Held, how: &OpenHow) -> Result<(), Fault> {
        if !how.truncate {
            let old = self.mount.reopen_same(held, OFlag::O_RDONLY)?;
            self.mount.copy_counted((old.as_fd(), 0), (fd.as_fd(), 0), size_of(&old)?, |_, bytes| {
                self.mount.grow(bytes, 0)?;
                self.mount.room.write(fd, bytes)
            })?;
        }
        Ok(fchmod(fd, Mode::from_bits_truncate(held.stat.st_mode & 0o777))?)
    }

    /// Gives the file its name. `fd` is what was opened with it.
    pub(super) fn publish(&mut self, fd: BorrowedFd<'_>) -> Result<(), Fault> {
        // A name must not come to the disk before what it names.
        fdatasync(fd)?;
        if !self.replace {
            return self.publish_new(fd);
        }
        // Others may make, replace and remove the target meanwhile, but not again and again.
        for _ in 0..ATTEMPTS {
            let published = match self.mount.at(&self.target) {
                Ok(victim) => self.publish_over(fd, &victim),
                Err(Fault::Os(Errno::ENOENT)) => self.publish_new(fd),
                Err(fault) => Err(fault),
            };
            match published {
                Err(Fault::Os(Errno::ENOENT | Errno::EEXIST | Errno::EAGAIN)) => {}
                published => return published,
            }
        }
        Err(Errno::EAGAIN.into())
    }

    fn publish_over(&mut self, fd: BorrowedFd<'_>, victim: &Held) -> Result<(), Fault> {
        let name = self.hidden_name(fd)?;
        self.mount.replace_kept((&self.target.dir, &name, None), &self.target, victim)?;
        self.hidden = None;
        self.mount.end_hidden();
        Ok(())
    }

    fn publish_new(&mut self, fd: BorrowedFd<'_>) -> Result<(), Fault> {
        let (dir, name) = (&self.target.dir, self.target.name.as_os_str());
        let Some(hidden) = &self.hidden else {
            return Ok(linkat(AT_FDCWD, own(fd).as_str(), dir, name, AtFlags::AT_SYMLINK_FOLLOW)?);
        };
        match renameat2(dir, hidden.as_os_str(), dir, name, RenameFlags::NOREPLACE) {
            // The file system has no such rename. A link cannot replace either.
            Err(Errno::EINVAL) => {
                linkat(dir, hidden.as_os_str(), dir, name, AtFlags::empty())?;
                unlinkat(dir, hidden.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
            }
            renamed => renamed?,
        }
        self.hidden = None;
        self.mount.end_hidden();
        Ok(())
    }

    /// The hidden name; one that has none gets one, because only a name can be renamed over another.
    fn hidden_name(&mut self, fd: BorrowedFd<'_>) -> Result<OsString, Fault> {
        if let Some(name) = &self.hidden {
            return Ok(name.clone());
        }
        let name = self.mount.begin_hidden(&self.target)?;
        self.hidden = Some(name.clone());
        let flags = AtFlags::AT_SYMLINK_FOLLOW;
        linkat(AT_FDCWD, own(fd).as_str(), &self.target.dir, name.as_os_str(), flags)?;
        Ok(name)
    }

    /// The file is not to be: `fd` was opened with it.
    pub(super) fn give_up(self, fd: BorrowedFd<'_>) {
        let bytes = fstat(fd).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0));
        self.mount.shrink(bytes, 1);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(hidden) = &self.hidden {
            let _ = unlinkat(&self.target.dir, hidden.as_os_str(), UnlinkatFlags::NoRemoveDir);
            self.mount.end_hidden();
        }
    }
}

/// An open file by its descriptor: for a process without privileges the one way to give a nameless file a name.
fn own(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
