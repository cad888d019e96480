//! Copying content from one open file to another, in the kernel where the file systems can.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::copy_file_range;
use nix::sys::stat::fstat;
use nix::sys::uio::{pread, pwrite};
use nix::unistd::{Whence, ftruncate, lseek};

/// How much one call is asked for.
pub const CHUNK: u64 = 16 << 20;

/// Copies up to `length` bytes from one open file and offset to another, and tells how many there were.
///
/// `step` is called for each part that has been copied, with its length; its error ends the copying.
pub fn copy<E: From<Errno>>(
    (from, mut offset): (BorrowedFd<'_>, i64),
    (into, mut to): (BorrowedFd<'_>, i64),
    length: u64,
    mut step: impl FnMut(u64) -> Result<(), E>,
) -> Result<u64, E> {
    let mut copied = 0;
    let mut buffer = Vec::new();
    while copied < length {
        let wanted = usize::try_from((length - copied).min(CHUNK)).map_err(|_| Errno::EINVAL)?;
        let done = if buffer.is_empty() {
            match copy_file_range(from, Some(&mut offset), into, Some(&mut to), wanted) {
                Err(Errno::EINTR) => continue,
                Err(errno) if is_other_way(errno) => {
                    buffer.resize(1 << 16, 0);
                    continue;
                }
                done => done?,
            }
        } else {
            let part = buffer.len().min(wanted);
            let read = pread(from, buffer.get_mut(..part).unwrap_or_default(), offset)?;
            let written = pwrite(into, buffer.get(..read).unwrap_or_default(), to)?;
            offset += i64::try_from(written).map_err(|_| Errno::EFBIG)?;
            to += i64::try_from(written).map_err(|_| Errno::EFBIG)?;
            written
        };
        if done == 0 {
            break;
        }
        copied += done as u64;
        step(done as u64)?;
    }
    Ok(copied)
}

/// Copies all of an open file into an empty one. A hole stays a hole: it costs nothing to make, and must not cost the room
/// of what it could hold when it is copied.
pub fn copy_whole(from: BorrowedFd<'_>, into: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut at = 0;
    loop {
        let data = match lseek(from, at, Whence::SeekData) {
            // Nothing but a hole, or the end.
            Err(Errno::ENXIO) => break,
            data => data?,
        };
        let hole = lseek(from, data, Whence::SeekHole)?;
        let length = u64::try_from(hole - data).map_err(|_| Errno::EFBIG)?;
        let copied = copy((from, data), (into, data), length, |_| Ok::<(), Errno>(()))?;
        at = data.saturating_add_unsigned(copied);
        if copied < length {
            // It has become shorter meanwhile.
            break;
        }
    }
    let size = fstat(from)?.st_size;
    if fstat(into)?.st_size < size { ftruncate(into, size) } else { Ok(()) }
}

/// Whether the kernel cannot copy between these two files, which reading and writing still can.
fn is_other_way(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EXDEV
            | Errno::EINVAL
            | Errno::ENOSYS
            | Errno::EOPNOTSUPP
            // A file opened for appending.
            | Errno::EBADF
            | Errno::EPERM
    )
}
