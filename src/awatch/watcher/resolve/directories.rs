//! Directories of which every name is looked at: those that are new, and known ones where reports may be missing.

use std::collections::HashMap;
use std::io;

use super::super::dirs::{DirId, Name, Place};
use super::super::known::{Known, Store};
use super::super::listing::Listing;
use super::super::look::{self, Stat};
use super::super::settle::{Evidence, Pending};
use super::super::{Rules, WatcherError};
use super::{Batch, Found};
use crate::event::Kind;

impl<S: Store, R: Rules> Batch<'_, S, R> {
    /// A new directory: one that is known under another name, or one to enter.
    pub(super) fn fresh(&mut self, index: usize) -> Result<(), WatcherError> {
        let (place, Some(stat)) =
            (self.found[index].place.clone(), self.found[index].new.as_ref().map(|new| new.stat))
        else {
            return Ok(());
        };
        let same = |batch: &Self, other: usize| {
            let Found { old, moved_to, .. } = &batch.found[other];
            let known = old.filter(|old| old.dir.is_some() && (old.inode != 0 || batch.is_entered(old)));
            let known = known.filter(|old| !batch.has_ended(old));
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

    fn is_entered(&self, known: &Known) -> bool {
        known.dir.is_some_and(|id| self.watcher.dirs.get(id).is_some())
    }

    fn has_ended(&self, known: &Known) -> bool {
        known.dir.and_then(|id| self.watcher.dirs.get(id)).is_some_and(|dir| dir.ended)
    }

    /// Looks at every name of a known directory.
    pub(super) fn compare(&mut self, id: DirId) -> Result<(), WatcherError> {
        let Ok(Some(fd)) = self.open(id) else { return Ok(()) };
        // Where reports were lost, so may that have been which said that a watch has ended.
        if (self.thorough || self.watcher.unwatched.contains(&id)) && self.watcher.watch(id, &fd)? {
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
            _ if known.dir.is_some()
                && (self.has_ended(known) || !(self.is_entered(known) && self.is_same(known, stat))) =>
            {
                Some(evidence)
            }
            Some(detail) if known.dir.is_some() => {
                let same = (detail.stat.mode, detail.stat.owner) == (stat.mode, stat.owner);
                (!same).then_some(evidence)
            }
            Some(detail) if detail.stat == *stat => {
                let doubt = stat.kind == Kind::File && stat.changed_by() >= self.watcher.seen;
                doubt.then_some(Evidence { wrote: true, ..evidence })
            }
            Some(_) => Some(evidence),
            None if known.dir.is_some() => None,
            None => (!known.is(stat) || stat.changed_by() >= self.watcher.begun).then_some(evidence),
        }
    }

    /// Takes in more than its name of something that has not changed.
    fn learn(&mut self, id: DirId, name: &[u8], known: &Known, stat: Stat) -> Result<(), WatcherError> {
        if self.watcher.options.learn && known.detail.is_none() && stat.changed_by() < self.watcher.begun {
            self.watcher.store.put(id, name, &Known::seen(stat, known.dir, None))?;
        }
        Ok(())
    }
}
