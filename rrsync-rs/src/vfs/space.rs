//! The free space that uploads must leave on the disk.

use std::cell::Cell;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::statvfs::fstatvfs;

use super::Fault;

/// How much may be written before the file system is asked again: others write too.
const STEP: u64 = 16 << 20;

/// Watches that a file system keeps some space free.
#[derive(Debug)]
pub(super) struct Space {
    /// Bytes that must stay free; 0 for no such rule.
    least: u64,
    /// Bytes that may be written before the next look.
    allowance: Cell<u64>,
}

impl Space {
    pub(super) fn leaving(least: u64) -> Self {
        Self { least, allowance: Cell::new(0) }
    }

    /// Allows `bytes` more on the file system of `fd`, or fails as a full disk does.
    pub(super) fn take(&self, fd: impl AsFd, bytes: u64) -> Result<(), Fault> {
        if self.least == 0 {
            return Ok(());
        }
        if self.allowance.get() < bytes {
            let found = fstatvfs(fd)?;
            let free = found.blocks_available().saturating_mul(found.fragment_size());
            let over = free.saturating_sub(self.least);
            if over < bytes {
                return Err(Errno::ENOSPC.into());
            }
            self.allowance.set(over.min(STEP.max(bytes)));
        }
        self.allowance.set(self.allowance.get() - bytes);
        Ok(())
    }
}
