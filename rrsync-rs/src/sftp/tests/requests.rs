//! Every request and extension, where everything is allowed.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::super::wire::packet::*;
use super::*;

const READ_FILE: u32 = 0x01;
const WRITE_FILE: u32 = 0x02;
const CREATE: u32 = 0x08;
const PUT: u32 = 0x1a;

fn rw() -> (Tree, Client) {
    let tree = Tree::new();
    let client = tree.client(Access::ReadWrite);
    (tree, client)
}

fn extended(name: &str) -> Body {
    s(name)
}

#[test]
fn the_extensions_are_those_of_openssh_and_two_more() {
    let tree = Tree::new();
    let mut client = Client::silent(vec![("box", tree.workspace(Access::ReadWrite))], Options::default());
    client.raw(&[0, 0, 0, 5, INIT, 0, 0, 0, 6]);
    let reply = client.receive().unwrap();
    assert_eq!((reply.kind, reply.id), (VERSION, 3));
    let names: Vec<_> = reply.strings(0).into_iter().map(|name| String::from_utf8(name).unwrap()).collect();
    assert_eq!(names[..4], ["posix-rename@openssh.com", "1", "statvfs@openssh.com", "2"]);
    assert_eq!(names.len(), 26);
    assert_eq!(names[22..], ["fetch@akeys", "1", "state@akeys", "1"]);
}

#[test]
fn a_file_is_written_and_read_back() {
    let (tree, mut client) = rw();
    let handle = client.open("box/new", PUT).unwrap();
    assert_eq!(client.write(&handle, 0, "hello world"), 0);
    assert_eq!(client.write(&handle, 6, "there"), 0);
    assert_eq!(client.read(&handle, 0, 10), Err(2), "not open for reading: EBADF, as sftp-server has it");
    assert_eq!(client.close(&handle), 0);
    assert_eq!(fs::read_to_string(tree.path("box/new")).unwrap(), "hello there");

    let handle = client.open("/box/new", READ_FILE).unwrap();
    assert_eq!(client.read(&handle, 6, 100), Ok(b"there".to_vec()));
    assert_eq!(client.read(&handle, 11, 100), Err(1));
    assert_eq!(client.read(&handle, u64::MAX, 100), Err(5));
    assert_eq!(client.read(&handle, 0, 0), Ok(Vec::new()), "nothing was asked for");
    assert_eq!(client.write(&handle, 0, "no"), 2);
    assert_eq!(client.close(&handle), 0);
    assert_eq!(client.close(&handle), 4, "closed twice");

    let end = client.end();
    let event =
        |deed, bytes| Event { deed, path: "/box/new".into(), bytes, sha256: None, outcome: Outcome::Done };
    assert_eq!(end.events, [event(Deed::Write, 16), event(Deed::Read, 5)]);
    assert_eq!((end.summary.bytes_written, end.summary.bytes_read), (16, 5));
    assert_eq!(end.result, Ok(()));
}

#[test]
fn flags_mean_what_they_say() {
    let (tree, mut client) = rw();
    assert_eq!(client.open("box/missing", WRITE_FILE), Err(2));
    assert_eq!(client.open("box/in.txt", WRITE_FILE | CREATE | 0x20), Err(4), "exclusive");
    let handle = client.open("box/in.txt", WRITE_FILE | 0x04).unwrap();
    assert_eq!(client.write(&handle, 0, "+"), 0);
    assert_eq!(fs::read_to_string(tree.path("box/in.txt")).unwrap(), "inside+", "append ignores the offset");
    client.open("box/in.txt", WRITE_FILE | CREATE).unwrap();
    assert_eq!(fs::read_to_string(tree.path("box/in.txt")).unwrap(), "inside+", "nothing was truncated");
    client.open("box/in.txt", PUT).unwrap();
    assert_eq!(fs::read_to_string(tree.path("box/in.txt")).unwrap(), "");
    let handle = client.open("box/both", READ_FILE | WRITE_FILE | CREATE).unwrap();
    assert_eq!(client.write(&handle, 5_000_000_000, "far"), 0);
    assert_eq!(client.read(&handle, 4_999_999_999, 10), Ok(b"\0far".to_vec()), "a hole");
    assert_eq!(client.open("box/sub", READ_FILE), Err(4), "a directory");
    assert_eq!(client.open("box/sub/f/", READ_FILE), Err(4), "written as a directory");
    assert_eq!(client.open("/", READ_FILE), Err(3));
    assert_eq!(client.open("/new", PUT), Err(3), "beside the workspaces");
    assert_eq!(client.open("/box", PUT), Err(4));
}

#[test]
fn a_read_is_as_long_as_a_reply_can_be() {
    let (tree, mut client) = rw();
    fs::write(tree.path("box/big"), vec![7; 600_000]).unwrap();
    let handle = client.open("box/big", READ_FILE).unwrap();
    assert_eq!(client.read(&handle, 0, u32::MAX).unwrap().len(), 255 * 1024);
    let data = vec![9; 255 * 1024];
    let handle = client.open("box/big2", PUT).unwrap();
    assert_eq!(client.write(&handle, 1, &data), 0);
    assert_eq!(fs::metadata(tree.path("box/big2")).unwrap().len(), 255 * 1024 + 1);
}

#[test]
fn clients_get_no_setuid_bits() {
    let (tree, mut client) = rw();
    let mode = |path: &str| fs::metadata(tree.path(path)).unwrap().permissions().mode() & 0o7777;
    client.ask(OPEN, s("box/a").n(PUT).n(4).n(0o6755));
    assert_eq!(mode("box/a") & 0o7000, 0);
    assert_eq!(client.code(SETSTAT, s("box/a").n(4).n(0o7711)), 0);
    assert_eq!(mode("box/a"), 0o711);
    let handle = client.open("box/a", WRITE_FILE).unwrap();
    assert_eq!(client.code(FSETSTAT, s(&handle).n(4).n(0o4700)), 0);
    assert_eq!(mode("box/a"), 0o700);
    assert_eq!(client.code(MKDIR, s("box/d").n(4).n(0o3700)), 0);
    assert_eq!(mode("box/d"), 0o700);
    assert_eq!(client.code(EXTENDED, extended("lsetstat@openssh.com").s("box/d").n(4).n(0o7500)), 0);
    assert_eq!(mode("box/d"), 0o500);
}

#[test]
fn attributes_are_set_on_paths_and_handles() {
    let (tree, mut client) = rw();
    let meta = |path: &str| fs::metadata(tree.path(path)).unwrap();
    assert_eq!(client.code(SETSTAT, s("box/in.txt").n(1 | 8).q(3).n(11).n(22)), 0);
    assert_eq!(
        (meta("box/in.txt").len(), meta("box/in.txt").mtime(), meta("box/in.txt").atime()),
        (3, 22, 11)
    );
    let handle = client.open("box/in.txt", WRITE_FILE).unwrap();
    assert_eq!(client.code(FSETSTAT, s(&handle).n(1 | 8).q(10).n(33).n(44)), 0);
    assert_eq!((meta("box/in.txt").len(), meta("box/in.txt").mtime()), (10, 44));
    let owner = (meta("box/in.txt").uid(), meta("box/in.txt").gid());
    assert_eq!(client.code(SETSTAT, s("box/in.txt").n(2).n(owner.0).n(owner.1)), 0);
    // A directory that cannot be read, and a file that can neither be read nor written.
    fs::set_permissions(tree.path("box/in.txt"), fs::Permissions::from_mode(0o0)).unwrap();
    assert_eq!(client.code(SETSTAT, s("box/in.txt").n(4 | 8).n(0o640).n(1).n(2)), 0);
    assert_eq!((meta("box/in.txt").mode() & 0o777, meta("box/in.txt").mtime()), (0o640, 2));
    assert_eq!(client.code(SETSTAT, s("box/sub").n(8).n(1).n(2)), 0);
    assert_eq!(meta("box/sub").mtime(), 2);
    assert_eq!(client.code(SETSTAT, s("box/sub").n(1).q(0)), 4, "a directory has no size to set");
    assert_eq!(client.code(SETSTAT, s("box/none").n(4).n(0o600)), 2);
    assert_eq!(client.code(SETSTAT, s("/").n(4).n(0o600)), 3);
    // Extended attributes are read over.
    assert_eq!(client.code(SETSTAT, s("box/sub").n(0x8000_0008).n(5).n(6).n(1).s("name").s("value")), 0);
    assert_eq!(meta("box/sub").mtime(), 6);
    // A link itself.
    symlink("in.txt", tree.path("box/link")).unwrap();
    assert_eq!(client.code(EXTENDED, extended("lsetstat@openssh.com").s("box/link").n(8).n(7).n(8)), 0);
    assert_eq!(fs::symlink_metadata(tree.path("box/link")).unwrap().mtime(), 8);
    assert_eq!(meta("box/in.txt").mtime(), 2);
    assert_eq!(client.code(EXTENDED, extended("lsetstat@openssh.com").s("box/link").n(1).q(0)), 5);
}

#[test]
fn stat_tells_what_the_file_system_knows() {
    let (tree, mut client) = rw();
    symlink("in.txt", tree.path("box/link")).unwrap();
    let meta = fs::metadata(tree.path("box/in.txt")).unwrap();
    let whole = client.ask(STAT, s("box/link"));
    assert_eq!((whole.kind, whole.number(0)), (ATTRS, 0xf));
    assert_eq!(u64::from_be_bytes(whole.body[4..12].try_into().unwrap()), 6);
    assert_eq!((whole.number(12), whole.number(16), whole.number(20)), (meta.uid(), meta.gid(), meta.mode()));
    assert_eq!(i64::from(whole.number(28)), meta.mtime());
    assert_eq!(client.ask(LSTAT, s("box/link")).number(20) & 0o170_000, 0o120_000);
    assert_eq!(client.ask(LSTAT, s("box/sub/")).number(20) & 0o170_000, 0o040_000);
    assert_eq!(client.code(LSTAT, s("box/in.txt/")), 2);
    let handle = client.open("box/in.txt", READ_FILE).unwrap();
    assert_eq!(client.ask(FSTAT, s(&handle)).body, whole.body);
    assert_eq!(client.ask(STAT, s("/")).number(20), 0o040_555);
    assert_eq!(client.ask(STAT, s("/..")).body, client.ask(LSTAT, s("")).body);
    assert_eq!(client.code(STAT, s("/nowhere")), 2);
    assert_eq!(client.code(STAT, s("box/a\0b")), 5);
    assert_eq!(client.code(STAT, s(vec![b'a'; 5000])), 5);
}

#[test]
fn listings_are_complete_however_long() {
    let (tree, mut client) = rw();
    fs::create_dir(tree.path("box/many")).unwrap();
    let mut all = vec![".".to_owned(), "..".to_owned()];
    for i in 0..3000 {
        all.push(format!("a-name-that-is-not-so-short-{i:05}"));
        fs::write(tree.path("box/many").join(all.last().unwrap()), "").unwrap();
    }
    assert_eq!(client.names("box/many"), Ok(all));
    assert_eq!(client.names("box/sub/deep"), Ok(vec![".".into(), "..".into()]));
    assert_eq!(client.names("box/in.txt"), Err(2));
    assert_eq!(client.names("box/none"), Err(2));
    let file = client.open("box/in.txt", READ_FILE).unwrap();
    assert_eq!(client.code(READDIR, s(&file)), 4, "a handle of the other kind");
}

#[test]
fn the_root_lists_the_workspaces_and_nothing_else() {
    let tree = Tree::new();
    let sub = Workspace::new(tree.path("box/sub"), Access::ReadOnly);
    let mut client = Client::start(
        vec![("papers", tree.workspace(Access::ReadWrite)), ("build", sub)],
        Options::default(),
    );
    for path in ["/", "", "..", "papers/..", "papers/../../.."] {
        assert_eq!(client.names(path).unwrap(), [".", "..", "build", "papers"], "{path}");
    }
    assert_eq!(client.realpath("papers/../build/f"), Ok("/build/f".into()));
    for (kind, body) in [
        (MKDIR, s("/new").n(0)),
        (RMDIR, s("/papers")),
        (REMOVE, s("/papers")),
        (RENAME, s("/papers").s("/other")),
        (RENAME, s("/papers/in.txt").s("/other")),
        (SYMLINK, s("papers").s("/other")),
        (SETSTAT, s("/").n(4).n(0o777)),
        (EXTENDED, s("posix-rename@openssh.com").s("/papers/sub").s("/build")),
    ] {
        assert_eq!(client.code(kind, body.clone()), 3, "{kind} {body:?}");
    }
    assert_eq!(client.code(MKDIR, s("/papers").n(0)), 4, "it exists");
    // From one workspace to another, where the file system can.
    fs::create_dir(tree.path("second")).unwrap();
    let second = Workspace::new(tree.path("second"), Access::ReadWrite);
    let mut client =
        Client::start(vec![("a", tree.workspace(Access::ReadWrite)), ("b", second)], Options::default());
    assert_eq!(client.code(RENAME, s("a/in.txt").s("b/moved")), 0);
    assert_eq!(fs::read_to_string(tree.path("second/moved")).unwrap(), "inside");
}

#[test]
fn rename_never_replaces_and_posix_rename_does() {
    let (tree, mut client) = rw();
    let posix = |from: &str, to: &str| extended("posix-rename@openssh.com").s(from).s(to);
    assert_eq!(client.code(RENAME, s("box/in.txt").s("box/sub/f")), 4);
    assert_eq!(client.code(RENAME, s("box/in.txt").s("box/moved")), 0);
    assert_eq!(client.code(RENAME, s("box/in.txt").s("box/again")), 2);
    assert_eq!(client.code(RENAME, s("box/sub").s("box/sub2")), 0);
    assert_eq!(client.code(RENAME, s("box/moved").s("box/sub2")), 4, "onto a directory");
    assert_eq!(client.code(EXTENDED, posix("box/moved", "box/sub2/f")), 0);
    assert_eq!(fs::read_to_string(tree.path("box/sub2/f")).unwrap(), "inside");
    assert_eq!(client.code(EXTENDED, posix("box/sub2", "box/sub2/deep/x")), 5, "into itself");
}

#[test]
fn names_are_made_and_removed() {
    let (tree, mut client) = rw();
    assert_eq!(client.code(MKDIR, s("box/d").n(0)), 0);
    assert_eq!(client.code(MKDIR, s("box/d").n(0)), 4);
    assert_eq!(client.code(MKDIR, s("box/x/y").n(0)), 2);
    assert_eq!(client.code(RMDIR, s("box/sub")), 4, "not empty");
    assert_eq!(client.code(REMOVE, s("box/d")), 4, "a directory");
    assert_eq!(client.code(RMDIR, s("box/d/")), 0);
    assert_eq!(client.code(RMDIR, s("box/in.txt")), 2);
    assert_eq!(client.code(REMOVE, s("box/in.txt")), 0);
    assert_eq!(client.code(REMOVE, s("box/in.txt")), 2);
    assert_eq!(client.code(EXTENDED, extended("hardlink@openssh.com").s("box/sub/f").s("box/h")), 0);
    assert_eq!(client.code(EXTENDED, extended("hardlink@openssh.com").s("box/sub").s("box/h2")), 3);
    assert_eq!(fs::metadata(tree.path("box/h")).unwrap().nlink(), 2);
}

#[test]
fn links_are_made_and_shown_without_host_paths() {
    let (tree, mut client) = rw();
    assert_eq!(client.code(SYMLINK, s("sub/f").s("box/l")), 0);
    assert_eq!(client.code(SYMLINK, s("sub/f").s("box/l")), 4, "it exists");
    assert_eq!(client.ask(READLINK, s("box/l")).string(4), b"sub/f");
    symlink(tree.path("box/sub/f"), tree.path("box/sub/deep/absolute")).unwrap();
    assert_eq!(client.ask(READLINK, s("box/sub/deep/absolute")).string(4), b"../f");
    assert_eq!(client.ask(STAT, s("box/sub/deep/absolute")).kind, ATTRS);
    assert_eq!(client.code(READLINK, s("box/in.txt")), 5);
    for (target, path) in [
        ("/etc/passwd", "box/x"),
        ("../outside", "box/x"),
        ("../../x", "box/sub/x"),
        ("sub/../../x", "box/x"),
    ] {
        assert_eq!(client.code(SYMLINK, s(target).s(path)), 3, "{target}");
    }
    // A link that stays where it is, but would not stay after a move.
    assert_eq!(client.code(SYMLINK, s("../in.txt").s("box/sub/up")), 0);
    assert_eq!(client.code(RENAME, s("box/sub/up").s("box/up")), 3);
    assert_eq!(client.code(EXTENDED, extended("hardlink@openssh.com").s("box/sub/up").s("box/up")), 3);
    assert_eq!(client.code(RENAME, s("box/sub/up").s("box/sub/up2")), 0);
}

#[test]
fn munged_links_are_shown_as_the_client_wrote_them_and_lead_nowhere() {
    let tree = Tree::new();
    let rules = Workspace { munge: true, ..tree.workspace(Access::ReadWrite) };
    let mut client = Client::start(vec![("box", rules)], Options::default());
    assert_eq!(client.code(SYMLINK, s("in.txt").s("box/l")), 0);
    assert_eq!(client.ask(READLINK, s("box/l")).string(4), b"in.txt");
    assert_eq!(fs::read_link(tree.path("box/l")).unwrap(), Path::new("/rsyncd-munged/in.txt"));
    assert_eq!(client.open("box/l", READ_FILE), Err(3));
}

#[test]
fn real_paths_are_virtual() {
    let (tree, mut client) = rw();
    symlink("sub/deep", tree.path("box/l")).unwrap();
    for (path, real) in [
        (".", Ok("/")),
        ("", Ok("/")),
        ("box", Ok("/box")),
        ("/box/l", Ok("/box/sub/deep")),
        ("box/l/../in.txt", Ok("/box/in.txt")),
        ("box/l/missing", Ok("/box/sub/deep/missing")),
        ("box/missing/missing", Err(2)),
        ("box/in.txt/", Err(2)),
        ("/missing", Ok("/missing")),
        ("/missing/missing", Err(2)),
    ] {
        assert_eq!(client.realpath(path), real.map(str::to_owned), "{path}");
    }
}

#[test]
fn the_extensions_answer() {
    let (tree, mut client) = rw();
    let reply = client.ask(EXTENDED, extended("limits@openssh.com"));
    assert_eq!(reply.kind, EXTENDED_REPLY);
    let limits: Vec<u64> = reply.body.chunks(8).map(|n| u64::from_be_bytes(n.try_into().unwrap())).collect();
    assert_eq!(limits, [262_144, 261_120, 261_120, 1000]);

    let statvfs = client.ask(EXTENDED, extended("statvfs@openssh.com").s("box/sub"));
    assert_eq!((statvfs.kind, statvfs.body.len()), (EXTENDED_REPLY, 88));
    assert_eq!(client.ask(EXTENDED, extended("statvfs@openssh.com").s("/")).body.len(), 88);
    let handle = client.open("box/in.txt", READ_FILE).unwrap();
    assert_eq!(
        client.ask(EXTENDED, extended("fstatvfs@openssh.com").s(&handle)).body[..8],
        statvfs.body[..8]
    );
    assert_eq!(client.code(EXTENDED, extended("fsync@openssh.com").s(&handle)), 0);

    for (path, expanded) in
        [("~", Ok("/")), ("~/box/sub", Ok("/box/sub")), ("box", Ok("/box")), ("~root", Err(2))]
    {
        let reply = client.ask(EXTENDED, extended("expand-path@openssh.com").s(path));
        let answer = if reply.kind == NAME { Ok(reply.string(4)) } else { Err(reply.code()) };
        assert_eq!(answer, expanded.map(|path| path.as_bytes().to_vec()), "{path}");
    }
    for user in ["", "root", "nobody", "no such user"] {
        assert_eq!(client.ask(EXTENDED, extended("home-directory").s(user)).string(4), b"/");
    }
    let ids = extended("users-groups-by-id@openssh.com").s([0, 0, 0, 0, 0, 0, 3, 232]).s([0, 0, 0, 0]);
    let reply = client.ask(EXTENDED, ids);
    assert_eq!(reply.strings(0), [vec![0; 8], vec![0; 4]]);
    assert_eq!(client.code(EXTENDED, extended("users-groups-by-id@openssh.com").s("abc").s("")), 5);

    let target = client.open("box/copy", READ_FILE | PUT).unwrap();
    let copy =
        |from: &[u8], offset, length, to: &[u8]| extended("copy-data").s(from).q(offset).q(length).s(to).q(0);
    assert_eq!(client.code(EXTENDED, copy(&handle, 2, 0, &target)), 0);
    assert_eq!(fs::read_to_string(tree.path("box/copy")).unwrap(), "side");
    assert_eq!(client.code(EXTENDED, copy(&handle, 0, 2, &target)), 0);
    assert_eq!(fs::read_to_string(tree.path("box/copy")).unwrap(), "inde");
    let same = client.open("box/copy", READ_FILE).unwrap();
    assert_eq!(client.code(EXTENDED, copy(&target, 0, 0, &target)), 4);
    assert_eq!(client.code(EXTENDED, copy(&same, 0, 0, &target)), 4, "the same file by another handle");
    assert_eq!(client.code(EXTENDED, copy(&handle, 0, 0, &same)), 2, "not open for writing");
    let append = client.open("box/copy", WRITE_FILE | 0x04).unwrap();
    assert_eq!(client.code(EXTENDED, copy(&handle, 0, 0, &append)), 0);
    assert_eq!(fs::read_to_string(tree.path("box/copy")).unwrap(), "indeinside");
    assert_eq!(client.code(EXTENDED, extended("no-such@example.com")), 8);
}

#[test]
fn uploads_leave_the_space_that_they_must() {
    let tree = Tree::new();
    let free = nix::sys::statvfs::statvfs(&tree.path("box")).unwrap();
    let free = free.blocks_available() * free.fragment_size();
    for (least_free, code) in [(1, 0), (free / 2, 0), (free * 2, 4), (u64::MAX, 4)] {
        for atomic in [false, true] {
            let mut rules = tree.workspace(Access::ReadWrite);
            (rules.files.atomic, rules.files.min_free) = (atomic, Some(least_free));
            let mut client = Client::start(vec![("box", rules)], Options::default());
            assert_eq!(client.put("box/new", "content"), code);
            assert_eq!(client.code(MKDIR, s(format!("box/d{least_free}{atomic}")).n(0)), code);
            assert_eq!(client.code(SYMLINK, s("x").s(format!("box/l{least_free}{atomic}"))), code);
            let handle = client.open("box/in.txt", WRITE_FILE);
            match handle {
                Ok(handle) => assert_eq!(client.write(&handle, 0, "inside"), code),
                Err(refused) => assert_eq!((refused, atomic), (code, true), "the copy does not fit"),
            }
            assert_eq!(client.code(REMOVE, s("box/new")), if code == 0 { 0 } else { 2 });
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_tree, mut client) = rw();
    let handle = client.open("box/in.txt", READ_FILE).unwrap();
    let sent: Vec<u32> = (0..500)
        .map(|i| match i % 3 {
            0 => client.send(READ, s(&handle).q(i % 7).n(4)),
            1 => client.send(STAT, s("box/none")),
            _ => client.send(REALPATH, s(".")),
        })
        .collect();
    let answered: Vec<u32> = sent.iter().map(|_| client.receive().unwrap().id).collect();
    assert_eq!(answered, sent);
}
