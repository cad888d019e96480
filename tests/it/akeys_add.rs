//! `akeys add`: one line more, with the options that were said and no others.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::akeys_faults::may_trace;
use crate::akeys_home::{FOREIGN, Home, OTHER, Ran};
use crate::support::{Sandbox, our_program};

fn piped(home: &Home, text: &[u8], args: &[&str]) -> Ran {
    let mut command = home.command(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    Ran::from(&child.wait_with_output().unwrap())
}

#[test]
fn a_key_comes_from_a_file_from_standard_input_or_stands_there_itself() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", "# top\r\n");
    home.write("id.pub", &format!("{FOREIGN} me@home\n"));
    let dry = home.akeys(&["add", "id.pub", "--dry-run"]).ok();
    assert!(dry.out.starts_with("would add ~/.ssh/authorized_keys:2: SHA256:"), "{dry:?}");
    assert_eq!(home.names(".local"), [""; 0]);
    let ran = home.akeys(&["add", "id.pub"]).ok();
    assert!(ran.out.starts_with("added ~/.ssh/authorized_keys:2: SHA256:"), "{ran:?}");
    assert!(ran.out.contains("\n  may run any command, may read and write every file"), "{ran:?}");
    let ran =
        piped(&home, format!("\n{OTHER}\n").as_bytes(), &["add", "-", "--restrict", "--comment", "x y"]).ok();
    assert!(!ran.out.contains("forward"), "{ran:?}");
    assert_eq!(home.keys(), format!("# top\r\n{FOREIGN} me@home\r\nrestrict {OTHER} x y\r\n"));
    // The same again changes nothing, whatever the spelling.
    let before = home.everything();
    let ran = home.akeys(&["add", &format!("{FOREIGN} another name")]).ok();
    assert!(ran.out.starts_with("there already: ~/.ssh/authorized_keys:2: "), "{ran:?}");
    let long = "no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc";
    home.akeys(&["add", OTHER, "--options", long]).ok();
    assert_eq!(home.everything(), before);
}

#[test]
fn a_file_with_several_keys_is_added_whole_or_not_at_all() {
    let home = Home::new();
    home.write("keys", &format!("# team\n{FOREIGN} a\n\n{OTHER} b\n{FOREIGN} again\n"));
    let ran = home.akeys(&["add", "keys", "--restrict"]).ok();
    assert_eq!(ran.out.lines().filter(|line| line.starts_with("added")).count(), 2, "{ran:?}");
    let keys = home.keys();
    assert_eq!(keys, format!("restrict {FOREIGN} a\nrestrict {OTHER} b\n"));
    home.write("keys", &format!("{OTHER} b\nssh-ed25519 AAAA broken\n"));
    home.akeys(&["add", "keys", "--restrict"]).fails(1, "akeys: keys:2:13: the key is cut short");
    assert_eq!(home.keys(), keys);
}

#[test]
fn every_flag_is_an_option_of_the_line() {
    let cases: [(&[&str], &str); 7] = [
        (&["--restrict", "--permit", "pty,X11-forwarding"], "restrict,pty,X11-forwarding "),
        (
            &["--command", "a \"b\"", "--from", "10.0.0.0/8,!10.1.1.1", "--restrict"],
            "restrict,from=\"10.0.0.0/8,!10.1.1.1\",command=\"a \\\"b\\\"\" ",
        ),
        (&["--expires", "2099-01-02T03:04:05Z"], "expiry-time=\"20990102030405Z\" "),
        (
            &["--permitopen", "db:5432", "--permitlisten", "8080", "--environment", "A=b"],
            "permitopen=\"db:5432\",permitlisten=\"8080\",environment=\"A=b\" ",
        ),
        (
            &["--restrict", "--permit", "port-forwarding", "--permitopen", "db:5432"],
            "restrict,port-forwarding,permitopen=\"db:5432\" ",
        ),
        (&["--cert-authority", "--principals", "anna,bob"], "cert-authority,principals=\"anna,bob\" "),
        (&["--options", "no-pty,command=\"x y\""], "no-pty,command=\"x y\" "),
    ];
    for (flags, options) in cases {
        let home = Home::new();
        home.akeys(&[&["add", FOREIGN], flags].concat()).ok();
        assert_eq!(home.keys(), format!("{options}{FOREIGN}\n"));
    }
}

#[test]
fn options_that_sshd_would_not_read_are_refused() {
    let home = Home::new();
    for (flags, code, says) in [
        (&["--options", "comand=\"x\""][..], 2, "at column 1: unknown option \"comand\"\nhint: did you mean"),
        (&["--options", "restrict, pty"], 2, "a blank in the options"),
        (&["--options", "restrict", "--restrict"], 2, "cannot be used with"),
        (&["--permit", "pty"], 2, "--restrict"),
        (&["--principals", "a"], 2, "--cert-authority"),
        (&["--restrict", "--permitopen", "a:1"], 2, "would do nothing\nhint: permit port-forwarding as well"),
        (&["--restrict", "--permit", "pty", "--permitlisten", "1"], 2, "would do nothing"),
        (&["--permitopen", "nowhere"], 2, "\"permitopen\" needs a port"),
        (&["--environment", "A B=c"], 2, "environment must be NAME=value"),
        (&["--command", "x\\"], 2, "command ends in a backslash"),
        (&["--from", "10.0.0.1/8"], 2, "is not a CIDR block"),
        (&["--expires", "2020-01-01"], 1, "the key would have ended on 2020-01-01"),
        (&["--comment", "a\nb"], 1, "has control or direction characters in it"),
        (&["--comment", "\u{202e}x"], 1, "has control or direction characters in it"),
        (&["--comment", OTHER], 1, "holds another key"),
    ] {
        home.akeys(&[&["add", FOREIGN], flags].concat()).fails(code, says);
    }
    assert!(home.everything().is_empty());
}

#[test]
fn options_of_a_foreign_line_are_neither_taken_nor_dropped_in_silence() {
    let home = Home::new();
    home.write("foreign.pub", &format!("command=\"evil\",pty {FOREIGN} \n"));
    let ran =
        home.akeys(&["add", "foreign.pub"]).fails(1, "foreign.pub:1: options stand before the key: command=");
    assert!(
        ran.err.contains("hint: --take-options takes them over, --drop-options leaves them out"),
        "{ran:?}"
    );
    home.akeys(&["add", "foreign.pub", "--restrict"]).fails(1, "options stand before the key");
    assert_eq!(home.keys(), "");
    home.akeys(&["add", "foreign.pub", "--take-options", "--restrict"]).fails(2, "cannot be used with");
    home.akeys(&["add", "foreign.pub", "--drop-options", "--restrict"]).ok();
    assert_eq!(home.keys(), format!("restrict {FOREIGN}\n"));
    home.write(".ssh/authorized_keys", "");
    home.akeys(&["add", "foreign.pub", "--take-options"]).ok();
    assert_eq!(home.keys(), format!("command=\"evil\",pty {FOREIGN}\n"));
}

#[test]
fn a_key_that_is_there_otherwise_is_shown_and_left_alone() {
    let home = Home::new();
    for (line, what) in [
        (format!("restrict {FOREIGN} a"), "this key is there with other options"),
        (format!("comand=\"x\" {FOREIGN} a"), "this key is there in a line that sshd cannot use for it"),
        (format!("{OTHER} {FOREIGN} a"), "this key is there in a line that sshd cannot use for it"),
        (format!("# akeys-disabled: {FOREIGN} a"), "this key is there, disabled"),
    ] {
        home.write(".ssh/authorized_keys", &format!("{line}\n"));
        let before = home.everything();
        let ran = home.akeys(&["add", &format!("{FOREIGN} b")]).fails(3, what);
        assert!(ran.err.contains(&format!("\n  there: {line}\n  here:  {FOREIGN} b\n")), "{ran:?}");
        assert_eq!(home.everything(), before);
    }
    home.write(".ssh/authorized_keys", &format!("# {FOREIGN} in a comment\n"));
    home.akeys(&["add", FOREIGN]).ok();
}

#[test]
fn what_is_no_public_key_is_named() {
    let home = Home::new();
    home.write("id", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n");
    home.akeys(&["add", "id"]).fails(1, "id:1: this is a private key\nhint: its public half");
    home.akeys(&["add", "missing.pub"]).fails(4, "missing.pub: No such file");
    piped(&home, b"", &["add", "-"]).fails(1, "standard input: there is no key in it");
    piped(&home, b"\xff\x00\x1b", &["add", "-"]).fails(1, "standard input:1:1: no key: \"\\xff");
    home.akeys(&["add"]).fails(2, "required");
}

#[test]
fn an_added_key_logs_in() {
    let sandbox = Sandbox::new();
    let key = sandbox.new_key("pod");
    let public = key.file.with_extension("pub");
    sandbox
        .akeys(&[
            "add",
            public.to_str().unwrap(),
            "--restrict",
            "--command",
            "echo \"it $SSH_ORIGINAL_COMMAND\"",
        ])
        .succeeds();
    let outcome = sandbox.client(&key).ssh(&["works"]).succeeds();
    assert_eq!(outcome.stdout_text(), "it works\n");
}

/// Each sshd that is started takes as long as all the rest.
#[test]
fn one_sshd_is_asked_and_none_before_the_key_is_judged() {
    if !may_trace() {
        return;
    }
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("restrict {OTHER}\n"));
    for (key, exit, asked) in [(OTHER, 3, 0), (FOREIGN, 0, 1)] {
        let mut command = Command::new("strace");
        home.settle(&mut command).args(["-f", "-e", "trace=execve", "-o", "trace"]);
        let output = command.arg(our_program("akeys")).args(["add", key]).output().unwrap();
        assert_eq!(output.status.code(), Some(exit), "{output:?}");
        let trace = home.read("trace");
        assert_eq!(trace.matches("/sshd\", [").count(), asked, "{trace}");
        assert!(!trace.contains("\"-V\""), "{trace}");
    }
}

#[test]
fn a_key_that_sshd_finds_in_its_next_file_as_well_is_told() {
    let home = Home::new();
    home.write(".ssh/authorized_keys2", &format!("# old\n{FOREIGN} me@home\n"));
    let ran = home.akeys(&["add", FOREIGN, "--from", "10.0.0.0/8"]).ok();
    assert!(
        ran.err.contains("~/.ssh/authorized_keys2:2 lets the key in as well, by its own options"),
        "{ran:?}"
    );
    let ran = home.akeys(&["add", OTHER, "--from", "10.0.0.0/8"]).ok();
    assert!(!ran.err.contains("authorized_keys2"), "{ran:?}");
    // Whatever ends or limits the key here does not do so there.
    let declare = |state: &str| {
        home.write("keys.toml", &format!("[[key]]\nkey = \"{FOREIGN}\"\nstate = \"{state}\"\n"));
    };
    let of_line = "~/.ssh/authorized_keys2:2 ";
    declare("present");
    for args in [
        &["expire", "1", "2099-01-01"][..],
        &["expire", "1", "2099-01-01"],
        &["apply", "keys.toml", "--check"],
    ] {
        let ran = home.akeys(args);
        assert!(ran.err.contains(&format!("{of_line}lets the key in as well")), "{args:?}: {ran:?}");
    }
    let third = format!("{}0000", &OTHER[..OTHER.len() - 4]);
    for more in [&["--dry-run"][..], &[]] {
        let ran = home.akeys(&[&["rotate", "1", &third, "--prove-model"], more].concat()).ok();
        assert!(ran.err.contains(&format!("{of_line}still lets the key in")), "{more:?}: {ran:?}");
    }
    for state in ["absent", "disabled"] {
        declare(state);
        let ran = home.akeys(&["apply", "keys.toml"]).ok();
        assert!(ran.out.contains("the keys are as declared"), "{state}: {ran:?}");
        assert!(ran.err.contains(&format!("{of_line}still lets the key in")), "{state}: {ran:?}");
    }
    home.akeys(&["add", FOREIGN]).ok();
    home.write("keys.toml", &format!("exclusive = true\n[[key]]\nkey = \"{third}\"\n"));
    let ran = home.akeys(&["apply", "keys.toml"]).ok();
    assert!(ran.err.contains(&format!("{of_line}still lets the key in")), "{ran:?}");
    // The same file by another name says nothing else.
    fs::remove_file(home.path().join(".ssh/authorized_keys2")).unwrap();
    symlink("authorized_keys", home.path().join(".ssh/authorized_keys2")).unwrap();
    let ran = home.akeys(&["expire", "1", "2099-01-01"]).ok();
    assert!(!ran.err.contains("authorized_keys2"), "{ran:?}");
    home.akeys(&["add", "ssh-ed25519 AAAA bad"]).fails(1, "akeys: the key:13: the key is cut short");
}
