//! The words of ssh's command line, and the same for rsync to run.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use super::{ALIVE_INTERVAL, Route, SshError};

/// The options that every ssh of ours gets. On the command line they count before the user's own configuration.
pub(super) fn options(route: &Route, known_hosts: &Path) -> Result<Vec<OsString>, SshError> {
    let mut words: Vec<OsString> = Vec::new();
    let mut option = |word: String| words.extend(["-o".into(), word.into()]);
    for word in [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=none",
        "UpdateHostKeys=no",
        "CheckHostIP=no",
        "ForwardAgent=no",
        "ForwardX11=no",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "RemoteCommand=none",
        "EscapeChar=none",
        "RequestTTY=no",
        "LogLevel=INFO",
        "ConnectTimeout=30",
        "ServerAliveCountMax=3",
    ] {
        option(word.to_owned());
    }
    option(format!("ServerAliveInterval={ALIVE_INTERVAL}"));
    // Whatever address the user's configuration gives the host, it is known by the name on its card.
    option(format!("HostKeyAlias={}", route.place.known_as()));
    option(format!("Port={}", route.place.port));
    option(format!("User={}", route.user));
    words.extend(["-o".into(), assigned("UserKnownHostsFile=", known_hosts)?]);
    words.extend(["-o".into(), assigned("IdentityFile=", &route.key)?]);
    Ok(words)
}

/// `NAME=` and a path, as one value: quoted, and with nothing in it that ssh would expand.
fn assigned(name: &str, path: &Path) -> Result<OsString, SshError> {
    let bytes = path.as_os_str().as_bytes();
    // ssh_config(5) has no way to write these within quotes that all versions read alike; a leading tilde cannot be.
    if !bytes.starts_with(b"/") || bytes.iter().any(|byte| matches!(byte, b'"' | b'\\' | b'$' | ..b' ')) {
        return Err(SshError::Path(path.to_owned()));
    }
    let quoted = [name.as_bytes(), b"\"", expanded(path.as_os_str()).as_bytes(), b"\""].concat();
    Ok(OsString::from_vec(quoted))
}

/// `text` with every percent sign doubled, which ssh takes back.
pub(super) fn expanded(text: &OsStr) -> OsString {
    let doubled = text.as_bytes().iter().flat_map(|byte| {
        let more = (*byte == b'%').then_some(b'%');
        std::iter::once(*byte).chain(more)
    });
    OsString::from_vec(doubled.collect())
}

/// A command as the value of rsync's `-e`, which is split at blanks and takes words in quotes, with a quote doubled within
/// them (rsync(1), `--rsh`). The command gets the home back that rsync itself must not see, see [`crate::afiles::rsync`].
pub(super) fn for_rsync<'w>(words: impl Iterator<Item = &'w OsStr>) -> OsString {
    let mut home = OsString::from("HOME=");
    home.push(std::env::var_os("HOME").unwrap_or_default());
    let all = [OsString::from("env"), home].into_iter().chain(words.map(OsStr::to_owned));
    let quoted: Vec<Vec<u8>> = all
        .map(|word| {
            let doubled = word.as_bytes().iter().flat_map(|byte| {
                let more = (*byte == b'\'').then_some(b'\'');
                std::iter::once(*byte).chain(more)
            });
            [b"'".to_vec(), doubled.collect(), b"'".to_vec()].concat()
        })
        .collect();
    OsString::from_vec(quoted.join(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_value_or_none() {
        let value = |path: &str| assigned("X=", Path::new(path)).ok();
        assert_eq!(value("/a b/100%/k").unwrap(), "X=\"/a b/100%%/k\"");
        for bad in ["", "k", "~/k", "/a\"b", "/a\\b", "/a\nb", "/${HOME}/k"] {
            assert_eq!(value(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn rsync_gets_words_that_it_splits_again() {
        let value = for_rsync(["ssh", "-i", "/it's a key"].map(OsStr::new).into_iter());
        let value = value.to_str().unwrap();
        assert!(value.ends_with(" 'ssh' '-i' '/it''s a key'"), "{value}");
    }
}
