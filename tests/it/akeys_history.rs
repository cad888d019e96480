//! `akeys log`, `akeys diff` and `akeys undo`: the way back, and back again.

use crate::akeys_home::{FOREIGN, Home};

fn changed_twice() -> (Home, [String; 3]) {
    let home = Home::with_federation();
    home.write(".ssh/authorized_keys", &format!("# top\n{FOREIGN} alice"));
    let first = home.keys();
    home.install_papers().ok();
    let second = home.keys();
    home.akeys(&["disable", "--line", "2", "--allow-lockout"]).ok();
    let third = home.keys();
    (home, [first, second, third])
}

#[test]
fn the_way_back_and_back_again() {
    let (home, [first, second, third]) = changed_twice();
    let log = home.akeys(&["log"]).ok().out;
    let rows: Vec<&str> = log.lines().collect();
    assert!(
        rows[0].starts_with("  1  until 20")
            && rows[0].contains("3 lines")
            && rows[0].ends_with("then +1 -1"),
        "{log}"
    );
    assert!(rows[1].starts_with("  2  until 20") && rows[1].contains("2 lines"), "{log}");
    assert_eq!(rows.len(), 2);
    let json = home.akeys(&["log", "--json"]).ok().out;
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&value[0]["number"], &value[0]["added"]), (&1.into(), &1.into()));

    let diff = home.akeys(&["diff"]).ok().out;
    assert_eq!(diff, format!("  - 2: {FOREIGN} alice\n  + 2: # akeys-disabled: {FOREIGN} alice\n"));
    let before = home.everything();
    let dry = home.akeys(&["undo", "--dry-run"]).ok();
    assert!(
        dry.out.contains(&format!("  - 2: # akeys-disabled: {FOREIGN} alice\n  + 2: {FOREIGN} alice\n")),
        "{dry:?}"
    );
    assert_eq!(home.everything(), before);

    home.akeys(&["undo"]).ok();
    assert_eq!(home.keys(), second);
    home.akeys(&["undo"]).fails(1, "no key would be left that opens a shell");
    home.akeys(&["undo", "--allow-lockout"]).ok();
    assert_eq!(home.keys(), third);
    // Two undos are two changes: the first content is now the fourth.
    home.akeys(&["undo", "4"]).ok();
    assert_eq!(home.keys(), first);
    let ran = home.akeys(&["undo", "5"]).ok();
    assert!(ran.out.contains("content 5 is the present one; nothing changed"), "{ran:?}");
    home.akeys(&["undo", "6"]).fails(4, "no content 6 is kept");
    home.akeys(&["undo", "0"]).fails(4, "no content 0 is kept");
    home.akeys(&["diff", "9"]).fails(4, "akeys log shows 5");
    home.akeys(&["undo", "x"]).fails(2, "invalid");
}

#[test]
fn after_a_clock_that_was_wrong_the_last_content_is_still_the_last() {
    use std::os::unix::fs::PermissionsExt as _;
    let (home, [_, second, third]) = changed_twice();
    for second in 10..44 {
        let name = format!(".local/state/akeys/backups/authorized_keys.20990101T0000{second}.000000000Z");
        home.write(&name, "# the clock was wrong\n");
        std::fs::set_permissions(home.path().join(&name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    home.akeys(&["enable", "--line", "2"]).ok();
    assert_eq!(home.keys(), second);
    home.akeys(&["undo", "--allow-lockout"]).ok();
    assert_eq!(home.keys(), third);
    home.akeys(&["undo"]).ok();
    assert_eq!(home.keys(), second);
}

#[test]
fn without_a_change_there_is_no_way_back() {
    let home = Home::new();
    let ran = home.akeys(&["log"]).ok();
    assert!(ran.err.contains("no earlier content is kept"), "{ran:?}");
    home.akeys(&["undo"]).fails(4, "there was no change yet");
    assert_eq!(home.akeys(&["log", "--json"]).ok().out, "[]\n");
    assert!(home.everything().is_empty());
}

#[test]
fn a_dead_line_does_not_come_back_unasked() {
    let home = Home::new();
    let dead = format!("comand=\"x\" {FOREIGN} typo");
    let content = format!("# top\n{dead}\n{dead} two\n{FOREIGN} alice\n");
    home.write(".ssh/authorized_keys", &content);
    let remove = |line| home.akeys(&["remove", "--line", line, "--allow-lockout"]).ok();
    // The dead lines are there all the time: nothing comes back.
    remove("4");
    home.akeys(&["undo"]).ok();
    assert_eq!(home.keys(), content);
    remove("2");
    let says = "line 2 would be one that sshd passes over, at column 1: unknown option \"comand\"";
    home.akeys(&["undo"]).fails(1, says);
    assert!(!home.keys().contains("typo\n"));
    home.akeys(&["undo", "--allow-dead"]).ok();
    assert_eq!(home.keys(), content);
}

#[test]
fn a_line_without_its_policy_is_mentioned_and_a_foreign_copy_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::with_federation();
    home.install_papers().ok();
    home.akeys(&["remove", "--federation", "playground"]).ok();
    let ran = home.akeys(&["undo"]).ok();
    assert!(ran.err.contains("line 1 names the policy playground.chef1, which is gone"), "{ran:?}");
    let copies = home.names(".local/state/akeys/backups");
    let newest = home.path().join(".local/state/akeys/backups").join(copies.last().unwrap());
    std::fs::set_permissions(&newest, std::fs::Permissions::from_mode(0o666)).unwrap();
    home.akeys(&["undo"]).fails(1, "can be written by group or others");
}
