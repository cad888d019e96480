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
use crate::confine::{self, ConfineError, Files};
use crate::escape::Escaped;
use crate::grant::{Access, Confine};
use crate::policy::Exposed;
use crate::rsync::judge::Reach;
use crate::session::Terms;
use crate::sftp::{self, FileEvent, Outcome, ServeError, Subsystem, syscalls};
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

/// A session ready to be served: its directories are open and its limits known.
pub struct Prepared {
    vfs: Vfs,
    reach: Vec<Reach>,
}

/// Opens what the session may use.
pub fn prepare(terms: Terms, subsystem: Subsystem) -> io::Result<Prepared> {
    let origin = terms.grant.as_ref().map(ToString::to_string);
    let layout = terms.layout.ok_or_else(|| io::Error::other("only a grant's session is served"))?;
    let mut reach = Vec::new();
    let mut mounts = Vec::new();
    for Exposed { name, root, workspace, .. } in terms.policy.exposed {
        let Some(name) = name else { continue };
        let reachable = |dir, real, write| Reach { dir, real, write, special_files: false };
        for (path, access) in workspace.places().filter(|(_, access)| *access != Access::None) {
            // A sub-path that does not exist has nothing to allow.
            if let Ok(held) = root.hold(path, Last::Follow) {
                let real = root.real().join(&held.at);
                reach.push(reachable(held.fd, real, access.may_write()));
            }
        }
        let belongings = Belongings::open(&layout, &root, &workspace, origin.clone())?;
        if let Some(store) = &belongings.store {
            for (dir, real) in store.directories() {
                reach.push(reachable(dir.try_clone()?, real, true));
            }
        }
        mounts.push(Mount::new(name, root, workspace, belongings));
    }
    if let Some(mask) = subsystem.umask {
        umask(Mode::from_bits_truncate(mask.into()));
    }
    let options = Options {
        largest_file: terms.rules.limits.file_size,
        sums: terms.record_sha256,
        ..Options::default()
    };
    Ok(Prepared { vfs: Vfs::new(mounts, options), reach })
}

impl Prepared {
    /// Confines this process, for good.
    pub fn confine(&self, demand: Confine) -> Result<confine::Level, ConfineError> {
        let writes = self.reach.iter().any(|reach| reach.write);
        let changing = if writes { syscalls::CHANGING } else { &[] };
        let calls = syscalls::READING.iter().chain(changing).map(|allowed| (allowed.call, allowed.only_if));
        let files = Files { reach: &self.reach, programs: &[], libraries: &[], names_users: false };
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
                sha256: event.sha256,
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
