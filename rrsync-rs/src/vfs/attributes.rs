//! What a client sees of a file's attributes, and how it changes them.
//!
//! Changes are made on a descriptor of the file itself. Only what cannot be opened, such as a file with mode 0, is
//! changed by its name in a directory that is held open, never following a symlink.

use std::os::fd::AsFd;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, futimens, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, ftruncate};
use rustix::fs::StatVfs;

use super::room::disk;
use super::{Fault, Mount, OpenHow, Rule, Vfs, VirtualPath};
use crate::beneath::{Held, Last, kind};

/// The attributes of a file that the client may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Type and permission bits, `st_mode`.
    pub mode: u32,
    /// The number of hard links.
    pub links: u64,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Last access, in seconds since 1970.
    pub accessed: i64,
    /// Last change of the content, in seconds since 1970.
    pub modified: i64,
}

/// How much of a file's attributes the client may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// All of them.
    Whole(Metadata),
    /// That it is there: `st_mode` with its type, and as permissions what this client can do with it. An upload
    /// needs that much: is the target a directory, is there something already.
    Kind(u32),
}

/// Attributes to be set; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// The size to truncate or extend to.
    pub size: Option<u64>,
    /// Owner and group numbers.
    pub owner: Option<(u32, u32)>,
    /// Permission bits; cut down to what [`super::Options::mode_mask`] allows.
    pub mode: Option<u32>,
    /// Last access and last modification, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

impl Changes {
    /// These changes with the permission bits that the workspace gives.
    pub(super) fn given(&self, mount: &Mount, mode_mask: u32, directory: bool) -> Self {
        let mode = self.mode.map(|asked| mount.rules.files.modes.given(asked & mode_mask, directory));
        Self { mode, ..*self }
    }
}

impl From<&FileStat> for Metadata {
    fn from(stat: &FileStat) -> Self {
        Self {
            mode: stat.st_mode,
            links: stat.st_nlink,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size.try_into().unwrap_or(0),
            accessed: stat.st_atime,
            modified: stat.st_mtime,
        }
    }
}

impl View {
    /// Type and permission bits.
    pub fn mode(&self) -> u32 {
        match self {
            Self::Whole(metadata) => metadata.mode,
            Self::Kind(mode) => *mode,
        }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode() & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits()
    }

    /// All of `stat` where `whole`, else its type.
    pub(super) fn of(stat: &FileStat, whole: bool) -> Self {
        if whole {
            return Self::Whole(stat.into());
        }
        let file_type = kind(stat);
        let may_do = match file_type {
            SFlag::S_IFDIR => 0o300,
            SFlag::S_IFREG => 0o200,
            _ => 0,
        };
        Self::Kind(file_type.bits() | may_do)
    }

    /// The synthetic `/`: always the same, so that clients may cache it.
    pub(super) fn virtual_root() -> Self {
        Self::Whole(Metadata {
            mode: SFlag::S_IFDIR.bits() | 0o555,
            links: 2,
            uid: Uid::current().as_raw(),
            gid: Gid::current().as_raw(),
            size: 0,
            accessed: 0,
            modified: 0,
        })
    }
}

impl Vfs {
    /// What `path` is; `last` says whether a symlink as its last component is followed.
    pub fn view(&self, path: &VirtualPath, last: Last) -> Result<View, Fault> {
        let Some((mount, rest)) = self.find(path)? else { return Ok(View::virtual_root()) };
        let held = mount.hold(rest, if path.names_directory() { Last::Follow } else { last })?;
        if path.names_directory() && !held.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(View::of(&held.stat, mount.showing(&held, &self.ours)?))
    }

    /// Changes attributes of what `path` names, following symlinks.
    pub fn set(&self, path: &VirtualPath, changes: &Changes) -> Result<(), Fault> {
        let (mount, rest) = self.inside(path)?;
        let held = mount.hold(rest, Last::Follow)?;
        self.set_held(mount, &held, changes)
    }

    /// As [`Vfs::set`], but of a symlink itself; that has no size and no permissions of its own.
    pub fn set_link(&self, path: &VirtualPath, changes: &Changes) -> Result<(), Fault> {
        let (mount, rest) = self.inside(path)?;
        let held = mount.hold(rest, Last::Keep)?;
        mount.changing(&held, &self.ours)?;
        if changes.size.is_some() {
            // Of a file neither: PROTOCOL, section 4.8.
            return Err(Fault::Malformed);
        }
        if !held.is_symlink() {
            return self.set_held(mount, &held, changes);
        }
        self.set_by_name(mount, &held, changes)
    }

    /// Space and inodes of the file system that `path` is on.
    ///
    /// # Errors
    /// `ENOSYS` for `/` when the workspaces are on different file systems: no answer would be true.
    pub fn file_system(&self, path: &VirtualPath) -> Result<StatVfs, Fault> {
        if let Some((mount, rest)) = self.find(path)? {
            let held = mount.hold(rest, Last::Follow)?;
            return Ok(disk(&held.fd)?);
        }
        let first = self.mounts.first().ok_or(Errno::ENOENT)?;
        let device = fstat(first.root().dir())?.st_dev;
        for mount in &self.mounts {
            if fstat(mount.root().dir())?.st_dev != device {
                return Err(Errno::ENOSYS.into());
            }
        }
        Ok(disk(first.root().dir())?)
    }

    fn set_held(&self, mount: &Rc<Mount>, held: &Held, changes: &Changes) -> Result<(), Fault> {
        mount.changing(held, &self.ours)?;
        if !held.is_dir() && kind(&held.stat) != SFlag::S_IFREG {
            return Err(Fault::Refused(Rule::SpecialFile));
        }
        if let Some(size) = changes.size {
            // Another content: as if it had been opened, which all that concerns contents knows about.
            let how = OpenHow { write: true, truncate: size == 0, ..OpenHow::default() };
            let file = self.open_existing(mount, held, &how)?;
            file.set(changes)?;
            return file.close();
        }
        let opened = mount.reopen_same(held, OFlag::O_RDONLY).or_else(|fault| match fault {
            Fault::Os(Errno::EACCES) => mount.reopen_same(held, OFlag::O_WRONLY),
            fault => Err(fault),
        });
        match opened {
            Ok(fd) => {
                // What somebody else has changed meanwhile stays somebody else's.
                let marked = changes.times.is_some() && mount.has_marked(&fd);
                apply(&fd, &changes.given(mount, self.options.mode_mask, held.is_dir()))?;
                if marked {
                    mount.mark(&fd);
                }
                Ok(())
            }
            Err(Fault::Os(Errno::EACCES | Errno::EISDIR)) => self.set_by_name(mount, held, changes),
            Err(fault) => Err(fault),
        }
    }

    fn set_by_name(&self, mount: &Mount, held: &Held, changes: &Changes) -> Result<(), Fault> {
        let changes = changes.given(mount, self.options.mode_mask, held.is_dir());
        let spot = mount.spot(&held.at)?;
        let name = spot.name.as_os_str();
        let mut result = Ok(());
        if let Some(mode) = changes.mode {
            let mode = Mode::from_bits_truncate(mode);
            // No file system of Linux has modes of symlinks: fchmodat(2). Each libc finds that out by another system call.
            let changed = match kind(&held.stat) {
                SFlag::S_IFLNK => Err(Errno::EOPNOTSUPP),
                _ => fchmodat(&spot.dir, name, mode, FchmodatFlags::NoFollowSymlink),
            };
            result = result.and(changed);
        }
        if let Some((accessed, modified)) = changes.times {
            let (accessed, modified) = (seconds(accessed), seconds(modified));
            let nofollow = UtimensatFlags::NoFollowSymlink;
            result = result.and(utimensat(&spot.dir, name, &accessed, &modified, nofollow));
        }
        if let Some((uid, gid)) = changes.owner {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            result = result.and(fchownat(&spot.dir, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW));
        }
        Ok(result?)
    }
}

/// Makes all changes that can be made, in the order of sftp-server.c `process_fsetstat`; the first error counts.
pub(super) fn apply(fd: impl AsFd, changes: &Changes) -> Result<(), Fault> {
    let fd = fd.as_fd();
    let mut result = Ok(());
    if let Some(size) = changes.size {
        result =
            result.and(i64::try_from(size).map_err(|_| Errno::EINVAL).and_then(|size| ftruncate(fd, size)));
    }
    if let Some(mode) = changes.mode {
        result = result.and(fchmod(fd, Mode::from_bits_truncate(mode)));
    }
    if let Some((accessed, modified)) = changes.times {
        result = result.and(futimens(fd, &seconds(accessed), &seconds(modified)));
    }
    if let Some((uid, gid)) = changes.owner {
        result = result.and(fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))));
    }
    Ok(result?)
}

/// Bytes of an open file.
pub(super) fn size_of(fd: impl AsFd) -> Result<u64, Errno> {
    Ok(u64::try_from(fstat(fd)?.st_size).unwrap_or(0))
}

fn seconds(since_1970: u32) -> TimeSpec {
    TimeSpec::new(since_1970.into(), 0)
}
