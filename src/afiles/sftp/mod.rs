//! An SFTP client: small, synchronous, pipelined, over the pipe of `ssh -s HOST sftp`.
//!
//! Requests are sent without waiting for their replies, each for a ticket; whoever wants a reply comes with the ticket.
//! While one waits, requests go out and replies come in as they can, on one thread, so neither side ever blocks on the
//! other's full pipe. How much is under way at once is the caller's affair, and bounds the memory.
//!
//! Two requests are the gate's own, `fetch` and `state`: see `rrsync_rs::sftp`.

mod channel;
mod wire;

use std::process::Command;

use rrsync_rs::escape::Escaped;

use channel::Channel;
pub use wire::Attributes;
use wire::{Body, Fields, packet};

/// The most that one `fetch` brings: a server's largest packet, less what is around the content.
pub const LARGEST_FETCH: u32 = 255 * 1024;

/// Status codes, section 7 of the draft.
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;

/// Why something is not to be had from the server.
#[derive(Debug, thiserror::Error)]
pub enum SftpError {
    /// The connection is gone; what ssh and the gate said before.
    #[error("the SFTP session has ended{}{}", if .0.is_empty() { "" } else { ": " }, Escaped(.0))]
    Lost(Vec<u8>),
    /// The server does not keep to the protocol.
    #[error("the SFTP server does not keep to the protocol: {0}")]
    Protocol(&'static str),
    /// The server has not what this program needs.
    #[error("the SFTP server there is no gate of akeys")]
    NoGate,
    /// The request was refused or failed.
    #[error("{}", Escaped(message))]
    Status {
        /// The code.
        code: u32,
        /// What the server said.
        message: Vec<u8>,
    },
    /// ssh could not be run.
    #[error("ssh: {0}")]
    Start(std::io::Error),
}

impl SftpError {
    /// Whether there is nothing of that name.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Status { code: NO_SUCH_FILE, .. })
    }

    /// Whether the server forbids it.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Status { code: PERMISSION_DENIED, .. })
    }

    /// Whether no further request can be answered.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Status { .. })
    }
}

/// How many names a directory has at most: a hostile server lists for ever.
const MOST_NAMES: usize = 2 << 20;

/// A request that has been sent, and whose reply is still to be taken.
#[derive(Debug)]
#[must_use = "a reply that is never taken stays in memory"]
pub struct Ticket(u32);

/// The state of a file at one moment, as the gate says it. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// What the host's clock said before anything was read.
    pub clock: i64,
    /// Type and permission bits, `st_mode`.
    pub mode: u32,
    /// The number of hard links.
    pub links: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last change of the content.
    pub modified: i64,
    /// Last change of anything.
    pub changed: i64,
    /// Which file it is.
    pub identity: (u64, u64),
}

/// What `fetch` brings: content and state.
#[derive(Debug)]
pub struct Fetched {
    /// The beginning of a regular file, or what a symlink says.
    pub content: Vec<u8>,
    /// What it is.
    pub state: State,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// One component.
    pub name: Vec<u8>,
    /// What it is.
    pub attributes: Attributes,
}

/// A session.
#[derive(Debug)]
pub struct Sftp {
    channel: Channel,
}

impl Sftp {
    /// Opens a session over `ssh`, a command whose input and output are a server's.
    ///
    /// # Errors
    /// `NoGate` when the server has no `fetch`: what it says of a file would be too coarse to know that it is whole.
    pub fn open(ssh: Command) -> Result<Self, SftpError> {
        let mut channel = Channel::start(ssh)?;
        Body::default().u32(3).packet(packet::INIT, None, channel.out());
        let (kind, body) = channel.first()?;
        let mut fields = Fields(&body);
        if kind != packet::VERSION || fields.u32()? != 3 {
            return Err(SftpError::Protocol("it speaks another version"));
        }
        let mut fetches = false;
        while !fields.is_empty() {
            let (name, version) = (fields.string()?, fields.string()?);
            fetches |= name == b"fetch@akeys" && version == b"1";
        }
        if fetches { Ok(Self { channel }) } else { Err(SftpError::NoGate) }
    }

    /// Asks for what `path` is and the first `limit` bytes of its content, in one request.
    pub fn fetch(&mut self, path: &[u8], limit: u32) -> Result<Ticket, SftpError> {
        self.ask(packet::EXTENDED, Body::default().string(b"fetch@akeys").string(path).u32(limit))
    }

    /// The answer to [`Sftp::fetch`].
    pub fn fetched(&mut self, ticket: Ticket) -> Result<Fetched, SftpError> {
        let body = self.reply(ticket, packet::EXTENDED_REPLY)?;
        let mut fields = Fields(&body);
        let clock = fields.u64()?;
        let content = fields.string()?.to_owned();
        Ok(Fetched { content, state: state(clock, fields)? })
    }

    /// Asks for the state of an open file.
    pub fn state(&mut self, handle: &[u8]) -> Result<Ticket, SftpError> {
        self.ask(packet::EXTENDED, Body::default().string(b"state@akeys").string(handle))
    }

    /// The answer to [`Sftp::state`].
    pub fn stated(&mut self, ticket: Ticket) -> Result<State, SftpError> {
        let body = self.reply(ticket, packet::EXTENDED_REPLY)?;
        let mut fields = Fields(&body);
        state(fields.u64()?, fields)
    }

    /// Opens a file for reading: its handle.
    pub fn open_file(&mut self, path: &[u8]) -> Result<Vec<u8>, SftpError> {
        let ticket = self.ask(packet::OPEN, Body::default().string(path).u32(1).u32(0))?;
        self.handle(ticket)
    }

    /// Asks for `length` bytes of an open file, at most.
    pub fn read(&mut self, handle: &[u8], offset: u64, length: u32) -> Result<Ticket, SftpError> {
        self.ask(packet::READ, Body::default().string(handle).u64(offset).u32(length))
    }

    /// The answer to [`Sftp::read`]; empty at the end of the file.
    pub fn data(&mut self, ticket: Ticket) -> Result<Vec<u8>, SftpError> {
        match self.reply(ticket, packet::DATA) {
            Err(SftpError::Status { code: EOF, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
            Ok(body) => Fields(&body).string().map(<[u8]>::to_owned),
        }
    }

    /// Gives a handle back.
    pub fn close(&mut self, handle: &[u8]) -> Result<(), SftpError> {
        let ticket = self.ask(packet::CLOSE, Body::default().string(handle))?;
        self.done(ticket)
    }

    /// Removes a file or a symlink.
    pub fn remove(&mut self, path: &[u8]) -> Result<(), SftpError> {
        let ticket = self.ask(packet::REMOVE, Body::default().string(path))?;
        self.done(ticket)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&mut self, path: &[u8]) -> Result<(), SftpError> {
        let ticket = self.ask(packet::RMDIR, Body::default().string(path))?;
        self.done(ticket)
    }

    /// Everything in a directory but `.` and `..`, in the server's order. A name that is no name is an error.
    pub fn list(&mut self, path: &[u8]) -> Result<Vec<Name>, SftpError> {
        let ticket = self.ask(packet::OPENDIR, Body::default().string(path))?;
        let handle = self.handle(ticket)?;
        let mut names = Vec::new();
        let listed = self.list_open(&handle, &mut names);
        // The first error is the one to tell.
        let closed =
            if listed.as_ref().is_err_and(SftpError::is_final) { Ok(()) } else { self.close(&handle) };
        listed.and(closed).map(|()| names)
    }

    fn list_open(&mut self, handle: &[u8], names: &mut Vec<Name>) -> Result<(), SftpError> {
        loop {
            let ticket = self.ask(packet::READDIR, Body::default().string(handle))?;
            let body = match self.reply(ticket, packet::NAME) {
                Err(SftpError::Status { code: EOF, .. }) => return Ok(()),
                body => body?,
            };
            let mut fields = Fields(&body);
            let count = fields.u32()?;
            if count == 0 {
                return Err(SftpError::Protocol("a listing goes on with nothing"));
            }
            for _ in 0..count {
                let name = fields.string()?.to_owned();
                fields.string()?;
                let attributes = fields.attributes()?;
                match name.as_slice() {
                    b"." | b".." => {}
                    name if name.is_empty() || name.contains(&b'/') || name.contains(&0) => {
                        return Err(SftpError::Protocol("a name in a listing is no name"));
                    }
                    _ if names.len() == MOST_NAMES => {
                        return Err(SftpError::Protocol("a listing does not end"));
                    }
                    _ => names.push(Name { name, attributes }),
                }
            }
        }
    }

    fn ask(&mut self, kind: u8, body: Body) -> Result<Ticket, SftpError> {
        let id = self.channel.next_id();
        body.packet(kind, Some(id), self.channel.out());
        self.channel.push()?;
        Ok(Ticket(id))
    }

    fn handle(&mut self, ticket: Ticket) -> Result<Vec<u8>, SftpError> {
        let body = self.reply(ticket, packet::HANDLE)?;
        Fields(&body).string().map(<[u8]>::to_owned)
    }

    fn done(&mut self, Ticket(id): Ticket) -> Result<(), SftpError> {
        match self.channel.reply(id)? {
            (packet::STATUS, body) => status(&body).map_or(Ok(()), Err),
            _ => Err(SftpError::Protocol("a reply is of another kind")),
        }
    }

    /// The body of a reply of this kind; a status is an error.
    fn reply(&mut self, Ticket(id): Ticket, wanted: u8) -> Result<Vec<u8>, SftpError> {
        match self.channel.reply(id)? {
            (kind, body) if kind == wanted => Ok(body),
            (packet::STATUS, body) => {
                Err(status(&body).unwrap_or(SftpError::Protocol("a question is answered with success")))
            }
            _ => Err(SftpError::Protocol("a reply is of another kind")),
        }
    }
}

fn state(clock: u64, mut fields: Fields<'_>) -> Result<State, SftpError> {
    Ok(State {
        clock: clock.cast_signed(),
        mode: fields.u32()?,
        links: fields.u64()?,
        size: fields.u64()?,
        modified: fields.u64()?.cast_signed(),
        changed: fields.u64()?.cast_signed(),
        identity: (fields.u64()?, fields.u64()?),
    })
}

/// A status as an error; `None` for success.
fn status(body: &[u8]) -> Option<SftpError> {
    let mut fields = Fields(body);
    match fields.u32() {
        Ok(0) => None,
        Ok(code) => {
            let message = fields.string().unwrap_or_default();
            let message = message.get(..400).unwrap_or(message).to_owned();
            let message = if message.is_empty() { format!("status {code}").into_bytes() } else { message };
            Some(SftpError::Status { code, message })
        }
        Err(error) => Some(error),
    }
}

#[cfg(test)]
mod tests;
