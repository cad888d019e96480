//! Opening a grant: the descriptor is checked, never the path.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use nix::fcntl::OFlag;

use super::{Grant, GrantError, parse};
use crate::layout::Layout;
use crate::name::GrantName;

/// A policy larger than this is not a policy.
const MAX_BYTES: u64 = 1 << 20;

/// Why a grant cannot be used. Every variant refuses the session.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be opened or read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The policy file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else could have written it.
    #[error("{path}: {reason}", path = path.display())]
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// Which check failed.
        reason: &'static str,
    },
    /// It was read and does not say a policy.
    #[error("{path}:{source}", path = path.display())]
    Invalid {
        /// The policy file.
        path: PathBuf,
        /// Where and what.
        source: GrantError,
    },
}

/// Reads the grant `name` of the account that `layout` describes.
///
/// The file and its directory must be owned by the account, or by root, and writable by nobody else; neither may be a
/// symlink. The checks are made on the open descriptors, so nothing can be exchanged between check and use.
pub fn load(name: &GrantName, layout: &Layout) -> Result<Grant, LoadError> {
    let dir_path = layout.grants_dir();
    let path = layout.grant_file(name);
    let io = |path: &PathBuf| {
        let path = path.clone();
        move |source: io::Error| LoadError::Io { path, source }
    };
    let dir = File::options()
        .read(true)
        .custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits())
        .open(&dir_path)
        .map_err(io(&dir_path))?;
    trusted(&dir).map_err(|reason| LoadError::Untrusted { path: dir_path.clone(), reason })?;
    // O_NONBLOCK: a FIFO in the policy's place must not hang the session before its type is checked.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file_name = format!("{name}.toml");
    let file: OwnedFd = nix::fcntl::openat(&dir, file_name.as_str(), flags, nix::sys::stat::Mode::empty())
        .map_err(|errno| io(&path)(errno.into()))?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(io(&path))?;
    if !metadata.is_file() {
        return Err(LoadError::Untrusted { path, reason: "is not a regular file" });
    }
    trusted(&file).map_err(|reason| LoadError::Untrusted { path: path.clone(), reason })?;
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(io(&path))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(LoadError::Untrusted { path, reason: "is larger than 1 MiB" });
    }
    parse(&text, layout).map_err(|source| LoadError::Invalid { path, source })
}

/// sshd's `StrictModes` rule (`safe_path()` in misc.c): owned by the user or root, not writable by group or others.
fn trusted(file: &File) -> Result<(), &'static str> {
    let metadata = file.metadata().map_err(|_| "cannot be examined")?;
    let me = nix::unistd::geteuid().as_raw();
    if metadata.uid() != me && metadata.uid() != 0 {
        return Err("is owned by somebody else");
    }
    if metadata.mode() & 0o022 != 0 {
        return Err("can be written by group or others");
    }
    Ok(())
}
