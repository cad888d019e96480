//! The readers of a stream, and a copy that follows.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use akeys::event::{Cursor, Event, Kind, Message, Reason};

use super::home::Home;
use super::talk::{DEADLINE, Talk};

#[path = "../../../src/awatch/watcher/tests/copy.rs"]
mod copy;

use copy::Copy;

/// A stream that is being read.
pub(crate) struct Stream {
    talk: Talk,
}

impl Stream {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        Self { talk: Talk::start(command) }
    }

    #[track_caller]
    pub(crate) fn message(&mut self) -> Message {
        let line = self.talk.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// All that is said until everything known has been said.
    #[track_caller]
    pub(crate) fn batch(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            match self.message() {
                Message::Current { .. } => return all,
                other => all.push(other),
            }
        }
    }
}

/// One who follows `papers`, goes away and comes back.
pub(crate) struct Follower {
    copy: Copy,
    place: PathBuf,
    source: PathBuf,
    /// Where it is.
    pub(crate) cursor: Option<Cursor>,
    /// Why it had to compare everything, each time.
    pub(crate) resyncs: Vec<String>,
    /// Every event, in short.
    pub(crate) events: Vec<String>,
    /// The sum of every content that was told of.
    pub(crate) sums: Vec<[u8; 32]>,
}

impl Follower {
    pub(crate) fn new(home: &Home) -> Self {
        let (source, place) = (home.at("papers"), home.beside("copy"));
        fs::create_dir(&place).unwrap();
        let copy = Copy::new(source.clone(), place.clone());
        Self { copy, place, source, cursor: None, resyncs: Vec::new(), events: Vec::new(), sums: Vec::new() }
    }

    /// Reads on until its copy is the workspace, and goes away again. Events come without a gap and never twice.
    #[track_caller]
    pub(crate) fn catch_up(&mut self, home: &Home) {
        let mut stream = home.stream(self.cursor);
        self.read(&mut stream);
    }

    /// The same, with a stream that goes on.
    #[track_caller]
    pub(crate) fn read(&mut self, stream: &mut Stream) {
        let until = Instant::now() + DEADLINE;
        let mut difference = None;
        loop {
            match stream.message() {
                Message::Hello { .. } => {}
                Message::Resync { cursor, why } => {
                    self.resyncs.push(why);
                    self.cursor = Some(cursor);
                    self.copy_everything();
                }
                Message::Event { cursor, event } => {
                    let before = self.cursor.expect("a resync comes first");
                    assert_eq!((cursor.journal, cursor.sequence), (before.journal, before.sequence + 1));
                    self.cursor = Some(cursor);
                    self.events.push(words(&event));
                    let sum = event.sha256.as_deref().map(digest);
                    self.sums.extend(sum);
                    let from = event.from.as_ref().map(akeys::event::EventPath::as_path);
                    self.copy.make(event.reason, event.kind, event.path.as_path(), from, (sum, event.mode));
                }
                Message::Current { .. } => {
                    // To look is not worth it while more is on its way.
                    if stream.talk.is_quiet() {
                        difference = self.copy.difference();
                        if difference.is_none() {
                            return;
                        }
                    }
                }
            }
            assert!(Instant::now() < until, "{}\n{:?}", difference.unwrap_or_default(), self.events);
        }
    }

    fn copy_everything(&mut self) {
        fs::remove_dir_all(&self.place).unwrap();
        let copied = Command::new("cp").arg("-a").arg(&self.source).arg(&self.place).status().unwrap();
        assert!(copied.success());
        self.copy = Copy::new(self.source.clone(), self.place.clone());
    }

    /// What was told since the last time that this was asked.
    pub(crate) fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }
}

fn digest(sum: &str) -> [u8; 32] {
    std::array::from_fn(|at| u8::from_str_radix(&sum[2 * at..2 * at + 2], 16).unwrap())
}

/// An event in a few words.
pub(crate) fn words(event: &Event) -> String {
    let reason = event.reason;
    let path = event.path.as_path().display();
    match &event.from {
        Some(from) => format!("{reason} {} -> {path}", from.as_path().display()),
        None => format!("{reason} {path}"),
    }
}

/// How often each thing was told.
pub(crate) fn counts(events: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.as_str()).or_default() += 1;
    }
    counts
}
