//! One session, from the command line to the program that runs.
//!
//! Terms → request → judge → lock → log → confine → run. A step that fails ends the session with a refusal that is
//! recorded; nothing is tried in another way.

mod decide;
mod end;
mod run;
mod staging;
mod stream;

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::audit::{Log, Record};
use crate::cli::{self, Args, Gate, Source};
use crate::confine::{self, ConfineError};
use crate::explain;
use crate::exposure::System;
use crate::grant::Tool;
use crate::request::Request;
use crate::scp::Direction;
use crate::serve::{self, Protocol};
use crate::session::{self, Environment, Named, NoTerms, Terms};
use crate::verdict::{Change, Refusal};
use crate::watch;

pub use decide::{Allowed, complete, decide, exists};
pub use run::shown;
pub use stream::shown as shown_stream;

/// The usage, for `-h`.
pub const USAGE: &str = "\
usage: rrsync-rs [-ro|-wo] [-munge] [-absolute] [-no-del] [-no-lock] [-no-overwrite] DIR
       rrsync-rs --grant NAME
       rrsync-rs --explain [--json] (--grant NAME | [OPTIONS] DIR) -- 'COMMAND'

Restricts an SSH key to rsync with one directory, or to what its grant says.
Put it into ~/.ssh/authorized_keys, with its whole path:
  restrict,command=\"/home/you/.local/bin/rrsync-rs -ro DIR\" ssh-ed25519 AAAA...

  -ro            allow only reading from DIR; implies -no-del and -no-lock
  -wo            allow only writing to DIR
  -munge         store symlinks munged on the server (rsync --munge-links)
  -absolute      accept DIR in front of a path
  -no-del        refuse rsync's delete and remove options
  -no-lock       allow several transfers at once
  -no-overwrite  never replace existing files
  -rsync PATH    the rsync to run (/usr/bin/rsync)
  -allow LIST    options that follow links, with commas: copy-links, keep-dirlinks ...
  -deny LIST     refuse these options too: owner, compress ...
  -force LIST    add these options: bwlimit=1000, fsync ...
  -timeout N     end a transfer after N seconds without data
  -probes        answer `test -d PATH` (-e, -f)
  -confine HOW   required, best-effort or off: what to do where the kernel cannot confine rsync
  -namespace HOW auto, required or off: whether rsync gets a file system with nothing in it but DIR
  --grant NAME   use the policy in ~/.config/akeys/grants/NAME.toml
  --explain      print the verdict on COMMAND, and run nothing
  -h, -help      print this
";

/// The gate's exit codes; a session that runs rsync ends with rsync's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// A probe was answered, or something was printed.
    Done = 0,
    /// The request, or the command line, was refused.
    Refused = 1,
}

/// Runs the gate.
pub fn main() -> ExitCode {
    if let Some(swept) = staging::sweeper(std::env::args_os().skip(1)) {
        return ExitCode::from(if swept.is_ok() { Exit::Done } else { Exit::Refused } as u8);
    }
    if let Some(code) = end::awaited(std::env::args_os().skip(1)) {
        return code;
    }
    let environment = Environment::read();
    let exit = match cli::parse(std::env::args_os().skip(1)) {
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "rrsync-rs error: {error}");
            Exit::Refused
        }
        Ok(Args::Help) => print(USAGE),
        Ok(Args::Version) => print(concat!("rrsync-rs ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Args::Gate(gate)) => match &gate.explain {
            Some(asked) => {
                let exposition = explain::explain(&gate, asked.command.as_deref(), &environment);
                let text = if asked.json { exposition.to_json() } else { exposition.to_string() };
                match print(&text) {
                    Exit::Done if exposition.allowed => Exit::Done,
                    _ => Exit::Refused,
                }
            }
            None => return serve(&gate, &environment),
        },
    };
    ExitCode::from(exit as u8)
}

fn print(text: &str) -> Exit {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Exit::Refused,
        Ok(()) | Err(_) => Exit::Done,
    }
}

/// Serves the session. Comes back only when nothing was run in this process.
fn serve(gate: &Gate, environment: &Environment) -> ExitCode {
    confine::close_inherited();
    let named = Named::read(gate, environment.layout.as_ref());
    if !gate.within && named.as_ref().is_ok_and(Named::records_end) {
        // Where no process can be started, the session does without the record of its end.
        if let Ok(code) = end::watch() {
            return code;
        }
    }
    let drop_in = matches!(gate.source, Source::DropIn(_));
    let mut log = Log::open(environment.layout.as_ref(), drop_in);
    let mut record = first_record(gate, environment);
    let refused = match session(gate, named, environment, &mut log, &mut record) {
        Ok(Served { yes: true }) => return ExitCode::from(Exit::Done as u8),
        Ok(Served { yes: false }) => return ExitCode::from(Exit::Refused as u8),
        Err(refused) => refused,
    };
    refused.refusal.rule.clone_into(&mut record.rule);
    record.verdict = "refuse";
    record.reason = Some(refused.detail);
    record.learn.clone_from(&refused.refusal.change);
    let _ = log.write(&record);
    let begun = record.rule == "scp.protocol";
    tell(&refused.refusal, !drop_in && !begun, environment);
    ExitCode::from(Exit::Refused as u8)
}

/// Tells the client why. A client of the old scp waits for an answer in its protocol, and some take none for a good one.
fn tell(refusal: &Refusal, in_protocol: bool, environment: &Environment) {
    let _ = match Request::read(environment.command.as_deref()) {
        Ok(Request::Scp(command)) if in_protocol => {
            if command.direction == Direction::Source {
                await_first_word();
            }
            writeln!(std::io::stdout(), "\u{2}rrsync-rs: {refusal}")
        }
        _ => writeln!(std::io::stderr(), "rrsync-rs: {refusal}"),
    };
}

/// Waits a moment for the client's first byte: an scp that finds nobody to take it does not look for the answer.
fn await_first_word() {
    let stdin = std::io::stdin();
    let patience = PollTimeout::from(10_000_u16);
    let _ = poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], patience);
}

/// A session that ends here has answered a question.
struct Served {
    yes: bool,
}

impl From<Refusal> for NoTerms {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.message.clone();
        Self { refusal, detail }
    }
}

/// The story of one session.
fn session(
    gate: &Gate,
    named: Result<Named<'_>, NoTerms>,
    environment: &Environment,
    log: &mut Log,
    record: &mut Record,
) -> Result<Served, NoTerms> {
    let layout = environment.layout.as_ref();
    let named = named?;
    let terms = named.open(gate, layout, &layout.map(System::recalled).unwrap_or_default())?;
    record.warnings.clone_from(&terms.warnings);
    let learns = terms.learn;
    under(terms, environment, log, record).map_err(|mut refused| {
        refused.refusal.change.take_if(|_| !learns);
        refused
    })
}

/// The session under its terms.
fn under(
    terms: Terms,
    environment: &Environment,
    log: &mut Log,
    record: &mut Record,
) -> Result<Served, NoTerms> {
    let allowed = match Request::read(environment.command.as_deref())? {
        Request::Probe => {
            "probe".clone_into(&mut record.rule);
            write(log, record, &terms)?;
            return Ok(Served { yes: true });
        }
        Request::Sftp(subsystem) => return files(Protocol::Sftp(subsystem), terms, log, record),
        Request::Scp(command) => return files(Protocol::Scp(command), terms, log, record),
        Request::Watch(asked) => {
            let stream = watch::judge(&asked, &terms, environment.layout.as_ref())?;
            return stream::run(stream, &terms, log, record).map(|never| match never {});
        }
        Request::Exists(wanted, path) => {
            let yes = exists(wanted, &path, &terms)?;
            "probe.exists".clone_into(&mut record.rule);
            write(log, record, &terms)?;
            return Ok(Served { yes });
        }
        Request::Rsync(direction, parsed) => {
            let parsed = complete(parsed, &mut record.request)?;
            decide(direction, &parsed, &terms, environment)?
        }
    };
    let lock = terms.lock.as_deref().map(session::lock).transpose()?.flatten();
    let slot = slot(&terms)?;
    let held = run::Held { lock, slot };
    allowed.plan.direction.rule().clone_into(&mut record.rule);
    run::run(allowed, held, &terms, log, record).map(|never| match never {})
}

/// Serves files in this process.
fn files(protocol: Protocol, terms: Terms, log: &mut Log, record: &mut Record) -> Result<Served, NoTerms> {
    files_allowed(&protocol, &terms)?;
    let slot = slot(&terms)?;
    let confine = terms.confine;
    let session = serve::prepare(terms, protocol).map_err(system("open the workspaces"))?;
    let level = session.confine(confine).map_err(unconfined)?;
    record.confinement = Some(level);
    let [rule, broken] = session.rules();
    rule.clone_into(&mut record.rule);
    // Only grants come this far, and a grant's session is recorded or refused.
    log.write(record).map_err(unrecorded)?;
    let served = session.serve(log, record);
    drop(slot);
    served.map(|yes| Served { yes }).map_err(|error| NoTerms {
        refusal: Refusal::new(broken, "the session was ended"),
        detail: error.to_string(),
    })
}

/// Whether this key may be used with the protocol. rrsync's options are for rsync alone.
pub fn files_allowed(protocol: &Protocol, terms: &Terms) -> Result<(), Refusal> {
    let has = |wanted: &[Tool]| terms.tools.iter().any(|tool| wanted.contains(tool));
    match protocol {
        Protocol::Sftp(_) if !has(&[Tool::Sftp, Tool::Scp]) => {
            let refusal = Refusal::new("tool.sftp", "this key may not be used with sftp or scp");
            Err(refusal.unless(Some(Change::Tool(Tool::Sftp))))
        }
        Protocol::Scp(_) if !has(&[Tool::Scp]) => {
            let refusal = Refusal::new("tool.scp", "this key may not be used with scp");
            Err(refusal.unless(Some(Change::Tool(Tool::Scp))))
        }
        Protocol::Sftp(_) => Ok(()),
        Protocol::Scp(command) => command.allowed(&terms.policy),
    }
}

/// One of the key's slots, when its sessions are limited.
fn slot(terms: &Terms) -> Result<Option<File>, Refusal> {
    match (&terms.slots, terms.rules.limits.sessions) {
        (Some(directory), Some(sessions)) => session::slot(directory, sessions).map(Some),
        _ => Ok(None),
    }
}

fn first_record(gate: &Gate, environment: &Environment) -> Record {
    let (grant, dir) = match &gate.source {
        Source::Grant(name) => (Some(name.to_string()), None),
        Source::DropIn(options) => (None, Some(crate::escape::Escaped::os(&options.dir).to_string())),
    };
    Record {
        time: Record::now(),
        pid: std::process::id(),
        grant,
        dir,
        client: environment.client.clone(),
        request: Record::request(environment.command.as_deref().map(std::os::unix::ffi::OsStrExt::as_bytes)),
        verdict: "allow",
        rule: String::new(),
        reason: None,
        argv: Vec::new(),
        cwd: None,
        confinement: None,
        learn: None,
        warnings: Vec::new(),
    }
}

/// Writes the record of an allowed request; a grant's session that leaves no record is none.
fn write(log: &mut Log, record: &Record, terms: &Terms) -> Result<(), NoTerms> {
    match log.write(record) {
        Err(error) if terms.audit_required => Err(unrecorded(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn unrecorded(error: std::io::Error) -> NoTerms {
    let refusal = Refusal::new("system.audit", "this session cannot be recorded");
    NoTerms { refusal, detail: error.to_string() }
}

#[allow(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn unconfined(error: ConfineError) -> NoTerms {
    let refusal =
        Refusal::new("system.confine", "this server cannot confine the session as this key demands");
    NoTerms { refusal, detail: error.to_string() }
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> NoTerms {
    move |error| NoTerms {
        refusal: Refusal::new("system.run", format!("the server cannot {what}")),
        detail: format!("cannot {what}: {error}"),
    }
}
