//! Which server, and how it is told who is asking.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A server's address, without a secret: `nats://HOST:PORT`, or `tls://`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url(String);

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
        let plain = place.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte));
        let fits = matches!(scheme, "nats" | "tls") && plain && (1..=255).contains(&place.len());
        if fits { Ok(Self(text.to_owned())) } else { Err(BadUrl::Form) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
}
