//! What the audit file says about one grant: which changes would have allowed what was refused.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};

use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;
use rrsync_rs::trusted::{self, Distrust, Kind};
use rrsync_rs::verdict::Change;
use serde::Deserialize;

/// A change, and the refused requests that asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Learned {
    /// What would have allowed them.
    pub(super) change: Change,
    /// How many there were.
    pub(super) count: u64,
    /// When the last one came, as its record has it.
    pub(super) last: String,
    /// What the last client sent, as its record has it: escaped.
    pub(super) example: String,
}

/// All changes of a grant in the order of their first record, so that their numbers stay as long as the file does.
#[derive(Debug, Default)]
pub(super) struct Lessons {
    /// The changes.
    pub(super) learned: Vec<Learned>,
    /// Lines that are no records that this program can read.
    pub(super) unreadable: usize,
}

/// As much of a record as is needed; the gate's `audit::Record` has the rest. Records of other kinds have other fields.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    time: String,
    grant: Option<String>,
    #[serde(default)]
    request: String,
    learn: Option<Change>,
}

/// Reads the audit file of the account; a missing one has no records.
///
/// # Errors
/// When it cannot be read, or somebody else could have written it.
pub(super) fn read(layout: &Layout, grant: &GrantName) -> Result<Lessons, Distrust> {
    match trusted::open(&layout.audit_file(), Kind::File) {
        Ok(file) => Ok(collect(file, grant)?),
        Err(Distrust::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Lessons::default()),
        Err(error) => Err(error),
    }
}

fn collect(file: File, grant: &GrantName) -> io::Result<Lessons> {
    let mut lessons = Lessons::default();
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        match serde_json::from_slice::<Line>(&bytes) {
            Ok(line) if line.grant.as_deref() == Some(grant.as_str()) => {
                if let Some(change) = line.learn {
                    lessons.add(change, line.time, line.request);
                }
            }
            Ok(_) => {}
            Err(_) => lessons.unreadable += 1,
        }
        bytes.clear();
    }
    Ok(lessons)
}

impl Lessons {
    fn add(&mut self, change: Change, last: String, example: String) {
        match self.learned.iter_mut().find(|known| known.change == change) {
            Some(known) => {
                known.count += 1;
                (known.last, known.example) = (last, example);
            }
            None => self.learned.push(Learned { change, count: 1, last, example }),
        }
    }
}
