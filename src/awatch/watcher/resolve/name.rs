//! One name: what is there now, against what is known about it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::super::compare::{self, Verdict};
use super::super::dirs::{DirId, Place};
use super::super::known::{Known, Store};
use super::super::look::{self, Stat};
use super::super::settle::{Occupant, Pending};
use super::super::{Rules, WatcherError};
use super::rest::CHANGING;
use super::{Batch, Found, New, Outcome};
use crate::event::Kind;

/// How long to wait for a directory that is not where it is believed to be: its rename is on its way.
const MOVING: Duration = Duration::from_millis(10);

/// How often one name waits for another. Reports of things that change places are ambiguous, and two names might wait for
/// each other.
const PATIENCE: u8 = 20;

/// How long to wait where the system fails, for want of memory or for a disk's sake.
const FAILING: Duration = Duration::from_secs(1);

impl<S: Store, R: Rules> Batch<'_, S, R> {
    pub(super) fn look_at(&mut self, place: &Place, pending: Pending) -> Result<Outcome, WatcherError> {
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
        } else if stat.is_none() && self.is_leaving(place, old.is_some(), pending)? {
            return Ok(Outcome::PutOff);
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
        self.found.push(Found::new(place, &pending, old, new));
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

    /// Whether something has just left a name at which it was reported, or known: then a report of where to is on its way, and with
    /// that the name has its time anew.
    fn is_leaving(&mut self, place: &Place, known: bool, pending: Pending) -> Result<bool, WatcherError> {
        let was_there = match pending.occupant {
            Occupant::Carried(_) => true,
            Occupant::Known | Occupant::New => known,
            Occupant::Nothing => false,
        };
        if !was_there {
            return Ok(false);
        }
        self.watcher.read(self.now)?;
        if self.watcher.settling.get(place).is_none() {
            return Ok(false);
        }
        self.watcher.settling.add_evidence(place, pending.evidence);
        Ok(true)
    }

    pub(super) fn is_same(&self, old: &Known, stat: &Stat) -> bool {
        if old.kind != stat.kind {
            return false;
        }
        match (old.dir.and_then(|id| self.watcher.dirs.get(id)), &old.detail) {
            (Some(dir), _) => dir.identity == stat.identity,
            (None, Some(detail)) => detail.stat.is(stat),
            (None, None) => old.inode == 0 || old.inode == stat.identity.inode,
        }
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
        let found = Found::new(place, &pending, Some(old), Some(new));
        self.found.push(Found { same: Some(verdict), ..found });
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
}
