//! Publishing: from the journal on the disk to a stream on the server, in order, each event once.
//!
//! Nothing here is in the way of watching: a workspace's thread writes its journal, and this reads it, in a thread and over a connection of
//! its own. While the server is away events wait in the journal; what the journal has given up by then is told as a resync.
//!
//! Where to go on from, the server itself knows: the last message of the workspace in its stream. So an event that was taken and whose
//! acknowledgement was lost is not sent again, however much later. What this account knows counts only when the server has lost its own.
//! Many messages may be under way. Each names the one before it, so that a server that refuses one refuses those behind it, too.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::client::pause;
use super::server::Server;
use super::session::{self, End, SessionError};
use crate::awatch::daemon::log::{Level, Log};
use crate::awatch::daemon::status::{Publishing, Shared};
use crate::awatch::daemon::workspace::{Control, Setup};
use crate::awatch::record::Identity;

/// How long a session has to last for its failure to be another one than the last.
const GOOD: Duration = Duration::from_secs(30);

/// How long the daemon waits for the last words when it stops.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A thread that publishes a workspace.
#[derive(Debug)]
pub struct Publisher {
    control: Control,
    ended: Receiver<()>,
}

impl Publisher {
    /// Starts it.
    pub fn start(setup: &Setup, server: Server, status: Shared, log: Log) -> io::Result<Self> {
        let control = Control::new()?;
        let work = Work {
            identity: setup.identity.clone(),
            journal: setup.state.join("journal"),
            kept: setup.state.join("published.json"),
            retention: setup.retention,
            server,
            control: control.clone(),
            status,
            log,
        };
        let (sender, ended) = channel();
        thread::Builder::new().name("nats".to_owned()).spawn(move || {
            work.run();
            drop(sender);
        })?;
        Ok(Self { control, ended })
    }

    /// Asks it to stop, once everything is published.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Waits until it has stopped, but not for a server that does not answer.
    pub fn wait(self) {
        // Nothing is sent: the channel ends with the thread.
        let _ = self.ended.recv_timeout(LAST_WORDS);
    }
}

/// What is published, and where.
#[derive(Debug)]
pub struct Work {
    /// Whose, and which.
    pub identity: Identity,
    /// The directory of the journal.
    pub journal: PathBuf,
    /// The file that says how far the server is.
    pub kept: PathBuf,
    /// How many bytes of events are kept here; a stream that is made keeps as many.
    pub retention: u64,
    /// The server.
    pub server: Server,
    /// How the thread is told to stop.
    pub control: Control,
    /// Where it is said how things are.
    pub status: Shared,
    log: Log,
}

impl Work {
    fn run(&self) {
        let server = self.server.url.to_string();
        self.status.set(|status| {
            status.nats = Some(Publishing { server, trouble: None, published: 0, queue: 0 });
        });
        let (mut failures, mut told) = (0, None);
        while !self.control.stops() {
            let begun = Instant::now();
            match session::run(self, &mut || self.is_well(&mut told)) {
                Ok(End::Stop) => return,
                // What is next is known already.
                Ok(End::Anew) => continue,
                // A workspace whose directory has never been there; its own thread has said so.
                Err(error) if error.is_no_journal() => failures = 0,
                Err(error) => {
                    failures = if begun.elapsed() > GOOD { 1 } else { failures + 1 };
                    self.is_not_well(&error, &mut told);
                }
            }
            self.rest(pause(failures));
        }
    }

    fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.control.stops() && Instant::now() < until {
            let _ = self.control.wait(&[], Some(until.saturating_duration_since(Instant::now())));
        }
    }

    /// Says that the server takes events again.
    fn is_well(&self, told: &mut Option<String>) {
        if told.take().is_some() {
            self.say(Level::Notice, format_args!("{} takes events again", self.server.url));
        }
        self.trouble(None);
    }

    /// Says why it does not, once for each reason.
    fn is_not_well(&self, error: &SessionError, told: &mut Option<String>) {
        let why = format!("{}: {error}", self.server.url);
        self.trouble(Some(why.clone()));
        if told.as_ref() != Some(&why) {
            self.say(Level::Warning, format_args!("{why}; events wait in the journal"));
            *told = Some(why);
        }
    }

    fn trouble(&self, trouble: Option<String>) {
        self.status.set(|status| {
            if let Some(nats) = &mut status.nats {
                nats.trouble = trouble;
            }
        });
    }

    /// Says one line about the workspace.
    pub fn say(&self, level: Level, line: impl std::fmt::Display) {
        self.log.say(level, &self.identity.workspace, line);
    }
}
