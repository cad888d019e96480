//! From names that have settled to differences: what is there now, against what is known.
//!
//! All names of a batch are looked at before anything is announced, because two of them may be the two ends of one rename.
//! A thing that has another name is found by its identity, not by the kernel's cookies: so a rename that happened while nobody
//! watched is one, too.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::compare::{self, Verdict};
use super::dirs::{DirId, Name, Place};
use super::known::{Known, Store};
use super::listing::Listing;
use super::look::{self, Stat};
use super::settle::{Evidence, Occupant, Pending};
use super::{Change, Rules, Watcher, WatcherError, apply};
use crate::event::Kind;

/// A name at which something differs from what is known.
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) evidence: Evidence,
    /// What is known.
    pub(super) old: Option<Known>,
    /// What is there.
    pub(super) new: Option<New>,
    /// Whether both are the same file, and what about it has changed.
    pub(super) same: Option<Verdict>,
    /// Where the old one is now, as an index of the batch.
    pub(super) moved_to: Option<usize>,
    /// Where the new one was before.
    pub(super) moved_from: Option<usize>,
}

/// What is there.
pub(super) struct New {
    pub(super) stat: Stat,
    pub(super) dir: Option<DirId>,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) origin: Option<String>,
}

/// What came of looking at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing to tell, or nothing yet: it is being looked at.
    Nothing,
    /// It has not settled.
    PutOff,
    /// A difference.
    Found,
}

/// How long to wait for a directory that is not where it is believed to be: its rename is on its way.
const MOVING: Duration = Duration::from_millis(10);

/// How long to wait for a file that changed while it was read.
const CHANGING: Duration = Duration::from_millis(50);

/// The first wait for a writer that has closed a file.
const MOMENT: Duration = Duration::from_millis(1);

/// How long to wait at most for the end of a writer of whom nothing is heard.
const UNHEARD: Duration = Duration::from_mins(1);

/// When to look again at a file that is open for writing. The kernel reports that it was closed before it counts one writer
/// less; and who has opened it by a name that is not watched closes it without a report.
fn again(pending: &Pending, settle: Duration) -> Duration {
    let first = if pending.evidence.closed { settle.max(MOMENT) } else { settle.max(CHANGING) };
    first.saturating_mul(1 << pending.tries.min(16)).min(UNHEARD)
}

/// How often one name waits for another. Reports of things that change places are ambiguous, and two names might wait for
/// each other.
const PATIENCE: u8 = 20;

/// How long to wait where the system fails, for want of memory or for a disk's sake.
const FAILING: Duration = Duration::from_secs(1);

/// Where the system does not tell whether a file is open for writing: how long ago its last change has to be.
const UNKNOWN_WRITER: Duration = Duration::from_secs(2);

pub(super) struct Batch<'w, S, R> {
    pub(super) watcher: &'w mut Watcher<S, R>,
    pub(super) now: Instant,
    pub(super) found: Vec<Found>,
    /// New directories that have not been announced.
    pub(super) unborn: HashSet<DirId>,
    /// Places to look at once more when all is announced.
    pub(super) again: Vec<Place>,
    /// Whose time has come.
    due: HashMap<Place, Pending>,
    seen: HashMap<Place, Outcome>,
    open: Option<(DirId, Rc<OwnedFd>)>,
    /// What is not under its name any more, by inode.
    gone: HashMap<u64, Vec<usize>>,
    /// New directories that have not been entered.
    fresh: Vec<usize>,
    /// Known directories of which every name is compared.
    deep: Vec<DirId>,
    /// Whether what is below them is compared as well.
    pub(super) thorough: bool,
}

/// Looks at a batch of names, and at every name in the directories `scan`, and announces what differs. `thorough`: what is below
/// a directory of which something has changed may have changed as well.
pub(super) fn resolve<S: Store, R: Rules>(
    watcher: &mut Watcher<S, R>,
    due: Vec<(Place, Pending)>,
    scan: &[DirId],
    thorough: bool,
    now: Instant,
) -> Result<Vec<Change>, WatcherError> {
    let mut batch = Batch {
        watcher,
        now,
        found: Vec::new(),
        unborn: HashSet::new(),
        again: Vec::new(),
        due: due.iter().cloned().collect(),
        seen: HashMap::new(),
        open: None,
        gone: HashMap::new(),
        fresh: Vec::new(),
        deep: Vec::new(),
        thorough,
    };
    for (place, _) in due {
        batch.pull(&place)?;
    }
    for dir in scan {
        batch.compare(*dir)?;
    }
    loop {
        if let Some(dir) = batch.deep.pop() {
            batch.compare(dir)?;
        } else if let Some(index) = batch.fresh.pop() {
            batch.fresh(index)?;
        } else {
            break;
        }
    }
    batch.other_names()?;
    batch.match_files();
    apply::apply(batch)
}

impl<S: Store, R: Rules> Batch<'_, S, R> {
    fn observe(&mut self, place: &Place, pending: Pending) -> Result<Outcome, WatcherError> {
        if let Some(outcome) = self.seen.get(place) {
            return Ok(*outcome);
        }
        // Two names that have changed places lead to each other.
        self.seen.insert(place.clone(), Outcome::Nothing);
        let outcome = self.look_at(place, pending)?;
        if let Occupant::Carried(inode) = pending.occupant
            && outcome != Outcome::PutOff
        {
            self.watcher.arrived.remove(&inode);
        }
        self.seen.insert(place.clone(), outcome);
        Ok(outcome)
    }

    fn put_off(&mut self, place: &Place, pending: Pending, wait: Duration) -> Outcome {
        self.watcher.settling.put_off(place, pending, self.now + wait);
        Outcome::PutOff
    }

    /// Opens a directory; `None` when it is not where it is believed to be.
    fn open(&mut self, id: DirId) -> io::Result<Option<Rc<OwnedFd>>> {
        if let Some((open, fd)) = &self.open
            && *open == id
        {
            return Ok(Some(Rc::clone(fd)));
        }
        match self.watcher.dirs.open(id) {
            Ok(fd) => {
                let fd = Rc::new(fd);
                self.open = Some((id, Rc::clone(&fd)));
                Ok(Some(fd))
            }
            Err(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn look_at(&mut self, place: &Place, pending: Pending) -> Result<Outcome, WatcherError> {
        let (dir, name) = place;
        if self.watcher.dirs.get(*dir).is_none() {
            return Ok(Outcome::Nothing);
        }
        let opened = match self.open(*dir) {
            Ok(Some(fd)) => look::at(&*fd, name).map(|stat| (Some(fd), stat)),
            // The directory is not where it was. What has gone from it is gone all the same; whether something else has come
            // is seen later.
            Ok(None) if pending.occupant == Occupant::Nothing => {
                self.again.push(place.clone());
                Ok((None, None))
            }
            Ok(None) => return Ok(self.put_off(place, pending, MOVING)),
            Err(error) => Err(error),
        };
        let (fd, stat) = match opened {
            Ok(found) => found,
            // What may not be looked at is not known to be gone. It is compared when its directory may be read again.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Outcome::Nothing),
            Err(_) => return Ok(self.put_off(place, pending, FAILING)),
        };
        let old = self.watcher.store.get(*dir, name)?;
        if let (Some(old), Some(stat), Some(fd)) = (old, stat, &fd)
            && self.is_same(&old, &stat)
        {
            return self.same(place, old, stat, fd, pending);
        }
        if let (Some(old), Some(stat)) = (&old, &stat)
            && self.is_unmounted(*dir, old, stat)
        {
            // What is not mounted is not removed.
            self.watcher.offline.extend(old.dir);
            return Ok(Outcome::Nothing);
        }
        if old.is_some() && pending.evidence.compared {
            // It may have gone while it was compared, and then there is a report that says where.
            self.watcher.read(self.now)?;
        }
        if let Some(old) = &old
            && pending.tries < PATIENCE
            && !self.follow(old, place, stat.is_some())?
        {
            return Ok(self.put_off(place, pending, MOVING));
        }
        let new = match (stat, &fd) {
            (Some(stat), Some(fd)) => match self.appeared(place, stat, fd, pending)? {
                Some(new) => Some(new),
                None => return Ok(Outcome::PutOff),
            },
            _ => None,
        };
        if old.is_none() && new.is_none() {
            return Ok(Outcome::Nothing);
        }
        let index = self.found.len();
        if let Some(old) = &old {
            let inode = self.watcher.inode(old);
            self.watcher.vanished.remove(&inode);
            self.gone.entry(inode).or_default().push(index);
        }
        if new.as_ref().is_some_and(|new| new.stat.kind == Kind::Directory) {
            self.fresh.push(index);
        }
        let (place, evidence) = (place.clone(), pending.evidence);
        self.found.push(Found { place, evidence, old, new, same: None, moved_to: None, moved_from: None });
        Ok(Outcome::Found)
    }

    /// Whether a file system was mounted at a name in `dir`, and is not any more.
    fn is_unmounted(&self, dir: DirId, old: &Known, stat: &Stat) -> bool {
        let Some(id) = old.dir.filter(|_| stat.kind == Kind::Directory) else { return false };
        let device = |id| self.watcher.dirs.get(id).map(|dir| dir.identity.device);
        let (above, now) = (device(dir), Some(stat.identity.device));
        let before = device(id).or(old.detail.map(|detail| detail.stat.identity.device));
        above == now && before.is_some() && before != now
    }

    /// Looks where something that has gone from its name is now, if that was reported; `false` when that has not settled. A file
    /// whose name leads to another one by now was replaced, wherever it is.
    fn follow(&mut self, old: &Known, place: &Place, taken: bool) -> Result<bool, WatcherError> {
        if taken && old.dir.is_none() {
            return Ok(true);
        }
        let inode = self.watcher.inode(old);
        let Some(to) = self.watcher.arrived.get(&inode).filter(|to| *to != place).cloned() else {
            return Ok(true);
        };
        Ok(self.pull(&to)? != Outcome::PutOff)
    }

    /// Looks at another name as well, whether its time has come or not.
    fn pull(&mut self, place: &Place) -> Result<Outcome, WatcherError> {
        if let Some(outcome) = self.seen.get(place) {
            return Ok(*outcome);
        }
        let pending = self.reported(place).unwrap_or_else(|| Pending::look(self.now));
        self.observe(place, pending)
    }

    /// What was reported about a name.
    fn reported(&mut self, place: &Place) -> Option<Pending> {
        self.due.remove(place).or_else(|| self.watcher.settling.take(place))
    }

    fn is_watched(&self, known: &Known) -> bool {
        known.dir.is_some_and(|id| self.watcher.dirs.get(id).is_some())
    }

    fn is_same(&self, old: &Known, stat: &Stat) -> bool {
        if old.kind != stat.kind {
            return false;
        }
        match (old.dir.and_then(|id| self.watcher.dirs.get(id)), &old.detail) {
            (Some(dir), _) => dir.identity == stat.identity,
            (None, Some(detail)) => detail.stat.is(stat),
            (None, None) => old.inode == 0 || old.inode == stat.identity.inode,
        }
    }

    /// Whether what is there can be what was known under another name. What was only listed is known by its inode, which a new
    /// file gets when that one is gone.
    fn is_old(&self, old: &Known, stat: &Stat) -> bool {
        let age = if stat.identity.born == 0 { stat.modified } else { stat.identity.born };
        old.detail.is_some() || age < self.watcher.begun
    }

    /// The same file is still there.
    fn same(
        &mut self,
        place: &Place,
        old: Known,
        stat: Stat,
        fd: &OwnedFd,
        pending: Pending,
    ) -> Result<Outcome, WatcherError> {
        if let Some(id) = old.dir {
            self.same_directory(place, id, &stat, fd)?;
        }
        let mut verdict = compare::compare(&old, &stat, pending.evidence, self.watcher.begun);
        let mut new =
            New { stat, dir: old.dir, sha256: old.detail.and_then(|detail| detail.sha256), origin: None };
        if matches!(verdict, Verdict::Modified | Verdict::Doubt) && stat.kind == Kind::File {
            let Some(read) = self.content(place, stat, fd, pending) else { return Ok(Outcome::PutOff) };
            if verdict == Verdict::Doubt {
                verdict = compare::resolve(&old, &read.stat, read.sha256);
            }
            new = read;
        }
        if verdict == Verdict::Same {
            if old.detail.is_some_and(|detail| detail.stat != new.stat) && old.dir.is_none() {
                self.watcher.store.put(place.0, &place.1, &Known::seen(new.stat, None, new.sha256))?;
            }
            return Ok(Outcome::Nothing);
        }
        let (place, evidence) = (place.clone(), pending.evidence);
        let (new, same) = (Some(new), Some(verdict));
        self.found.push(Found {
            place,
            evidence,
            old: Some(old),
            new,
            same,
            moved_to: None,
            moved_from: None,
        });
        Ok(Outcome::Found)
    }

    fn same_directory(
        &mut self,
        place: &Place,
        id: DirId,
        stat: &Stat,
        fd: &OwnedFd,
    ) -> Result<(), WatcherError> {
        let watcher = &mut *self.watcher;
        let known = watcher.dirs.get(id).map(|dir| dir.watch.is_some() || watcher.unwatched.contains(&id));
        if known != Some(true) {
            // It may be readable now, or its watch has gone with a mount.
            let Ok(dir) = look::open_directory(fd, &place.1) else { return Ok(()) };
            if look::open(&dir)?.identity != stat.identity
                || (known.is_none() && !watcher.adopt(id, place.0, place.1.clone(), stat.identity))
            {
                return Ok(());
            }
            watcher.watch(id, &dir)?;
            self.deep.push(id);
        }
        Ok(())
    }

    /// Something else is there than what is known, or something where nothing was known. `None`: it has not settled.
    fn appeared(
        &mut self,
        place: &Place,
        stat: Stat,
        fd: &OwnedFd,
        pending: Pending,
    ) -> Result<Option<New>, WatcherError> {
        let before = match stat.kind {
            Kind::Directory => {
                let known = self.watcher.dirs.identified(stat.identity);
                known.and_then(|id| self.watcher.dirs.get(id)).map(|dir| (dir.parent, dir.name.clone()))
            }
            _ => self.watcher.vanished.get(&stat.identity.inode).cloned(),
        };
        if let Some(before) = before.filter(|before| before != place)
            && self.pull(&before)? == Outcome::PutOff
            && (stat.kind != Kind::Directory || pending.tries < PATIENCE)
        {
            // It cannot be said yet whether it has left that name: an editor may have moved the old file out of the way, and is
            // still writing the new one.
            let wait = if stat.kind == Kind::Directory { MOVING } else { CHANGING };
            self.put_off(place, pending, wait);
            return Ok(None);
        }
        if stat.kind == Kind::File {
            return Ok(self.content(place, stat, fd, pending));
        }
        Ok(Some(New { stat, dir: None, sha256: None, origin: None }))
    }

    /// Looks into a regular file. `None`: it has not settled, and its turn comes again.
    fn content(&mut self, place: &Place, stat: Stat, fd: &OwnedFd, pending: Pending) -> Option<New> {
        let new = match look::into(fd, &place.1, self.watcher.options.hash_limit) {
            Ok(content) if content.stat.is(&stat) => {
                let new =
                    New { stat: content.stat, dir: None, sha256: content.sha256, origin: content.origin };
                (new, content.being_written)
            }
            // Another one by now, or none.
            Ok(_) => return self.not_yet(place, pending, Duration::ZERO),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => return self.not_yet(place, pending, Duration::ZERO),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {
                    return self.not_yet(place, pending, CHANGING);
                }
                // It may not be read. That it is there, and how large, is known all the same.
                _ => (New { stat, dir: None, sha256: None, origin: None }, None),
            },
        };
        let (new, being_written) = new;
        self.has_settled(place, &new.stat, pending, being_written).then_some(new)
    }

    fn not_yet(&mut self, place: &Place, pending: Pending, wait: Duration) -> Option<New> {
        self.put_off(place, pending, wait.max(self.watcher.options.times.settle));
        None
    }

    fn has_settled(
        &mut self,
        place: &Place,
        stat: &Stat,
        mut pending: Pending,
        being_written: Option<bool>,
    ) -> bool {
        let wait = match being_written {
            Some(false) => return true,
            Some(true) => match self.watcher.options.times.quiet {
                None => again(&pending, self.watcher.options.times.settle),
                Some(quiet) => {
                    let written = pending.written.unwrap_or(self.now);
                    let left = (written + quiet).saturating_duration_since(self.now);
                    if left.is_zero() {
                        return true;
                    }
                    pending.written = Some(written);
                    self.put_off(place, pending, left);
                    return false;
                }
            },
            None if pending.evidence.closed => return true,
            None => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let changed = Duration::from_nanos(stat.changed.try_into().unwrap_or(0));
                // A change in the future, by a clock that was set back, is over.
                let age = now.checked_sub(changed).unwrap_or(UNKNOWN_WRITER);
                match UNKNOWN_WRITER.checked_sub(age).filter(|left| !left.is_zero()) {
                    Some(left) => left,
                    None => return true,
                }
            }
        };
        self.put_off(place, pending, wait);
        false
    }

    /// A new directory: one that is known under another name, or one to enter.
    fn fresh(&mut self, index: usize) -> Result<(), WatcherError> {
        let (place, Some(stat)) =
            (self.found[index].place.clone(), self.found[index].new.as_ref().map(|new| new.stat))
        else {
            return Ok(());
        };
        let same = |batch: &Self, other: usize| {
            let Found { old, moved_to, .. } = &batch.found[other];
            let known = old.filter(|old| old.dir.is_some() && (old.inode != 0 || batch.is_watched(old)));
            moved_to.is_none() && known.is_some_and(|old| batch.is_same(&old, &stat))
        };
        let mut before = self.gone.get(&stat.identity.inode).into_iter().flatten().copied();
        if let Some(before) = before.rfind(|other| same(self, *other)) {
            self.found[before].moved_to = Some(index);
            self.found[index].moved_from = Some(before);
            if self.thorough {
                // What is in it may have changed as well.
                self.again.push(place);
            }
            return Ok(());
        }
        let parent = self.open(place.0).and_then(|parent| parent.ok_or(io::ErrorKind::NotFound.into()));
        let opened = parent.and_then(|parent| look::open_directory(&*parent, &place.1));
        let opened = match opened.and_then(|fd| look::open(&fd).map(|stat| (fd, stat.identity))) {
            Ok((fd, identity)) if identity == stat.identity => fd,
            // It is known that it is there, and no more.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            // Another one by now, or none.
            Ok(_) | Err(_) => {
                self.found[index].new = None;
                self.again.push(place);
                return Ok(());
            }
        };
        let id = self.watcher.dirs.number();
        if !self.watcher.adopt(id, place.0, place.1.clone(), stat.identity) {
            return Ok(());
        }
        self.watcher.watch(id, &opened)?;
        self.unborn.insert(id);
        if let Some(new) = &mut self.found[index].new {
            new.dir = Some(id);
        }
        let mut listing = Listing::default();
        self.watcher.list(id, &opened, &mut listing)?;
        for entry in listing.iter() {
            let place = (id, Name::from(entry.name));
            let pending = self.reported(&place);
            self.observe(&place, pending.unwrap_or_else(|| Pending::compared(self.now)))?;
        }
        Ok(())
    }

    /// Looks at every name of a known directory.
    fn compare(&mut self, id: DirId) -> Result<(), WatcherError> {
        let Ok(Some(fd)) = self.open(id) else { return Ok(()) };
        if self.watcher.unwatched.contains(&id) && self.watcher.watch(id, &fd)? {
            self.watcher.unwatched.remove(&id);
        }
        let mut listing = Listing::default();
        self.watcher.list(id, &fd, &mut listing)?;
        let mut known: HashMap<Name, Known> = self.watcher.store.names(id)?.into_iter().collect();
        for entry in listing.iter() {
            let (name, known) = match known.remove_entry(entry.name) {
                Some((name, known)) => (name, Some(known)),
                None => (Name::from(entry.name), None),
            };
            let Ok(stat) = look::at(&*fd, entry.name) else { continue };
            let evidence = match (known, stat) {
                (Some(known), Some(stat)) => {
                    let Some(evidence) = self.obvious(&known, &stat) else {
                        self.learn(id, entry.name, &known, stat)?;
                        continue;
                    };
                    evidence
                }
                _ => Evidence { compared: true, ..Evidence::default() },
            };
            self.observe_with(&(id, name), evidence)?;
        }
        for (name, known) in known {
            let directory = known.kind == Kind::Directory;
            if self.watcher.rules.skips(&name, || self.watcher.dirs.path(id, &name), directory) {
                // By rules that have changed, or by its new name: it is nobody's concern any more, which is no change.
                self.watcher.store.remove(id, &name)?;
                known.dir.map_or(Ok(()), |dir| self.forget(dir))?;
                continue;
            }
            self.observe_with(&(id, name), Evidence { compared: true, ..Evidence::default() })?;
        }
        Ok(())
    }

    fn observe_with(&mut self, place: &Place, evidence: Evidence) -> Result<(), WatcherError> {
        let mut pending = self.reported(place).unwrap_or_else(|| Pending::look(self.now));
        pending.evidence = pending.evidence.and(evidence);
        self.observe(place, pending).map(drop)
    }

    /// `None` when nothing has changed, which is so for nearly every name; otherwise what speaks for it. Two writes within one tick
    /// of the clock leave the same times, so what was written just before it was looked at is in doubt.
    fn obvious(&self, known: &Known, stat: &Stat) -> Option<Evidence> {
        let evidence = Evidence { compared: true, ..Evidence::default() };
        match &known.detail {
            _ if known.dir.is_some() && !(self.is_watched(known) && self.is_same(known, stat)) => {
                Some(evidence)
            }
            Some(detail) if known.dir.is_some() => {
                let same = (detail.stat.mode, detail.stat.owner) == (stat.mode, stat.owner);
                (!same).then_some(evidence)
            }
            Some(detail) if detail.stat == *stat => {
                let doubt = stat.kind == Kind::File && stat.changed >= self.watcher.seen;
                doubt.then_some(Evidence { wrote: true, ..evidence })
            }
            Some(_) => Some(evidence),
            None if known.dir.is_some() => None,
            None => (!known.is(stat) || stat.changed >= self.watcher.begun).then_some(evidence),
        }
    }

    /// Takes in more than its name of something that has not changed.
    fn learn(&mut self, id: DirId, name: &[u8], known: &Known, stat: Stat) -> Result<(), WatcherError> {
        if self.watcher.options.learn && known.detail.is_none() && stat.changed < self.watcher.begun {
            self.watcher.store.put(id, name, &Known::seen(stat, known.dir, None))?;
        }
        Ok(())
    }

    /// A file that was changed in place has changed under all its names, and only one of them was reported.
    fn other_names(&mut self) -> Result<(), WatcherError> {
        let mut changed = std::mem::take(&mut self.watcher.orphans);
        for found in self.found.iter().filter(|found| found.evidence.is_of_content()) {
            if let Some(New { stat, .. }) = &found.new
                && stat.kind == Kind::File
                && stat.links > 1
            {
                changed.insert(stat.identity.inode, found.evidence);
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        for (dir, name) in self.watcher.store.linked(&changed.keys().copied().collect())? {
            let mut names: Vec<Name> = name.into_iter().collect();
            if names.is_empty()
                && let Ok(Some(fd)) = self.open(dir)
            {
                let mut listing = Listing::default();
                self.watcher.list(dir, &fd, &mut listing)?;
                let linked = listing.iter().filter(|entry| changed.contains_key(&entry.inode));
                names = linked.map(|entry| Name::from(entry.name)).collect();
            }
            for name in names {
                let place = (dir, name);
                let mut pending = self.reported(&place).unwrap_or_else(|| Pending::look(self.now));
                let known = self.watcher.store.get(dir, &place.1)?;
                if let Some(evidence) = known.and_then(|known| changed.get(&known.inode)) {
                    pending.evidence = pending.evidence.and(*evidence);
                }
                self.observe(&place, pending)?;
            }
        }
        Ok(())
    }

    /// Finds the files that have another name. One whose old name leads to another file now was replaced, not renamed: that is
    /// how editors make a backup.
    fn match_files(&mut self) {
        for index in 0..self.found.len() {
            let Found { new: Some(New { stat, .. }), same: None, .. } = &self.found[index] else { continue };
            let stat = *stat;
            if stat.kind == Kind::Directory {
                continue;
            }
            let vacant = |other: &usize| {
                let found = &self.found[*other];
                found.new.is_none()
                    && found.moved_to.is_none()
                    && found.old.is_some_and(|old| old.is(&stat) && self.is_old(&old, &stat))
            };
            let mut before = self.gone.get(&stat.identity.inode).into_iter().flatten().copied();
            if let Some(before) = before.rfind(vacant) {
                self.found[before].moved_to = Some(index);
                self.found[index].moved_from = Some(before);
            }
        }
    }
}
