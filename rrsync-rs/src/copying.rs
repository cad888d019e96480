//! Copying content from one open file to another, in the kernel where the file systems can.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::copy_file_range;
use nix::sys::uio::{pread, pwrite};

/// How much one call is asked for.
const CHUNK: u64 = 16 << 20;

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
