//! Small text files that are read whole and parsed: one that somebody named, or one of this account's own.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::trusted::{self, Distrust, Kind};

use super::exit::Exit;
use super::private::PrivateError;
use super::toml_text::At;

/// Nothing that is read here is longer; whatever is, is something else.
const MAX_BYTES: u64 = 1 << 20;

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It could not be read, or somebody else could have written it.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// It does not say what such a file says.
    #[error("{}:{source}", Escaped::os(path))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: At,
    },
}

impl InputError {
    /// How a program ends that is told by the file what to do.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Invalid { .. } => Exit::Usage,
            _ if self.is_missing() => Exit::NoMatch,
            Self::File(_) => Exit::Failed,
        }
    }

    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::File(PrivateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads the file `path` of whomever; `-` is standard input. Nothing is demanded of its owner or mode.
pub fn named<T>(path: &Path, parse: impl FnOnce(&str) -> Result<T, At>) -> Result<T, InputError> {
    if path == Path::new("-") {
        return parsed(Path::new("standard input"), io::stdin().lock(), parse);
    }
    let file = File::open(path).map_err(PrivateError::io(path))?;
    parsed(path, file, parse)
}

/// Reads the file `path` that this account keeps, and that nobody else may write.
pub fn own<T>(path: &Path, parse: impl FnOnce(&str) -> Result<T, At>) -> Result<T, InputError> {
    let file = trusted::open(path, Kind::File).map_err(|reason| match reason {
        Distrust::Io(source) => PrivateError::Io { path: path.to_owned(), source },
        reason => PrivateError::Untrusted { path: path.to_owned(), reason },
    })?;
    parsed(path, file, parse)
}

fn parsed<T>(
    path: &Path,
    input: impl Read,
    parse: impl FnOnce(&str) -> Result<T, At>,
) -> Result<T, InputError> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(PrivateError::io(path))?;
    let invalid = |source| InputError::Invalid { path: path.to_owned(), source };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(invalid(At { line: 1, column: 1, what: "larger than 1 MiB".to_owned() }));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text).map_err(invalid),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            Err(invalid(At::offset(&before, before.len(), "not UTF-8")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn length(text: &str) -> Result<usize, At> {
        if text == "?" { Err(At::offset(text, 0, "a question")) } else { Ok(text.len()) }
    }

    #[test]
    fn what_is_no_short_text_is_refused_with_its_place() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("x");
        fs::write(&path, "a\nb").unwrap();
        assert_eq!(named(&path, length).unwrap(), 3);
        fs::write(&path, b"a\nb\xff").unwrap();
        assert!(named(&path, length).unwrap_err().to_string().ends_with("/x:2:2: not UTF-8"));
        fs::write(&path, "?").unwrap();
        assert!(named(&path, length).unwrap_err().to_string().ends_with("/x:1:1: a question"));
        fs::write(&path, vec![b'#'; 1 << 20]).unwrap();
        assert_eq!(named(&path, length).unwrap(), 1 << 20);
        assert!(named(Path::new("/dev/zero"), length).unwrap_err().to_string().contains("larger than 1 MiB"));
        assert!(named(&scratch.path().join("y"), length).unwrap_err().is_missing());
        assert!(!named(scratch.path(), length).unwrap_err().is_missing());
    }

    #[test]
    fn an_own_file_is_nobody_elses() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("x");
        fs::write(&path, "a").unwrap();
        let mode = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        mode(0o600);
        assert_eq!(own(&path, length).unwrap(), 1);
        mode(0o620);
        assert!(own(&path, length).unwrap_err().to_string().contains("can be written"));
        mode(0o600);
        let link = scratch.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(own(&link, length).is_err());
        assert_eq!(named(&link, length).unwrap(), 1);
    }
}
