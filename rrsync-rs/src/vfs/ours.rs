//! What this session has made, so that a rule about "what is already here" does not meet it.
//!
//! A file is known by device, inode and time of birth: an inode number that the file system reuses is another file.
//! The memory is bounded; what no longer fits is simply treated as if it had been there before.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::time::UNIX_EPOCH;

/// How many files a session remembers: some 3 MB.
const MOST: usize = 50_000;

/// Which file it is, for as long as it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    born: u128,
}

impl Identity {
    /// The identity of an open file; `None` when it cannot be told, which makes it nobody's.
    fn of(fd: impl AsFd) -> Option<Self> {
        let fd: OwnedFd = fd.as_fd().try_clone_to_owned().ok()?;
        let metadata = File::from(fd).metadata().ok()?;
        let born = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: born.map_or(0, |since| since.as_nanos()),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The file, and everything in it.
    Made,
    /// Only the content: the file was there and was emptied first.
    Filled,
}

/// What this session has made.
#[derive(Debug, Default)]
pub(super) struct Ours(RefCell<HashMap<Identity, Part>>);

impl Ours {
    /// Remembers a file or directory that did not exist before.
    pub(super) fn remember_made(&self, file: impl AsFd) {
        self.remember(Identity::of(file), Part::Made);
    }

    /// Remembers a file of which only the content is the session's.
    pub(super) fn remember_filled(&self, file: impl AsFd) {
        if !self.made(&file) {
            self.remember(Identity::of(file), Part::Filled);
        }
    }

    /// Whether the session made the file itself.
    pub(super) fn made(&self, file: impl AsFd) -> bool {
        self.part_of(file) == Some(Part::Made)
    }

    /// Whether all that is in the file came from the session.
    pub(super) fn filled(&self, file: impl AsFd) -> bool {
        self.part_of(file).is_some()
    }

    /// The file is gone, or has taken the place of one that was there before.
    pub(super) fn forget(&self, file: impl AsFd) {
        if self.part_of(&file).is_some()
            && let Some(file) = Identity::of(file)
        {
            self.0.borrow_mut().remove(&file);
        }
    }

    fn part_of(&self, file: impl AsFd) -> Option<Part> {
        let known = self.0.borrow();
        // Most sessions need not remember anything, and then need not ask for an identity either.
        if known.is_empty() { None } else { known.get(&Identity::of(file)?).copied() }
    }

    fn remember(&self, file: Option<Identity>, part: Part) {
        let mut known = self.0.borrow_mut();
        if let Some(file) = file
            && known.len() < MOST
        {
            known.insert(file, part);
        }
    }
}
