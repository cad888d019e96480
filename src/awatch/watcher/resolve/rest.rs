//! Whether a file is at rest: nobody has it open for writing, and it stayed as it was while it was read.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::Rules;
use super::super::dirs::Place;
use super::super::known::Store;
use super::super::look::{self, Stat};
use super::super::settle::Pending;
use super::{Batch, New};

/// How long to wait for a file that changed while it was read.
pub(super) const CHANGING: Duration = Duration::from_millis(50);

/// The first wait for a writer that has closed a file.
const MOMENT: Duration = Duration::from_millis(1);

/// How long to wait at most for the end of a writer of whom nothing is heard.
const UNHEARD: Duration = Duration::from_mins(1);

/// Where the system does not tell whether a file is open for writing: how long ago its last change has to be.
const UNKNOWN_WRITER: Duration = Duration::from_secs(2);

/// When to look again at a file that is open for writing. The kernel reports that it was closed before it counts one writer
/// less; and who has opened it by a name that is not watched closes it without a report.
fn again(pending: &Pending, settle: Duration) -> Duration {
    let first = if pending.evidence.closed { settle.max(MOMENT) } else { settle.max(CHANGING) };
    first.saturating_mul(1 << pending.tries.min(16)).min(UNHEARD)
}

impl<S: Store, R: Rules> Batch<'_, S, R> {
    /// Looks into a regular file. `None`: it has not settled, and its turn comes again.
    pub(super) fn content(
        &mut self,
        place: &Place,
        stat: Stat,
        fd: &OwnedFd,
        pending: Pending,
    ) -> Option<New> {
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
}
