//! What the gate serves itself, confined as in earnest: the rules of a workspace, met by OpenSSH's own clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rrsync_rs::layout::Layout;
use rrsync_rs::origin;
use rrsync_rs::sha256::Sum;
use rrsync_rs::versions::{Kept, Store};
use support::{Account, GATE, said};

/// An account whose workspace `box`, the directory `D`, has these rules; `rw` unless they say another access.
fn account(head: &str, rules: &str) -> Account {
    let account = Account::new();
    account.write("D/in.txt", "inside");
    account.write("D/sub/f", "sub");
    account.write("client/new", "new content");
    account.write("client/tree/a/x", "x");
    account.write("client/tree/y", "y");
    let access = if rules.contains("access =") { "" } else { "access = \"rw\"\n" };
    let text = format!(
        "federation = \"playground\"\npod = \"chef1\"\ntools = [\"sftp\", \"scp\"]\n{head}\
         [workspace.box]\npath = \"{}\"\n{access}{rules}",
        account.d("").display()
    );
    account.grant("playground.chef1", &text);
    account
}

/// A program for `sftp -D`: the gate, asked for the SFTP subsystem.
fn subsystem(account: &Account) -> String {
    let home = account.root.join("home");
    let text = format!(
        "SSH_ORIGINAL_COMMAND=internal-sftp HOME='{}' exec '{GATE}' --grant playground.chef1\n",
        home.display()
    );
    let script = account.write("subsystem", text);
    format!("/bin/sh {}", script.display())
}

fn sftp(account: &Account, batch: &str) -> Output {
    let commands = account.write("batch", batch);
    let mut sftp = Command::new("sftp");
    sftp.arg("-b").arg(commands).arg("-D").arg(subsystem(account));
    sftp.current_dir(account.root.join("client")).output().expect("openssh-client is installed")
}

#[track_caller]
fn ends(output: &Output, well: bool) {
    assert_eq!(output.status.success(), well, "{}", said(output));
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn file_records(account: &Account) -> Vec<serde_json::Value> {
    account.audit().into_iter().filter(|record| !record["file"].is_null()).collect()
}

fn store(account: &Account) -> Store {
    Store::open(&Layout::new(account.root.join("home")).unwrap(), &account.d("")).unwrap()
}

#[test]
fn versions_are_kept_by_a_confined_session() {
    let account = account("record-sha256 = true\n", "versions = true\n");
    let inode = fs::metadata(account.d("sub/f")).unwrap().ino();
    let output =
        sftp(&account, "put new box/in.txt\nput new box/in.txt\nrm box/sub/f\nrename box/in.txt box/kept\n");
    ends(&output, true);
    assert_eq!(names(&account.d("")), ["kept", "sub"]);
    let store = store(&account);
    let versions = store.list(None).unwrap().versions;
    let told: Vec<(&str, String)> = versions
        .iter()
        .map(|version| match &version.what {
            Kept::File { sha256, .. } => (
                version.path.to_str().unwrap(),
                std::io::read_to_string(store.content(*sha256).unwrap()).unwrap(),
            ),
            Kept::Symlink { .. } => panic!("{version:?}"),
        })
        .collect();
    let text = |text: &str| text.to_owned();
    assert_eq!(told, [("in.txt", text("inside")), ("in.txt", text("new content")), ("sub/f", text("sub"))]);
    let linked = fs::metadata(store.directories()[0].1.join(Sum::of(b"sub").to_string())).unwrap();
    assert_eq!(linked.ino(), inode, "the kernel lets it be linked, not only copied");
    let records = file_records(&account);
    assert_eq!(records[0]["sha256"], Sum::of(b"new content").to_string());
    assert_eq!(records.len(), 4, "{records:?}");
}

#[test]
fn atomic_uploads_work_in_a_confined_session() {
    for rules in ["atomic = true\n", "atomic = true\nquota = \"1G\"\n"] {
        let account = account("", rules);
        ends(
            &sftp(
                &account,
                "put new box/in.txt\nput new box/other\nput -rp tree box/\nreput new box/sub/f\n",
            ),
            true,
        );
        assert_eq!(account.read("D/in.txt") + &account.read("D/other"), "new contentnew content");
        assert_eq!(
            account.read("D/tree/a/x") + &account.read("D/sub/f"),
            "xsub content",
            "reput goes on from the size"
        );
        assert_eq!(names(&account.d("")), ["in.txt", "other", "sub", "tree"]);
        let mark = origin::of(fs::File::open(account.d("tree/a/x")).unwrap());
        assert_eq!(mark.as_deref(), Some("playground.chef1"));
    }
}

#[test]
fn a_quota_holds_across_sessions() {
    let account = account("", "quota = \"1K\"\nquota-files = 8\n");
    account.write("client/big", "x".repeat(600));
    ends(&sftp(&account, "put big box/one\n"), true);
    let output = sftp(&account, "put big box/two\n");
    ends(&output, false);
    ends(&sftp(&account, "rm box/two\nrm box/one\nput big box/two\nput new box/three\n"), true);
    let many: String = (0..10).map(|i| format!("-mkdir box/d{i}\n")).collect();
    ends(&sftp(&account, &many), true);
    assert_eq!(names(&account.d("")).len() + names(&account.d("sub")).len(), 8);
    assert!(
        file_records(&account).iter().any(|record| record["result"] == "Quota exceeded"),
        "{:?}",
        account.audit()
    );
}

#[test]
fn a_drop_takes_batches_and_shows_nothing() {
    let account = account("", "access = \"drop\"\n");
    ends(
        &sftp(
            &account,
            "mkdir box/.7\nput -rp tree box/.7/\nput new box/.7/n\nrename box/.7 box/7\nput new box/single\n",
        ),
        true,
    );
    assert_eq!(
        account.read("D/7/tree/a/x") + &account.read("D/7/n") + &account.read("D/single"),
        "xnew contentnew content"
    );
    for batch in [
        "ls box",
        "get box/in.txt",
        "get box/7/n",
        "put new box/in.txt",
        "put new box/7/more",
        "rm box/7/n",
        "mkdir box/8",
    ] {
        ends(&sftp(&account, &format!("{batch}\n")), false);
    }
    assert_eq!(names(&account.d("")), ["7", "in.txt", "single", "sub"]);
    assert_eq!(names(&account.d("7")), ["n", "tree"]);
    // Begun in one session, finished in the next.
    ends(&sftp(&account, "mkdir box/.9\nput new box/.9/a\n"), true);
    ends(&sftp(&account, "put new box/.9/b\nrename box/.9 box/9\n"), true);
    assert_eq!(names(&account.d("9")), ["a", "b"]);
}

fn state(account: &Account, name: &str) -> PathBuf {
    account.root.join("home/.local/state/akeys").join(name)
}
