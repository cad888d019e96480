//! What may be read in a directory in which names are hidden: every other file, each for itself.
//!
//! A rule of Landlock reaches from a directory to everything below it, and knows no names. So where names are hidden no rule lets
//! files be read from a directory on: each file gets its own. What is made later has none, whatever it is called, and cannot be read
//! in this session.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};

use super::is_directory;
use crate::beneath::{kind, open_beneath};
use crate::rsync::judge::Reach;

/// More names than these are not looked at.
const MOST: usize = 1_000_000;

/// The regular files below `reach` whose names, and those of the directories that they are in, are not hidden; relative to it.
///
/// # Errors
/// When there are more than a million names, or a directory cannot be read to its end. One that cannot be opened has nothing for this
/// session.
pub(super) fn files(reach: &Reach) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = MOST;
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let Ok(mut open) = open(&reach.dir, &directory, flags).and_then(Dir::from_fd) else { continue };
        let mut entries = Vec::new();
        for entry in open.iter() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." && !reach.names.hides(name.as_bytes()) {
                entries.push((name.to_owned(), entry.file_type()));
            }
            left = left
                .checked_sub(1)
                .ok_or_else(|| io::Error::other("more than a million names to look at"))?;
        }
        for (name, known) in entries {
            // Some file systems do not say it with the name.
            let kind = known.map_or_else(|| type_of(&open, &name), Some);
            let path = directory.join(name);
            match kind {
                Some(Type::Directory) => directories.push(path),
                Some(Type::File) => found.push(path),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// The file that [`files`] found, to make a rule for; `None` when it is gone, or another kind of thing.
pub(super) fn hold(reach: &Reach, file: &Path) -> Option<OwnedFd> {
    let held = open(&reach.dir, file, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).ok()?;
    fstat(&held).is_ok_and(|stat| kind(&stat) == SFlag::S_IFREG).then_some(held)
}

/// Whether names are hidden in what this rule reaches. A file was judged by its own.
pub(super) fn hides(reach: &Reach) -> bool {
    !reach.names.hide.is_empty() && is_directory(&reach.dir)
}

fn type_of(directory: &Dir, name: &OsStr) -> Option<Type> {
    let stat = fstatat(directory, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    match kind(&stat) {
        SFlag::S_IFDIR => Some(Type::Directory),
        SFlag::S_IFREG => Some(Type::File),
        _ => None,
    }
}

fn open(root: &OwnedFd, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    open_beneath(root, path, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, Mode::empty())
}
