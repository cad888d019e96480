//! Reading a journal while it grows, from any place in it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use uuid::Uuid;

use super::head::Head;
use super::{Segment, end, segments};
use crate::event::{Cursor, Event, Message};

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// An event, and where the reader is after it.
    Event(Cursor, Box<Event>),
    /// Events may be missing here, and why.
    Resync(Cursor, String),
    /// Nothing, for now.
    Nothing,
}

/// A reader of a journal.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    head: Head,
    /// The last event that was read.
    cursor: Cursor,
    segment: Option<BufReader<File>>,
    /// The beginning of a line that is still being written.
    line: Vec<u8>,
    /// What the reader has to be told first.
    resync: Option<String>,
    changes: OwnedFd,
}

impl Reader {
    /// Begins behind `since`; without it, at the end.
    pub fn open(dir: &Path, since: Option<Cursor>) -> io::Result<Self> {
        let changes = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let wanted = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        inotify::add_watch(&changes, dir, wanted)?;
        let head = Head::read(dir)?;
        let cursor = Cursor { journal: head.journal, sequence: 0 };
        let mut reader = Self {
            dir: dir.to_owned(),
            head,
            cursor,
            segment: None,
            line: Vec::new(),
            resync: None,
            changes,
        };
        reader.place(since)?;
        Ok(reader)
    }

    /// Which journal it is, and whose.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Where the reader is.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// What becomes readable when there may be more to read.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    /// Finds the place behind `since`, or the end, and a reason to compare everything if that is not where it should be.
    fn place(&mut self, since: Option<Cursor>) -> io::Result<()> {
        let all = self.segments()?;
        let last = match all.last() {
            Some(segment) => end(&File::open(&segment.path)?)?.1.unwrap_or(segment.first - 1),
            None => 0,
        };
        let first = all.first().map_or(1, |segment| segment.first);
        let (sequence, resync) = match since {
            None => (last, Some("the stream begins here".to_owned())),
            Some(since) if since.journal != self.head.journal => (last, Some(self.head.why.clone())),
            Some(since) if since.sequence > last => {
                (last, Some("the cursor is ahead of the journal".to_owned()))
            }
            Some(since) if since.sequence + 1 < first => {
                (last, Some(format!("events before {first} are not kept any more")))
            }
            Some(since) => (since.sequence, None),
        };
        self.cursor = Cursor { journal: self.head.journal, sequence };
        (self.segment, self.resync) = (None, resync);
        self.line.clear();
        Ok(())
    }

    fn segments(&self) -> io::Result<Vec<Segment>> {
        let mut all = segments(&self.dir)?;
        all.retain(|segment| segment.journal == self.head.journal);
        Ok(all)
    }

    /// What comes next.
    pub fn advance(&mut self) -> io::Result<Next> {
        loop {
            if let Some(why) = self.resync.take() {
                return Ok(Next::Resync(self.cursor, why));
            }
            if self.segment.is_none() && !self.find()? {
                return self.nothing();
            }
            let Some(segment) = &mut self.segment else { continue };
            if segment.read_until(b'\n', &mut self.line)? == 0 || !self.line.ends_with(b"\n") {
                // The end of this one. Whether there is a later one is asked only then.
                if !self.find()? {
                    return self.nothing();
                }
                continue;
            }
            let message = serde_json::from_slice(&self.line);
            self.line.clear();
            let Ok(message) = message else {
                // What else is wrong with it nobody knows, so nothing behind it is believed either.
                self.place(None)?;
                self.resync = Some("a line of the journal is damaged".to_owned());
                continue;
            };
            if let Message::Event { cursor, event } = message
                && cursor.sequence > self.cursor.sequence
            {
                if cursor.sequence != self.cursor.sequence + 1 {
                    self.resync = Some(format!("events before {} are not kept any more", cursor.sequence));
                }
                self.cursor = cursor;
                return self
                    .resync
                    .take()
                    .map_or(Ok(Next::Event(cursor, event)), |why| Ok(Next::Resync(cursor, why)));
            }
        }
    }

    /// Opens the segment in which the next event stands, if that is another one than is open; `false` when there is none.
    fn find(&mut self) -> io::Result<bool> {
        let next = self.cursor.sequence + 1;
        let all = self.segments()?;
        let before = all.iter().rfind(|segment| segment.first <= next);
        // The oldest may have been removed while it was read.
        let Some(segment) = before.or(all.first()) else { return Ok(false) };
        let file = File::open(&segment.path)?;
        if let Some(open) = &self.segment
            && same(open.get_ref(), &file)?
        {
            let at = self.line.len() as u64;
            let position = self.segment.as_mut().map_or(Ok(0), io::Seek::stream_position)?;
            let length = file.metadata()?.len();
            if length < position
                && let Some(open) = &mut self.segment
            {
                // A line that was half there, and is not any more, is not read on.
                open.seek(SeekFrom::Start(position - at))?;
                self.line.clear();
            }
            // Nothing is added to a segment once there is a later one, so what comes next has been in one that is gone.
            let later = all.iter().find(|segment| segment.first > next).filter(|_| length == position);
            return match later {
                Some(later) => {
                    self.enter(File::open(&later.path)?);
                    Ok(true)
                }
                None => Ok(length > position),
            };
        }
        self.enter(file);
        Ok(true)
    }

    fn enter(&mut self, file: File) {
        self.line.clear();
        self.segment = Some(BufReader::new(file));
    }

    /// Nothing more, unless another journal has been begun.
    fn nothing(&mut self) -> io::Result<Next> {
        let head = Head::read(&self.dir)?;
        if head.journal == self.head.journal {
            return Ok(Next::Nothing);
        }
        self.head = head;
        self.place(Some(Cursor { journal: Uuid::nil(), sequence: 0 }))?;
        Ok(self.resync.take().map_or(Next::Nothing, |why| Next::Resync(self.cursor, why)))
    }

    /// Takes note of what made the reader readable.
    pub fn wake(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&self.changes, &mut buffer) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn same(one: &File, other: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
    Ok(identity(one)? == identity(other)?)
}
