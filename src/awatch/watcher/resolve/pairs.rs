//! Which names belong together: the two ends of a rename, and the several names of one file.

use super::super::dirs::Name;
use super::super::known::{Detail, Known, Store};
use super::super::listing::Listing;
use super::super::look::{Stat, latest};
use super::super::settle::Pending;
use super::super::{Rules, WatcherError};
use super::{Batch, Found, New};
use crate::event::Kind;

impl<S: Store, R: Rules> Batch<'_, S, R> {
    /// A file that was changed in place has changed under all its names, and only one of them was reported.
    pub(super) fn other_names(&mut self) -> Result<(), WatcherError> {
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
    pub(super) fn match_files(&mut self) {
        for index in 0..self.found.len() {
            let Found { new: Some(New { stat, .. }), same: None, carried, .. } = &self.found[index] else {
                continue;
            };
            let (stat, carried) = (*stat, *carried);
            if stat.kind == Kind::Directory {
                continue;
            }
            let vacant = |other: &usize| {
                let found = &self.found[*other];
                found.new.is_none()
                    && found.moved_to.is_none()
                    && found.old.is_some_and(|old| old.is(&stat) && (carried || self.is_old(&old, &stat)))
            };
            let mut before = self.gone.get(&stat.identity.inode).into_iter().flatten().copied();
            if let Some(before) = before.rfind(vacant) {
                self.found[before].moved_to = Some(index);
                self.found[index].moved_from = Some(before);
            }
        }
    }

    /// Whether what is there can be what was known under another name, of which nothing was reported. A new file gets the inode of
    /// one that is gone: what was only listed is known by that alone, and so is everything where no birth is told.
    fn is_old(&self, old: &Known, stat: &Stat) -> bool {
        let like = |detail: Detail| (detail.stat.size, detail.stat.modified) == (stat.size, stat.modified);
        match (stat.identity.born, old.detail) {
            (0, detail) => stat.kind == Kind::File && detail.is_some_and(like),
            (_, Some(_)) => true,
            (born, None) => latest(born) < self.watcher.begun,
        }
    }
}
