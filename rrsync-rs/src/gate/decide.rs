//! Deciding on one request: the judge's verdict, and the answers that need no program.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::SFlag;

use super::system;
use crate::audit::Record;
use crate::grant::{Confine, Tool};
use crate::listing;
use crate::request::Exists;
use crate::rsync::judge::{Direction, Plan, Setting, judge};
use crate::rsync::options::Parsed;
use crate::rsync::program::{self, Program};
use crate::rsync::{self, secluded};
use crate::session::{Environment, NoTerms, Terms};
use crate::verdict::{Change, Refusal};

/// The answer to `test -d PATH` and the like.
pub fn exists(wanted: Exists, path: &[u8], terms: &Terms) -> Result<bool, Refusal> {
    if !terms.rules.probes {
        let refusal = Refusal::new("request.command", "this key runs no such command");
        return Err(refusal.unless(Some(Change::Probes)));
    }
    let found = rsync::find(path, &terms.policy)?;
    Ok(found.is_some_and(|kind| match wanted {
        Exists::Anything => true,
        Exists::Directory => kind == SFlag::S_IFDIR,
        Exists::File => kind == SFlag::S_IFREG,
    }))
}

/// Reads the arguments that `-s` leaves for standard input, and adds them to the `request` as people read it.
pub fn complete(parsed: Parsed, request: &mut String) -> Result<Parsed, Refusal> {
    if !parsed.secluded {
        return Ok(parsed);
    }
    // Unbuffered, so that not one byte of the transfer is taken.
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let stdin = stdin.map_err(|error| Refusal::new("rsync.secluded", error.kind().to_string()))?;
    let mut stdin = Patient { input: File::from(stdin), until: Instant::now() + Duration::from_mins(1) };
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
        let refusal = Refusal::new("tool.rsync", "this key may not be used with rsync");
        return Err(refusal.unless(Some(Change::Tool(Tool::Rsync))).into());
    }
    let paths = parsed.paths.as_deref().unwrap_or_default();
    let program =
        program::find(terms.rsync.as_deref(), environment.layout.as_ref()).map_err(|error| NoTerms {
            refusal: Refusal::new("system.rsync", "rsync cannot be run on this server"),
            detail: error.to_string(),
        })?;
    let setting = Setting {
        rules: &terms.rules,
        features: program.features,
        isolation: terms.isolation,
        confined: terms.confine == Confine::Required,
    };
    let plan = match &terms.listing {
        Some(directory)
            if direction == Direction::Pull && listing::is_wanted(parsed, paths, &terms.policy) =>
        {
            let names = listing::expose(directory, &terms.policy).map_err(system("list the workspaces"))?;
            judge(direction, parsed, &[], &names, setting)?
        }
        _ => judge(direction, parsed, paths, &terms.policy, setting)?,
    };
    Ok(Allowed { plan, program, names_users: parsed.has_letter(b'A') })
}
