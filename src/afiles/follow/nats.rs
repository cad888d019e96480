//! The stream of a workspace's events, as a NATS server has it.
//!
//! Anybody who may publish there can have sent any of it. So nothing is believed that the source does not say itself when it is asked
//! (see [`super::batch`]), and the worst that can be done from there is a comparison too many. The order is checked: an event that does not
//! follow on the one before means that everything has to be compared, and is never passed over. Where to go on from is the
//! cursor of this copy, and the server keeps nothing about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use rrsync_rs::escape::Escaped;

use super::Input;
use super::stream::{LONGEST_LINE, StreamError};
use crate::afiles::announced;
use crate::afiles::find::Found;
use crate::awatch::nats::client::{Client, NatsError};
use crate::awatch::nats::jetstream::{self, Consumer, Which};
use crate::awatch::nats::registry::{self, Entry};
use crate::awatch::nats::server::Server;
use crate::awatch::nats::{subject, wire};
use crate::awatch::record::Identity;
use crate::event::{Cursor, Message};

/// How many messages are asked for at once, and for how long.
const BATCH: u64 = 256;
const TIME: Duration = Duration::from_secs(5);

/// How much of a reason is passed on.
const LONGEST_REASON: usize = 200;

/// A stream that is being listened to. Dropped, it ends.
#[derive(Debug)]
pub struct Listening(Arc<AtomicBool>);

impl Listening {
    /// Listens to the events of what was found, from `since` on where that is known, and hands them over as they come.
    pub fn to(server: &Server, found: &Found, since: Option<Cursor>, to: SyncSender<Input>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (server, found, ended) = (server.clone(), found.clone(), Arc::clone(&over));
        thread::spawn(move || {
            let Err(error) = listen(&server, &found, since, &to, &ended) else { return };
            // Nobody listens any more when the session has ended first.
            drop(to.send(Input::Ended(StreamError::Nats(format!("{}: {error}", server.url)))));
        });
        Self(over)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Why nothing more comes.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error("{0}")]
    Nats(#[from] NatsError),
    #[error("{0}")]
    Registry(String),
    #[error("{0} is not announced there")]
    NotAnnounced(String),
    #[error("nobody watches {0} any more")]
    Gone(String),
}

/// Listens until nobody wants to know any more.
fn listen(
    server: &Server,
    found: &Found,
    since: Option<Cursor>,
    to: &SyncSender<Input>,
    over: &AtomicBool,
) -> Result<(), ListenError> {
    let mut client = Client::connect(server, &format!("afiles {}", found.remote))?;
    let entry = announcement(&mut client, found)?;
    let identity = entry.identity();
    // Each announcement is a sign of life.
    let alive = subject::announcement(&identity);
    client.subscribe(&alive);
    let pattern = subject::events(&identity);
    let stream = jetstream::stream_of(&mut client, &pattern)?;
    let stream = stream.ok_or_else(|| ListenError::NotAnnounced(found.remote.to_string()))?;
    let start = place(&mut client, &stream, &pattern, since, &entry)?;
    let mut order = Order { cursor: start.cursor, identity, catching_up: since.is_some() };
    let say = |message: Message| to.send(Input::Said(Box::new(message))).is_ok();
    if let Some(why) = start.resync
        && !say(Message::Resync { cursor: start.cursor, why: why.to_owned() })
    {
        return Ok(());
    }
    let consumer = Consumer::new(&mut client, &stream, &pattern, start.from)?;
    let mut current = consumer.waiting == 0;
    let reply = client.inbox("events");
    let mut asked: Option<(u64, Instant)> = None;
    while !over.load(Ordering::Acquire) {
        if std::mem::take(&mut current) && !say(Message::Current { cursor: order.cursor }) {
            return Ok(());
        }
        if asked.is_none_or(|(left, until)| left == 0 || until <= Instant::now()) {
            consumer.ask(&mut client, &reply, BATCH, TIME)?;
            asked = Some((BATCH, Instant::now() + TIME * 2));
        }
        let Some(message) = client.next(Instant::now() + TIME)? else { continue };
        if message.subject == alive {
            if Entry::read(&message.subject, &message.content).is_none() {
                return Err(ListenError::Gone(found.remote.to_string()));
            }
            current = true;
        } else if message.subject == reply && message.status.is_some() {
            asked = None;
        } else if message.subject.starts_with(subject::ROOT) {
            asked = asked.map(|(left, until)| (left.saturating_sub(1), until));
            current = jetstream::waiting_behind(&message) == Some(0);
            if let Some(said) = order.take(&message)
                && !say(said)
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The announcement of what was found, whose host has the keys that this pod knows.
fn announcement(client: &mut Client, found: &Found) -> Result<Entry, ListenError> {
    let mut entries = registry::all(client)?;
    entries.retain(|entry| entry.workspace == found.remote.workspace && announced::is_of(entry, &found.card));
    match entries.len() {
        0 => Err(ListenError::NotAnnounced(found.remote.to_string())),
        1 => Ok(entries.remove(0)),
        count => Err(ListenError::Registry(format!("{} is announced {count} times", found.remote))),
    }
}

/// Where to begin.
struct Start {
    /// The number of the first message.
    from: u64,
    /// Where the stream is before it.
    cursor: Cursor,
    /// Why everything has to be compared first.
    resync: Option<&'static str>,
}

/// Finds the first message behind `since`.
fn place(
    client: &mut Client,
    stream: &str,
    pattern: &str,
    since: Option<Cursor>,
    entry: &Entry,
) -> Result<Start, ListenError> {
    let last = jetstream::stored(client, stream, Which::Last { pattern })?;
    let Some((number, last)) = last.and_then(|last| Some((last.number, cursor(&last.content)?))) else {
        // Nothing that could be read is there yet.
        let cursor = since.or(entry.cursor).unwrap_or(Cursor { journal: uuid::Uuid::nil(), sequence: 0 });
        return Ok(Start { from: 1, cursor, resync: since.is_none().then_some("the stream begins here") });
    };
    match since {
        None => Ok(Start { from: number + 1, cursor: last, resync: Some("the stream begins here") }),
        Some(since) if since.journal != last.journal => {
            Ok(Start { from: number + 1, cursor: last, resync: Some("another journal was begun there") })
        }
        Some(since) if since.sequence >= last.sequence => {
            Ok(Start { from: number + 1, cursor: since, resync: None })
        }
        Some(since) => {
            let is_behind = |content: &[u8]| {
                cursor(content).is_some_and(|at| at.journal == since.journal && at.sequence > since.sequence)
            };
            let (mut low, mut high) = (1, number);
            while low < high {
                let middle = low + (high - low) / 2;
                match jetstream::stored(client, stream, Which::From { seq: middle, pattern })? {
                    Some(message) if !is_behind(&message.content) => low = message.number + 1,
                    _ => high = middle,
                }
            }
            Ok(Start { from: low, cursor: since, resync: None })
        }
    }
}

fn cursor(content: &[u8]) -> Option<Cursor> {
    match serde_json::from_slice(content).ok()? {
        Message::Event { cursor, .. } | Message::Resync { cursor, .. } => Some(cursor),
        Message::Hello { .. } | Message::Current { .. } => None,
    }
}

/// What follows on what.
#[derive(Debug)]
struct Order {
    /// The last event that was passed on.
    cursor: Cursor,
    identity: Identity,
    /// Whether what comes first may be known already.
    catching_up: bool,
}

impl Order {
    /// What is passed on of a message. What is none, or of another workspace, is passed over: if it stood in the place of an event, that is missing.
    fn take(&mut self, message: &wire::Message) -> Option<Message> {
        if message.content.len() as u64 > LONGEST_LINE {
            return None;
        }
        let message: Message = serde_json::from_slice(&message.content).ok()?;
        let (cursor, message) = match message {
            Message::Event { cursor, event } => {
                if event.workspace != self.identity.workspace || event.author != self.identity.author {
                    return None;
                }
                let same = cursor.journal == self.cursor.journal;
                if same && self.catching_up && cursor.sequence <= self.cursor.sequence {
                    return None;
                }
                let follows = same && Some(cursor.sequence) == self.cursor.sequence.checked_add(1);
                let missing =
                    || Message::Resync { cursor, why: "events are missing on the server".to_owned() };
                (cursor, if follows { Message::Event { cursor, event } } else { missing() })
            }
            Message::Resync { cursor, why } => {
                let why: String = Escaped(why.as_bytes()).to_string().chars().take(LONGEST_REASON).collect();
                (cursor, Message::Resync { cursor, why })
            }
            Message::Hello { .. } | Message::Current { .. } => return None,
        };
        (self.cursor, self.catching_up) = (cursor, false);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { author: "anna@laptop".to_owned(), project: None, workspace: "papers".parse().unwrap() }
    }

    fn at(journal: u128, sequence: u64) -> Cursor {
        Cursor { journal: uuid::Uuid::from_u128(journal), sequence }
    }

    fn event(cursor: Cursor) -> String {
        format!(
            r#"{{"type":"event","cursor":"{cursor}","uuid":"{}","time":"2026-01-01T00:00:00Z","author":"anna@laptop","workspace":"papers","reason":"created","path":"a/b","kind":"file"}}"#,
            uuid::Uuid::nil()
        )
    }

    fn take(order: &mut Order, content: &str) -> Option<String> {
        let message = wire::Message { content: content.into(), ..wire::Message::default() };
        order.take(&message).map(|message| match message {
            Message::Event { cursor, .. } => format!("event {}", cursor.sequence),
            Message::Resync { cursor, .. } => format!("resync {}", cursor.sequence),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn what_does_not_follow_is_never_silent() {
        let mut order = Order { cursor: at(1, 5), identity: identity(), catching_up: true };
        for (cursor, outcome) in [
            (at(1, 4), None),
            (at(1, 5), None),
            (at(1, 6), Some("event 6")),
            // From here on nothing is known already: the same once more is a stranger's, or a server's that was put back.
            (at(1, 6), Some("resync 6")),
            (at(1, 8), Some("resync 8")),
            (at(1, 9), Some("event 9")),
            (at(1, u64::MAX), Some("resync 18446744073709551615")),
            (at(1, 10), Some("resync 10")),
            (at(2, 11), Some("resync 11")),
            (at(2, 12), Some("event 12")),
        ] {
            assert_eq!(take(&mut order, &event(cursor)).as_deref(), outcome, "{cursor}");
        }
        let resync = |why: &str| format!(r#"{{"type":"resync","cursor":"{}","why":"{why}"}}"#, at(3, 1));
        assert_eq!(take(&mut order, &resync("x")).as_deref(), Some("resync 1"));
        let message =
            wire::Message { content: resync(&"\\u001b".repeat(5000)).into(), ..wire::Message::default() };
        let Some(Message::Resync { why, .. }) = order.take(&message) else { panic!() };
        assert!(why.len() == LONGEST_REASON && !why.contains('\x1b'), "{why}");
    }

    #[test]
    fn what_is_no_event_of_this_workspace_is_passed_over() {
        let good = event(at(1, 6));
        for (from, to) in [
            ("a/b", "../b"),
            ("a/b", "/etc/passwd"),
            ("\"a/b\"", "{\"base64\":\"Li4vYg==\"}"),
            ("\"papers\"", "\"data\""),
            ("anna@laptop", "bob@laptop"),
            ("created", "exploded"),
            ("event", "hello"),
            ("00000001.6", "00000001.-6"),
            ("{", ""),
            ("file\"", &format!("file\",\"text\":\"{}\"", "x".repeat(70_000))),
        ] {
            let mut order = Order { cursor: at(1, 5), identity: identity(), catching_up: false };
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert_eq!(take(&mut order, &bad), None, "{to}");
            // The event whose place it took is missing.
            assert_eq!(take(&mut order, &event(at(1, 7))).as_deref(), Some("resync 7"));
        }
    }
}
