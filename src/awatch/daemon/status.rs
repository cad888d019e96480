//! How a workspace is: what its thread tells, and anybody may ask.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rrsync_rs::name::{Label, WorkspaceName};
use serde::{Deserialize, Serialize};

use crate::event::{Cursor, Event, EventPath, Reason};

/// How many of the last events are shown.
const LAST: usize = 10;

/// What a workspace's thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Doing {
    /// It has not begun.
    Starting,
    /// It compares what it knows with what is there.
    Comparing,
    /// It tells of changes as they settle.
    Watching,
    /// Its directory is not there.
    Waiting,
    /// Something does not work; it tries again.
    Failing,
}

/// An event, as `awatch status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// When it settled.
    pub time: Timestamp,
    /// What happened.
    pub reason: Reason,
    /// Where.
    pub path: EventPath,
    /// Where it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<EventPath>,
}

/// Where events are published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publishing {
    /// The server, without a secret.
    pub server: String,
    /// Whether it answers; if not, why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The number of the last event that it has.
    pub published: u64,
    /// How many events wait for it.
    pub queue: u64,
}

/// How a workspace is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Which.
    pub workspace: WorkspaceName,
    /// The label under which it is found with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Label>,
    /// Its directory, as it is shown to people.
    pub path: String,
    /// What its thread is doing.
    pub doing: Doing,
    /// Why, where that is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How many directories are known.
    pub directories: usize,
    /// How many of them cannot be watched, and are compared from time to time.
    pub unwatched: usize,
    /// How many names have not settled.
    pub unsettled: usize,
    /// Since when the one of them has not that has waited longest: a writer may still have it open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsettled_since: Option<Timestamp>,
    /// Where the journal is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Where events are published, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<Publishing>,
    /// The last events, the newest last.
    pub last: VecDeque<Shown>,
}

/// A status that one thread writes and others read.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Mutex<Status>>);

impl Shared {
    /// A workspace that has not begun.
    pub fn new(workspace: WorkspaceName, project: Option<Label>, path: String) -> Self {
        Self(Arc::new(Mutex::new(Status {
            workspace,
            project,
            path,
            doing: Doing::Starting,
            why: None,
            directories: 0,
            unwatched: 0,
            unsettled: 0,
            unsettled_since: None,
            cursor: None,
            nats: None,
            last: VecDeque::new(),
        })))
    }

    /// Changes it.
    pub fn set(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What it is now.
    pub fn get(&self) -> Status {
        let mut status = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(nats), Some(cursor)) = (&mut status.nats, status.cursor) {
            nats.queue = cursor.sequence.saturating_sub(nats.published);
        }
        status
    }

    /// How many names have not settled, as it was told last.
    pub fn unsettled(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unsettled
    }

    /// Takes in that the thread is doing something else.
    pub fn doing(&self, doing: Doing, why: Option<String>) {
        self.set(|status| (status.doing, status.why) = (doing, why));
    }

    /// Takes in an event.
    pub fn event(&self, event: &Event) {
        let (time, reason, path, from) = (event.time, event.reason, event.path.clone(), event.from.clone());
        self.set(|status| {
            status.last.push_back(Shown { time, reason, path, from });
            while status.last.len() > LAST {
                status.last.pop_front();
            }
        });
    }
}
