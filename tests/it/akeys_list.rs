//! `akeys list`: what every line allows, in words that are true.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Stdio;

use crate::akeys_home::{FOREIGN, Home};

/// Another key than [`FOREIGN`].
const OTHER: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";

/// The words without their line breaks.
fn flat(out: &str) -> String {
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn each_kind_of_line_in_words() {
    let home = Home::new();
    home.make("data");
    let data = home.at("data");
    for (line, says) in [
        (
            format!("{FOREIGN} alice@laptop"),
            vec!["alice@laptop", "UNRESTRICTED: shell, forwarding, everything"],
        ),
        (format!("restrict {FOREIGN}"), vec!["UNRESTRICTED: any command, every file; no terminal"]),
        (format!("no-pty {FOREIGN}"), vec!["UNRESTRICTED: any command, every file; port forwarding"]),
        (format!("restrict,command=\"/bin/true\" {FOREIGN}"), vec!["run \"/bin/true\""]),
        (format!("command=\"/bin/true\" {FOREIGN}"), vec!["! not restricted: terminal, port forwarding"]),
        (format!("restrict,command=\"date\" {FOREIGN}"), vec!["! date is found through PATH"]),
        (format!("restrict,command=\"/no/such\" {FOREIGN}"), vec!["! /no/such: No such file"]),
        (format!("restrict,command=\"/bin/sh -c 'x;y'\" {FOREIGN}"), vec!["in the login shell"]),
        (
            format!("restrict,command=\"internal-sftp\" {FOREIGN}"),
            vec!["! every file of the account, through SFTP"],
        ),
        (format!("restrict,command=\"/bin/rrsync -ro {data}\" {FOREIGN}"), vec!["rsync; read /"]),
        (
            format!("restrict,command=\"/bin/rrsync-rs -no-del {data}\" {FOREIGN}"),
            vec!["without deleting, /"],
        ),
        (
            "restrict,command=\"/bin/rrsync ~/data\" ".to_owned() + FOREIGN,
            vec!["rsync; read and write ~/data"],
        ),
        (format!("restrict,command=\"/bin/rrsync /\" {FOREIGN}"), vec!["/home, the home directory"]),
        (
            format!("restrict,command=\"/bin/rrsync-rs --grant a.b\" {FOREIGN}"),
            vec!["! there is no policy a.b"],
        ),
        (
            format!("restrict,command=\"/bin/rrsync-rs -r0 papers\" {FOREIGN}"),
            vec![
                "nothing: the gate refuses \"/bin/rrsync-rs -r0 papers\"",
                "! the gate refuses this command line: unrecognized arguments: -r0",
            ],
        ),
        (
            format!("restrict,command=\"/bin/rrsync-rs --grant ../x\" {FOREIGN}"),
            vec!["! the gate refuses this command line: argument --grant: grant name \"../x\""],
        ),
        (format!("cert-authority {FOREIGN}"), vec!["! every certificate that this key signs"]),
        (format!("from=\"10.0.0.0/8\" {FOREIGN}"), vec!["from 10.0.0.0/8"]),
        (format!("expiry-time=\"20200101Z\" {FOREIGN}"), vec!["until 2020-01-01", "! ended on 2020-01-01"]),
        (format!("from=\"10.0.0.1/8\" {FOREIGN}"), vec!["! sshd cannot read the from list"]),
        (format!("comand=\"x\" {FOREIGN}"), vec!["DEAD at column 1", "did you mean \"command\"?"]),
        (format!("{FOREIGN} \x1b[31m\u{202e}"), vec!["\\x1b[31m\\u{202e}"]),
        (format!("{FOREIGN} a\n{FOREIGN} b"), vec!["! the same key as line 1"]),
    ] {
        home.write(".ssh/authorized_keys", &format!("{line}\n"));
        let out = home.akeys(&["list"]).ok().out;
        for words in says {
            assert!(flat(&out).contains(words), "{words:?} for {line:?} in\n{out}");
        }
        assert!(!out.contains('\x1b'), "{out}");
        let long = out.lines().filter(|line| line.chars().count() > 80 && line.contains(' '));
        assert_eq!(long.filter(|line| line.trim().contains(' ')).count(), 0, "{out}");
    }
}

#[test]
fn a_key_that_is_void_is_not_called_unrestricted() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("expiry-time=\"20200101Z\" {FOREIGN}\n"));
    let out = home.akeys(&["list"]).ok().out;
    assert!(out.starts_with("~/.ssh/authorized_keys: 1 key\n"), "{out}");
    assert!(!out.contains("UNRESTRICTED"), "{out}");
}

#[test]
fn our_own_lines_are_explained_by_their_policy() {
    let home = Home::with_federation();
    home.install(&[
        "--federation",
        "playground",
        "--workspace",
        &home.at("papers"),
        "--writable",
        "papers/build",
    ])
    .ok();
    let out = home.akeys(&["list"]).ok().out;
    assert!(
        out.contains("      playground.chef1\n      rsync; read papers, read and write papers/build\n"),
        "{out}"
    );
    assert!(!out.contains('!'), "{out}");
    let shown = home.akeys(&["grant", "show", "playground.chef1"]).ok().out;
    assert!(
        shown.contains("  workspace papers is ~/papers, ro\n            papers/build is rw\n"),
        "{shown}"
    );
    home.akeys(&["grant", "show", "playground.nobody"])
        .fails(4, "akeys: no grant playground.nobody; there are: playground.chef1\n");

    let policy = home.path().join(".config/akeys/grants/playground.chef1.toml");
    let text = fs::read_to_string(&policy).unwrap();
    for (change, says) in [
        (text.replace("access", "acces"), ":7:1: unknown field `acces`"),
        (text.replace("~/papers", "~/gone"), "! workspace papers, "),
        (text.replace("~/papers", "~"), "! the gate refuses workspace papers: "),
        (text.replace("\n\n", "\nexpires = 2020-01-01T00:00:00Z\n\n"), "! ended on 2020-01-01"),
    ] {
        fs::write(&policy, change).unwrap();
        let out = home.akeys(&["list"]).ok().out;
        assert!(flat(&out).contains(says), "{says}\n{out}");
        if says.starts_with('!') {
            let shown = home.akeys(&["grant", "show", "playground.chef1"]).ok().out;
            assert!(flat(&shown).contains(says), "{says}\n{shown}");
        }
    }
    fs::write(&policy, &text).unwrap();
    fs::set_permissions(&policy, Permissions::from_mode(0o666)).unwrap();
    assert!(flat(&home.akeys(&["list"]).ok().out).contains("can be written by group or others"));
    fs::set_permissions(&policy, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(home.gate(), Permissions::from_mode(0o777)).unwrap();
    assert!(flat(&home.akeys(&["list"]).ok().out).contains("rrsync-rs can be written by group or others"));
    home.write(".ssh/authorized_keys", "");
    let out = home.akeys(&["list"]).ok().out;
    assert!(
        out.contains("! ~/.config/akeys/grants/playground.chef1.toml is a policy that no key line uses"),
        "{out}"
    );
}

#[test]
fn a_disabled_line_said_neither_whose_key_it_has_nor_that_it_needs_its_policy() {
    let home = Home::with_federation();
    home.install_papers().ok();
    home.akeys(&["disable", "--federation", "playground"]).ok();
    let listed = home.akeys(&["list"]).ok();
    assert!(listed.out.contains("1  SHA256:"), "{listed:?}");
    assert!(listed.out.ends_with("\n      playground.chef1\n      disabled\n"), "{listed:?}");
    let json: serde_json::Value = serde_json::from_str(&home.akeys(&["list", "--json"]).ok().out).unwrap();
    let line = &json["lines"][0];
    assert_eq!((&line["kind"], &line["grant"]), (&"disabled".into(), &"playground.chef1".into()), "{line}");
    assert_eq!(json["findings"].as_array().unwrap().len(), 0, "{json}");
}

#[test]
fn a_word_of_the_shell_is_no_program() {
    let home = Home::new();
    home.write(
        ".ssh/authorized_keys",
        &format!("restrict,command=\"echo no\" {FOREIGN} a\nrestrict,command=\"borg serve\" {OTHER} b\n"),
    );
    let listed = home.akeys(&["list"]).ok();
    assert!(!listed.out.contains("echo is found"), "{listed:?}");
    assert!(listed.out.contains("! borg is found through PATH"), "{listed:?}");
}

#[test]
fn every_line_is_in_the_json() {
    let home = Home::with_federation();
    home.write(
        ".ssh/authorized_keys",
        &format!("# hello\n\n{OTHER} bob\njunk\n# akeys-disabled: {FOREIGN}\n"),
    );
    home.install_papers().ok();
    let out = home.akeys(&["list", "--json"]).ok().out;
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    let kinds: Vec<&str> =
        value["lines"].as_array().unwrap().iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["comment", "blank", "key", "dead", "disabled", "key"]);
    let bob = &value["lines"][2];
    assert_eq!(bob["line"], 3);
    assert_eq!(bob["type"], "ecdsa-sha2-nistp256");
    assert_eq!(bob["bits"], 256);
    assert_eq!(bob["comment"], "bob");
    assert_eq!(bob["unrestricted"], true);
    assert_eq!(bob["findings"][0]["code"], "unrestricted");
    let ours = &value["lines"][5];
    assert_eq!((&ours["federation"], &ours["pod"]), (&"playground".into(), &"chef1".into()));
    assert_eq!(ours["may"], "rsync; read papers");
    assert_eq!(ours["findings"].as_array().unwrap().len(), 0, "{ours}");
}

#[test]
fn a_pipe_in_place_of_the_file_was_waited_for() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", "");
    let file = home.path().join(".ssh/authorized_keys");
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    home.akeys(&["list"]).fails(1, "is not a regular file, and sshd does not read it");
    let audit = home.akeys(&["audit"]);
    assert!(audit.code == 5 && audit.out.contains("high not-a-file: "), "{audit:?}");
    fs::remove_file(&file).unwrap();
    symlink("nothing", &file).unwrap();
    let audit = home.akeys(&["audit"]);
    assert!(audit.code == 5 && audit.out.contains("is a symlink that leads nowhere"), "{audit:?}");
    let doctor = home.akeys(&["doctor"]);
    assert!(doctor.out.contains("fail  strict-modes  ~/.ssh/authorized_keys: No such file"), "{doctor:?}");
}

#[test]
fn another_file_and_no_file() {
    let home = Home::new();
    assert_eq!(home.akeys(&["list"]).ok().out, "~/.ssh/authorized_keys: 0 keys\n");
    home.akeys(&["list", "--file", &home.at("nowhere")]).fails(4, "~/nowhere: No such file");
    home.write("elsewhere", &format!("{FOREIGN} x\n"));
    assert!(
        home.akeys(&["list", "--file", &home.at("elsewhere")]).ok().out.starts_with("~/elsewhere: 1 key, ")
    );
    assert_eq!(home.names("."), ["elsewhere"]);
}

#[test]
fn a_closed_pipe_is_quiet_success() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} x\n").repeat(20_000));
    for args in [&["list"][..], &["list", "--json"], &["--help"]] {
        let mut child = home.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}
