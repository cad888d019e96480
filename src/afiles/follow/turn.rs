//! Symlinks: what one leads to is here before it leads there, and stays for as long as it does.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::stat::SFlag;

use crate::afiles::failures::TransferError;
use crate::afiles::find::Found;
use crate::afiles::get::{LARGEST_BY_SFTP, Wanted};
use crate::afiles::receive::{Known, destination};
use crate::afiles::receiver::Receiver;
use crate::afiles::sftp::Sftp;
use crate::afiles::walk::walk;
use crate::event::EventPath;

/// In a directory that a symlink leads to, so many names are looked through for what has not come yet.
const LARGEST_TARGET: usize = 4096;

/// How often a symlink that keeps leading somewhere else is looked at again.
const ATTEMPTS: usize = 5;

/// Whoever turns symlinks.
pub struct Turn<'t, 'r> {
    /// The source.
    pub sftp: &'t mut Sftp,
    /// What it is called there.
    pub found: &'t Found,
    /// The copy.
    pub receiver: &'t mut Receiver<'r>,
}

impl Turn<'_, '_> {
    /// What symlinks say, with what they lead to brought first. Somebody may turn one and remove what it has led to meanwhile, and then
    /// nothing is missing of what is left of that: so it is believed when it says the same afterwards.
    pub fn lead(&mut self, wanted: &[Wanted]) -> Result<Vec<(EventPath, Vec<u8>)>, TransferError> {
        let mut steady = Vec::new();
        let mut left = self.receiver.read_links(self.sftp, wanted)?;
        for _ in 0..ATTEMPTS {
            for (link, says) in &left {
                self.bring_target(link, says)?;
            }
            let before: BTreeMap<_, _> = left.into_iter().collect();
            let wanted: Vec<Wanted> =
                before.keys().map(|link| Wanted::of(self.found, link.clone())).collect();
            let now = self.receiver.read_links(self.sftp, &wanted)?;
            let (same, other) = now.into_iter().partition(|(link, says)| before.get(link) == Some(says));
            steady.extend::<Vec<_>>(same);
            left = other;
            if left.is_empty() {
                break;
            }
        }
        self.receiver.outcome.newer.extend(left.into_iter().map(|(link, _)| link));
        Ok(steady)
    }

    /// Symlinks that lead to what is about to go, or to where something goes, lead somewhere else there by now, or go, too: their own
    /// events may come later.
    pub fn away(&mut self, gone: &mut Vec<EventPath>) -> Result<(), TransferError> {
        if gone.is_empty() {
            return Ok(());
        }
        let going: BTreeSet<&Path> = gone.iter().map(EventPath::as_path).collect();
        let goes = |path: &EventPath| path.as_path().ancestors().any(|path| going.contains(path));
        let is_above = |path: &EventPath| gone.iter().any(|gone| gone.is_below(path));
        let mut turned = BTreeMap::new();
        for link in self.receiver.book.links()? {
            if !goes(&link)
                && let Some(says) = self.receiver.tree.read_link(&link)
                && let Some(leads) = destination(&says, link.as_path())
                && (goes(&leads) || is_above(&leads))
            {
                turned.insert(link, says);
            }
        }
        let wanted: Vec<Wanted> = turned.keys().map(|link| Wanted::of(self.found, link.clone())).collect();
        let mut says = self.receiver.read_links(self.sftp, &wanted)?;
        says.retain(|(link, says)| turned.get(link) != Some(says));
        let wanted: Vec<Wanted> = says.into_iter().map(|(link, _)| Wanted::of(self.found, link)).collect();
        for (link, says) in self.lead(&wanted)? {
            self.receiver.link(&link, &says)?;
        }
        // What is no symlink any more has an event of its own.
        self.receiver.outcome.newer.clear();
        self.receiver.outcome.doubtful.extend_from_slice(&self.receiver.outcome.missing);
        gone.splice(..0, self.receiver.outcome.missing.drain(..));
        Ok(())
    }

    /// Brings what a symlink leads to, as far as nothing is known of it: its own events may come later than that of the symlink.
    fn bring_target(&mut self, link: &EventPath, says: &[u8]) -> Result<(), TransferError> {
        let Some(target) = destination(says, link.as_path()) else { return Ok(()) };
        let (found, receiver) = (self.found, &mut *self.receiver);
        let mut way: Vec<&Path> =
            target.as_path().ancestors().filter(|path| *path != Path::new("")).collect();
        way.reverse();
        for path in way {
            let Ok(path) = EventPath::new(path.as_os_str().as_bytes().to_owned()) else { return Ok(()) };
            if receiver.tree.look(&path)?.is_none() {
                receiver.take(self.sftp, &[Wanted::of(found, path.clone())], LARGEST_BY_SFTP)?;
                // What is not there either, or is another symlink, leads no further.
                receiver.outcome.missing.retain(|missing| *missing != path);
            }
            if receiver.tree.look(&path)?.is_none_or(|stat| Known::of(&stat).kind != SFlag::S_IFDIR) {
                return Ok(());
            }
        }
        walk(self.sftp, &found.wire(&target), Some(&target), LARGEST_TARGET, &mut |sftp, mut group| {
            let mut unknown = Vec::new();
            for want in group.drain(..) {
                if receiver.book.known(&want.path)?.is_none() {
                    unknown.push(want);
                }
            }
            receiver.take(sftp, &unknown, LARGEST_BY_SFTP)
        })
    }
}
