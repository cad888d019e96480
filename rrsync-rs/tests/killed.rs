//! Sessions that are killed: what they leave, and what the next session makes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rrsync_rs::layout::Layout;
use rrsync_rs::versions::{Kept, Store};
use support::{Account, GATE};

/// An account whose workspace `box`, the directory `D`, has these rules.
fn account(rules: &str) -> Account {
    let account = Account::new();
    account.write("D/in.txt", "inside");
    account.write("D/sub/f", "sub");
    let text = format!(
        "federation = \"playground\"\npod = \"chef1\"\ntools = [\"sftp\", \"scp\"]\n\
         [workspace.box]\npath = \"{}\"\naccess = \"rw\"\n{rules}",
        account.d("").display()
    );
    account.grant("playground.chef1", &text);
    account
}

/// The gate, for `command`; in a tracer where `tracer` says so.
fn gate(account: &Account, tracer: &[String], command: &str) -> Child {
    let words: Vec<&str> =
        tracer.iter().map(String::as_str).chain([GATE, "--grant", "playground.chef1"]).collect();
    let mut gate = Command::new(words[0]);
    gate.args(&words[1..]).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", account.root.join("home"));
    gate.env("SSH_ORIGINAL_COMMAND", command).current_dir(&account.root);
    gate.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// A whole session of the old scp: sends `stream`; whether all went well.
fn scp(account: &Account, tracer: &[String], command: &str, stream: &[u8]) -> bool {
    let mut child = gate(account, tracer, command);
    let _ = child.stdin.take().unwrap().write_all(stream);
    child.wait_with_output().unwrap().status.success()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_killed_upload_leaves_nothing_or_what_the_next_session_removes() {
    // Where a quota has to find everything that is written, an upload has a hidden name.
    for (rules, hidden) in [("atomic = true\n", 0), ("atomic = true\nquota = \"1G\"\n", 2)] {
        let account = account(rules);
        let mut child = gate(&account, &[], "scp -r -t box");
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        input.write_all(b"C0644 3 new\nabc\0C0644 10 in.txt\nhalf").unwrap();
        // Begun, accepted, done, accepted: the fifth byte would be the end of the second file.
        let mut told = [0xff; 4];
        output.read_exact(&mut told).unwrap();
        assert_eq!(told, [0; 4]);
        let mut other = gate(&account, &[], "scp -r -t box");
        let mut other_output = other.stdout.take().unwrap();
        let mut other_input = other.stdin.take().unwrap();
        other_input.write_all(b"C0644 10 other\nhalf").unwrap();
        other_output.read_exact(&mut told[..2]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let left = |name: &String| name.starts_with(".akeys-upload-");
        assert_eq!(names(&account.d("")).iter().filter(|name| left(name)).count(), hidden, "{rules}");
        assert_eq!(account.read("D/in.txt") + &account.read("D/new"), "insideabc");
        // The next session cleans up after the dead one, and leaves the living one alone.
        assert!(scp(&account, &[], "scp -t box", b"C0644 1 next\nx\0"));
        assert_eq!(names(&account.d("")).iter().filter(|name| left(name)).count(), hidden / 2, "{rules}");
        other_input.write_all(b"-whole\0").unwrap();
        drop(other_input);
        assert!(other.wait().unwrap().success());
        assert_eq!(account.read("D/other"), "half-whole");
        assert_eq!(names(&account.d("")), ["in.txt", "new", "next", "other", "sub"]);
    }
}

/// The calls that change something on the way of an upload into a workspace that keeps versions.
const CALLS: &[&str] = &[
    "linkat",
    "renameat2",
    "renameat",
    "unlinkat",
    "fsync",
    "fdatasync",
    "write",
    "pwrite64",
    "flock",
    "openat2",
    "fsetxattr",
];

/// Kills at one call of one kind; more are not made.
const TRIES: u32 = 60;

#[test]
fn killed_at_any_system_call_nothing_is_lost_and_nothing_is_half() {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    if !traced.is_ok_and(|output| output.status.success()) {
        eprintln!("strace is missing or may not trace: kills at system calls were not tried");
        return;
    }
    let mut kills = 0;
    for rules in ["versions = true\n", "versions = true\nquota = \"1G\"\n"] {
        for call in CALLS {
            let mut killed = 0;
            for when in 1..=TRIES {
                let at = format!("{rules}{call} {when}");
                let account = account(rules);
                let inject = format!("inject={call}:signal=KILL:when={when}");
                let tracer = ["strace", "-f", "-o", "/dev/null", "-e", &inject].map(str::to_owned);
                let stream = b"C0644 3 in.txt\nnew\0D0755 0 sub\nC0600 6 f\nchange\0E\n";
                let whole = scp(&account, &tracer, "scp -r -t box", stream);
                sound(&account, &at);
                // The next session finds nothing in its way.
                assert!(scp(&account, &[], "scp -t box", b"C0644 4 in.txt\nlast\0"), "{at}");
                sound(&account, &at);
                assert_eq!(names(&account.d("")), ["in.txt", "sub"], "{at}");
                assert_eq!(names(&account.d("sub")), ["f"], "{at}");
                if whole {
                    break;
                }
                killed += 1;
            }
            assert!(killed < TRIES, "{call} is called more often than was tried");
            kills += killed;
        }
    }
    assert!(kills > 40, "only {kills} kills hit");
}

/// Each path has a content that it had at some time, whole, and each earlier one is kept.
fn sound(account: &Account, at: &str) {
    let store = Store::open(&Layout::new(account.root.join("home")).unwrap(), &account.d("")).unwrap();
    let history = store.list(None).unwrap();
    let kept: Vec<(&Path, String)> = history
        .versions
        .iter()
        .map(|version| match &version.what {
            Kept::File { sha256, .. } => {
                let content = store.content(*sha256).unwrap_or_else(|error| panic!("{at}: {error}"));
                (version.path.as_path(), std::io::read_to_string(content).unwrap())
            }
            Kept::Symlink { .. } => panic!("{at}: {version:?}"),
        })
        .collect();
    for (path, contents) in [("in.txt", &["inside", "new", "last"][..]), ("sub/f", &["sub", "change"])] {
        let now = account.read(&format!("D/{path}"));
        let place = contents.iter().position(|content| *content == now);
        let place = place.unwrap_or_else(|| panic!("{at}: {path} has {now:?}"));
        // What was skipped was never there: the session was killed before.
        let first = (Path::new(path), contents[0].to_owned());
        assert!(place == 0 || kept.contains(&first), "{at}: {path} has lost its first content");
    }
}
