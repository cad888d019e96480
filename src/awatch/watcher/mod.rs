//! The watcher: a tree of directories in, settled changes out.
//!
//! The kernel reports that something happened to a name (`inotify`); when that has settled (`settle`), the name is looked at
//! (`look`) and compared with what is known about it (`known`, `compare`). What differs becomes a change, once (`resolve`):
//! nothing is announced that is not there, and nothing twice, however many reports there were.

mod apply;
pub mod compare;
pub mod dirs;
pub mod inotify;
pub mod known;
mod learn;
pub mod listing;
pub mod look;
mod resolve;
pub mod settle;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::inotify::ReadFlags;

use crate::event::{EventPath, Kind, Reason};
use dirs::{DirId, Dirs, Place, Root};
use inotify::{Inotify, Notice};
use known::{Store, StoreError};
use look::Stat;
use settle::{Evidence, Occupant, Pending, Report, Settling, Times};

/// What to leave out.
pub trait Rules {
    /// Whether `name` is nobody's concern, with everything below it; `path` makes its path, relative to the workspace.
    fn skips(&self, name: &[u8], path: impl FnOnce() -> Vec<u8>, directory: bool) -> bool;

    /// Whether that may be another matter when a directory above it gets another name.
    fn depend_on_place(&self) -> bool {
        false
    }
}

/// How a watcher works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// When something has settled.
    pub times: Times,
    /// Files up to this size are read, for their hash.
    pub hash_limit: u64,
    /// How often what cannot be watched is compared.
    pub scan: Duration,
    /// Whether nobody else in this process needs the working directory.
    pub alone: bool,
    /// Whether all that is listed is to be known in detail as well, as soon as there is time for it.
    pub learn: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            times: Times::default(),
            hash_limit: 1 << 18,
            scan: Duration::from_secs(10),
            alone: false,
            learn: false,
        }
    }
}

/// One settled change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub reason: Reason,
    /// Where.
    pub path: EventPath,
    /// Where it was before, after a rename.
    pub from: Option<EventPath>,
    /// What is there, or was.
    pub kind: Kind,
    /// What the system says about it; `None` when it is gone.
    pub stat: Option<Stat>,
    /// Its content, where it was read.
    pub sha256: Option<[u8; 32]>,
    /// Who wrote it.
    pub origin: Option<String>,
}

/// Why a watcher cannot go on with what it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The kernel's queue was full: reports are missing.
    Overflow,
    /// The workspace itself was removed, moved or unmounted.
    Root,
}

/// Why the watch fails.
#[derive(Debug, thiserror::Error)]
pub enum WatcherError {
    /// The system said no.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What is known cannot be read or written.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// At most so many names are looked at before the kernel's queue is read again.
const BATCH: usize = 512;

/// The first half of a rename, whose other half is still to come.
#[derive(Debug)]
struct Moving {
    /// The inode of something known.
    inode: Option<u64>,
    pending: Option<Pending>,
    since: Instant,
}

/// One workspace, watched.
pub struct Watcher<S, R> {
    inotify: Inotify,
    dirs: Dirs,
    store: S,
    rules: R,
    options: Options,
    settling: Settling,
    /// By cookie.
    moving: HashMap<u32, Moving>,
    /// Where something known has gone from, by its inode: it may be found under another name.
    vanished: HashMap<u64, Place>,
    /// Where something known has come to from another name.
    arrived: HashMap<u64, Place>,
    /// What was reported about known files that have lost the name under which it was, by inode: they may have others.
    orphans: HashMap<u64, Evidence>,
    /// Directories that cannot be watched, and are compared from time to time.
    unwatched: BTreeSet<DirId>,
    next_scan: Option<Instant>,
    /// Directories at which something was mounted that is not now.
    offline: HashSet<DirId>,
    /// Directories of which more is to be known than the names.
    unlearnt: Vec<DirId>,
    /// Directories that have another name, so that other rules may hold for what is in them.
    renamed: Vec<DirId>,
    /// When the names were listed, in nanoseconds since 1970.
    begun: i64,
    /// When something was looked at for the last time.
    seen: i64,
    lost: Option<Lost>,
}

impl<S: Store, R: Rules> Watcher<S, R> {
    /// What becomes readable when there is something to read.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.fd()
    }

    /// When [`Watcher::settle`] has something to do, if nothing else happens.
    pub fn next(&self) -> Option<Instant> {
        let recheck = (!self.renamed.is_empty()).then(Instant::now);
        self.settling.next().into_iter().chain(self.next_scan).chain(recheck).min()
    }

    /// Why it cannot go on.
    pub fn lost(&self) -> Option<Lost> {
        self.lost
    }

    /// When the names were listed, when something was looked at for the last time, and the highest number of a directory: what a
    /// later watcher goes on from.
    pub fn memory(&self) -> Resume {
        Resume { begun: self.begun, seen: self.seen, dirs: self.dirs.highest() }
    }

    /// What is known.
    pub fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Gives back what is known, for a later watcher.
    pub fn into_store(self) -> S {
        self.store
    }

    /// How many directories are known, and how many of them cannot be watched.
    pub fn directories(&self) -> (usize, usize) {
        (self.dirs.count(), self.unwatched.len())
    }

    /// How many names have not settled yet.
    pub fn unsettled(&self) -> usize {
        self.settling.len()
    }

    /// Since when the one of them has not that has waited longest.
    pub fn oldest(&self) -> Option<Instant> {
        self.settling.oldest()
    }

    /// What is left out.
    pub fn rules(&self) -> &R {
        &self.rules
    }

    /// Takes in what the kernel has reported.
    pub fn read(&mut self, now: Instant) -> Result<(), WatcherError> {
        let mut notices = Vec::new();
        let seen = nanoseconds_now();
        self.inotify.drain(|notice| notices.push(notice))?;
        if notices.is_empty() && self.settling.is_empty() && self.unwatched.is_empty() && seen > self.seen {
            // As if everything had been looked at: whatever has changed would have been reported.
            self.seen = seen;
        }
        for notice in notices {
            self.notice(notice, now)?;
        }
        self.moving.retain(|_, moving| now.duration_since(moving.since) < Duration::from_secs(1));
        Ok(())
    }

    fn notice(&mut self, notice: Notice, now: Instant) -> Result<(), WatcherError> {
        let Notice { watch, flags, cookie, name } = notice;
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.lost = Some(Lost::Overflow);
            return Ok(());
        }
        let Some(dir) = self.dirs.watched(watch) else { return Ok(()) };
        let Some(name) = name else {
            self.itself(dir, flags, now);
            return Ok(());
        };
        let directory = flags.contains(ReadFlags::ISDIR);
        if self.rules.skips(&name, || self.dirs.path(dir, &name), directory) {
            return Ok(());
        }
        let place = (dir, name);
        if flags.intersects(ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO | ReadFlags::DELETE) {
            self.orphan(&place)?;
        }
        if flags.intersects(ReadFlags::MOVED_FROM | ReadFlags::DELETE) {
            let pending = self.settling.take(&place);
            let known = self.vanish(&place, now)?;
            let inode = match pending.map_or(Occupant::Known, |pending| pending.occupant) {
                Occupant::Known => known,
                Occupant::Carried(inode) => Some(inode),
                Occupant::New | Occupant::Nothing => None,
            };
            if flags.contains(ReadFlags::MOVED_FROM) {
                self.moving.insert(cookie, Moving { inode, pending, since: now });
            } else if let Some(inode) = inode {
                self.arrived.remove(&inode);
            }
            return Ok(());
        }
        if flags.contains(ReadFlags::MOVED_TO) {
            let moving = self.moving.remove(&cookie);
            let inode = moving.as_ref().and_then(|moving| moving.inode);
            if let Some(inode) = inode {
                self.arrived.insert(inode, place.clone());
            }
            let report = inode.map_or(Report::Appeared, Report::Moved);
            self.settling.report(&place, report, &self.options.times, now);
            if let Some(pending) = moving.and_then(|moving| moving.pending) {
                self.settling.add_evidence(&place, pending.evidence);
            }
        }
        for (flag, is) in [
            (ReadFlags::CREATE, Report::Appeared),
            (ReadFlags::MODIFY, Report::Wrote),
            (ReadFlags::CLOSE_WRITE, Report::Closed),
            (ReadFlags::ATTRIB, Report::Attributes),
        ] {
            if flags.contains(flag) {
                self.settling.report(&place, is, &self.options.times, now);
            }
        }
        Ok(())
    }

    /// A known file loses a name. If it has been written to just before, that holds for its other names.
    fn orphan(&mut self, place: &Place) -> Result<(), WatcherError> {
        let Some(pending) = self.settling.get(place).filter(|pending| pending.occupant == Occupant::Known)
        else {
            return Ok(());
        };
        let evidence = pending.evidence;
        if evidence.is_of_content()
            && let Some(known) = self.store.get(place.0, &place.1)?
            && known.kind == Kind::File
            && known.detail.is_none_or(|detail| detail.stat.links > 1)
        {
            self.orphans.insert(known.inode, evidence);
        }
        Ok(())
    }

    /// Something has gone from a name, and if it was known, its inode is the answer. The name may lead to something all the
    /// same: when two things change places, both are reported as gone after both have come.
    fn vanish(&mut self, place: &Place, now: Instant) -> Result<Option<u64>, WatcherError> {
        let Some(known) = self.store.get(place.0, &place.1)? else {
            self.settling.report(place, Report::Look, &self.options.times, now);
            return Ok(None);
        };
        let inode = self.inode(&known);
        self.vanished.insert(inode, place.clone());
        self.settling.report(place, Report::Vanished, &self.options.times, now);
        Ok(Some(inode))
    }

    fn inode(&self, known: &known::Known) -> u64 {
        let dir = known.dir.and_then(|id| self.dirs.get(id));
        dir.map_or(known.inode, |dir| dir.identity.inode)
    }

    /// A report about a directory itself. All but the root are names in another one, which says the same.
    fn itself(&mut self, dir: DirId, flags: ReadFlags, now: Instant) {
        let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED;
        if dir == dirs::ROOT && flags.intersects(gone) {
            self.lost = Some(Lost::Root);
        } else if flags.contains(ReadFlags::IGNORED) {
            // Removed, or unmounted: where it was is looked at once more.
            self.dirs.end_watch(dir);
            if let Some(place) = self.dirs.get(dir).map(|dir| (dir.parent, dir.name.clone())) {
                self.settling.report(&place, Report::Look, &self.options.times, now);
            }
        }
    }

    /// Something was mounted or unmounted on this system: the directories at `places`, relative to the workspace, and those where
    /// something is missing are looked at.
    pub fn mounts_changed(&mut self, places: &[Vec<u8>], now: Instant) -> Result<(), WatcherError> {
        let mut wanted: Vec<Place> = Vec::new();
        for id in std::mem::take(&mut self.offline) {
            wanted.extend(self.dirs.get(id).map(|dir| (dir.parent, dir.name.clone())));
        }
        for place in places {
            wanted.extend(self.place(place)?);
        }
        for place in wanted {
            self.settling.report(&place, Report::Look, &self.options.times, now);
        }
        Ok(())
    }

    /// The place of a path, if the directory that holds it is known.
    fn place(&self, path: &[u8]) -> Result<Option<Place>, WatcherError> {
        let mut dir = dirs::ROOT;
        let mut names = path.split(|byte| *byte == b'/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return Ok(Some((dir, dirs::Name::from(name))));
            }
            let Some(below) = self.store.get(dir, name)?.and_then(|known| known.dir) else { break };
            dir = below;
        }
        Ok(None)
    }

    /// What has settled by now, in an order in which each change can be made after the one before.
    pub fn settle(&mut self, now: Instant) -> Result<Vec<Change>, WatcherError> {
        let mut batch = self.settling.due(now, BATCH);
        settle::sort(&mut batch, &self.dirs);
        let scan = self.next_scan.is_some_and(|when| when <= now);
        if batch.is_empty() && !scan && self.renamed.is_empty() {
            return Ok(Vec::new());
        }
        let mut dirs: Vec<DirId> = if scan { self.unwatched.iter().copied().collect() } else { Vec::new() };
        if scan || self.next_scan.is_none() {
            self.next_scan = (!self.unwatched.is_empty()).then(|| now + self.options.scan);
        }
        let renamed = std::mem::take(&mut self.renamed);
        if !renamed.is_empty() {
            let is_in = |dir: &DirId| renamed.iter().any(|above| self.dirs.is_within(*dir, *above));
            dirs.extend(self.dirs.numbers().into_iter().filter(is_in));
        }
        self.resolve(batch, &dirs, !renamed.is_empty(), now)
    }

    /// Compares everything that is known with what is there: after a time in which nobody watched, or in which reports were
    /// lost.
    pub fn compare(&mut self, now: Instant) -> Result<Vec<Change>, WatcherError> {
        self.lost = None;
        let all = self.dirs.numbers();
        self.resolve(Vec::new(), &all, true, now)
    }

    fn resolve(
        &mut self,
        due: Vec<(Place, Pending)>,
        scan: &[DirId],
        thorough: bool,
        now: Instant,
    ) -> Result<Vec<Change>, WatcherError> {
        let seen = nanoseconds_now();
        if seen < self.seen {
            // The clock was set back: a change from now on may bear a time before the beginning.
            self.begun = self.begun.min(seen);
        }
        let changes = resolve::resolve(self, due, scan, thorough, now);
        self.seen = seen;
        self.inotify.return_to(self.dirs.held());
        changes
    }
}

/// What a watcher goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// When the names were listed, in nanoseconds since 1970.
    pub begun: i64,
    /// When something was looked at for the last time.
    pub seen: i64,
    /// The highest number of a directory.
    pub dirs: u32,
}

/// Now, by the clock that marks files. They may be marked by one that is a tick behind, so what was changed that long before may
/// have been changed after.
fn nanoseconds_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    i64::try_from(now).unwrap_or(i64::MAX) - 10_000_000
}

/// A tree to watch, and how.
pub struct Setting<S, R> {
    /// The workspace.
    pub root: Root,
    /// What is known about it.
    pub store: S,
    /// What to leave out.
    pub rules: R,
    /// How to work.
    pub options: Options,
}
