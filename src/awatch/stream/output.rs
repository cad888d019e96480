//! Where a stream goes: standard output, one message a line, for as long as somebody reads it.

use std::io::{self, BufWriter, Stdout, Write as _};

use crate::awatch::record::Identity;
use crate::awatch::sight::{Seen, Sight};
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
    /// A stream that begins at `cursor`, of which a reader may know what is in `sight`.
    pub(super) fn new(sight: Sight, cursor: Cursor) -> Self {
        Self { out: BufWriter::new(io::stdout()), sight, cursor, behind: true }
    }

    /// Where the stream is.
    pub(super) fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Writes the first line, and sends it.
    pub(super) fn hello(&mut self, identity: &Identity) -> io::Result<()> {
        self.message(&identity.hello())?;
        self.out.flush()
    }

    fn message(&mut self, message: &Message) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, message)?;
        self.behind = true;
        self.out.write_all(b"\n")
    }

    /// Writes the event at `cursor`, if the reader may know of it. The stream is there in any case: a cursor is a place in the
    /// journal.
    pub(super) fn event(&mut self, cursor: Cursor, event: Event) -> io::Result<()> {
        self.cursor = cursor;
        match self.sight.filter(Box::new(event)) {
            Seen::Nothing => Ok(()),
            Seen::Event(event) => self.message(&Message::Event { cursor, event }),
            Seen::Directory(event) => {
                self.message(&Message::Event { cursor, event })?;
                self.resync("a directory has come into sight, or has left it in part")
            }
        }
    }

    /// Tells the reader to compare everything.
    pub(super) fn resync(&mut self, why: &str) -> io::Result<()> {
        self.message(&Message::Resync { cursor: self.cursor, why: why.to_owned() })
    }

    /// The same, at another place.
    pub(super) fn resync_at(&mut self, cursor: Cursor, why: &str) -> io::Result<()> {
        self.cursor = cursor;
        self.resync(why)
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
