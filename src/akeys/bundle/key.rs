//! Public keys and addresses from a bundle, each decoded and written again by us: what goes into a file is ours.

use std::fmt;
use std::str::FromStr;

use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, PublicKey};

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

/// A pod's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodKey(KeyData);

impl PodKey {
    /// The key in a decoded form.
    pub fn new(key: &PublicKey) -> Result<Self, BadKey> {
        let data = key.key_data();
        let accepted = match data {
            KeyData::Ed25519(_)
            | KeyData::Ecdsa(_)
            | KeyData::SkEd25519(_)
            | KeyData::SkEcdsaSha2NistP256(_) => true,
            KeyData::Rsa(rsa) => rsa.n.as_positive_bytes().is_some_and(|n| bits(n) >= MIN_RSA_BITS),
            _ => false,
        };
        if accepted { Ok(Self(data.clone())) } else { Err(BadKey::Type(key.algorithm().to_string())) }
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The blob, as in the base64 of a key line.
    pub fn blob(&self) -> Vec<u8> {
        PublicKey::from(self.0.clone()).to_bytes().unwrap_or_default()
    }
}

fn bits(positive: &[u8]) -> usize {
    let leading = positive.first().map_or(0, |byte| byte.leading_zeros() as usize);
    positive.len() * 8 - leading
}

impl FromStr for PodKey {
    type Err = BadKey;

    /// Reads `TYPE BASE64 [COMMENT]`; the comment is dropped.
    fn from_str(text: &str) -> Result<Self, BadKey> {
        // One line of printable text: a bundle has no business with anything else here.
        if text.chars().any(char::is_control) {
            return Err(BadKey::Form);
        }
        Self::new(&PublicKey::from_openssh(text).map_err(|_| BadKey::Form)?)
    }
}

impl fmt::Display for PodKey {
    /// `TYPE BASE64`, encoded anew.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = PublicKey::from(self.0.clone()).to_openssh().map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

/// A host's public key with the name that it is pinned under: `HOST TYPE BASE64`, as in `known_hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    host: String,
    key: KeyData,
}

impl FromStr for HostKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let (host, key) = text.split_once(' ').ok_or(BadKey::HostForm)?;
        let name = host.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-_[]".contains(&b));
        let key = PublicKey::from_openssh(key).map_err(|_| BadKey::HostForm)?;
        let known = !matches!(key.algorithm(), Algorithm::Dsa | Algorithm::Other(_));
        if host.is_empty() || !name || !known || text.chars().any(char::is_control) {
            return Err(BadKey::HostForm);
        }
        Ok(Self { host: host.to_owned(), key: key.key_data().clone() })
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = PublicKey::from(self.key.clone()).to_openssh().map_err(|_| fmt::Error)?;
        write!(f, "{} {key}", self.host)
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
