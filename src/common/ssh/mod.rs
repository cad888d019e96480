//! ssh(1) as a pod calls it: one key, the host keys that are pinned for the federation, and no other way in.
//!
//! OpenSSH's own ssh carries everything, so the user's configuration, agents and jump hosts keep working. Everything that
//! decides who is let in is said on the command line, where no configuration can change it. What a configuration may say
//! is the way: `~/.ssh/akeys/FEDERATION.ssh_config` where there is one, else the user's own.
//!
//! Host and user are checked types: no option, no pattern and no token that ssh would expand can be hidden in them.

mod failure;
mod held;
mod words;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use rrsync_rs::layout::Layout;

use crate::card::Card;
pub use failure::SshError;
pub use held::Connection;

/// A way to one account.
#[derive(Debug, Clone)]
pub struct Ssh {
    card: Card,
    key: PathBuf,
    /// The key that is to take its place, while both are in use.
    next: Option<PathBuf>,
    known_hosts: PathBuf,
    config: Option<PathBuf>,
    home: PathBuf,
}

impl Ssh {
    /// The way to the account of `card`, with the private key `key`; during a change of keys also with the new one, because
    /// nobody knows which of the two the account lets in.
    pub fn to(card: &Card, key: &Path, layout: &Layout) -> Self {
        let config = layout.ssh_config(&card.federation);
        let next = key.file_name().map(|name| layout.next_key_dir().join(name));
        Self {
            card: card.clone(),
            key: key.to_owned(),
            next: next.filter(|next| next != key && next.exists()),
            known_hosts: layout.known_hosts(&card.federation),
            config: config.exists().then_some(config),
            home: layout.home().to_owned(),
        }
    }

    /// `ssh OPTIONS -- HOST`, to which the remote command is added.
    pub fn command(&self) -> Command {
        self.to_host::<&str>(&[])
    }

    /// The same, saying on standard error what it does: which key the host takes, for one.
    pub fn talkative(&self) -> Command {
        self.to_host(&["-v"])
    }

    fn to_host<S: AsRef<OsStr>>(&self, more: &[S]) -> Command {
        let mut command = self.start(more);
        command.arg("--").arg(self.card.place.host.as_str());
        command
    }

    /// `ssh OPTIONS`, with `more` of them in front.
    fn start<S: AsRef<OsStr>>(&self, more: &[S]) -> Command {
        let mut command = Command::new("ssh");
        command.env_clear().envs(environment(&self.home)).args(more);
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        command.args(words::options(&self.card, &self.key, &self.known_hosts));
        if let Some(next) = &self.next {
            command.arg("-o").arg(words::assigned("IdentityFile=", next));
        }
        command
    }
}

/// What a child of ours gets of the environment: what ssh needs to find agents, and the programs that a configuration names.
pub fn environment(home: &Path) -> Vec<(OsString, OsString)> {
    let mut variables = vec![("HOME".into(), home.into()), ("LANG".into(), "C.UTF-8".into())];
    for name in ["PATH", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR"] {
        variables.extend(std::env::var_os(name).map(|value| (name.into(), value)));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::parse;

    pub(super) fn card(host: &str) -> Card {
        let card = format!(
            "federation = \"lab\"\npod = \"pc\"\nuser = \"anna\"\nhost = \"{host}\"\nport = 2222\nworkspaces = [\"w\"]\nhost-keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5\"]\n"
        );
        parse(&card).unwrap()
    }

    #[test]
    fn the_host_is_never_an_option_and_nothing_else_lets_in() {
        let layout = Layout::new("/home/100%").unwrap();
        let command = Ssh::to(&card("::1"), Path::new("/k"), &layout).command();
        let args: Vec<_> = command.get_args().map(|arg| arg.to_str().unwrap()).collect();
        assert_eq!(args[args.len() - 2..], ["--", "::1"]);
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=none",
            "ClearAllForwardings=yes",
            "HostKeyAlias=[::1]:2222",
            "User=anna",
            "Port=2222",
            "IdentityFile=\"/k\"",
            "UserKnownHostsFile=\"/home/100%%/.ssh/akeys/lab.known_hosts\"",
        ] {
            let at =
                args.iter().position(|arg| *arg == option).unwrap_or_else(|| panic!("{option}: {args:?}"));
            assert_eq!(args[at - 1], "-o");
        }
    }
}
