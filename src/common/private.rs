//! Files that belong to one account and nobody else: directories 0700, files 0600, whole or not there.
//!
//! Every file is written beside its final name, synced, and moved into place; a directory is created private and, when it
//! is there already, must not be writable by anybody else, because who can write it can replace what is in it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::trusted::{self, Distrust};

/// How the name of every temporary file starts.
pub const TEMP_PREFIX: &str = ".akeys-";

/// Why a private file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// The system said no.
    #[error("{}: {source}", Escaped::os(path))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is somebody else's, or somebody else can write it.
    #[error("{} {reason}", Escaped::os(path))]
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// Which check failed.
        reason: Distrust,
    },
    /// Another program has it for itself, and does not let go.
    #[error("{} is held by another program", Escaped::os(path))]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// There is a file of that name already.
    #[error("{} exists already", Escaped::os(path))]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

impl PrivateError {
    /// Wraps an I/O error on `path`.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Whether a file that is in the way is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfThere {
    /// Replace it in one step.
    Replace,
    /// Leave it and fail with [`PrivateError::Exists`].
    Refuse,
}

/// Makes `dir` and its missing parents, each 0700. What exists is left as it is, but `dir` must be the account's own and
/// not writable by others.
pub fn directory(dir: &Path) -> Result<(), PrivateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(PrivateError::io(dir))?;
    let open = File::open(dir).map_err(PrivateError::io(dir))?;
    let metadata = open.metadata().map_err(PrivateError::io(dir))?;
    trusted::check(metadata.uid(), metadata.mode())
        .map_err(|reason| PrivateError::Untrusted { path: dir.to_owned(), reason })
}

/// Writes `bytes` to `path` with `mode`, whole or not at all. The directory is made when it is missing.
pub fn write(path: &Path, bytes: &[u8], mode: u32, if_there: IfThere) -> Result<(), PrivateError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    directory(dir)?;
    let io = |source| PrivateError::Io { path: path.to_owned(), source: bare(source) };
    let mut temp = tempfile::Builder::new()
        .prefix(TEMP_PREFIX)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(dir)
        .map_err(io)?;
    temp.write_all(bytes).map_err(io)?;
    temp.as_file().set_permissions(Permissions::from_mode(mode)).map_err(io)?;
    temp.as_file().sync_all().map_err(io)?;
    let moved = match if_there {
        IfThere::Replace => temp.persist(path),
        IfThere::Refuse => temp.persist_noclobber(path),
    };
    moved.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => PrivateError::Exists { path: path.to_owned() },
        _ => io(error.error),
    })?;
    sync_dir(dir)
}

/// What the system said, without the name of a temporary file that nobody has asked for.
pub fn bare(error: io::Error) -> io::Error {
    // tempfile hands out the number of the error only in words.
    match error.to_string().split_once(" at path \"") {
        Some((said, _)) if error.raw_os_error().is_none() => io::Error::new(error.kind(), said),
        _ => error,
    }
}

/// Whether a file holds exactly `bytes`, from where it is read.
pub fn holds(mut file: &File, mut bytes: &[u8]) -> io::Result<bool> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = match file.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        match bytes.split_at_checked(length) {
            Some((expected, rest)) if *expected == buffer[..length] => bytes = rest,
            _ => return Ok(false),
        }
        if length == 0 {
            return Ok(bytes.is_empty());
        }
    }
}

/// Makes what was created, renamed or removed in `dir` survive a power cut.
pub fn sync_dir(dir: &Path) -> Result<(), PrivateError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(PrivateError::io(dir))
}

/// Removes `path` and syncs its directory; `false` when it was not there.
pub fn remove(path: &Path) -> Result<bool, PrivateError> {
    match fs::remove_file(path) {
        Ok(()) => sync_dir(path.parent().unwrap_or(Path::new("/"))).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(PrivateError::io(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_directories_are_private_and_nothing_else_is_left() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a/b/file.toml");
        write(&path, b"one", 0o600, IfThere::Refuse).unwrap();
        assert!(matches!(write(&path, b"two", 0o600, IfThere::Refuse), Err(PrivateError::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(&path, b"two", 0o644, IfThere::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o644);
        assert_eq!(scratch.path().join("a").metadata().unwrap().mode() & 0o7777, 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
    }

    #[test]
    fn an_error_named_a_temporary_file_as_well() {
        let scratch = tempfile::tempdir().unwrap();
        let error = tempfile::NamedTempFile::new_in(scratch.path().join("gone")).unwrap_err();
        assert!(error.to_string().contains(" at path "), "{error}");
        assert_eq!(bare(error).to_string(), "No such file or directory (os error 2)");
        assert_eq!(bare(io::Error::other("x")).to_string(), "x");
    }

    #[test]
    fn a_content_is_compared_to_its_end() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("x");
        let long = vec![b'x'; 200_000];
        for (content, bytes, same) in [
            (&b"ab"[..], &b"ab"[..], true),
            (b"ab", b"a", false),
            (b"a", b"ab", false),
            (b"", b"", true),
            (&long, &long, true),
            (&long, &long[1..], false),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(holds(&File::open(&path).unwrap(), bytes).unwrap(), same);
        }
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("open");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o770)).unwrap();
        let error = write(&dir.join("x"), b"", 0o600, IfThere::Refuse).unwrap_err();
        assert!(matches!(error, PrivateError::Untrusted { .. }), "{error}");
    }
}
