//! Why there is no connection, from what ssh said.

use std::io;
use std::path::PathBuf;

use rrsync_rs::escape::Escaped;

use crate::card::Place;
use crate::common::exit::{Exit, Failure};
use crate::common::private::PrivateError;

/// Why there is no connection, or no channel on it.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The directory of the sockets cannot be used.
    #[error(transparent)]
    Directory(#[from] PrivateError),
    /// A socket could not be bound there.
    #[error("{}: too long for a socket", Escaped::os(.0))]
    LongPath(PathBuf),
    /// ssh could not be run.
    #[error("ssh: {0}")]
    Start(io::Error),
    /// The host has shown another key than those that are pinned.
    #[error("{place} is not the host that is pinned{}", sides(pinned, shown.as_deref()))]
    HostKey {
        /// The host.
        place: Place,
        /// What is pinned.
        pinned: Vec<String>,
        /// What it has shown, where ssh said so.
        shown: Option<String>,
    },
    /// The login failed.
    #[error("{account}: {said}")]
    Login {
        /// Who was to log in.
        account: String,
        /// The last that ssh said, escaped.
        said: String,
    },
    /// A channel ended.
    #[error("{account}: {said}")]
    Channel {
        /// Whose.
        account: String,
        /// The last that ssh or the gate said, escaped.
        said: String,
    },
}

/// Both sides, a line for each key.
fn sides(pinned: &[String], shown: Option<&str>) -> String {
    let mut text = String::new();
    for key in pinned {
        text = format!("{text}\n  pinned: {key}");
    }
    if pinned.is_empty() {
        text.push_str("\n  pinned: nothing");
    }
    format!("{text}\n  shown:  {}", shown.unwrap_or("ssh did not say"))
}

impl SshError {
    /// Whether ssh has turned away from a host because of its key.
    pub fn is_about_host_key(said: &[u8]) -> bool {
        String::from_utf8_lossy(said).contains("Host key verification failed")
    }

    /// What a talkative ssh said of the host's key: `debug1: Server host key: ssh-ed25519 SHA256:…`.
    pub fn shown_host_key(said: &[u8]) -> Option<String> {
        let said = String::from_utf8_lossy(said);
        said.lines().find_map(|line| {
            let (kind, print) = line.trim().strip_prefix("debug1: Server host key: ")?.split_once(' ')?;
            Some(Escaped(format!("{print} ({kind})").as_bytes()).to_string())
        })
    }

    pub(super) fn host_key(place: &Place, pinned: &[String], said: &[u8]) -> Self {
        Self::HostKey { place: place.clone(), pinned: pinned.to_owned(), shown: Self::shown_host_key(said) }
    }

    pub(super) fn login(account: String, said: &[u8]) -> Self {
        Self::Login { account, said: last_line(said).unwrap_or_else(|| "the login failed".to_owned()) }
    }

    pub(super) fn channel(account: String, said: &[u8]) -> Self {
        Self::Channel {
            account,
            said: last_line(said).unwrap_or_else(|| "the connection has ended".to_owned()),
        }
    }
}

/// The last line that says anything, escaped; ssh gives the reason last.
fn last_line(said: &[u8]) -> Option<String> {
    let line =
        said.split(|byte| *byte == b'\n').rev().map(<[u8]>::trim_ascii).find(|line| !line.is_empty())?;
    Some(Escaped(line.get(..400).unwrap_or(line)).to_string())
}

impl From<SshError> for Failure {
    fn from(error: SshError) -> Self {
        let failure = Self::new(Exit::Failed, &error);
        match error {
            SshError::Directory(error) => error.into(),
            SshError::HostKey { .. } => failure.hint(
                "somebody may be in between: ask its owner; for a new key, let them send a new card: akeys federation meet CARD",
            ),
            SshError::LongPath(_) => failure.hint("a home with a shorter path"),
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_fingerprints_are_shown() {
        let said = b"OpenSSH_9.2\r\ndebug1: Server host key: ssh-ed25519 SHA256:new\r\nHost key verification failed.\r\n";
        assert!(SshError::is_about_host_key(said));
        let place: Place = "h:2222".parse().unwrap();
        let error = SshError::host_key(&place, &["SHA256:old (ssh-ed25519)".to_owned()], said);
        assert_eq!(
            error.to_string(),
            "h:2222 is not the host that is pinned\n  pinned: SHA256:old (ssh-ed25519)\n  shown:  SHA256:new (ssh-ed25519)"
        );
        let unknown = SshError::host_key(&place, &[], b"").to_string();
        assert!(unknown.contains("pinned: nothing") && unknown.contains("ssh did not say"), "{unknown}");
    }

    #[test]
    fn the_last_line_is_the_reason_and_is_escaped() {
        let error = SshError::login("u@h".to_owned(), b"banner\n\x1b[31mPermission denied\r\n\n");
        assert_eq!(error.to_string(), "u@h: \\x1b[31mPermission denied");
        assert_eq!(SshError::channel("u@h".to_owned(), b"\n").to_string(), "u@h: the connection has ended");
    }
}
