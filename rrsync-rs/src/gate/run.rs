//! Running what was allowed: the working directory, the confinement, the record, and rsync in this process's place.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;

use nix::fcntl::{AtFlags, FcntlArg, FdFlag, OFlag};
use nix::sys::stat::Mode;

use super::decide::Allowed;
use super::staging::Staging;
use super::{system, unconfined, write};
use crate::audit::{Log, Record};
use crate::confine::seccomp::Filter;
use crate::confine::{self, Files, Rights};
use crate::grant::Confine;
use crate::rsync::judge::{Arg, Plan};
use crate::rsync::program::{self, Program};
use crate::rsync::{ENVIRONMENT, Place};
use crate::session::{self, NoTerms, Terms};
use crate::verdict::Refusal;

/// Enters the working directory, confines this process, records that, and becomes rsync.
pub(super) fn run(
    mut allowed: Allowed,
    held: Held,
    terms: &Terms,
    log: &mut Log,
    record: &mut Record,
) -> Result<Infallible, NoTerms> {
    let made = enter(&mut allowed.plan);
    let Err(failed) = confined(allowed, held, terms, log, record);
    // What was made for a session that does not happen goes again.
    if let Some((directory, name)) = made {
        let _ = nix::unistd::unlinkat(&directory, name.as_os_str(), nix::unistd::UnlinkatFlags::RemoveDir);
    }
    Err(failed)
}

fn confined(
    allowed: Allowed,
    held: Held,
    terms: &Terms,
    log: &mut Log,
    record: &mut Record,
) -> Result<Infallible, NoTerms> {
    let Allowed { mut plan, mut program, names_users } = allowed;
    let mut staging = stage(&mut plan, terms.confine)?;
    let held = if staging.is_some() { held.anew(terms)? } else { held };
    record.argv = shown(&plan);
    record.cwd = Some(crate::escape::Escaped::os(&plan.cwd.real).to_string());
    nix::unistd::fchdir(plan.cwd.fd.as_fd()).map_err(|errno| system("enter the directory")(errno.into()))?;
    let charsets = record.argv.iter().any(|word| word.starts_with("--iconv="));
    let (programs, libraries) = program::files(&program, charsets).map_err(system("open rsync's loader"))?;
    let files = Files {
        reach: &plan.reach,
        programs: &programs,
        libraries: &libraries,
        parts: &plan.parts,
        names_users,
    };
    let namespace = confine::isolate(&files, &plan.cwd, plan.isolation).map_err(unconfined)?;
    if let Some(staging) = staging.as_mut().filter(|_| namespace) {
        staging.enter_namespace().map_err(system("enter the staging directory"))?;
    }
    let lock = if namespace { session::lock_anew(held.lock, terms.lock.as_deref())? } else { held.lock };
    let (argv, mut inherited) = arguments("rsync", plan.args, namespace);
    inherited.extend(lock.into_iter().chain(held.slot).map(OwnedFd::from));
    if let Some(staging) = &staging {
        inherited.extend(staging.inherited(namespace).map_err(system("pass a descriptor on"))?);
    }
    pass_on(&inherited)?;
    let largest = terms.rules.limits.file_size.filter(|_| files.write());
    if terms.confine != Confine::Off {
        program.fd = confine::out_of_reach(&program.fd, &inherited).map_err(system("hold rsync open"))?;
    }
    let filter = if files.write() {
        let special = plan.reach.iter().any(|reach| reach.rights.special);
        Filter::writer(special, terms.rules.setuid).and_limit_files(largest.is_some())
    } else {
        Filter::reader()
    };
    let filter = filter.and_execute(program.fd.as_raw_fd());
    let level = confine::apply(&files, filter, terms.confine, namespace).map_err(unconfined)?;
    record.confinement = Some(level);
    write(log, record, terms)?;
    log.write_as_rrsync(record);
    if let Some(largest) = largest {
        // Only now: the records are files too, and larger.
        confine::limit_files(largest).map_err(system("limit the size of files"))?;
    }
    let by_path = terms.confine == Confine::Off && !namespace;
    let failed = execute(&program, &argv, by_path);
    Err(system("run rsync")(failed))
}

/// Lets rsync inherit descriptors.
fn pass_on(inherited: &[OwnedFd]) -> Result<(), NoTerms> {
    let pass = |fd| nix::fcntl::fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()));
    let passed = inherited.iter().try_for_each(|fd| pass(fd).map(drop));
    passed.map_err(|errno| system("pass a descriptor on")(errno.into()))
}

/// Makes the staging directory of a session that needs one, where the kernel can hold it to that, and has rsync use it.
fn stage(plan: &mut Plan, demand: Confine) -> Result<Option<Staging>, NoTerms> {
    if !plan.staged {
        return Ok(None);
    }
    if !confine::can_stage(demand).map_err(unconfined)? {
        // Nothing but rsync's own options stands between the client and what is there; the record says how little that is.
        for reach in plan.reach.iter_mut().filter(|reach| reach.rights.add) {
            reach.rights = reach.rights.and(Rights::ALL);
        }
        return Ok(None);
    }
    let failed = system("make a staging directory");
    let mut staging = Staging::new(&plan.cwd).map_err(|error| match error.kind() {
        // rsync would try on, and leave an empty file for each that it may make and not write.
        io::ErrorKind::PermissionDenied => {
            Refusal::new("path.open", format!("{} cannot be written", plan.targets.join(", "))).into()
        }
        _ => failed(error),
    })?;
    staging.start_sweeper().map_err(&failed)?;
    plan.reach.push(staging.reach(plan.reach.iter().any(|reach| reach.rights.special)).map_err(&failed)?);
    let args = staging.args(plan.deletes).map_err(&failed)?;
    let end = plan.args.iter().position(|arg| matches!(arg, Arg::Text(word) if word == "--"));
    let end = end.unwrap_or_default();
    plan.args.splice(end..end, args);
    Ok(Some(staging))
}

/// What a session holds for as long as rsync runs: the lock of its directory, and its place among the key's sessions.
pub(super) struct Held {
    pub(super) lock: Option<File>,
    pub(super) slot: Option<File>,
}

impl Held {
    /// The same by descriptors that nobody else has. The process that sweeps was started with copies of those before, and the kernel
    /// says that it has started before it closes them: this session could have ended by then.
    fn anew(self, terms: &Terms) -> Result<Self, Refusal> {
        let Self { lock, slot } = self;
        if let Some(slot) = slot {
            let _ = slot.unlock();
        }
        Ok(Self { lock: session::lock_anew(lock, terms.lock.as_deref())?, slot: super::slot(terms)? })
    }
}

/// Makes the destination directory that is missing, and moves the plan into it. Returns what was made, and where.
fn enter(plan: &mut Plan) -> Option<(OwnedFd, OsString)> {
    let name = plan.make.take()?;
    let made = nix::sys::stat::mkdirat(&plan.cwd.fd, name.as_os_str(), Mode::from_bits_truncate(0o777));
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let open = || nix::fcntl::openat(&plan.cwd.fd, name.as_os_str(), flags, Mode::empty());
    if let Ok(fd) = made.and_then(|()| open()) {
        let real = plan.cwd.real.join(&name);
        let above = std::mem::replace(&mut plan.cwd, Place { fd, real });
        Some((above.fd, name))
    } else {
        // What is wrong here is rsync's to report: it is told to make the directory itself.
        let mut directory = name;
        directory.push("/");
        plan.args.pop();
        plan.args.push(Arg::Text(directory));
        None
    }
}

/// The command line as people read it: pinned paths by the real name of what they are pinned to.
pub fn shown(plan: &Plan) -> Vec<String> {
    words("rsync", &plan.args)
}

/// A command line as people read it.
pub(super) fn words(program: &str, args: &[Arg]) -> Vec<String> {
    let text = |text: &OsString| crate::escape::Escaped::os(text).to_string();
    let arg = |arg: &Arg| match arg {
        Arg::Text(word) => text(word),
        Arg::Pinned { prefix, real, rest, .. } => {
            format!("{prefix}{}{}", crate::escape::Escaped::os(real), text(rest))
        }
    };
    std::iter::once(program.to_owned()).chain(args.iter().map(arg)).collect()
}

/// The command line as rsync gets it, and the descriptors that it refers to. In a namespace of its own there are none:
/// there a path can lead nowhere else, and a descriptor from outside could.
pub(super) fn arguments(program: &str, args: Vec<Arg>, namespace: bool) -> (Vec<OsString>, Vec<OwnedFd>) {
    let mut argv = vec![OsString::from(program)];
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
pub(super) fn execute(program: &Program, argv: &[OsString], by_path: bool) -> std::io::Error {
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
