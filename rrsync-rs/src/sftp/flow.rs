//! Reading and writing without ever being stuck in either.
//!
//! A client may send many requests before it reads the first reply. A server that waits for it to read, and does not
//! read itself meanwhile, then waits for ever. So writing never blocks while a session lasts: whoever waits to write
//! waits for requests too. Reading may block, for nothing is ever left to be written then; where both ends are one
//! socket, it does not either.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A descriptor that does not block, until this is dropped: then it is as it was.
#[derive(Debug)]
pub(super) struct NonBlocking<'a, F: AsFd> {
    fd: &'a F,
    before: Option<OFlag>,
}

impl<'a, F: AsFd> NonBlocking<'a, F> {
    /// Where this is not possible, the descriptor stays as it is.
    pub(super) fn set(fd: &'a F) -> Self {
        let before = fcntl(fd, FcntlArg::F_GETFL).ok().map(OFlag::from_bits_retain);
        if let Some(flags) = before {
            let _ = fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK));
        }
        Self { fd, before }
    }
}

impl<F: AsFd> Drop for NonBlocking<'_, F> {
    fn drop(&mut self) {
        if let Some(flags) = self.before {
            let _ = fcntl(self.fd, FcntlArg::F_SETFL(flags));
        }
    }
}

/// How much a pipe is made to hold where it may: as much as a request or a reply at its longest, so that one is handed
/// over while the next is worked on. Four times what it usually is, and what every account may have many of (pipe(7)).
const PIPE: i32 = 256 * 1024;

/// Makes room in the pipe, if it is one.
pub(super) fn widen(fd: &impl AsFd) {
    let _ = fcntl(fd, FcntlArg::F_SETPIPE_SZ(PIPE));
}

/// Waits until `input` has something, or its end.
pub(crate) fn readable(input: &impl AsFd) -> Result<(), Errno> {
    ready(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)]).map(drop)
}

/// Waits until `output` takes something, or `input` has something, if it is given; tells whether `input` has.
pub(crate) fn writable(output: &impl AsFd, input: Option<&impl AsFd>) -> Result<bool, Errno> {
    let output = PollFd::new(output.as_fd(), PollFlags::POLLOUT);
    match input {
        None => ready(&mut [output]),
        Some(input) => ready(&mut [output, PollFd::new(input.as_fd(), PollFlags::POLLIN)]),
    }
}

/// Whether nobody is left to read what is written to `output`.
pub(super) fn is_closed(output: &impl AsFd) -> bool {
    let mut output = [PollFd::new(output.as_fd(), PollFlags::empty())];
    // What is not asked for is told all the same: an error, or that the other end has hung up.
    poll(&mut output, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Waits for one of them; tells whether the last one is ready.
fn ready(fds: &mut [PollFd<'_>]) -> Result<bool, Errno> {
    match poll(fds, PollTimeout::NONE) {
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno),
        Ok(_) => Ok(fds.last().is_some_and(|fd| fd.any() != Some(false))),
    }
}
