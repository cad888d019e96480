//! `RevokedKeys`: the keys that sshd refuses whatever a line says. A file of public keys, or a KRL (PROTOCOL.krl of OpenSSH).

use std::collections::HashSet;
use std::path::Path;

use rrsync_rs::sha256::Sum;

use crate::akeys::source;
use crate::authkeys::{Key, Target};

/// Keys that are revoked.
#[derive(Debug, Default)]
pub struct Revoked {
    /// By their value.
    pub keys: HashSet<Key>,
    /// By their blobs.
    blobs: HashSet<Vec<u8>>,
    /// By the SHA-256 of their blobs.
    sums: HashSet<Sum>,
}

/// `KRL_MAGIC`.
const MAGIC: &[u8] = b"SSHKRL\n\0";

/// The sections that speak of keys; those about certificates say nothing about a line.
const EXPLICIT_KEY: u8 = 2;
const SHA256: u8 = 5;

impl Revoked {
    /// Reads what `RevokedKeys` names, as far as this account may; what it may not read says nothing.
    pub(super) fn read(path: &Path) -> Self {
        let bytes = source::regular(path).unwrap_or_default();
        match bytes.strip_prefix(MAGIC) {
            Some(krl) => Self::of_krl(krl).unwrap_or_default(),
            None => Self { keys: of_lines(&bytes), ..Self::default() },
        }
    }

    /// Whether a key is among them.
    pub(super) fn has(&self, key: &Key) -> bool {
        let blob = key.blob();
        self.keys.contains(key)
            || self.blobs.contains(blob)
            || !self.sums.is_empty() && self.sums.contains(&Sum::of(blob))
    }

    fn of_krl(bytes: &[u8]) -> Option<Self> {
        let mut revoked = Self::default();
        // The version of the format, that of the list, the date and the flags; then two strings.
        let mut rest = Wire(bytes.get(4 + 8 + 8 + 8..)?);
        let (_reserved, _comment) = (rest.string()?, rest.string()?);
        while let Some(kind) = rest.byte() {
            let mut section = Wire(rest.string()?);
            while let Some(item) = section.string() {
                match kind {
                    EXPLICIT_KEY => drop(revoked.blobs.insert(item.to_vec())),
                    SHA256 => revoked.sums.extend(<[u8; 32]>::try_from(item).ok().map(Sum::from)),
                    _ => {}
                }
            }
        }
        Some(revoked)
    }
}

/// The keys that a file lists one on a line, as far as this account may read it.
pub(super) fn listed(path: &Path) -> HashSet<Key> {
    of_lines(&source::regular(path).unwrap_or_default())
}

fn of_lines(bytes: &[u8]) -> HashSet<Key> {
    bytes
        .split(|&byte| byte == b'\n')
        .filter_map(|line| Key::from_public_line(line, Target::default()))
        .collect()
}

/// What is left of a message in SSH's encoding (RFC 4251).
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (string, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        self.0 = rest;
        Some(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEl6ZPlW4lzaXAVlzbxVev8C0lLTWq9/xDwuq24HTwJH";

    #[test]
    fn lists_and_what_ssh_keygen_makes_of_them() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("list"), format!("# gone\n{ED} me\n")).unwrap();
        fs::write(at("key.pub"), format!("{ED} me\n")).unwrap();
        fs::write(at("hash"), format!("hash: {}\n", key(ED).fingerprint())).unwrap();
        for (name, from) in [("krl", "key.pub"), ("krl-hash", "hash")] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-k", "-f"])
                .arg(at(name))
                .arg(at(from))
                .output()
                .unwrap();
            assert!(made.status.success(), "{made:?}");
        }
        for name in ["list", "krl", "krl-hash"] {
            let revoked = Revoked::read(&at(name));
            assert!(revoked.has(&key(ED)) && !revoked.has(&key(OTHER)), "{name}");
        }
        // Whatever is not whole says nothing, and does no harm.
        let krl = fs::read(at("krl")).unwrap();
        for length in 0..krl.len() {
            fs::write(at("cut"), &krl[..length]).unwrap();
            let _ = Revoked::read(&at("cut"));
        }
        assert!(!Revoked::read(&at("nothing")).has(&key(ED)));
    }

    fn key(line: &str) -> Key {
        Key::from_public_line(line.as_bytes(), Target::default()).unwrap()
    }
}
