//! Where a stream goes: standard output, one message a line, for as long as somebody reads it.

use std::io::{self, BufWriter, Stdout, Write as _};

use uuid::Uuid;

use super::sight::{Seen, Sight};
use crate::event::{Cursor, Event, Message};

/// A stream being written.
pub(super) struct Output {
    out: BufWriter<Stdout>,
    sight: Sight,
    cursor: Cursor,
    /// Whether something was written since the reader was last told that it is up to date.
    behind: bool,
}

impl Output {
    /// A stream of the journal `journal`, of which a reader may know what is in `sight`.
    pub(super) fn new(sight: Sight, journal: Uuid) -> Self {
        let cursor = Cursor { journal, sequence: 0 };
        Self { out: BufWriter::new(io::stdout()), sight, cursor, behind: false }
    }

    /// Writes any message.
    pub(super) fn message(&mut self, message: &Message) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, message)?;
        self.behind = true;
        self.out.write_all(b"\n")
    }

    /// Sends what has been written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes the next event, if the reader may know of it. It is counted in any case: a cursor is a place in the journal.
    pub(super) fn event(&mut self, event: Event) -> io::Result<()> {
        self.cursor.sequence += 1;
        let cursor = self.cursor;
        match self.sight.filter(Box::new(event)) {
            Seen::Nothing => Ok(()),
            Seen::Event(event) => self.message(&Message::Event { cursor, event }),
            Seen::Directory(event) => {
                self.message(&Message::Event { cursor, event })?;
                self.resync("a directory has come into sight")
            }
        }
    }

    /// Tells the reader to compare everything.
    pub(super) fn resync(&mut self, why: &str) -> io::Result<()> {
        self.message(&Message::Resync { cursor: self.cursor, why: why.to_owned() })
    }

    /// Tells the reader that it knows everything, if it has not been told since the last event.
    pub(super) fn up_to_date(&mut self) -> io::Result<()> {
        if self.behind { self.heartbeat() } else { Ok(()) }
    }

    /// Tells the reader so again.
    pub(super) fn heartbeat(&mut self) -> io::Result<()> {
        self.message(&Message::Current { cursor: self.cursor })?;
        self.behind = false;
        self.out.flush()
    }
}
