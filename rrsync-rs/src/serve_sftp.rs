//! An SFTP session of a grant: confined first, then served in this process.
//!
//! Nothing is executed. Landlock leaves the process the workspaces, seccomp the calls that the server needs, and both
//! are in force before the first byte of the client's is read.

use std::io;

use nix::sys::stat::{Mode, umask};
use serde::Serialize;

use crate::audit::{Log, Record};
use crate::beneath::Last;
use crate::confine::seccomp::Filter;
use crate::confine::{self, ConfineError, Files, Rights};
use crate::escape::Escaped;
use crate::grant::{Access, Confine};
use crate::policy::{Exposed, Policy};
use crate::rsync::judge::Reach;
use crate::sftp::{self, FileEvent, Outcome, ServeError, syscalls};
use crate::vfs::{Mount, Options, Vfs};

/// What the server's administrator says in the `Subsystem` line, as far as it concerns a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Subsystem {
    /// `-u`: the umask.
    pub umask: Option<u16>,
}

impl Subsystem {
    /// Reads a `Subsystem` line, which sshd hands over as the client's command: `internal-sftp` or the path of
    /// `sftp-server`, with options that an administrator writes. The line itself is never run.
    ///
    /// Options that would change what a client may do (`-R`, `-P`, `-d`) are refused: here the grant says that.
    pub fn read(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let mut words = text.split(' ');
        let program = words.next()?;
        let server = program.strip_suffix("/sftp-server").is_some_and(|directory| {
            directory.starts_with('/') && directory.split('/').all(|part| part != ".." && part != ".")
        });
        if program != "internal-sftp" && !server {
            return None;
        }
        let mut subsystem = Self::default();
        while let Some(option) = words.next() {
            match option {
                "-u" => {
                    let mask = u16::from_str_radix(words.next()?, 8).ok().filter(|mask| *mask <= 0o777)?;
                    subsystem.umask = Some(mask);
                }
                "-l" => {
                    let level = words.next()?;
                    ["QUIET", "FATAL", "ERROR", "INFO", "VERBOSE"].contains(&level).then_some(())?;
                }
                "-f" => {
                    let facility = words.next()?;
                    (facility == "AUTH" || facility == "USER" || facility.starts_with("LOCAL"))
                        .then_some(())?;
                }
                _ => return None,
            }
        }
        Some(subsystem)
    }
}

/// One deed, as a line of the audit file. Only what changes or reads content has one, and what was refused.
#[derive(Serialize)]
struct FileRecord<'a> {
    time: String,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a str>,
    client: &'a str,
    file: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    bytes: u64,
    result: String,
}

/// A session ready to be served: its directories are open and its limits known.
pub struct Prepared {
    vfs: Vfs,
    reach: Vec<Reach>,
}

/// Opens what the session may use.
pub fn prepare(policy: Policy, subsystem: Subsystem) -> io::Result<Prepared> {
    let mut reach = Vec::new();
    let mut mounts = Vec::new();
    for Exposed { name, root, workspace, .. } in policy.exposed {
        let Some(name) = name else { continue };
        for (path, access) in workspace.places().filter(|(_, access)| *access != Access::None) {
            // A sub-path that does not exist has nothing to allow.
            if let Ok(held) = root.hold(path, Last::Follow) {
                let real = root.real().join(&held.at);
                let rights = if access.may_write() { Rights::ALL } else { Rights::PULL };
                reach.push(Reach { dir: held.fd, real, rights });
            }
        }
        mounts.push(Mount::new(name, root, workspace));
    }
    if let Some(mask) = subsystem.umask {
        umask(Mode::from_bits_truncate(mask.into()));
    }
    Ok(Prepared { vfs: Vfs::new(mounts, Options::default()), reach })
}

impl Prepared {
    /// Confines this process, for good.
    pub fn confine(&self, demand: Confine) -> Result<confine::Level, ConfineError> {
        let writes = self.reach.iter().any(|reach| reach.rights.writes());
        let changing = if writes { syscalls::CHANGING } else { &[] };
        let calls = syscalls::READING.iter().chain(changing).map(|allowed| (allowed.call, allowed.only_if));
        let files =
            Files { reach: &self.reach, programs: &[], libraries: &[], parts: &[], names_users: false };
        confine::apply(&files, Filter::listed(calls).and_record(), demand, false)
    }

    /// Serves the client until it hangs up.
    pub fn serve(&self, log: &mut Log, record: &Record) -> Result<(), ServeError> {
        let mut note = |event: &FileEvent<'_>| {
            let line = FileRecord {
                time: Record::now(),
                pid: record.pid,
                grant: record.grant.as_deref(),
                client: &record.client,
                file: event.deed.to_string(),
                path: Escaped(event.path).to_string(),
                to: event.to.map(|to| Escaped(to).to_string()),
                bytes: event.bytes,
                result: match event.outcome {
                    Outcome::Done => "done".to_owned(),
                    Outcome::Unfinished => "unfinished".to_owned(),
                    Outcome::Failed(fault) => fault.to_string(),
                },
            };
            // A deed that cannot be recorded has been done; the session's own record was written before it began.
            let _ = log.write(&line);
        };
        sftp::serve(io::stdin(), io::stdout(), &self.vfs, &mut note).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsystem_lines_are_read_and_nothing_else() {
        let read = |line: &str| Subsystem::read(line.as_bytes());
        let plain = Some(Subsystem::default());
        for line in [
            "internal-sftp",
            "/usr/lib/openssh/sftp-server",
            "/usr/libexec/sftp-server -f AUTH -l INFO",
            "internal-sftp -l VERBOSE",
        ] {
            assert_eq!(read(line), plain, "{line}");
        }
        assert_eq!(read("internal-sftp -l INFO -u 027"), Some(Subsystem { umask: Some(0o27) }));
        for line in [
            "sftp-server",
            "internal-sftpx",
            "INTERNAL-SFTP",
            "internal-sftp ",
            "internal-sftp\tx",
            "internal-sftp -d /",
            "internal-sftp -u 9",
            "internal-sftp -u",
            "internal-sftp -R",
            "internal-sftp -e -l DEBUG3",
            "/usr/lib/openssh/sftp-server -f DAEMON",
            "/usr/lib/../sftp-server",
            "/bin/sh",
            "internal-sftp;id",
            "/x y/sftp-server",
            "/usr/lib/openssh/sftp-server -Q requests",
            "./sftp-server",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
