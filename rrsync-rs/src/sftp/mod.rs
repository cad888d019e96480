//! The SFTP server: version 3 of the protocol, with OpenSSH's extensions, on the virtual tree and nothing else.
//!
//! draft-ietf-secsh-filexfer-02 says what the requests are; where it leaves room, OpenSSH's sftp-server.c and its
//! PROTOCOL file decide, because stock clients were written against them. Every decision about a path is the
//! [`Vfs`]'s; this module must never open, name or look at a file by itself.
//!
//! One thread reads requests and answers them in their order. Replies are gathered while further complete requests
//! are at hand and written when there are none, so a client that pipelines costs few system calls. Memory is bounded
//! by a constant: some requests, some replies, and the open handles. A client that does not read its replies while it
//! goes on sending is not read from either once both are full.

mod audit;
mod dirs;
mod extended;
mod fetch;
mod files;
pub(crate) mod flow;
mod handles;
mod input;
mod longname;
mod names;
mod replies;
mod session;
mod status;
mod subsystem;
pub mod syscalls;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

use std::os::fd::AsFd;

use nix::errno::Errno;

pub use audit::{Deed, FileEvent, Outcome, Summary};
pub use subsystem::Subsystem;

use crate::vfs::Vfs;
use flow::NonBlocking;
use input::Input;
use replies::Replies;
use session::Session;

/// Why a session ended before the client's end of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// The client's requests could not be read.
    #[error("cannot read requests: {}", .0.desc())]
    Read(Errno),
    /// The replies could not be written.
    #[error("cannot write replies: {}", .0.desc())]
    Write(Errno),
    /// A packet is longer than any request can be, so where the next one begins is unknown.
    #[error("packet of {0} bytes, {max} are allowed", max = wire::LONGEST_PACKET)]
    TooLong(u32),
    /// A packet is too short for a type and a request number, so it cannot be answered.
    #[error("packet without a request number")]
    TooShort,
    /// The first packet is not the one that opens a session.
    #[error("request of type {0} before the session was opened")]
    NotInitialised(u8),
    /// The client hung up in the middle of a packet.
    #[error("end of input within a packet")]
    Truncated,
}

/// Serves one client until it hangs up.
///
/// `audit` gets an event for everything that was read, written or changed, when it is finished, and for everything
/// that the grant refused; also for what was still open when the session ended.
pub fn serve(
    input: impl AsFd,
    output: impl AsFd,
    vfs: &Vfs,
    audit: &mut dyn FnMut(&FileEvent<'_>),
) -> (Summary, Result<(), ServeError>) {
    flow::widen(&input);
    flow::widen(&output);
    let _blocking_again_at_the_end = NonBlocking::set(&output);
    let mut session = Session::new(vfs, output.as_fd(), audit);
    let mut replies = Replies::default();
    let mut input = Input::new(&input);
    let served = answer_all(&mut input, &output, &mut session, &mut replies);
    // What was answered before an error is still the client's.
    let flushed = replies.flush(&output, &mut input);
    (session.finish(), served.and(flushed))
}

fn answer_all(
    input: &mut Input<impl AsFd>,
    output: &impl AsFd,
    session: &mut Session<'_>,
    replies: &mut Replies,
) -> Result<(), ServeError> {
    loop {
        if let Some(packet) = input.packet()? {
            session.answer(packet, replies)?;
            if replies.is_full() {
                replies.flush(output, input)?;
            }
        } else if !replies.is_empty() {
            // Requests may have come in while the replies were being taken.
            replies.flush(output, input)?;
        } else if !input.fill()? {
            return Ok(());
        }
    }
}
