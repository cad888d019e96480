//! The beginning: every directory is watched, and the names in it are taken down.
//!
//! A directory is watched first and read afterwards, so that whatever appears in between is reported, read, or both.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use super::dirs::{Dir, DirId, Dirs, Name, ROOT};
use super::inotify::{Inotify, WatchError};
use super::known::{Known, Store};
use super::listing::Listing;
use super::look::{self, Identity};
use super::settle::Settling;
use super::{Resume, Rules, Setting, Watcher, WatcherError, nanoseconds_now};
use crate::event::Kind;

/// A directory that is being walked through.
struct Frame {
    id: DirId,
    /// Closed where the walk is deep, and opened again when its turn comes.
    fd: Option<OwnedFd>,
    /// What is still to be entered.
    dirs: Vec<(Name, DirId)>,
}

/// How many directories are held open at once: in confinement, few may be.
const HELD_OPEN: usize = 16;

impl<S: Store, R: Rules> Watcher<S, R> {
    /// Watches a tree of which nothing is known. When this comes back, every later change is reported.
    pub fn begin(setting: Setting<S, R>) -> Result<Self, WatcherError> {
        let begun = nanoseconds_now();
        let mut watcher = Self::new(setting, Resume { begun, seen: begun, dirs: 0 })?;
        watcher.walk(true)?;
        Ok(watcher)
    }

    /// Watches a tree of which something is known from before. When this comes back, every later change is reported; what has
    /// changed meanwhile, [`Watcher::compare`] tells.
    pub fn resume(setting: Setting<S, R>, from: Resume) -> Result<Self, WatcherError> {
        let mut watcher = Self::new(setting, from)?;
        watcher.walk(false)?;
        Ok(watcher)
    }

    fn new(setting: Setting<S, R>, from: Resume) -> Result<Self, WatcherError> {
        let Setting { root, store, rules, options } = setting;
        // A clock that was set back may have marked any change with a time that seems to be long past.
        let begun = if nanoseconds_now() < from.seen { 1 } else { from.begun };
        Ok(Self {
            inotify: Inotify::new(options.alone)?,
            dirs: Dirs::new(root, from.dirs)?,
            store,
            rules,
            options,
            settling: Settling::default(),
            moving: HashMap::new(),
            vanished: HashMap::new(),
            arrived: HashMap::new(),
            orphans: HashMap::new(),
            unwatched: BTreeSet::new(),
            next_scan: None,
            offline: HashSet::new(),
            unlearnt: Vec::new(),
            renamed: Vec::new(),
            begun,
            seen: from.seen,
            lost: None,
        })
    }

    /// Watches every directory. With `fresh`, each is new, and its names are taken down; otherwise only those that are known are
    /// entered.
    fn walk(&mut self, fresh: bool) -> Result<(), WatcherError> {
        let root = self.dirs.open(ROOT)?;
        let mut listing = Listing::default();
        let dirs = self.enter(ROOT, &root, &mut listing, fresh)?;
        let mut frames = vec![Frame { id: ROOT, fd: Some(root), dirs }];
        while let Some(frame) = frames.last_mut() {
            let Some((name, id)) = frame.dirs.pop() else {
                frames.pop();
                continue;
            };
            if frame.fd.is_none() {
                frame.fd = self.dirs.open(frame.id).ok();
            }
            let Some(fd) = &frame.fd else {
                frames.pop();
                continue;
            };
            // One that has gone since is reported; one that may not be read is left alone.
            let Ok(fd) = look::open_directory(fd, &name) else { continue };
            let identity = look::open(&fd)?.identity;
            let parent = frame.id;
            if !fresh && !self.is_known(parent, &name, identity)? {
                continue;
            }
            if !self.adopt(id, parent, name, identity) {
                continue;
            }
            let dirs = self.enter(id, &fd, &mut listing, fresh)?;
            if let Some(above) = frames.len().checked_sub(HELD_OPEN) {
                frames[above].fd = None;
            }
            frames.push(Frame { id, fd: Some(fd), dirs });
        }
        self.inotify.return_to(self.dirs.held());
        Ok(())
    }

    /// Whether the directory at a name is the one that is known there.
    fn is_known(&self, dir: DirId, name: &[u8], identity: Identity) -> Result<bool, WatcherError> {
        let known = self.store.get(dir, name)?;
        Ok(known.is_some_and(|known| match known.detail {
            Some(detail) => detail.stat.identity == identity,
            None => known.inode == identity.inode,
        }))
    }

    /// Takes in a directory, unless it is one that is known already, mounted a second time.
    pub(super) fn adopt(&mut self, id: DirId, parent: DirId, name: Name, identity: Identity) -> bool {
        let twice =
            self.dirs.identified(identity).is_some_and(|known| known != id && self.dirs.open(known).is_ok());
        if !twice {
            self.dirs.insert(id, Dir { parent, name, identity, watch: None, ended: false });
        }
        !twice
    }

    /// Watches an open directory, lists it, and says which directories are in it.
    fn enter(
        &mut self,
        id: DirId,
        fd: &OwnedFd,
        listing: &mut Listing,
        fresh: bool,
    ) -> Result<Vec<(Name, DirId)>, WatcherError> {
        let watched = self.watch(id, fd)?;
        self.list(id, fd, listing)?;
        if !fresh {
            return self.known_directories(id, listing);
        }
        listing.number(|| self.dirs.number());
        if watched {
            self.store.list(id, listing)?;
            if self.options.learn {
                self.unlearnt.push(id);
            }
        } else {
            for entry in listing.iter() {
                // What cannot be watched has to be compared, so it has to be known in detail.
                if let Some(stat) = look::at(fd, entry.name)? {
                    self.store.put(id, entry.name, &Known::seen(stat, entry.dir, None))?;
                }
            }
        }
        Ok(listing.iter().filter_map(|entry| Some((Name::from(entry.name), entry.dir?))).collect())
    }

    /// The directories of a listing that are known, and are the same as before as far as a listing tells.
    fn known_directories(&self, id: DirId, listing: &Listing) -> Result<Vec<(Name, DirId)>, WatcherError> {
        let mut dirs = Vec::new();
        for entry in listing.iter().filter(|entry| entry.kind == Kind::Directory) {
            if let Some(known) = self.store.get(id, entry.name)?
                && let Some(dir) = known.dir
            {
                dirs.push((Name::from(entry.name), dir));
            }
        }
        Ok(dirs)
    }

    /// Watches an open directory; `false` when the limit is reached, so that it has to be compared from time to time.
    pub(super) fn watch(&mut self, id: DirId, fd: &OwnedFd) -> Result<bool, WatcherError> {
        match self.inotify.watch(fd, id == ROOT) {
            Ok(watch) => {
                self.dirs.set_watch(id, Some(watch));
                Ok(true)
            }
            Err(WatchError::Limit) => {
                self.unwatched.insert(id);
                self.next_scan.get_or_insert(Instant::now() + self.options.scan);
                Ok(false)
            }
            // One that may be searched but not read: its names are not known, so nothing about them is news.
            Err(WatchError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => Ok(true),
            Err(WatchError::Io(error)) => Err(error.into()),
        }
    }

    /// Lists an open directory, but for the names that nobody is to be told of.
    pub(super) fn list(&self, id: DirId, fd: &OwnedFd, listing: &mut Listing) -> io::Result<()> {
        listing.read(fd, |name, kind| {
            self.rules.skips(name, || self.dirs.path(id, name), kind == Kind::Directory)
        })
    }
}
