//! Telling the kernel early that a file will have to be on the disk.

#![allow(unsafe_code, reason = "sync_file_range(2) has no safe wrapper")]

use std::os::fd::{AsFd, AsRawFd as _};

use nix::libc;

/// Begins to write what `file` has in memory only, and does not wait. What it cannot do is done when the file is synced.
pub fn begin(file: impl AsFd) {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: `fd` is open for as long as `file` is borrowed, and nothing else is a pointer.
    unsafe { libc::sync_file_range(fd, 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}
