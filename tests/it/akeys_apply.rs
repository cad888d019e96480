//! `akeys apply`: what is declared is there afterwards, and a difference is a finding before.

use serde_json::Value;

use crate::akeys_home::{FOREIGN, Home, OTHER};

const THIRD: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";

fn declared(fields: &[(&str, &str)]) -> String {
    let tables = fields.iter().map(|(key, more)| format!("[[key]]\nkey = \"{key}\"\n{more}\n"));
    tables.collect::<Vec<_>>().concat()
}

#[test]
fn keys_are_added_changed_woken_put_to_sleep_and_taken_out() {
    let home = Home::new();
    home.write(
        ".ssh/authorized_keys",
        &format!(
            "# team\n restrict {FOREIGN} anna\n{FOREIGN} again\n# akeys-disabled: {OTHER} bob\nno-pty {THIRD} carl\n"
        ),
    );
    let file = declared(&[
        (&format!("{FOREIGN} anna@laptop"), "restrict = true\npermit = [\"pty\"]"),
        (OTHER, "options = 'from=\"10.0.0.0/8\"'\ncomment = \"bob\""),
        (THIRD, "state = \"disabled\""),
    ]);
    home.write("keys.toml", &file);
    let before = home.keys();
    let check = home.akeys(&["apply", "keys.toml", "--check"]);
    assert_eq!((check.code, home.keys()), (5, before), "{check:?}");
    for step in ["remove  SHA256:", "change  SHA256:", "enable  SHA256:", "disable SHA256:"] {
        assert!(check.out.contains(step), "{step}: {check:?}");
    }
    assert_eq!(home.names(".local"), [""; 0]);
    let json = home.akeys(&["apply", "keys.toml", "--check", "--json"]).out;
    let json: Value = serde_json::from_str(&json).unwrap();
    let actions: Vec<&str> =
        json["steps"].as_array().unwrap().iter().map(|step| step["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["remove", "change", "enable", "disable"]);
    home.akeys(&["apply", "keys.toml"]).ok();
    assert_eq!(
        home.keys(),
        format!(
            "# team\n restrict,pty {FOREIGN} anna@laptop\nfrom=\"10.0.0.0/8\" {OTHER} bob\n# akeys-disabled: no-pty {THIRD} carl\n"
        )
    );
    let after = home.everything();
    for args in [&["apply", "keys.toml"][..], &["apply", "keys.toml", "--check"]] {
        let ran = home.akeys(args).ok();
        assert!(ran.out.contains("the keys are as declared; nothing changed"), "{ran:?}");
    }
    assert_eq!(home.everything(), after);
}

#[test]
fn other_spellings_and_comments_are_no_drift() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("\tRESTRICT,no-pty  {FOREIGN} mine\n"));
    home.write("keys.toml", &declared(&[(FOREIGN, "restrict = true")]));
    home.akeys(&["apply", "keys.toml", "--check"]).ok();
}

#[test]
fn exclusive_takes_everything_else_out_but_grants() {
    let home = Home::with_federation();
    home.write(
        ".ssh/authorized_keys",
        &format!("# top\n{OTHER} old\nrestrict, pty {THIRD} typo\njunk\n{FOREIGN} mine"),
    );
    home.install_papers().ok();
    let grant = home.keys().lines().last().unwrap().to_owned();
    home.write("keys.toml", &declared(&[(FOREIGN, "")]));
    home.akeys(&["apply", "keys.toml", "--check"]).ok();
    let ran = home.akeys(&["apply", "keys.toml", "--exclusive"]).ok();
    assert!(ran.err.contains("line 6 stays: it is the grant playground.chef1"), "{ran:?}");
    assert_eq!(home.keys(), format!("# top\njunk\n{FOREIGN} mine\n{grant}\n"));
    home.write("keys.toml", "exclusive = true\n");
    home.akeys(&["apply", "keys.toml"]).fails(1, "no key would be left that opens a shell");
    let check = home.akeys(&["apply", "keys.toml", "--check"]);
    assert_eq!(check.code, 5, "{check:?}");
    assert!(check.err.contains("no key would be left that opens a shell"), "{check:?}");
    home.akeys(&["apply", "keys.toml", "--allow-lockout"]).ok();
    assert_eq!(home.keys(), format!("# top\njunk\n{grant}\n"));
}

#[test]
fn a_last_line_without_an_end_is_replaced_whole() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{OTHER} old"));
    home.write("keys.toml", &declared(&[(FOREIGN, "comment = \"new\"")]));
    home.akeys(&["apply", "keys.toml", "--exclusive"]).ok();
    assert_eq!(home.keys(), format!("{FOREIGN} new\n"));
}

#[test]
fn a_broken_declaration_changes_nothing() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{OTHER} old\n"));
    for (text, says) in [
        ("[[key]]\nkey = \"x\"\n", "keys.toml:2:7: no key: \"x\" is not a key type"),
        ("exclusiv = true\n", "keys.toml:1:1: unknown field `exclusiv`"),
        ("[[key]]\n", "keys.toml:1:1: missing field `key`"),
    ] {
        home.write("keys.toml", text);
        let before = home.everything();
        home.akeys(&["apply", "keys.toml", "--exclusive"]).fails(1, says);
        assert_eq!(home.everything(), before);
    }
    home.akeys(&["apply", "none.toml"]).fails(4, "none.toml: No such file");
}
