//! From a path in the virtual tree to something held open beneath a workspace's root.
//!
//! Resolution never follows a symlink at first: when that succeeds, the place is the path itself and one system call
//! was enough. Otherwise [`Root::hold`] follows the links beneath the root and reports where they ended. What a
//! caller opens for real, it opens at that place, again without following any link: whoever swaps a directory for a
//! symlink in between gets `ELOOP`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::ftruncate;

use super::attributes::size_of;
use super::delivery::{Deliveries, Standing};
use super::hidden::Journal;
use super::room::{Room, count};
use super::{Fault, Rule, Vfs, VirtualPath};
use crate::beneath::{Held, Last, Root, open_beneath};
use crate::copying::{CHUNK, copy};
use crate::grant::{Access, Quota, Workspace};
use crate::layout::Layout;
use crate::ledger::{Ledger, Usage};
use crate::name::WorkspaceName;
use crate::origin;
use crate::versions::Store;

/// A workspace in the virtual tree: its name, its open root, its rules and its belongings.
#[derive(Debug)]
pub struct Mount {
    name: WorkspaceName,
    root: Root,
    pub(super) rules: Workspace,
    pub(super) origin: Option<String>,
    pub(super) store: Option<Store>,
    pub(super) journal: Option<Journal>,
    pub(super) room: Room,
    pub(super) deliveries: Deliveries,
}

/// What belongs to a workspace and lies outside of it. What its rules need and is not here, they do without by refusing.
#[derive(Debug, Default)]
pub struct Belongings {
    /// Who this session is: the mark on what it writes.
    pub origin: Option<String>,
    /// The count for its quota.
    pub ledger: Option<Ledger>,
    /// Where its versions are kept.
    pub store: Option<Store>,
    /// The list of this session's hidden names in it.
    pub journal: Option<Journal>,
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

impl Belongings {
    /// Opens what the rules of the workspace in `root` need, and makes what is not there yet.
    pub fn open(layout: &Layout, root: &Root, rules: &Workspace, origin: Option<String>) -> io::Result<Self> {
        let files = &rules.files;
        let writes = rules.places().any(|(_, access)| access.may_write());
        let hidden =
            files.atomic || files.versions || rules.places().any(|(_, access)| access == Access::Drop);
        let mut belongings = Self { origin, ..Self::default() };
        if writes && files.quota != Quota::default() {
            belongings.ledger = Some(Ledger::open(&layout.usage_of(root.real()))?);
        }
        if writes && files.versions {
            belongings.store = Some(Store::open(layout, root.real()).map_err(io::Error::other)?);
        }
        if writes && hidden {
            belongings.journal = Journal::open(&layout.journals_of(root.real()), root)?;
        }
        Ok(belongings)
    }
}

impl Mount {
    /// Exposes `root` as `name` under `rules`, whose `path` is not looked at again.
    pub fn new(name: WorkspaceName, root: Root, rules: Workspace, belongings: Belongings) -> Self {
        let Belongings { origin, ledger, store, journal } = belongings;
        let room = Room::new(&rules.files, ledger);
        Self { name, root, rules, origin, store, journal, room, deliveries: Deliveries::default() }
    }

    /// Opens the workspace's directory and exposes it as `name`, without any belongings.
    pub fn open(name: WorkspaceName, rules: &Workspace) -> io::Result<Self> {
        Ok(Self::new(name, Root::open(&rules.path)?, rules.clone(), Belongings::default()))
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
        // Neither by its own name nor through a symlink is there anything that this key does not see. Asked before it is
        // looked for, so that no other error tells what is there.
        if self.is_secret(rest) {
            return Err(Errno::ENOENT.into());
        }
        let held = self.hold_anything(rest, last)?;
        if held.at != rest && self.is_secret(&held.at) { Err(Errno::ENOENT.into()) } else { Ok(held) }
    }

    /// Whether what is at `at`, if anything, is not there for this key.
    fn is_secret(&self, at: &Path) -> bool {
        self.hides_at(at) || matches!(self.standing(at), Standing::Foreign { .. })
    }

    fn hold_anything(&self, rest: &Path, last: Last) -> Result<Held, Fault> {
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
                // What lies behind the link may be what this key does not see.
                Err(Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP) if self.has_secrets() => {
                    Err(Errno::ENOENT.into())
                }
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

    /// Holds what is at `spot`, a symlink itself included.
    pub(super) fn at(&self, spot: &Spot) -> Result<Held, Fault> {
        if self.is_secret(&spot.at) {
            return Err(Errno::ENOENT.into());
        }
        hold_in(&spot.dir, &spot.name, &spot.at)
    }

    /// Whether the file is marked as this key's, as it is now.
    pub(super) fn has_marked(&self, file: impl AsFd) -> bool {
        self.origin.is_some() && origin::of(file) == self.origin
    }

    /// Marks the file as this key's, as it is now. A file system without attributes has no marks.
    pub(super) fn mark(&self, file: impl AsFd) {
        if let Some(origin) = &self.origin {
            let _ = origin::mark(file, origin);
        }
    }

    /// Makes a change of how much there is while no other session makes one: what a change has freed is seen by who frees it.
    pub(super) fn counted<T>(&self, change: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        let _hold = self.room.hold()?;
        change()
    }

    /// Allows the workspace to grow.
    pub(super) fn grow(&self, bytes: u64, files: u64) -> Result<(), Fault> {
        self.room.grow(Usage { bytes, files }, || self.count())
    }

    /// Takes away all that is in an open file.
    pub(super) fn empty(&self, file: impl AsFd) -> Result<(), Fault> {
        self.counted(|| {
            let size = size_of(&file)?;
            ftruncate(&file, 0)?;
            self.shrink(size, 0);
            Ok(())
        })
    }

    /// Copies up to `length` bytes piece by piece, each of which `room` allows first, by its offset and length; returns how
    /// many there were.
    pub(super) fn copy_counted(
        &self,
        from: (BorrowedFd<'_>, i64),
        into: (BorrowedFd<'_>, i64),
        length: u64,
        room: impl Fn(u64, u64) -> Result<(), Fault>,
    ) -> Result<u64, Fault> {
        let mut copied = 0;
        while copied < length {
            let piece = (length - copied).min(CHUNK);
            let at = |start: i64| start.checked_add_unsigned(copied).ok_or(Errno::EFBIG);
            let (from, into) = ((from.0, at(from.1)?), (into.0, at(into.1)?));
            let done = self.counted(|| {
                room(copied, piece)?;
                copy(from, into, piece, |_| Ok::<(), Fault>(()))
            })?;
            copied += done;
            if done < piece {
                break;
            }
        }
        Ok(copied)
    }

    /// The workspace has become smaller.
    pub(super) fn shrink(&self, bytes: u64, files: u64) {
        self.room.shrink(Usage { bytes, files });
    }

    /// Looks at every file for the quota. What is kept of it elsewhere takes space as well.
    fn count(&self) -> Result<Usage, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let open = |dir| open_beneath(dir, Path::new(""), flags, ResolveFlag::empty(), Mode::empty());
        let usage = count([open(self.root.dir())].into_iter())?;
        let kept = self.store.iter().flat_map(Store::directories).map(|(dir, _)| open(dir));
        Ok(Usage { bytes: usage.bytes.saturating_add(count(kept)?.bytes), ..usage })
    }

    /// Opens `at`, a place where something was held, without following any symlink and without ever waiting.
    pub(super) fn reopen(&self, at: &Path, flags: OFlag) -> Result<OwnedFd, Fault> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        open_beneath(self.root.dir(), at, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, Mode::empty())
            .map_err(Fault::resolving)
    }
}

/// Holds what is in `dir` under `name`, a symlink itself included; `at` is the place that it is said to have.
pub(super) fn hold_in(dir: &OwnedFd, name: &OsStr, at: &Path) -> Result<Held, Fault> {
    let fd = open_in(dir, name, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
    let stat = fstat(&fd)?;
    Ok(Held { fd, at: at.to_owned(), stat })
}

/// Opens what is in `dir` under `name`, following nothing.
pub(super) fn open_in(dir: &OwnedFd, name: &OsStr, flags: OFlag) -> Result<OwnedFd, Fault> {
    open_beneath(dir, Path::new(name), flags, ResolveFlag::RESOLVE_NO_SYMLINKS, Mode::empty())
        .map_err(Fault::resolving)
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
