//! What was open in one version of rrsync or another, tried with the real client. What is exchanged while a session runs is in
//! `swaps.rs`, what a push plants, and what rrsync 3.5.0 still leaves open, in `better`, `kept.rs` and `session.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use Outcome::{Brings, Nothing, Refused};
use support::{Account, picture, said};

/// What comes of a request. Nothing outside is ever changed, and no byte of it comes out.
enum Outcome {
    /// The gate refuses it, by this rule.
    Refused(&'static str),
    /// It runs; this file, relative to the account, has this content then.
    Brings(&'static str, &'static str),
    /// It runs, and rsync finds nothing to do or nothing of that name.
    Nothing,
}

/// Where the hole was, the gate's flags, the client's words, and what comes of it.
type Case = (&'static str, &'static str, &'static [&'static str], Outcome);

const CASES: &[Case] = &[
    ("leading slashes, pull", "-ro", &["-a", "h:///in.txt", "got/"], Brings("client/got/in.txt", "inside")),
    ("leading slashes, pull", "-ro", &["-a", "h:////outside/secret", "got/"], Nothing),
    ("leading slashes, pull", "-ro", &["-a", "h:.///in.txt", "got/"], Brings("client/got/in.txt", "inside")),
    ("leading slashes, pull", "-ro", &["-a", "h:///etc/hostname", "got/"], Nothing),
    ("leading slashes, push", "-wo", &["-a", "f", "h:///sub/pushed"], Brings("D/sub/pushed", "sent")),
    (
        "leading slashes, option",
        "-wo",
        &["-a", "-M--log-file=///sub/log", "f", "h:sub/"],
        Brings("D/sub/f", "sent"),
    ),
    ("a dot between slashes", "-ro", &["-a", "h:/./../outside/secret", "got/"], Refused("path.dotdot")),
    ("a link above", "-wo", &["-a", "f", "h:up/outside/secret"], Refused("path.outside")),
    ("a link above", "-wo", &["-a", "f", "h:chain/secret"], Refused("path.outside")),
    ("a link to the root", "-ro", &["-a", "h:rootlink/etc/passwd", "got/"], Refused("path.outside")),
    ("a link in an option", "-wo", &["-ab", "--backup-dir=esc", "f", "h:"], Refused("path.outside")),
    ("a link in an option", "-wo", &["-a", "--temp-dir=esc", "f", "h:"], Refused("path.outside")),
    ("a link in an option", "-wo", &["-a", "--partial-dir=/esc", "f", "h:"], Refused("path.outside")),
    ("a link in an option", "-wo", &["-a", "--copy-dest=/esc", "f", "h:"], Refused("path.outside")),
    ("a link in an option", "", &["-a", "--files-from=:eschosts", "h:", "got/"], Refused("path.outside")),
    ("a link in an option", "-wo", &["-a", "-M--log-file=esc/log", "f", "h:"], Refused("path.outside")),
    (
        "options that follow links",
        "-ro",
        &["-a", "--copy-unsafe-links", "h:", "got/"],
        Refused("rsync.option"),
    ),
    ("options that follow links", "-ro", &["-aL", "h:", "got/"], Refused("rsync.option")),
    ("options that follow links", "-ro", &["-ak", "h:", "got/"], Refused("rsync.option")),
    ("options that follow links", "-wo", &["-aK", "f", "h:"], Refused("rsync.option")),
    ("a log of a reader", "-ro", &["-a", "-M--log-file=log", "h:", "got/"], Refused("rsync.option")),
    ("file texts in debug output", "", &["-a", "-M--debug=FILTER2", "f", "h:"], Refused("rsync.option")),
    ("file texts in debug output", "", &["-avvv", "f", "h:"], Brings("D/f", "sent")),
    (
        "a list that the server reads",
        "-wo",
        &["-a", "--files-from=:in.txt", ".", "h:"],
        Refused("rsync.files-from"),
    ),
    (
        "a list that the client reads",
        "-wo",
        &["-a", "--files-from=names", ".", "h:sub"],
        Brings("D/sub/f", "sent"),
    ),
    ("a push that is a pull", "-wo", &["-a", "-M--sender", "f", "h:"], Refused("rsync.option")),
    (
        "a push that is a pull",
        "",
        &["-a", "--old-args", "f", "h:--sender in.txt"],
        Refused("rsync.destinations"),
    ),
    (
        "a climb in disguise",
        "-ro",
        &["-a", "--old-args", "h:.\\./outside/secret", "got/"],
        Refused("path.dotdot"),
    ),
    (
        "a climb in disguise",
        "-ro",
        &["-a", "--old-args", "h:sub\\/..\\/..\\/outside", "got/"],
        Refused("path.dotdot"),
    ),
    (
        "a climb in disguise",
        "-ro",
        &["-a", "--old-args", "h:*/../../outside", "got/"],
        Refused("path.dotdot"),
    ),
    (
        "a climb in disguise",
        "-ro",
        &["-a", "--old-args", "h:{..,in.txt}/outside", "got/"],
        Refused("path.dotdot"),
    ),
    ("a climb in disguise", "-ro", &["-a", "--old-args", "h:.[.]/outside", "got/"], Nothing),
    (
        "a climb in disguise",
        "-ro",
        &["-a", "-s", "h:sub/../../outside/secret", "got/"],
        Refused("path.dotdot"),
    ),
    ("a name like an option", "-ro", &["-a", "h:-L", "got/"], Brings("client/got/-L", "dash")),
    ("a name like an option", "-ro", &["-a", "h:--rsh=sh", "got/"], Nothing),
    ("another program", "-ro", &["-a", "-M--rsh=touch PWN", "h:", "got/"], Refused("rsync.option.unknown")),
    ("another program", "-ro", &["-a", "-M-esh", "h:", "got/"], Refused("rsync.syntax")),
    (
        "another program",
        "-ro",
        &["-a", "--rsync-path=touch PWN; rsync", "h:", "got/"],
        Refused("request.command"),
    ),
    ("a daemon", "-ro", &["-a", "-M--daemon", "h:", "got/"], Refused("rsync.option")),
    (
        "a daemon",
        "-ro",
        &["-a", "-M--config=/etc/rsyncd.conf", "h:", "got/"],
        Refused("rsync.option.unknown"),
    ),
    ("hidden arguments", "-wo", &["-a", "-s", "f", "h:up/outside/secret"], Refused("path.outside")),
    (
        "hidden arguments",
        "-ro",
        &["-a", "-s", "-M--copy-links", "h:", "got/"],
        Refused("rsync.option.unknown"),
    ),
    ("hidden arguments", "-wo", &["-a", "-s", "f", "h:sub/hidden"], Brings("D/sub/hidden", "sent")),
    ("a newer way to delete", "-no-del", &["-a", "--delete-delay", "f", "h:"], Refused("rsync.option")),
    (
        "a newer way to delete",
        "-no-del",
        &["-a", "--remove-sent-files", "h:", "got/"],
        Refused("rsync.option"),
    ),
    ("devices", "", &["-a", "-M--copy-devices", "h:", "got/"], Refused("rsync.option")),
    ("devices", "", &["-a", "-M--write-devices", "f", "h:"], Refused("rsync.option")),
    ("links unmunged", "-munge", &["-a", "-M--no-munge-links", "f", "h:"], Refused("rsync.option")),
    ("a shell", "-ro", &["-a", "--old-args", "h:in.txt;touch PWN", "got/"], Refused("rsync.shell-syntax")),
    ("a shell", "-ro", &["-a", "--old-args", "h:$(touch PWN)", "got/"], Refused("rsync.shell-syntax")),
    ("a shell", "-wo", &["-a", "--old-args", "f", "h:`touch`"], Refused("rsync.shell-syntax")),
    ("a shell", "-ro", &["-a", "h:in.txt|touch PWN", "got/"], Nothing),
];

/// A tree with the links that lead out of it.
fn lay_out() -> Account {
    let account = Account::new();
    account.write("D/in.txt", "inside");
    account.write("D/-L", "dash");
    account.write("D/sub/kept", "inside");
    for (name, to) in [
        ("up", ".."),
        ("esc", "../outside"),
        ("chain", "esc"),
        ("rootlink", "/"),
        ("eschosts", "../outside/secret"),
    ] {
        symlink(to, account.d(name)).unwrap();
    }
    account.write("client/f", "sent");
    account.write("client/names", "f\n");
    account
}

#[test]
fn what_was_open_once_is_closed() {
    let mut wrong = Vec::new();
    for (hole, flags, args, outcome) in CASES {
        let account = lay_out();
        let outside = picture(&account.root.join("outside"));
        let output = account.rsync(flags, args);
        let record = account.audit().pop().unwrap_or_default();
        let refused = record["verdict"] == "refuse";
        let right = match outcome {
            Refused(rule) => refused && record["rule"] == *rule && output.status.code() == Some(12),
            Brings(path, content) => !refused && output.status.success() && account.read(path) == *content,
            Nothing => !refused && !output.status.success(),
        };
        let got = fs::read_dir(account.root.join("client/got")).into_iter().flatten().flatten();
        let leaked =
            got.filter_map(|entry| fs::read(entry.path()).ok()).any(|bytes| bytes.starts_with(b"OUTSIDE"))
                || said(&output).contains("OUTSIDE-SECRET");
        let ran =
            ["PWN", "D/PWN", "home/PWN", "client/PWN"].iter().any(|path| account.root.join(path).exists());
        if !right || leaked || ran || picture(&account.root.join("outside")) != outside {
            wrong.push(format!(
                "{hole}: {flags} {args:?}: leaked {leaked}, ran {ran}, {record}\n{}",
                said(&output)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

#[test]
fn a_log_like_rrsync_s_is_no_way_to_write_elsewhere() {
    let account = lay_out();
    // The gate starts where sshd starts it, here in the client's directory.
    symlink(account.root.join("outside/secret"), account.root.join("client/rrsync.log")).unwrap();
    let before = picture(&account.root.join("outside"));
    assert!(account.rsync("-ro", &["-a", "h:in.txt", "got/"]).status.success());
    assert_eq!(picture(&account.root.join("outside")), before);
    fs::remove_file(account.root.join("client/rrsync.log")).unwrap();
    account.write("client/rrsync.log", "");
    assert!(account.rsync("-ro", &["-a", "h:in.txt", "got/"]).status.success());
    assert!(account.read("client/rrsync.log").contains("192.0.2.7"), "{}", account.read("client/rrsync.log"));
}
