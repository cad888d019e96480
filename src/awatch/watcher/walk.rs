//! The beginning: every directory is watched, and the names in it are taken down.
//!
//! A directory is watched first and read afterwards, so that whatever appears in between is reported, read, or both.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::dirs::{Dir, DirId, Dirs, Name, ROOT};
use super::inotify::{Inotify, WatchError};
use super::known::{Known, Store};
use super::listing::Listing;
use super::look::{self, Identity};
use super::settle::Settling;
use super::{Rules, Setting, Watcher, WatcherError};
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
        let Setting { root, store, rules, options } = setting;
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let mut watcher = Self {
            inotify: Inotify::new(options.alone)?,
            dirs: Dirs::new(root, 0)?,
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
            // File systems mark files by a clock that may be a tick behind.
            begun: i64::try_from(begun).unwrap_or(i64::MAX) - 10_000_000,
            lost: None,
        };
        watcher.walk()?;
        Ok(watcher)
    }

    fn walk(&mut self) -> Result<(), WatcherError> {
        let root = look::open_directory(self.dirs.root(), b".")?;
        let mut listing = Listing::default();
        let dirs = self.enter(ROOT, &root, &mut listing)?;
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
            if !self.adopt(id, parent, name, identity) {
                continue;
            }
            let dirs = self.enter(id, &fd, &mut listing)?;
            if let Some(above) = frames.len().checked_sub(HELD_OPEN) {
                frames[above].fd = None;
            }
            frames.push(Frame { id, fd: Some(fd), dirs });
        }
        self.inotify.return_to(self.dirs.root());
        Ok(())
    }

    /// Takes in a directory, unless it is one that is known already, mounted a second time.
    pub(super) fn adopt(&mut self, id: DirId, parent: DirId, name: Name, identity: Identity) -> bool {
        let twice =
            self.dirs.identified(identity).is_some_and(|known| known != id && self.dirs.open(known).is_ok());
        if !twice {
            self.dirs.insert(id, Dir { parent, name, identity, watch: None });
        }
        !twice
    }

    /// Watches an open directory, lists it, and says which directories are in it.
    fn enter(
        &mut self,
        id: DirId,
        fd: &OwnedFd,
        listing: &mut Listing,
    ) -> Result<Vec<(Name, DirId)>, WatcherError> {
        let watched = self.watch(id, fd)?;
        self.list(id, fd, listing)?;
        listing.number(|| self.dirs.number());
        if watched {
            self.store.list(id, listing)?;
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
