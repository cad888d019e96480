//! A stream of a daemon's journal.

use std::path::Path;
use std::time::{Duration, Instant};

use super::output::Output;
use super::{HEARTBEAT, StreamError, wait};
use crate::awatch::cli::Stream;
use crate::awatch::journal::lock;
use crate::awatch::journal::read::{Next, Reader};
use crate::awatch::record::Identity;
use crate::awatch::sight::Sight;

/// How long a daemon may be away, as when it is updated, before its readers are told.
const PATIENCE: Duration = Duration::from_secs(30);

/// Passes on what the journal in `dir` says, until nobody reads any more.
pub(super) fn follow(dir: &Path, args: &Stream, sight: &Sight) -> Result<(), StreamError> {
    let mut reader = Reader::open(dir, args.since).map_err(StreamError::Journal)?;
    let head = reader.head();
    // The daemon may know the directory by another name than the reader.
    let identity =
        Identity { author: head.author.clone(), project: head.project.clone(), workspace: args.name.clone() };
    let mut output = Output::new(sight.clone(), reader.cursor());
    output.hello(&identity).map_err(StreamError::Output)?;
    let (mut heartbeat, mut alive) = (Instant::now() + HEARTBEAT, Instant::now());
    loop {
        reader.wake().map_err(StreamError::Journal)?;
        loop {
            match reader.advance().map_err(StreamError::Journal)? {
                Next::Nothing => break,
                Next::Resync(cursor, why) => output.resync_at(cursor, &why).map_err(StreamError::Output)?,
                Next::Event(cursor, mut event) => {
                    event.workspace.clone_from(&args.name);
                    output.event(cursor, *event).map_err(StreamError::Output)?;
                }
            }
        }
        output.up_to_date().map_err(StreamError::Output)?;
        let now = Instant::now();
        if heartbeat <= now {
            heartbeat = now + HEARTBEAT;
            // While nobody watches, nobody can say that there is nothing new.
            if lock::is_held(dir) {
                alive = now;
                output.heartbeat().map_err(StreamError::Output)?;
            } else if now.duration_since(alive) > PATIENCE {
                return Err(StreamError::NoDaemon);
            }
        }
        let left = heartbeat.saturating_duration_since(now);
        if !wait(reader.fd(), left).map_err(StreamError::Journal)? {
            return Ok(());
        }
    }
}
