//! A host's public key, decoded and written again by us.

use std::fmt;
use std::str::FromStr;

use crate::authkeys::{Algorithm, Key, Target};

/// Why a text is no host key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHostKey {
    /// Not `TYPE BASE64`.
    #[error("not a host key: TYPE BASE64, as in /etc/ssh/ssh_host_ed25519_key.pub")]
    Form,
    /// A type or size that no present ssh client takes from a host.
    #[error(
        "{0} host keys are not accepted: ssh-ed25519, ecdsa-sha2-*, sk-* or ssh-rsa of 2048 bits and more"
    )]
    Type(String),
}

/// The shortest RSA host key that is accepted: what ssh-keygen(1) made until 2019, and hosts keep their keys.
const MIN_RSA_BITS: usize = 2048;

/// A host's public key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPublicKey(Key);

impl HostPublicKey {
    /// The key itself.
    pub fn key(&self) -> &Key {
        &self.0
    }

    /// `SHA256:… (ssh-ed25519)`, as it is compared over another channel.
    pub fn shown(&self) -> String {
        format!("{} ({})", self.0.fingerprint(), self.0.algorithm())
    }
}

impl FromStr for HostPublicKey {
    type Err = BadHostKey;

    /// Reads `TYPE BASE64 [COMMENT]`; the comment is dropped.
    fn from_str(text: &str) -> Result<Self, BadHostKey> {
        if text.chars().any(char::is_control) {
            return Err(BadHostKey::Form);
        }
        let key = Key::from_public_line(text.as_bytes(), Target::default()).ok_or(BadHostKey::Form)?;
        match key.algorithm() {
            Algorithm::Dsa | Algorithm::MlDsa44Ed25519 => Err(BadHostKey::Type(key.algorithm().to_string())),
            Algorithm::Rsa if key.bits() < MIN_RSA_BITS => {
                Err(BadHostKey::Type(format!("{}-bit ssh-rsa", key.bits())))
            }
            _ => Ok(Self(key)),
        }
    }
}

impl fmt::Display for HostPublicKey {
    /// `TYPE BASE64`, encoded anew.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
