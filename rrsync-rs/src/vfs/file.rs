//! An open file: reading, writing and its attributes, all on the one descriptor.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::sys::uio::{pread, pwrite};
use nix::unistd::{Whence, fsync, lseek};
use rustix::fs::StatVfs;

use super::attributes::{apply, size_of};
use super::delivery::Delivery;
use super::room::{disk, free};
use super::sums::Run;
use super::upload::Upload;
use super::{Changes, Fault, Mount, Options, Rule, View};
use crate::beneath::is_same;
use crate::sha256::Sum;

/// A regular file that the client may use as it asked to.
#[derive(Debug)]
pub struct OpenFile {
    pub(super) fd: OwnedFd,
    pub(super) mount: Rc<Mount>,
    pub(super) options: Options,
    /// What it was opened for. The descriptor may be able to do more.
    pub(super) reads: bool,
    pub(super) writes: bool,
    /// Where writes may go.
    pub(super) end: End,
    /// What the file becomes when it is closed, if it is an atomic upload.
    pub(super) upload: Option<Upload>,
    /// The delivery that it is in.
    pub(super) delivery: Option<Rc<Delivery>>,
    /// Whether attributes may be changed.
    pub(super) changing: Result<(), Rule>,
    /// Whether all attributes may be seen.
    pub(super) visible: bool,
    pub(super) size: Cell<u64>,
    pub(super) changed: Cell<bool>,
    /// Whether all that is in it is this key's, so that it may be marked so when it has changed.
    pub(super) own: bool,
    pub(super) read: Run,
    pub(super) written: Run,
}

/// Where the writes of an open file go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Where the client says.
    Anywhere,
    /// To the end, because the client said so when it opened the file.
    Always,
    /// To the end, and nothing else is allowed.
    Only,
}

impl OpenFile {
    /// Reads from `offset` on; 0 at the end of the file.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Fault> {
        if !self.reads {
            return Err(Errno::EBADF.into());
        }
        let at = position(offset)?;
        let read = loop {
            match pread(&self.fd, buffer, at) {
                Err(Errno::EINTR) => {}
                read => break read?,
            }
        };
        if self.options.sums {
            self.read.add(buffer.get(..read).unwrap_or_default(), offset);
        }
        Ok(read)
    }

    /// Writes all of `data` at `offset`, or at the end of a file opened for appending.
    pub fn write(&self, data: &[u8], offset: u64) -> Result<(), Fault> {
        if !self.writes {
            return Err(Errno::EBADF.into());
        }
        if data.is_empty() {
            return self.still_own();
        }
        let offset = self.mount.counted(|| {
            let offset = self.place(offset)?;
            self.make_room(offset, data.len() as u64)?;
            self.changed.set(true);
            self.write_at(data, offset).map(|()| offset)
        })?;
        if self.options.sums {
            self.written.add(data, offset);
        }
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), Fault> {
        let (mut left, mut at) = (data, offset);
        while !left.is_empty() {
            match pwrite(&self.fd, left, position(at)?) {
                Ok(0) => return Err(Errno::EIO.into()),
                Ok(written) => {
                    left = left.get(written..).unwrap_or_default();
                    at += written as u64;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Whether `size` bytes may be written from the beginning on; takes nothing yet.
    pub fn expect(&self, size: u64) -> Result<(), Fault> {
        self.mount.counted(|| {
            let more = size.saturating_sub(self.known_size()?);
            self.mount.grow(more, 0)?;
            self.mount.shrink(more, 0);
            Ok(())
        })
    }

    /// Copies up to `length` bytes into `target`, to the end of this file when `length` is 0; returns how many.
    /// `wanted` is asked now and then whether to go on.
    ///
    /// # Errors
    /// `EBUSY` when both are the same file, which sftp-server.c `process_extended_copy_data` refuses as well.
    pub fn copy_to(
        &self,
        offset: u64,
        length: u64,
        (target, to): (&Self, u64),
        wanted: impl Fn() -> Result<(), Fault>,
    ) -> Result<u64, Fault> {
        let (from, into) = (fstat(&self.fd)?, fstat(&target.fd)?);
        if is_same(&from, &into) {
            return Err(Errno::EBUSY.into());
        }
        if !self.reads || !target.writes {
            return Err(Errno::EBADF.into());
        }
        let to = target.place(to)?;
        // What is left of the source cannot be more than it has.
        let rest = u64::try_from(from.st_size).unwrap_or(0).saturating_sub(offset);
        let length = if length == 0 { rest } else { length.min(rest) };
        let end = to.checked_add(length).ok_or(Errno::EFBIG)?;
        target.options.fits(end)?;
        target.expect(end)?;
        target.changed.set(true);
        target.written.spoil();
        self.read.spoil();
        let (from, into) = ((self.fd.as_fd(), position(offset)?), (target.fd.as_fd(), position(to)?));
        target.mount.copy_counted(from, into, length, |done, piece| {
            wanted()?;
            target.make_room(to.saturating_add(done), piece)
        })
    }

    /// What the file is.
    pub fn view(&self) -> Result<View, Fault> {
        Ok(View::of(&fstat(&self.fd)?, self.visible))
    }

    /// Changes its attributes.
    pub fn set(&self, changes: &Changes) -> Result<(), Fault> {
        self.changing.map_err(Fault::Refused)?;
        self.still_own()?;
        let marked = !self.writes && self.mount.has_marked(&self.fd);
        let given = changes.given(&self.mount, self.options.mode_mask, false);
        match changes.size {
            None => apply(&self.fd, &given)?,
            Some(size) => self.mount.counted(|| self.set_size(size, &given))?,
        }
        if marked {
            self.mount.mark(&self.fd);
        }
        self.changed.set(true);
        Ok(())
    }

    /// Makes all changes, another size among them.
    fn set_size(&self, size: u64, changes: &Changes) -> Result<(), Fault> {
        let before = self.known_size()?;
        self.make_room(size, 0)?;
        self.written.spoil();
        let applied = apply(&self.fd, changes);
        // What was allowed and has not happened is given back as well.
        let now = size_of(&self.fd)?;
        self.size.set(now);
        self.mount.shrink(before.max(size).saturating_sub(now), 0);
        applied
    }

    /// Waits until its content is on the disk. Only for who could have changed it.
    pub fn sync(&self) -> Result<(), Fault> {
        self.changing.map_err(Fault::Refused)?;
        Ok(fsync(&self.fd)?)
    }

    /// Space and inodes of the file system that it is on.
    pub fn file_system(&self) -> Result<StatVfs, Fault> {
        Ok(disk(&self.fd)?)
    }

    /// Whether it becomes visible only when it is closed.
    pub fn is_upload(&self) -> bool {
        self.upload.is_some()
    }

    /// The sum of the content, if the client has read all of it.
    pub fn sum_read(&self) -> Option<Sum> {
        self.read.of(self.summed()?)
    }

    /// The sum of the content as the client leaves it.
    pub fn sum_written(&self) -> Option<Sum> {
        let size = self.summed()?;
        self.written.of(size).or_else(|| self.sum_anew(size))
    }

    /// Closes the file; an atomic upload becomes visible under its name. Dropping it instead removes the upload.
    pub fn close(mut self) -> Result<(), Fault> {
        if self.writes && self.own && self.changed.get() {
            self.mount.mark(&self.fd);
        }
        if let Some(upload) = self.upload.take_if(|_| !self.changed.get()) {
            // What was there is left as it is.
            upload.give_up(self.fd.as_fd());
        }
        if let Some(mut upload) = self.upload.take()
            && let Err(fault) = self.still_own().and_then(|()| upload.publish(self.fd.as_fd()))
        {
            upload.give_up(self.fd.as_fd());
            return Err(fault);
        }
        if !self.writes {
            return Ok(());
        }
        // The disk of a network or quota file system may turn out to be full only now.
        let own = self.fd.try_clone().map_err(|_| Errno::EMFILE)?;
        Ok(nix::unistd::close(own)?)
    }

    /// The size of the file, where sums are recorded.
    fn summed(&self) -> Option<u64> {
        if self.options.sums { size_of(&self.fd).ok() } else { None }
    }

    /// The sum of what has not gone by in order. A file with a hole has none: a hole costs nothing to make, and can be
    /// longer than anybody has time to read.
    fn sum_anew(&self, size: u64) -> Option<Sum> {
        let first_hole = lseek(&self.fd, 0, Whence::SeekHole).ok()?;
        if size > 0 && u64::try_from(first_hole) != Ok(size) {
            return None;
        }
        Sum::of_start(&self.fd, size).ok().map(|(sum, _)| sum)
    }

    /// Where content for `offset` goes.
    fn place(&self, offset: u64) -> Result<u64, Fault> {
        match self.end {
            End::Anywhere => Ok(offset),
            End::Always => Ok(size_of(&self.fd)?),
            End::Only if offset == size_of(&self.fd)? => Ok(offset),
            End::Only => Err(Fault::Refused(Rule::AppendOnly)),
        }
    }

    /// The size of the file. Where it is counted, not only this handle may have changed it.
    fn known_size(&self) -> Result<u64, Fault> {
        if self.mount.room.counts() { Ok(size_of(&self.fd)?) } else { Ok(self.size.get()) }
    }

    /// Allows writing `length` bytes at `offset`, by every rule that there is.
    fn make_room(&self, offset: u64, length: u64) -> Result<(), Fault> {
        self.still_own()?;
        let end = offset.checked_add(length).ok_or(Errno::EFBIG)?;
        self.options.fits(end)?;
        let size = self.known_size()?;
        if end > size {
            if end - size > length {
                self.make_hole(end)?;
            }
            self.mount.grow(end - size, 0)?;
            self.size.set(end);
        }
        self.mount.room.write(&self.fd, length)
    }

    /// Allows a hole, in a file that then ends at `end`. Where files are copied before they change, a hole takes as long as
    /// what could fill it; so there no file is longer than what the disk has room for.
    fn make_hole(&self, end: u64) -> Result<(), Fault> {
        if !self.mount.replaces_whole() {
            return Ok(());
        }
        let filled = u64::try_from(fstat(&self.fd)?.st_blocks).unwrap_or(0).saturating_mul(512);
        if end <= filled.saturating_add(free(&self.fd)?) { Ok(()) } else { Err(Errno::ENOSPC.into()) }
    }

    /// What has been delivered is the owner's, also for a handle that was opened before.
    fn still_own(&self) -> Result<(), Fault> {
        let own = self.delivery.as_ref().is_none_or(|delivery| delivery.is_open());
        if own { Ok(()) } else { Err(Fault::Refused(Rule::Delivered)) }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.give_up(self.fd.as_fd());
        }
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
