//! The rule by which old versions are let go. Nobody applies it unasked: without it everything is kept for good.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use super::{Kept, Store, StoreError, Version, failed, refused};
use crate::sha256::Sum;

/// What was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// How many contents.
    pub contents: u64,
    /// How many bytes they had.
    pub bytes: u64,
}

impl Store {
    /// Removes the contents that nothing but versions of `path`, and of what is below it, from before `limit` has. The log keeps
    /// their lines: it is still known what there was. The workspace itself is the empty path.
    pub fn forget(&self, path: &Path, limit: Timestamp) -> Result<Forgotten, StoreError> {
        let locked = || failed("write the log of versions");
        self.log.lock().map_err(locked())?;
        let forgotten = self.forget_locked(path, limit);
        self.log.unlock().map_err(locked())?;
        forgotten
    }

    /// Whether the content is there still.
    pub fn is_kept(&self, sha256: Sum) -> bool {
        self.stored(sha256).is_ok()
    }

    fn forget_locked(&self, path: &Path, limit: Timestamp) -> Result<Forgotten, StoreError> {
        let history = self.list(None)?;
        let is_old = |version: &&Version| version.time < limit && version.path.starts_with(path);
        let (old, kept): (Vec<&Version>, Vec<&Version>) = history.versions.iter().partition(is_old);
        let kept: BTreeSet<Sum> = kept.into_iter().filter_map(sum_of).collect();
        let mut forgotten = Forgotten::default();
        for sum in old.into_iter().filter_map(sum_of) {
            if kept.contains(&sum) {
                continue;
            }
            // One that two versions had is gone at the second.
            let Ok(file) = self.stored(sum) else { continue };
            let stat = fstat(&file).map_err(refused("look at a kept content"))?;
            match unlinkat(&self.content, sum.to_string().as_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(refused("remove a kept content")(errno)),
            }
            forgotten.contents += 1;
            forgotten.bytes += stat.st_size.unsigned_abs();
        }
        fsync(&self.content).map_err(refused("sync the version store"))?;
        Ok(forgotten)
    }
}

fn sum_of(version: &Version) -> Option<Sum> {
    match version.what {
        Kept::File { sha256, .. } => Some(sha256),
        Kept::Symlink { .. } => None,
    }
}
