//! The keys of CVE-2008-0166: between 2006 and 2008 Debian's OpenSSL had 32,768 keys of each kind, and all of them are listed.
//!
//! The lists are those of ssh-vulnkey(1) and of Debian's package openssh-blacklist: `blacklist.TYPE-BITS` in two directories,
//! each line the last 20 hexadecimal digits of the MD5 fingerprint of a key. Where there is no list, nothing is found.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use md5::{Digest as _, Md5};

use crate::akeys::source;
use crate::authkeys::Key;

/// Where the lists are.
const DIRS: [&str; 2] = ["/usr/share/ssh", "/etc/ssh"];

/// No list has more bytes: a million keys.
const MOST: u64 = 1 << 25;

/// What is left of a fingerprint in a list.
type Tail = [u8; 10];

/// The keys on the lists.
#[derive(Debug, Default)]
pub struct WeakKeys(HashSet<Tail>);

impl WeakKeys {
    /// Reads the lists of this machine.
    pub(super) fn read() -> Self {
        Self::of(DIRS.into_iter().map(Path::new))
    }

    fn of<'a>(dirs: impl Iterator<Item = &'a Path>) -> Self {
        let entries = dirs.flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
        let lists = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"blacklist."));
        let mut keys = HashSet::new();
        for list in lists {
            let bytes = source::regular_at_most(&list.path(), MOST).unwrap_or_default();
            keys.extend(bytes.split(|&byte| byte == b'\n').filter_map(tail));
        }
        Self(keys)
    }

    /// Whether a key is on one of them.
    pub(super) fn has(&self, key: &Key) -> bool {
        let on_a_list = || {
            let sum: [u8; 16] = Md5::digest(key.blob()).into();
            sum.last_chunk().is_some_and(|tail| self.0.contains(tail))
        };
        !self.0.is_empty() && on_a_list()
    }
}

/// One line of a list; comments are none.
fn tail(line: &[u8]) -> Option<Tail> {
    let digits = line.trim_ascii();
    let mut tail = Tail::default();
    if digits.len() != 2 * tail.len() {
        return None;
    }
    for (byte, pair) in tail.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authkeys::Target;

    #[test]
    fn a_key_on_a_list() {
        let read = |text: &str| Key::from_public_line(text.as_bytes(), Target::default()).unwrap();
        let listed = read("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf");
        let other = read("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEK+ovPL2BKJP7BgTrWHa8W4u1Tyaycd19R2ZuhBhvs1");
        let scratch = tempfile::tempdir().unwrap();
        let of = || WeakKeys::of([scratch.path(), Path::new("/no/such/directory")].into_iter());
        assert!(!of().has(&listed));
        // What ssh-keygen -l -E md5 says of it, without the first 12 digits.
        fs::write(scratch.path().join("blacklist.RSA-2048"), "# a list\n\nffff\nc7d6d120fa24bc8cc33c0\n")
            .unwrap();
        assert!(!of().has(&listed));
        fs::write(
            scratch.path().join("blacklist.ED25519-256"),
            "# a list\n00112233445566778899\nc7d6d120fa24bc8cc33c\r\n",
        )
        .unwrap();
        assert!(of().has(&listed) && !of().has(&other));
    }
}
