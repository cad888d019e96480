//! How long what has arrived waits for the disk.

use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::fsync;

use super::{Incoming, ReceiveError, Tree};

/// What is on the disk, and not only in memory, before a file is seen, and before it is recorded that it has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Nothing: the system writes when it likes. After a power cut everything is compared again.
    None,
    /// Each file by itself.
    File,
    /// The files of a group together, which is quicker.
    #[default]
    Batch,
}

impl Tree {
    /// Syncs files that are to be seen together.
    pub fn settle<'i, 't: 'i>(
        &self,
        mut files: impl Iterator<Item = &'i Incoming<'t>>,
    ) -> Result<(), ReceiveError> {
        match self.durability {
            Durability::None => Ok(()),
            // A file system with a journal writes once what several files wait for.
            Durability::File | Durability::Batch => files.try_for_each(Incoming::sync),
        }
    }

    /// How many files may wait for each other.
    pub fn group(&self) -> usize {
        if self.durability == Durability::File { 1 } else { 256 }
    }

    /// Everything has its place: modes of directories are what they were, and names are on the disk.
    pub fn end(&self) -> Result<(), ReceiveError> {
        self.lock_again()?;
        let touched = self.touched.take();
        if self.durability != Durability::None {
            for path in &touched {
                self.sync_dir(path)?;
            }
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> Result<(), ReceiveError> {
        match self.open_beneath(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Ok(dir) => fsync(&dir).map_err(ReceiveError::at(path)),
            // It is gone again, or its owner may not read it; then its parent's sync has to do.
            Err(_) => Ok(()),
        }
    }
}
