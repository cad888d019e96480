//! What `authorized_keys` said before: one private copy per change, the newest ones kept.

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use rrsync_rs::layout::Layout;

use crate::common::private::{self, IfThere, PrivateError};

/// How many previous contents are kept.
const KEPT: usize = 32;

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
        && fs::read(&newest).is_ok_and(|have| have == bytes)
    {
        return Ok(Backup { path: newest, made: false });
    }
    let name = format!("authorized_keys.{}", Timestamp::now().strftime("%Y%m%dT%H%M%S.%9fZ"));
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
    let ours = |entry: fs::DirEntry| {
        entry.file_name().to_str()?.starts_with("authorized_keys.").then(|| entry.path())
    };
    let mut all: Vec<PathBuf> =
        fs::read_dir(dir(layout)).into_iter().flatten().flatten().filter_map(ours).collect();
    all.sort();
    all
}
