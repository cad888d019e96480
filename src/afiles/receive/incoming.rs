//! A file on its way: under a hidden name beside its place, until it is whole.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, ftruncate, unlinkat};
use rrsync_rs::beneath::{kind, open_beneath};
use rrsync_rs::origin;
use rrsync_rs::sha256::{Sum, Summing};

use super::{ReceiveError, Spot, Tree, parent_of, set_mode};
use crate::event::EventPath;

/// How much of a file is read at once.
const LARGEST_PIECE: usize = 1 << 17;

/// A run of zeros of this length becomes a hole.
const BLOCK: usize = 4096;

/// What a file, or a directory, is to have beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits; those that would give somebody else's rights away are left out.
    pub mode: u32,
    /// Time of the last modification, in nanoseconds since 1970.
    pub modified: i64,
}

impl Attributes {
    /// The permission bits that are set here: none that makes a program run as its owner.
    pub fn permissions(self) -> Mode {
        Mode::from_bits_truncate(self.mode & 0o777)
    }

    /// As utimensat(2) wants it: the last access stays what it is.
    pub(super) fn times(self) -> (TimeSpec, TimeSpec) {
        (TimeSpec::UTIME_OMIT, timespec(self.modified))
    }
}

pub(super) fn timespec(nanoseconds: i64) -> TimeSpec {
    TimeSpec::new(nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000))
}

/// A file that is not seen yet. Dropped, it is gone.
#[derive(Debug)]
pub struct Incoming<'t> {
    pub(super) tree: &'t Tree,
    /// Where it is to be.
    pub(super) target: Spot,
    /// Where it is.
    pub(super) hidden: Spot,
    pub(super) file: File,
    summing: Summing,
    size: u64,
    pub(super) placed: bool,
}

impl Tree {
    /// Begins a file that is to be at `path`.
    pub fn begin(&self, path: &EventPath) -> Result<Incoming<'_>, ReceiveError> {
        let target = self.spot(path)?;
        self.change(&target)?;
        let hidden = target.beside();
        self.note(&hidden)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = open_beneath(
            &*hidden.dir,
            hidden.name.as_ref(),
            flags,
            ResolveFlag::RESOLVE_NO_SYMLINKS,
            private,
        )
        .inspect_err(|_| self.forget_note())
        .map_err(ReceiveError::at(&target.at))?;
        let summing = Summing::default();
        Ok(Incoming { tree: self, target, hidden, file: file.into(), summing, size: 0, placed: false })
    }

    /// Takes over a file that somebody else has brought into the hidden directory `stage`; `None` when there is no regular
    /// file, or when it has other names by which it could be changed.
    pub fn adopt(&self, stage: &Path, path: &EventPath) -> Result<Option<Incoming<'_>>, ReceiveError> {
        let at = stage.join(path.as_path());
        let Ok(dir) = self.open_beneath(parent_of(&at), OFlag::O_PATH | OFlag::O_DIRECTORY) else {
            return Ok(None);
        };
        let name = path.as_path().file_name().unwrap_or_default().to_owned();
        let hidden = Spot { dir: Rc::new(dir), name, at };
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let open =
            |name| open_beneath(&*hidden.dir, name, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, Mode::empty());
        let failed = ReceiveError::at(path.as_path());
        let file: File = match open(hidden.name.as_ref()) {
            Err(Errno::ENOENT | Errno::ELOOP) => return Ok(None),
            file => file.map_err(failed)?.into(),
        };
        let failed = |errno| ReceiveError::at(path.as_path())(errno);
        let stat = fstat(&file).map_err(failed)?;
        if kind(&stat) != SFlag::S_IFREG || stat.st_nlink != 1 {
            return Ok(None);
        }
        // It has to leave a directory that has its source's mode already.
        let leaving = fstat(&*hidden.dir).map_err(failed)?.st_mode & 0o7777;
        if leaving & 0o300 != 0o300 {
            set_mode(&hidden.dir, leaving | 0o700).map_err(failed)?;
        }
        let target = self.spot(path)?;
        self.change(&target)?;
        let modified = stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec);
        let attributes = Attributes { mode: stat.st_mode, modified };
        let same_device = fstat(&*target.dir).map_err(failed)?.st_dev == stat.st_dev;
        let mut incoming = if same_device {
            let mut incoming = self.incoming(target, hidden, file)?;
            pieces(&incoming.file.try_clone().map_err(|_| failed(Errno::EMFILE))?, failed, &mut |piece| {
                incoming.summing.add(piece);
                incoming.size += piece.len() as u64;
                Ok(())
            })?;
            fchmod(&incoming.file, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed)?;
            incoming
        } else {
            // Something else is mounted where it is to be.
            let mut incoming = self.begin(path)?;
            pieces(&file, failed, &mut |piece| incoming.add(piece))?;
            incoming
        };
        incoming.complete(attributes)?;
        Ok(Some(incoming))
    }

    fn incoming(&self, target: Spot, hidden: Spot, file: File) -> Result<Incoming<'_>, ReceiveError> {
        self.note(&hidden)?;
        let summing = Summing::default();
        Ok(Incoming { tree: self, target, hidden, file, summing, size: 0, placed: false })
    }

    /// Something is under a hidden name from now on.
    pub(super) fn note(&self, hidden: &Spot) -> Result<(), ReceiveError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        journal.begin(&hidden.at).map_err(|error| {
            ReceiveError::at(&hidden.at)(Errno::from_raw(error.raw_os_error().unwrap_or(libc_eio())))
        })
    }

    /// It is not any more.
    pub(super) fn forget_note(&self) {
        if let Some(journal) = &self.journal {
            journal.end();
        }
    }
}

/// What stands for an error without a number.
fn libc_eio() -> i32 {
    Errno::EIO as i32
}

impl Incoming<'_> {
    /// The next piece of the content. Zeros take no space.
    pub fn add(&mut self, piece: &[u8]) -> Result<(), ReceiveError> {
        self.summing.add(piece);
        for block in Blocks::of(piece, self.size) {
            if block.iter().any(|byte| *byte != 0) {
                self.file.write_all_at(block, self.size).map_err(|error| self.failed(&error))?;
            }
            self.size += block.len() as u64;
        }
        Ok(())
    }

    /// How much there is by now.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The sum of what there is.
    pub fn sum(&self) -> Sum {
        self.summing.clone().finish()
    }

    /// The content is complete: sets everything else that the file is to have, mark included.
    pub fn complete(&mut self, attributes: Attributes) -> Result<(), ReceiveError> {
        let at = ReceiveError::at(&self.target.at);
        let set = || {
            if fstat(&self.file)?.st_size.unsigned_abs() != self.size {
                ftruncate(&self.file, i64::try_from(self.size).map_err(|_| Errno::EFBIG)?)?;
            }
            finish(&self.file, attributes, &self.tree.origin)
        };
        set().map_err(at)
    }

    fn failed(&self, error: &std::io::Error) -> ReceiveError {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(libc_eio()));
        ReceiveError::System { path: self.target.at.clone(), errno }
    }
}

/// Reads all of a file.
fn pieces(
    file: &File,
    failed: impl Fn(Errno) -> ReceiveError,
    each: &mut dyn FnMut(&[u8]) -> Result<(), ReceiveError>,
) -> Result<(), ReceiveError> {
    // No more than there is to read: there may be very many small files.
    let size = fstat(file).map_err(&failed)?.st_size.unsigned_abs();
    let mut piece = vec![0; usize::try_from(size).unwrap_or(LARGEST_PIECE).clamp(1, LARGEST_PIECE)];
    let mut at = 0_i64;
    loop {
        match nix::sys::uio::pread(file, &mut piece, at) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                each(piece.get(..read).unwrap_or_default())?;
                at += i64::try_from(read).map_err(|_| failed(Errno::EFBIG))?;
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// The time, then the mark that names it, then the mode: a file that may not be written takes no mark.
fn finish(file: &File, attributes: Attributes, origin: &str) -> Result<(), Errno> {
    let (accessed, modified) = attributes.times();
    futimens(file.as_fd(), &accessed, &modified)?;
    // A file system without attributes has no marks.
    drop(origin::mark(file, origin));
    fchmod(file, attributes.permissions())
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        if !self.placed {
            let _ = unlinkat(&*self.hidden.dir, self.hidden.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
        self.tree.forget_note();
    }
}

/// A piece, cut where the file's blocks begin.
struct Blocks<'p> {
    left: &'p [u8],
    offset: u64,
}

impl<'p> Blocks<'p> {
    fn of(piece: &'p [u8], offset: u64) -> Self {
        Self { left: piece, offset }
    }
}

impl<'p> Iterator for Blocks<'p> {
    type Item = &'p [u8];

    /// The next run of blocks that are all zeros, or that none of is.
    fn next(&mut self) -> Option<&'p [u8]> {
        let zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
        let block_at = |at: usize| {
            let into = usize::try_from((self.offset + at as u64) % BLOCK as u64).unwrap_or(0);
            let end = (at + BLOCK - into).min(self.left.len());
            self.left.get(at..end).unwrap_or_default()
        };
        let first = block_at(0);
        if first.is_empty() {
            return None;
        }
        let (kind, mut end) = (zero(first), first.len());
        while end < self.left.len() {
            let block = block_at(end);
            if zero(block) != kind {
                break;
            }
            end += block.len();
        }
        let (run, left) = self.left.split_at(end);
        self.left = left;
        self.offset += end as u64;
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_cut_out_at_blocks() {
        let mut content = vec![0; 3 * BLOCK];
        content[BLOCK + 1] = 1;
        let runs =
            |piece: &[u8], offset| -> Vec<usize> { Blocks::of(piece, offset).map(<[u8]>::len).collect() };
        assert_eq!(runs(&content, 0), [BLOCK, BLOCK, BLOCK]);
        assert_eq!(runs(&content[100..], 100), [BLOCK - 100, BLOCK, BLOCK]);
        assert_eq!(runs(&[1; 10], 5), [10]);
        assert_eq!(runs(&[], 5), Vec::<usize>::new());
        assert_eq!(runs(&vec![0; 5 * BLOCK + 7], 0), [5 * BLOCK + 7]);
    }

    #[test]
    fn moments_before_1970_are_moments() {
        let spec = timespec(-1);
        assert_eq!((spec.tv_sec(), spec.tv_nsec()), (-1, 999_999_999));
    }
}
