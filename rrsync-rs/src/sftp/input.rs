//! The client's bytes, cut into packets.
//!
//! A fixed buffer holds at least one whole packet; the length of a packet is judged before any of it is waited for.

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::ServeError;
use super::flow;
use super::wire::LONGEST_PACKET;

/// Room for the longest packet and as much again. So a packet that begins in the first half ends in the buffer, and
/// moving the rest of the buffer to its beginning is rare.
const ROOM: usize = 2 * (4 + LONGEST_PACKET);

/// The requests, read in big pieces.
#[derive(Debug)]
pub(super) struct Input<F> {
    fd: F,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    ended: bool,
}

impl<F: AsFd> Input<F> {
    pub(super) fn new(fd: F) -> Self {
        Self { fd, buffer: vec![0; ROOM].into_boxed_slice(), start: 0, end: 0, ended: false }
    }

    /// The next packet, without its length, if all of it has been read.
    pub(super) fn packet(&mut self) -> Result<Option<&[u8]>, ServeError> {
        let unread = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some((length, rest)) = unread.split_first_chunk() else { return Ok(None) };
        let claimed = u32::from_be_bytes(*length);
        let length = usize::try_from(claimed).ok().filter(|length| *length <= LONGEST_PACKET);
        let length = length.ok_or(ServeError::TooLong(claimed))?;
        let Some(packet) = rest.get(..length) else { return Ok(None) };
        self.start += 4 + length;
        Ok(Some(packet))
    }

    /// Waits for more bytes; `false` at the end of the input.
    pub(super) fn fill(&mut self) -> Result<bool, ServeError> {
        while !self.ended {
            if self.read()? {
                return Ok(true);
            }
            if !self.ended {
                flow::readable(&self.fd).map_err(ServeError::Read)?;
            }
        }
        if self.start == self.end { Ok(false) } else { Err(ServeError::Truncated) }
    }

    /// Waits until `output` takes more; what the client sends meanwhile is read, as far as there is room for it.
    pub(super) fn fill_until_writable(&mut self, output: &impl AsFd) -> Result<(), ServeError> {
        let room = !self.ended && self.make_room();
        if flow::writable(output, room.then_some(&self.fd)).map_err(ServeError::Write)? && room {
            self.read()?;
        }
        Ok(())
    }

    /// Reads what is there; `false` when that is nothing.
    fn read(&mut self) -> Result<bool, ServeError> {
        self.make_room();
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        match nix::unistd::read(&self.fd, room) {
            Ok(read) => {
                self.end += read;
                self.ended = read == 0;
                Ok(read > 0)
            }
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(false),
            Err(errno) => Err(ServeError::Read(errno)),
        }
    }

    /// Makes what room there can be at the end of the buffer without moving more than half of it; tells whether there
    /// is any.
    fn make_room(&mut self) -> bool {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > ROOM / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.end < ROOM
    }
}
