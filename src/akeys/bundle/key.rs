//! Public keys and addresses from a bundle, each decoded and written again by us: what goes into a file is ours.

use std::fmt;
use std::str::FromStr;

use crate::authkeys::{Algorithm, Key, Target};
use crate::card::{HostPublicKey, Place};

/// Why a text is no key, host key or URL for a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Not `TYPE BASE64`.
    #[error("not a public key: TYPE BASE64, as in the .pub file")]
    Form,
    /// A type that no grant is made for.
    #[error("{0} keys are not accepted: ssh-ed25519, ecdsa-sha2-*, sk-* or ssh-rsa of 3072 bits and more")]
    Type(String),
    /// Not `HOST TYPE BASE64`.
    #[error("not a host key: HOST TYPE BASE64, as in known_hosts")]
    HostForm,
    /// Not a NATS address.
    #[error("not a NATS URL: nats://HOST:PORT or tls://HOST:PORT, without credentials")]
    Url,
}

/// The shortest RSA key that is accepted, as in current recommendations (NIST SP 800-57, until 2030 and beyond).
const MIN_RSA_BITS: usize = 3072;

/// A pod's public key, of a kind that every OpenSSH in use reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodKey(Key);

impl PodKey {
    /// The key itself.
    pub fn key(&self) -> &Key {
        &self.0
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }
}

impl FromStr for PodKey {
    type Err = BadKey;

    /// Reads `TYPE BASE64 [COMMENT]`; the comment is dropped.
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let key = public_line(text).ok_or(BadKey::Form)?;
        match key.algorithm() {
            Algorithm::Dsa | Algorithm::MlDsa44Ed25519 => Err(BadKey::Type(key.algorithm().to_string())),
            Algorithm::Rsa if key.bits() < MIN_RSA_BITS => {
                Err(BadKey::Type(format!("{}-bit ssh-rsa", key.bits())))
            }
            _ => Ok(Self(key)),
        }
    }
}

/// One line of printable text with one key and no options: a bundle has no business with anything else here.
fn public_line(text: &str) -> Option<Key> {
    if text.chars().any(char::is_control) {
        return None;
    }
    Key::from_public_line(text.as_bytes(), Target::default())
}

impl fmt::Display for PodKey {
    /// `TYPE BASE64`, encoded anew.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A host's public key with the place that it is pinned for: `HOST TYPE BASE64`, as in `known_hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// The host and its port.
    pub place: Place,
    /// The key.
    pub key: HostPublicKey,
}

impl FromStr for HostKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let (host, key) = text.split_once(' ').ok_or(BadKey::HostForm)?;
        let place = host.parse().map_err(|_| BadKey::HostForm)?;
        Ok(Self { place, key: key.parse().map_err(|_| BadKey::HostForm)? })
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place.known_as(), self.key)
    }
}

/// The address of a NATS server. It has no user and no password in it: a bundle is public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsUrl(String);

impl FromStr for NatsUrl {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let (scheme, place) = text.split_once("://").ok_or(BadKey::Url)?;
        let plain = place.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-_[]".contains(&b));
        if matches!(scheme, "nats" | "tls" | "ws" | "wss") && plain && !place.is_empty() && place.len() <= 255
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadKey::Url)
        }
    }
}

/// A NATS server, or none: what a setting is changed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsWord(pub Option<NatsUrl>);

impl FromStr for NatsWord {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(|url| Self(Some(url))) }
    }
}

impl fmt::Display for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5";

    #[test]
    fn a_key_is_written_anew_and_loses_its_comment() {
        let key: PodKey = format!("{KEY} u@h \" command=\"sh\"").parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        assert!(key.fingerprint().starts_with("SHA256:"));
    }

    #[test]
    fn what_is_not_one_key_is_refused() {
        let short_rsa =
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDIwu0m8yPNDMuEFHhqF1i2TUoWbZBKDPCDLQEmzXiBkLAh";
        for text in [
            String::new(),
            "ssh-ed25519".into(),
            format!("restrict {KEY}"),
            format!("{KEY}\nssh-rsa AAAA"),
            KEY.replace("AAAAC3", "AAAAC4"),
            KEY.replace("ssh-ed25519 ", "ssh-rsa "),
            short_rsa.into(),
        ] {
            assert!(text.parse::<PodKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn host_keys_and_urls_hold_nothing_else() {
        for good in [format!("hub.example {KEY}"), format!("[hub.example]:2222 {KEY}")] {
            assert_eq!(good.parse::<HostKey>().unwrap().to_string(), good);
        }
        for bad in
            [KEY.to_owned(), format!("a,b {KEY}"), format!("@cert-authority * {KEY}"), format!("h\n {KEY}")]
        {
            assert!(bad.parse::<HostKey>().is_err(), "{bad:?}");
        }
        for good in ["nats://hub.example:4222", "tls://[2001:db8::1]:4222"] {
            assert_eq!(good.parse::<NatsUrl>().unwrap().to_string(), good);
        }
        for bad in ["hub", "http://x", "nats://", "nats://u:p@hub", "nats://hub/x", "nats://a b"] {
            assert!(bad.parse::<NatsUrl>().is_err(), "{bad:?}");
        }
    }
}
