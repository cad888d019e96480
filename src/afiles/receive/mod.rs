//! Receiving: how what comes from elsewhere gets its place in a directory here.
//!
//! Nothing is ever seen half: a file arrives under a hidden name beside its place, gets its mode, its time and its mark
//! there, is synced as far as it was asked for, and then takes its place by one rename. What had the place before is moved
//! aside by the same rename, looked at once more, and kept or removed.
//!
//! Nothing ever leaves the directory: names come from a server that may be hostile, so each is an [`EventPath`], and is
//! opened by `openat2(2)` beneath the directory without following any symlink.
//!
//! Hidden names are written down before they are made (`rrsync_rs::vfs::Journal`), so whoever comes next removes what a killed run
//! has left.

mod incoming;
mod keep;
mod place;
mod settle;
mod symlinks;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use rrsync_rs::beneath::{Root, kind, open_beneath};
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::versions::StoreError;
use rrsync_rs::vfs::{Holding as Remembering, Journal};

use crate::event::EventPath;

pub use incoming::{Attributes, Incoming};
pub use keep::Keeper;
pub use place::Known;
pub use settle::Durability;
pub use symlinks::{Symlinks, destination};

/// Why something could not get its place.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The system said no.
    #[error("{path}: {errno}", path = Escaped::os(path), errno = errno.desc())]
    System {
        /// Where.
        path: PathBuf,
        /// What it said.
        errno: Errno,
    },
    /// What has the place now could not be kept.
    #[error("{}: its present content cannot be kept: {source}", Escaped::os(path))]
    Keep {
        /// Where.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// A symlink leads out of the directory, and the user wants none of those.
    #[error("{}: a symlink that leads out of the copy", Escaped::os(.0))]
    LinkLeaves(PathBuf),
    /// The directory cannot be used.
    #[error("{}: {source}", Escaped::os(path))]
    Root {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ReceiveError {
    /// Whether it would befall any other path as well: a full disk, say, and no name that is too long.
    pub fn is_everyones(&self) -> bool {
        let everyones = |errno: Errno| {
            use Errno::{EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS};
            matches!(errno, ENOSPC | EDQUOT | EIO | EROFS | EMFILE | ENFILE | ENOMEM)
        };
        match self {
            Self::System { errno, .. } => everyones(*errno),
            Self::Keep { source: StoreError::Io(_, source), .. } => {
                source.raw_os_error().is_some_and(|number| everyones(Errno::from_raw(number)))
            }
            Self::Keep { .. } => false,
            Self::LinkLeaves(_) | Self::Root { .. } => true,
        }
    }

    pub(super) fn at(path: &Path) -> impl FnOnce(Errno) -> Self + '_ {
        move |errno| Self::System { path: path.to_owned(), errno }
    }
}

/// A directory that receives.
#[derive(Debug)]
pub struct Tree {
    root: Root,
    journal: Option<Journal>,
    origin: String,
    keeper: Keeper,
    durability: Durability,
    /// The directory that was opened last; files come a directory at a time.
    parent: RefCell<Option<(PathBuf, Rc<OwnedFd>)>>,
    /// Directories that the owner may not write, and what they had for a mode, until all is in its place.
    unlocked: RefCell<Vec<(PathBuf, u32)>>,
    /// Directories in which names have changed since the last sync.
    touched: RefCell<BTreeSet<PathBuf>>,
    /// Whether the file system can exchange two names in one step; found out by trying.
    exchanges: Cell<bool>,
}

/// The name of the hidden directory for rsync.
const STAGE: &[u8] = b".akeys-upload-stage";

/// The hidden directory into which rsync brings files.
#[derive(Debug)]
pub struct Stage<'t> {
    tree: &'t Tree,
    path: EventPath,
}

impl Stage<'_> {
    /// Where it is.
    pub fn real(&self) -> PathBuf {
        self.tree.real().join(self.path.as_path())
    }

    /// Where it is below its tree.
    pub fn at(&self) -> &Path {
        self.path.as_path()
    }

    /// What is in it at `path`, a symlink itself.
    pub fn look(&self, path: &EventPath) -> Result<Option<FileStat>, ReceiveError> {
        let staged = [self.path.as_bytes(), b"/", path.as_bytes()].concat();
        EventPath::new(staged).map_or(Ok(None), |staged| self.tree.look(&staged))
    }

    /// Everything that was in it has its place.
    pub fn clear(self) -> Result<(), ReceiveError> {
        self.tree.forget_parent();
        let name = self.path.as_path().as_os_str();
        rrsync_rs::removal::remove_all(self.tree.root.dir(), name)
            .map_err(ReceiveError::at(self.path.as_path()))
    }
}

/// A name in a directory that is held open.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) dir: Rc<OwnedFd>,
    /// One component.
    pub(super) name: OsString,
    /// Where it is below the tree.
    pub(super) at: PathBuf,
}

impl Spot {
    /// What is there, a symlink itself; `None` for nothing.
    pub(super) fn look(&self) -> Result<Option<FileStat>, ReceiveError> {
        look(&self.dir, &self.name).map_err(ReceiveError::at(&self.at))
    }

    /// Another name beside it, of the hidden ones.
    pub(super) fn beside(&self) -> Self {
        let name = rrsync_rs::vfs::hidden::name();
        Self { dir: Rc::clone(&self.dir), at: self.at.with_file_name(&name), name }
    }
}

fn look(dir: &OwnedFd, name: &OsString) -> Result<Option<FileStat>, Errno> {
    let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
    match nix::sys::stat::fstatat(dir, name.as_os_str(), flags) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

impl Tree {
    /// Opens `directory` to receive. Whoever does that for a directory that others know of holds its lock.
    pub fn open(
        directory: &Path,
        layout: &Layout,
        origin: &str,
        keeper: Keeper,
        durability: Durability,
    ) -> Result<Self, ReceiveError> {
        let failed = |source| ReceiveError::Root { path: directory.to_owned(), source };
        let root = Root::open(directory).map_err(failed)?;
        let journal = Journal::open(&layout.journals_of(root.real()), &root).map_err(failed)?;
        Ok(Self::of(root, journal, origin, keeper, durability))
    }

    fn of(
        root: Root,
        journal: Option<Journal>,
        origin: &str,
        keeper: Keeper,
        durability: Durability,
    ) -> Self {
        Self {
            root,
            journal,
            origin: origin.to_owned(),
            keeper,
            durability,
            parent: RefCell::default(),
            unlocked: RefCell::default(),
            touched: RefCell::default(),
            exchanges: Cell::new(true),
        }
    }

    /// Opens a directory that nobody knows of yet, and that is removed as a whole when this run is killed.
    pub fn open_new(
        directory: &Path,
        layout: &Layout,
        origin: &str,
        durability: Durability,
    ) -> Result<Self, ReceiveError> {
        let keeper = Keeper::new(layout, false);
        let root = Root::open(directory)
            .map_err(|source| ReceiveError::Root { path: directory.to_owned(), source })?;
        Ok(Self::of(root, None, origin, keeper, durability))
    }

    /// Where it is.
    pub fn real(&self) -> &Path {
        self.root.real()
    }

    /// What is at `path`, a symlink itself. Nothing is also what lies behind a file or a symlink.
    pub fn look(&self, path: &EventPath) -> Result<Option<FileStat>, ReceiveError> {
        match self.open_parent(parent_of(path.as_path())) {
            Ok(dir) => {
                let name = path.as_path().file_name().unwrap_or_default().to_owned();
                look(&dir, &name).map_err(ReceiveError::at(path.as_path()))
            }
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            Err(errno) => Err(ReceiveError::at(path.as_path())(errno)),
        }
    }

    /// Whether there is a directory at `path`, and nothing else on the way to it; the tree itself is one.
    pub fn has_directory(&self, path: &Path) -> bool {
        self.open_parent(path).is_ok()
    }

    /// The hidden directory into which rsync brings files. What an interrupted run has left in it is there again, as a basis
    /// for the next.
    pub fn stage(&self) -> Result<Stage<'_>, ReceiveError> {
        let path =
            EventPath::new(STAGE.to_vec()).map_err(|_| ReceiveError::at(Path::new(""))(Errno::EINVAL))?;
        self.make_dir(&path, Some(Attributes { mode: 0o700, modified: 0 }), None)?;
        Ok(Stage { tree: self, path })
    }

    /// Opens the regular file at `path` for reading; `None` for anything else.
    pub fn read(&self, path: &EventPath) -> Option<std::fs::File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = self.open_beneath(path.as_path(), flags).ok()?;
        let regular = fstat(&file).is_ok_and(|stat| kind(&stat) == SFlag::S_IFREG);
        regular.then(|| file.into())
    }

    /// What the symlink at `path` says; `None` for anything else.
    pub fn read_link(&self, path: &EventPath) -> Option<Vec<u8>> {
        let dir = self.open_parent(parent_of(path.as_path())).ok()?;
        let says = nix::fcntl::readlinkat(&*dir, path.as_path().file_name()?).ok()?;
        Some(std::os::unix::ffi::OsStringExt::into_vec(says))
    }

    /// The directory that `path` is to be in, made with its parents where they are missing.
    pub(super) fn spot(&self, path: &EventPath) -> Result<Spot, ReceiveError> {
        let at = path.as_path();
        let name = at.file_name().unwrap_or_default().to_owned();
        let parent = parent_of(at);
        let dir = match self.open_parent(parent) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                self.make_parents(parent)?;
                self.open_parent(parent)
            }
            opened => opened,
        };
        Ok(Spot { dir: dir.map_err(ReceiveError::at(parent))?, name, at: at.to_owned() })
    }

    /// Names in the directory of `spot` are about to change: makes sure that they can, and remembers it.
    pub(super) fn change(&self, spot: &Spot) -> Result<(), ReceiveError> {
        let parent = parent_of(&spot.at);
        // Looked at each time: its own attributes may have been set since the last.
        let stat = fstat(&*spot.dir).map_err(ReceiveError::at(parent))?;
        let mode = stat.st_mode & 0o7777;
        if mode & 0o300 != 0o300 && !nix::unistd::geteuid().is_root() {
            set_mode(&spot.dir, mode | 0o700).map_err(ReceiveError::at(parent))?;
            self.unlocked.borrow_mut().push((parent.to_owned(), mode));
        }
        self.touched.borrow_mut().insert(parent.to_owned());
        Ok(())
    }

    /// Gives directories back the modes that they had.
    pub(super) fn lock_again(&self) -> Result<(), ReceiveError> {
        for (path, mode) in self.unlocked.take() {
            // What cannot be opened has been removed since.
            if let Ok(dir) = self.open_beneath(&path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
                set_mode(&dir, mode).map_err(ReceiveError::at(&path))?;
            }
        }
        Ok(())
    }

    /// What is under hidden names stays written down until this is dropped, also what is not there any more: forgetting it costs as
    /// much as removing a file.
    pub fn remember(&self) -> Option<Remembering<'_>> {
        self.journal.as_ref().map(Journal::hold)
    }

    /// A directory stays open as the last one only as long as nothing has been moved.
    pub(super) fn forget_parent(&self) {
        self.parent.take();
    }

    fn open_parent(&self, parent: &Path) -> Result<Rc<OwnedFd>, Errno> {
        if let Some((path, dir)) = &*self.parent.borrow()
            && path == parent
        {
            return Ok(Rc::clone(dir));
        }
        let dir = Rc::new(self.open_beneath(parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?);
        *self.parent.borrow_mut() = Some((parent.to_owned(), Rc::clone(&dir)));
        Ok(dir)
    }

    fn make_parents(&self, parent: &Path) -> Result<(), ReceiveError> {
        let mut path = PathBuf::new();
        for part in parent {
            path.push(part);
            if let Ok(path) =
                EventPath::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_owned())
            {
                self.make_dir(&path, None, None)?;
            }
        }
        Ok(())
    }

    fn open_beneath(&self, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
        open_beneath(self.root.dir(), path, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, Mode::empty())
    }
}

/// The directory that a path is in; empty for the tree itself.
fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Sets permissions through a descriptor that was opened with `O_PATH`, for which fchmod(2) is not.
fn set_mode(fd: &OwnedFd, mode: u32) -> Result<(), Errno> {
    let own = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    nix::sys::stat::fchmodat(
        nix::fcntl::AT_FDCWD,
        own.as_str(),
        Mode::from_bits_truncate(mode),
        nix::sys::stat::FchmodatFlags::FollowSymlink,
    )
}

#[cfg(test)]
mod tests;
