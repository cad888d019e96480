//! Atomic uploads: written under a hidden name beside the target, renamed over it when complete.
//!
//! Nobody sees a partial file under its final name. A session that ends first, however it ends short of `SIGKILL`,
//! removes the hidden file; its name begins with [`PREFIX`], so what a killed session left is easy to find.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, ResolveFlag, renameat, renameat2};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::place::Spot;
use super::space::Space;
use super::{Fault, Mount, OpenHow};
use crate::beneath::{Held, open_beneath};
use crate::copying::copy;

/// How the hidden names begin. Listings leave them out.
pub(super) const PREFIX: &str = ".akeys-upload-";

/// A hidden file that is to take the place of `target`.
#[derive(Debug)]
pub(super) struct Upload {
    target: Spot,
    hidden: OsString,
    /// Whether what is under the target's name may be replaced.
    replace: bool,
    published: bool,
}

impl Upload {
    /// An empty hidden file beside `target`.
    pub(super) fn new(target: Spot, mode: Mode, replace: bool) -> Result<Self, Fault> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for attempt in 0..64_u128 {
            let hidden = format!("{PREFIX}{}-{:x}", std::process::id(), since.as_nanos() + attempt);
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY;
            let no_links = ResolveFlag::RESOLVE_NO_SYMLINKS;
            match open_beneath(
                &target.dir,
                Path::new(&hidden),
                flags,
                no_links,
                mode | Mode::S_IRUSR | Mode::S_IWUSR,
            ) {
                Ok(_) => return Ok(Self { target, hidden: hidden.into(), replace, published: false }),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Fault::resolving(errno)),
            }
        }
        Err(Errno::EEXIST.into())
    }

    /// A hidden file that is to replace `held`, with its permissions and, unless it is to be emptied, its content.
    pub(super) fn replacing(mount: &Mount, held: &Held, how: &OpenHow, space: &Space) -> Result<Self, Fault> {
        let upload = Self::new(mount.spot(&held.at)?, Mode::S_IRUSR | Mode::S_IWUSR, true)?;
        let fd = upload.reopen(OFlag::O_WRONLY)?;
        if !how.truncate {
            let old = mount.reopen(&held.at, OFlag::O_RDONLY)?;
            copy((old.as_fd(), 0), (fd.as_fd(), 0), u64::MAX, |bytes| space.take(&fd, bytes))?;
        }
        fchmod(&fd, Mode::from_bits_truncate(held.stat.st_mode & 0o777))?;
        Ok(upload)
    }

    /// The hidden file, opened as the client asked for.
    pub(super) fn reopen(&self, flags: OFlag) -> Result<OwnedFd, Fault> {
        let no_links = ResolveFlag::RESOLVE_NO_SYMLINKS;
        open_beneath(&self.target.dir, Path::new(&self.hidden), flags, no_links, Mode::empty())
            .map_err(Fault::resolving)
    }

    /// Gives the hidden file its name.
    pub(super) fn publish(mut self) -> Result<(), Fault> {
        let (dir, hidden, name) = (&self.target.dir, self.hidden.as_os_str(), self.target.name.as_os_str());
        if self.replace {
            renameat(dir, hidden, dir, name)?;
        } else {
            renameat2(dir, hidden, dir, name, RenameFlags::RENAME_NOREPLACE)?;
        }
        self.published = true;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.published {
            let _ = unlinkat(&self.target.dir, self.hidden.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}
