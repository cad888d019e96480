//! A session of a grant that the gate serves itself, by SFTP or by scp: confined first, then served in this process.
//!
//! Nothing is executed. Landlock leaves the process the workspaces, seccomp the calls that a server needs, and both
//! are in force before the first byte of the client's is read.

use std::io;

use nix::sys::stat::{Mode, umask};
use serde::Serialize;

use crate::audit::{Log, Record};
use crate::beneath::Last;
use crate::confine::seccomp::Filter;
use crate::confine::{self, ConfineError, Files, Rights};
use crate::escape::Escaped;
use crate::grant::{Access, Confine, Workspace};
use crate::policy::Exposed;
use crate::rsync::judge::Reach;
use crate::scp;
use crate::session::Terms;
use crate::sftp::{self, FileEvent, Outcome, Subsystem, syscalls};
use crate::sha256::Sum;
use crate::vfs::{Belongings, Mount, Options, Vfs};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sum>,
    result: String,
}

/// What the client speaks.
#[derive(Debug)]
pub enum Protocol {
    /// SFTP, which sftp, today's scp and sshfs speak.
    Sftp(Subsystem),
    /// The old protocol of scp.
    Scp(scp::Command),
}

impl Protocol {
    /// The rule that allows the session.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Sftp(_) => "sftp",
            Self::Scp(_) => "scp",
        }
    }

    /// The rule that ends a session in which the client does not speak it.
    fn broken_rule(&self) -> &'static str {
        match self {
            Self::Sftp(_) => "sftp.protocol",
            Self::Scp(_) => "scp.protocol",
        }
    }
}

/// A session ready to be served: its directories are open and its limits known.
pub struct Prepared {
    protocol: Protocol,
    vfs: Vfs,
    reach: Vec<Reach>,
}

/// Why a session ended before the client was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// SFTP.
    #[error(transparent)]
    Sftp(#[from] sftp::ServeError),
    /// scp.
    #[error(transparent)]
    Scp(#[from] scp::ServeError),
}

/// What is kept in a version store: the kernel lets it be added to, and nothing in it be changed or removed.
const KEPT: Rights = Rights { add: true, ..Rights::PULL };

/// Where copies for it are made.
const INCOMING: Rights = Rights { change: true, remove: true, ..KEPT };

/// What the kernel allows in a place with this access.
fn rights(workspace: &Workspace, access: Access, sums: bool) -> Rights {
    let files = &workspace.files;
    match access {
        Access::ReadOnly => Rights::PULL,
        Access::ReadWrite => Rights::ALL,
        // What does not come back is not read either, unless it has to be copied, or summed.
        Access::WriteOnly | Access::Drop => {
            Rights { read: files.atomic || files.versions || sums, ..Rights::ALL }
        }
        // Only so that the way to what is exposed can be shown.
        Access::None => Rights { list: true, ..Rights::default() },
    }
}

/// Opens what the session may use.
pub fn prepare(terms: Terms, protocol: Protocol) -> io::Result<Prepared> {
    let origin = terms.grant.as_ref().map(ToString::to_string);
    let layout = terms.layout.ok_or_else(|| io::Error::other("only a grant's session is served"))?;
    let mut reach = Vec::new();
    let mut mounts = Vec::new();
    for Exposed { name, root, workspace, .. } in terms.policy.exposed {
        let Some(name) = name else { continue };
        for (path, access) in workspace.places() {
            // A sub-path that does not exist has nothing to allow.
            if let Ok(held) = root.hold(path, Last::Follow) {
                let real = root.real_of(&held.at);
                let rights = rights(&workspace, access, terms.record_sha256);
                reach.push(Reach::new(held.fd, real, rights));
            }
        }
        let belongings = Belongings::open(&layout, &root, &workspace, origin.clone())?;
        if let Some(store) = &belongings.store {
            for ((dir, real), rights) in store.directories().into_iter().zip([KEPT, INCOMING]) {
                reach.push(Reach::new(dir.try_clone()?, real, rights));
            }
        }
        mounts.push(Mount::new(name, root, workspace, belongings));
    }
    if let Protocol::Sftp(Subsystem { umask: Some(mask) }) = protocol {
        umask(Mode::from_bits_truncate(mask.into()));
    }
    let options = Options {
        largest_file: terms.rules.limits.file_size,
        sums: terms.record_sha256,
        ..Options::default()
    };
    Ok(Prepared { protocol, vfs: Vfs::new(mounts, options), reach })
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

    /// The rules that allow the session, and that end it when the client does not speak its protocol.
    pub fn rules(&self) -> [&'static str; 2] {
        [self.protocol.rule(), self.protocol.broken_rule()]
    }

    /// Serves the client until it hangs up, or all is done; tells whether all went well.
    pub fn serve(&self, log: &mut Log, record: &Record) -> Result<bool, ServeError> {
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
                sha256: event.sha256,
                result: match event.outcome {
                    Outcome::Done => "done".to_owned(),
                    Outcome::Unfinished => "unfinished".to_owned(),
                    Outcome::Failed(fault) => fault.to_string(),
                },
            };
            // A deed that cannot be recorded has been done; the session's own record was written before it began.
            let _ = log.write_deed(&line);
        };
        let (input, output) = (io::stdin(), io::stdout());
        match &self.protocol {
            Protocol::Sftp(_) => Ok(sftp::serve(input, output, &self.vfs, &mut note).1.map(|()| true)?),
            Protocol::Scp(command) => Ok(scp::serve(input, output, &self.vfs, command, &mut note)?),
        }
    }
}
