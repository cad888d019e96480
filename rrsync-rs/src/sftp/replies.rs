//! Replies, gathered until they are written.
//!
//! A reply is begun, filled and ended; one that is given up leaves no trace. The buffer grows to the size of the
//! largest batch, once, and file content is read straight into it.

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::ServeError;
use super::input::Input;
use super::status::Failure;
use super::wire::{attribute, packet};
use crate::vfs::{Fault, View};

/// From this many bytes on replies are written, also when further requests wait: the client has something to do.
const FULL: usize = 64 * 1024;

/// The replies that have not been written yet.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// All of it is initialised; only the first `used` bytes mean something.
    buffer: Vec<u8>,
    used: usize,
    begun: usize,
}

impl Replies {
    /// Begins a reply to request `id`.
    pub(super) fn begin(&mut self, kind: u8, id: u32) {
        self.begun = self.used;
        self.u32(0);
        self.u8(kind);
        self.u32(id);
    }

    /// Ends the reply that was begun last: fills in its length.
    pub(super) fn end(&mut self) {
        let length = self.used.saturating_sub(self.begun + 4);
        let begun = self.begun;
        self.patch(begun, u32::try_from(length).unwrap_or(u32::MAX));
    }

    /// Takes back the reply that was begun last.
    pub(super) fn cancel(&mut self) {
        self.used = self.begun;
    }

    /// How long the reply that was begun last is by now.
    pub(super) fn length(&self) -> usize {
        self.used - self.begun
    }

    /// Where the next field will stand, for [`Replies::patch`].
    pub(super) fn position(&self) -> usize {
        self.used
    }

    /// Overwrites a number written earlier.
    pub(super) fn patch(&mut self, at: usize, value: u32) {
        if let Some(field) = self.buffer.get_mut(at..at + 4) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    pub(super) fn string(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.put(bytes);
    }

    /// A string of up to `most` bytes that `read` supplies; returns its length.
    pub(super) fn string_from(
        &mut self,
        most: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, Fault>,
    ) -> Result<usize, Fault> {
        let at = self.used;
        self.u32(0);
        let length = read(self.room(most))?.min(most);
        self.used += length;
        self.patch(at, u32::try_from(length).unwrap_or(u32::MAX));
        Ok(length)
    }

    /// File attributes (sftp-common.c `encode_attrib`).
    pub(super) fn attributes(&mut self, view: &View) {
        // Version 3 has 32 bits for a time; what does not fit becomes the nearest moment that does.
        let moment = |at: i64| u32::try_from(at.max(0)).unwrap_or(u32::MAX);
        match view {
            View::Whole(metadata) => {
                let all = attribute::SIZE | attribute::UIDGID | attribute::PERMISSIONS | attribute::ACMODTIME;
                self.u32(all);
                self.u64(metadata.size);
                self.u32(metadata.uid);
                self.u32(metadata.gid);
                self.u32(metadata.mode);
                self.u32(moment(metadata.accessed));
                self.u32(moment(metadata.modified));
            }
            View::Kind(mode) => {
                self.u32(attribute::PERMISSIONS);
                self.u32(*mode);
            }
        }
    }

    /// A whole reply: a status, with a text for people.
    pub(super) fn status(&mut self, id: u32, result: Result<(), Failure>) {
        self.begin(packet::STATUS, id);
        match result {
            Ok(()) => {
                self.u32(0);
                self.string(b"Success");
            }
            Err(failure) => {
                self.u32(failure.code());
                self.string(failure.to_string().as_bytes());
            }
        }
        // The language tag.
        self.string(b"");
        self.end();
    }

    /// A whole reply: one path.
    pub(super) fn name(&mut self, id: u32, path: &[u8]) {
        self.begin(packet::NAME, id);
        self.u32(1);
        self.string(path);
        self.string(path);
        self.u32(0);
        self.end();
    }

    /// A whole reply: a handle.
    pub(super) fn handle(&mut self, id: u32, handle: &[u8]) {
        self.begin(packet::HANDLE, id);
        self.string(handle);
        self.end();
    }

    /// A whole reply: file attributes.
    pub(super) fn view(&mut self, id: u32, view: &View) {
        self.begin(packet::ATTRS, id);
        self.attributes(view);
        self.end();
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Whether it is time to write.
    pub(super) fn is_full(&self) -> bool {
        self.used >= FULL
    }

    /// Writes everything. A client that does not take it may go on sending: see [`Input::fill_until_writable`].
    pub(super) fn flush(
        &mut self,
        output: &impl AsFd,
        input: &mut Input<impl AsFd>,
    ) -> Result<(), ServeError> {
        let used = std::mem::take(&mut self.used);
        let mut unwritten = self.buffer.get(..used).unwrap_or_default();
        while !unwritten.is_empty() {
            match nix::unistd::write(output, unwritten) {
                Ok(written) => unwritten = unwritten.get(written..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => input.fill_until_writable(output)?,
                Err(errno) => return Err(ServeError::Write(errno)),
            }
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.used += bytes.len();
    }

    /// The next `length` bytes of the buffer. It is never shrunk, so it is cleared only as it grows.
    fn room(&mut self, length: usize) -> &mut [u8] {
        let end = self.used + length;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        self.buffer.get_mut(self.used..end).unwrap_or_default()
    }
}
