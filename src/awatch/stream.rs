//! `awatch stream`: the changes of a workspace on standard output.
//!
//! Without a daemon for the workspace, the stream watches by itself and keeps nothing: it begins with a resync, and a reader
//! that comes back begins anew.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rrsync_rs::escape::Escaped;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::cli::Stream;
use super::names::Names;
use super::output::Output;
use super::record::Identity;
use super::sight::Sight;
use super::watcher::dirs::Root;
use super::watcher::known::Memory;
use super::watcher::{Lost, Options, Rules, Setting, Watcher, WatcherError, look};
use crate::common::exit::{Exit, Failure};
use crate::common::private::TEMP_PREFIX;
use crate::sys::lease;

/// How often a reader hears that there is nothing new, so that a dead connection shows.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Why a stream ends.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("standard output: {0}")]
    Output(io::Error),
    #[error("{0}")]
    Watch(#[from] WatcherError),
    #[error("the directory was removed, moved or unmounted")]
    Gone,
}

/// Runs the stream until its reader has gone.
pub(super) fn run(args: &Stream) -> Result<(), Failure> {
    lease::block_signal();
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("{}: {error}", args.name));
    let root = File::open(&args.dir)
        .map_err(|error| Failure::named(&error, format!("{}: {error}", Escaped::os(&args.dir))))?;
    let identity = Identity {
        author: args.author.clone().unwrap_or_else(rrsync_rs::watch::author),
        project: None,
        workspace: args.name.clone(),
    };
    let sight = Sight::new(&args.hide, &args.show);
    let mut names = Names::default();
    let mut output = Output::new(sight.clone(), names.give());
    let why = match args.since {
        None => "the stream begins here",
        Some(_) => "nothing was kept since that cursor",
    };
    match watch(&root.into(), &sight, &identity, &mut names, &mut output, why) {
        Ok(()) => Ok(()),
        Err(StreamError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

/// What a stream does not look at.
struct OutOfSight(Sight);

impl Rules for OutOfSight {
    fn skips(&self, name: &[u8], path: impl FnOnce() -> Vec<u8>, directory: bool) -> bool {
        // These are still being written, and get their names afterwards.
        name.starts_with(TEMP_PREFIX.as_bytes())
            || (!self.0.is_everything()
                && if directory { !self.0.reaches(&path()) } else { !self.0.sees(&path()) })
    }
}

/// Watches, and watches anew whenever something was missed.
fn watch(
    root: &OwnedFd,
    sight: &Sight,
    identity: &Identity,
    names: &mut Names,
    output: &mut Output,
    why: &str,
) -> Result<(), StreamError> {
    let mut why = why.to_owned();
    output.message(&identity.hello()).and_then(|()| output.flush()).map_err(StreamError::Output)?;
    loop {
        let root = Root::Held(look::open_directory(root, b".").map_err(WatcherError::from)?);
        let rules = OutOfSight(sight.clone());
        let options = Options { alone: true, ..Options::default() };
        let setting = Setting { root, store: Memory::default(), rules, options };
        let mut watcher = Watcher::begin(setting)?;
        output.resync(&why).map_err(StreamError::Output)?;
        if !follow(&mut watcher, identity, names, output)? {
            return Ok(());
        }
        "the kernel had more to report than was read".clone_into(&mut why);
    }
}

/// Passes on what has settled. Comes back with `true` when something was missed, with `false` when the reader has gone.
fn follow<R: Rules>(
    watcher: &mut Watcher<Memory, R>,
    identity: &Identity,
    names: &mut Names,
    output: &mut Output,
) -> Result<bool, StreamError> {
    let mut heartbeat = Instant::now() + HEARTBEAT;
    loop {
        let now = Instant::now();
        watcher.read(now)?;
        for change in watcher.settle(now)? {
            output.event(identity.event(change, names.give())).map_err(StreamError::Output)?;
        }
        match watcher.lost() {
            None => {}
            Some(Lost::Overflow) => return Ok(true),
            Some(Lost::Root) => return Err(StreamError::Gone),
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
        if !wait(watcher, until.saturating_duration_since(now)).map_err(WatcherError::from)? {
            return Ok(false);
        }
    }
}

/// Waits for a report, or for as long; `false` when nobody reads standard output any more.
fn wait<R: Rules>(watcher: &Watcher<Memory, R>, time: Duration) -> io::Result<bool> {
    let stdout = io::stdout();
    let fd = watcher.fd();
    let mut fds = [PollFd::new(&fd, PollFlags::IN), PollFd::new(&stdout, PollFlags::empty())];
    let time = Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&time)) {
        Ok(_) => Ok(!fds[1].revents().intersects(PollFlags::ERR | PollFlags::HUP)),
        Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
