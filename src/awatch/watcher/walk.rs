//! The beginning: every directory is watched, and the names in it are taken down.
//!
//! A directory is watched first and read afterwards, so that whatever appears in between is reported, read, or both.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

use super::dirs::{Dir, DirId, Dirs, Name, ROOT};
use super::inotify::{Inotify, WatchError};
use super::known::{Known, Store};
use super::look::{self, Identity};
use super::settle::Settling;
use super::{Rules, Setting, Watcher, WatcherError};
use crate::event::Kind;

/// One name of a directory, as listing it tells.
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) kind: Kind,
    pub(super) inode: u64,
}

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
            inotify: Inotify::new()?,
            dirs: Dirs::new(root, 0)?,
            store,
            rules,
            options,
            settling: Settling::default(),
            moving: HashMap::new(),
            vanished: HashMap::new(),
            unwatched: BTreeSet::new(),
            next_scan: None,
            // File systems mark files by a clock that may be a tick behind.
            begun: i64::try_from(begun).unwrap_or(i64::MAX) - 20_000_000,
            lost: None,
        };
        watcher.walk()?;
        Ok(watcher)
    }

    fn walk(&mut self) -> Result<(), WatcherError> {
        let root = look::open_directory(self.dirs.root(), b".")?;
        let dirs = self.enter(ROOT, &root)?;
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
            let dirs = self.enter(id, &fd)?;
            if let Some(above) = frames.len().checked_sub(HELD_OPEN) {
                frames[above].fd = None;
            }
            frames.push(Frame { id, fd: Some(fd), dirs });
        }
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
    fn enter(&mut self, id: DirId, fd: &OwnedFd) -> Result<Vec<(Name, DirId)>, WatcherError> {
        let watched = self.watch(id, fd)?;
        let mut dirs = Vec::new();
        let mut names = Vec::new();
        for Entry { name, kind, inode } in self.list(id, fd)? {
            let dir = (kind == Kind::Directory).then(|| self.dirs.number());
            dirs.extend(dir.map(|dir| (name.clone(), dir)));
            if watched {
                names.push((name, Known { kind, dir, inode, detail: None }));
            } else if let Some(stat) = look::at(fd, &name)? {
                // What cannot be watched has to be compared, so it has to be known in detail.
                self.store.put(id, &name, &Known::seen(stat, dir, None))?;
            }
        }
        self.store.list(id, &names)?;
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

    /// The names in an open directory, but for those that nobody is to be told of.
    pub(super) fn list(&self, id: DirId, fd: impl AsFd) -> io::Result<Vec<Entry>> {
        let mut buffer = [MaybeUninit::uninit(); 1 << 14];
        let mut listing = RawDir::new(fd.as_fd(), &mut buffer);
        let mut entries = Vec::new();
        while let Some(entry) = listing.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // It has been removed meanwhile, with all that was in it.
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error.into()),
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::RegularFile => Kind::File,
                FileType::Directory => Kind::Directory,
                FileType::Symlink => Kind::Symlink,
                // Not every file system says.
                FileType::Unknown => match look::at(&fd, name)? {
                    Some(stat) => stat.kind,
                    None => continue,
                },
                _ => Kind::Other,
            };
            if !self.rules.skips(&self.dirs.path(id, name), kind == Kind::Directory) {
                entries.push(Entry { name: Name::from(name), kind, inode: entry.ino() });
            }
        }
        Ok(entries)
    }
}
