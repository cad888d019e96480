//! A directory of the session's own, in which rsync writes what arrives before it gets its name.
//!
//! Where a key may only add, or may write and not read, the kernel forbids to change, or to read, what is in the
//! destination; whatever rsync is told, it cannot. But rsync writes a file beside its final place, and opens it for
//! reading and writing. So it is given a directory in the destination, `.akeys-staging/NAME`, where it may do both, and from
//! where it may only move files out.
//!
//! rsync takes the gate's place, so a small process of the gate's is left to remove that directory when the session has
//! ended. It holds a pipe from which rsync and all its children could read, and waits until none of them can. What a lost one left, a
//! later session removes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
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
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::confine::Rights;
use crate::rsync::Place;
use crate::rsync::judge::{Arg, Reach};

/// What holds the sessions' directories, in each destination while there are sessions.
const ABOVE: &str = ".akeys-staging";

/// How often to try again where another session removes what this one has just found.
const ATTEMPTS: u128 = 16;

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A staging directory. Dropped, it goes; when rsync takes this process's place, it stays as long as rsync does.
#[derive(Debug)]
pub(super) struct Staging {
    above: OwnedFd,
    above_name: String,
    name: OsString,
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
        let mut above_name = ABOVE.to_owned();
        for attempt in 0..ATTEMPTS {
            let name = format!("{}-{:x}", std::process::id(), since + attempt);
            let above = match above(destination, &above_name) {
                Err(Errno::ENOENT) => continue,
                // A client has put something else there, to be in the way.
                Err(Errno::ELOOP | Errno::ENOTDIR | Errno::EPERM) => {
                    above_name = format!("{ABOVE}-{name}");
                    continue;
                }
                above => above?,
            };
            match mkdirat(&above, name.as_str(), Mode::S_IRWXU) {
                Err(Errno::ENOENT | Errno::EEXIST) => continue,
                made => made?,
            }
            let Some(session) = hold(&above, OsStr::new(&name))? else { continue };
            sweep_lost(&above, OsStr::new(&above_name), OsStr::new(&name));
            let real = destination.real.join(&above_name).join(&name);
            return Ok(Self { above, above_name, name: name.into(), session, real, alive: None });
        }
        Err(io::Error::from(io::ErrorKind::ResourceBusy))
    }

    /// The kernel's rule for it: everything, as nothing in it has a name yet that counts.
    pub(super) fn reach(&self, special: bool) -> io::Result<Reach> {
        let dir = self.session.as_fd().try_clone_to_owned()?;
        Ok(Reach { dir, real: self.real.clone(), rights: Rights { special, ..Rights::ALL } })
    }

    /// The arguments that make rsync use it, and not delete it where it deletes what the client does not have.
    pub(super) fn args(&self, deletes: bool) -> io::Result<Vec<Arg>> {
        let fd = self.session.as_fd().try_clone_to_owned()?;
        let prefix = "--temp-dir=".to_owned();
        let temporary = Arg::Pinned { prefix, fd, real: self.real.clone(), rest: OsString::new() };
        let protected = deletes.then(|| Arg::Text(format!("--filter=P {}/", self.above_name).into()));
        Ok(std::iter::once(temporary).chain(protected).collect())
    }

    /// Starts the process that will remove it.
    pub(super) fn start_sweeper(&mut self) -> io::Result<()> {
        let (alive, end) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        Command::new(std::env::current_exe()?)
            .arg(SWEEP)
            .args([OsStr::new(&self.above_name), &self.name])
            .env_clear()
            .stdin(Stdio::from(end))
            .stdout(Stdio::from(self.above.try_clone()?))
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
        sweep(&self.above, OsStr::new(&self.above_name), &self.name);
    }
}

/// The option, never typed by anybody, that makes the gate the process that waits.
const SWEEP: &str = "--sweep";

/// The process that waits, when that is what this one was started for.
pub(super) fn sweeper(mut args: impl Iterator<Item = OsString>) -> Option<io::Result<()>> {
    match [args.next()?, args.next()?, args.next()?] {
        [option, above_name, name] if option == SWEEP => Some(sweep_afterwards(&above_name, &name)),
        _ => None,
    }
}

/// Waits until nobody has the reading end of the pipe that is standard input, and removes the staging directory `name` from
/// the one that is standard output, which is called `above_name`.
fn sweep_afterwards(above_name: &OsStr, name: &OsStr) -> io::Result<()> {
    // Names as the gate gives them: what is removed lies in that one directory.
    let ours = |name: &[u8]| name.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    if !above_name.as_bytes().strip_prefix(ABOVE.as_bytes()).is_some_and(ours) || !ours(name.as_bytes()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let above = io::stdout().as_fd().try_clone_to_owned()?;
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
    sweep(&above, above_name, name);
    Ok(())
}

/// The directory above the sessions', made where it is missing.
fn above(destination: &Place, name: &str) -> Result<OwnedFd, Errno> {
    match mkdirat(&destination.fd, name, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let above = openat(&destination.fd, name, DIRECTORY, Mode::empty())?;
    // Somebody else's could be exchanged while it is used.
    let owner = fstat(&above)?.st_uid;
    if owner == nix::unistd::geteuid().as_raw() { Ok(above) } else { Err(Errno::EPERM) }
}

/// Opens a staging directory and marks it as used; `None` when another session took it for a lost one in between.
fn hold(above: &OwnedFd, name: &OsStr) -> io::Result<Option<File>> {
    let open = || openat(above, name, DIRECTORY, Mode::empty());
    let session = match open() {
        Err(Errno::ENOENT) => return Ok(None),
        session => File::from(session?),
    };
    // Where there are no locks, nobody takes it for a lost one either.
    let _ = session.try_lock_shared();
    match open() {
        Ok(again) if same(&again, &session)? => Ok(Some(session)),
        Ok(_) | Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes what sessions left whose process that waits was lost.
fn sweep_lost(above: &OwnedFd, above_name: &OsStr, own: &OsStr) {
    for name in names(above) {
        let lost = name.as_os_str() != own
            && openat(above, name.as_os_str(), DIRECTORY, Mode::empty())
                .is_ok_and(|other| File::from(other).try_lock().is_ok());
        if lost {
            sweep(above, above_name, &name);
        }
    }
}

/// Removes the files of a staging directory, the directory itself, and the one above when that was the last. Whatever is
/// a directory in it is none of rsync's and stays, unless it is empty.
fn sweep(above: &OwnedFd, above_name: &OsStr, name: &OsStr) {
    if let Ok(session) = openat(above, name, DIRECTORY, Mode::empty()) {
        for file in names(&session) {
            if unlinkat(&session, file.as_os_str(), UnlinkatFlags::NoRemoveDir).is_err() {
                let _ = unlinkat(&session, file.as_os_str(), UnlinkatFlags::RemoveDir);
            }
        }
    }
    let _ = unlinkat(above, name, UnlinkatFlags::RemoveDir);
    if let Ok(destination) = openat(above, "..", DIRECTORY, Mode::empty()) {
        let _ = unlinkat(&destination, above_name, UnlinkatFlags::RemoveDir);
    }
}

/// The names in a directory.
fn names(directory: &OwnedFd) -> Vec<OsString> {
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
