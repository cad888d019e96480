//! One session, from the command line to the program that runs.
//!
//! Terms → request → judge → lock → log → confine → run. A step that fails ends the session with a refusal that is
//! recorded; nothing is tried in another way.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::fcntl::{AtFlags, FcntlArg, FdFlag, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::Mode;

use crate::audit::{Log, Record};
use crate::cli::{self, Args, Gate, Source};
use crate::confine::seccomp::Filter;
use crate::confine::{self, ConfineError, Files};
use crate::explain;
use crate::grant::{Confine, Tool};
use crate::listing;
use crate::request::Request;
use crate::rsync::judge::{Arg, Direction, Plan, judge};
use crate::rsync::options::Parsed;
use crate::rsync::program::{self, Program};
use crate::rsync::{ENVIRONMENT, Place, secluded};
use crate::session::{self, Environment, NoTerms, Terms};
use crate::verdict::Refusal;

/// The usage, for `-h`.
pub const USAGE: &str = "\
usage: rrsync-rs [-ro|-wo] [-munge] [-absolute] [-no-del] [-no-lock] [-no-overwrite] DIR
       rrsync-rs --grant NAME
       rrsync-rs --explain [--json] (--grant NAME | [OPTIONS] DIR) -- 'COMMAND'

Restricts an SSH key to rsync with one directory, or to what its grant says.
Put it into ~/.ssh/authorized_keys:  restrict,command=\"rrsync-rs -ro DIR\" ssh-ed25519 AAAA...

  -ro            allow only reading from DIR; implies -no-del and -no-lock
  -wo            allow only writing to DIR
  -munge         store symlinks munged on the server (rsync --munge-links)
  -absolute      accept DIR in front of a path
  -no-del        refuse rsync's delete and remove options
  -no-lock       allow several transfers at once
  -no-overwrite  never replace existing files
  -rsync PATH    the rsync to run (/usr/bin/rsync)
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
            None => serve(&gate, &environment),
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

/// Serves the session. Comes back only when nothing was run.
fn serve(gate: &Gate, environment: &Environment) -> Exit {
    confine::close_inherited();
    let drop_in = matches!(gate.source, Source::DropIn(_));
    let mut log = Log::open(environment.layout.as_ref(), drop_in);
    let mut record = first_record(gate, environment);
    let refused = match session(gate, environment, &mut log, &mut record) {
        Ok(Served::Probe) => return Exit::Done,
        Err(refused) => refused,
    };
    refused.refusal.rule.clone_into(&mut record.rule);
    record.verdict = "refuse";
    record.reason = Some(refused.detail);
    let _ = log.write(&record);
    let _ = writeln!(std::io::stderr(), "rrsync-rs: {}", refused.refusal);
    Exit::Refused
}

/// What a session that ends without an error has done.
enum Served {
    /// Said that it is there.
    Probe,
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
    environment: &Environment,
    log: &mut Log,
    record: &mut Record,
) -> Result<Served, NoTerms> {
    let terms = session::terms(gate, environment.layout.as_ref())?;
    record.warnings.clone_from(&terms.warnings);
    let allowed = match Request::read(environment.command.as_deref())? {
        Request::Probe => {
            "probe".clone_into(&mut record.rule);
            write(log, record, &terms)?;
            return Ok(Served::Probe);
        }
        Request::Rsync(direction, parsed) => {
            let parsed = complete(parsed, &mut record.request)?;
            decide(direction, &parsed, &terms, environment)?
        }
    };
    let lock = terms.lock.as_deref().map(session::lock).transpose()?.flatten();
    allowed.plan.direction.rule().clone_into(&mut record.rule);
    run(allowed, lock, &terms, log, record).map(|never| match never {})
}

/// Reads the arguments that `-s` leaves for standard input, and adds them to the `request` as people read it.
pub fn complete(parsed: Parsed, request: &mut String) -> Result<Parsed, Refusal> {
    if !parsed.secluded {
        return Ok(parsed);
    }
    // Unbuffered, so that not one byte of the transfer is taken.
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let stdin = stdin.map_err(|error| Refusal::new("rsync.secluded", error.kind().to_string()))?;
    let mut stdin = Patient { input: File::from(stdin), until: Instant::now() + Duration::from_secs(60) };
    let arguments = secluded::read(&mut stdin)?;
    let shown = Record::request(Some(&arguments.join(&b' ')));
    request.push_str(" <stdin: ");
    request.push_str(&shown);
    request.push('>');
    secluded::merge(parsed, &arguments)
}

/// Standard input until a moment: nothing is held for a client that does not go on.
struct Patient {
    input: File,
    until: Instant,
}

impl std::io::Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        match nix::poll::poll(&mut [PollFd::new(self.input.as_fd(), PollFlags::POLLIN)], left)? {
            0 => Err(std::io::ErrorKind::TimedOut.into()),
            _ => self.input.read(buffer),
        }
    }
}

/// An rsync request that may run, and the program that it runs.
#[derive(Debug)]
pub struct Allowed {
    /// How.
    pub plan: Plan,
    /// What.
    pub program: Program,
    /// Whether it keeps access control lists (`-A`), which name users.
    pub names_users: bool,
}

/// The judge's verdict on an rsync request under `terms`.
pub fn decide(
    direction: Direction,
    parsed: &Parsed,
    terms: &Terms,
    environment: &Environment,
) -> Result<Allowed, NoTerms> {
    if !terms.tools.contains(&Tool::Rsync) {
        return Err(Refusal::new("tool.rsync", "this key may not be used with rsync").into());
    }
    let paths = parsed.paths.as_deref().unwrap_or_default();
    let program =
        program::find(terms.rsync.as_deref(), environment.layout.as_ref()).map_err(|error| NoTerms {
            refusal: Refusal::new("system.rsync", "rsync cannot be run on this server"),
            detail: error.to_string(),
        })?;
    let plan = match &terms.listing {
        Some(directory)
            if direction == Direction::Pull && listing::is_wanted(parsed, paths, &terms.policy) =>
        {
            let names = listing::expose(directory, &terms.policy).map_err(system("list the workspaces"))?;
            judge(direction, parsed, &[], &names, program.features)?
        }
        _ => judge(direction, parsed, paths, &terms.policy, program.features)?,
    };
    Ok(Allowed { plan, program, names_users: parsed.has_letter(b'A') })
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
        warnings: Vec::new(),
    }
}

/// Writes the record of an allowed request; a grant's session that leaves no record is none.
fn write(log: &mut Log, record: &Record, terms: &Terms) -> Result<(), NoTerms> {
    match log.write(record) {
        Err(error) if terms.audit_required => Err(NoTerms {
            refusal: Refusal::new("system.audit", "this session cannot be recorded"),
            detail: error.to_string(),
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> NoTerms {
    move |error| NoTerms {
        refusal: Refusal::new("system.run", format!("the server cannot {what}")),
        detail: format!("cannot {what}: {error}"),
    }
}

/// Enters the working directory, confines this process, records that, and becomes rsync.
fn run(
    allowed: Allowed,
    lock: Option<File>,
    terms: &Terms,
    log: &mut Log,
    record: &mut Record,
) -> Result<Infallible, NoTerms> {
    let Allowed { mut plan, mut program, names_users } = allowed;
    enter(&mut plan);
    record.argv = shown(&plan);
    record.cwd = Some(crate::escape::Escaped::os(&plan.cwd.real).to_string());
    nix::unistd::fchdir(plan.cwd.fd.as_fd()).map_err(|errno| system("enter the directory")(errno.into()))?;
    let (programs, libraries) = program::files(&program).map_err(system("open rsync's loader"))?;
    let files = Files { reach: &plan.reach, programs: &programs, libraries: &libraries, names_users };
    let unconfined = |error: ConfineError| NoTerms {
        refusal: Refusal::new("system.confine", "this server cannot confine the session as this key demands"),
        detail: error.to_string(),
    };
    let namespace = confine::isolate(&files, &plan.cwd, terms.isolation).map_err(unconfined)?;
    let lock = if namespace { session::lock_anew(lock, terms.lock.as_deref())? } else { lock };
    let (argv, mut inherited) = arguments(plan.args, namespace);
    inherited.extend(lock.map(OwnedFd::from));
    for fd in &inherited {
        nix::fcntl::fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))
            .map_err(|errno| system("pass a descriptor on")(errno.into()))?;
    }
    if terms.confine != Confine::Off {
        program.fd = confine::out_of_reach(&program.fd).map_err(system("hold rsync open"))?;
    }
    let filter = if plan.reach.iter().any(|reach| reach.write) {
        Filter::writer(plan.reach.iter().any(|reach| reach.special_files))
    } else {
        Filter::reader()
    };
    let filter = filter.and_execute(program.fd.as_raw_fd());
    let level = confine::apply(&files, filter, terms.confine, namespace).map_err(unconfined)?;
    record.confinement = Some(level);
    write(log, record, terms)?;
    log.write_as_rrsync(record);
    let by_path = terms.confine == Confine::Off && !namespace;
    Err(system("run rsync")(execute(&program, &argv, by_path)))
}

/// Makes the destination directory that is missing, and moves the plan into it.
fn enter(plan: &mut Plan) {
    let Some(name) = plan.make.take() else { return };
    let made = nix::sys::stat::mkdirat(&plan.cwd.fd, name.as_os_str(), Mode::from_bits_truncate(0o777));
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let open = || nix::fcntl::openat(&plan.cwd.fd, name.as_os_str(), flags, Mode::empty());
    if let Ok(fd) = made.and_then(|()| open()) {
        plan.cwd = Place { fd, real: plan.cwd.real.join(&name) };
    } else {
        // What is wrong here is rsync's to report: it is told to make the directory itself.
        let mut directory = name;
        directory.push("/");
        plan.args.pop();
        plan.args.push(Arg::Text(directory));
    }
}

/// The command line as people read it: pinned paths by the real name of what they are pinned to.
pub fn shown(plan: &Plan) -> Vec<String> {
    let text = |text: &OsString| crate::escape::Escaped::os(text).to_string();
    let arg = |arg: &Arg| match arg {
        Arg::Text(word) => text(word),
        Arg::Pinned { prefix, real, rest, .. } => {
            format!("{prefix}{}{}", crate::escape::Escaped::os(real), text(rest))
        }
    };
    std::iter::once("rsync".to_owned()).chain(plan.args.iter().map(arg)).collect()
}

/// The command line as rsync gets it, and the descriptors that it refers to. In a namespace of its own there are none:
/// there a path can lead nowhere else, and a descriptor from outside could.
fn arguments(args: Vec<Arg>, namespace: bool) -> (Vec<OsString>, Vec<OwnedFd>) {
    let mut argv = vec![OsString::from("rsync")];
    let mut inherited = Vec::new();
    for arg in args {
        match arg {
            Arg::Text(word) => argv.push(word),
            Arg::Pinned { prefix, real, rest, .. } if namespace => {
                let mut word = OsString::from(prefix);
                word.push(real);
                word.push(rest);
                argv.push(word);
            }
            Arg::Pinned { prefix, fd, rest, .. } => {
                let mut word = OsString::from(format!("{prefix}/proc/self/fd/{}", fd.as_raw_fd()));
                word.push(rest);
                argv.push(word);
                inherited.push(fd);
            }
        }
    }
    (argv, inherited)
}

/// Becomes rsync; comes back only with an error.
fn execute(program: &Program, argv: &[OsString], by_path: bool) -> std::io::Error {
    if by_path {
        let mut command = std::process::Command::new(&program.path);
        return command.args(&argv[1..]).env_clear().envs(ENVIRONMENT.iter().copied()).exec();
    }
    let words: Result<Vec<CString>, _> = argv.iter().map(|word| CString::new(word.as_bytes())).collect();
    let variables: Result<Vec<CString>, _> =
        ENVIRONMENT.iter().map(|(name, value)| CString::new(format!("{name}={value}"))).collect();
    match (words, variables) {
        (Ok(argv), Ok(variables)) => {
            match nix::unistd::execveat(&program.fd, c"", &argv, &variables, AtFlags::AT_EMPTY_PATH) {
                Ok(never) => match never {},
                Err(errno) => errno.into(),
            }
        }
        (Err(error), _) | (_, Err(error)) => error.into(),
    }
}
