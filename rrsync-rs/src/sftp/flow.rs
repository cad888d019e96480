//! Reading and writing without ever being stuck in either.
//!
//! A client may send many requests before it reads the first reply. A server that waits for it to read, and does not
//! read itself meanwhile, then waits for ever. So neither descriptor blocks while a session lasts: whoever waits here
//! waits for both.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Descriptors that do not block, until this is dropped: then they are as they were.
#[derive(Debug)]
pub(super) struct NonBlocking<'a, I: AsFd, O: AsFd> {
    ends: (&'a I, &'a O),
    /// Both may be one open file, so all was asked before anything was set.
    before: (Option<OFlag>, Option<OFlag>),
}

impl<'a, I: AsFd, O: AsFd> NonBlocking<'a, I, O> {
    /// Where this is not possible, the descriptors stay as they are.
    pub(super) fn set(input: &'a I, output: &'a O) -> Self {
        let before = (flags(input), flags(output));
        for (fd, flags) in [(input.as_fd(), before.0), (output.as_fd(), before.1)] {
            restore(fd, flags.map(|flags| flags | OFlag::O_NONBLOCK));
        }
        Self { ends: (input, output), before }
    }
}

impl<I: AsFd, O: AsFd> Drop for NonBlocking<'_, I, O> {
    fn drop(&mut self) {
        restore(self.ends.0, self.before.0);
        restore(self.ends.1, self.before.1);
    }
}

fn flags(fd: &impl AsFd) -> Option<OFlag> {
    fcntl(fd, FcntlArg::F_GETFL).ok().map(OFlag::from_bits_retain)
}

fn restore(fd: impl AsFd, flags: Option<OFlag>) {
    if let Some(flags) = flags {
        let _ = fcntl(fd, FcntlArg::F_SETFL(flags));
    }
}

/// Waits until `input` has something, or its end.
pub(super) fn readable(input: &impl AsFd) -> Result<(), Errno> {
    ready(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)]).map(drop)
}

/// Waits until `output` takes something, or `input` has something, if it is given; tells whether `input` has.
pub(super) fn writable(output: &impl AsFd, input: Option<&impl AsFd>) -> Result<bool, Errno> {
    let output = PollFd::new(output.as_fd(), PollFlags::POLLOUT);
    match input {
        None => ready(&mut [output]),
        Some(input) => ready(&mut [output, PollFd::new(input.as_fd(), PollFlags::POLLIN)]),
    }
}

/// Waits for one of them; tells whether the last one is ready.
fn ready(fds: &mut [PollFd<'_>]) -> Result<bool, Errno> {
    match poll(fds, PollTimeout::NONE) {
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno),
        Ok(_) => Ok(fds.last().is_some_and(|fd| fd.any() != Some(false))),
    }
}
