//! A directory of the session's own, in which rsync writes what arrives before it gets its name.
//!
//! Where a key may only add, or may write and not read, the kernel forbids to change, or to read, what is in the
//! destination; whatever rsync is told, it cannot. But rsync writes a file beside its final place, and opens it for
//! reading and writing. So it is given a directory in the destination, `.akeys-staging`, where it may do both, and from
//! where it may only move files out. Sessions at the same time have one each, with a number behind the name.
//!
//! rsync takes the gate's place, so a small process of the gate's is left to remove that directory when the session has
//! ended. It holds a pipe from which rsync and all its children could read, and waits until none of them can. What a lost one left, a
//! later session removes.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::confine::Rights;
use crate::rsync::Place;
use crate::rsync::judge::{Arg, Reach};

/// What the first session's directory is called, and what the names of the others begin with.
const NAME: &str = ".akeys-staging";

/// How many names there are that a session looks at, and that are tidied up behind it. Who finds them all in use, or finds
/// what a client has put there to be in the way, takes a name that nobody else can have.
const NUMBERED: usize = 16;

/// How often to try again where another session removes what this one has just made.
const ATTEMPTS: u128 = 16;

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A staging directory. Dropped, it goes; when rsync takes this process's place, it stays as long as rsync does.
#[derive(Debug)]
pub(super) struct Staging {
    destination: OwnedFd,
    name: String,
    /// Open, and locked as one that is used.
    session: File,
    real: PathBuf,
    /// The end of a pipe. The process that waits has the other, and learns when this one is gone.
    alive: Option<OwnedFd>,
}

impl Staging {
    /// Makes one in `destination`.
    pub(super) fn new(destination: &Place) -> io::Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let unique =
            (0..ATTEMPTS).map(|attempt| format!("{NAME}-{}-{:x}", std::process::id(), since + attempt));
        for name in numbered().chain(unique) {
            for _ in 0..ATTEMPTS {
                match mkdirat(&destination.fd, name.as_str(), Mode::S_IRWXU) {
                    Ok(()) => {
                        if let Some(session) = hold(&destination.fd, &name)? {
                            let real = destination.real.join(&name);
                            let destination = destination.fd.try_clone()?;
                            return Ok(Self { destination, name, session, real, alive: None });
                        }
                    }
                    // Lost, it goes; used, or a client's own, it stays.
                    Err(Errno::EEXIST) if lost(&destination.fd, &name) => {}
                    Err(Errno::EEXIST) => break,
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Err(io::Error::from(io::ErrorKind::ResourceBusy))
    }

    /// The kernel's rule for it: everything, as nothing in it has a name yet that counts.
    pub(super) fn reach(&self, special: bool) -> io::Result<Reach> {
        let dir = self.session.as_fd().try_clone_to_owned()?;
        Ok(Reach::new(dir, self.real.clone(), Rights { special, ..Rights::ALL }))
    }

    /// The arguments that make rsync use it, and not delete it where it deletes what the client does not have.
    pub(super) fn args(&self, deletes: bool) -> io::Result<Vec<Arg>> {
        let fd = self.session.as_fd().try_clone_to_owned()?;
        let prefix = "--temp-dir=".to_owned();
        let temporary = Arg::Pinned { prefix, fd, real: self.real.clone(), rest: OsString::new() };
        let protected = deletes.then(|| Arg::Text(format!("--filter=P {NAME}*/").into()));
        Ok(std::iter::once(temporary).chain(protected).collect())
    }

    /// Starts the process that will remove it.
    pub(super) fn start_sweeper(&mut self) -> io::Result<()> {
        let (alive, end) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        Command::new(std::env::current_exe()?)
            .arg(SWEEP)
            .arg(&self.name)
            .env_clear()
            .stdin(Stdio::from(end))
            .stdout(Stdio::from(self.session.try_clone()?))
            // Kept open, never written to: sshd, and so the client, waits until it is closed, when everything is tidy again.
            .stderr(Stdio::inherit())
            .process_group(0)
            .spawn()?;
        self.alive = Some(alive);
        Ok(())
    }

    /// Opens it anew where this process has got another file system since: what was open before leads out of it.
    pub(super) fn enter_namespace(&mut self) -> io::Result<()> {
        let anew = nix::fcntl::open(&self.real, DIRECTORY, Mode::empty())?;
        if !same(&anew, &self.session)? {
            return Err(io::Error::from(Errno::ESTALE));
        }
        let anew = File::from(anew);
        let _ = anew.try_lock_shared();
        self.session = anew;
        Ok(())
    }

    /// What rsync has to inherit, beside the argument's own descriptor: it keeps the other process waiting, and the directory
    /// locked where the argument is a path.
    pub(super) fn inherited(&self, namespace: bool) -> io::Result<Vec<OwnedFd>> {
        let session = namespace.then(|| self.session.as_fd().try_clone_to_owned()).transpose()?;
        let alive = self.alive.as_ref().map(OwnedFd::try_clone).transpose()?;
        Ok(session.into_iter().chain(alive).collect())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        remove(&self.destination, &self.name, &self.session);
    }
}

/// The option, never typed by anybody, that makes the gate the process that waits.
const SWEEP: &str = "--sweep";

/// The process that waits, when that is what this one was started for.
pub(super) fn sweeper(mut args: impl Iterator<Item = OsString>) -> Option<io::Result<()>> {
    match [args.next()?, args.next()?] {
        [option, name] if option == SWEEP => Some(sweep_afterwards(&name)),
        _ => None,
    }
}

/// Waits until nobody has the reading end of the pipe that is standard input, and removes the staging directory that is standard
/// output, whose name is `name`; and what lost sessions have left beside it. Until then it is marked as used by this process too.
fn sweep_afterwards(name: &OsStr) -> io::Result<()> {
    // A name as the gate gives it: what is removed lies in that one directory.
    let ours = |rest: &str| rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let name = name.to_str().filter(|name| name.strip_prefix(NAME).is_some_and(ours));
    let name = name.ok_or(io::ErrorKind::InvalidInput)?;
    let session = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let pipe = io::stdin();
    // Nothing is asked for: that nobody reads any more is told all the same, as an error.
    let mut end = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
    loop {
        match nix::poll::poll(&mut end, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => break,
        }
    }
    let above = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let destination = openat(&session, "..", above, Mode::empty())?;
    let there = openat(&destination, name, DIRECTORY, Mode::empty());
    if there.is_ok_and(|there| same(&there, &session) == Ok(true)) {
        remove(&destination, name, &session);
    }
    for other in numbered().filter(|other| other != name) {
        lost(&destination, &other);
    }
    Ok(())
}

/// The names that sessions take in turn.
fn numbered() -> impl Iterator<Item = String> {
    std::iter::once(NAME.to_owned()).chain((1..NUMBERED).map(|number| format!("{NAME}-{number}")))
}

/// Opens a staging directory and marks it as used; `None` when another session took it for a lost one in between.
fn hold(destination: &OwnedFd, name: &str) -> io::Result<Option<File>> {
    let open = || openat(destination, name, DIRECTORY, Mode::empty());
    let session = match open() {
        Err(Errno::ENOENT) => return Ok(None),
        session => File::from(session?),
    };
    // Where there are no locks, nobody takes it for a lost one either.
    if let Err(TryLockError::WouldBlock) = session.try_lock_shared() {
        return Ok(None);
    }
    match open() {
        Ok(again) if same(&again, &session)? => Ok(Some(session)),
        Ok(_) | Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes the staging directory `name` when no session uses it; tells whether there is none any more. What is no directory, or not
/// this account's alone, is none of the gate's; and where there are no locks, every one is taken for used.
fn lost(destination: &OwnedFd, name: &str) -> bool {
    let session = match openat(destination, name, DIRECTORY, Mode::empty()) {
        Ok(session) => File::from(session),
        Err(errno) => return errno == Errno::ENOENT,
    };
    let own = |stat: &FileStat| {
        stat.st_uid == nix::unistd::geteuid().as_raw() && stat.st_mode & 0o777 == Mode::S_IRWXU.bits()
    };
    let unused = session.try_lock().is_ok() && fstat(&session).is_ok_and(|stat| own(&stat));
    unused && remove(destination, name, &session)
}

/// Removes a staging directory with its files; tells whether it went. Whatever is a directory in it is none of rsync's and stays,
/// unless it is empty.
fn remove(destination: &OwnedFd, name: &str, session: &File) -> bool {
    for file in names(session) {
        if unlinkat(session, file.as_os_str(), UnlinkatFlags::NoRemoveDir).is_err() {
            let _ = unlinkat(session, file.as_os_str(), UnlinkatFlags::RemoveDir);
        }
    }
    unlinkat(destination, name, UnlinkatFlags::RemoveDir).is_ok()
}

/// The names in a directory.
fn names(directory: &File) -> Vec<OsString> {
    let open = openat(directory, ".", DIRECTORY, Mode::empty());
    let Ok(mut open) = open.and_then(Dir::from_fd) else { return Vec::new() };
    open.iter()
        .flatten()
        .map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned())
        .filter(|name| name != "." && name != "..")
        .collect()
}

fn same(one: impl AsFd, two: impl AsFd) -> Result<bool, Errno> {
    let (one, two) = (fstat(one)?, fstat(two)?);
    Ok((one.st_dev, one.st_ino) == (two.st_dev, two.st_ino))
}
