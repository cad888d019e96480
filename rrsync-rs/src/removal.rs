//! Removing a directory with everything in it, without following a symlink and without a descriptor for each level.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::beneath::open_beneath;

/// Removes what `dir` has under `name`, whatever it is. Nothing there is no error.
pub fn remove_all(dir: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    let dir = dir.as_fd();
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(errno) => return Err(errno),
    }
    // The path to the directory that is being emptied, and those on the way to it.
    let mut way = vec![PathBuf::from(name)];
    while let Some(path) = way.last() {
        if let Some(inner) = empty(&open(dir, path)?)? {
            way.push(path.join(inner));
        } else {
            unlinkat(dir, path, UnlinkatFlags::RemoveDir)?;
            way.pop();
        }
    }
    Ok(())
}

/// Removes what is in `dir`, up to the first directory in it, which is named.
fn empty(dir: &OwnedFd) -> Result<Option<OsString>, Errno> {
    let listed = dir.try_clone().map_err(|_| Errno::EMFILE)?;
    for entry in Dir::from_fd(listed)?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let inner = || Ok(Some(OsStr::from_bytes(name.to_bytes()).to_owned()));
        if entry.file_type() == Some(Type::Directory) {
            return inner();
        }
        match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EISDIR) => return inner(),
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

fn open(dir: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let opened = open_beneath(dir, path, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, Mode::empty())?;
    // Nothing can be removed from a directory that its owner may not write.
    let _ = fchmod(&opened, Mode::S_IRWXU);
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn everything_goes_and_nothing_beside_it() {
        let scratch = std::env::temp_dir().join(format!("removal-{}", std::process::id()));
        fs::create_dir_all(scratch.join("a/b/c")).unwrap();
        fs::create_dir_all(scratch.join("a/d")).unwrap();
        fs::create_dir_all(scratch.join("kept")).unwrap();
        for file in ["a/f", "a/b/f", "a/b/c/f", "kept/f", "file"] {
            fs::write(scratch.join(file), "").unwrap();
        }
        symlink("../kept", scratch.join("a/link")).unwrap();
        symlink("kept", scratch.join("link")).unwrap();
        let dir = File::open(&scratch).unwrap();
        for name in ["a", "file", "link", "nothing"] {
            remove_all(&dir, OsStr::new(name)).unwrap();
        }
        let left: Vec<_> = fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["kept"]);
        assert!(scratch.join("kept/f").exists());
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn a_tree_deeper_than_there_are_descriptors_goes() {
        let scratch = std::env::temp_dir().join(format!("removal-deep-{}", std::process::id()));
        let path = scratch.join(vec!["d"; 1500].join("/"));
        fs::create_dir_all(path).unwrap();
        remove_all(File::open(&scratch).unwrap(), OsStr::new("d")).unwrap();
        fs::remove_dir(scratch).unwrap();
    }
}
