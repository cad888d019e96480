//! What another host says about itself, read as strictly as anything that comes from outside.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rrsync_rs::layout::Layout;

use crate::akeys::sshd::Settings;
use crate::card::HostPublicKey;

/// The script that asks.
pub(super) const SCRIPT: &str = include_str!("probe.sh");

/// What an installation has to know.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// The account's home and what is in it.
    pub(super) layout: Layout,
    /// What uname(1) calls the system and the machine.
    pub(super) system: String,
    /// akeys, where it is installed.
    pub(super) akeys: Option<PathBuf>,
    /// The gate, where it is installed.
    pub(super) gate: Option<PathBuf>,
    /// Where each directory really is that was asked for; `None` where there is none.
    pub(super) dirs: Vec<Option<PathBuf>>,
    /// The host's keys, as far as they can be read.
    pub(super) host_keys: BTreeSet<HostPublicKey>,
    /// The account's number.
    pub(super) uid: u32,
    /// What sshd was told about key files, where it can be asked.
    pub(super) sshd: Option<Settings>,
}

/// Why an answer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadAnswer {
    /// It does not begin, or does not end.
    #[error("the answer is not whole")]
    NotWhole,
    /// A line that says nothing known.
    #[error("the answer has a line {0:?}")]
    Line(String),
    /// Something is not said.
    #[error("the answer does not say the {0}")]
    Missing(&'static str),
}

/// Reads the answer between two lines with `mark`; a login shell may have said something before. `dirs` is how many
/// directories were asked for.
pub(super) fn parse(stdout: &[u8], mark: &str, dirs: usize) -> Result<Facts, BadAnswer> {
    let text = std::str::from_utf8(stdout).map_err(|_| BadAnswer::NotWhole)?;
    let (_, rest) = text.split_once(&format!("\n{mark} begin\n")).ok_or(BadAnswer::NotWhole)?;
    let (answer, _) = rest.split_once(&format!("{mark} end\n")).ok_or(BadAnswer::NotWhole)?;
    let (mut layout, mut system, mut akeys, mut gate) = (None, None, None, None);
    let (mut found, mut host_keys) = (Vec::new(), BTreeSet::new());
    let (mut uid, mut sshd) = (None, None);
    for line in answer.lines() {
        let odd = || BadAnswer::Line(line.chars().take(200).collect());
        if line.chars().any(char::is_control) {
            return Err(odd());
        }
        match line.split_once(' ').ok_or_else(odd)? {
            ("home", home) => layout = Some(Layout::new(absolute(home).ok_or_else(odd)?).ok_or_else(odd)?),
            // The account is the one that ssh has logged in to, whatever it calls itself.
            ("user", _) => {}
            ("uid", number) => uid = Some(number.parse().map_err(|_| odd())?),
            ("sshd", line) => sshd = Some(Settings::parse(line)),
            ("system", name) => system = Some(name.to_owned()),
            ("akeys", path) => akeys = Some(absolute(path).ok_or_else(odd)?),
            ("rrsync-rs", path) => gate = Some(absolute(path).ok_or_else(odd)?),
            ("dir", path) => found.push(Some(absolute(path).ok_or_else(odd)?)),
            ("no", "dir") => found.push(None),
            // A key of another kind than a card takes is no reason to stop.
            ("key", key) => host_keys.extend(key.parse::<HostPublicKey>().ok()),
            _ => return Err(odd()),
        }
    }
    if found.len() != dirs {
        return Err(BadAnswer::Missing("directories"));
    }
    Ok(Facts {
        layout: layout.ok_or(BadAnswer::Missing("home"))?,
        system: system.ok_or(BadAnswer::Missing("system"))?,
        akeys,
        gate,
        dirs: found,
        host_keys,
        uid: uid.ok_or(BadAnswer::Missing("uid"))?,
        sshd,
    })
}

/// An absolute path without `.` and `..`, as `pwd -P` prints it.
fn absolute(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let plain = !path.components().any(|part| matches!(part, std::path::Component::ParentDir));
    (path.is_absolute() && plain).then(|| path.components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANSWER: &str = "motd\n\nM begin\nhome /home/anna\nuser anna\nuid 1000\nsystem Linux x86_64\nrrsync-rs /home/anna/.local/bin/rrsync-rs\ndir /home/anna/papers\nno dir\nkey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5 root@h\nkey ssh-dss AAAA\nsshd authorizedkeysfile /etc/keys/%u\nM end\nbye\n";

    #[test]
    fn an_answer_is_read() {
        let facts = parse(ANSWER.as_bytes(), "M", 2).unwrap();
        assert_eq!(facts.layout.home(), Path::new("/home/anna"));
        assert_eq!((facts.system.as_str(), &facts.akeys), ("Linux x86_64", &None));
        assert_eq!(facts.gate.as_deref(), Some(Path::new("/home/anna/.local/bin/rrsync-rs")));
        assert_eq!(facts.dirs, [Some(PathBuf::from("/home/anna/papers")), None]);
        assert_eq!(facts.host_keys.len(), 1);
        assert_eq!(facts.sshd.unwrap().words("authorizedkeysfile"), ["/etc/keys/%u"]);
    }

    #[test]
    fn what_is_odd_is_refused() {
        for (from, to, says) in [
            ("M begin", "N begin", "the answer is not whole"),
            ("M end", "N end", "the answer is not whole"),
            ("home /home/anna", "home anna", "has a line \"home anna\""),
            ("home /home/anna", "home /home/anna/..", "has a line"),
            ("home /home/anna\n", "", "does not say the home"),
            ("uid 1000\n", "", "does not say the uid"),
            ("uid 1000", "uid -1", "has a line \"uid -1\""),
            ("system Linux x86_64\n", "", "does not say the system"),
            ("dir /home/anna/papers", "dir /home/anna/pap\ners", "has a line \"ers\""),
            ("dir /home/anna/papers", "dir /home/anna/\x1b[31m", "has a line"),
            ("no dir\n", "", "does not say the directories"),
            ("no dir\n", "no dir\nno dir\n", "does not say the directories"),
            ("user anna", "shell /bin/sh", "has a line"),
        ] {
            let error = parse(ANSWER.replacen(from, to, 1).as_bytes(), "M", 2).unwrap_err().to_string();
            assert!(error.contains(says), "{from}: {error}");
        }
        assert_eq!(parse(b"\xff", "M", 0), Err(BadAnswer::NotWhole));
    }

    proptest! {
        #[test]
        fn no_answer_panics(noise in proptest::collection::vec(any::<u8>(), 0..64), at in 0..ANSWER.len()) {
            let mut bytes = ANSWER.as_bytes()[..at].to_vec();
            bytes.extend_from_slice(&noise);
            bytes.extend_from_slice(&ANSWER.as_bytes()[at..]);
            if let Ok(facts) = parse(&bytes, "M", 2) {
                prop_assert!(facts.layout.home().is_absolute());
            }
        }
    }
}
