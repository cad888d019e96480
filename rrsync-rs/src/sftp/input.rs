//! The client's bytes, cut into packets.
//!
//! A fixed buffer holds at least one whole packet; the length of a packet is judged before any of it is waited for.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::ServeError;
use super::wire::LONGEST_PACKET;

/// Room for the longest packet and as much again, so that moving the rest of the buffer to its beginning is rare.
const ROOM: usize = 2 * (4 + LONGEST_PACKET);

/// The requests, read in big pieces.
#[derive(Debug)]
pub(super) struct Input<F> {
    fd: F,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<F: AsFd> Input<F> {
    pub(super) fn new(fd: F) -> Self {
        Self { fd, buffer: vec![0; ROOM].into_boxed_slice(), start: 0, end: 0 }
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
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end > ROOM / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match nix::unistd::read(&self.fd, room) {
                Ok(0) if self.start == self.end => return Ok(false),
                Ok(0) => return Err(ServeError::Truncated),
                Ok(read) => {
                    self.end += read;
                    return Ok(true);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => wait(&self.fd, PollFlags::POLLIN).map_err(ServeError::Read)?,
                Err(errno) => return Err(ServeError::Read(errno)),
            }
        }
    }
}

/// Waits until `fd` is ready, for when whoever started the session has made it non-blocking.
pub(crate) fn wait(fd: &impl AsFd, what: PollFlags) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(fd.as_fd(), what)], PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
