//! Opening a grant: the descriptor is checked, never the path.

use std::io::{self, Read as _};
use std::path::PathBuf;

use super::{Grant, GrantError, parse};
use crate::layout::Layout;
use crate::name::GrantName;
use crate::trusted::{self, Distrust, Kind};

/// A policy larger than this is not a policy.
const MAX_BYTES: u64 = 1 << 20;

/// Why a grant cannot be used. Every variant refuses the session.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be opened, or somebody else could have written it.
    #[error("{path}: {source}", path = path.display())]
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// Which check failed.
        source: Distrust,
    },
    /// It could not be read, or is not text.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The policy file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
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

impl LoadError {
    /// Whether there simply is no such grant.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Untrusted { source: Distrust::Io(error), .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads the grant `name` of the account that `layout` describes, as [`read`] does.
pub fn load(name: &GrantName, layout: &Layout) -> Result<Grant, LoadError> {
    let text = read(name, layout)?;
    parse(&text, layout).map_err(|source| LoadError::Invalid { path: layout.grant_file(name), source })
}

/// The text of the policy `name`, before it is known to be one.
///
/// The file, its directory and `~/.config/akeys` must be owned by the account, or by root, and writable by nobody
/// else; none may be a symlink.
pub fn read(name: &GrantName, layout: &Layout) -> Result<String, LoadError> {
    let path = layout.grant_file(name);
    for directory in [layout.config_dir(), layout.grants_dir()] {
        trusted::open(&directory, Kind::Directory)
            .map_err(|source| LoadError::Untrusted { path: directory, source })?;
    }
    let file = trusted::open(&path, Kind::File)
        .map_err(|source| LoadError::Untrusted { path: path.clone(), source })?;
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
    let size = read.map_err(|source| LoadError::Io { path: path.clone(), source })?;
    if size as u64 > MAX_BYTES {
        let source = io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB");
        return Err(LoadError::Io { path, source });
    }
    Ok(text)
}
