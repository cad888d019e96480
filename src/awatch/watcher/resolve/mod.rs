//! From names that have settled to differences: what is there now, against what is known.
//!
//! All names of a batch are looked at before anything is announced, because two of them may be the two ends of one rename.
//! A thing that has another name is found by its identity, not by the kernel's cookies: so a rename that happened while nobody
//! watched is one, too.

mod directories;
mod name;
mod pairs;
mod rest;

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::compare::Verdict;
use super::dirs::{DirId, Place};
use super::known::{Known, Store};
use super::look::Stat;
use super::settle::{Evidence, Occupant, Pending};
use super::{Change, Rules, Watcher, WatcherError, apply};

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
    /// Whether the kernel has reported that what is there came from a name at which it was known.
    pub(super) carried: bool,
    /// Where the old one is now, as an index of the batch.
    pub(super) moved_to: Option<usize>,
    /// Where the new one was before.
    pub(super) moved_from: Option<usize>,
}

impl Found {
    fn new(place: &Place, pending: &Pending, old: Option<Known>, new: Option<New>) -> Self {
        let (place, evidence) = (place.clone(), pending.evidence);
        let carried = matches!(pending.occupant, Occupant::Carried(_));
        Self { place, evidence, old, new, same: None, carried, moved_to: None, moved_from: None }
    }
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
}
