//! The stream of a workspace's events, as it comes down the held connection.

use std::io::{self, BufRead as _, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;

use rrsync_rs::escape::Escaped;
use rrsync_rs::name::WorkspaceName;

use super::Input;
use crate::common::ssh::{Connection, SshError};
use crate::event::{Cursor, FORMAT, Message};

/// The longest line that is read: two paths, each byte of which may take six in JSON, and what is around them.
pub const LONGEST_LINE: u64 = 64 * 1024;

/// How much of what ssh and the gate say is kept.
const SAID: u64 = 16 * 1024;

/// Why a stream has ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The connection, or what the gate or awatch there said.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// A line that nobody knows how to read.
    #[error("the stream of events cannot be read: {0}")]
    Line(String),
    /// A later version of the format.
    #[error("the stream of events has format {0}, this afiles knows {FORMAT}")]
    Format(u32),
    /// Another workspace than was asked for.
    #[error("the stream of events is of {0}")]
    Workspace(WorkspaceName),
    /// A NATS server, or what it has of the workspace.
    #[error("{0}")]
    Nats(String),
    /// Nothing has come for too long.
    #[error("no word of the stream of events for {0} s")]
    Silent(u64),
}

/// An open stream. Dropped, it ends.
#[derive(Debug)]
pub struct Stream(Child);

impl Stream {
    /// Asks for the events of `workspace`, from `since` on where that is known, and hands them over as they come.
    pub fn open(
        connection: &Connection,
        workspace: &WorkspaceName,
        since: Option<&Cursor>,
        to: SyncSender<Input>,
    ) -> Result<Self, SshError> {
        let since = since.map_or_else(String::new, |cursor| format!(" --since {cursor}"));
        let mut ssh = connection.run(&format!("awatch stream {workspace}{since}"));
        let pipes = ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().map_err(SshError::Start)?;
        let (Some(events), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(SshError::Start(io::ErrorKind::BrokenPipe.into()));
        };
        let workspace = workspace.clone();
        let failure = connection.failures();
        let said = thread::spawn(move || {
            let mut said = Vec::new();
            let mut errors = errors;
            drop(errors.by_ref().take(SAID).read_to_end(&mut said));
            // What is more is taken, so that nobody waits for it, and thrown away.
            drop(io::copy(&mut errors, &mut io::sink()));
            said
        });
        thread::spawn(move || {
            let ended = read(events, &workspace, &to);
            let said = said.join().unwrap_or_default();
            let error = ended.err().unwrap_or_else(|| failure.of(&said).into());
            // Nobody listens any more when the session has ended first.
            drop(to.send(Input::Ended(error)));
        });
        Ok(Self(child))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Reads to the end of the stream, or to the first line that is wrong.
fn read(events: ChildStdout, workspace: &WorkspaceName, to: &SyncSender<Input>) -> Result<(), StreamError> {
    let mut events = BufReader::with_capacity(16 * 1024, events);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A pipe that fails has ended.
        let read = (&mut events).take(LONGEST_LINE).read_until(b'\n', &mut line).unwrap_or(0);
        if read == 0 || line.last() != Some(&b'\n') {
            let whole = line.is_empty() || (line.len() as u64) < LONGEST_LINE;
            return if whole { Ok(()) } else { Err(StreamError::Line("a line is too long".to_owned())) };
        }
        let message = serde_json::from_slice(&line)
            .map_err(|error| StreamError::Line(Escaped(error.to_string().as_bytes()).to_string()))?;
        match &message {
            Message::Hello { format, .. } if *format != FORMAT => return Err(StreamError::Format(*format)),
            Message::Hello { workspace: other, .. } if other != workspace => {
                return Err(StreamError::Workspace(other.clone()));
            }
            _ => {}
        }
        if to.send(Input::Said(Box::new(message))).is_err() {
            return Ok(());
        }
    }
}
