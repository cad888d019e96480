//! The sub-paths of a workspace that have an access of their own: whether they are there, and making them.
//!
//! The kernel can confine a session only to what exists, so a sub-path that is missing cannot be pushed into. And the gate
//! judges a path by where it really is, so a sub-path behind a symlink would never be used. Nothing here is looked at or
//! made outside the workspace: every step is resolved beneath it.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use rrsync_rs::beneath::{Last, Root};
use rrsync_rs::escape::Escaped;

/// Why a sub-path means nothing to the gate. `Display` continues the path.
#[derive(Debug, thiserror::Error)]
pub enum BadSubPath {
    /// It, or a directory on the way to it, is something else.
    #[error("is not a directory")]
    NotADirectory,
    /// A symlink on the way leads out of the workspace, or to nothing.
    #[error("leads out of the workspace, through a symlink")]
    Outside,
    /// A symlink on the way leads to another place of the workspace.
    #[error("is really {} in the workspace, through a symlink", Escaped::os(.0))]
    Elsewhere(PathBuf),
    /// The workspace, or something in it, cannot be looked at or changed.
    #[error("cannot be used: {0}")]
    Io(#[source] io::Error),
}

impl From<Errno> for BadSubPath {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// A directory that this run made.
#[derive(Debug)]
pub struct Made {
    /// Where it is, as the workspace is written.
    pub path: PathBuf,
    workspace: Root,
    at: PathBuf,
}

/// Whether the directory `sub` of `workspace` is there.
pub fn exists(workspace: &Path, sub: &Path) -> Result<bool, BadSubPath> {
    let root = Root::open(workspace).map_err(BadSubPath::Io)?;
    for at in steps(sub) {
        if !is_directory(&root, at)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes what is missing of `sub` in `workspace`, each directory as mkdir(1) would, and adds it to `made`, also when a later
/// one fails.
pub fn make(workspace: &Path, sub: &Path, made: &mut Vec<Made>) -> Result<(), BadSubPath> {
    let root = Root::open(workspace).map_err(BadSubPath::Io)?;
    for at in steps(sub) {
        if is_directory(&root, at)? {
            continue;
        }
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { continue };
        let held = root.hold(parent, Last::Keep)?;
        match mkdirat(&held.fd, name, Mode::from_bits_truncate(0o777)) {
            Ok(()) => made.push(Made {
                path: workspace.join(at),
                workspace: root.try_clone().map_err(BadSubPath::Io)?,
                at: at.to_owned(),
            }),
            // Somebody else was faster.
            Err(Errno::EEXIST) if is_directory(&root, at)? => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Removes what was made, as far as it is still empty.
pub fn take_back(made: &[Made]) {
    for Made { workspace, at, .. } in made.iter().rev() {
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { continue };
        if let Ok(held) = workspace.hold(parent, Last::Keep) {
            let _ = unlinkat(&held.fd, name, UnlinkatFlags::RemoveDir);
        }
    }
}

/// `a`, `a/b`, `a/b/c`.
fn steps(sub: &Path) -> Vec<&Path> {
    let mut steps: Vec<&Path> = sub.ancestors().filter(|at| !at.as_os_str().is_empty()).collect();
    steps.reverse();
    steps
}

/// Whether there is a directory at `at`, under its own name; `false` when there is nothing.
fn is_directory(root: &Root, at: &Path) -> Result<bool, BadSubPath> {
    match root.hold(at, Last::Follow) {
        Ok(held) if held.at != at => Err(BadSubPath::Elsewhere(held.at)),
        Ok(held) if held.is_dir() => Ok(true),
        Ok(_) | Err(Errno::ENOTDIR) => Err(BadSubPath::NotADirectory),
        Err(Errno::ENOENT) => match root.hold(at, Last::Keep) {
            Err(Errno::ENOENT) => Ok(false),
            // A symlink to nothing.
            Ok(_) => Err(BadSubPath::Outside),
            Err(errno) => Err(errno.into()),
        },
        Err(Errno::EXDEV) => Err(BadSubPath::Outside),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn directories_are_made_beneath_the_workspace_only() {
        let scratch = tempfile::tempdir().unwrap();
        let workspace = scratch.path().join("papers");
        fs::create_dir_all(workspace.join("real")).unwrap();
        fs::create_dir(scratch.path().join("outside")).unwrap();
        fs::write(workspace.join("file"), "").unwrap();
        symlink("../outside", workspace.join("out")).unwrap();
        symlink("nothing", workspace.join("dangling")).unwrap();
        symlink("real", workspace.join("inside")).unwrap();
        let mut made = Vec::new();
        for (sub, says) in [
            ("file", "is not a directory"),
            ("file/x", "is not a directory"),
            ("out", "leads out"),
            ("out/x", "leads out"),
            ("dangling", "leads out"),
            ("dangling/x", "leads out"),
            ("inside/x", "is really real"),
        ] {
            for error in [
                exists(&workspace, Path::new(sub)).unwrap_err(),
                make(&workspace, Path::new(sub), &mut made).unwrap_err(),
            ] {
                assert!(error.to_string().starts_with(says), "{sub}: {error}");
            }
        }
        assert!(made.is_empty() && fs::read_dir(scratch.path().join("outside")).unwrap().next().is_none());
        let deep = Path::new("real/a/b");
        assert!(!exists(&workspace, deep).unwrap());
        make(&workspace, deep, &mut made).unwrap();
        assert!(exists(&workspace, deep).unwrap());
        make(&workspace, deep, &mut made).unwrap();
        let paths: Vec<&PathBuf> = made.iter().map(|made| &made.path).collect();
        assert_eq!(paths, [&workspace.join("real/a"), &workspace.join("real/a/b")]);
        fs::write(workspace.join("real/a/mine"), "").unwrap();
        take_back(&made);
        assert!(workspace.join("real/a/mine").exists() && !workspace.join("real/a/b").exists());
    }
}
