//! From differences to changes, in an order in which each can be made after the one before.
//!
//! A directory comes before what is in it. What was moved out of a directory leaves it before it is removed, and a name is
//! free before something else gets it. Each change is taken into what is known as it is announced, so that the paths of the next
//! one are those that a reader has by then.

use std::collections::HashSet;

use super::compare::Verdict;
use super::dirs::{DirId, Place};
use super::known::{Detail, Known, Store};
use super::look::{Stat, latest};
use super::resolve::{Batch, Found, New};
use super::settle::Report;
use super::{Change, Rules, WatcherError};
use crate::event::{EventPath, Kind, Reason};

/// One step, about a difference of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Act {
    /// It came here from another name.
    Rename(usize),
    /// It is new.
    Create(usize),
    /// It is the same file, or has taken the place of one, and its content is another.
    Modify(usize),
    /// It is the same file, and its attributes are others.
    Attributes(usize),
    /// Another file has taken its place, and nobody can tell them apart.
    Same(usize),
    /// It is gone.
    Remove(usize),
}

pub(super) fn apply<S: Store, R: Rules>(mut batch: Batch<'_, S, R>) -> Result<Vec<Change>, WatcherError> {
    let mut acts = acts(&batch);
    // Only these are waited for, and they are few.
    let mut waiting: HashSet<Act> =
        acts.iter().filter(|act| matches!(act, Act::Rename(_) | Act::Remove(_))).copied().collect();
    let mut changes = Vec::new();
    while !acts.is_empty() {
        let mut later = Vec::new();
        let before = acts.len();
        for act in acts {
            let alive = batch.is_alive(act);
            if alive && !batch.is_ready(act, &waiting) {
                later.push(act);
                continue;
            }
            waiting.remove(&act);
            if alive {
                batch.perform(act, &mut changes)?;
            }
        }
        if later.len() == before {
            batch.break_circle(&mut later, &mut waiting, &mut changes)?;
        }
        acts = later;
    }
    let (now, times) = (batch.now, batch.watcher.options.times);
    for place in batch.again {
        batch.watcher.settling.report(&place, Report::Look, &times, now);
        let compared = super::settle::Evidence { compared: true, ..Default::default() };
        batch.watcher.settling.add_evidence(&place, compared);
    }
    Ok(changes)
}

/// What has to be done, in the order that mostly works at once: renames, what is new from the top down, what is gone.
fn acts<S: Store, R: Rules>(batch: &Batch<'_, S, R>) -> Vec<Act> {
    let mut acts = Vec::new();
    for (index, found) in batch.found.iter().enumerate() {
        let place_taken =
            |new: &New| found.old.is_some_and(|old| old.kind == new.stat.kind && old.dir.is_none());
        match (&found.new, found.same) {
            (Some(_), Some(Verdict::Attributes)) => acts.push((1, Act::Attributes(index))),
            (Some(_), Some(_)) => acts.push((1, Act::Modify(index))),
            (Some(_), None) if found.moved_from.is_some() => acts.push((0, Act::Rename(index))),
            (Some(new), None) if place_taken(new) => acts.push((1, replacement(found, new, index))),
            (Some(_), None) => acts.push((1, Act::Create(index))),
            (None, _) => {}
        }
        // A file that another file has replaced is not gone.
        let replaced = found.new.as_ref().is_some_and(place_taken);
        if found.old.is_some() && found.same.is_none() && found.moved_to.is_none() && !replaced {
            acts.push((2, Act::Remove(index)));
        }
    }
    let depth = |index: usize| batch.watcher.dirs.upwards(batch.found[index].place.0).count();
    acts.sort_by_cached_key(|(class, act)| (*class, depth(act.index())));
    acts.into_iter().map(|(_, act)| act).collect()
}

/// Another file has taken the place of one. With the same content, that is no change of the content.
fn replacement(found: &Found, new: &New, index: usize) -> Act {
    let Some(Detail { stat, sha256: Some(sha256) }) = found.old.and_then(|old| old.detail) else {
        return Act::Modify(index);
    };
    let attributes = |stat: &Stat| (stat.mode, stat.owner, stat.modified);
    match new.sha256 {
        Some(now) if now != sha256 => Act::Modify(index),
        None => Act::Modify(index),
        Some(_) if attributes(&stat) != attributes(&new.stat) => Act::Attributes(index),
        Some(_) => Act::Same(index),
    }
}

impl Act {
    fn index(self) -> usize {
        match self {
            Self::Rename(index)
            | Self::Create(index)
            | Self::Modify(index)
            | Self::Attributes(index)
            | Self::Same(index)
            | Self::Remove(index) => index,
        }
    }
}

impl<S: Store, R: Rules> Batch<'_, S, R> {
    /// Whether the directory of a step, and where a rename comes from, are still known: what is in a removed directory is gone
    /// with it.
    fn is_alive(&self, act: Act) -> bool {
        let found = &self.found[act.index()];
        let known = |dir: DirId| self.watcher.dirs.get(dir).is_some();
        let from = found.moved_from.is_none_or(|from| known(self.found[from].place.0));
        known(found.place.0) && (!matches!(act, Act::Rename(_)) || from)
    }

    /// Whether a step can be done before all that are `waiting`.
    fn is_ready(&self, act: Act, waiting: &HashSet<Act>) -> bool {
        let index = act.index();
        let found = &self.found[index];
        let leaves = |to| waiting.contains(&Act::Rename(to));
        let free = || !found.moved_to.is_some_and(leaves) && !waiting.contains(&Act::Remove(index));
        let parent_known = !self.unborn.contains(&found.place.0);
        match act {
            Act::Rename(_) => {
                let moved = found.moved_from.and_then(|from| self.found[from].old).and_then(|old| old.dir);
                let into_itself = moved.is_some_and(|dir| self.watcher.dirs.is_within(found.place.0, dir));
                parent_known && free() && !into_itself
            }
            Act::Create(_) => parent_known && free(),
            Act::Modify(_) | Act::Attributes(_) | Act::Same(_) => parent_known,
            Act::Remove(_) => {
                let Some(dir) = found.old.and_then(|old| old.dir) else { return true };
                // What is moved out of it has to leave first.
                !waiting.iter().any(|act| {
                    let Act::Rename(to) = act else { return false };
                    let from = self.found[*to].moved_from.map(|from| self.found[from].place.0);
                    from.is_some_and(|from| self.watcher.dirs.is_within(from, dir))
                })
            }
        }
    }

    fn perform(&mut self, act: Act, changes: &mut Vec<Change>) -> Result<(), WatcherError> {
        let index = act.index();
        let (dir, name) = self.found[index].place.clone();
        match act {
            Act::Remove(_) => return self.remove(index, changes),
            Act::Rename(_) => return self.rename(index, changes),
            Act::Create(_) | Act::Modify(_) | Act::Attributes(_) | Act::Same(_) => {}
        }
        let reason = match act {
            Act::Create(_) => Reason::Created,
            Act::Attributes(_) => Reason::Attributes,
            _ => Reason::Modified,
        };
        let Some(path) = self.path(&(dir, name.clone())) else { return Ok(()) };
        let Some(New { stat, dir: id, sha256, origin }) = &mut self.found[index].new else { return Ok(()) };
        let origin = origin.take().filter(|_| reason != Reason::Attributes);
        let (stat, id, sha256) = (*stat, *id, *sha256);
        self.watcher.store.put(dir, &name, &Known::seen(stat, id, sha256))?;
        if let Some(id) = id {
            self.unborn.remove(&id);
        }
        if !matches!(act, Act::Same(_)) {
            let kind = stat.kind;
            changes.push(Change { reason, path, from: None, kind, stat: Some(stat), sha256, origin });
        }
        Ok(())
    }

    fn rename(&mut self, index: usize, changes: &mut Vec<Change>) -> Result<(), WatcherError> {
        let found = &self.found[index];
        let (to, evidence) = (found.place.clone(), found.evidence);
        let (Some(from), Some(new)) = (found.moved_from, &found.new) else { return Ok(()) };
        let (from, Some(old)) = (self.found[from].place.clone(), self.found[from].old) else { return Ok(()) };
        let (stat, sha256) = (new.stat, new.sha256.or(old.detail.and_then(|detail| detail.sha256)));
        let (Some(path), Some(from_path)) = (self.path(&to), self.path(&from)) else { return Ok(()) };
        let watcher = &mut *self.watcher;
        watcher.store.remove(from.0, &from.1)?;
        watcher.store.put(to.0, &to.1, &Known::seen(stat, old.dir, sha256))?;
        if let Some(dir) = old.dir {
            watcher.dirs.relocate(dir, to.clone());
            // Where reports are missing, they are for what is in it, too; and where no birth is told, it may be another one.
            if self.thorough || watcher.rules.depend_on_place() || stat.identity.born == 0 {
                watcher.renamed.push(dir);
            }
        }
        let kind = stat.kind;
        let change = Change {
            reason: Reason::Renamed,
            path: path.clone(),
            from: Some(from_path),
            kind,
            stat: Some(stat),
            sha256,
            origin: None,
        };
        changes.push(change);
        let in_doubt = evidence.wrote || (evidence.compared && stat.identity.born == 0);
        let rewritten = match old.detail {
            Some(detail) => {
                (detail.stat.size, detail.stat.modified) != (stat.size, stat.modified)
                    || (in_doubt && (sha256.is_none() || sha256 != detail.sha256))
            }
            None => evidence.wrote || (evidence.compared && latest(stat.modified) >= self.watcher.begun),
        };
        if kind == Kind::File && rewritten {
            let origin = self.found[index].new.as_mut().and_then(|new| new.origin.take());
            let reason = Reason::Modified;
            changes.push(Change { reason, path, from: None, kind, stat: Some(stat), sha256, origin });
        }
        Ok(())
    }

    fn remove(&mut self, index: usize, changes: &mut Vec<Change>) -> Result<(), WatcherError> {
        let (place, Some(old)) = (self.found[index].place.clone(), self.found[index].old) else {
            return Ok(());
        };
        let Some(path) = self.path(&place) else { return Ok(()) };
        self.watcher.store.remove(place.0, &place.1)?;
        if let Some(dir) = old.dir {
            self.forget(dir)?;
        }
        let (reason, kind) = (Reason::Removed, old.kind);
        changes.push(Change { reason, path, from: None, kind, stat: None, sha256: None, origin: None });
        Ok(())
    }

    /// Forgets a directory and all that is below it.
    pub(super) fn forget(&mut self, dir: DirId) -> Result<(), WatcherError> {
        let watcher = &mut *self.watcher;
        let mut gone = HashSet::new();
        let mut dirs = vec![dir];
        while let Some(dir) = dirs.pop() {
            dirs.extend(watcher.store.clear(dir)?);
            if let Some(watch) = watcher.dirs.forget(dir) {
                watcher.inotify.unwatch(watch);
            }
            watcher.unwatched.remove(&dir);
            watcher.offline.remove(&dir);
            gone.insert(dir);
        }
        watcher.settling.forget(|dir| gone.contains(&dir));
        watcher.vanished.retain(|_, (dir, _)| !gone.contains(dir));
        watcher.arrived.retain(|_, (dir, _)| !gone.contains(dir));
        Ok(())
    }

    /// Two directories have changed places, or more in a circle: no order of renames leads there. One of them is removed
    /// where it was, and found anew where it is.
    fn break_circle(
        &mut self,
        acts: &mut Vec<Act>,
        waiting: &mut HashSet<Act>,
        changes: &mut Vec<Change>,
    ) -> Result<(), WatcherError> {
        let Some(at) = acts.iter().position(|act| matches!(act, Act::Rename(_))) else {
            // Nothing else waits for ever; whatever it is, it is looked at again.
            self.again.extend(acts.drain(..).map(|act| self.found[act.index()].place.clone()));
            return Ok(());
        };
        let to = acts.remove(at).index();
        waiting.remove(&Act::Rename(to));
        self.again.push(self.found[to].place.clone());
        let Some(from) = self.found[to].moved_from.take() else { return Ok(()) };
        self.found[from].moved_to = None;
        self.remove(from, changes)
    }

    fn path(&self, (dir, name): &Place) -> Option<EventPath> {
        EventPath::new(self.watcher.dirs.path(*dir, name)).ok()
    }
}
