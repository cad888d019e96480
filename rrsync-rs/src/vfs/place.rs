//! From a path in the virtual tree to something held open beneath a workspace's root.
//!
//! Resolution never follows a symlink at first: when that succeeds, the place is the path itself and one system call
//! was enough. Otherwise [`Root::hold`] follows the links beneath the root and reports where they ended. What a
//! caller opens for real, it opens at that place, again without following any link: whoever swaps a directory for a
//! symlink in between gets `ELOOP`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{Mode, fstat};

use super::{Fault, Rule, Vfs, VirtualPath};
use crate::beneath::{Held, Last, Root, open_beneath};
use crate::grant::Workspace;
use crate::name::WorkspaceName;

/// A workspace in the virtual tree: its name, its open root and its rules.
#[derive(Debug)]
pub struct Mount {
    name: WorkspaceName,
    root: Root,
    pub(super) rules: Workspace,
}

/// A name in a directory that is held open; nothing need exist under it.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) dir: OwnedFd,
    /// One component, never `.` or `..`.
    pub(super) name: OsString,
    /// The place of the name beneath the root.
    pub(super) at: PathBuf,
}

impl Mount {
    /// Exposes `root` as `name` under `rules`, whose `path` is not looked at again.
    pub fn new(name: WorkspaceName, root: Root, rules: Workspace) -> Self {
        Self { name, root, rules }
    }

    /// Opens the workspace's directory and exposes it as `name`.
    pub fn open(name: WorkspaceName, rules: &Workspace) -> io::Result<Self> {
        Ok(Self::new(name, Root::open(&rules.path)?, rules.clone()))
    }

    /// The name below `/`.
    pub fn name(&self) -> &WorkspaceName {
        &self.name
    }

    /// The root that everything is resolved beneath.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Holds what `rest`, a path without `..`, names.
    pub(super) fn hold(&self, rest: &Path, last: Last) -> Result<Held, Fault> {
        let nofollow = if last == Last::Keep { OFlag::O_NOFOLLOW } else { OFlag::empty() };
        let flags = OFlag::O_PATH | nofollow;
        let open = |resolve| open_beneath(self.root.dir(), rest, flags, resolve, Mode::empty());
        match open(ResolveFlag::RESOLVE_NO_SYMLINKS) {
            Ok(fd) => {
                let stat = fstat(&fd)?;
                Ok(Held { fd, at: rest.to_owned(), stat })
            }
            Err(Errno::ELOOP) => match open(ResolveFlag::empty()) {
                // Beyond this point an absolute link is resolved on the host. Whether that failed because the
                // target is outside or because it does not exist must not show.
                Err(Errno::EXDEV) => self.root.hold(rest, last).map_err(|_| Fault::Outside),
                Err(errno) => Err(errno.into()),
                Ok(_) => self.root.hold(rest, last).map_err(Fault::resolving),
            },
            Err(errno) => Err(Fault::resolving(errno)),
        }
    }

    /// Holds the directory that `rest`'s last component is in. The last component itself is not looked up.
    ///
    /// # Errors
    /// `FixedRoot` for the workspace's own root, which is in no directory of the tree.
    pub(super) fn spot(&self, rest: &Path) -> Result<Spot, Fault> {
        let name = rest.file_name().ok_or(Fault::Refused(Rule::FixedRoot))?.to_owned();
        let parent = self.hold(rest.parent().unwrap_or(Path::new("")), Last::Follow)?;
        if !parent.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        let at = parent.at.join(&name);
        Ok(Spot { dir: parent.fd, name, at })
    }

    /// Opens `at`, a place where something was held, without following any symlink and without ever waiting.
    pub(super) fn reopen(&self, at: &Path, flags: OFlag) -> Result<OwnedFd, Fault> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        open_beneath(self.root.dir(), at, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, Mode::empty())
            .map_err(Fault::resolving)
    }
}

impl Spot {
    /// Holds what is there under the name, a symlink itself included.
    pub(super) fn hold(&self) -> Result<Held, Fault> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let name = Path::new(&self.name);
        let fd = open_beneath(&self.dir, name, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, Mode::empty())
            .map_err(Fault::resolving)?;
        let stat = fstat(&fd)?;
        Ok(Held { fd, at: self.at.clone(), stat })
    }
}

impl Vfs {
    /// The workspaces, sorted by name.
    pub fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().map(Rc::as_ref)
    }

    /// The workspace that `path` is in and the path below it; `None` for `/`.
    pub(super) fn find<'p>(&self, path: &'p VirtualPath) -> Result<Option<(&Rc<Mount>, &'p Path)>, Fault> {
        let Some((name, rest)) = path.split() else { return Ok(None) };
        let mount = self.mounts.iter().find(|mount| OsStr::new(mount.name.as_str()) == name);
        mount.map(|mount| Some((mount, rest))).ok_or(Fault::Os(Errno::ENOENT))
    }

    /// As [`Vfs::find`], for what `/` cannot be.
    pub(super) fn inside<'p>(&self, path: &'p VirtualPath) -> Result<(&Rc<Mount>, &'p Path), Fault> {
        self.find(path)?.ok_or(Fault::Refused(Rule::FixedRoot))
    }

    /// As [`Vfs::inside`], for a name that is to be made: a new name beside the workspaces is refused, not missing.
    pub(super) fn new_name<'p>(&self, path: &'p VirtualPath) -> Result<(&Rc<Mount>, &'p Path), Fault> {
        self.inside(path).map_err(|fault| match path.split() {
            Some((_, rest)) if rest.as_os_str().is_empty() => Fault::Refused(Rule::FixedRoot),
            _ => fault,
        })
    }
}
