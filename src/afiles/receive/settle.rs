//! How long what has arrived waits for the disk.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use nix::fcntl::OFlag;
use nix::unistd::fsync;

use super::{Incoming, ReceiveError, Tree};
use crate::sys::writeback;

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

/// How many files are synced at once. A file system with a journal commits once for all that wait at that moment: of 256 new
/// files on ext4, one after the other took ten times as long. One sync of the whole file system would be quicker still, but waits
/// for whatever other programs have written.
const AT_ONCE: usize = 16;

impl Tree {
    /// Syncs files that are to be seen together.
    pub fn settle<'i, 't: 'i>(
        &self,
        files: impl ExactSizeIterator<Item = &'i Incoming<'t>>,
    ) -> Result<(), ReceiveError> {
        if self.durability == Durability::None {
            return Ok(());
        }
        let files: Vec<_> = files.map(|file| (file.file.as_fd(), file.target.at.as_path())).collect();
        if files.len() > 1 {
            // The first commit of the file system's journal is then the one for all of them.
            for (file, _) in &files {
                writeback::begin(file);
            }
        }
        sync_all(&files)
    }

    /// How many files may wait for each other.
    pub fn group(&self) -> usize {
        if self.durability == Durability::File { 1 } else { 256 }
    }

    /// Everything has its place: modes of directories are what they were, and names are on the disk.
    pub fn end(&self) -> Result<(), ReceiveError> {
        self.lock_again()?;
        let touched = self.touched.take();
        if self.durability == Durability::None {
            return Ok(());
        }
        // What cannot be opened is gone again, or its owner may not read it; then its parent's sync has to do.
        let open = |path: &PathBuf| self.open_beneath(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY).ok();
        let touched: Vec<PathBuf> = touched.into_iter().collect();
        for some in touched.chunks(256) {
            let opened: Vec<(OwnedFd, &Path)> =
                some.iter().filter_map(|path| Some((open(path)?, path.as_path()))).collect();
            let dirs: Vec<_> = opened.iter().map(|(dir, path)| (dir.as_fd(), *path)).collect();
            sync_all(&dirs)?;
        }
        Ok(())
    }
}

/// Syncs all of these, several at a time.
fn sync_all(files: &[(BorrowedFd<'_>, &Path)]) -> Result<(), ReceiveError> {
    let sync = |(file, path): &(BorrowedFd<'_>, &Path)| fsync(file).map_err(ReceiveError::at(path));
    if files.len() < AT_ONCE / 2 {
        return files.iter().try_for_each(sync);
    }
    thread::scope(|scope| {
        let part = files.len().div_ceil(AT_ONCE);
        let parts: Vec<_> =
            files.chunks(part).map(|part| scope.spawn(move || part.iter().try_for_each(sync))).collect();
        // A thread that could not end would have ended the program.
        parts.into_iter().try_for_each(|part| part.join().unwrap_or(Ok(())))
    })
}
