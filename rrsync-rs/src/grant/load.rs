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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_policy_is_read_up_to_its_limit_and_a_missing_one_is_missing() {
        let home = std::env::temp_dir().join(format!("load-{}", std::process::id()));
        let layout = Layout::new(home.to_str().unwrap()).unwrap();
        let name: GrantName = "f.p".parse().unwrap();
        assert!(load(&name, &layout).unwrap_err().is_missing());
        fs::create_dir_all(layout.grants_dir()).unwrap();
        for dir in [layout.config_dir(), layout.grants_dir()] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
        }
        assert!(load(&name, &layout).unwrap_err().is_missing());
        let most = usize::try_from(MAX_BYTES).unwrap();
        for (text, says) in [
            ("federation = \"f\"\npod = \"p\"\ntools = [\"rsync\"]\n", None),
            ("tools = []", Some("f.p.toml:1:1: missing field")),
        ] {
            for (size, too_large) in [(most, false), (most + 1, true)] {
                fs::write(layout.grant_file(&name), format!("{text}{}", "\n".repeat(size - text.len())))
                    .unwrap();
                fs::set_permissions(layout.grant_file(&name), fs::Permissions::from_mode(0o600)).unwrap();
                let error = load(&name, &layout).err();
                assert!(!error.as_ref().is_some_and(LoadError::is_missing));
                let said = error.map(|error| error.to_string());
                let says = if too_large { Some("larger than 1 MiB") } else { says };
                assert_eq!(said.is_some(), says.is_some(), "{said:?}");
                assert!(said.unwrap_or_default().contains(says.unwrap_or_default()), "{text} {size}");
            }
        }
        fs::write(layout.grant_file(&name), b"\xff").unwrap();
        let error = load(&name, &layout).unwrap_err();
        assert!(matches!(error, LoadError::Io { .. }) && !error.is_missing());
        fs::remove_dir_all(home).unwrap();
    }
}
