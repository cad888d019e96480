//! `akeys learn`: what refused requests asked for, and the changes that are chosen.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use crate::akeys_home::{Home, Ran};
use crate::support::our_program;

const POLICY: &str = ".config/akeys/grants/playground.chef1.toml";
const AUDIT: &str = ".local/state/akeys/audit.jsonl";

/// A home with a hand-edited policy that learns.
fn learning() -> Home {
    let home = Home::with_federation();
    home.install_papers().ok();
    let policy = home.read(POLICY);
    let policy = policy.replacen("tools =", "learn = true\n# only what the wiki says\ntools  =", 1);
    let policy = policy.replacen("access = \"ro\"", "access = \"ro\" # for now", 1);
    home.write(POLICY, &policy);
    home
}

/// Asks the real gate, as sshd would.
fn ask(home: &Home, request: impl AsRef<OsStr>) -> Ran {
    let mut gate = Command::new(our_program("rrsync-rs"));
    home.settle(&mut gate).args(["--grant", "playground.chef1"]);
    gate.env("SSH_ORIGINAL_COMMAND", request).env("SSH_CONNECTION", "192.0.2.7 4711 192.0.2.1 22");
    Ran::from(&gate.output().unwrap())
}

#[test]
fn what_was_refused_is_numbered_and_the_chosen_change_is_the_only_one() {
    let home = learning();
    let push = "rsync --server -logDtpre.iLsfxCIvu . papers/new/";
    home.make("papers/new");
    for request in [push, push, "rsync --server --sender -logDtpLre.iLsfxCIvu . papers/", "test -d papers"] {
        assert_ne!(ask(&home, request).code, 0, "{request}");
    }
    let audit = home.read(AUDIT);
    home.write(AUDIT, &format!("not json\n{audit}\u{1b}[31m\n{{\"time\":1}}\n"));
    let ran = home.akeys(&["learn", "playground.chef1"]).ok();
    assert!(
        ran.out.contains("  1  workspace.papers.paths.\"new\" = \"rw\"\n     2 times, last 20"),
        "{ran:?}"
    );
    assert!(ran.out.contains(push) && ran.out.contains("options.allow += \"copy-links\""), "{ran:?}");
    assert!(ran.out.contains("  3  probes = true"), "{ran:?}");
    assert!(ran.err.contains("3 lines of the audit file cannot be read"), "{ran:?}");

    let before = home.everything();
    let ran = home.akeys(&["learn", "playground.chef1", "--apply", "1,3", "--dry-run"]).ok();
    assert!(ran.out.contains("after:  rsync; read papers, read and write papers/new"), "{ran:?}");
    assert_eq!(home.everything(), before);

    let policy = home.read(POLICY);
    home.akeys(&["learn", "playground.chef1", "--apply", "1"]).ok();
    let expected = format!("{policy}[workspace.\"papers\".paths]\nnew = \"rw\"\n");
    assert_eq!(home.read(POLICY), expected);
    let ran = home.akeys(&["learn", "playground.chef1", "--apply", "1"]).ok();
    assert!(ran.out.contains("nothing to change"), "{ran:?}");
    assert_eq!(home.read(POLICY), expected);

    let ran = home.akeys(&["learn", "playground.chef1", "--json"]).ok();
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value["unreadable"], 3);
    assert_eq!(value["changes"][0]["in_effect"], true);
    assert_eq!(value["changes"][0]["count"], 2);
    assert_eq!(value["changes"][1]["change"]["allow"], "copy-links");
    assert_eq!(value["changes"][1]["applicable"], true);

    home.akeys(&["learn", "playground.chef1", "--apply-all"]).ok();
    let ran = home.akeys(&["learn", "playground.chef1"]).ok();
    assert_eq!(ran.out, "");
    assert!(ran.err.contains("3 more are in effect"), "{ran:?}");
    // The gate agrees: now it is the rsync protocol that ends, not the policy that refuses.
    assert_eq!(ask(&home, "test -d papers").code, 0);
}

#[test]
fn nothing_is_learned_from_other_grants_or_without_a_file() {
    let home = learning();
    let ran = home.akeys(&["learn", "playground.chef1"]).ok();
    assert!(ran.err.contains("no refused request"), "{ran:?}");
    let record = r#"{"time":"t","grant":"lab.pc","request":"x","learn":"probes"}"#;
    home.write(AUDIT, &format!("{record}\n"));
    assert_eq!(home.akeys(&["learn", "playground.chef1"]).ok().out, "");
    home.akeys(&["learn", "lab.pc"]).fails(4, "no grant lab.pc; there are: playground.chef1");
    home.akeys(&["learn", "playground.chef1", "--apply", "1"]).fails(4, "there is no change 1");
    home.akeys(&["learn", "playground.chef1", "--apply", "0"]).fails(4, "there is no change 0");
    home.akeys(&["learn", "playground.chef1", "--apply", "x"]).fails(2, "invalid value");
}

#[test]
fn what_no_policy_may_say_is_not_learned() {
    let home = learning();
    let changes = [
        (r#"{"access":{"workspace":"papers","path":"../x","access":"rw"}}"#, 1, "toml:11:1: sub-path"),
        (r#"{"allow":"rsh"}"#, 1, "toml:12:10: \"rsh\""),
        (r#"{"overwrite":"gone"}"#, 4, "there is no workspace gone"),
    ];
    let lines: Vec<String> = changes
        .iter()
        .map(|(change, ..)| {
            format!(r#"{{"grant":"playground.chef1","request":"\u001b[2J","learn":{change}}}"#)
        })
        .collect();
    home.write(AUDIT, &lines.join("\n"));
    let ran = home.akeys(&["learn", "playground.chef1"]).ok();
    assert!(ran.out.contains("cannot be made") && ran.out.contains("\\x1b[2J"), "{ran:?}");
    let policy = home.read(POLICY);
    for (number, (_, code, says)) in changes.iter().enumerate() {
        let ran = home.akeys(&["learn", "playground.chef1", "--apply", &(number + 1).to_string()]);
        ran.fails(*code, says.rsplit(": ").next().unwrap());
    }
    // A workspace that became a place that hands over the account.
    home.write(AUDIT, "{\"grant\":\"playground.chef1\",\"learn\":{\"access\":{\"workspace\":\"papers\",\"path\":\"\",\"access\":\"rw\"}}}\n");
    std::os::unix::fs::symlink("papers/bashrc", home.path().join(".bashrc")).unwrap();
    let ran = home.akeys(&["learn", "playground.chef1", "--apply-all"]);
    ran.fails(1, "playground.chef1.toml:8:8: refused as a workspace: ");
    assert_eq!(home.read(POLICY), policy);
}

#[test]
fn a_refusal_of_a_path_that_is_no_text_was_not_recorded() {
    let home = learning();
    let request = OsStr::from_bytes(b"rsync --server -logDtpre.iLsfxCIvu . papers/\xff/");
    ask(&home, request).fails(1, "sending to papers/\\xff is not allowed");
    assert!(home.read(AUDIT).contains("access.write"), "{}", home.read(AUDIT));
    let ran = home.akeys(&["learn", "playground.chef1"]).ok();
    assert!(ran.out.is_empty() && ran.err.contains("no refused request"), "{ran:?}");
}
