//! Atomic uploads: the old content or the new, never a part.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::super::wire::packet::*;
use super::*;

const READ_FILE: u32 = 0x01;
const WRITE_FILE: u32 = 0x02;
const PUT: u32 = 0x1a;

fn atomic(mut rules: Workspace) -> Client {
    rules.files.atomic = true;
    Client::start(vec![("box", rules)], Options::default())
}

fn names(tree: &Tree) -> Vec<String> {
    let entries = fs::read_dir(tree.path("box")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_upload_is_visible_when_it_is_closed() {
    let tree = Tree::new();
    let read = |name: &str| fs::read_to_string(tree.path("box").join(name)).ok();
    let mut client = atomic(tree.workspace(Access::ReadWrite));
    let new = client.open("box/new", PUT).unwrap();
    assert_eq!(client.write(&new, 0, "complete"), 0);
    assert_eq!(client.code(FSETSTAT, s(&new).n(4).n(0o640)), 0);
    assert_eq!(read("new"), None);
    assert_eq!(client.names("box").unwrap(), [".", "..", "in.txt", "sub"], "the hidden file is not listed");
    assert_eq!(client.close(&new), 0);
    assert_eq!(read("new").as_deref(), Some("complete"));
    assert_eq!(fs::metadata(tree.path("box/new")).unwrap().permissions().mode() & 0o777, 0o640);

    fs::set_permissions(tree.path("box/in.txt"), fs::Permissions::from_mode(0o604)).unwrap();
    let old = client.open("box/in.txt", PUT).unwrap();
    assert_eq!(client.write(&old, 0, "other"), 0);
    assert_eq!(read("in.txt").as_deref(), Some("inside"));
    assert_eq!(client.close(&old), 0);
    assert_eq!(read("in.txt").as_deref(), Some("other"));
    assert_eq!(fs::metadata(tree.path("box/in.txt")).unwrap().permissions().mode() & 0o777, 0o604);

    // Resuming writes into a copy of what is there.
    let resumed = client.open("box/in.txt", READ_FILE | WRITE_FILE | 0x08).unwrap();
    assert_eq!(client.write(&resumed, 5, " half"), 0);
    assert_eq!(client.read(&resumed, 0, 100), Ok(b"other half".to_vec()));
    assert_eq!(read("in.txt").as_deref(), Some("other"));
    assert_eq!(client.close(&resumed), 0);
    assert_eq!(read("in.txt").as_deref(), Some("other half"));

    // Through a symlink the file behind it is replaced, not the link.
    symlink("in.txt", tree.path("box/link")).unwrap();
    assert_eq!(client.put("box/link", "linked"), 0);
    assert_eq!(read("in.txt").as_deref(), Some("linked"));
    assert!(fs::symlink_metadata(tree.path("box/link")).unwrap().is_symlink());
    client.end();
    assert_eq!(names(&tree), ["in.txt", "link", "new", "sub"]);
}

#[test]
fn an_upload_of_another_session_is_not_there_for_who_guesses_its_name() {
    let tree = Tree::new();
    let mut rules = tree.workspace(Access::ReadWrite);
    // It has a name only where it is counted.
    rules.files.quota.bytes = Some(1 << 20);
    let mut first = atomic(rules.clone());
    let handle = first.open("box/new", PUT).unwrap();
    assert_eq!(first.write(&handle, 0, "half"), 0);
    let hidden = names(&tree).into_iter().find(|name| name.starts_with(".akeys-upload-")).unwrap();
    let mut second = atomic(rules);
    let guessed = format!("box/{hidden}");
    assert_eq!(second.code(SYMLINK, s(&hidden).s("box/link")), 0);
    let hard = |from: &str, to: &str| s("hardlink@openssh.com").s(from).s(to);
    for path in [guessed.as_str(), "box/link", &format!("box/sub/../{hidden}")] {
        for (kind, body) in [
            (STAT, s(path)),
            (OPEN, s(path).n(READ_FILE).n(0)),
            (OPEN, s(path).n(WRITE_FILE).n(0)),
            (SETSTAT, s(path).n(1).q(0)),
            (EXTENDED, s("statvfs@openssh.com").s(path)),
        ] {
            assert_eq!(second.code(kind, &body), 2, "{kind} {path}");
        }
    }
    for (kind, body) in [
        (REMOVE, s(&guessed)),
        (LSTAT, s(&guessed)),
        (RENAME, s(&guessed).s("box/got")),
        (EXTENDED, hard(&guessed, "box/got")),
        (RENAME, s("box/in.txt").s(&guessed)),
        (EXTENDED, hard("box/in.txt", &guessed)),
        (EXTENDED, s("posix-rename@openssh.com").s("box/in.txt").s(&guessed)),
        (OPEN, s(&guessed).n(PUT).n(0)),
        (MKDIR, s(&guessed).n(0)),
        (SYMLINK, s("x").s(&guessed)),
    ] {
        assert!(matches!(second.code(kind, &body), 2 | 3), "{kind} {body:?}");
    }
    second.end();
    assert_eq!(first.write(&handle, 4, " done"), 0);
    assert_eq!(first.close(&handle), 0);
    first.end();
    assert_eq!(fs::read_to_string(tree.path("box/new")).unwrap(), "half done");
    assert_eq!(names(&tree), ["in.txt", "link", "new", "sub"]);
}

#[test]
fn an_upload_that_is_not_closed_leaves_nothing() {
    let tree = Tree::new();
    let mut client = atomic(tree.workspace(Access::ReadWrite));
    for path in ["box/new", "box/in.txt"] {
        let handle = client.open(path, PUT).unwrap();
        assert_eq!(client.write(&handle, 0, "half"), 0);
    }
    // Not even under a hidden name, where the file system can: nothing is left however the session ends.
    assert_eq!(names(&tree), ["in.txt", "sub"]);
    let end = client.end();
    assert!(end.events.iter().all(|event| event.outcome == Outcome::Unfinished));
    assert_eq!(names(&tree), ["in.txt", "sub"]);
    assert_eq!(fs::read_to_string(tree.path("box/in.txt")).unwrap(), "inside");
}

#[test]
fn an_upload_does_not_replace_what_came_first() {
    let tree = Tree::new();
    let rules = Workspace { overwrite: false, ..tree.workspace(Access::ReadWrite) };
    let mut client = atomic(rules);
    assert_eq!(client.put("box/in.txt", "EVIL"), 3);
    let handle = client.open("box/new", PUT).unwrap();
    fs::write(tree.path("box/new"), "the owner was first").unwrap();
    assert_eq!(client.close(&handle), 4);
    assert_eq!(fs::read_to_string(tree.path("box/new")).unwrap(), "the owner was first");
    // The session's own file may be written again.
    assert_eq!(client.put("box/mine", "one"), 0);
    assert_eq!(client.put("box/mine", "two"), 0);
    assert_eq!(client.code(REMOVE, s("box/mine")), 0, "and is still known as its own");
    assert_eq!(names(&tree), ["in.txt", "new", "sub"]);
}
