//! `access = "drop"`: deliver, and nothing else.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::wire::packet::*;
use super::*;

const READ_FILE: u32 = 0x01;
const WRITE_FILE: u32 = 0x02;
const PUT: u32 = 0x1a;
const NO_SUCH_FILE: u32 = 2;
const DENIED: u32 = 3;
const FAILURE: u32 = 4;

fn client(tree: &Tree) -> Client {
    tree.client(Access::Drop)
}

fn rename(from: &str, to: &str) -> (u8, Body) {
    (RENAME, s(from).s(to))
}

fn text(tree: &Tree, path: &str) -> String {
    fs::read_to_string(tree.path(path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

#[test]
fn a_batch_is_delivered_by_one_rename() {
    let tree = Tree::new();
    let mut client = client(&tree);
    assert_eq!(client.code(MKDIR, s("box/.7").n(0)), 0);
    assert_eq!(client.code(MKDIR, s("box/.7/data").n(0)), 0);
    assert_eq!(client.put("box/.7/data/a", "first"), 0);
    assert_eq!(client.put("box/.7/data/a", "second"), 0, "its own may be written again");
    assert_eq!(client.put("box/.7/b.part", "b"), 0);
    assert_eq!(client.code(RENAME, s("box/.7/b.part").s("box/.7/b")), 0);
    assert_eq!(client.code(SETSTAT, s("box/.7/b").n(8).n(1).n(2)), 0);
    assert_eq!(client.ask(STAT, s("box/.7/data/a")).number(0), 0xf, "and its size compared");
    assert_eq!(client.code(SYMLINK, s("data/a").s("box/.7/l")), 0);
    assert_eq!(client.put("box/.7/junk", ""), 0);
    assert_eq!(client.code(REMOVE, s("box/.7/junk")), 0);
    let open = client.open("box/.7/data/a", WRITE_FILE).unwrap();
    assert_eq!(client.code(RENAME, s("box/.7").s("box/7")), 0);
    // From here on it is the owner's, whatever is still open.
    for (kind, body) in [
        (WRITE, s(&open).q(0).s("EVIL")),
        (FSETSTAT, s(&open).n(1).q(0)),
        (MKDIR, s("box/7/more").n(0)),
        (OPEN, s("box/7/new").n(PUT).n(0)),
        (OPEN, s("box/7/b").n(PUT).n(0)),
        (SYMLINK, s("x").s("box/7/l2")),
        rename("box/.8", "box/7/x"),
        rename("box/7", "box/.7"),
    ] {
        assert!(matches!(client.code(kind, body.clone()), DENIED | NO_SUCH_FILE), "{kind} {body:?}");
    }
    for (kind, body) in [
        (STAT, s("box/7")),
        (LSTAT, s("box/7/b")),
        (REMOVE, s("box/7/b")),
        (RMDIR, s("box/7")),
        (SETSTAT, s("box/7/b").n(4).n(0)),
        (OPEN, s("box/7/b").n(WRITE_FILE).n(0)),
    ] {
        assert_eq!(client.code(kind, body.clone()), NO_SUCH_FILE, "{kind} {body:?}");
    }
    assert_eq!(client.close(&open), 0);
    client.end();
    assert_eq!((text(&tree, "box/7/data/a"), text(&tree, "box/7/b")), ("second".into(), "b".into()));
    assert_eq!(fs::read_link(tree.path("box/7/l")).unwrap(), Path::new("data/a"));
}

#[test]
fn a_file_is_delivered_whole() {
    let tree = Tree::new();
    let mut client = client(&tree);
    let handle = client.open("box/report", PUT).unwrap();
    assert_eq!(client.write(&handle, 0, "complete"), 0);
    assert_eq!(client.code(FSETSTAT, s(&handle).n(4).n(0o640)), 0);
    assert_eq!(client.ask(FSTAT, s(&handle)).number(0), 0xf);
    assert!(!tree.path("box/report").exists());
    assert_eq!(client.close(&handle), 0);
    assert_eq!(text(&tree, "box/report"), "complete");
    // By the client's own rename, too.
    assert_eq!(client.put("box/.letter", "hidden first"), 0);
    assert_eq!(client.code(EXTENDED, s("posix-rename@openssh.com").s("box/.letter").s("box/letter")), 0);
    assert_eq!(text(&tree, "box/letter"), "hidden first");
    // Nothing is replaced, in no way, also not what comes into being meanwhile.
    let handle = client.open("box/late", PUT).unwrap();
    assert_eq!(client.write(&handle, 0, "EVIL"), 0);
    fs::write(tree.path("box/late"), "the owner was first").unwrap();
    assert_eq!(client.close(&handle), FAILURE);
    assert_eq!(client.put("box/.again", "EVIL"), 0);
    for name in ["in.txt", "report", "sub", "late"] {
        let to = format!("box/{name}");
        assert_eq!(client.open(&to, PUT), Err(DENIED), "{name}");
        assert_eq!(client.code(RENAME, s("box/.again").s(&to)), FAILURE, "{name}");
        let replace = s("posix-rename@openssh.com").s("box/.again").s(&to);
        assert_eq!(client.code(EXTENDED, replace), FAILURE, "{name}");
    }
    client.end();
    assert_eq!((text(&tree, "box/in.txt"), text(&tree, "box/report")), ("inside".into(), "complete".into()));
    assert_eq!(text(&tree, "box/late"), "the owner was first");
}

#[test]
fn nothing_in_a_drop_is_seen_read_or_changed() {
    let tree = Tree::new();
    fs::write(tree.path("box/.other"), "somebody else's").unwrap();
    fs::create_dir(tree.path("box/.theirs")).unwrap();
    symlink("in.txt", tree.path("box/l")).unwrap();
    let before = tree.snapshot("box");
    let mut client = client(&tree);
    let hard = |from: &str, to: &str| s("hardlink@openssh.com").s(from).s(to);
    for (kind, body) in [
        (OPENDIR, s("box")),
        (OPENDIR, s("box/sub")),
        (OPEN, s("box/in.txt").n(READ_FILE).n(0)),
        (OPEN, s("box/in.txt").n(WRITE_FILE).n(0)),
        (OPEN, s("box/.other").n(PUT).n(0)),
        (OPEN, s("box/sub/new").n(PUT).n(0)),
        (OPEN, s("box/.theirs/new").n(PUT).n(0)),
        (OPEN, s("box/new").n(READ_FILE | PUT).n(0)),
        (MKDIR, s("box/visible").n(0)),
        (MKDIR, s("box/sub/new").n(0)),
        (SYMLINK, s("in.txt").s("box/.l")),
        (READLINK, s("box/l")),
        (SETSTAT, s("box").n(4).n(0o777)),
        (SETSTAT, s("box/in.txt").n(1).q(0)),
        (REMOVE, s("box/in.txt")),
        (RMDIR, s("box/sub/deep")),
        (RMDIR, s("box/.theirs")),
        rename("box/in.txt", "box/.mine"),
        rename("box/.other", "box/other"),
        (EXTENDED, hard("box/in.txt", "box/.hard")),
    ] {
        let code = client.code(kind, body.clone());
        assert!(matches!(code, DENIED | NO_SUCH_FILE), "{kind} {body:?}: {code}");
    }
    for path in ["box/in.txt", "box/sub", "box/sub/f", "box/.other", "box/l", "box/none"] {
        assert_eq!(client.code(LSTAT, s(path)), NO_SUCH_FILE, "{path}");
        assert_eq!(client.code(REMOVE, s(path)), NO_SUCH_FILE, "{path}");
    }
    assert_eq!(client.ask(STAT, s("box")).number(0), 4, "that it is a directory");
    client.end();
    assert_eq!(tree.snapshot("box"), before);
}

#[test]
fn what_is_on_its_way_is_not_read_back_either() {
    let tree = Tree::new();
    let mut client = client(&tree);
    assert_eq!(client.code(MKDIR, s("box/.7").n(0)), 0);
    assert_eq!(client.put("box/.7/f", "x"), 0);
    assert_eq!(client.open("box/.7/f", READ_FILE), Err(DENIED));
    assert_eq!(client.opendir("box/.7"), Err(DENIED));
    assert_eq!(client.code(SYMLINK, s("../in.txt").s("box/.7/l")), DENIED, "leads out of the delivery");
    assert_eq!(client.code(SYMLINK, s("../in.txt").s("box/.l")), DENIED);
}

#[test]
fn a_delivery_cannot_be_written_through_another() {
    let tree = Tree::new();
    let mut rules = tree.workspace(Access::Drop);
    rules.paths.insert("sub".into(), Access::ReadWrite);
    let mut client = Client::start(vec![("box", rules)], Options::default());
    let hard = |from: &str, to: &str| s("hardlink@openssh.com").s(from).s(to);
    for path in ["box/.a", "box/.b"] {
        assert_eq!(client.code(MKDIR, s(path).n(0)), 0);
    }
    assert_eq!(client.put("box/.a/f", "f"), 0);
    for (kind, body) in [
        (EXTENDED, hard("box/.a/f", "box/.b/f")),
        (EXTENDED, hard("box/.a/f", "box/.a/g")),
        (EXTENDED, hard("box/sub/f", "box/.a/g")),
        rename("box/.a/f", "box/.b/f"),
        rename("box/.a/f", "box/f"),
        rename("box/sub/f", "box/.a/f2"),
        rename("box/sub/f", "box/f"),
        rename("box/.a/f", "box/sub/g"),
        rename("box/.a", "box/sub/a"),
        rename("box/.a", "box/.b/a"),
    ] {
        assert_eq!(client.code(kind, body.clone()), DENIED, "{kind} {body:?}");
    }
    assert_eq!(client.code(RENAME, s("box/.a").s("box/.c")), 0, "another hidden name is none of these");
    assert_eq!(client.put("box/.c/f", "more"), 0);
    assert_eq!(client.code(RENAME, s("box/.c").s("box/c")), 0);
    assert_eq!(text(&tree, "box/c/f"), "more");
}

#[test]
fn a_later_session_of_the_same_key_goes_on_and_no_other() {
    let tree = Tree::new();
    let mut first = client(&tree);
    assert_eq!(first.code(MKDIR, s("box/.7").n(0)), 0);
    assert_eq!(first.put("box/.7/a", "a"), 0);
    let mut second = client(&tree);
    assert_eq!(second.put("box/.7/b", "b"), NO_SUCH_FILE, "one session at a time");
    first.end();
    assert_eq!(second.put("box/.7/b", "b"), 0);
    assert_eq!(second.code(RENAME, s("box/.7").s("box/7")), 0);
    second.end();
    assert_eq!((text(&tree, "box/7/a"), text(&tree, "box/7/b")), ("a".into(), "b".into()));
    // A directory that another key has begun.
    fs::create_dir(tree.path("box/.8")).unwrap();
    xattr(&tree.path("box/.8"), "playground.chef2");
    let mut third = client(&tree);
    assert_eq!(third.put("box/.8/x", "x"), NO_SUCH_FILE);
    assert_eq!(third.code(RENAME, s("box/.8").s("box/8")), NO_SUCH_FILE);
    let swapped = third.code(MKDIR, s("box/.9").n(0));
    assert_eq!(swapped, 0);
    fs::remove_dir(tree.path("box/.9")).unwrap();
    fs::create_dir(tree.path("box/.9")).unwrap();
    assert_eq!(third.put("box/.9/x", "x"), NO_SUCH_FILE, "another directory has its name now");
}

fn xattr(path: &Path, owner: &str) {
    let file = fs::File::open(path).unwrap();
    rustix::fs::fsetxattr(file, "user.akeys.drop", owner.as_bytes(), rustix::fs::XattrFlags::empty())
        .unwrap();
}

#[test]
fn deliveries_under_way_are_bounded() {
    let tree = Tree::new();
    let mut client = client(&tree);
    let codes: Vec<u32> = (0..80).map(|i| client.code(MKDIR, s(format!("box/.{i}")).n(0))).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 64);
    assert_eq!(client.code(RENAME, s("box/.0").s("box/0")), 0);
    assert_eq!(client.code(RMDIR, s("box/.1")), 0);
    assert_eq!(client.code(MKDIR, s("box/.new").n(0)), 0);
    assert_eq!(client.code(MKDIR, s("box/.newer").n(0)), 0);
    assert_eq!(client.code(MKDIR, s("box/.newest").n(0)), FAILURE);
}
