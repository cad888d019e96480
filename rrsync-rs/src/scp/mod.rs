//! The old scp protocol, which `scp -O` speaks: the far side of a copy, on the virtual tree and nothing else.
//!
//! An scp client has the remote shell start `scp -t PATH`, the sink, or `scp -f PATH…`, the source. Here no shell runs and no
//! scp is executed: `command` reads the line as a shell would have cut it, `expand` finds what its wildcards match, `sink`
//! and `source` speak the protocol. Every decision about a path is the [`Vfs`]'s; this module must never open, name or
//! look at a file by itself.
//!
//! The protocol is lines: `C0644 5 NAME`, `D0755 0 NAME`, `E`, `T1 0 1 0`. Each is answered by a byte: 0, or 1 with a line
//! that says what went wrong, or 2 with a line that ends everything. Memory is bounded by one buffer and the depth of the
//! tree.

mod command;
mod expand;
mod sink;
mod source;
mod wire;

#[cfg(test)]
mod tests;

use std::os::fd::AsFd;

use nix::errno::Errno;

pub use command::{Command, Direction};

use crate::escape::Escaped;
use crate::sftp::{Deed, FileEvent, Outcome};
use crate::sha256::Sum;
use crate::vfs::{Fault, Vfs, VirtualPath};
use wire::Peer;

/// Directories within directories that are followed, as OpenSSH's sftp does (`MAX_DIR_DEPTH`).
const DEEPEST: usize = 64;

/// Why a session ended before it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// The client could not be read from.
    #[error("cannot read from the client: {}", .0.desc())]
    Read(Errno),
    /// The client could not be written to.
    #[error("cannot write to the client: {}", .0.desc())]
    Write(Errno),
    /// The client hung up in the middle.
    #[error("the client has hung up")]
    HungUp,
    /// The client has given up, and has said why.
    #[error("the client has given up")]
    GivenUp,
    /// What came is not the protocol. The client has been told.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
}

/// One copy: what it works on, whom it tells, and how it went so far.
struct Copy<'a, I, O> {
    vfs: &'a Vfs,
    command: &'a Command,
    peer: Peer<I, O>,
    audit: &'a mut dyn FnMut(&FileEvent<'_>),
    /// Whether something has gone wrong, as the exit status says at the end.
    failed: bool,
}

/// Serves one client until everything is copied. Tells whether all of it went well, as scp's exit status does.
pub fn serve(
    input: impl AsFd,
    output: impl AsFd,
    vfs: &Vfs,
    command: &Command,
    audit: &mut dyn FnMut(&FileEvent<'_>),
) -> Result<bool, ServeError> {
    let mut copy = Copy { vfs, command, peer: Peer::new(input, output), audit, failed: false };
    let served = match command.direction {
        Direction::Sink => copy.sink(),
        Direction::Source => copy.source(),
    };
    if let Err(ServeError::Protocol(why)) = served {
        let _ = copy.peer.say(2, &format!("scp: protocol error: {why}"));
    }
    served.map(|()| !copy.failed)
}

impl<I: AsFd, O: AsFd> Copy<'_, I, O> {
    /// Tells the client that something about `path` did not happen, and goes on.
    fn complain(&mut self, path: &[u8], why: impl std::fmt::Display) -> Result<(), ServeError> {
        self.failed = true;
        self.peer.say(1, &format!("scp: {}: {why}", Escaped(path)))
    }

    /// Records a deed, and passes its result on.
    fn record<T>(
        &mut self,
        deed: Deed,
        path: &VirtualPath,
        to: Option<&VirtualPath>,
        result: Result<T, Fault>,
    ) -> Result<T, Fault> {
        let outcome = result.as_ref().err().map_or(Outcome::Done, |fault| Outcome::Failed(*fault));
        self.note(deed, path, to, (0, None), outcome);
        result
    }

    fn note(
        &mut self,
        deed: Deed,
        path: &VirtualPath,
        to: Option<&VirtualPath>,
        (bytes, sha256): (u64, Option<Sum>),
        outcome: Outcome,
    ) {
        let to = to.map(VirtualPath::as_bytes);
        (self.audit)(&FileEvent { deed, path: path.as_bytes(), to, bytes, sha256, outcome });
    }
}
