//! Grants, with the real client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../protocol/mod.rs"]
mod protocol;
#[path = "../stand_in/mod.rs"]
mod stand_in;
#[path = "../support/mod.rs"]
mod support;

mod hidden;
mod parts;
mod rules;
mod tools;
mod workspaces;

use std::fs;
use std::process::Output;

use support::{Account, picture, said};

/// An account with these files, and the grant `playground.chef1` with this policy, in which `D/` is the account's directory.
fn granted(files: &[(&str, &str)], policy: &str) -> Account {
    let account = Account::new();
    for (path, content) in files {
        account.write(path, content);
    }
    grant(&account, policy);
    account
}

/// Another policy for the same grant.
fn grant(account: &Account, policy: &str) {
    let policy = policy.replace("\"D/", &format!("\"{}", account.d("").display()));
    account.grant("playground.chef1", &format!("federation = \"playground\"\npod = \"chef1\"\n{policy}"));
}

/// An account with workspaces: `papers`, read-only with a writable `build`, `notes` and `inbox`.
fn account() -> Account {
    granted(
        &[
            ("D/papers/one", "1"),
            ("D/papers/fig/two", "2"),
            ("D/papers/build/old", "old"),
            ("D/papers-secret/key", "OUTSIDE-SECRET"),
            ("D/notes/n", "n"),
            ("D/inbox/there", "x"),
            ("client/src/new", "new"),
        ],
        "tools = [\"rsync\"]\n\
         [workspace.papers]\npath = \"D/papers\"\naccess = \"ro\"\n[workspace.papers.paths]\nbuild = \"rw\"\n\
         [workspace.notes]\npath = \"D/notes\"\naccess = \"rw\"\ndelete = false\n[workspace.notes.paths]\nlocked = \"ro\"\n\
         [workspace.inbox]\npath = \"D/inbox\"\naccess = \"wo\"\noverwrite = false\n",
    )
}

fn rsync(account: &Account, args: &[&str]) -> Output {
    account.rsync_with(&account.shell("--grant playground.chef1"), args)
}

#[track_caller]
fn ends(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
}

#[track_caller]
fn refused(account: &Account, args: &[&str], rule: &str) {
    let before = picture(&account.d(""));
    let output = rsync(account, args);
    assert_eq!(output.status.code(), Some(12), "{}", said(&output));
    let record = account.audit().pop().unwrap();
    assert_eq!((&record["verdict"], &record["rule"]), (&"refuse".into(), &rule.into()), "{args:?}: {record}");
    assert!(!said(&output).contains(&account.root.display().to_string()), "{}", said(&output));
    assert_eq!(picture(&account.d("")), before);
}

/// The account's grant with `rules` in front of the workspaces.
fn with_rules(rules: &str) -> Account {
    let account = account();
    let file = account.root.join("home/.config/akeys/grants/playground.chef1.toml");
    let text = fs::read_to_string(file).unwrap().replacen(
        "[workspace.papers]",
        &format!("{rules}\n[workspace.papers]"),
        1,
    );
    account.grant("playground.chef1", &text);
    account
}
