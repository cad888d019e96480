//! Where the bytes of a key file come from.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;
use rrsync_rs::escape::Escaped;

use crate::common::exit::Failure;

/// The bytes of a file that somebody named: of any kind, so that a pipe will do, and `-` for standard input. Nothing is
/// demanded of its owner or mode: what counts is what it says.
pub fn named(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    read.map_err(|error| failure(path, &error))
}

/// The same, of a file that is not larger than `most`.
pub fn named_at_most(path: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    let input: Box<dyn io::Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(|error| failure(path, &error))?)
    };
    let mut bytes = Vec::new();
    input.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| failure(path, &error))?;
    if bytes.len() > most {
        return Err(failure(path, &io::Error::other(format!("is larger than {most} bytes"))));
    }
    Ok(bytes)
}

/// The bytes of an account's own key file; none when it is missing.
pub fn own(path: &Path) -> Result<Vec<u8>, Failure> {
    match regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|error| failure(path, &error)),
    }
}

/// More room than this is not made in advance.
const LIKELY: u64 = 1 << 28;

/// The bytes of a file at a place where sshd looks. Like sshd, this reads a regular file only, and nothing that somebody
/// put in its place makes it wait.
pub fn regular(path: &Path) -> io::Result<Vec<u8>> {
    regular_at_most(path, u64::MAX)
}

/// Opens a regular file, and waits for nothing else that may be in its place.
pub fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is not a regular file, and sshd does not read it"));
    }
    Ok(file)
}

/// The same, of a file that is not larger than `most`.
pub fn regular_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    if file.metadata()?.len() > most {
        return Err(io::Error::other(format!("is larger than {most} bytes")));
    }
    // Growing step by step would copy it, and keep both copies for a moment. A sparse file may claim any size.
    let likely = file.metadata()?.len().min(most).min(LIKELY);
    let mut bytes = Vec::with_capacity(usize::try_from(likely).unwrap_or_default() + 1);
    // It may have grown meanwhile.
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An error of the system about the file `path`.
pub fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::named(error, format!("{}: {error}", Escaped::os(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_place_of_the_file_is_not_waited_for() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("authorized_keys");
        assert_eq!(own(&path).unwrap(), b"");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(
            own(&path).unwrap_err().message.ends_with("is not a regular file, and sshd does not read it")
        );
        assert!(own(scratch.path()).is_err());
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"\xff").unwrap();
        assert_eq!((own(&path).unwrap(), named(&path).unwrap()), (b"\xff".to_vec(), b"\xff".to_vec()));
    }
}
