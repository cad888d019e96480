//! The key that the present session came in by.
//!
//! sshd says it in the file that `SSH_USER_AUTH` names when it has `ExposeAuthInfo yes`. Otherwise only its log says it, by
//! the client's address and port. Whoever set these variables to something else has only himself to lock out.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use jiff::Timestamp;
use nix::fcntl::OFlag;

use crate::akeys::account::Account;
use crate::akeys::acting;
use crate::akeys::explain::Certificate;
use crate::akeys::used;
use crate::authkeys::{Context, Key, Target};

/// How the present session came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Session {
    /// Not through sshd.
    None,
    /// Through sshd, and nothing here says by which key; why not.
    Unknown(&'static str),
    /// By this key, or by a certificate that it signed.
    Key {
        /// The fingerprint of the key that a line must be for.
        fingerprint: String,
        /// The client.
        from: From,
        /// Whether it was a certificate that the key signed; `None` where that is not known.
        as_authority: Option<bool>,
    },
}

/// Where the client of the session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct From(IpAddr);

impl From {
    #[cfg(test)]
    pub(super) fn at(address: &str) -> Self {
        Self(address.parse().unwrap())
    }

    /// A login from there, now.
    pub(super) fn context(self, now: Timestamp, certificate: bool) -> Context<'static> {
        let rules = Target::default().into();
        Context { rules, address: self.0, host: None, user: "", now, certificate }
    }
}

/// More than this is not what sshd writes.
const MAX_BYTES: u64 = 1 << 16;

/// The session of this process.
pub(super) fn present() -> Session {
    // Root came in to its own account, whatever it does to another.
    if acting::for_another() {
        return Session::None;
    }
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (connection, told) = (variable("SSH_CONNECTION"), variable("SSH_USER_AUTH"));
    let from = From(connection.as_deref().and_then(client).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    match (told, connection) {
        (Some(path), _) => match read(Path::new(&path)).as_deref().map(|text| by_key(text, from)) {
            Some(Some(session)) => session,
            Some(None) => Session::None,
            None => Session::Unknown("the file that SSH_USER_AUTH names cannot be read"),
        },
        (None, Some(connection)) => by_log(&connection, from),
        (None, None) => Session::None,
    }
}

/// What sshd's log says about the connection, where it may be read.
fn by_log(connection: &str, from: From) -> Session {
    let mut words = connection.split(' ');
    let (address, port) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let account = Account::of(nix::unistd::geteuid().as_raw()).name;
    match used::key_of_connection(&account, address, port) {
        Some(fingerprint) => Session::Key { fingerprint, from, as_authority: None },
        None => Session::Unknown("sshd has ExposeAuthInfo no, and its log does not say it here"),
    }
}

/// The client's address in `CLIENT PORT SERVER PORT`.
fn client(connection: &str) -> Option<IpAddr> {
    connection.split(' ').next()?.split('%').next()?.parse().ok()
}

fn read(path: &Path) -> Option<String> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = File::options().read(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let own = metadata.uid() == nix::unistd::geteuid().as_raw() || metadata.uid() == 0;
    let mut text = String::new();
    (metadata.is_file() && own).then(|| file.take(MAX_BYTES).read_to_string(&mut text).ok())??;
    Some(text)
}

/// The key in what sshd wrote, a line for each method: `publickey TYPE BASE64`. `None` when there was none, as with a
/// password.
fn by_key(text: &str, from: From) -> Option<Session> {
    text.lines().filter_map(|line| line.strip_prefix("publickey ")).find_map(|shown| {
        let certificate = Certificate::read(shown, Target::default());
        let as_authority = Some(certificate.is_some());
        let key = match certificate {
            Some(certificate) => certificate.authority,
            None => Key::from_public_line(shown.as_bytes(), Target::default())?,
        };
        Some(Session::Key { fingerprint: key.fingerprint(), from, as_authority })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";
    const FINGERPRINT: &str = "SHA256:25s8WBSp0KhPUopvzg0T/22n63+E867cDq2mYuqOuH4";

    #[test]
    fn what_sshd_says_about_the_session() {
        let from = From(client("192.0.2.7 50000 192.0.2.1 22").unwrap());
        assert_eq!(from, From("192.0.2.7".parse().unwrap()));
        assert_eq!(client("fe80::1%eth0 1 fe80::2 22"), Some("fe80::1".parse().unwrap()));
        assert_eq!(client("UNKNOWN 65535 UNKNOWN 65535"), None);
        for (text, by) in [
            (format!("publickey {ED}\n"), Some(FINGERPRINT)),
            (format!("password\npublickey {ED}"), Some(FINGERPRINT)),
            ("password\n".to_owned(), None),
            ("publickey nonsense\n".to_owned(), None),
            (String::new(), None),
        ] {
            let found = by_key(&text, from).map(|session| match session {
                Session::Key { fingerprint, .. } => fingerprint,
                other => panic!("{other:?}"),
            });
            assert_eq!(found.as_deref(), by, "{text:?}");
        }
    }
}
