//! One daemon for each workspace: a lock that ends with its process, and that others can ask about without taking it.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

/// The file's name, in the directory of the journal.
const FILE: &str = "lock";

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

/// Takes the lock; `None` when somebody else has it.
pub fn take(dir: &Path) -> io::Result<Option<Held>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(dir.join(FILE))?;
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))) {
        Ok(_) => Ok(Some(Held { _file: file })),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub use rrsync_rs::watch::is_written as is_held;

/// The whole file.
fn whole(kind: i32) -> libc::flock {
    let [kind, whence] = [kind, libc::SEEK_SET].map(|number| i16::try_from(number).unwrap_or_default());
    libc::flock { l_type: kind, l_whence: whence, l_start: 0, l_len: 0, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_lock_and_others_see_it() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(!is_held(scratch.path()));
        let held = take(scratch.path()).unwrap().unwrap();
        assert!(is_held(scratch.path()));
        assert!(take(scratch.path()).unwrap().is_none());
        drop(held);
        assert!(!is_held(scratch.path()));
        assert!(take(scratch.path()).unwrap().is_some());
    }
}
