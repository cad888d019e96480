//! The words of ssh's command line, and the same for rsync to run.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::process::Command;

use crate::card::Card;

/// What holds for every connection.
const OPTIONS: [&str; 21] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=none",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
    "CheckHostIP=no",
    "CanonicalizeHostname=no",
    "IdentitiesOnly=yes",
    "PreferredAuthentications=publickey",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "EscapeChar=none",
    "RequestTTY=no",
    "ConnectTimeout=20",
    // A connection whose other side is gone ends after two of these.
    "ServerAliveInterval=10",
    "ServerAliveCountMax=2",
    "TCPKeepAlive=yes",
    "LogLevel=INFO",
];

/// The options that every ssh of ours gets. On the command line they count before any configuration.
pub(super) fn options(card: &Card, key: &Path, known_hosts: &Path) -> Vec<OsString> {
    let place = &card.place;
    let own = [
        // Whatever address a configuration gives the host, it is known by the name on its card.
        format!("HostKeyAlias={}", place.known_as()).into(),
        format!("Port={}", place.port).into(),
        format!("User={}", card.user).into(),
        assigned("UserKnownHostsFile=", known_hosts),
        assigned("IdentityFile=", key),
    ];
    let all = OPTIONS.iter().map(OsString::from).chain(own);
    all.flat_map(|option| [OsString::from("-o"), option]).collect()
}

/// `NAME=` and a path, as one value: quoted, and with nothing in it that ssh would expand.
pub(super) fn assigned(name: &str, path: &Path) -> OsString {
    let mut value = OsString::from(name);
    value.push("\"");
    value.push(expanded(path.as_os_str()));
    value.push("\"");
    value
}

/// `text` with every percent sign doubled, which ssh takes back.
pub(super) fn expanded(text: &OsStr) -> OsString {
    doubled(text, b'%')
}

fn doubled(text: &OsStr, byte: u8) -> OsString {
    let more = |each: u8| std::iter::repeat_n(each, if each == byte { 2 } else { 1 });
    OsString::from_vec(text.as_bytes().iter().copied().flat_map(more).collect())
}

/// A command as the value of rsync's `-e`, which is split at blanks and takes words in quotes, with a quote doubled within
/// them (rsync(1), `--rsh`). It starts with the environment that the command is to have, whatever rsync has itself.
pub(super) fn for_rsync(command: &Command) -> OsString {
    let mut words = vec![OsString::from("env"), "-i".into()];
    for (name, value) in command.get_envs() {
        let mut word = name.to_owned();
        word.push("=");
        word.push(value.unwrap_or_default());
        words.push(word);
    }
    words.push(command.get_program().to_owned());
    words.extend(command.get_args().map(OsStr::to_owned));
    let quoted: Vec<Vec<u8>> =
        words.iter().map(|word| [b"'", doubled(word, b'\'').as_bytes(), b"'"].concat()).collect();
    OsString::from_vec(quoted.join(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_value() {
        assert_eq!(assigned("X=", Path::new("/a b/100%/k")), "X=\"/a b/100%%/k\"");
    }

    #[test]
    fn rsync_gets_words_that_it_splits_again() {
        let mut command = Command::new("ssh");
        command.env_clear().env("HOME", "/h o").args(["-i", "/it's a key"]);
        assert_eq!(for_rsync(&command), "'env' '-i' 'HOME=/h o' 'ssh' '-i' '/it''s a key'");
    }
}
