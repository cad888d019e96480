//! A stream that watches by itself, in memory.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use super::output::Output;
use super::{HEARTBEAT, StreamError, wait};
use crate::awatch::names::Names;
use crate::awatch::pass_over::{self, OWN, PassOver};
use crate::awatch::record::Identity;
use crate::awatch::sight::Sight;
use crate::awatch::watcher::dirs::Root;
use crate::awatch::watcher::known::Memory;
use crate::awatch::watcher::{Lost, Options, Setting, Watcher, WatcherError, look};
use crate::event::Cursor;

/// A workspace that a stream watches by itself.
pub(super) struct Own {
    /// The directory, open.
    pub(super) root: OwnedFd,
    /// Where it is.
    pub(super) dir: PathBuf,
    /// Whose.
    pub(super) identity: Identity,
    /// What the reader may know of.
    pub(super) sight: Sight,
    /// A file that says what to pass over.
    pub(super) ignore: Option<PathBuf>,
}

/// Why the watch has to begin anew.
enum Anew {
    /// Reports are missing.
    Missed,
    /// The rules for what is passed over have changed.
    Rules,
}

impl Own {
    /// Watches, and watches anew whenever something was missed, until nobody reads any more.
    pub(super) fn stream(&self, since: Option<Cursor>) -> Result<(), StreamError> {
        let mut names = Names::default();
        let mut output = Output::new(self.sight.clone(), Cursor { journal: names.give(), sequence: 0 });
        output.hello(&self.identity).map_err(StreamError::Output)?;
        let mut why = match since {
            None => "the stream begins here",
            Some(_) => "nothing was kept since that cursor",
        };
        loop {
            let root = look::open_directory(&self.root, b".").map_err(WatcherError::from)?;
            let (rules, _) = pass_over::collect(self.ignore.as_deref(), &[], &self.dir, self.sight.clone());
            let options = Options { alone: true, ..Options::default() };
            let root = Root::Held(root);
            let mut watcher = Watcher::begin(Setting { root, store: Memory::default(), rules, options })?;
            output.resync(why).map_err(StreamError::Output)?;
            why = match self.follow(&mut watcher, &mut names, &mut output)? {
                None => return Ok(()),
                Some(Anew::Missed) => "the kernel had more to report than was read",
                Some(Anew::Rules) => "the rules for what is passed over have changed",
            };
        }
    }

    /// Passes on what has settled, until the watch has to begin anew, or with `None` until the reader has gone.
    fn follow(
        &self,
        watcher: &mut Watcher<Memory, PassOver>,
        names: &mut Names,
        output: &mut Output,
    ) -> Result<Option<Anew>, StreamError> {
        let mut heartbeat = Instant::now() + HEARTBEAT;
        loop {
            let now = Instant::now();
            watcher.read(now)?;
            let mut rules = false;
            for change in watcher.settle(now)? {
                rules |= change.path.as_bytes() == OWN.as_bytes();
                let event = self.identity.event(change, names.give());
                let sequence = output.cursor().sequence + 1;
                output.event(Cursor { sequence, ..output.cursor() }, event).map_err(StreamError::Output)?;
            }
            match watcher.lost() {
                None => {}
                Some(Lost::Overflow) => return Ok(Some(Anew::Missed)),
                Some(Lost::Root) => return Err(StreamError::Gone),
            }
            if rules {
                return Ok(Some(Anew::Rules));
            }
            let next = watcher.next();
            if next.is_none_or(|next| next > now) {
                output.up_to_date().map_err(StreamError::Output)?;
            }
            if heartbeat <= now {
                output.heartbeat().map_err(StreamError::Output)?;
                heartbeat = now + HEARTBEAT;
            }
            let until = next.map_or(heartbeat, |next| next.min(heartbeat));
            if !wait(watcher.fd(), until.saturating_duration_since(now)).map_err(WatcherError::from)? {
                return Ok(None);
            }
        }
    }
}
