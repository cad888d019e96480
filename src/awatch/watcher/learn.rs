//! After the beginning: more than the names is learnt of what was listed, when there is time for it.
//!
//! The first walk only lists, so that the watch is ready soon. Until more is known of a name, a change of it that is not
//! reported shows in its change time alone, which a clock that was set back makes worthless.

use std::time::Instant;

use super::dirs::{DirId, Name};
use super::known::{Known, Store};
use super::listing::Listing;
use super::{Rules, Watcher, WatcherError, look};

impl<S: Store, R: Rules> Watcher<S, R> {
    /// Whether there is something to learn.
    pub fn is_learning(&self) -> bool {
        !self.unlearnt.is_empty()
    }

    /// Learns until it is time for something else, at least of one directory.
    pub fn learn(&mut self, until: Instant) -> Result<(), WatcherError> {
        let mut listing = Listing::default();
        while let Some(id) = self.unlearnt.pop() {
            self.learn_directory(id, &mut listing)?;
            if Instant::now() >= until {
                break;
            }
        }
        if self.unlearnt.is_empty() {
            self.unlearnt.shrink_to_fit();
        }
        Ok(())
    }

    fn learn_directory(&mut self, id: DirId, listing: &mut Listing) -> Result<(), WatcherError> {
        // One that has gone, or is not where it was, is reported.
        let Ok(fd) = self.dirs.open(id) else { return Ok(()) };
        if self.list(id, &fd, listing).is_err() {
            return Ok(());
        }
        for entry in listing.iter() {
            let Some(known) = self.store.get(id, entry.name)? else { continue };
            let Ok(Some(stat)) = look::at(&fd, entry.name) else { continue };
            if known.detail.is_some() || !known.is(&stat) {
                continue;
            }
            if stat.changed_by() < self.begun || self.is_quiet(id, entry.name)? {
                self.store.put(id, entry.name, &Known::seen(stat, known.dir, None))?;
            }
        }
        Ok(())
    }

    /// Whether nothing was reported about a name that is still to be told. Then what it is now is what it was when readers were
    /// told to compare, or what they have been told since.
    fn is_quiet(&mut self, id: DirId, name: &[u8]) -> Result<bool, WatcherError> {
        self.read(Instant::now())?;
        Ok(self.lost.is_none() && self.settling.get(&(id, Name::from(name))).is_none())
    }
}
