//! The key pairs of the pod's side: ed25519, in `~/.ssh/akeys/`, made once and never overwritten.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rrsync_rs::layout::Layout;
use rrsync_rs::name::{GrantName, Label};
use rrsync_rs::trusted::{self, Distrust, Kind};
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

/// Where the key is that will take the place of `grant`'s, for as long as both are in use.
pub fn next_path(layout: &Layout, grant: &GrantName) -> PathBuf {
    layout.next_key_dir().join(grant.as_str())
}

/// Where the key is that signs the bundles of `federation`.
pub fn signer_path(layout: &Layout, federation: &Label) -> PathBuf {
    layout.signer_dir().join(federation.as_str())
}

/// The public half beside a private one.
pub fn public_path(private: &Path) -> PathBuf {
    let mut name = private.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Makes a key pair, `path` and its `.pub`. Neither half is left when the other cannot be written.
pub fn create(path: &Path, comment: &str) -> Result<KeyPair, KeyPairError> {
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?;
    key.set_comment(comment);
    private::write(path, key.to_openssh(LineEnding::LF)?.as_bytes(), 0o600, IfThere::Refuse)?;
    match write_public(path, &key, IfThere::Refuse) {
        Ok(public) => Ok(KeyPair { path: path.to_owned(), public }),
        Err(error) => {
            let _ = private::remove(path);
            Err(error)
        }
    }
}

fn write_public(path: &Path, key: &PrivateKey, if_there: IfThere) -> Result<PodKey, KeyPairError> {
    let line = format!("{}\n", key.public_key().to_openssh()?);
    private::write(&public_path(path), line.as_bytes(), 0o644, if_there)?;
    Ok(line.trim_end().parse()?)
}

/// The key pair that an earlier run has made at `path`, perhaps without its public half, which is then written again.
pub fn resume(path: &Path) -> Result<Option<KeyPair>, KeyPairError> {
    let Some(key) = read(path)? else { return Ok(None) };
    let public = write_public(path, &key, IfThere::Replace)?;
    Ok(Some(KeyPair { path: path.to_owned(), public }))
}

/// The private key at `path`; `None` where there is none.
pub fn read(path: &Path) -> Result<Option<PrivateKey>, KeyPairError> {
    let mut file = match trusted::open(path, Kind::File) {
        Ok(file) => file,
        Err(Distrust::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(Distrust::Io(error)) => return Err(PrivateError::io(path)(error).into()),
        Err(reason) => return Err(PrivateError::Untrusted { path: path.to_owned(), reason }.into()),
    };
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(PrivateError::io(path))?;
    Ok(Some(PrivateKey::from_openssh(text.as_bytes())?))
}

/// Lets the next key of `grant` take the place of the present one, which is gone then. The private half first: killed in
/// between, [`tidy`] does the rest.
pub fn promote(layout: &Layout, grant: &GrantName) -> Result<(), PrivateError> {
    let (next, path) = (next_path(layout, grant), path(layout, grant));
    fs::rename(&next, &path).map_err(PrivateError::io(&next))?;
    tidy(layout, grant)
}

/// Completes a change of keys that was interrupted after the private half had its place.
pub fn tidy(layout: &Layout, grant: &GrantName) -> Result<(), PrivateError> {
    let (next, path) = (next_path(layout, grant), path(layout, grant));
    let public = public_path(&next);
    if !next.exists() && public.exists() {
        fs::rename(&public, public_path(&path)).map_err(PrivateError::io(&public))?;
    }
    if layout.next_key_dir().exists() {
        private::sync_dir(&layout.next_key_dir())?;
        private::sync_dir(&layout.key_dir())?;
    }
    Ok(())
}

/// Removes both halves; `true` when the private one was there.
pub fn remove(path: &Path) -> Result<bool, PrivateError> {
    private::remove(&public_path(path))?;
    private::remove(path)
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
        let file = path(&layout, &name);
        let pair = create(&file, "akeys:playground.chef1").unwrap();
        let mode = |path: PathBuf| path.metadata().unwrap().mode() & 0o7777;
        assert_eq!(mode(layout.key_dir()), 0o700);
        assert_eq!(mode(layout.ssh_dir()), 0o700);
        assert_eq!(mode(pair.path.clone()), 0o600);
        assert_eq!(mode(public_path(&file)), 0o644);
        let public = std::fs::read_to_string(public_path(&file)).unwrap();
        assert_eq!(public, format!("{} akeys:playground.chef1\n", pair.public));
        let before = std::fs::read(&pair.path).unwrap();
        assert!(matches!(create(&file, ""), Err(KeyPairError::File(PrivateError::Exists { .. }))));
        assert_eq!(std::fs::read(&pair.path).unwrap(), before);
    }

    #[test]
    fn half_a_pair_is_taken_back() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::new(scratch.path()).unwrap();
        let name = "playground.chef1".parse().unwrap();
        let file = path(&layout, &name);
        private::write(&public_path(&file), b"another", 0o644, IfThere::Refuse).unwrap();
        assert!(create(&file, "").is_err());
        assert!(!file.exists());
    }

    #[test]
    fn a_pair_whose_making_was_interrupted_is_completed() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("key");
        assert!(resume(&file).unwrap().is_none());
        let pair = create(&file, "x").unwrap();
        private::remove(&public_path(&file)).unwrap();
        assert_eq!(resume(&file).unwrap().unwrap().public, pair.public);
        assert!(public_path(&file).exists());
        assert!(remove(&file).unwrap() && !remove(&file).unwrap());
        assert!(!public_path(&file).exists());
    }
}
