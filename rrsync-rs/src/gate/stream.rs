//! Running awatch for the tool `watch`: in the workspace, which it may read, with nothing else in reach.

use std::convert::Infallible;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag};

use super::run::{arguments, execute, words};
use super::{slot, system, unconfined, write};
use crate::audit::{Log, Record};
use crate::confine::seccomp::Filter;
use crate::confine::{self, Files, Needed};
use crate::grant::Confine;
use crate::rsync::program;
use crate::session::{NoTerms, Terms};
use crate::verdict::Refusal;
use crate::watch::{PROGRAM, Stream};

/// Enters the workspace, confines this process, records that, and becomes awatch.
pub(super) fn run(
    stream: Stream,
    terms: &Terms,
    log: &mut Log,
    record: &mut Record,
) -> Result<Infallible, NoTerms> {
    "watch".clone_into(&mut record.rule);
    record.argv = shown(&stream);
    record.cwd = Some(crate::escape::Escaped::os(&stream.root.real).to_string());
    let mut program = program::beside(PROGRAM).map_err(|error| NoTerms {
        refusal: Refusal::new("system.awatch", "awatch cannot be run on this server"),
        detail: error.to_string(),
    })?;
    let slot = slot(terms)?;
    nix::unistd::fchdir(stream.root.fd.as_fd())
        .map_err(|errno| system("enter the workspace")(errno.into()))?;
    let held = program.fd.try_clone().map_err(system("hold awatch open"))?;
    let programs = [Needed { path: program.path.clone(), fd: held }];
    let files =
        Files { reach: &stream.reach, programs: &programs, libraries: &[], parts: &[], names_users: false };
    let namespace = confine::isolate(&files, &stream.root, terms.isolation).map_err(unconfined)?;
    let (argv, mut inherited) = arguments(PROGRAM, stream.args, namespace);
    inherited.extend(slot.map(OwnedFd::from));
    for fd in &inherited {
        nix::fcntl::fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))
            .map_err(|errno| system("pass a descriptor on")(errno.into()))?;
    }
    if terms.confine != Confine::Off {
        program.fd = confine::out_of_reach(&program.fd, &inherited).map_err(system("hold awatch open"))?;
    }
    let filter = Filter::reader().and_watch().and_execute(program.fd.as_raw_fd());
    let level = confine::apply(&files, filter, terms.confine, namespace).map_err(unconfined)?;
    record.confinement = Some(level);
    write(log, record, terms)?;
    Err(system("run awatch")(execute(&program, &argv, terms.confine == Confine::Off && !namespace)))
}

/// The command line as people read it.
pub fn shown(stream: &Stream) -> Vec<String> {
    words(PROGRAM, &stream.args)
}
