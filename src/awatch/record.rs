//! From a change of the tree to an event: what the watcher saw, and whose workspace it is.

use jiff::Timestamp;
use rrsync_rs::hex;
use rrsync_rs::name::{Label, WorkspaceName};
use uuid::Uuid;

use super::watcher::Change;
use crate::event::{Event, FORMAT, Kind, Message};

/// Whose events these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `USER@HOST`.
    pub author: String,
    /// The label under which the workspace is found with others.
    pub project: Option<Label>,
    /// The workspace.
    pub workspace: WorkspaceName,
}

impl Identity {
    /// The first line of a stream.
    pub fn hello(&self) -> Message {
        Message::Hello {
            format: FORMAT,
            workspace: self.workspace.clone(),
            author: self.author.clone(),
            project: self.project.clone(),
        }
    }

    /// The event of a change.
    pub fn event(&self, change: Change, uuid: Uuid) -> Event {
        let Change { reason, path, from, kind, stat, sha256, origin } = change;
        let content = matches!(kind, Kind::File | Kind::Symlink);
        let file = stat.filter(|_| kind == Kind::File);
        Event {
            uuid,
            time: Timestamp::now(),
            author: self.author.clone(),
            project: self.project.clone(),
            workspace: self.workspace.clone(),
            reason,
            path,
            from,
            kind,
            size: file.map(|stat| stat.size),
            mtime: stat.filter(|_| content).and_then(|stat| moment(stat.modified)),
            mode: stat.filter(|_| kind != Kind::Symlink).map(|stat| stat.mode),
            sha256: sha256.map(|digest| hex::encode(&digest)),
            origin,
            text: None,
        }
    }
}

/// A time of a file, as an event has it.
fn moment(nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(nanoseconds.into()).ok()
}
