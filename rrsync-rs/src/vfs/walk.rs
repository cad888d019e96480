//! Looking at everything below a directory, without following a symlink.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, ResolveFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use crate::beneath::{kind, open_beneath};

/// Deeper trees are not walked: each directory on the way is held open, with a buffer of the C library's.
const DEEPEST: usize = 128;

/// One name below the directory.
pub(super) struct Step<'a> {
    /// The directory that it is in.
    pub(super) dir: BorrowedFd<'a>,
    pub(super) name: &'a CStr,
    pub(super) kind: SFlag,
    /// Where it is, relative to where the walk began.
    pub(super) at: &'a Path,
}

impl Step<'_> {
    /// What the system says about it; `None` when it has gone.
    pub(super) fn stat(&self) -> Option<FileStat> {
        fstatat(self.dir, self.name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()
    }
}

/// Calls `visit` for every name below `dir`, which is open for reading, until it fails.
///
/// # Errors
/// `ELOOP` for a tree that is too deep; `EACCES` for a directory of this account that it has locked itself out of.
/// Another account's is passed over.
pub(super) fn walk<E: From<Errno>>(
    dir: OwnedFd,
    visit: &mut dyn FnMut(&Step<'_>) -> Result<(), E>,
) -> Result<(), E> {
    below(dir, &mut PathBuf::new(), visit)
}

fn below<E: From<Errno>>(
    dir: OwnedFd,
    at: &mut PathBuf,
    visit: &mut dyn FnMut(&Step<'_>) -> Result<(), E>,
) -> Result<(), E> {
    if at.components().count() >= DEEPEST {
        return Err(Errno::ELOOP.into());
    }
    let held = dir.try_clone().map_err(|_| Errno::EMFILE)?;
    for entry in Dir::from_fd(dir)?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let Some(kind) = kind_of(entry.file_type(), &held, name) else { continue };
        at.push(OsStr::from_bytes(name.to_bytes()));
        visit(&Step { dir: held.as_fd(), name, kind, at })?;
        if kind == SFlag::S_IFDIR
            && let Some(dir) = open(&held, name)?
        {
            below(dir, at, visit)?;
        }
        at.pop();
    }
    Ok(())
}

fn kind_of(known: Option<Type>, dir: &OwnedFd, name: &CStr) -> Option<SFlag> {
    match known {
        Some(Type::File) => Some(SFlag::S_IFREG),
        Some(Type::Directory) => Some(SFlag::S_IFDIR),
        Some(Type::Symlink) => Some(SFlag::S_IFLNK),
        _ => fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok().map(|stat| kind(&stat)),
    }
}

fn open(dir: &OwnedFd, name: &CStr) -> Result<Option<OwnedFd>, Errno> {
    let name = Path::new(OsStr::from_bytes(name.to_bytes()));
    let open = |flags| {
        open_beneath(
            dir,
            name,
            flags | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW,
            ResolveFlag::RESOLVE_NO_SYMLINKS,
            Mode::empty(),
        )
    };
    match open(OFlag::O_RDONLY) {
        Ok(dir) => Ok(Some(dir)),
        // Gone, or something else by now.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(Errno::EACCES) => {
            let owner = open(OFlag::O_PATH).and_then(fstat).map(|stat| stat.st_uid);
            if owner == Ok(nix::unistd::geteuid().as_raw()) { Err(Errno::EACCES) } else { Ok(None) }
        }
        Err(errno) => Err(errno),
    }
}
