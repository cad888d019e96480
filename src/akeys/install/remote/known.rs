//! The keys by which the user's ssh knows a host: what stands in its `known_hosts` files.
//!
//! ssh has just checked the host against one of them. ssh-keygen(1) looks them up, because names may be hashed there.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use super::session::Account;
use crate::card::HostPublicKey;
use crate::common::child;

/// Looking something up in a file takes no time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The keys that are known for the host of `account`; none where ssh was told to ask nobody, or a certificate speaks for it.
pub(super) fn keys(account: &Account) -> BTreeSet<HostPublicKey> {
    // Like ssh, the name without the port counts only where nothing is known with it.
    for name in &account.known_as {
        let mut keys = BTreeSet::new();
        for file in account.known_hosts.iter().filter(|file| file.is_file()) {
            let mut keygen = Command::new("ssh-keygen");
            let ended = child::run(keygen.arg("-F").arg(name).arg("-f").arg(file), PATIENCE);
            keys.extend(ended.iter().flat_map(|ended| listed(&ended.stdout)));
        }
        if !keys.is_empty() {
            return keys;
        }
    }
    BTreeSet::new()
}

/// The keys in what ssh-keygen has found: comments, and lines that are `HOSTS TYPE BASE64` or begin with a marker, which
/// says that the key is not the host's own, or is revoked.
fn listed(found: &[u8]) -> Vec<HostPublicKey> {
    let text = String::from_utf8_lossy(found);
    let plain = text.lines().filter(|line| !line.starts_with(['#', '@']));
    plain.filter_map(|line| line.split_once(' ')?.1.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const KEYS: [&str; 3] = [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChGEs0Qj7ZqdmgR6R4JgoIf7JYk6rQ6rZ5vL5X6n",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEl6ZPlW4lzaXAVlzbxVev8C0lLTWq9/xDwuq24HTwJH",
    ];

    #[test]
    fn a_host_is_known_by_the_keys_of_its_name_hashed_or_not() {
        let scratch = tempfile::tempdir().unwrap();
        let (plain, hashed) = (scratch.path().join("plain"), scratch.path().join("hashed"));
        let lines = format!(
            "laptop,10.0.0.1 {0} a comment\n@revoked laptop {1}\n@cert-authority * {1}\n[laptop]:2222 {2}\nother {1}\n",
            KEYS[0], KEYS[1], KEYS[2]
        );
        fs::write(&plain, lines).unwrap();
        fs::write(&hashed, format!("desk {}\n", KEYS[1])).unwrap();
        assert!(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&hashed).status().unwrap().success());
        assert!(!fs::read_to_string(&hashed).unwrap().contains("desk"));
        let known = |names: &[&str]| {
            let account = Account {
                user: "anna".parse().unwrap(),
                place: "laptop".parse().unwrap(),
                known_as: names.iter().map(|&name| name.to_owned()).collect(),
                known_hosts: vec![scratch.path().join("none"), plain.clone(), hashed.clone()],
            };
            keys(&account).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(known(&["laptop"]), [KEYS[0]]);
        assert_eq!(known(&["[laptop]:2222", "laptop"]), [KEYS[2]]);
        assert_eq!(known(&["[laptop]:23", "laptop"]), [KEYS[0]]);
        assert_eq!(known(&["desk"]), [KEYS[1]]);
        assert_eq!(known(&["nobody"]), [""; 0]);
    }
}
