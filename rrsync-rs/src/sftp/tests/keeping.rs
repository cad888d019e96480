//! `versions = true`: what a client overwrites or removes can be had again.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::wire::packet::*;
use super::*;
use crate::versions::{Kept, Reason, Store, Version};

const READ_FILE: u32 = 0x01;
const WRITE_FILE: u32 = 0x02;

fn versioned(tree: &Tree) -> Client {
    let mut rules = tree.workspace(Access::ReadWrite);
    rules.files.versions = true;
    Client::start(vec![("box", rules)], Options::default())
}

fn store(tree: &Tree) -> Store {
    Store::open(&Layout::new(tree.path("home")).unwrap(), &tree.path("box")).unwrap()
}

/// What was kept: path, why, and the content or the symlink's target.
fn kept(tree: &Tree) -> Vec<(String, Reason, String)> {
    let store = store(tree);
    let history = store.list(None).unwrap();
    assert_eq!(history.unreadable, 0);
    let content = |version: &Version| match &version.what {
        Kept::File { sha256, .. } => std::io::read_to_string(store.content(*sha256).unwrap()).unwrap(),
        Kept::Symlink { target } => format!("-> {}", target.display()),
    };
    let path = |version: &Version| version.path.to_str().unwrap().to_owned();
    assert!(history.versions.iter().all(|version| version.origin.as_deref() == Some(ORIGIN)));
    history.versions.iter().map(|version| (path(version), version.reason, content(version))).collect()
}

#[test]
fn whatever_takes_a_content_away_keeps_it() {
    let tree = Tree::new();
    fs::write(tree.path("box/other"), "other").unwrap();
    symlink("in.txt", tree.path("box/l")).unwrap();
    let mut client = versioned(&tree);
    let replace = |from: &str, to: &str| (EXTENDED, s("posix-rename@openssh.com").s(from).s(to));
    let overwritten = |path: &str, text: &str| vec![(path.to_owned(), Reason::Overwritten, text.to_owned())];
    let removed = |path: &str, text: &str| vec![(path.to_owned(), Reason::Removed, text.to_owned())];
    assert_eq!(client.put("box/in.txt", "second"), 0);
    let mut expected = overwritten("in.txt", "inside");
    assert_eq!(kept(&tree), expected);
    for ((kind, body), more) in [
        ((SETSTAT, s("box/in.txt").n(1).q(3)), overwritten("in.txt", "second")),
        ((SETSTAT, s("box/in.txt").n(1).q(2)), overwritten("in.txt", "sec")),
        (replace("box/other", "box/in.txt"), overwritten("in.txt", "se")),
        ((REMOVE, s("box/l")), removed("l", "-> in.txt")),
        ((REMOVE, s("box/in.txt")), removed("in.txt", "other")),
        ((RENAME, s("box/sub/f").s("box/sub/g")), vec![]),
        ((RMDIR, s("box/sub/deep")), vec![]),
        ((SETSTAT, s("box/sub/g").n(4).n(0o600)), vec![]),
    ] {
        assert_eq!(client.code(kind, body.clone()), 0, "{kind} {body:?}");
        expected.extend(more);
        assert_eq!(kept(&tree), expected, "{kind} {body:?}");
    }
    // Read-only opening that empties; writing without emptying; a handle's size.
    let handle = client.open("box/sub/g", READ_FILE | 0x10).unwrap();
    assert_eq!(client.close(&handle), 0);
    expected.extend(overwritten("sub/g", "sub"));
    assert_eq!(client.put("box/sub/g", "123456"), 0);
    expected.extend(overwritten("sub/g", ""));
    let handle = client.open("box/sub/g", WRITE_FILE).unwrap();
    assert_eq!(client.write(&handle, 3, "x"), 0);
    assert_eq!(client.code(FSETSTAT, s(&handle).n(1).q(5)), 0);
    assert_eq!(fs::read_to_string(tree.path("box/sub/g")).unwrap(), "123456");
    assert_eq!(client.close(&handle), 0);
    expected.extend(overwritten("sub/g", "123456"));
    let append = client.open("box/sub/g", WRITE_FILE | 0x04).unwrap();
    assert_eq!(client.write(&append, 0, "!"), 0);
    assert_eq!(client.close(&append), 0);
    expected.extend(overwritten("sub/g", "123x5"));
    assert_eq!(kept(&tree), expected);
    assert_eq!(fs::read_to_string(tree.path("box/sub/g")).unwrap(), "123x5!");
    // A copy inside the server; and a second name, which has its own content from then on.
    let (from, to) =
        (client.open("box/sub/g", READ_FILE).unwrap(), client.open("box/sub/g", WRITE_FILE).unwrap());
    assert_eq!(client.code(EXTENDED, s("copy-data").s(&from).q(3).q(3).s(&to).q(0)), 0);
    assert_eq!((client.close(&from), client.close(&to)), (0, 0));
    expected.extend(overwritten("sub/g", "123x5!"));
    assert_eq!(client.code(EXTENDED, s("hardlink@openssh.com").s("box/sub/g").s("box/sub/h")), 0);
    assert_eq!(client.put("box/sub/h", "other"), 0);
    expected.extend(overwritten("sub/h", "x5!x5!"));
    assert_eq!(kept(&tree), expected);
    assert_eq!(fs::read_to_string(tree.path("box/sub/g")).unwrap(), "x5!x5!");
    client.end();
    let names =
        fs::read_dir(tree.path("box/sub")).unwrap().count() + fs::read_dir(tree.path("box")).unwrap().count();
    assert_eq!(names, 3, "sub, sub/g and sub/h, and nothing hidden");
}

#[test]
fn what_cannot_be_kept_is_not_lost() {
    let tree = Tree::new();
    let mut client = versioned(&tree);
    // The store has something else under the name of this content.
    let content = store(&tree).directories()[0].1.clone();
    fs::write(content.join(Sum::of(b"inside").to_string()), "damaged").unwrap();
    for (kind, body) in [
        (REMOVE, s("box/in.txt")),
        (SETSTAT, s("box/in.txt").n(1).q(0)),
        (EXTENDED, s("posix-rename@openssh.com").s("box/sub/f").s("box/in.txt")),
    ] {
        let reply = client.ask(kind, &body);
        assert_eq!(reply.code(), 4, "{kind} {body:?}");
        let told = String::from_utf8(reply.string(4)).unwrap();
        assert!(told.contains("cannot be kept"), "{told}");
    }
    assert_eq!(client.put("box/in.txt", "new"), 4);
    client.end();
    assert_eq!(fs::read_to_string(tree.path("box/in.txt")).unwrap(), "inside");
    assert_eq!(fs::read_to_string(tree.path("box/sub/f")).unwrap(), "sub");
    assert_eq!(fs::read_dir(tree.path("box")).unwrap().count(), 2);
}

#[test]
fn sessions_at_once_lose_nothing_of_each_other() {
    let tree = Tree::new();
    let rounds = 30;
    let written: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let tree = &tree;
                scope.spawn(move || {
                    let mut client = versioned(tree);
                    let mut written = Vec::new();
                    for round in 0..rounds {
                        let text = format!("{worker} {round}");
                        match round % 3 {
                            0 => assert_eq!(client.code(REMOVE, s("box/in.txt")) & !2, 0),
                            1 => {
                                assert_eq!(client.put(&format!("box/part{worker}"), &text), 0);
                                let part = s(format!("box/part{worker}"));
                                let body = s("posix-rename@openssh.com").s(&part.0[4..]).s("box/in.txt");
                                assert_eq!(client.code(EXTENDED, body), 0);
                                written.push(text);
                            }
                            _ => {
                                assert_eq!(client.put("box/in.txt", &text), 0);
                                written.push(text);
                            }
                        }
                    }
                    written
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let mut found: std::collections::HashSet<String> =
        kept(&tree).into_iter().map(|(_, _, text)| text).collect();
    found.extend(fs::read_to_string(tree.path("box/in.txt")));
    let lost: Vec<&String> = written.iter().filter(|text| !found.contains(*text)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(found.contains("inside"));
}

#[test]
fn a_file_does_not_leave_for_where_nothing_is_kept() {
    let tree = Tree::new();
    fs::create_dir(tree.path("plain")).unwrap();
    fs::write(tree.path("plain/p"), "plain").unwrap();
    let mut rules = tree.workspace(Access::ReadWrite);
    rules.files.versions = true;
    let plain = Workspace::new(tree.path("plain"), Access::ReadWrite);
    let mut client = Client::start(vec![("box", rules), ("plain", plain)], Options::default());
    let hard = |from: &str, to: &str| s("hardlink@openssh.com").s(from).s(to);
    for (kind, body) in [
        (RENAME, s("box/in.txt").s("plain/in.txt")),
        (RENAME, s("plain/p").s("box/p")),
        (EXTENDED, hard("box/in.txt", "plain/in.txt")),
        (EXTENDED, hard("plain/p", "box/p")),
    ] {
        assert_eq!(client.code(kind, body.clone()), 4, "{kind} {body:?}");
    }
}
