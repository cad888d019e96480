//! One connection's life: the copy is brought up to date, and then kept so, until something goes wrong.

use std::convert::Infallible;
use std::sync::mpsc::{self, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rrsync_rs::grant::Tool;

use super::apply::Apply;
use super::batch::Batch;
use super::doubts::{Doubts, WHILE};
use super::nats::Listening;
use super::stream::{Stream, StreamError};
use super::{Follower, Input};
use crate::afiles::failures::TransferError;
use crate::afiles::receiver::Outcome;
use crate::afiles::reconcile::Reconcile;
use crate::afiles::rsync::Rsync;
use crate::afiles::sftp::Sftp;
use crate::awatch::watcher::WatcherError;
use crate::common::exit::Failure;
use crate::common::ssh::Connection;
use crate::event::{Cursor, EventPath, Message};

/// How many messages wait for their turn; then the host waits.
const WAITING: usize = 512;

/// From so many paths on a batch does not wait for the end of what is going on there.
const LARGEST_BATCH: usize = 1000;

/// From so many paths on somebody who asks is told how far behind the copy is.
const WORTH_TELLING: usize = 50;

/// The stream says something every 15 seconds.
const SILENCE: Duration = Duration::from_mins(1);

/// When a rename is tried again whose old name is there.
const SOON: Duration = Duration::from_millis(50);

/// When what could not be brought is tried again, at first and at last.
const AGAIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_hours(1));

/// Why a session has ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There was no way to begin one.
    #[error("{}{}{}", .0.message, if .0.hint.is_some() { "; " } else { "" }, .0.hint.as_deref().unwrap_or_default())]
    Failure(Failure),
    /// The stream of events.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A transfer.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// Watching a directory here.
    #[error(transparent)]
    Watch(WatcherError),
}

/// Where events come from, for as long as they are wanted.
#[allow(dead_code, reason = "each ends when it is dropped")]
enum Events {
    Ssh(Stream),
    Nats(Listening),
}

/// A connection, and what has come down it.
pub struct Session<'f, 'c, 'r> {
    follower: &'f mut Follower<'c>,
    rsync: &'r Rsync<'r>,
    sftp: Sftp,
    inbox: mpsc::Receiver<Input>,
    batch: Batch,
    /// Where the stream is.
    cursor: Option<Cursor>,
    left: Left,
    doubts: Doubts,
    contradicted: Option<Contradicted>,
}

/// A rename whose old name is there.
struct Contradicted {
    from: EventPath,
    since: Instant,
    /// When it is tried again.
    again: Instant,
}

/// What was left out, and when it is tried again.
struct Left {
    when: Option<Instant>,
    pause: Duration,
}

/// Follows until something goes wrong.
pub fn run(follower: &mut Follower<'_>) -> Result<Infallible, SessionError> {
    let connect =
        |tool| -> Result<Connection, _> { follower.workspace.connect(tool).map_err(SessionError::Failure) };
    let rsync_way = connect(Tool::Rsync)?;
    let found = &follower.workspace.found;
    let rsync = Rsync::new(&rsync_way, found.wire_path()).without(&follower.own);
    let (sender, inbox) = sync_channel(WAITING);
    let (workspace, below) = (found.remote.workspace.clone(), found.remote.path.clone());
    let since = follower.cursor;
    let _events = match &follower.server {
        None => {
            let way = connect(Tool::Watch)?;
            Events::Ssh(Stream::open(&way, &workspace, since.as_ref(), sender).map_err(StreamError::from)?)
        }
        Some(server) => Events::Nats(Listening::to(server, found, since, sender)),
    };
    let sftp = follower.workspace.sftp().map_err(SessionError::Failure)?;
    let left = Left { when: None, pause: AGAIN.0 };
    let batch = Batch::new(below, follower.own.clone(), follower.server.is_some());
    let doubts = Doubts::new();
    Session { follower, rsync: &rsync, sftp, inbox, batch, cursor: since, left, doubts, contradicted: None }
        .follow()
}

impl Session<'_, '_, '_> {
    fn follow(mut self) -> Result<Infallible, SessionError> {
        loop {
            match self.next()? {
                None => self.overdue()?,
                Some(Message::Hello { .. }) => {}
                Some(Message::Event { cursor, event }) => {
                    self.cursor = Some(cursor);
                    self.batch.add(&event);
                    if self.batch.len() >= LARGEST_BATCH {
                        self.apply()?;
                    }
                }
                Some(Message::Resync { cursor, why }) => {
                    self.cursor = Some(cursor);
                    self.compare(&why)?;
                }
                Some(Message::Current { cursor }) => {
                    self.cursor = Some(cursor);
                    self.apply()?;
                }
            }
        }
    }

    /// The next message; `None` when something is overdue.
    fn next(&mut self) -> Result<Option<Message>, SessionError> {
        let again = self.contradicted.as_ref().map(|contradicted| contradicted.again);
        let due = [self.left.when, self.doubts.due(), again].into_iter().flatten().min();
        let until_due = due.map(|due| due.saturating_duration_since(Instant::now()));
        let patience = until_due.map_or(SILENCE, |until| until.min(SILENCE));
        match self.inbox.recv_timeout(patience) {
            Ok(Input::Said(message)) => Ok(Some(*message)),
            Ok(Input::Ended(error)) => Err(error.into()),
            Err(RecvTimeoutError::Timeout) if patience < SILENCE => Ok(None),
            Err(_) => Err(StreamError::Silent(SILENCE.as_secs()).into()),
        }
    }

    /// Does what has waited.
    fn overdue(&mut self) -> Result<(), SessionError> {
        let now = Instant::now();
        if self.contradicted.as_ref().is_some_and(|rename| rename.again <= now) {
            return self.apply();
        }
        if self.doubts.due().is_some_and(|due| due <= now) {
            return self.compare_what_is_otherwise();
        }
        self.compare("what was left out is tried again")
    }

    /// Compares everything, because the source is not as it was told to be.
    fn compare_what_is_otherwise(&mut self) -> Result<(), SessionError> {
        let paths = self.doubts.paths();
        let count = paths.len() + usize::from(self.contradicted.is_some());
        let first = self.contradicted.iter().map(|rename| &rename.from).chain(paths).next();
        let why =
            first.map_or_else(String::new, |path| left_out(count, path, "it is not as it was told to be"));
        self.compare(&why)
    }

    /// Makes the changes that have come.
    fn apply(&mut self) -> Result<(), SessionError> {
        let batch = self.batch.next();
        let batch = std::mem::replace(&mut self.batch, batch);
        let paths = batch.len();
        if paths == 0 {
            return self.written_down(false);
        }
        if paths >= WORTH_TELLING {
            self.follower.stand.behind(paths as u64).map_err(TransferError::from)?;
        }
        let follower = &mut *self.follower;
        let mut apply = Apply {
            tree: &follower.tree,
            book: &mut follower.book,
            sftp: &mut self.sftp,
            rsync: self.rsync,
            found: &follower.workspace.found,
            teller: &follower.teller,
            links: follower.links,
            doubts: &mut self.doubts,
        };
        let (outcome, mut put_off) = apply.run(batch.steps())?;
        self.done(outcome)?;
        let (before, now) = (self.contradicted.take(), Instant::now());
        self.contradicted = put_off.contradicted.take().map(|from| {
            let since = before.filter(|before| before.from == from).map_or(now, |before| before.since);
            Contradicted { from, since, again: now + SOON }
        });
        // Not only when there is nothing to hear: somebody may always have something to say.
        let for_long = self.contradicted.as_ref().is_some_and(|rename| rename.since + WHILE <= now);
        if for_long || self.doubts.are_too_many() {
            return self.compare_what_is_otherwise();
        }
        if put_off.is_empty() {
            return self.written_down(true);
        }
        // Where the stream is counts only when all of it has been made.
        self.batch.put_off(put_off);
        Ok(self.follower.book.write(None).map_err(TransferError::from)?)
    }

    /// Compares everything. Whatever was to be done is part of that.
    fn compare(&mut self, why: &str) -> Result<(), SessionError> {
        self.batch = self.batch.next();
        self.left.when = None;
        self.contradicted = None;
        let follower = &mut *self.follower;
        follower.teller.state("comparing", Some(why));
        follower.stand.behind(0).map_err(TransferError::from)?;
        let reconcile = Reconcile {
            tree: &follower.tree,
            rsync: self.rsync,
            found: &follower.workspace.found,
            sftp: &|| follower.workspace.sftp().ok(),
            book: &mut follower.book,
            teller: &follower.teller,
            links: follower.links,
            directory_times: false,
        };
        let stand = &mut follower.stand;
        let outcome = reconcile.run(&mut |by| stand.behind(by))?;
        if outcome.left.is_empty() {
            self.left.pause = AGAIN.0;
        }
        self.doubts.settle(!outcome.changed.is_empty());
        self.done(outcome)?;
        self.written_down(true)
    }

    /// What has become of a batch: the command is told what has changed, and what was left out is tried again.
    fn done(&mut self, outcome: Outcome) -> Result<(), SessionError> {
        if let Some((path, why)) = outcome.left.first() {
            self.left.when = Some(Instant::now() + self.left.pause);
            self.left.pause = (self.left.pause * 2).min(AGAIN.1);
            let said = left_out(outcome.left.len(), path, why);
            self.follower.stand.troubled(said).map_err(TransferError::from)?;
        }
        if let Some(on_change) = &self.follower.on_change {
            on_change.changed(outcome.changed);
        }
        Ok(())
    }

    /// How far the copy has come is written down once its files are where they belong, all of them: whoever goes on from there hears no
    /// more of what was left out or is in doubt. With `news` other things are written, too.
    fn written_down(&mut self, news: bool) -> Result<(), SessionError> {
        let follower = &mut *self.follower;
        let complete = self.left.when.is_none() && self.doubts.is_empty();
        let moved = complete && self.cursor != follower.cursor && follower.keeps_cursor();
        if news || moved {
            let cursor = self.cursor.filter(|_| moved);
            follower.book.write(cursor.as_ref()).map_err(TransferError::from)?;
            follower.cursor = cursor.or(follower.cursor);
        }
        if complete {
            follower.in_sync().map_err(TransferError::from)?;
        }
        Ok(())
    }
}

fn left_out(count: usize, path: &EventPath, why: &str) -> String {
    let path = rrsync_rs::escape::Escaped(path.as_bytes());
    match count {
        1 => format!("{path}: {why}"),
        count => format!("{path} and {} more: {why}", count - 1),
    }
}
