//! The directories that are watched, by number: where each is, and which one it is.
//!
//! A directory keeps its number when it gets another name or another place, and with it everything that is known about what
//! is in it. Only directories are held in memory, never their files.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::CWD;
use rustix::io::Errno;

use super::look::{self, Identity};

/// A directory's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirId(pub u32);

/// The workspace itself.
pub const ROOT: DirId = DirId(0);

/// The last component of a path.
pub type Name = Arc<[u8]>;

/// A name in a directory.
pub type Place = (DirId, Name);

/// One directory.
#[derive(Debug)]
pub struct Dir {
    /// Where it is; [`ROOT`] is its own parent.
    pub parent: DirId,
    /// Its name there.
    pub name: Name,
    /// Which one it is.
    pub identity: Identity,
    /// The kernel's number for its watch; `None` when it is not watched.
    pub watch: Option<i32>,
    /// Whether the watch has ended by itself: it was removed, or unmounted, and what has its identity now is another one.
    pub ended: bool,
}

/// How the workspace is reached.
#[derive(Debug)]
pub enum Root {
    /// It is held open.
    Held(OwnedFd),
    /// It is opened anew by its path, which has no symlink in it, each time: nothing keeps it from being unmounted.
    At(PathBuf),
}

/// All of them.
#[derive(Debug)]
pub struct Dirs {
    root: Root,
    table: HashMap<DirId, Dir>,
    by_watch: HashMap<i32, DirId>,
    by_identity: HashMap<Identity, DirId>,
    next: u32,
}

/// The longest path that is opened at once; the kernel takes 4095 bytes.
const MAX_PATH: usize = 4000;

impl Dirs {
    /// The tree below `root`, of which nothing else is known yet. Numbers after `highest` are given to new directories.
    pub fn new(root: Root, highest: u32) -> io::Result<Self> {
        let identity = match &root {
            Root::Held(fd) => look::open(fd)?.identity,
            Root::At(path) => look::open(look::open_directory(CWD, path.as_os_str().as_bytes())?)?.identity,
        };
        let dir = Dir { parent: ROOT, name: Name::from(&b""[..]), identity, watch: None, ended: false };
        Ok(Self {
            root,
            table: HashMap::from([(ROOT, dir)]),
            by_watch: HashMap::new(),
            by_identity: HashMap::from([(identity, ROOT)]),
            next: highest,
        })
    }

    /// The workspace, where it is held open.
    pub fn held(&self) -> Option<&OwnedFd> {
        match &self.root {
            Root::Held(fd) => Some(fd),
            Root::At(_) => None,
        }
    }

    /// One directory; `None` when it has been forgotten.
    pub fn get(&self, id: DirId) -> Option<&Dir> {
        self.table.get(&id)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// The directory with that watch.
    pub fn watched(&self, watch: i32) -> Option<DirId> {
        self.by_watch.get(&watch).copied()
    }

    /// The directory with that identity.
    pub fn identified(&self, identity: Identity) -> Option<DirId> {
        self.by_identity.get(&identity).copied()
    }

    /// The number of each.
    pub fn numbers(&self) -> Vec<DirId> {
        self.table.keys().copied().collect()
    }

    /// The highest number that was given.
    pub fn highest(&self) -> u32 {
        self.next
    }

    /// A new number.
    pub fn number(&mut self) -> DirId {
        self.next += 1;
        DirId(self.next)
    }

    /// Takes in a directory, under a number of its own.
    pub fn insert(&mut self, id: DirId, dir: Dir) {
        self.by_identity.insert(dir.identity, id);
        if let Some(watch) = dir.watch {
            self.by_watch.insert(watch, id);
        }
        self.table.insert(id, dir);
    }

    /// Notes that a directory is watched, or is not any more.
    pub fn set_watch(&mut self, id: DirId, watch: Option<i32>) {
        let Some(dir) = self.table.get_mut(&id) else { return };
        if let Some(old) = dir.watch {
            self.by_watch.remove(&old);
        }
        dir.watch = watch;
        dir.ended = false;
        if let Some(watch) = watch {
            self.by_watch.insert(watch, id);
        }
    }

    /// Notes that a directory's watch has ended by itself.
    pub fn end_watch(&mut self, id: DirId) {
        self.set_watch(id, None);
        if let Some(dir) = self.table.get_mut(&id) {
            dir.ended = true;
        }
    }

    /// Gives a directory another place.
    pub fn relocate(&mut self, id: DirId, (parent, name): Place) {
        if let Some(dir) = self.table.get_mut(&id) {
            (dir.parent, dir.name) = (parent, name);
        }
    }

    /// Forgets a directory, and returns its watch. What is below it has to be forgotten by itself.
    pub fn forget(&mut self, id: DirId) -> Option<i32> {
        let dir = self.table.remove(&id)?;
        if self.by_identity.get(&dir.identity) == Some(&id) {
            self.by_identity.remove(&dir.identity);
        }
        let watch = dir.watch?;
        self.by_watch.remove(&watch);
        Some(watch)
    }

    /// The directory and all above it, up to the root.
    pub fn upwards(&self, id: DirId) -> impl Iterator<Item = DirId> {
        let above = |id: &DirId| self.table.get(id).map(|dir| dir.parent).filter(|_| *id != ROOT);
        std::iter::successors(Some(id), above)
    }

    /// Whether `id` is `above` or somewhere below it.
    pub fn is_within(&self, id: DirId, above: DirId) -> bool {
        self.upwards(id).any(|id| id == above)
    }

    /// The path of `name` in `id`, relative to the workspace.
    pub fn path(&self, id: DirId, name: &[u8]) -> Vec<u8> {
        let mut names: Vec<&[u8]> =
            self.upwards(id).filter_map(|id| self.table.get(&id)).map(|dir| &*dir.name).collect();
        // The last is the root, which has no name.
        names.pop();
        let mut path = Vec::new();
        for name in names.into_iter().rev().chain([name]).filter(|name| !name.is_empty()) {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        path
    }

    /// Opens a directory where it is believed to be.
    ///
    /// # Errors
    /// `ESTALE` when another one is there, or none: then it is about to be found under another name, or gone.
    pub fn open(&self, id: DirId) -> io::Result<OwnedFd> {
        let stale = || io::Error::from(Errno::STALE);
        let dir = self.table.get(&id).ok_or_else(stale)?;
        let (base, mut path) = match &self.root {
            Root::Held(fd) => (fd.as_fd(), Vec::new()),
            Root::At(path) => (CWD, [path.as_os_str().as_bytes(), b"/"].concat()),
        };
        path.extend(self.path(id, b""));
        let mut rest = path.as_slice();
        let mut opened: Option<OwnedFd> = None;
        loop {
            let cut = match rest.get(..MAX_PATH) {
                Some(start) => start.iter().rposition(|byte| *byte == b'/').ok_or_else(stale)?,
                None => rest.len(),
            };
            let (part, after) = rest.split_at(cut);
            let part = if part.is_empty() { b"." } else { part };
            let next = match &opened {
                Some(above) => look::open_directory(above, part),
                None => look::open_directory(base, part),
            };
            opened = Some(next.map_err(|error| match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => stale(),
                _ => error,
            })?);
            match after.split_first() {
                Some((_, after)) => rest = after,
                None => break,
            }
        }
        let opened = opened.ok_or_else(stale)?;
        // A symlink or another directory in the way is found out here: what was opened has to be the one.
        if look::open(&opened)?.identity == dir.identity { Ok(opened) } else { Err(stale()) }
    }
}
