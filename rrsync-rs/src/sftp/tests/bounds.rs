//! Appending, sizes, names, modes, symlinks and marks: the rules of a workspace, one by one.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::super::wire::packet::*;
use super::*;
use crate::grant::{FileRules, Modes, Names, Pattern, Symlinks};
use crate::origin;

const READ_FILE: u32 = 0x01;
const WRITE_FILE: u32 = 0x02;
const APPEND: u32 = 0x04;
const PUT: u32 = 0x1a;
const DENIED: u32 = 3;

pub(super) fn with(tree: &Tree, files: FileRules) -> Client {
    let rules = Workspace { files, ..tree.workspace(Access::ReadWrite) };
    Client::start(vec![("box", rules)], Options::default())
}

pub(super) fn text(tree: &Tree, path: &str) -> String {
    fs::read_to_string(tree.path(path)).unwrap()
}

#[test]
fn what_is_there_may_only_grow() {
    for atomic in [false, true] {
        let tree = Tree::new();
        let files = FileRules { append: true, atomic, ..FileRules::default() };
        let rules = Workspace { files, overwrite: false, delete: false, ..tree.workspace(Access::ReadWrite) };
        let mut client = Client::start(vec![("box", rules)], Options::default());
        for (kind, body) in [
            (OPEN, s("box/in.txt").n(PUT).n(0)),
            (OPEN, s("box/in.txt").n(READ_FILE | 0x10).n(0)),
            (SETSTAT, s("box/in.txt").n(1).q(0)),
            (SETSTAT, s("box/in.txt").n(1).q(100)),
            (SETSTAT, s("box/in.txt").n(4).n(0o600)),
            (REMOVE, s("box/in.txt")),
            (RENAME, s("box/in.txt").s("box/away")),
            (EXTENDED, s("posix-rename@openssh.com").s("box/sub/f").s("box/in.txt")),
        ] {
            assert_eq!(client.code(kind, body.clone()), DENIED, "{kind} {body:?}");
        }
        // As `reput` does: on from the size that is there, in order.
        let handle = client.open("box/in.txt", WRITE_FILE | 0x08).unwrap();
        assert_eq!(client.write(&handle, 6, " more"), 0);
        assert_eq!(client.write(&handle, 11, "!"), 0);
        for offset in [0, 5, 11, 13, u64::MAX] {
            assert_eq!(client.write(&handle, offset, "EVIL"), DENIED, "{offset}");
        }
        assert_eq!(client.code(FSETSTAT, s(&handle).n(1).q(0)), DENIED);
        assert_eq!(client.code(FSETSTAT, s(&handle).n(4).n(0)), DENIED);
        // As a log does: to the end, wherever that is.
        let log = client.open("box/in.txt", WRITE_FILE | APPEND).unwrap();
        assert_eq!(client.write(&log, 0, "?"), 0);
        assert_eq!(client.code(FSETSTAT, s(&log).n(1).q(0)), DENIED);
        let copy = s("copy-data").s(&log).q(0).q(0).s(&handle).q(0);
        assert_ne!(client.code(EXTENDED, copy), 0);
        assert_eq!(client.close(&handle) + client.close(&log), 0);
        assert_eq!(text(&tree, "box/in.txt"), "inside more!?");
        // What the session makes it may finish; the next one may only add to it.
        assert_eq!(client.put("box/new", "one"), 0);
        assert_eq!(client.put("box/new", "two"), 0);
        client.end();
        let rules = Workspace {
            files: FileRules { append: true, atomic, ..FileRules::default() },
            overwrite: false,
            delete: false,
            ..tree.workspace(Access::WriteOnly)
        };
        let mut later = Client::start(vec![("box", rules)], Options::default());
        assert_eq!(later.put("box/new", "three"), DENIED);
        let log = later.open("box/new", WRITE_FILE | APPEND | 0x08).unwrap();
        assert_eq!(later.write(&log, 0, " three"), 0);
        assert_eq!(later.close(&log), 0);
        assert_eq!(text(&tree, "box/new"), "two three");
    }
}

#[test]
fn a_file_does_not_become_larger_than_one_may() {
    let tree = Tree::new();
    let options = Options { largest_file: Some(10), ..Options::default() };
    let mut client = Client::start(vec![("box", tree.workspace(Access::ReadWrite))], options);
    assert_eq!(client.put("box/ten", "0123456789"), 0);
    assert_eq!(client.put("box/eleven", "0123456789x"), DENIED);
    assert_eq!(client.code(SETSTAT, s("box/ten").n(1).q(11)), DENIED);
    let handle = client.open("box/ten", READ_FILE | WRITE_FILE | APPEND).unwrap();
    assert_eq!(client.write(&handle, 0, "x"), DENIED);
    assert_eq!(client.write(&handle, u64::MAX, "x"), DENIED);
    let to = client.open("box/copy", PUT).unwrap();
    assert_eq!(client.code(EXTENDED, s("copy-data").s(&handle).q(0).q(0).s(&to).q(1)), DENIED);
    assert_eq!(client.code(EXTENDED, s("copy-data").s(&handle).q(0).q(9).s(&to).q(1)), 0);
    assert_eq!(client.close(&to), 0);
    assert_eq!(text(&tree, "box/copy"), "\x00012345678");
}

#[test]
fn names_are_those_that_are_allowed() {
    let tree = Tree::new();
    fs::create_dir_all(tree.path("box/.git/hooks")).unwrap();
    fs::write(tree.path("box/.git/config"), "secret").unwrap();
    fs::write(tree.path("box/old.exe"), "was here").unwrap();
    symlink(".git/config", tree.path("box/alias")).unwrap();
    symlink(".git", tree.path("box/sub/g")).unwrap();
    let patterns = |words: &[&str]| words.iter().map(|word| Pattern::read(word).unwrap()).collect();
    let names = Names {
        allow: patterns(&["*.csv", "*.exe"]),
        deny: patterns(&["*.exe", "tmp*"]),
        hide: patterns(&[".git", "*~"]),
        length: Some(12),
    };
    let mut client = with(&tree, FileRules { names, ..FileRules::default() });
    let hard = |from: &str, to: &str| s("hardlink@openssh.com").s(from).s(to);
    assert_eq!(client.put("box/a.csv", "a"), 0);
    assert_eq!(client.code(MKDIR, s("box/dir").n(0)), 0);
    for (kind, body) in [
        (OPEN, s("box/a.txt").n(PUT).n(0)),
        (OPEN, s("box/new.exe").n(PUT).n(0)),
        (OPEN, s("box/123456789.csv").n(PUT).n(0)),
        (OPEN, s("box/.akeys-upload-1").n(PUT).n(0)),
        (OPEN, s("box/a.csv~").n(PUT).n(0)),
        (MKDIR, s("box/tmpdir").n(0)),
        (MKDIR, s("box/sub/.git").n(0)),
        (SYMLINK, s("a.csv").s("box/link")),
        (RENAME, s("box/a.csv").s("box/a.exe")),
        (RENAME, s("box/dir").s("box/.git2~")),
        (OPEN, s(b"box/\xff.txt").n(PUT).n(0)),
        (OPEN, s("box/a.csv\n").n(PUT).n(0)),
        (OPEN, s("box//tmp.csv").n(PUT).n(0)),
        (OPEN, s("box/sub/../tmp.csv").n(PUT).n(0)),
        (OPEN, s("box/tmp\u{e9}.csv").n(PUT).n(0)),
        (EXTENDED, s("posix-rename@openssh.com").s("box/a.csv").s("box/old.exe")),
        (EXTENDED, hard("box/a.csv", "box/b.txt")),
    ] {
        assert_eq!(client.code(kind, body.clone()), DENIED, "{kind} {body:?}");
    }
    // Bytes are compared, so another spelling is another name.
    assert_eq!(client.put("box/Tmp.csv", ""), 0);
    assert_eq!(client.code(REMOVE, s("box/Tmp.csv")), 0);
    // What is hidden is not there, by whatever way; what is only denied may be used.
    for path in ["box/.git", "box/.git/config", "box/alias", "box/sub/g", "box/.git/hooks/x"] {
        assert_eq!(client.code(STAT, s(path)), 2, "{path}");
        assert_eq!(client.open(path, READ_FILE), Err(2), "{path}");
        assert_eq!(client.open(path, WRITE_FILE), Err(2), "{path}");
        assert_eq!(client.opendir(path), Err(2), "{path}");
    }
    for (kind, body) in [
        (REMOVE, s("box/.git/config")),
        (RMDIR, s("box/.git/hooks")),
        (RENAME, s("box/.git").s("box/got")),
        (EXTENDED, hard("box/.git/config", "box/got.csv")),
        (LSTAT, s("box/.git")),
        (SETSTAT, s("box/.git").n(4).n(0o777)),
    ] {
        assert_eq!(client.code(kind, body.clone()), 2, "{kind} {body:?}");
    }
    assert_eq!(
        client.names("box").unwrap(),
        [".", "..", "a.csv", "alias", "dir", "in.txt", "old.exe", "sub"]
    );
    assert_eq!(client.code(REMOVE, s("box/old.exe")), 0);
    assert_eq!(text(&tree, "box/.git/config"), "secret");
}

#[test]
fn what_is_not_exposed_is_not_there() {
    let tree = Tree::new();
    fs::create_dir_all(tree.path("box/a/b/c")).unwrap();
    fs::write(tree.path("box/a/b/secret"), "secret").unwrap();
    fs::write(tree.path("box/a/hidden"), "secret").unwrap();
    fs::write(tree.path("box/a/b/c/open"), "open").unwrap();
    symlink("../../hidden", tree.path("box/a/b/c/out")).unwrap();
    let mut rules = tree.workspace(Access::None);
    rules.paths.insert("a/b/c".into(), Access::ReadWrite);
    rules.paths.insert("a/b/c/private".into(), Access::None);
    let mut client = Client::start(vec![("box", rules)], Options::default());
    assert_eq!(client.names("box").unwrap(), [".", "..", "a"]);
    assert_eq!(client.names("box/a/b").unwrap(), [".", "..", "c"]);
    assert_eq!(client.names("box/a/b/c").unwrap(), [".", "..", "open", "out"]);
    assert_eq!(client.ask(STAT, s("box/a")).number(0), 4, "no more than that it leads there");
    for path in ["box/in.txt", "box/sub", "box/a/hidden", "box/a/b/secret", "box/a/b/c/out"] {
        assert_eq!(client.code(STAT, s(path)), 2, "{path}");
        assert_eq!(client.open(path, READ_FILE), Err(2), "{path}");
    }
    assert_eq!(client.put("box/a/new", "x"), DENIED);
    assert_eq!(client.put("box/a/b/c/private", "x"), DENIED);
    assert_eq!(client.code(RENAME, s("box/a").s("box/z")), DENIED);
    assert_eq!(client.put("box/a/b/c/new", "x"), 0);
}

#[test]
fn modes_are_those_that_the_workspace_gives() {
    let tree = Tree::new();
    let mode = |path: &str| fs::metadata(tree.path(path)).unwrap().permissions().mode() & 0o7777;
    for (modes, file, directory, set) in [
        (Modes { umask: 0o027, file: None, directory: None }, 0o640, 0o750, 0o750),
        (Modes { umask: 0, file: Some(0o660), directory: Some(0o770) }, 0o660, 0o770, 0o660),
    ] {
        for atomic in [false, true] {
            let mut client = with(&tree, FileRules { atomic, modes, ..FileRules::default() });
            let handle = client.ask(OPEN, s("box/new").n(PUT).n(4).n(0o666)).string(0);
            assert_eq!(client.close(&handle), 0);
            assert_eq!(mode("box/new"), file, "{modes:?}");
            assert_eq!(client.code(MKDIR, s("box/dir").n(4).n(0o777)), 0);
            assert_eq!(mode("box/dir"), directory, "{modes:?}");
            assert_eq!(client.code(SETSTAT, s("box/new").n(4).n(0o6777)), 0);
            assert_eq!(mode("box/new"), set, "{modes:?}");
            let handle = client.open("box/new", WRITE_FILE).unwrap();
            assert_eq!(client.code(FSETSTAT, s(&handle).n(4).n(0o6777)), 0);
            assert_eq!(client.close(&handle), 0);
            assert_eq!(mode("box/new"), set, "{modes:?}");
            assert_eq!(client.code(REMOVE, s("box/new")) + client.code(RMDIR, s("box/dir")), 0);
        }
    }
}

#[test]
fn a_symlink_does_not_come_to_where_it_leads_out() {
    let tree = Tree::new();
    fs::create_dir_all(tree.path("box/a/b/c")).unwrap();
    fs::create_dir(tree.path("box/plain")).unwrap();
    symlink("../../in.txt", tree.path("box/a/b/l")).unwrap();
    symlink("../../../../../outside", tree.path("box/a/b/was-out")).unwrap();
    let mut client = with(&tree, FileRules::default());
    for (from, to, code) in [
        ("box/a/b", "box/b", DENIED),
        ("box/a/b/l", "box/l", DENIED),
        ("box/a/b/l", "box/a/l", DENIED),
        ("box/a/b/l", "box/a/b/c/l", 0),
        ("box/a/b", "box/a/b2", 0),
        ("box/a/b2/c/l", "box/a/b2/l", 0),
        ("box/a/b2", "box/sub/deep/b", 0),
        ("box/sub/deep/b/c", "box/c", 0),
    ] {
        assert_eq!(client.code(RENAME, s(from).s(to)), code, "{from} {to}");
    }
    // One that led out before is no reason to keep its directory where it is.
    fs::remove_file(tree.path("box/sub/deep/b/l")).unwrap();
    assert_eq!(client.code(RENAME, s("box/sub/deep/b").s("box/b")), 0);
    client.end();
    let mut none = with(&tree, FileRules { symlinks: Symlinks::None, ..FileRules::default() });
    assert_eq!(none.code(SYMLINK, s("in.txt").s("box/l")), DENIED);
    symlink("in.txt", tree.path("box/owner")).unwrap();
    let second = s("hardlink@openssh.com").s("box/owner").s("box/l");
    assert_eq!(none.code(EXTENDED, second), DENIED, "a second name of a symlink is one");
    none.end();
    let munge = Workspace { munge: true, ..tree.workspace(Access::ReadWrite) };
    let mut munge = Client::start(vec![("box", munge)], Options::default());
    assert_eq!(munge.code(SYMLINK, s("/etc/passwd").s("box/m")), 0, "it leads nowhere");
    assert_eq!(fs::read_link(tree.path("box/m")).unwrap(), Path::new("/rsyncd-munged//etc/passwd"));
    assert_eq!(munge.ask(READLINK, s("box/m")).string(4), b"/etc/passwd");
}

#[test]
fn what_is_written_is_marked() {
    let tree = Tree::new();
    let mark = |path: &str| origin::of(fs::File::open(tree.path(path)).unwrap());
    for atomic in [false, true] {
        let mut client = with(&tree, FileRules { atomic, ..FileRules::default() });
        assert_eq!(client.put("box/new", "content"), 0);
        assert_eq!(mark("box/new").as_deref(), Some(ORIGIN));
        // Clients set the time when they have closed the file.
        assert_eq!(client.code(SETSTAT, s("box/new").n(8).n(1).n(2)), 0);
        assert_eq!(mark("box/new").as_deref(), Some(ORIGIN));
        assert_eq!(client.code(SETSTAT, s("box/new").n(1).q(3)), 0);
        assert_eq!(mark("box/new").as_deref(), Some(ORIGIN));
        let handle = client.open("box/new", READ_FILE).unwrap();
        assert_eq!(client.code(FSETSTAT, s(&handle).n(8).n(3).n(4)), 0);
        assert_eq!(client.close(&handle), 0);
        assert_eq!(mark("box/new").as_deref(), Some(ORIGIN));
        fs::write(tree.path("box/new"), "the owner's").unwrap();
        assert_eq!(mark("box/new"), None);
        // What changes nothing says nothing.
        assert_eq!(client.code(SETSTAT, s("box/new").n(4).n(0o600)), 0);
        for flags in [READ_FILE, WRITE_FILE | 0x08] {
            let handle = client.open("box/new", flags).unwrap();
            assert_eq!(client.close(&handle), 0);
            assert_eq!(mark("box/new"), None, "{flags}");
        }
        // Nor does what is done to another one's content make it this key's.
        assert_eq!(client.code(SETSTAT, s("box/new").n(8).n(5).n(6)), 0);
        let handle = client.open("box/new", WRITE_FILE).unwrap();
        assert_eq!(client.write(&handle, 0, "T"), 0);
        assert_eq!(client.close(&handle), 0);
        assert_eq!((mark("box/new"), text(&tree, "box/new").as_str()), (None, "The owner's"));
        assert_eq!(client.code(REMOVE, s("box/new")), 0);
    }
}

#[test]
fn records_have_the_sums_of_what_went_by() {
    let tree = Tree::new();
    let big: String = (0..50_000).map(|i| i.to_string()).collect();
    fs::write(tree.path("box/big"), &big).unwrap();
    for atomic in [false, true] {
        let files = FileRules { atomic, ..FileRules::default() };
        let rules = Workspace { files, ..tree.workspace(Access::ReadWrite) };
        let options = Options { sums: true, ..Options::default() };
        let mut client = Client::start(vec![("box", rules)], options);
        assert_eq!(client.put("box/new", "content"), 0);
        // Out of order, and in the middle of what is there.
        let handle = client.open("box/parts", PUT).unwrap();
        assert_eq!(client.write(&handle, 3, "def") + client.write(&handle, 0, "abc"), 0);
        assert_eq!(client.read(&handle, 0, 3), Err(2), "not opened for reading");
        assert_eq!(client.close(&handle), 0);
        let handle = client.open("box/new", WRITE_FILE).unwrap();
        assert_eq!(client.write(&handle, 0, "C"), 0);
        assert_eq!(client.close(&handle), 0);
        let handle = client.open("box/big", READ_FILE).unwrap();
        let mut at = 0;
        while let Ok(piece) = client.read(&handle, at, 30_000) {
            at += piece.len() as u64;
        }
        assert_eq!(client.close(&handle), 0);
        let handle = client.open("box/big", READ_FILE).unwrap();
        assert_eq!(client.read(&handle, 1, 3).map(|piece| piece.len()), Ok(3));
        assert_eq!(client.close(&handle), 0);
        let sums: Vec<_> = client.end().events.into_iter().map(|event| (event.path, event.sha256)).collect();
        let sum = |text: &str| Some(Sum::of(text.as_bytes()));
        let expected = [
            ("/box/new", sum("content")),
            ("/box/parts", sum("abcdef")),
            ("/box/new", sum("Content")),
            ("/box/big", sum(&big)),
            ("/box/big", None),
        ];
        assert_eq!(sums, expected.map(|(path, sum)| (path.to_owned(), sum)), "atomic {atomic}");
    }
}

#[test]
fn attributes_set_on_a_handle_for_reading_have_a_record() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    let handle = client.open("box/in.txt", READ_FILE).unwrap();
    assert_eq!(client.code(FSETSTAT, s(&handle).n(4).n(0o600)), 0);
    assert_eq!(client.close(&handle), 0);
    let deeds: Vec<Deed> = client.end().events.iter().map(|event| event.deed).collect();
    assert_eq!(deeds, [Deed::SetAttributes, Deed::Read]);
}
