//! What is there stays as it is, and unread, where the key says so: whatever the client speaks, and whatever becomes of rsync.
//!
//! `overwrite = false` and `wo` are kept by the kernel. The stand-in for rsync tries every way around the rights that the
//! session has; a client with a protocol of its own sends what no rsync would.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod protocol;
mod stand_in;
mod support;

use std::fs;

use protocol::{Part, Sender};
use support::{Account, content, picture, said};

/// What a session may do with what is there.
struct May {
    flags: &'static str,
    read: bool,
    change: bool,
    remove: bool,
    directory: bool,
}

const SESSIONS: &[May] = &[
    May { flags: "-no-overwrite", read: true, change: false, remove: false, directory: false },
    May { flags: "-wo", read: false, change: true, remove: true, directory: true },
    May { flags: "-wo -no-del", read: false, change: true, remove: true, directory: false },
    May { flags: "-wo -no-overwrite", read: false, change: false, remove: false, directory: false },
];

/// A directory with something for each attack to meet.
fn lay_out() -> Account {
    let account = Account::new();
    let names =
        ["in", "in2", "sub/moved", "tree/x", "keep-unlink", "keep-over", "keep-exchange", "keep-rename"];
    for name in names {
        account.write(&format!("D/{name}"), "KEPT\n");
    }
    account.write("D/keep-tree/x", "KEPT\n");
    fs::create_dir(account.d("keep-empty")).unwrap();
    account
}

#[test]
fn a_taken_over_rsync_cannot_get_at_what_is_there() {
    for session in SESSIONS {
        for namespace in [false, true] {
            let account = lay_out();
            let before = picture(&account.d(""));
            let how = if namespace { "required" } else { "off" };
            let flags = format!("{} {} -namespace {how}", stand_in::install(&account), session.flags);
            let flags: Vec<&str> = flags.split_whitespace().collect();
            let scene = format!("{},{}", account.root.display(), std::process::id());
            let d = account.d("").display().to_string();
            let command = format!("rsync --server -re.iLsfxCIvu --log-format=kept,{scene} . .");
            let output = account.gate(&[&flags[..], &[&d]].concat(), &command, b"");
            assert!(output.status.success(), "{}", said(&output));
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let tried: Vec<(&str, bool)> = said
                .lines()
                .map(|line| line.split_once(' ').unwrap())
                .map(|(name, outcome)| (name, outcome == "allowed"))
                .collect();
            assert!(tried.len() > 20, "{said}");
            for (name, succeeded) in tried {
                let may = match name.split('-').next().unwrap() {
                    "add" => true,
                    "read" => session.read,
                    "change" => session.change,
                    "remove" => session.remove,
                    "directory" => session.directory,
                    _ => false,
                };
                // A file is opened anew through /proc, which a namespace does not have.
                let may = may && !(namespace && name.ends_with("-anew"));
                assert_eq!(succeeded, may, "{} {how} {name}: {said}", session.flags);
            }
            if !session.change && !session.remove {
                let after = picture(&account.d(""));
                // A link more is a change of none of its names.
                let kept = |line: &&str| !line.starts_with("in2 ") && !line.contains("attack-kept");
                assert_eq!(
                    after.lines().filter(kept).collect::<Vec<_>>(),
                    before.lines().filter(kept).collect::<Vec<_>>(),
                    "{} {how}",
                    session.flags
                );
            }
        }
    }
}

const FILE: u32 = 0o100_644;

/// Sends `REPLACED` for `victim`, which is there and was not asked for.
fn overwrite(account: &Account, flags: &[&str]) -> String {
    let d = account.d("").display().to_string();
    // A receiver that has lost its client may keep the lock for a moment.
    let flags = [flags, &["-no-lock", &d]].concat();
    let mut client = Sender::start(account, &flags, "rsync --server -r . .");
    client.list(&[("victim", FILE, 1)]);
    client.file(0, 0, &[Part::Bytes(b"REPLACED")], b"REPLACED");
    client.end()
}

#[test]
fn a_client_with_its_own_protocol_overwrites_nothing() {
    for namespace in ["required", "off"] {
        for flags in [&["-no-overwrite"][..], &["-wo", "-no-overwrite"]] {
            let account = Account::new();
            account.write("D/victim", "KEPT");
            let said = overwrite(&account, &[flags, &["-namespace", namespace]].concat());
            assert_eq!(account.read("D/victim"), "KEPT", "{flags:?}: {said}");
            assert!(said.contains("victim"), "{flags:?}: {said}");
            // What is not there yet is added.
            fs::remove_file(account.d("victim")).unwrap();
            let said = overwrite(&account, &[flags, &["-namespace", namespace]].concat());
            assert_eq!(account.read("D/victim"), "REPLACED", "{flags:?}: {said}");
        }
    }
    // So it is the kernel that did it, and the client means it.
    let account = Account::new();
    account.write("D/victim", "KEPT");
    let said = overwrite(&account, &["-no-overwrite", "-confine", "off"]);
    assert_eq!(account.read("D/victim"), "REPLACED", "{said}");
}

/// What the server says to the claim that its `victim` begins with `guess`.
fn answer(flags: &[&str], guess: &[u8]) -> String {
    let account = Account::new();
    account.write("D/victim", SECRET);
    let d = account.d("").display().to_string();
    let mut client = Sender::start(&account, &[flags, &[&d]].concat(), "rsync --server -vr . .");
    client.list(&[("victim", FILE, 1)]);
    client.file(0, guess.len().try_into().unwrap(), &[Part::Block(0)], guess);
    let said = client.end().replace(account.root.to_str().unwrap(), "");
    // How it ends with such a client is a matter of moments.
    let about_the_file = said.lines().filter(|line| line.contains("victim"));
    about_the_file.collect::<Vec<_>>().join("\n")
}

const SECRET: &str = "0123456789 the content of a file that nobody may read";

#[test]
fn a_client_with_its_own_protocol_learns_nothing_by_guessing() {
    for (flags, tells) in [
        (&["-wo", "-namespace", "required"][..], false),
        (&["-wo", "-namespace", "off"], false),
        (&["-wo", "-no-overwrite"], false),
        (&["-wo", "-confine", "off"], true),
    ] {
        let (right, wrong) = (answer(flags, b"0123"), answer(flags, b"9876"));
        assert_eq!(right != wrong, tells, "{flags:?}: {right} {wrong}");
        assert!(!tells || wrong.contains("failed verification"), "{wrong}");
    }
}

#[test]
fn a_client_with_its_own_protocol_brings_no_file_that_is_too_large() {
    for (limit, arrives) in [("", true), ("file-size = \"4K\"\n", false)] {
        let account = Account::new();
        account.grant(
            "f.p",
            &format!(
                "federation = \"f\"\npod = \"p\"\ntools = [\"rsync\"]\n[limits]\ntimeout = 20\n{limit}\
                 [workspace.w]\npath = \"{}\"\naccess = \"rw\"\n",
                account.d("").display()
            ),
        );
        // The records are larger than the limit, and are written all the same.
        account.write("home/.local/state/akeys/audit.jsonl", "{}\n".repeat(5000));
        for (name, size) in [("small", 4096), ("large", 4097)] {
            let content = vec![b'x'; size];
            let mut client = Sender::start(&account, &["--grant", "f.p"], "rsync --server -r . w/");
            client.list(&[(name, FILE, 1)]);
            client.file(0, 0, &[Part::Bytes(&content)], &content);
            let said = client.end();
            assert_eq!(account.d(name).exists(), arrives || name == "small", "{limit} {name}: {said}");
        }
        assert_eq!(account.audit().len(), 5002);
        assert_eq!(fs::read_dir(account.d("")).unwrap().count(), if arrives { 2 } else { 1 });
    }
}

const DIRECTORY: u32 = 0o040_711;

/// What a client can say it sends, to get behind a link that is a directory's name: options and list.
const BEHIND: &[(&str, &[(&str, u32)])] = &[
    ("-rtp", &[("a/secret", FILE)]),
    ("-rtp", &[("a", DIRECTORY), ("a/secret", FILE)]),
    ("-rtpR", &[("a/secret", FILE)]),
    ("-rtpR", &[("a", DIRECTORY), ("a/secret", FILE)]),
    ("-rtpR --no-implied-dirs", &[("a/secret", FILE)]),
    ("-rtpR --no-implied-dirs", &[("a", DIRECTORY), ("a/dir", DIRECTORY), ("a/secret", FILE)]),
];

#[test]
fn a_client_with_its_own_protocol_changes_nothing_behind_a_planted_link() {
    let mut changed = Vec::new();
    for flags in ["-wo", "-no-lock", "-no-overwrite"] {
        for namespace in ["auto", "off"] {
            for (options, files) in BEHIND {
                if behind_a_link(&format!("{flags} -namespace {namespace}"), options, files) {
                    changed.push(format!("{flags} -namespace {namespace} {options} {files:?}"));
                }
            }
        }
    }
    assert_eq!(changed, [""; 0]);
}

/// Whether modes or times outside have changed.
fn behind_a_link(flags: &str, options: &str, files: &[(&str, u32)]) -> bool {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let account = Account::new();
    let outside = account.root.join("outside");
    fs::set_permissions(outside.join("secret"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("../outside", account.d("a")).unwrap();
    let (before, size) = (content(&outside), fs::metadata(outside.join("secret")).unwrap().len());
    let shown = picture(&outside);
    let d = account.d("").display().to_string();
    let all: Vec<&str> = flags.split(' ').chain(["-no-lock", &d]).collect();
    let command = format!("rsync --server {options} --size-only . .");
    let Some(mut client) = Sender::try_start(&account, &all, &command) else {
        return false;
    };
    let size = size.try_into().unwrap();
    client.list(&files.iter().map(|(name, mode)| (*name, *mode, size)).collect::<Vec<_>>());
    let said = client.end();
    assert!(!said.contains("OUTSIDE"), "{said}");
    assert_eq!(content(&outside), before, "{flags} {options}: {said}");
    picture(&outside) != shown
}
