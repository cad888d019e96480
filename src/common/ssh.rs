//! ssh(1) as a pod calls it: one key, the host keys that are pinned for the federation, and no other way in.
//!
//! Everything that decides who is let in is said on the command line, where no configuration can change it. What a
//! configuration may say is the way: `~/.ssh/akeys/FEDERATION.ssh_config`, where there is one, for a jump host or a proxy.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rrsync_rs::layout::Layout;

use crate::card::Card;

/// What holds for every connection.
const OPTIONS: [&str; 17] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=none",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
    "CheckHostIP=no",
    "CanonicalizeHostname=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "PermitLocalCommand=no",
    "RequestTTY=no",
    "ConnectTimeout=20",
    "ServerAliveInterval=15",
    "LogLevel=INFO",
];

/// A way to one account.
#[derive(Debug, Clone)]
pub struct Ssh {
    card: Card,
    key: PathBuf,
    known_hosts: PathBuf,
    config: Option<PathBuf>,
    home: PathBuf,
}

impl Ssh {
    /// The way to the account of `card`, with the private key `key`.
    pub fn to(card: &Card, key: &Path, layout: &Layout) -> Self {
        let config = layout.ssh_config(&card.federation);
        Self {
            card: card.clone(),
            key: key.to_owned(),
            known_hosts: layout.known_hosts(&card.federation),
            config: config.exists().then_some(config),
            home: layout.home().to_owned(),
        }
    }

    /// `ssh OPTIONS -- HOST`, to which the remote command is added.
    pub fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8");
        command.arg("-F").arg(self.config.as_deref().unwrap_or(Path::new("none")));
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        let mut known_hosts = OsString::from("UserKnownHostsFile=\"");
        known_hosts.push(literal(&self.known_hosts));
        known_hosts.push("\"");
        command.arg("-o").arg(known_hosts).arg("-i").arg(literal(&self.key));
        let place = &self.card.place;
        command.args([
            "-p",
            &place.port.to_string(),
            "-l",
            self.card.user.as_str(),
            "--",
            place.host.as_str(),
        ]);
        command
    }
}

/// A path in which ssh expands nothing.
fn literal(path: &Path) -> OsString {
    let mut bytes = Vec::new();
    for &byte in OsStr::as_bytes(path.as_os_str()) {
        if byte == b'%' {
            bytes.push(b'%');
        }
        bytes.push(byte);
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::parse;

    #[test]
    fn the_host_is_never_an_option_and_nothing_else_lets_in() {
        let layout = Layout::new("/home/100%").unwrap();
        let card = "federation = \"lab\"\npod = \"pc\"\nuser = \"anna\"\nhost = \"::1\"\nport = 2222\nworkspaces = [\"w\"]\nhost-keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5\"]\n";
        let command = Ssh::to(&parse(card).unwrap(), Path::new("/k"), &layout).command();
        let args: Vec<_> = command.get_args().map(|arg| arg.to_str().unwrap()).collect();
        assert_eq!(args[..2], ["-F", "none"]);
        assert_eq!(args[args.len() - 6..], ["-p", "2222", "-l", "anna", "--", "::1"]);
        assert!(args.contains(&"UserKnownHostsFile=\"/home/100%%/.ssh/akeys/lab.known_hosts\""), "{args:?}");
    }
}
