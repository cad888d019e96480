//! The event: what a watcher says about a workspace, and what travels with it down a stream.
//!
//! awatch writes it, the gate passes it on, afiles reads it, NATS carries it: one JSON object a line, awatch-events(5). Whoever
//! reads it may be facing a hostile host, so a path is checked when it is read: it is relative and stays where it is put.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use rrsync_rs::name::{Label, WorkspaceName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::authkeys::base64;

/// The version of the format, in every [`Message::Hello`]. A reader refuses a newer one.
pub const FORMAT: u32 = 1;

/// One settled change of one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Never given twice (version 7, RFC 9562); the same event sent again has the same.
    pub uuid: Uuid,
    /// When the watcher saw that the change had settled.
    pub time: Timestamp,
    /// Whose workspace: `USER@HOST`.
    pub author: String,
    /// The label under which several workspaces are found together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Label>,
    /// Which workspace.
    pub workspace: WorkspaceName,
    /// What happened.
    pub reason: Reason,
    /// Where, relative to the workspace. After a rename, the new name.
    pub path: EventPath,
    /// The name before a rename.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<EventPath>,
    /// What is there now; what was there, for a removal.
    pub kind: Kind,
    /// Bytes, of a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Time of the last modification of the content, to the nanosecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<Timestamp>,
    /// Permission bits, `0o7777` at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Content of a regular file, 64 hexadecimal digits, where the watcher has read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Which program or party wrote it, where that is known: a copy that it has made itself is no news to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Something for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// It is new.
    Created,
    /// Its content, or a symlink's target, is another.
    Modified,
    /// Only its mode, its owner or its times are others.
    Attributes,
    /// It has another name; a directory comes with everything below it.
    Renamed,
    /// It is gone; a directory with everything below it.
    Removed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Modified => "modified",
            Self::Attributes => "attributes",
            Self::Renamed => "renamed",
            Self::Removed => "removed",
        })
    }
}

/// What kind of thing a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symlink; what it leads to is not looked at.
    Symlink,
    /// A FIFO, a socket or a device.
    Other,
}

/// A path below a workspace: any bytes but NUL, at least one component, none of them `.` or `..`.
///
/// In JSON a string, or `{"base64": "…"}` where it is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "PathForm", into = "PathForm")]
pub struct EventPath(Vec<u8>);

/// Why bytes cannot be the path of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a path of an event must be relative, without empty, \".\" and \"..\" components, without NUL, and in valid base64"
)]
pub struct BadPath;

impl EventPath {
    /// Checks `bytes`.
    pub fn new(bytes: Vec<u8>) -> Result<Self, BadPath> {
        let plain = |component: &[u8]| !matches!(component, b"" | b"." | b"..");
        let fits = bytes.split(|byte| *byte == b'/').all(plain) && !bytes.contains(&0);
        if fits { Ok(Self(bytes)) } else { Err(BadPath) }
    }

    /// The path, relative to its workspace.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The path as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is something in the directory `other`, however deep.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(other.0.as_slice()).is_some_and(|rest| rest.first() == Some(&b'/'))
    }

    /// Of the paths in a map, those below this one.
    pub fn below<'m, V>(
        &self,
        map: &'m BTreeMap<Self, V>,
    ) -> impl Iterator<Item = (&'m Self, &'m V)> + use<'m, V> {
        // Between a path and what is below it there may be others: `a`, `a-b`, `a/b`.
        let first = Self([&self.0[..], b"/\x01"].concat());
        let above = self.clone();
        map.range(first..).take_while(move |(path, _)| path.is_below(&above))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PathForm {
    Text(String),
    Bytes { base64: String },
}

impl TryFrom<PathForm> for EventPath {
    type Error = BadPath;

    fn try_from(form: PathForm) -> Result<Self, BadPath> {
        Self::new(match form {
            PathForm::Text(text) => text.into_bytes(),
            PathForm::Bytes { base64: text } => base64::decode(text.as_bytes()).map_err(|_| BadPath)?,
        })
    }
}

impl From<EventPath> for PathForm {
    fn from(path: EventPath) -> Self {
        match String::from_utf8(path.0) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Bytes { base64: base64::encode(error.as_bytes()) },
        }
    }
}

/// A place in the sequence of a workspace's events: which journal, and how many of its events have been seen.
///
/// Text: `JOURNAL.SEQUENCE`, 32 hexadecimal digits and a decimal number. A journal that is begun anew has another name, so
/// that a cursor of the old one is known to be of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    /// The journal.
    pub journal: Uuid,
    /// The number of the last event seen, counted from 1; 0 before the first.
    pub sequence: u64,
}

/// Not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is what a stream said before: 32 hexadecimal digits, a dot and a number")]
pub struct BadCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.journal.as_simple(), self.sequence)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (journal, sequence) = text.split_once('.').ok_or(BadCursor)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if journal.len() != 32 || !digits(sequence) {
            return Err(BadCursor);
        }
        let journal = Uuid::try_parse(journal).map_err(|_| BadCursor)?;
        let sequence = sequence.parse().map_err(|_| BadCursor)?;
        Ok(Self { journal, sequence })
    }
}

impl TryFrom<String> for Cursor {
    type Error = BadCursor;

    fn try_from(text: String) -> Result<Self, BadCursor> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

/// One line of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Message {
    /// The first line, before anything else.
    Hello {
        /// [`FORMAT`].
        format: u32,
        /// The workspace that is streamed.
        workspace: WorkspaceName,
        /// Whose: `USER@HOST`.
        author: String,
        /// The label under which it is found with others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<Label>,
    },
    /// A change.
    Event {
        /// Where the stream is after this event: what a later stream goes on from.
        cursor: Cursor,
        /// What happened.
        #[serde(flatten)]
        event: Box<Event>,
    },
    /// Events may be missing here: whoever reads this compares the whole tree, and goes on from `cursor`.
    Resync {
        /// Where the stream goes on.
        cursor: Cursor,
        /// Why, for people.
        why: String,
    },
    /// Everything known so far has been sent. Comes after each batch, and from time to time so that a dead connection shows.
    Current {
        /// Where the stream is.
        cursor: Cursor,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            uuid: Uuid::from_u128(7),
            time: Timestamp::UNIX_EPOCH,
            author: "you@laptop".to_owned(),
            project: Some("thesis".parse().unwrap()),
            workspace: "papers".parse().unwrap(),
            reason: Reason::Renamed,
            path: EventPath::new(b"b/\xff".to_vec()).unwrap(),
            from: Some(EventPath::new(b"a b".to_vec()).unwrap()),
            kind: Kind::File,
            size: Some(3),
            mtime: Some(Timestamp::new(1, 5).unwrap()),
            mode: Some(0o644),
            sha256: None,
            origin: None,
            text: None,
        }
    }

    #[test]
    fn a_message_is_one_line_and_reads_back() {
        let cursor = Cursor { journal: Uuid::from_u128(0xab), sequence: 12 };
        let message = Message::Event { cursor, event: Box::new(event()) };
        let line = serde_json::to_string(&message).unwrap();
        assert!(!line.contains('\n'));
        assert!(line.contains(r#""type":"event","cursor":"000000000000000000000000000000ab.12""#), "{line}");
        assert!(line.contains(r#""path":{"base64":"Yi//"},"from":"a b","kind":"file""#), "{line}");
        assert!(line.contains(r#""mtime":"1970-01-01T00:00:01.000000005Z""#), "{line}");
        assert_eq!(serde_json::from_str::<Message>(&line).unwrap(), message);
    }

    #[test]
    fn a_path_of_an_event_stays_in_its_workspace() {
        for bad in ["", "/", "/a", "a/", "a//b", ".", "./a", "a/..", "../a", "a/./b", "a\0b"] {
            assert!(EventPath::new(bad.into()).is_err(), "{bad:?}");
            assert!(serde_json::from_value::<EventPath>(bad.into()).is_err(), "{bad:?}");
        }
        for bad in [r#"{"base64":"Li4="}"#, r#"{"base64":"*"}"#, r#"{"base64":""}"#, "3", "null"] {
            assert!(serde_json::from_str::<EventPath>(bad).is_err(), "{bad}");
        }
        assert!(EventPath::new(b"..a/b..\n/\x80".to_vec()).is_ok());
    }

    #[test]
    fn a_cursor_has_one_spelling() {
        let cursor = Cursor { journal: Uuid::from_u128(1 << 120), sequence: u64::MAX };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in ["", ".", "1.1", "00000000-0000-0000-0000-000000000000.1", "x", "+1"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
        let signed = format!("{}.+1", Uuid::nil().as_simple());
        assert!(signed.parse::<Cursor>().is_err());
    }
}
