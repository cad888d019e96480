//! This machine as a client sees it: its name, the port of its sshd, its host keys.
//!
//! sshd is asked which keys and ports it is told to use; where it cannot be asked, its defaults are looked at. The public
//! halves are files that everybody may read.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::path::Path;

use super::sshd::Settings;
use crate::card::{Host, HostPublicKey};
use crate::common::exit::Failure;
use crate::common::input;
use crate::common::toml_text::At;

/// The keys that sshd uses when its configuration names none (`fill_default_server_options` in servconf.c).
const DEFAULT_KEYS: [&str; 3] =
    ["/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key"];

/// This machine's sshd.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Server {
    /// The first port that it listens on; `None` where it could not be asked.
    pub port: Option<NonZeroU16>,
    /// Its public keys, as far as they can be read.
    pub keys: BTreeSet<HostPublicKey>,
    /// What could not be found out, each for a reader.
    pub notes: Vec<String>,
}

impl Server {
    /// Asks for it. `user` is the account that would log in.
    pub fn of_this_machine(user: &str) -> Self {
        let (settings, unasked) = match Settings::ask_alone(user) {
            Ok(settings) => (settings, None),
            Err(error) => (Settings::default(), Some(error.to_string())),
        };
        let named = settings.values("hostkey");
        let mut server = if named.is_empty() {
            // sshd does without a default key that was not made.
            Self { notes: Vec::new(), ..Self::with_keys(&DEFAULT_KEYS) }
        } else {
            Self::with_keys(named)
        };
        server.port = settings.value("port").and_then(|port| port.parse().ok());
        server.notes.extend(unasked);
        server
    }

    /// The public halves of the keys in these files.
    fn with_keys<S: AsRef<str>>(private: &[S]) -> Self {
        let mut server = Self::default();
        for path in private {
            match public_key(Path::new(&format!("{}.pub", path.as_ref()))) {
                Ok(key) => drop(server.keys.insert(key)),
                Err(failure) => server.notes.push(failure.message),
            }
        }
        server
    }
}

/// The host key in the `.pub` file `path`.
pub fn public_key(path: &Path) -> Result<HostPublicKey, Failure> {
    let parse = |text: &str| {
        let wrong = |error: crate::card::BadHostKey| At { line: 1, column: 1, what: error.to_string() };
        text.trim_end_matches('\n').parse().map_err(wrong)
    };
    Ok(input::named(path, parse)?)
}

/// What this machine calls itself, when that can be the host of a card.
pub fn own_name() -> Option<Host> {
    nix::unistd::gethostname().ok()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5";

    #[test]
    fn the_public_halves_are_read_and_what_is_missing_is_said() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
        fs::write(at("host_key.pub"), format!("{KEY} root@laptop\n")).unwrap();
        let server = Server::with_keys(&[at("host_key"), at("other")]);
        assert_eq!(server.keys.iter().map(ToString::to_string).collect::<Vec<_>>(), [KEY]);
        assert!(matches!(&server.notes[..], [note] if note.contains("other.pub: No such file")));
        fs::write(at("two.pub"), format!("{KEY}\n{KEY}\n")).unwrap();
        let two = public_key(Path::new(&at("two.pub"))).unwrap_err();
        assert!(
            two.message.ends_with(
                "two.pub:1:1: not a host key: TYPE BASE64, as in /etc/ssh/ssh_host_ed25519_key.pub"
            )
        );
    }
}
