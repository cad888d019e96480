//! The pod's key pair: ed25519, in `~/.ssh/akeys/`, made once and never overwritten.

use std::path::PathBuf;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use super::bundle::{BadKey, PodKey};
use crate::common::private::{self, IfThere, PrivateError};

/// Why a key pair could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyPairError {
    /// A file could not be written, or is there already.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// The key could not be made or encoded.
    #[error("the key cannot be made: {0}")]
    Key(#[from] ssh_key::Error),
    /// The key is not one that a bundle takes.
    #[error(transparent)]
    Bundle(#[from] BadKey),
}

/// Two files of one key.
#[derive(Debug)]
pub struct KeyPair {
    /// The private half, 0600.
    pub path: PathBuf,
    /// The public half.
    pub public: PodKey,
}

/// Where the private key of `grant` is.
pub fn path(layout: &Layout, grant: &GrantName) -> PathBuf {
    layout.key_dir().join(grant.as_str())
}

/// Where the public key of `grant` is.
fn public_path(layout: &Layout, grant: &GrantName) -> PathBuf {
    layout.key_dir().join(format!("{grant}.pub"))
}

/// Makes the key pair that asks for `grant`. Neither half is left when the other cannot be written.
pub fn create(layout: &Layout, grant: &GrantName) -> Result<KeyPair, KeyPairError> {
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?;
    key.set_comment(format!("akeys:{grant}"));
    let path = path(layout, grant);
    private::write(&path, key.to_openssh(LineEnding::LF)?.as_bytes(), 0o600, IfThere::Refuse)?;
    let line = format!("{}\n", key.public_key().to_openssh()?);
    if let Err(error) = private::write(&public_path(layout, grant), line.as_bytes(), 0o644, IfThere::Refuse) {
        let _ = private::remove(&path);
        return Err(error.into());
    }
    Ok(KeyPair { path, public: line.trim_end().parse()? })
}

/// Removes both halves; `true` when the private one was there.
pub fn remove(layout: &Layout, grant: &GrantName) -> Result<bool, PrivateError> {
    private::remove(&public_path(layout, grant))?;
    private::remove(&path(layout, grant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_pair_is_private_and_never_overwritten() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::new(scratch.path()).unwrap();
        let name = "playground.chef1".parse().unwrap();
        let pair = create(&layout, &name).unwrap();
        let mode = |path: PathBuf| path.metadata().unwrap().mode() & 0o7777;
        assert_eq!(mode(layout.key_dir()), 0o700);
        assert_eq!(mode(layout.ssh_dir()), 0o700);
        assert_eq!(mode(pair.path.clone()), 0o600);
        assert_eq!(mode(public_path(&layout, &name)), 0o644);
        let public = std::fs::read_to_string(public_path(&layout, &name)).unwrap();
        assert_eq!(public, format!("{} akeys:playground.chef1\n", pair.public));
        let before = std::fs::read(&pair.path).unwrap();
        assert!(matches!(create(&layout, &name), Err(KeyPairError::File(PrivateError::Exists { .. }))));
        assert_eq!(std::fs::read(&pair.path).unwrap(), before);
    }

    #[test]
    fn half_a_pair_is_taken_back() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::new(scratch.path()).unwrap();
        let name = "playground.chef1".parse().unwrap();
        private::write(&public_path(&layout, &name), b"another", 0o644, IfThere::Refuse).unwrap();
        assert!(create(&layout, &name).is_err());
        assert!(!path(&layout, &name).exists());
    }
}
