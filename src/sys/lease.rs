//! Whether a file is open for writing, asked of the kernel.

#![allow(unsafe_code, reason = "fcntl(2) with F_SETLEASE has no safe wrapper")]

use std::os::fd::{AsFd, AsRawFd as _};

use nix::errno::Errno;
use nix::libc;

/// Whether anybody has `file`, which is open for reading only, open for writing or mapped writable. `None` where the system
/// does not tell: another account's file, or a file system without leases.
///
/// A read lease can only be had while there is no writer, fcntl(2). It is given back at once; a writer that opens the file
/// in between waits that long, and the kernel sends this process SIGIO, which [`block_signal`] keeps away.
pub fn is_being_written(file: impl AsFd) -> Option<bool> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: `fd` is open for as long as `file` is borrowed, and F_SETLEASE takes an int, no pointer.
    let taken = unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) };
    match Errno::result(taken) {
        Ok(_) => {
            // SAFETY: as above.
            unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
            Some(false)
        }
        Err(Errno::EAGAIN) => Some(true),
        Err(_) => None,
    }
}

/// Blocks the signal that a broken lease brings, in this thread and those that it starts.
pub fn block_signal() {
    let mut set = nix::sys::signal::SigSet::empty();
    set.add(nix::sys::signal::Signal::SIGIO);
    // It fails for an unknown signal only.
    let _ = set.thread_block();
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_file_is_being_written_until_its_last_writer_has_closed_it() {
        block_signal();
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("f");
        let writer = File::create(&path).unwrap();
        let second = writer.try_clone().unwrap();
        let reader = File::open(&path).unwrap();
        assert_eq!(is_being_written(&reader), Some(true));
        drop(writer);
        assert_eq!(is_being_written(&reader), Some(true));
        drop(second);
        assert_eq!(is_being_written(&reader), Some(false));
        // Nothing stays behind: the next writer gets in.
        File::options().append(true).open(&path).unwrap();
    }
}
