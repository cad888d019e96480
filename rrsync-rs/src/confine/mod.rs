//! The kernel's part: whatever argument checks miss, the child still cannot do.
//!
//! Landlock bounds which files can be read, written and run; seccomp bounds which system calls exist at all; a mount
//! namespace leaves nothing else to be seen. All are set on this process, which has one thread, right before it becomes
//! rsync. None can be undone. The order is fixed: the namespace first, then rules are built, then enforced, and a rule
//! that cannot be enforced refuses the session, unless the grant says otherwise in so many words.

mod bpf;
mod landlock;
mod namespace;
mod rights;
pub mod seccomp;
mod shown;

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::stat::{SFlag, fstat};
use serde::{Deserialize, Serialize};

use crate::beneath::kind;
use crate::grant::Confine;
use crate::rsync::Place;
use crate::rsync::judge::{Part, Reach};
use namespace::Failure;
pub use rights::Rights;

/// What a session may use of the file system.
#[derive(Debug)]
pub struct Files<'a> {
    /// The exposed directories.
    pub reach: &'a [Reach],
    /// Files that may be executed: the program first, then its loader.
    pub programs: &'a [Needed],
    /// Files that may be read: shared libraries and their cache.
    pub libraries: &'a [Needed],
    /// Parts of the exposed directories that are kept apart, which takes a namespace.
    pub parts: &'a [Part],
    /// Whether the session may write access control lists, which name other users.
    pub names_users: bool,
}

/// A file that a program needs to run.
#[derive(Debug)]
pub struct Needed {
    /// The path under which it is looked for, which may be a symlink.
    pub path: PathBuf,
    /// The file, open (`O_PATH`).
    pub fd: OwnedFd,
}

impl<'a> Files<'a> {
    /// What has to be found by name. The program does not: it is executed by its descriptor.
    fn support(&self) -> impl Iterator<Item = &'a Needed> + use<'a> {
        self.programs.iter().skip(1).chain(self.libraries)
    }

    /// Whether `path` lies in an exposed directory.
    fn reaches(&self, path: &Path) -> bool {
        self.reach.iter().any(|reach| path.starts_with(&reach.real))
    }

    /// Whether anything can be made or changed.
    pub fn write(&self) -> bool {
        self.reach.iter().any(|reach| reach.rights.writes())
    }

    /// Whether a namespace would hide anything: where the root itself is exposed, nothing lies outside.
    fn hides(&self) -> bool {
        !self.reach.iter().any(|reach| reach.real == Path::new("/"))
    }
}

/// When a session gets a mount namespace of its own, in which nothing outside can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Where the host allows it and nothing that a transfer does comes out differently: for a push, by root or by an
    /// account that has only its primary group.
    #[default]
    Auto,
    /// Always, or the session is refused.
    Required,
    /// Never.
    Off,
}

/// What the kernel really enforces, for the audit record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Level {
    /// The Landlock ABI in force; 0 when there is none.
    pub landlock: u8,
    /// Whether the seccomp filter is in force.
    pub seccomp: bool,
    /// Whether nothing but the exposed directories can be seen.
    pub namespace: bool,
}

impl Level {
    /// Nothing is enforced.
    pub const NONE: Self = Self { landlock: 0, seccomp: false, namespace: false };
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let landlock = (self.landlock > 0).then(|| format!("landlock (ABI {})", self.landlock));
        let parts = [
            landlock,
            self.seccomp.then(|| "seccomp".to_owned()),
            self.namespace.then(|| "a mount namespace".to_owned()),
        ];
        match parts.into_iter().flatten().collect::<Vec<_>>().as_slice() {
            [] => f.write_str("none"),
            [rest @ .., last] if !rest.is_empty() => write!(f, "{} and {last}", rest.join(", ")),
            [only, ..] => f.write_str(only),
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
    /// What may be read beside hidden names could not be found out.
    #[error("hidden names: {0}")]
    Hidden(io::Error),
    /// The seccomp filter could not be built or installed.
    #[error("seccomp: {0}")]
    Seccomp(String),
    /// There is no mount namespace, or this process is lost in one.
    #[error("mount namespace: cannot {0}: {1}")]
    Namespace(&'static str, io::Error),
}

/// What this kernel would enforce, found by asking it; changes nothing. The namespace is a guess: only trying tells.
pub fn probe() -> Level {
    let namespace = namespace::looks_available();
    Level { landlock: landlock::abi(), seccomp: seccomp::supported(), namespace }
}

/// Gives this process a file system with nothing in it but `files`, and enters `cwd` there; tells whether it did.
///
/// Afterwards paths are the only way: every directory that was opened before leads out, and must not be passed on.
///
/// # Errors
/// With [`Isolation::Required`] when the host does not allow it; otherwise only when the process cannot go on.
pub fn isolate(files: &Files<'_>, cwd: &Place, wanted: Isolation) -> Result<bool, ConfineError> {
    if !isolates(files, wanted) {
        return Ok(false);
    }
    match namespace::enter(files, cwd) {
        Ok(()) => Ok(true),
        Err(Failure::Unavailable(..)) if wanted == Isolation::Auto => Ok(false),
        Err(Failure::Unavailable(step, error) | Failure::Broken(step, error)) => {
            Err(ConfineError::Namespace(step, error))
        }
    }
}

/// Whether a session would be isolated on a host that allows it.
pub fn isolates(files: &Files<'_>, wanted: Isolation) -> bool {
    match wanted {
        _ if !files.hides() => false,
        Isolation::Required => true,
        Isolation::Off => false,
        Isolation::Auto if !files.write() => false,
        Isolation::Auto if nix::unistd::geteuid().is_root() => true,
        Isolation::Auto => !files.names_users && only_primary_group() && !namespace::powerless(),
    }
}

/// Whether this account is in no group but its own, so that there is no other that it could give a file to.
fn only_primary_group() -> bool {
    let own = nix::unistd::getegid();
    nix::unistd::getgroups().is_ok_and(|groups| groups.iter().all(|group| *group == own))
}

/// Whether what is open is a directory.
fn is_directory(fd: &OwnedFd) -> bool {
    fstat(fd).is_ok_and(|stat| kind(&stat) == SFlag::S_IFDIR)
}

/// Confines this process, for good. `filter` is the seccomp filter to end with; `namespace` tells what [`isolate`] did.
///
/// With [`Confine::Required`] anything less than Landlock and seccomp is an error; with [`Confine::BestEffort`] what
/// is missing is missing from the returned level; with [`Confine::Off`] only `no_new_privs` and the limits are set.
pub fn apply(
    files: &Files<'_>,
    filter: seccomp::Filter,
    demand: Confine,
    namespace: bool,
) -> Result<Level, ConfineError> {
    apply_as_of(landlock::NEWEST as u8, files, filter, demand, namespace)
}

/// [`apply`] on a kernel whose Landlock has the ABI `newest`, or none for 0: what newer ones have is left out. For tests.
#[doc(hidden)]
pub fn apply_as_of(
    newest: u8,
    files: &Files<'_>,
    filter: seccomp::Filter,
    demand: Confine,
    namespace: bool,
) -> Result<Level, ConfineError> {
    limits();
    let mut level = Level { namespace, ..Level::NONE };
    if demand == Confine::Off {
        return Ok(level);
    }
    let newest = landlock::numbered(newest).ok_or(ConfineError::NoLandlock);
    match newest.and_then(|newest| landlock::enforce(files, newest)) {
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

/// Whether the kernel can hold a session to adding, or to not reading, by having it move files from one directory to another:
/// since ABI 2 of Landlock.
///
/// # Errors
/// With [`Confine::Required`] where it cannot.
pub fn can_stage(demand: Confine) -> Result<bool, ConfineError> {
    // Asked only where it matters: the answer takes a few system calls.
    can_stage_with(demand, if demand == Confine::Off { 0 } else { landlock::abi() })
}

/// [`can_stage`] on a kernel with this ABI of Landlock, 0 for none. For tests.
#[doc(hidden)]
pub fn can_stage_with(demand: Confine, abi: u8) -> Result<bool, ConfineError> {
    match (demand, abi) {
        (Confine::Required, 0) => Err(ConfineError::NoLandlock),
        (Confine::Required, 1) => {
            Err(ConfineError::Landlock("ABI 1 cannot keep a key from reading, or from replacing".to_owned()))
        }
        (Confine::Off, _) | (Confine::BestEffort, 0 | 1) => Ok(false),
        (Confine::Required | Confine::BestEffort, _) => Ok(true),
    }
}

/// Closes what was open when this process started, but for the standard streams. sshd leaves nothing open, but a login
/// shell's start-up files may; a directory among it would lead out of every confinement.
///
/// For the very start: whatever this process has opened itself is closed as well.
pub fn close_inherited() {
    const OPEN: &str = "/proc/self/fd";
    // Since Linux 6.2 the directory's size is how many there are, proc(5); before, 0. The standard streams are always open:
    // the runtime sees to that before anything runs.
    if std::fs::metadata(OPEN).is_ok_and(|open| open.len() == 3) {
        return;
    }
    let Ok(open) = std::fs::read_dir(OPEN) else { return };
    let numbers: Vec<RawFd> =
        open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The list's own descriptor is among them, and closed by now.
        let _ = nix::unistd::close(number);
    }
}

/// A descriptor of `program` with a number that no descriptor can have again.
///
/// The filter allows one number to be executed, and numbers are reused: a program could put another descriptor there,
/// and execute that. So this number lies right behind the limit of open files, which is lowered to it; the filter has
/// no call that raises it again, not even for root. What can be opened below it is more than rsync needs: it holds a
/// few files at a time.
pub fn out_of_reach(program: &OwnedFd, inherited: &[OwnedFd]) -> io::Result<OwnedFd> {
    use nix::sys::resource::{Resource, setrlimit};
    let highest = inherited.iter().chain([program]).map(AsRawFd::as_raw_fd).max().unwrap_or_default();
    let copy = rustix::io::fcntl_dupfd_cloexec(program, highest + FILES_AT_A_TIME)?;
    let limit = u64::try_from(copy.as_raw_fd()).unwrap_or_default();
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?;
    Ok(copy)
}

/// How many files a program can have open besides those that it was given.
const FILES_AT_A_TIME: RawFd = 64;

/// No file can become larger than this any more: rsync reports that as an error of its own. A client's `--max-size` is kept by
/// rsync's generator, and by nobody for a client that sends what was not asked for.
pub fn limit_files(largest: u64) -> io::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    Ok(setrlimit(Resource::RLIMIT_FSIZE, largest, largest)?)
}

/// No privileges through exec, and no core dumps: they would be written where the working directory is.
fn limits() {
    use nix::sys::resource::{Resource, setrlimit};
    let _ = nix::sys::prctl::set_no_new_privs();
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}
