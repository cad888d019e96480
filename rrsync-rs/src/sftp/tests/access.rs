//! What each access allows, request by request.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::super::wire::packet::*;
use super::*;
use crate::grant::{Names, Pattern};

const READ_FILE: u32 = 0x01;
const WRITE_FILE: u32 = 0x02;
const PUT: u32 = 0x1a;

/// Requests that change something, on a tree with `in.txt`, `sub/f`, an empty `sub/deep` and a symlink `l`.
pub(super) fn changes() -> Vec<(u8, Body)> {
    let ext = |name: &str| s(name);
    vec![
        (OPEN, s("box/in.txt").n(WRITE_FILE).n(0)),
        (OPEN, s("box/in.txt").n(READ_FILE | WRITE_FILE).n(0)),
        (OPEN, s("box/in.txt").n(PUT).n(0)),
        (OPEN, s("box/in.txt").n(READ_FILE | 0x10).n(0)),
        (OPEN, s("box/in.txt").n(0x04).n(0)),
        (OPEN, s("box/new").n(READ_FILE | 0x08).n(0)),
        (OPEN, s("box/new").n(PUT).n(0)),
        (OPEN, s("box/new").n(0x08).n(0)),
        (OPEN, s("box/new").n(WRITE_FILE | 0x28).n(0)),
        (SETSTAT, s("box/in.txt").n(1).q(0)),
        (SETSTAT, s("box/in.txt").n(4).n(0o600)),
        (SETSTAT, s("box/in.txt").n(8).n(1).n(2)),
        (SETSTAT, s("box/in.txt").n(2).n(0).n(0)),
        (SETSTAT, s("box/in.txt").n(0)),
        (SETSTAT, s("box").n(4).n(0o777)),
        (REMOVE, s("box/in.txt")),
        (REMOVE, s("box/l")),
        (MKDIR, s("box/newdir").n(0)),
        (RMDIR, s("box/sub/deep")),
        (RENAME, s("box/in.txt").s("box/in2.txt")),
        (RENAME, s("box/sub").s("box/sub2")),
        (SYMLINK, s("in.txt").s("box/newlink")),
        (EXTENDED, ext("posix-rename@openssh.com").s("box/in.txt").s("box/sub/f")),
        (EXTENDED, ext("hardlink@openssh.com").s("box/in.txt").s("box/hard")),
        (EXTENDED, ext("lsetstat@openssh.com").s("box/l").n(8).n(1).n(2)),
        (EXTENDED, ext("lsetstat@openssh.com").s("box/in.txt").n(1).q(0)),
    ]
}

fn tree() -> Tree {
    let tree = Tree::new();
    symlink("in.txt", tree.path("box/l")).unwrap();
    tree
}

/// Requests about one path, without those that ask for its name and could be given it.
fn questions(path: &str) -> Vec<(u8, Body)> {
    let ext = |name: &str| s(name);
    vec![
        (STAT, s(path)),
        (LSTAT, s(path)),
        (STAT, s(format!("{path}/"))),
        (OPENDIR, s(path)),
        (READLINK, s(path)),
        (REALPATH, s(path)),
        (OPEN, s(path).n(READ_FILE).n(0)),
        (OPEN, s(path).n(WRITE_FILE).n(0)),
        (SETSTAT, s(path).n(4).n(0o777)),
        (SETSTAT, s(path).n(1).q(0)),
        (REMOVE, s(path)),
        (RMDIR, s(path)),
        (RENAME, s(path).s("box/.got")),
        (EXTENDED, ext("posix-rename@openssh.com").s(path).s("box/.got")),
        (EXTENDED, ext("hardlink@openssh.com").s(path).s("box/.got")),
        (EXTENDED, ext("lsetstat@openssh.com").s(path).n(4).n(0o777)),
        (EXTENDED, ext("statvfs@openssh.com").s(path)),
        (EXTENDED, ext("expand-path@openssh.com").s(path)),
        (EXTENDED, ext("fetch@akeys").s(path).n(100)),
    ]
}

/// Requests that make something below a path that may be there.
fn below(path: &str) -> Vec<(u8, Body)> {
    let new = format!("{path}/x");
    let mut below = questions(&new);
    below.extend([
        (OPEN, s(&new).n(PUT).n(0)),
        (OPEN, s(&new).n(WRITE_FILE | 0x28).n(0)),
        (MKDIR, s(&new).n(0)),
        (SYMLINK, s("x").s(&new)),
        (RENAME, s("box/.got").s(&new)),
        (EXTENDED, s("hardlink@openssh.com").s("box/.got").s(&new)),
    ]);
    below
}

#[test]
fn what_is_not_there_for_a_key_was_told_by_the_error_for_a_guessed_name() {
    let hide =
        |pattern: &str| Names { hide: Pattern::read(pattern).into_iter().collect(), ..Names::default() };
    for mode in ["drop", "hide", "none"] {
        let tree = tree();
        symlink("../outside", tree.path("box/esc")).unwrap();
        symlink("sub", tree.path("box/dirlink")).unwrap();
        fs::create_dir(tree.path("box/open")).unwrap();
        let mut rules = tree.workspace(if mode == "drop" { Access::Drop } else { Access::ReadWrite });
        rules.paths.insert("open".into(), Access::ReadWrite);
        match mode {
            "hide" => rules.files.names = hide("[!.o]*"),
            "none" => {
                rules.access = Access::None;
            }
            _ => {}
        }
        let before = tree.snapshot("box");
        let mut client = Client::start(vec![("box", rules)], Options::default());
        // Through a symlink that the client makes where it may, too.
        for name in ["in.txt", "sub", "nope"] {
            let link = s(format!("../{name}")).s(format!("box/open/o{name}"));
            assert_eq!(client.code(SYMLINK, link), 0, "{mode}");
        }
        let mut ask = |path: &str| -> Vec<(u8, Vec<u8>)> {
            let requests = questions(path).into_iter().chain(below(path));
            let replies = requests.map(|(kind, body)| client.ask(kind, body));
            // A path that is only repeated tells nothing.
            replies.map(|reply| (reply.kind, if reply.kind == NAME { vec![] } else { reply.body })).collect()
        };
        for (way, absent, names) in [
            ("box", "nope", &["in.txt", "sub", "l", "esc", "dirlink"][..]),
            ("box/sub", "nope", &["deep", "f"]),
            ("box/open", "onope/o", &["oin.txt/o", "osub/f", "osub/f/o", "osub/deep"]),
        ] {
            let missing = ask(&format!("{way}/{absent}"));
            for name in names {
                let known = ask(&format!("{way}/{name}"));
                for (index, (one, other)) in known.iter().zip(&missing).enumerate() {
                    assert_eq!(one, other, "{mode} {way} {name} {index}");
                }
            }
        }
        client.end();
        let mut after = tree.snapshot("box");
        after.retain(|path, _| before.contains_key(path) && !path.ends_with("open"));
        for (path, was) in before.iter().filter(|(path, _)| !path.ends_with("open")) {
            assert_eq!(after.get(path), Some(was), "{mode} {}", path.display());
        }
    }
}

#[test]
fn read_only_changes_nothing_also_not_through_a_handle() {
    let tree = tree();
    let before = tree.snapshot("box");
    let mut client = tree.client(Access::ReadOnly);
    for (kind, body) in changes() {
        assert_eq!(client.code(kind, body.clone()), 3, "{kind} {body:?}");
    }
    let handle = client.open("box/in.txt", READ_FILE).unwrap();
    assert_eq!(client.code(FSETSTAT, s(&handle).n(4).n(0o777)), 3);
    assert_eq!(client.code(FSETSTAT, s(&handle).n(1).q(0)), 3);
    assert_eq!(client.code(EXTENDED, s("fsync@openssh.com").s(&handle)), 3);
    assert_eq!(client.write(&handle, 0, "x"), 2, "the descriptor is not open for writing");
    assert_eq!(client.read(&handle, 0, 100), Ok(b"inside".to_vec()));
    assert_eq!(client.names("box").unwrap(), [".", "..", "in.txt", "l", "sub"]);
    assert_eq!(tree.snapshot("box"), before);
    let end = client.end();
    assert!(end.summary.refused >= 28, "{:?}", end.summary);
    let refused =
        end.events.iter().filter(|e| matches!(e.outcome, Outcome::Failed(f) if f.is_refusal())).count();
    assert_eq!(refused, 28, "every refusal of a change is an event, fsync apart");
}

#[test]
fn write_only_gives_nothing_back() {
    let tree = tree();
    let mut client = tree.client(Access::WriteOnly);
    assert_eq!(client.open("box/in.txt", READ_FILE), Err(3));
    assert_eq!(client.open("box/in.txt", READ_FILE | WRITE_FILE), Err(3));
    assert_eq!(client.open("box/in.txt", 0), Err(3));
    assert_eq!(client.open("box/new", READ_FILE | PUT), Err(3));
    assert_eq!(client.names("box"), Err(3));
    assert_eq!(client.names("box/sub"), Err(3));
    assert_eq!(client.code(READLINK, s("box/l")), 3);
    assert_eq!(client.realpath("box/l"), Ok("/box/l".into()), "links are not resolved");
    assert_eq!(client.names("/").unwrap(), [".", "..", "box"]);
    // What is there is shown by its type: as much as an upload needs.
    for (path, mode) in [("box", 0o040_300), ("box/sub", 0o040_300), ("box/in.txt", 0o100_200)] {
        let reply = client.ask(STAT, s(path));
        assert_eq!((reply.kind, reply.body), (ATTRS, Body::default().n(4).n(mode).0), "{path}");
    }
    assert_eq!(client.ask(LSTAT, s("box/l")).body, Body::default().n(4).n(0o120_000).0);
    assert_eq!(client.code(STAT, s("box/none")), 2);
    let handle = client.open("box/in.txt", WRITE_FILE).unwrap();
    assert_eq!(client.read(&handle, 0, 100), Err(2));
    assert_eq!(client.ask(FSTAT, s(&handle)).body, Body::default().n(4).n(0o100_200).0);
    // What the session itself has written it knows already; clients compare the size after an upload.
    assert_eq!(client.put("box/new", "1234567"), 0);
    assert_eq!(client.ask(STAT, s("box/new")).number(0), 0xf);
    assert_eq!(client.put("box/in.txt", "replaced"), 0);
    assert_eq!(client.ask(STAT, s("box/in.txt")).number(8), 8);
    assert_eq!(client.open("box/new", READ_FILE), Err(3));
    assert_eq!(client.code(MKDIR, s("box/d").n(0)), 0);
    assert_eq!(client.code(SETSTAT, s("box/d").n(8).n(1).n(2)), 0);
    assert_eq!(client.code(RENAME, s("box/new").s("box/d/new")), 0);
    assert_eq!(client.code(REMOVE, s("box/sub/f")), 0);
    // Another session knows nothing of that.
    let mut later = tree.client(Access::WriteOnly);
    assert_eq!(later.ask(STAT, s("box/in.txt")).number(0), 4);
}

#[test]
fn without_overwrite_what_was_there_stays() {
    let tree = tree();
    let before = tree.snapshot("box/in.txt");
    let sub = tree.snapshot("box/sub/f");
    for access in [Access::ReadWrite, Access::WriteOnly] {
        let rules = Workspace { overwrite: false, ..tree.workspace(access) };
        let mut client = Client::start(vec![("box", rules)], Options::default());
        for (kind, body) in changes() {
            let text = String::from_utf8_lossy(&body.0).into_owned();
            let adds = text.contains("new") || text.contains("hard");
            if !adds {
                assert_eq!(client.code(kind, body), 3, "{kind} {text:?}");
            }
        }
        assert_eq!(client.code(EXTENDED, s("posix-rename@openssh.com").s("box/in.txt").s("box/other")), 3);
        if access.may_read() {
            let handle = client.open("box/in.txt", READ_FILE).unwrap();
            assert_eq!(client.code(FSETSTAT, s(&handle).n(1).q(0)), 3);
        }
        // What the session adds it may finish: rewrite, set, rename, and take back.
        let new = format!("box/new-{access}");
        assert_eq!(client.put(&new, "one"), 0);
        assert_eq!(client.put(&new, "two"), 0);
        assert_eq!(client.code(SETSTAT, s(&new).n(4).n(0o600)), 0);
        assert_eq!(client.code(RENAME, s(&new).s("box/in.txt")), 4);
        assert_eq!(client.code(EXTENDED, s("posix-rename@openssh.com").s(&new).s("box/in.txt")), 3);
        assert_eq!(client.code(RENAME, s(&new).s(format!("{new}.done"))), 0);
        assert_eq!(client.code(REMOVE, s(format!("{new}.done"))), 0);
        assert_eq!(client.put(&new, "kept"), 0);
        client.end();
        let rules = Workspace { overwrite: false, ..tree.workspace(access) };
        let mut later = Client::start(vec![("box", rules)], Options::default());
        assert_eq!(later.put(&new, "changed"), 3, "it was there before this session");
        assert_eq!(later.code(REMOVE, s(&new)), 3);
    }
    assert_eq!((tree.snapshot("box/in.txt"), tree.snapshot("box/sub/f")), (before, sub));
}

#[test]
fn without_delete_names_stay() {
    let tree = tree();
    let rules = Workspace { delete: false, ..tree.workspace(Access::ReadWrite) };
    let mut client = Client::start(vec![("box", rules)], Options::default());
    for (kind, body) in [
        (REMOVE, s("box/in.txt")),
        (REMOVE, s("box/l")),
        (RMDIR, s("box/sub/deep")),
        (RENAME, s("box/in.txt").s("box/away")),
        (EXTENDED, s("posix-rename@openssh.com").s("box/in.txt").s("box/sub/f")),
    ] {
        assert_eq!(client.code(kind, body.clone()), 3, "{kind} {body:?}");
    }
    assert_eq!(client.put("box/in.txt", "changed"), 0);
    assert_eq!(client.code(REMOVE, s("box/in.txt")), 3, "emptying it does not make it the session's");
    assert_eq!(client.put("box/part", "new content"), 0);
    assert_eq!(client.code(EXTENDED, s("posix-rename@openssh.com").s("box/part").s("box/in.txt")), 0);
    assert_eq!(client.code(REMOVE, s("box/in.txt")), 3, "nor does replacing it");
    assert_eq!(fs::read_to_string(tree.path("box/in.txt")).unwrap(), "new content");
    assert_eq!(client.put("box/mine", ""), 0);
    assert_eq!(client.code(REMOVE, s("box/mine")), 0);
}

#[test]
fn sub_paths_are_judged_where_a_path_ends() {
    let tree = tree();
    fs::create_dir_all(tree.path("box/build/cache")).unwrap();
    fs::write(tree.path("box/build/cache/c"), "").unwrap();
    fs::create_dir(tree.path("box/inbox")).unwrap();
    fs::write(tree.path("box/inbox/letter"), "secret").unwrap();
    symlink("../in.txt", tree.path("box/build/up")).unwrap();
    symlink("build", tree.path("box/down")).unwrap();
    let mut rules = tree.workspace(Access::ReadOnly);
    for (path, access) in
        [("build", Access::ReadWrite), ("build/cache", Access::ReadOnly), ("inbox", Access::WriteOnly)]
    {
        rules.paths.insert(path.into(), access);
    }
    let mut client = Client::start(vec![("box", rules)], Options::default());
    assert_eq!(client.put("box/new", ""), 3);
    assert_eq!(client.put("box/build/new", ""), 0);
    assert_eq!(client.put("box/down/new2", ""), 0, "a link from ro to rw ends in rw");
    assert_eq!(client.put("box/build/up", ""), 3, "a link from rw to ro ends in ro");
    assert_eq!(client.put("box/build/cache/new", ""), 3);
    assert_eq!(client.code(SETSTAT, s("box/build/up").n(4).n(0o777)), 3);
    // Neither a second name nor a move gives more than there is.
    let hard = |from: &str, to: &str| s("hardlink@openssh.com").s(from).s(to);
    assert_eq!(client.code(EXTENDED, hard("box/in.txt", "box/build/hard")), 3);
    assert_eq!(client.code(EXTENDED, hard("box/build/cache/c", "box/build/hard")), 3);
    assert_eq!(client.code(EXTENDED, hard("box/inbox/letter", "box/build/hard")), 3);
    assert_eq!(client.code(RENAME, s("box/in.txt").s("box/build/moved")), 3);
    assert_eq!(client.code(RENAME, s("box/inbox/letter").s("box/build/letter")), 3, "would become readable");
    assert_eq!(client.code(RENAME, s("box/build").s("box/inbox/build")), 3, "would lose the rule for cache");
    assert_eq!(client.code(RENAME, s("box/build/new").s("box/inbox/new")), 0);
    assert_eq!(client.open("box/inbox/new", READ_FILE), Err(3));
    // A listing shows that the inbox is there, and no more of it.
    assert_eq!(client.names("box/inbox"), Err(3));
    assert!(client.names("box").unwrap().contains(&"inbox".to_owned()));
    assert_eq!(client.ask(STAT, s("box/inbox")).number(0), 4);
    assert_eq!(client.ask(STAT, s("box/build")).number(0), 0xf);
    assert_eq!(fs::metadata(tree.path("box/in.txt")).unwrap().permissions().mode() & 0o777, 0o644);
}
