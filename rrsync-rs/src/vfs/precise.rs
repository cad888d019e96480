//! What a file is, as precisely as the file system says: for a client that must know whether all that it read was one
//! content, and whether what it has is still what is here. Version 3 of the protocol has seconds, which is too coarse for both.

use std::os::fd::AsFd as _;

use nix::sys::stat::{FileStat, fstat};

use super::{Fault, OpenFile, Rule, Vfs, VirtualPath};
use crate::beneath::Last;

/// The state of a file at one moment. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precise {
    /// Type and permission bits, `st_mode`.
    pub mode: u32,
    /// The number of hard links.
    pub links: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last change of the content.
    pub modified: i64,
    /// Last change of content, attributes or name. No program can set it back.
    pub changed: i64,
    /// Which file it is: the device, and its number there.
    pub identity: (u64, u64),
}

impl From<&FileStat> for Precise {
    fn from(stat: &FileStat) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            mode: stat.st_mode,
            links: stat.st_nlink,
            size: stat.st_size.try_into().unwrap_or(0),
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            identity: (stat.st_dev, stat.st_ino),
        }
    }
}

impl Vfs {
    /// The state of what `path` names, a symlink itself included.
    ///
    /// # Errors
    /// `FixedRoot` for `/`, which is no file; `WriteOnly` for what may not be read.
    pub fn precise(&self, path: &VirtualPath) -> Result<Precise, Fault> {
        let (mount, rest) = self.inside(path)?;
        let held = mount.hold(rest, Last::Keep)?;
        mount.reading(&held.at)?;
        Ok((&held.stat).into())
    }
}

impl OpenFile {
    /// The state of the file that is open.
    pub fn precise(&self) -> Result<Precise, Fault> {
        if !self.visible {
            return Err(Fault::Refused(Rule::WriteOnly));
        }
        Ok((&fstat(self.as_fd())?).into())
    }
}
