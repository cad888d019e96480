//! An open file: reading, writing and its attributes, all on the one descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::sys::statvfs::{Statvfs, fstatvfs};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::fsync;

use super::attributes::apply;
use super::space::Space;
use super::upload::Upload;
use super::{Changes, Fault, Rule, View};
use crate::copying::copy;

/// A regular file that the client may use as it asked to.
#[derive(Debug)]
pub struct OpenFile {
    pub(super) fd: OwnedFd,
    /// What the file becomes when it is closed, if it is an atomic upload.
    pub(super) upload: Option<Upload>,
    /// Whether attributes may be changed.
    pub(super) changing: Result<(), Rule>,
    /// Whether all attributes may be seen.
    pub(super) visible: bool,
    pub(super) mode_mask: u32,
    pub(super) space: Space,
}

impl OpenFile {
    /// Reads from `offset` on; 0 at the end of the file.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
        let offset = position(offset)?;
        loop {
            match pread(&self.fd, buffer, offset) {
                Err(Errno::EINTR) => {}
                read => return Ok(read?),
            }
        }
    }

    /// Writes all of `data` at `offset`, or at the end of a file opened for appending.
    pub fn write(&self, mut data: &[u8], mut offset: u64) -> Result<(), Fault> {
        self.space.take(&self.fd, data.len() as u64)?;
        while !data.is_empty() {
            match pwrite(&self.fd, data, position(offset)?) {
                Ok(0) => return Err(Errno::EIO.into()),
                Ok(written) => {
                    data = data.get(written..).unwrap_or_default();
                    offset += written as u64;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Copies up to `length` bytes into `target`, to the end of this file when `length` is 0; returns how many.
    ///
    /// # Errors
    /// `Malformed` when both are the same file, as sftp-server.c `process_extended_copy_data` has it.
    pub fn copy_to(&self, offset: u64, length: u64, target: &Self, to: u64) -> Result<u64, Fault> {
        let (from, into) = (fstat(&self.fd)?, fstat(&target.fd)?);
        if (from.st_dev, from.st_ino) == (into.st_dev, into.st_ino) {
            return Err(Fault::Malformed);
        }
        let length = if length == 0 { u64::MAX } else { length };
        let (from, into) = ((self.fd.as_fd(), position(offset)?), (target.fd.as_fd(), position(to)?));
        copy(from, into, length, |bytes| target.space.take(&target.fd, bytes))
    }

    /// What the file is.
    pub fn view(&self) -> Result<View, Fault> {
        Ok(View::of(&fstat(&self.fd)?, self.visible))
    }

    /// Changes its attributes.
    pub fn set(&self, changes: &Changes) -> Result<(), Fault> {
        self.changing.map_err(Fault::Refused)?;
        apply(&self.fd, changes, self.mode_mask)
    }

    /// Waits until its content is on the disk. Only for who could have changed it.
    pub fn sync(&self) -> Result<(), Fault> {
        self.changing.map_err(Fault::Refused)?;
        Ok(fsync(&self.fd)?)
    }

    /// Space and inodes of the file system that it is on.
    pub fn file_system(&self) -> Result<Statvfs, Fault> {
        Ok(fstatvfs(&self.fd)?)
    }

    /// Closes the file; an atomic upload becomes visible under its name. Dropping it instead removes the upload.
    pub fn close(self) -> Result<(), Fault> {
        if let Some(upload) = self.upload {
            upload.publish()?;
        }
        // The disk of a network or quota file system may turn out to be full only now.
        Ok(nix::unistd::close(self.fd)?)
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn position(offset: u64) -> Result<i64, Errno> {
    i64::try_from(offset).map_err(|_| Errno::EINVAL)
}
