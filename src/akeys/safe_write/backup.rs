//! What `authorized_keys` said before: one private copy per change, the newest ones kept.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::PathBuf;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rrsync_rs::layout::Layout;
use rrsync_rs::trusted::{self, Distrust, Kind};

use crate::common::private::{self, IfThere, PrivateError};

/// How many previous contents are kept.
const KEPT: usize = 32;

/// A copy of more bytes than these is none of ours.
const MOST: u64 = 1 << 30;

/// How the moment stands in the name of a copy.
const MOMENT: &str = "%Y%m%dT%H%M%S.%fZ";

/// How the name of every copy starts.
const PREFIX: &str = "authorized_keys.";

/// A content that `authorized_keys` had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// When something else took its place.
    pub until: Timestamp,
    /// Where the copy is.
    path: PathBuf,
}

impl Kept {
    /// The content, if nobody else could have written it.
    pub fn read(&self) -> Result<Vec<u8>, PrivateError> {
        let io = |source: io::Error| PrivateError::Io { path: self.path.clone(), source };
        let mut file = trusted::open(&self.path, Kind::File).map_err(|reason| match reason {
            Distrust::Io(source) => io(source),
            reason => PrivateError::Untrusted { path: self.path.clone(), reason },
        })?;
        if file.metadata().map_err(io)?.len() > MOST {
            return Err(io(io::Error::other(format!("is larger than {MOST} bytes"))));
        }
        let mut bytes = Vec::new();
        (&mut file).take(MOST).read_to_end(&mut bytes).map_err(io)?;
        Ok(bytes)
    }
}

/// The contents that are kept, newest first.
pub fn history(layout: &Layout) -> Vec<Kept> {
    let kept = |path: PathBuf| {
        let moment = DateTime::strptime(MOMENT, path.file_name()?.to_str()?.strip_prefix(PREFIX)?).ok()?;
        Some(Kept { until: moment.to_zoned(TimeZone::UTC).ok()?.timestamp(), path })
    };
    all(layout).into_iter().rev().filter_map(kept).collect()
}

/// A copy that was just made.
#[derive(Debug)]
pub(super) struct Backup {
    path: PathBuf,
    made: bool,
}

impl Backup {
    /// Takes the copy back: the change that it was for did not happen.
    pub(super) fn forget(&self) {
        if self.made {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// `~/.local/state/akeys/backups`.
fn dir(layout: &Layout) -> PathBuf {
    layout.state_dir().join("backups")
}

/// Keeps `bytes` under the moment of their replacement; their names sort by time.
pub(super) fn keep(layout: &Layout, bytes: &[u8]) -> Result<Backup, PrivateError> {
    if let Some(newest) = all(layout).pop()
        && File::open(&newest).and_then(|have| private::holds(&have, bytes)).is_ok_and(|same| same)
    {
        return Ok(Backup { path: newest, made: false });
    }
    // A clock that was set back must not make this the oldest copy, which would go first.
    let newest = history(layout).into_iter().next().map(|kept| kept.until);
    let behind = newest.and_then(|newest| newest.checked_add(SignedDuration::from_nanos(1)).ok());
    let moment = behind.unwrap_or_default().max(Timestamp::now());
    let name = format!("{PREFIX}{}", moment.strftime("%Y%m%dT%H%M%S.%9fZ"));
    let path = dir(layout).join(name);
    private::write(&path, bytes, 0o600, IfThere::Refuse)?;
    Ok(Backup { path, made: true })
}

/// Removes all but the newest copies. What cannot be removed is tried again at the next change.
pub(super) fn prune(layout: &Layout) {
    let all = all(layout);
    for old in &all[..all.len().saturating_sub(KEPT)] {
        let _ = fs::remove_file(old);
    }
}

/// The copies, oldest first.
fn all(layout: &Layout) -> Vec<PathBuf> {
    let ours = |entry: fs::DirEntry| entry.file_name().to_str()?.starts_with(PREFIX).then(|| entry.path());
    let mut all: Vec<PathBuf> =
        fs::read_dir(dir(layout)).into_iter().flatten().flatten().filter_map(ours).collect();
    all.sort();
    all
}
