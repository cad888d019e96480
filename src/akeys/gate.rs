//! The gate's program: found beside this one, and trusted only when nobody else could have put it there.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::grant::forced_command;
use rrsync_rs::name::GrantName;
use rrsync_rs::trusted::{self, Distrust};

use super::forced::is_gate;

/// The gate's file name.
const PROGRAM: &str = "rrsync-rs";

/// Why a program cannot be the forced command of a key.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// It is not there, or cannot be looked at.
    #[error("{}: {source}", Escaped::os(path))]
    Missing {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else could exchange it.
    #[error("{} {reason}", Escaped::os(path))]
    Untrusted {
        /// The program or one of the directories above it.
        path: PathBuf,
        /// Which check failed.
        reason: Distrust,
    },
    /// Nobody can run it.
    #[error("{} is not executable", Escaped::os(path))]
    NotExecutable {
        /// The program.
        path: PathBuf,
    },
    /// It is a program of another name, which no listing would recognise as the gate.
    #[error("{} is not named rrsync-rs", Escaped::os(path))]
    Name {
        /// The program.
        path: PathBuf,
    },
    /// Its path cannot stand in a forced command.
    #[error(
        "{}: a forced command takes only letters, digits and \"/ . _ - + @ % ,\" in a path",
        Escaped::os(path)
    )]
    Path {
        /// The program.
        path: PathBuf,
    },
}

/// A gate that a forced command may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    path: PathBuf,
}

impl Gate {
    /// The gate at `chosen`, or the one beside the running program.
    pub fn find(chosen: Option<&Path>) -> Result<Self, GateError> {
        let path = match chosen {
            Some(path) => path.to_owned(),
            None => own_directory().join(PROGRAM),
        };
        let path = path.canonicalize().map_err(|source| GateError::Missing { path, source })?;
        if !path.to_str().is_some_and(is_gate) {
            return Err(GateError::Name { path });
        }
        check(&path)?;
        Ok(Self { path })
    }

    /// The gate of another machine, which that one has to check.
    pub fn elsewhere(path: &Path) -> Result<Self, GateError> {
        let path = path.to_owned();
        if !path.is_absolute() || !path.to_str().is_some_and(is_gate) {
            return Err(GateError::Name { path });
        }
        Ok(Self { path })
    }

    /// Where it is, every symlink resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory it is in.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The `command="…"` value that runs it for `grant`.
    pub fn command(&self, grant: &GrantName) -> Result<String, GateError> {
        forced_command(&self.path, grant).ok_or_else(|| GateError::Path { path: self.path.clone() })
    }
}

/// The directory of the running program, every symlink resolved.
pub fn own_directory() -> PathBuf {
    let program = std::env::current_exe().and_then(|path| path.canonicalize());
    program.ok().and_then(|path| Some(path.parent()?.to_owned())).unwrap_or_else(|| PathBuf::from("/"))
}

/// Whether `program`, a path without symlinks, can be run and only this account or root can exchange it.
///
/// The rule is the one that sshd has for key files (`safe_path()` in misc.c), for the file and every directory above it. A sticky directory such as `/tmp` passes, because in
/// it nobody can rename or remove what somebody else owns.
pub fn check(program: &Path) -> Result<(), GateError> {
    let untrusted = |path: &Path, reason| GateError::Untrusted { path: path.to_owned(), reason };
    for path in program.ancestors() {
        let io = |source| GateError::Missing { path: path.to_owned(), source };
        let metadata = path.symlink_metadata().map_err(io)?;
        if path == program {
            if !metadata.is_file() {
                return Err(untrusted(path, Distrust::Kind("regular file")));
            }
            if metadata.mode() & 0o111 == 0 {
                return Err(GateError::NotExecutable { path: path.to_owned() });
            }
            File::open(path).map_err(io)?;
        }
        let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        let mode = if sticky { metadata.mode() & !0o022 } else { metadata.mode() };
        trusted::check(metadata.uid(), mode).map_err(|reason| untrusted(path, reason))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a_gate_is_ours_and_runs() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("bin");
        fs::create_dir(&dir).unwrap();
        let program = dir.join("rrsync-rs");
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let reason = || Gate::find(Some(&program)).map(drop).map_err(|error| error.to_string());
        assert!(reason().unwrap_err().contains("No such file"));
        fs::write(&program, "").unwrap();
        mode(&dir, 0o755);
        for (file, directory, says) in [
            (0o644, 0o755, "is not executable"),
            (0o775, 0o755, "rrsync-rs can be written"),
            (0o757, 0o755, "rrsync-rs can be written"),
            (0o755, 0o775, "bin can be written"),
        ] {
            mode(&program, file);
            mode(&dir, directory);
            assert!(reason().unwrap_err().contains(says), "{says}");
        }
        mode(&dir, 0o755);
        assert_eq!(reason(), Ok(()));
        symlink(&program, scratch.path().join("rrsync-rs-1")).unwrap();
        let gate = Gate::find(Some(&scratch.path().join("rrsync-rs-1"))).unwrap();
        assert_eq!(gate.path(), program.canonicalize().unwrap());
        assert!(gate.command(&"a.b".parse().unwrap()).unwrap().ends_with("/bin/rrsync-rs --grant a.b"));
    }

    #[test]
    fn a_path_that_a_shell_would_read_otherwise_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let program = scratch.path().join("rrsync-rs (old)");
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let gate = Gate::find(Some(&program)).unwrap();
        assert!(matches!(gate.command(&"a.b".parse().unwrap()), Err(GateError::Path { .. })));
    }
}
