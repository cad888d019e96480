//! What `authorized_keys` said before: one private file per change, the newest ones kept.
//!
//! That file is the old one itself, by a link that outlives its name, where both are on one file system: nothing has to be copied, and an
//! editor that is still writing into it loses nothing either. Elsewhere it is a copy. A run that is killed between the link and the
//! exchange leaves a link to the file that is still in use; the next one takes it away.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;
use rrsync_rs::layout::Layout;
use rrsync_rs::trusted::{self, Distrust, Kind};

use super::place::{Place, Snapshot};
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

/// What was just kept.
#[derive(Debug)]
pub(super) struct Backup {
    path: PathBuf,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// It was there already.
    There,
    /// A copy.
    Copied,
    /// The file itself.
    Linked,
}

impl Backup {
    /// Takes it back: the change that it was for did not happen.
    pub(super) fn forget(&self) {
        if self.how != How::There {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Whether it is the file itself, which has a name more now.
    pub(super) fn is_link(&self) -> bool {
        self.how == How::Linked
    }

    /// Makes the file that has lost its other name as private as a copy.
    pub(super) fn settle(&self, before: &Snapshot) {
        if self.is_link() {
            let _ = before.file.set_permissions(Permissions::from_mode(0o600));
        }
    }
}

/// `~/.local/state/akeys/backups`.
fn dir(layout: &Layout) -> PathBuf {
    layout.state_dir().join("backups")
}

/// Keeps the file that was read, or what it said, under the moment of its replacement.
pub(super) fn keep(layout: &Layout, before: &Snapshot) -> Result<Backup, PrivateError> {
    let bytes = before.keys.bytes();
    if let Some(there) = newest_with(layout, bytes) {
        return Ok(there);
    }
    let path = next(layout);
    match link(before, &path) {
        Ok(()) => Ok(Backup { path, how: How::Linked }),
        // Another file system, one without links, or a file that has lost its name meanwhile.
        Err(_) => copy(path, bytes),
    }
}

/// Keeps a copy of `bytes`.
pub(super) fn keep_copy(layout: &Layout, bytes: &[u8]) -> Result<Backup, PrivateError> {
    newest_with(layout, bytes).map_or_else(|| copy(next(layout), bytes), Ok)
}

fn copy(path: PathBuf, bytes: &[u8]) -> Result<Backup, PrivateError> {
    private::write(&path, bytes, 0o600, IfThere::Refuse)?;
    Ok(Backup { path, how: How::Copied })
}

/// Gives the file itself a name more, whatever stands under its own by now, and makes that survive a power cut.
fn link(before: &Snapshot, path: &Path) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    private::directory(dir).map_err(io::Error::other)?;
    let own = format!("/proc/self/fd/{}", before.file.as_raw_fd());
    linkat(AT_FDCWD, own.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?;
    let synced = before.file.sync_all().and_then(|()| File::open(dir)?.sync_all());
    synced.inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// Takes away what a killed run has linked for a change that it did not come to: the file that is still in use. Whether there was such
/// a link.
pub(super) fn sweep(layout: &Layout, place: &Place) -> bool {
    let Some(in_use) = place.identity() else { return false };
    let is_in_use =
        |path: &PathBuf| path.symlink_metadata().is_ok_and(|kept| (kept.dev(), kept.ino()) == in_use);
    let mut removed = all(layout).into_iter().filter(is_in_use).map(|path| fs::remove_file(path).is_ok());
    removed.next().unwrap_or(false)
}

/// The newest file that is kept, if that is what it holds.
fn newest_with(layout: &Layout, bytes: &[u8]) -> Option<Backup> {
    let path = all(layout).pop()?;
    let have = File::open(&path).ok()?;
    let same_size = have.metadata().is_ok_and(|have| usize::try_from(have.len()) == Ok(bytes.len()));
    (same_size && private::holds(&have, bytes).is_ok_and(|same| same))
        .then_some(Backup { path, how: How::There })
}

/// Where the next one goes: their names sort by time.
fn next(layout: &Layout) -> PathBuf {
    // A clock that was set back must not make this the oldest copy, which would go first.
    let newest = history(layout).into_iter().next().map(|kept| kept.until);
    let behind = newest.and_then(|newest| newest.checked_add(SignedDuration::from_nanos(1)).ok());
    let moment = behind.unwrap_or_default().max(Timestamp::now());
    let name = format!("{PREFIX}{}", moment.strftime("%Y%m%dT%H%M%S.%9fZ"));
    dir(layout).join(name)
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
