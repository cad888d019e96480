//! The host keys that are pinned for a federation: `~/.ssh/akeys/FEDERATION.known_hosts`, in the form of ssh's own
//! file of that name.
//!
//! The file decides whom ssh(1) takes for which host. A host that is in it never gets another key by the way: a key that
//! was not pinned with it is a conflict, which a person decides. Lines that somebody else put there are kept.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;

use super::{HostPublicKey, Place};
use crate::common::private::{self, IfThere, PrivateError};

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pins(Vec<u8>);

/// A host comes with a key that was not pinned with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} has another host key than the one that is pinned{}", place.known_as(), sides(pinned, shown))]
pub struct OtherKey {
    /// The host.
    pub place: Place,
    /// What is pinned.
    pub pinned: BTreeSet<HostPublicKey>,
    /// What it comes with.
    pub shown: BTreeSet<HostPublicKey>,
}

/// Both sides, a line for each key.
fn sides(pinned: &BTreeSet<HostPublicKey>, shown: &BTreeSet<HostPublicKey>) -> String {
    let side = |word: &str, keys: &BTreeSet<HostPublicKey>| -> Vec<String> {
        keys.iter().map(|key| format!("\n  {word} {}", key.shown())).collect()
    };
    [side("pinned:", pinned), side("new:   ", shown)].concat().concat()
}

impl Pins {
    /// What is pinned for `federation`; nothing where there is no file.
    pub fn load(layout: &Layout, federation: &Label) -> Result<Self, PrivateError> {
        let path = layout.known_hosts(federation);
        match fs::read(&path) {
            Ok(bytes) => Ok(Self(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(PrivateError::io(&path)(error)),
        }
    }

    /// Keeps it. A file that says nothing is removed.
    pub fn store(&self, layout: &Layout, federation: &Label) -> Result<(), PrivateError> {
        let path = layout.known_hosts(federation);
        if self.0.is_empty() {
            return private::remove(&path).map(drop);
        }
        private::write(&path, &self.0, 0o600, IfThere::Replace)
    }

    /// The keys that are pinned for `place`.
    pub fn of(&self, place: &Place) -> BTreeSet<HostPublicKey> {
        let name = place.known_as();
        let key = |line: &&[u8]| {
            let text = std::str::from_utf8(line).ok()?.trim_end();
            let (hosts, key) = text.split_once(' ')?;
            if hosts.split(',').any(|host| host.eq_ignore_ascii_case(&name)) {
                key.parse().ok()
            } else {
                None
            }
        };
        self.lines().filter_map(|line| key(&line)).collect()
    }

    /// Pins `keys` for `place`, unless others are pinned; `true` when that is new.
    pub fn add(&mut self, place: &Place, keys: &BTreeSet<HostPublicKey>) -> Result<bool, OtherKey> {
        let pinned = self.of(place);
        if pinned.is_empty() {
            self.append(place, keys);
            return Ok(true);
        }
        if keys.is_subset(&pinned) {
            return Ok(false);
        }
        Err(OtherKey { place: place.clone(), pinned, shown: keys.clone() })
    }

    /// Pins `keys` for `place` and nothing else.
    pub fn replace(&mut self, place: &Place, keys: &BTreeSet<HostPublicKey>) {
        self.drop(place);
        self.append(place, keys);
    }

    /// Takes every line about `place` away.
    pub fn drop(&mut self, place: &Place) {
        let name = place.known_as();
        let about = |line: &[u8]| {
            let hosts = line.split(|byte| *byte == b' ').next().unwrap_or_default();
            hosts.split(|byte| *byte == b',').any(|host| host.eq_ignore_ascii_case(name.as_bytes()))
        };
        self.0 = self.lines().filter(|line| !about(line)).flatten().copied().collect();
    }

    fn append(&mut self, place: &Place, keys: &BTreeSet<HostPublicKey>) {
        if self.0.last().is_some_and(|last| *last != b'\n') {
            self.0.push(b'\n');
        }
        for key in keys {
            self.0.extend_from_slice(format!("{} {key}\n", place.known_as()).as_bytes());
        }
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split_inclusive(|byte| *byte == b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authkeys::base64;

    fn key(seed: u8) -> HostPublicKey {
        let blob = [&[0, 0, 0, 11][..], b"ssh-ed25519", &[0, 0, 0, 32], &[seed; 32]].concat();
        format!("ssh-ed25519 {}", base64::encode(&blob)).parse().unwrap()
    }

    fn keys<const N: usize>(seeds: [u8; N]) -> BTreeSet<HostPublicKey> {
        seeds.into_iter().map(key).collect()
    }

    fn place(word: &str) -> Place {
        word.parse().unwrap()
    }

    #[test]
    fn a_pinned_host_gets_no_other_key_and_none_more() {
        let mut pins = Pins::default();
        let laptop = place("laptop");
        assert_eq!(pins.add(&laptop, &keys([1, 2])), Ok(true));
        for (shown, outcome) in [
            (keys([1, 2]), Some(false)),
            (keys([1]), Some(false)),
            (keys([3]), None),
            (keys([1, 2, 3]), None),
        ] {
            let before = pins.clone();
            assert_eq!(pins.add(&laptop, &shown).ok(), outcome);
            assert_eq!(pins, before);
        }
        let error = pins.add(&laptop, &keys([3])).unwrap_err().to_string();
        assert_eq!(error.matches("SHA256:").count(), 3, "{error}");
        // Another port is another sshd.
        assert_eq!(pins.add(&place("laptop:2222"), &keys([3])), Ok(true));
        assert_eq!(pins.of(&laptop), keys([1, 2]));
        pins.replace(&laptop, &keys([3]));
        assert_eq!(pins.of(&laptop), keys([3]));
        pins.drop(&laptop);
        pins.drop(&place("laptop:2222"));
        assert_eq!(pins, Pins::default());
    }

    #[test]
    fn what_somebody_else_wrote_is_kept_and_counts() {
        let latin1 = [b"# caf\xe9\n@revoked * ", key(7).to_string().as_bytes(), b"\n"].concat();
        let listed = format!("Laptop,10.0.0.1 {} root@laptop", key(1));
        let foreign = [latin1, listed.into_bytes()].concat();
        let mut pins = Pins(foreign.clone());
        assert_eq!(pins.of(&place("laptop")), keys([1]));
        assert_eq!(pins.add(&place("laptop"), &keys([1])), Ok(false));
        assert!(pins.add(&place("10.0.0.1"), &keys([2])).is_err());
        assert_eq!(pins.add(&place("desk"), &keys([2])), Ok(true));
        assert_eq!(pins.0, [foreign, format!("\ndesk {}\n", key(2)).into_bytes()].concat());
    }
}
