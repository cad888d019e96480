//! Which server, and how it is told who is asking.

use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;

use crate::card::Address;

/// The port of a server where none is said.
const PORT: u16 = 4222;

/// A server's address, without a secret: `nats://HOST:PORT`, or `tls://`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    tls: bool,
    address: Address,
}

impl Url {
    /// Whether the connection has to be encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host's name or address.
    pub fn host(&self) -> &str {
        self.address.host.as_str()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port.map_or(PORT, NonZeroU16::get)
    }
}

/// Why a text is no address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It has another form.
    #[error("a server is nats://HOST:PORT or tls://HOST:PORT")]
    Form,
    /// It has a password in it, and would be shown.
    #[error("a password does not belong in the address: name its file with password-file, or token-file")]
    Secret,
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let (scheme, place) = text.split_once("://").ok_or(BadUrl::Form)?;
        if place.contains('@') {
            return Err(BadUrl::Secret);
        }
        let tls = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(BadUrl::Form),
        };
        Ok(Self { tls, address: place.trim_end_matches('/').parse().map_err(|_| BadUrl::Form)? })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "tls" } else { "nats" }, self.address)
    }
}

/// How a client says who it is. A secret is in a file, never in an argument or a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// It does not.
    None,
    /// A user, and the file with the password.
    Password(String, PathBuf),
    /// The file with a token.
    Token(PathBuf),
    /// The file with an nkey's seed.
    Nkey(PathBuf),
    /// A credentials file, as nsc(1) makes it.
    Credentials(PathBuf),
}

/// A server, and everything that is needed to talk to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where.
    pub url: Url,
    /// Who.
    pub login: Login,
    /// The certificates that its own is checked with, instead of the system's.
    pub authority: Option<PathBuf>,
    /// Where this account's own sshd is reached, for what is announced there: where that is not this host's name and usual port.
    pub address: Option<Address>,
    /// The files with its public keys, where they are not those that sshd's configuration names.
    pub host_keys: Vec<PathBuf>,
}

impl Server {
    /// A server that asks nobody who he is.
    pub fn new(url: Url) -> Self {
        Self { url, login: Login::None, authority: None, address: None, host_keys: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_secret_and_nothing_else() {
        for (text, host, port, tls) in [
            ("nats://hub.example", "hub.example", 4222, false),
            ("tls://hub.example:443", "hub.example", 443, true),
            ("nats://[2001:db8::1]:4223/", "2001:db8::1", 4223, false),
            ("nats://127.0.0.1:1", "127.0.0.1", 1, false),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.host(), url.port(), url.is_tls()), (host, port, tls));
            assert_eq!(url.to_string(), text.trim_end_matches('/'));
        }
        for bad in [
            "hub",
            "http://hub",
            "nats://",
            "nats://hub/x",
            "nats://a b",
            "nats://hub:0",
            "nats://-o",
            "ws://hub",
        ] {
            assert_eq!(bad.parse::<Url>(), Err(BadUrl::Form), "{bad}");
        }
        assert_eq!("nats://u:p@hub".parse::<Url>(), Err(BadUrl::Secret));
    }
}
