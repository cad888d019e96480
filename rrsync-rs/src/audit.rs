//! The record of every verdict: one JSON object a line, written before anything runs.
//!
//! It goes to `~/.local/state/akeys/audit.jsonl` and to syslog (or the journal behind it) where there is one. What a
//! client wrote stands in it escaped, and shortened when it is long: a record is one line, whatever was sent.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use jiff::Timestamp;
use nix::fcntl::OFlag;
use serde::Serialize;

use crate::confine::Level;
use crate::escape::Escaped;
use crate::layout::Layout;
use crate::verdict::Change;

/// More bytes of a request than this are left out of its record.
const MAX_REQUEST: usize = 4096;

/// One verdict.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// When, UTC, RFC 3339.
    pub time: String,
    /// The process; rsync keeps the number.
    pub pid: u32,
    /// The grant, if the key has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The directory, in the drop-in form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// The client's address, as sshd gave it.
    pub client: String,
    /// What the client sent, escaped.
    pub request: String,
    /// `allow` or `refuse`.
    pub verdict: &'static str,
    /// The rule that decided.
    pub rule: String,
    /// Why not, for a refusal; more than the client was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// The working directory of what runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// What the kernel enforces on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Level>,
    /// The smallest change of the grant that would have allowed what was refused; `akeys learn` reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learn: Option<Change>,
    /// What is questionable about the setting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Record {
    /// The time of a record, in the form that records carry.
    pub fn now() -> String {
        Timestamp::now().to_string()
    }

    /// A client's request as a record shows it.
    pub fn request(command: Option<&[u8]>) -> String {
        let command = command.unwrap_or_default();
        match command.get(..MAX_REQUEST) {
            None => Escaped(command).to_string(),
            Some(start) => format!("{}… ({} bytes)", Escaped(start), command.len()),
        }
    }
}

/// Open places to write records to. Opened before the session is confined, and closed by exec.
#[derive(Debug)]
pub struct Log {
    file: io::Result<File>,
    syslog: Option<UnixDatagram>,
    rrsync: Option<File>,
}

impl Log {
    /// Opens the account's audit file and the syslog socket; in the drop-in form also rrsync's own log, if there is one.
    pub fn open(layout: Option<&Layout>, drop_in: bool) -> Self {
        let file = match layout {
            Some(layout) => open_file(&layout.audit_file()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "HOME is not set")),
        };
        let rrsync = if drop_in { open_rrsync_log() } else { None };
        Self { file, syslog: open_syslog(Path::new("/dev/log")).ok(), rrsync }
    }

    /// Writes an accepted command to rrsync's log, as rrsync(1) has it: time, client address, command.
    pub fn write_as_rrsync(&mut self, record: &Record) {
        if let Some(file) = &mut self.rrsync {
            let line = format!("{} {:16} {}\n", record.time, record.client, record.argv.join(" "));
            let _ = file.write(line.as_bytes());
        }
    }

    /// Writes one record to both places.
    ///
    /// # Errors
    /// Only when neither took it.
    pub fn write(&mut self, record: &impl Serialize) -> io::Result<()> {
        let line = line_of(record)?;
        let syslog = self.send(&line);
        self.append(&line).or_else(|error| syslog.map_err(|_| error))
    }

    /// Writes what a session did with one file; to syslog only where the account's file cannot be written. A session
    /// does that thousands of times, and a journal that limits what a service may say in a minute would leave out what
    /// sshd has to say.
    ///
    /// # Errors
    /// Only when neither took it.
    pub fn write_deed(&mut self, record: &impl Serialize) -> io::Result<()> {
        let line = line_of(record)?;
        self.append(&line).or_else(|error| self.send(&line).map_err(|_| error))
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        match &mut self.file {
            // One write of a file opened for appending: records of sessions that run at once do not mix.
            Ok(file) => match file.write(line)? {
                written if written == line.len() => Ok(()),
                _ => Err(io::ErrorKind::WriteZero.into()),
            },
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }

    fn send(&self, line: &[u8]) -> io::Result<()> {
        send(self.syslog.as_ref().ok_or(io::ErrorKind::NotFound)?, line.trim_ascii_end())
    }
}

fn line_of(record: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

fn open_file(path: &Path) -> io::Result<File> {
    let directory = path.parent().ok_or(io::ErrorKind::NotFound)?;
    make_private(directory)?;
    let file = File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the audit file is not a file of this account",
        ));
    }
    Ok(file)
}

/// Makes `directory` and what is missing above it, each for its owner only.
pub fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn open_syslog(socket: &Path) -> io::Result<UnixDatagram> {
    let datagram = UnixDatagram::unbound()?;
    datagram.connect(socket)?;
    // A syslog daemon that has stopped reading must not stop the session.
    datagram.set_nonblocking(true)?;
    Ok(datagram)
}

/// RFC 3164: facility authpriv (10), severity info (6). `write`, because the confined process has no other call.
fn send(socket: &UnixDatagram, json: &[u8]) -> io::Result<()> {
    let mut message = format!("<86>rrsync-rs[{}]: ", std::process::id()).into_bytes();
    message.extend_from_slice(json);
    nix::unistd::write(socket, &message)?;
    Ok(())
}

/// Where rrsync kept its log: `rrsync.log` in the directory that sshd started us in, if somebody has made one. It must
/// be a regular file and not a symlink; otherwise there is none.
fn open_rrsync_log() -> Option<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::options().append(true).custom_flags(flags.bits()).open("rrsync.log").ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deeds_are_told_to_syslog_only_where_there_is_no_file() {
        let path = std::env::temp_dir().join(format!("audit-{}", std::process::id()));
        let (socket, syslog) = UnixDatagram::pair().unwrap();
        syslog.set_nonblocking(true).unwrap();
        let told = || syslog.recv(&mut [0; 1000]).is_ok();
        let mut log = Log { file: File::create(&path), syslog: Some(socket), rrsync: None };
        log.write(&"verdict").unwrap();
        assert!(told());
        log.write_deed(&"deed").unwrap();
        assert!(!told());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"verdict\"\n\"deed\"\n");
        log.file = File::open(&path);
        log.write_deed(&"deed").unwrap();
        assert!(told(), "the file cannot be written");
        log.syslog = None;
        log.write_deed(&"deed").unwrap_err();
        log.write(&"verdict").unwrap_err();
        std::fs::remove_file(path).unwrap();
    }
}
