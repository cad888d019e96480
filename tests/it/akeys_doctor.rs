//! `akeys doctor`: each check one line, and the command that mends it does.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::akeys_home::{FOREIGN, Home};

fn checks(home: &Home) -> Vec<Value> {
    let ran = home.akeys(&["doctor", "--json"]);
    assert!([0, 5].contains(&ran.code), "{ran:?}");
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(ran.code == 5, answer["state"] == "fail", "{answer}");
    answer["checks"].as_array().unwrap().clone()
}

fn named<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {checks:?}"))
}

#[test]
fn every_part_is_looked_at() {
    let home = Home::new();
    let before = home.everything();
    let checks = checks(&home);
    for name in ["shell", "strict-modes", "sshd", "sshd-config", "gate", "rsync", "kernel"] {
        named(&checks, name);
    }
    for check in &checks {
        assert!(["pass", "warn", "fail"].contains(&check["state"].as_str().unwrap()), "{check}");
    }
    assert_eq!(home.everything(), before);
    let text = home.akeys(&["doctor"]).out;
    assert!(
        text.lines().any(|line| line.starts_with("pass  rsync ") || line.starts_with("warn  rsync ")),
        "{text}"
    );
}

#[test]
fn what_it_says_mends_loose_modes() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} a\n"));
    for name in [".", ".ssh", ".ssh/authorized_keys"] {
        fs::set_permissions(home.path().join(name), Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(named(&checks(&home), "strict-modes")["state"], "pass");
    fs::set_permissions(home.path().join(".ssh"), Permissions::from_mode(0o777)).unwrap();
    let found = checks(&home);
    let check = named(&found, "strict-modes");
    assert_eq!(check["state"], "fail", "{check}");
    let mend = check["mend"].as_str().unwrap();
    assert!(Command::new("sh").args(["-c", mend]).status().unwrap().success(), "{mend}");
    let after = checks(&home);
    let check = named(&after, "strict-modes");
    // The home's group may still be allowed to write, where it is the account's own.
    assert_ne!(check["state"], "fail", "{check}");
}

#[test]
fn a_policy_that_the_gate_refuses_fails() {
    let home = Home::with_federation();
    home.install_papers().ok();
    assert_eq!(named(&checks(&home), "policy")["state"], "pass");
    let policy = home.path().join(".config/akeys/grants/playground.chef1.toml");
    fs::set_permissions(&policy, Permissions::from_mode(0o666)).unwrap();
    let found = checks(&home);
    let check = named(&found, "policy");
    assert_eq!(check["state"], "fail");
    assert!(check["mend"].as_str().unwrap().starts_with("chmod go-w "), "{check}");
}
