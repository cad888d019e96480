//! The journal of a workspace: its events in order, in files that anybody of the account can read while they grow.
//!
//! Files of lines, and not the database beside them: a reader in confinement has no lock to take and nothing to write, sees
//! whole lines or none, and is woken by the file itself. The directory holds `head.json`, which says which journal it is and whose;
//! `lock`, held by the daemon; and segments, named after the journal and the number of their first event, of which the oldest are removed
//! when there is too much.

pub mod head;
pub mod lock;
pub mod read;

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use uuid::Uuid;

use crate::event::Message;

/// How much is kept, unless somebody says otherwise.
pub const RETENTION: u64 = 64 << 20;

/// A segment of a journal, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Which journal.
    pub journal: Uuid,
    /// The number of its first event.
    pub first: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl Segment {
    fn new(dir: &Path, journal: Uuid, first: u64) -> Self {
        let path = dir.join(format!("{}.{first:020}.jsonl", journal.as_simple()));
        Self { journal, first, path }
    }

    fn of(path: &Path) -> Option<Self> {
        let mut parts = path.file_name()?.to_str()?.split('.');
        let (journal, first, end) = (parts.next()?, parts.next()?, parts.next()?);
        let journal = Uuid::try_parse(journal).ok()?;
        let segment = Self { journal, first: first.parse().ok()?, path: path.to_owned() };
        (end == "jsonl" && parts.next().is_none()).then_some(segment)
    }
}

/// The segments in a directory, in order.
pub fn segments(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        all.extend(Segment::of(&entry?.path()));
    }
    all.sort();
    Ok(all)
}

/// The journal as the daemon writes it.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    id: Uuid,
    file: File,
    /// How long the current segment is, as far as it was written as a whole.
    bytes: u64,
    /// Whether more than that may be there.
    torn: bool,
    /// The number of the last event.
    last: u64,
    retention: u64,
}

impl Journal {
    /// Opens the journal `id` in `dir`, and removes what is of another one. A line that was not written to its end is taken away:
    /// nobody has read it.
    pub fn open(dir: &Path, id: Uuid, retention: u64) -> io::Result<Self> {
        let mut newest = None;
        for segment in segments(dir)? {
            if segment.journal == id { newest = Some(segment) } else { fs::remove_file(segment.path)? }
        }
        let segment = newest.unwrap_or_else(|| Segment::new(dir, id, 1));
        let file = open(&segment.path)?;
        let (bytes, last) = end(&file)?;
        file.set_len(bytes)?;
        let last = last.unwrap_or(segment.first - 1);
        Ok(Self { dir: dir.to_owned(), id, file, bytes, torn: false, last, retention })
    }

    /// The number of its last event.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Adds the events that are not there yet, each a line, as one write. Either all of them are there afterwards or none.
    pub fn append(&mut self, lines: &[(u64, Vec<u8>)]) -> io::Result<()> {
        let new: Vec<&(u64, Vec<u8>)> = lines.iter().filter(|(number, _)| *number > self.last).collect();
        let Some((number, _)) = new.last() else { return Ok(()) };
        let number = *number;
        if self.bytes > (self.retention / 16).clamp(1 << 12, 4 << 20) {
            self.turn_over()?;
        }
        let mut text = Vec::new();
        for (_, line) in new {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        // What is half there would be read as a line once more follows.
        if self.torn {
            self.file.set_len(self.bytes)?;
        }
        self.torn = true;
        self.file.write_all(&text)?;
        self.torn = false;
        self.bytes += text.len() as u64;
        self.last = number;
        Ok(())
    }

    /// Begins a new segment, and removes the oldest while there is too much.
    fn turn_over(&mut self) -> io::Result<()> {
        let segment = Segment::new(&self.dir, self.id, self.last + 1);
        let file = open(&segment.path)?;
        // What is left behind is on the disk: a later segment without an earlier one is no journal.
        self.file.sync_data()?;
        (self.file, self.bytes) = (file, 0);
        let mut all = segments(&self.dir)?;
        all.pop();
        let mut total = 0;
        for segment in all.into_iter().rev() {
            total += fs::metadata(&segment.path)?.len();
            if total > self.retention {
                fs::remove_file(&segment.path)?;
            }
        }
        Ok(())
    }

    /// Makes all of it survive a power cut.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        File::open(&self.dir)?.sync_all()
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    File::options().read(true).append(true).create(true).mode(0o600).custom_flags(flags.bits()).open(path)
}

/// Where the last whole line of a segment ends, and which number it has.
fn end(file: &File) -> io::Result<(u64, Option<u64>)> {
    let mut reader = BufReader::new(file);
    let (mut bytes, mut last) = (0, Vec::new());
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
        bytes += line.len() as u64;
        std::mem::swap(&mut last, &mut line);
        line.clear();
    }
    let number = if last.is_empty() { None } else { Some(number(&last)?) };
    Ok((bytes, number))
}

fn number(line: &[u8]) -> io::Result<u64> {
    match serde_json::from_slice(line)? {
        Message::Event { cursor, .. } => Ok(cursor.sequence),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the journal has a line that is no event")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Cursor;

    fn line(journal: Uuid, number: u64) -> (u64, Vec<u8>) {
        let cursor = Cursor { journal, sequence: number };
        let text = format!(
            r#"{{"type":"event","cursor":"{cursor}","uuid":"{}","time":"2026-01-01T00:00:00Z","author":"you@laptop","workspace":"w","reason":"created","path":"f{number}","kind":"file"}}"#,
            Uuid::from_u128(number.into())
        );
        (number, text.into_bytes())
    }

    #[test]
    fn a_journal_goes_on_where_it_was_and_a_torn_line_is_taken_away() {
        let scratch = tempfile::tempdir().unwrap();
        let id = Uuid::from_u128(7);
        let mut journal = Journal::open(scratch.path(), id, RETENTION).unwrap();
        assert_eq!(journal.last(), 0);
        journal.append(&[line(id, 1), line(id, 2)]).unwrap();
        // What is there already is not added again.
        journal.append(&[line(id, 2), line(id, 3)]).unwrap();
        let all = segments(scratch.path()).unwrap();
        let [segment] = all.as_slice() else { panic!("{all:?}") };
        let whole = fs::read(&segment.path).unwrap();
        for torn in [&b"{\"type\":\"ev"[..], b"{"] {
            fs::write(&segment.path, [&whole, torn].concat()).unwrap();
            let journal = Journal::open(scratch.path(), id, RETENTION).unwrap();
            assert_eq!(journal.last(), 3);
            assert_eq!(fs::read(&segment.path).unwrap(), whole);
        }
        fs::write(&segment.path, [&whole[..], b"{}\n"].concat()).unwrap();
        assert!(Journal::open(scratch.path(), id, RETENTION).is_err());
        let other = Journal::open(scratch.path(), Uuid::from_u128(8), RETENTION).unwrap();
        assert_eq!(other.last(), 0);
        assert!(!segment.path.exists());
    }

    #[test]
    fn the_oldest_goes_when_there_is_too_much() {
        let scratch = tempfile::tempdir().unwrap();
        let id = Uuid::from_u128(7);
        let mut journal = Journal::open(scratch.path(), id, 1 << 16).unwrap();
        for number in 1..=2000 {
            journal.append(&[line(id, number)]).unwrap();
        }
        let all = segments(scratch.path()).unwrap();
        let total: u64 = all.iter().map(|segment| fs::metadata(&segment.path).unwrap().len()).sum();
        assert!((1 << 15..1 << 17).contains(&total), "{total}");
        assert!(all[0].first > 1);
        assert_eq!(Journal::open(scratch.path(), id, 1 << 16).unwrap().last(), 2000);
    }
}
