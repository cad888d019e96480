//! One connection's life: what the journal has is published, until the daemon stops or something goes wrong.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use serde::{Deserialize, Serialize};

use super::announce::Announcer;
use super::client::{Client, NatsError};
use super::jetstream::{self, NewStream, WRONG_LAST, Which};
use super::publish::Work;
use super::registry;
use super::subject;
use super::wire;
use crate::awatch::daemon::log::Level;
use crate::awatch::journal::head::Head;
use crate::awatch::journal::read::{Next, Reader};
use crate::common::private::{self, IfThere, PrivateError};
use crate::event::{Cursor, Message};

/// How many messages may be under way.
const UNDER_WAY: usize = 256;

/// How long a message may be under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the last ones may be when the daemon stops.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// How often it is written down how far the server is.
const WRITTEN_DOWN: Duration = Duration::from_secs(1);

/// Why a session has ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The server.
    #[error("{0}")]
    Nats(#[from] NatsError),
    /// The journal here.
    #[error("the journal: {0}")]
    Journal(io::Error),
    /// The file that says how far the server is.
    #[error("{0}")]
    Kept(#[from] PrivateError),
    /// Waiting.
    #[error("{0}")]
    System(io::Error),
}

impl SessionError {
    /// Whether there is no journal yet.
    pub fn is_no_journal(&self) -> bool {
        matches!(self, Self::Journal(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// How a session ends where nothing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The daemon stops.
    Stop,
    /// Somebody else's message was between two of ours: what is behind it is sent once more.
    Anew,
}

/// How far the server is, as it is written down.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    cursor: Option<Cursor>,
}

/// A message that is under way.
struct Sent {
    cursor: Cursor,
    id: String,
    reply: String,
    when: Instant,
}

struct Session<'w> {
    work: &'w Work,
    client: Client,
    reader: Reader,
    announcer: Announcer,
    under_way: VecDeque<Sent>,
    /// How many messages were sent.
    sent: u64,
    /// Up to where the server has everything, what of it is written down, and when that is due.
    published: Cursor,
    written: Option<Cursor>,
    due: Option<Instant>,
}

/// Publishes until there is an end. `well` is called once the server has answered everything that it was asked first.
pub fn run(work: &Work, well: &mut dyn FnMut()) -> Result<End, SessionError> {
    // A workspace that never was there has nothing to say, and no server is asked for it.
    let head = Head::read(&work.journal).map_err(SessionError::Journal)?;
    let kept = kept(work).filter(|cursor| cursor.journal == head.journal);
    let mut client = Client::connect(&work.server, &format!("awatch {}", work.identity.workspace))?;
    let stream = jetstream::ensure(
        &mut client,
        &NewStream {
            name: subject::stream(&work.identity),
            subjects: [subject::events(&work.identity)],
            max_bytes: work.retention,
            max_age: 0,
            max_msgs_per_subject: -1,
        },
    )?;
    registry::ensure(&mut client)?;
    let known = known(&mut client, &stream, work)?.filter(|cursor| cursor.journal == head.journal);
    // `None` is less than anything.
    let sequence = known.max_by_sequence(kept).map_or(0, |cursor| cursor.sequence);
    let published = Cursor { journal: head.journal, sequence };
    let reader = Reader::open(&work.journal, Some(published)).map_err(SessionError::Journal)?;
    well();
    let session = Session {
        work,
        client,
        reader,
        announcer: Announcer::new(work),
        under_way: VecDeque::new(),
        sent: 0,
        published,
        written: kept,
        due: None,
    };
    session.publish()
}

trait Later {
    fn max_by_sequence(self, other: Self) -> Self;
}

impl Later for Option<Cursor> {
    fn max_by_sequence(self, other: Self) -> Self {
        [self, other].into_iter().flatten().max_by_key(|cursor| cursor.sequence)
    }
}

/// What is written down. A file that cannot be read is as good as none: the server knows better.
fn kept(work: &Work) -> Option<Cursor> {
    serde_json::from_slice::<Kept>(&fs::read(&work.kept).ok()?).ok()?.cursor
}

/// The cursor of the last message that the stream has of this workspace.
fn known(client: &mut Client, stream: &str, work: &Work) -> Result<Option<Cursor>, NatsError> {
    let pattern = subject::events(&work.identity);
    let last = jetstream::stored(client, stream, Which::Last { pattern: &pattern })?;
    Ok(last.and_then(|last| cursor(&serde_json::from_slice(&last.content).ok()?)))
}

fn cursor(message: &Message) -> Option<Cursor> {
    match message {
        Message::Event { cursor, .. } | Message::Resync { cursor, .. } => Some(*cursor),
        Message::Hello { .. } | Message::Current { .. } => None,
    }
}

impl Session<'_> {
    fn publish(mut self) -> Result<End, SessionError> {
        // Also where the server refuses the first message.
        self.tell();
        loop {
            let more = self.send()?;
            while let Some(message) = self.client.next_now()? {
                if self.take(&message)? {
                    return Ok(End::Anew);
                }
            }
            self.write_down(false)?;
            let stops = self.work.control.stops();
            if stops && !more && self.under_way.is_empty() || stops && self.is_late(LAST_PATIENCE) {
                self.write_down(true)?;
                self.announcer.last(&mut self.client)?;
                return Ok(End::Stop);
            }
            if self.is_late(PATIENCE) {
                return Err(NatsError::Silence("a message").into());
            }
            self.announcer.announce(&mut self.client, self.work, self.reader.cursor())?;
            self.client.flush()?;
            // There may be room for what is left by now.
            if !more || self.under_way.len() >= UNDER_WAY {
                self.wait(more)?;
            }
        }
    }

    /// Sends what there is, as long as not too much is under way. Tells whether there is more.
    fn send(&mut self) -> Result<bool, SessionError> {
        self.reader.wake().map_err(SessionError::Journal)?;
        while self.under_way.len() < UNDER_WAY {
            let message = match self.reader.advance().map_err(SessionError::Journal)? {
                Next::Nothing => return Ok(false),
                Next::Event(cursor, event) => Message::Event { cursor, event },
                Next::Resync(cursor, why) => {
                    self.work.say(
                        Level::Warning,
                        format_args!("whoever follows has to compare everything: {why}"),
                    );
                    Message::Resync { cursor, why }
                }
            };
            self.send_one(&message)?;
        }
        Ok(true)
    }

    fn send_one(&mut self, message: &Message) -> Result<(), SessionError> {
        let identity = &self.work.identity;
        let (subject, cursor) = match message {
            Message::Event { cursor, event } => (subject::event(identity, &event.path), *cursor),
            Message::Resync { cursor, .. } => (subject::resync(identity), *cursor),
            Message::Hello { .. } | Message::Current { .. } => return Ok(()),
        };
        let kind = if matches!(message, Message::Resync { .. }) { "/resync" } else { "" };
        let author = subject::word(identity.author.as_bytes());
        let id = format!("{author}/{}/{cursor}{kind}", identity.workspace);
        self.sent += 1;
        let reply = self.client.inbox(&format!("p{}", self.sent));
        let before = self.under_way.back().map(|sent| sent.id.clone());
        let mut headers = vec![("Nats-Msg-Id", id.as_str())];
        headers.extend(before.as_deref().map(|before| ("Nats-Expected-Last-Msg-Id", before)));
        let content = serde_json::to_vec(message).map_err(|error| SessionError::Journal(error.into()))?;
        match self.client.publish(&subject, Some(&reply), &headers, &content) {
            Err(NatsError::TooLong(length)) if matches!(message, Message::Event { .. }) => {
                let why = format!("an event of {length} bytes is longer than the server takes");
                self.sent -= 1;
                return self.send_one(&Message::Resync { cursor, why });
            }
            sent => sent?,
        }
        self.under_way.push_back(Sent { cursor, id, reply, when: Instant::now() });
        Ok(())
    }

    /// Takes in what the server says to a message. `true`: somebody else's was between two of them.
    fn take(&mut self, message: &wire::Message) -> Result<bool, SessionError> {
        if self.announcer.is_answer(message) {
            self.announcer.answered(message, self.work);
            return Ok(false);
        }
        let Some(first) = self.under_way.front().filter(|sent| sent.reply == message.subject) else {
            // To one that was refused, and the refusal has been taken in.
            return Ok(false);
        };
        match jetstream::taken(message) {
            Ok(_) => {}
            Err(NatsError::JetStream { code: WRONG_LAST, .. }) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        self.published = first.cursor;
        self.under_way.pop_front();
        self.due.get_or_insert_with(|| Instant::now() + WRITTEN_DOWN);
        Ok(false)
    }

    /// Tells everybody how far the server is.
    fn tell(&self) {
        self.work.status.set(|status| {
            if let Some(nats) = &mut status.nats {
                nats.published = self.published.sequence;
            }
        });
    }

    fn is_late(&self, patience: Duration) -> bool {
        self.under_way.front().is_some_and(|sent| sent.when.elapsed() > patience)
    }

    /// Tells everybody how far the server is, and writes it down from time to time, or `now`.
    fn write_down(&mut self, now: bool) -> Result<(), SessionError> {
        self.tell();
        let published = self.published;
        let due = now || self.due.is_some_and(|due| due <= Instant::now());
        if due && self.written != Some(published) {
            let text = serde_json::to_vec(&Kept { cursor: Some(published) });
            let text = text.map_err(|error| SessionError::System(error.into()))?;
            private::write(&self.work.kept, &text, 0o600, IfThere::Replace)?;
            self.written = Some(published);
        }
        if due {
            self.due = None;
        }
        Ok(())
    }

    /// Waits until there is something to do.
    fn wait(&self, more: bool) -> Result<(), SessionError> {
        let late = self.under_way.front().map(|sent| sent.when + PATIENCE);
        let next = [Some(self.announcer.next()), self.due, late].into_iter().flatten().min();
        let time = next.map(|next| next.saturating_duration_since(Instant::now()));
        let server = self.client.fd().map_err(SessionError::System)?;
        let mut fds: Vec<(BorrowedFd<'_>, PollFlags)> = vec![(server, PollFlags::IN)];
        // As long as too much is under way, what comes into the journal is no news.
        if !more {
            fds.push((self.reader.fd(), PollFlags::IN));
        }
        self.work.control.wait(&fds, time).map(drop).map_err(SessionError::System)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_later_of_two_places_counts() {
        let at = |sequence| Some(Cursor { journal: Uuid::nil(), sequence });
        for (one, other, later) in
            [(at(1), at(2), at(2)), (at(3), at(2), at(3)), (None, at(0), at(0)), (None, None, None)]
        {
            assert_eq!(one.max_by_sequence(other), later);
            assert_eq!(other.max_by_sequence(one), later);
        }
    }
}
