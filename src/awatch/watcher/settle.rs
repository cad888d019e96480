//! Which names something happened to, and when that has settled.
//!
//! Nothing is announced while it is still going on. A file that its writer has closed is looked at after a moment, in which a
//! program may still rename it to where it belongs; one that was known and is gone, or has another name, after a longer
//! one, in which an editor may put another in its place.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use super::dirs::{DirId, Dirs, Place};

/// How long things may still go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// After a file was closed by its writer, or a name appeared.
    pub settle: Duration,
    /// After a known name has gone, or has become another.
    pub rename: Duration,
    /// After the last write to a file that stays open. `None`: until it is closed.
    pub quiet: Option<Duration>,
}

impl Default for Times {
    fn default() -> Self {
        Self { settle: Duration::from_millis(1), rename: Duration::from_millis(100), quiet: None }
    }
}

/// How long after a write it is looked at whether the writer still has the file open.
const WRITING: Duration = Duration::from_millis(50);

/// What was reported about a name since it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// Its content was written.
    pub wrote: bool,
    /// A writer has closed it.
    pub closed: bool,
    /// Its mode, owner, times or extended attributes were set.
    pub attributes: bool,
    /// Nothing was reported, or not all: it was found by comparing.
    pub compared: bool,
}

/// One name that something happened to.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    /// What was reported.
    pub evidence: Evidence,
    /// The last write.
    pub written: Option<Instant>,
    /// What is there, as far as was reported.
    pub occupant: Occupant,
    /// How often it has been put off without a report in between.
    pub tries: u8,
    /// When something was reported about it first.
    since: Instant,
    /// Until when it may still be going on.
    due: Instant,
    /// Because it has gone, or has come from another name.
    held: Option<Instant>,
    /// When it stands in the queue.
    queued: Option<Instant>,
}

impl Pending {
    /// For a name that was found by comparing.
    pub fn compared(now: Instant) -> Self {
        let evidence = Evidence { compared: true, ..Evidence::default() };
        Self { evidence, ..Self::look(now) }
    }

    /// For a name of which nothing was reported.
    pub fn look(now: Instant) -> Self {
        Self {
            evidence: Evidence::default(),
            written: None,
            occupant: Occupant::Known,
            tries: 0,
            since: now,
            due: now,
            held: None,
            queued: None,
        }
    }

    /// When it is looked at.
    fn turn(&self) -> Instant {
        self.held.map_or(self.due, |held| held.max(self.due))
    }
}

impl Evidence {
    /// Whether something was reported about the file itself, under whatever name.
    pub fn is_of_content(self) -> bool {
        self.wrote || self.closed || self.attributes
    }

    /// What both say.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            wrote: self.wrote || other.wrote,
            closed: self.closed || other.closed,
            attributes: self.attributes || other.attributes,
            compared: self.compared || other.compared,
        }
    }
}

/// What a name leads to, as far as was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupant {
    /// What it led to before.
    Known,
    /// Nothing.
    Nothing,
    /// Something new.
    New,
    /// Something known that has come from another name, by its inode.
    Carried(u64),
}

/// All of them.
#[derive(Debug, Default)]
pub struct Settling {
    pending: HashMap<Place, Pending>,
    queue: BinaryHeap<Reverse<(Instant, Place)>>,
}

/// What a report says about the time that a name needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It is there now, and was not before.
    Appeared,
    /// It is there now, and was known under another name, by this inode.
    Moved(u64),
    /// It was known, and is not there now.
    Vanished,
    /// It was written to.
    Wrote,
    /// A writer has closed it.
    Closed,
    /// Its attributes were set.
    Attributes,
    /// It has to be looked at.
    Look,
}

impl Settling {
    /// Takes in a report.
    pub fn report(&mut self, place: &Place, report: Report, times: &Times, now: Instant) {
        let pending = self.pending.entry(place.clone()).or_insert_with(|| Pending::look(now));
        pending.tries = 0;
        let soon = now + times.settle;
        match report {
            Report::Appeared => {
                pending.occupant = Occupant::New;
                (pending.held, pending.due) = (None, soon);
            }
            Report::Moved(inode) => {
                pending.occupant = Occupant::Carried(inode);
                (pending.held, pending.due) = (Some(now + times.rename), soon);
            }
            Report::Vanished => {
                pending.occupant = Occupant::Nothing;
                (pending.held, pending.due) = (Some(now + times.rename), soon);
            }
            Report::Wrote => {
                pending.evidence.wrote = true;
                pending.written = Some(now);
                pending.due = now + times.settle.max(WRITING);
            }
            Report::Closed => {
                pending.evidence.closed = true;
                pending.due = soon;
            }
            Report::Attributes => {
                pending.evidence.attributes = true;
                // What is being written is not done because its mode was set.
                pending.due = pending.due.max(soon);
            }
            Report::Look => pending.due = soon,
        }
        Self::enqueue(&mut self.queue, place, pending);
    }

    fn enqueue(queue: &mut BinaryHeap<Reverse<(Instant, Place)>>, place: &Place, pending: &mut Pending) {
        let due = pending.turn();
        // One that comes later is put off when its turn comes.
        if pending.queued.is_none_or(|queued| due < queued) {
            pending.queued = Some(due);
            queue.push(Reverse((due, place.clone())));
        }
    }

    /// Puts a name off, with what was reported about it: until `due`.
    pub fn put_off(&mut self, place: &Place, pending: Pending, due: Instant) {
        let put_off = Pending { due, queued: None, tries: pending.tries.saturating_add(1), ..pending };
        let pending = self.pending.entry(place.clone()).or_insert(put_off);
        Self::enqueue(&mut self.queue, place, pending);
    }

    /// Adds to what was reported about a name, if there is anything.
    pub fn add_evidence(&mut self, place: &Place, evidence: Evidence) {
        if let Some(pending) = self.pending.get_mut(place) {
            pending.evidence = pending.evidence.and(evidence);
        }
    }

    /// Since when the name has been here that has been here longest.
    pub fn oldest(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.since).min()
    }

    /// When the next name is due.
    pub fn next(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes out at most `count` names whose time has come.
    pub fn due(&mut self, now: Instant, count: usize) -> Vec<(Place, Pending)> {
        let mut all = Vec::new();
        while all.len() < count
            && let Some(Reverse((when, _))) = self.queue.peek()
            && *when <= now
            && let Some(Reverse((when, place))) = self.queue.pop()
        {
            let Some(pending) = self.pending.get_mut(&place) else { continue };
            if pending.queued != Some(when) {
                continue;
            }
            pending.queued = None;
            if pending.turn() > now {
                Self::enqueue(&mut self.queue, &place, pending);
            } else if let Some(pending) = self.pending.remove(&place) {
                all.push((place, pending));
            }
        }
        all
    }

    /// Takes out one name, whether its time has come or not.
    pub fn take(&mut self, place: &Place) -> Option<Pending> {
        self.pending.remove(place)
    }

    /// What was reported about a name.
    pub fn get(&self, place: &Place) -> Option<&Pending> {
        self.pending.get(place)
    }

    /// Forgets what is in a directory that is no more.
    pub fn forget(&mut self, gone: impl Fn(DirId) -> bool) {
        self.pending.retain(|(dir, _), _| !gone(*dir));
    }

    /// How many names have not settled.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether everything has settled.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

/// Only for the reading order of a batch: what is higher up comes first.
pub fn sort(batch: &mut [(Place, Pending)], dirs: &Dirs) {
    batch.sort_by_cached_key(|((dir, name), _)| (dirs.upwards(*dir).count(), name.clone()));
}
