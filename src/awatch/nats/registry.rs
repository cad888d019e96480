//! The registry: which workspaces exist now, where, and how their hosts are known. One message for each, sent again and again.
//!
//! Whoever may publish can say anything here. So an announcement says where to look and never whom to trust: its words are checked
//! types, it counts only on its own subject, and what connects goes by the card and the pinned keys.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rrsync_rs::name::{Label, WorkspaceName};
use serde::{Deserialize, Serialize};

use super::client::{Client, NatsError};
use super::jetstream::{self, Consumer, NewStream};
use super::server::Server;
use super::socket::PATIENCE;
use super::subject;
use crate::awatch::daemon::status::Doing;
use crate::awatch::record::Identity;
use crate::card::{Host, HostPublicKey, User};
use crate::event::Cursor;

/// The version of the form.
const FORMAT: u32 = 1;

/// How often a daemon announces each workspace.
pub const EVERY: Duration = Duration::from_secs(15);

/// Whoever has been silent for longer is dead.
pub const DEAD: Duration = Duration::from_mins(1);

/// How much of the registry is kept by the server, and for how many nanoseconds what is dead is remembered.
const MAX_BYTES: u64 = 64 << 20;
const MAX_AGE: u64 = 30 * 24 * 3600 * 1_000_000_000;

/// Nobody reads more at once, and no host has more keys.
const MAX_ENTRIES: u64 = 100_000;
const MAX_KEYS: usize = 16;

/// An announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which workspace.
    pub workspace: WorkspaceName,
    /// The label under which it is found with others.
    pub project: Option<Label>,
    /// What its events say whose they are: `USER@HOST`, as the host calls itself.
    pub author: String,
    /// The account.
    pub user: User,
    /// Where it is.
    pub host: Host,
    /// The port of the host's sshd, where that is known.
    pub port: Option<NonZeroU16>,
    /// The host's keys.
    pub host_keys: BTreeSet<HostPublicKey>,
    /// When this was said, by the clock of its host.
    pub time: Timestamp,
    /// What the daemon is doing there.
    pub doing: Doing,
    /// Where its journal is.
    pub cursor: Option<Cursor>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct EntryForm {
    format: u32,
    workspace: WorkspaceName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<Label>,
    author: String,
    user: String,
    host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<NonZeroU16>,
    host_keys: Vec<String>,
    time: Timestamp,
    doing: Doing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<Cursor>,
    /// Whether it is announced for the last time.
    #[serde(default)]
    gone: bool,
}

impl Entry {
    /// Whose, and which.
    pub fn identity(&self) -> Identity {
        Identity {
            author: self.author.clone(),
            project: self.project.clone(),
            workspace: self.workspace.clone(),
        }
    }

    /// `USER@HOST`.
    pub fn account(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }

    /// How long ago this was said. A clock that is ahead has said it now.
    pub fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.time)).unwrap_or_default()
    }

    /// The message. `gone`: it is the last one.
    pub fn message(&self, gone: bool) -> Vec<u8> {
        let form = EntryForm {
            format: FORMAT,
            workspace: self.workspace.clone(),
            project: self.project.clone(),
            author: self.author.clone(),
            user: self.user.to_string(),
            host: self.host.to_string(),
            port: self.port,
            host_keys: self.host_keys.iter().map(ToString::to_string).collect(),
            time: self.time,
            doing: self.doing,
            cursor: self.cursor,
            gone,
        };
        // Nothing in it cannot be JSON.
        serde_json::to_vec(&form).unwrap_or_default()
    }

    /// Reads a message that was sent to `subject`; `None` for what is no announcement, or is that of another workspace, or is the last.
    pub fn read(sent_to: &str, content: &[u8]) -> Option<Self> {
        let form: EntryForm = serde_json::from_slice(content).ok()?;
        if form.format != FORMAT || form.gone || form.host_keys.len() > MAX_KEYS {
            return None;
        }
        let entry = Self {
            workspace: form.workspace,
            project: form.project,
            author: Some(form.author).filter(|author| is_author(author))?,
            user: form.user.parse().ok()?,
            host: form.host.parse().ok()?,
            port: form.port,
            host_keys: form.host_keys.iter().map(|key| key.parse().ok()).collect::<Option<_>>()?,
            time: form.time,
            doing: form.doing,
            cursor: form.cursor,
        };
        (subject::announcement(&entry.identity()) == sent_to).then_some(entry)
    }
}

/// Whether this is something that an event can have as its author: what a host calls itself is not always a name of the network.
fn is_author(author: &str) -> bool {
    (1..=320).contains(&author.len()) && author.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Makes sure that there is a stream that keeps announcements.
pub fn ensure(client: &mut Client) -> Result<(), NatsError> {
    let new = NewStream {
        name: "akeys-workspaces".to_owned(),
        subjects: [subject::announcements()],
        max_bytes: MAX_BYTES,
        max_age: MAX_AGE,
        max_msgs_per_subject: 1,
    };
    jetstream::ensure(client, &new).map(drop)
}

/// Every workspace that is announced on a server.
pub fn ask(server: &Server, name: &str) -> Result<Vec<Entry>, NatsError> {
    all(&mut Client::connect(server, name)?)
}

/// Every workspace that is announced, by its subject.
pub fn all(client: &mut Client) -> Result<Vec<Entry>, NatsError> {
    let Some(stream) = jetstream::stream_of(client, &subject::announcements())? else {
        return Ok(Vec::new());
    };
    let consumer = Consumer::new(client, &stream, &subject::announcements(), 1)?;
    let mut left = consumer.waiting.min(MAX_ENTRIES);
    let mut entries = BTreeMap::new();
    let reply = client.inbox("registry");
    if left > 0 {
        consumer.ask(client, &reply, left, Duration::ZERO)?;
    }
    let until = Instant::now() + PATIENCE * 4;
    while left > 0 {
        let message = client.next(until)?.ok_or(NatsError::Silence("the question for workspaces"))?;
        if message.status.is_some() {
            break;
        }
        // An administrator's stream may keep more than the last of each.
        entries.insert(message.subject.clone(), Entry::read(&message.subject, &message.content));
        left -= 1;
    }
    Ok(entries.into_values().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5";

    fn entry() -> Entry {
        Entry {
            workspace: "papers".parse().unwrap(),
            project: Some("thesis".parse().unwrap()),
            author: "anna@laptop.example".to_owned(),
            user: "anna".parse().unwrap(),
            host: "laptop.example".parse().unwrap(),
            port: NonZeroU16::new(2222),
            host_keys: BTreeSet::from([KEY.parse().unwrap()]),
            time: Timestamp::UNIX_EPOCH,
            doing: Doing::Watching,
            cursor: Some(format!("{:032x}.7", 1).parse().unwrap()),
        }
    }

    #[test]
    fn an_announcement_counts_on_its_own_subject_only() {
        let (entry, subject) = (entry(), "akeys.v1.workspaces.thesis.anna=40laptop=2Eexample.papers");
        assert_eq!(Entry::read(subject, &entry.message(false)), Some(entry.clone()));
        assert_eq!(Entry::read(subject, &entry.message(true)), None);
        for other in [
            subject.replace("anna", "bob"),
            subject.replace("thesis", "-"),
            subject.replace("papers", "data"),
            format!("{subject}.x"),
        ] {
            assert_eq!(Entry::read(&other, &entry.message(false)), None);
        }
    }

    #[test]
    fn what_anybody_may_send_is_no_announcement() {
        let text = String::from_utf8(entry().message(false)).unwrap();
        let subject = subject::announcement(&entry().identity());
        for (from, to) in [
            ("\"format\":1", "\"format\":2"),
            ("\"anna\"", "\"-oProxyCommand=x\""),
            ("anna@", "anna\\n@"),
            ("\"laptop.example", "\"-laptop"),
            ("papers", "../papers"),
            ("ssh-ed25519", "command=\\\"x\\\" ssh-ed25519"),
            ("2222", "0"),
            ("1970", "x970"),
            ("watching", "sleeping"),
            ("{", "["),
        ] {
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text, "{from}");
            assert_eq!(Entry::read(&subject, bad.as_bytes()), None, "{to}");
        }
        let many = format!("[{}]", vec![format!("\"{KEY}\""); 17].join(","));
        assert_eq!(Entry::read(&subject, text.replace(&format!("[\"{KEY}\"]"), &many).as_bytes()), None);
        assert!(Entry::read(&subject, b"").is_none() && Entry::read(&subject, &[0xff; 100]).is_none());
    }

    #[test]
    fn a_clock_that_is_ahead_is_not_dead() {
        let seconds = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(entry().age(seconds(90)), Duration::from_secs(90));
        assert_eq!(entry().age(seconds(-90)), Duration::ZERO);
    }
}
