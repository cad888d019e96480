//! The kernel's part: whatever argument checks miss, the child still cannot do.
//!
//! Landlock bounds which files can be read, written and run; seccomp bounds which system calls exist at all. Both are
//! set on this process, which has one thread, right before it becomes rsync. Neither can be undone. The order is fixed:
//! rules are built first, then enforced, and a rule that cannot be enforced refuses the session, unless the grant says
//! otherwise in so many words.

mod landlock;
pub mod seccomp;

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use serde::Serialize;

use crate::grant::Confine;
use crate::rsync::judge::Reach;

/// What a session may use of the file system.
#[derive(Debug)]
pub struct Files<'a> {
    /// The exposed directories.
    pub reach: &'a [Reach],
    /// Files that may be executed: the program and its loader.
    pub programs: &'a [OwnedFd],
    /// Files that may be read: shared libraries and their cache.
    pub libraries: &'a [OwnedFd],
}

/// What the kernel really enforces, for the audit record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Level {
    /// The Landlock ABI in force; 0 when there is none.
    pub landlock: u8,
    /// Whether the seccomp filter is in force.
    pub seccomp: bool,
}

impl Level {
    /// Nothing is enforced.
    pub const NONE: Self = Self { landlock: 0, seccomp: false };
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.landlock, self.seccomp) {
            (0, false) => f.write_str("none"),
            (0, true) => f.write_str("seccomp"),
            (abi, false) => write!(f, "landlock (ABI {abi})"),
            (abi, true) => write!(f, "landlock (ABI {abi}) and seccomp"),
        }
    }
}

/// Why a session cannot be confined as its grant demands.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The kernel has no Landlock, or it is switched off at boot (`lsm=`).
    #[error("this kernel offers no Landlock (Linux 5.13 or newer, and \"landlock\" in its lsm= list)")]
    NoLandlock,
    /// A Landlock rule could not be made or enforced.
    #[error("landlock: {0}")]
    Landlock(String),
    /// The seccomp filter could not be built or installed.
    #[error("seccomp: {0}")]
    Seccomp(String),
}

/// What this kernel would enforce, found by asking it; changes nothing.
pub fn probe() -> Level {
    Level { landlock: landlock::abi(), seccomp: seccomp::supported() }
}

/// Confines this process, for good. `filter` is the seccomp filter to end with.
///
/// With [`Confine::Required`] anything less than Landlock and seccomp is an error; with [`Confine::BestEffort`] what
/// is missing is missing from the returned level; with [`Confine::Off`] only `no_new_privs` and the limits are set.
pub fn apply(files: &Files<'_>, filter: seccomp::Filter, demand: Confine) -> Result<Level, ConfineError> {
    limits();
    let mut level = Level::NONE;
    if demand == Confine::Off {
        return Ok(level);
    }
    match landlock::enforce(files) {
        Ok(abi) => level.landlock = abi,
        Err(error) if demand == Confine::Required => return Err(error),
        Err(_) => {}
    }
    match filter.with_truncation_closed(level.landlock < 3).install() {
        Ok(()) => level.seccomp = true,
        Err(error) if demand == Confine::Required => return Err(error),
        Err(_) => {}
    }
    Ok(level)
}

/// A descriptor of `program` with a number that no descriptor can have again.
///
/// The filter allows one number to be executed, and numbers are reused: a program could put another descriptor there,
/// and execute that. So this number lies right behind the limit of open files, which is lowered to it; the filter has
/// no call that raises it again, not even for root. What can be opened below it is more than rsync needs: it holds a
/// few files at a time.
pub fn out_of_reach(program: &OwnedFd) -> io::Result<OwnedFd> {
    use nix::sys::resource::{Resource, setrlimit};
    // Duplicated until the number is high enough: no safe call asks for a number.
    let mut copies = vec![program.try_clone()?];
    while copies.len() < FILES_AT_A_TIME
        && let Ok(copy) = program.try_clone()
    {
        copies.push(copy);
    }
    let highest = copies.into_iter().max_by_key(std::os::fd::AsRawFd::as_raw_fd);
    let highest = highest.ok_or(io::ErrorKind::NotFound)?;
    let limit = u64::try_from(highest.as_raw_fd()).unwrap_or_default();
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?;
    Ok(highest)
}

/// How many files a program can have open besides those that it was given.
const FILES_AT_A_TIME: usize = 128;

/// No privileges through exec, and no core dumps: they would be written where the working directory is.
fn limits() {
    use nix::sys::resource::{Resource, setrlimit};
    let _ = nix::sys::prctl::set_no_new_privs();
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}
