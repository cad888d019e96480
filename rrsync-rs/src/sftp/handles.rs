//! The files and directories that the client holds open.
//!
//! A handle is a slot and the count of how often the slot was given out: a closed handle, or one made up, names
//! nothing, even when its slot is in use again.

use super::status::Failure;
use crate::sha256::Sum;
use crate::vfs::{Fault, Listing, OpenFile, VirtualPath};

/// How many handles a client may hold. OpenSSH takes what `RLIMIT_NOFILE` allows: usually
/// 1,024, with those of the session itself.
pub(super) const MOST: usize = 1000;

/// How many of them may be directories, each of which has a buffer of 32 KiB in the C library.
const MOST_DIRECTORIES: usize = 128;

/// A file held open.
#[derive(Debug)]
pub(super) struct HeldFile {
    pub(super) file: OpenFile,
    pub(super) record: FileRecord,
}

/// What was done with an open file.
#[derive(Debug)]
pub(super) struct FileRecord {
    pub(super) path: VirtualPath,
    pub(super) reads: bool,
    pub(super) writes: bool,
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
    /// The sums of what was read and of what was written, once the file is closed.
    pub(super) sums: [Option<Sum>; 2],
    /// The first write that failed: the file is not what the client sent.
    pub(super) damaged: Option<Fault>,
}

/// Something held open.
#[derive(Debug)]
pub(super) enum Handle {
    File(Box<HeldFile>),
    Directory(Box<Listing>),
}

#[derive(Debug, Default)]
struct Slot {
    round: u32,
    handle: Option<Handle>,
}

/// All that is held open.
#[derive(Debug, Default)]
pub(super) struct Handles {
    slots: Vec<Slot>,
    free: Vec<usize>,
    directories: usize,
}

impl Handles {
    /// Whether another handle can be given out; asked before anything is opened or made.
    pub(super) fn room(&self, directory: bool) -> Result<(), Failure> {
        let full = self.free.is_empty() && self.slots.len() >= MOST;
        if full || (directory && self.directories >= MOST_DIRECTORIES) {
            Err(Failure::TooManyHandles)
        } else {
            Ok(())
        }
    }

    /// Keeps `handle` and returns its name.
    pub(super) fn insert(&mut self, handle: Handle) -> [u8; 8] {
        if matches!(handle, Handle::Directory(_)) {
            self.directories += 1;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let mut name = [0; 8];
        if let Some(slot) = self.slots.get_mut(index) {
            slot.round = slot.round.wrapping_add(1);
            slot.handle = Some(handle);
            name = (((index as u64) << 32) | u64::from(slot.round)).to_be_bytes();
        }
        name
    }

    /// The file named by `name`.
    pub(super) fn file(&mut self, name: &[u8]) -> Result<&mut HeldFile, Failure> {
        match self.slot(name)?.handle.as_mut() {
            Some(Handle::File(file)) => Ok(file),
            _ => Err(Failure::NoHandle),
        }
    }

    /// The directory named by `name`.
    pub(super) fn directory(&mut self, name: &[u8]) -> Result<&mut Listing, Failure> {
        match self.slot(name)?.handle.as_mut() {
            Some(Handle::Directory(listing)) => Ok(listing),
            _ => Err(Failure::NoHandle),
        }
    }

    /// Two different files.
    pub(super) fn two_files(&self, one: &[u8], two: &[u8]) -> Result<[&HeldFile; 2], Failure> {
        let file = |name| {
            let (index, round) = parse(name)?;
            match self.slots.get(index).filter(|slot| slot.round == round)?.handle.as_ref()? {
                Handle::File(file) => Some(file.as_ref()),
                Handle::Directory(_) => None,
            }
        };
        Ok([file(one).ok_or(Failure::NoHandle)?, file(two).ok_or(Failure::NoHandle)?])
    }

    /// Gives up the handle named by `name`.
    pub(super) fn remove(&mut self, name: &[u8]) -> Result<Handle, Failure> {
        let handle = self.slot(name)?.handle.take().ok_or(Failure::NoHandle)?;
        if let Some((index, _)) = parse(name) {
            self.free.push(index);
        }
        if matches!(handle, Handle::Directory(_)) {
            self.directories -= 1;
        }
        Ok(handle)
    }

    /// Gives up all handles.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Handle> + use<> {
        self.free.clear();
        std::mem::take(&mut self.slots).into_iter().filter_map(|slot| slot.handle)
    }

    fn slot(&mut self, name: &[u8]) -> Result<&mut Slot, Failure> {
        let (index, round) = parse(name).ok_or(Failure::NoHandle)?;
        self.slots.get_mut(index).filter(|slot| slot.round == round).ok_or(Failure::NoHandle)
    }
}

fn parse(name: &[u8]) -> Option<(usize, u32)> {
    let (index, round) = name.split_first_chunk::<4>()?;
    let round = u32::from_be_bytes(round.try_into().ok()?);
    Some((usize::try_from(u32::from_be_bytes(*index)).ok()?, round))
}
