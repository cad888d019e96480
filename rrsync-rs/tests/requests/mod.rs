//! Requests of SFTP version 3 that a server is asked, and those that ours answers in a way of its own.

/// A part of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// A string.
    S(&'static str),
    /// A number.
    N(u32),
    /// A long number.
    Q(u64),
    /// A handle, by the order in which they were given out.
    H(usize),
}
use Part::{H, N, Q, S};

const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const RMDIR: u8 = 15;
const REALPATH: u8 = 16;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const READLINK: u8 = 19;
const SYMLINK: u8 = 20;
const EXTENDED: u8 = 200;

/// A request: its type, and what it is made of.
pub(crate) type Request = (u8, Vec<Part>);

/// What is asked, in the order in which it is, each case of new servers.
pub(crate) fn cases() -> Vec<(&'static str, Vec<Request>)> {
    let posix = |from, to| (EXTENDED, vec![S("posix-rename@openssh.com"), S(from), S(to)]);
    let link = |from, to| (EXTENDED, vec![S("hardlink@openssh.com"), S(from), S(to)]);
    let open = |path, flags| (OPEN, vec![S(path), N(flags), N(0)]);
    let read = |handle, at, length| (READ, vec![H(handle), Q(at), N(length)]);
    let write = |handle, at, text| (WRITE, vec![H(handle), Q(at), S(text)]);
    let close = |handle| (CLOSE, vec![H(handle)]);
    let one = |kind, path: &'static str| vec![(kind, vec![S(path)])];
    let mut cases = vec![
        (
            "read",
            vec![
                open("box/in.txt", 1),
                read(0, 0, 100),
                read(0, 3, 2),
                read(0, 6, 1),
                read(0, u64::MAX, 1),
                read(0, 0, 0),
                close(0),
                read(0, 0, 1),
            ],
        ),
        ("read a directory", vec![open("box/sub", 1)]),
        (
            "a handle that is closed",
            vec![open("box/in.txt", 1), close(0), close(0), (EXTENDED, vec![S("fsync@openssh.com"), H(0)])],
        ),
        ("read what is not there", vec![open("box/none", 1), open("box/in.txt/x", 1), open("none/x", 1)]),
        (
            "write",
            vec![
                open("box/new", 0x1a),
                write(0, 0, "abc"),
                write(0, 10, "x"),
                read(0, 0, 3),
                (FSTAT, vec![H(0)]),
                close(0),
                (STAT, vec![S("box/new")]),
            ],
        ),
        (
            "write and read",
            vec![open("box/new", 0x1b), write(0, 0, "abc"), read(0, 0, 100), write(0, 1, ""), close(0)],
        ),
        ("overwrite without emptying", vec![open("box/in.txt", 2), write(0, 0, "IN"), close(0)]),
        ("empty", vec![open("box/in.txt", 0x12), close(0), (STAT, vec![S("box/in.txt")])]),
        ("append", vec![open("box/in.txt", 0x06), write(0, 0, "!"), write(0, 0, "?"), close(0)]),
        (
            "make only what is new",
            vec![
                open("box/in.txt", 0x2a),
                open("box/sub", 0x2a),
                open("box/other", 0x2a),
                open("box/dangling", 0x2a),
            ],
        ),
        ("make by create alone", vec![open("box/new", 0x08), open("box/new2", 0x09), read(1, 0, 1)]),
        ("exclusive without create", vec![open("box/in.txt", 0x21), open("box/none", 0x22)]),
        (
            "a mode for what is made",
            vec![(OPEN, vec![S("box/new"), N(0x1a), N(4), N(0o600)]), close(0), (STAT, vec![S("box/new")])],
        ),
        (
            "write into a directory",
            vec![open("box/sub", 0x1a), open("box/sub/", 0x1a), open("box/new/", 0x1a)],
        ),
        (
            "read and write on the other kind of handle",
            vec![
                open("box/in.txt", 1),
                write(0, 0, "x"),
                (OPENDIR, vec![S("box")]),
                read(1, 0, 1),
                (READDIR, vec![H(0)]),
            ],
        ),
        (
            "list",
            vec![
                (OPENDIR, vec![S("box")]),
                (READDIR, vec![H(0)]),
                (READDIR, vec![H(0)]),
                close(0),
                (READDIR, vec![H(0)]),
            ],
        ),
        (
            "list an empty directory",
            vec![(OPENDIR, vec![S("box/sub/deep")]), (READDIR, vec![H(0)]), (READDIR, vec![H(0)])],
        ),
        (
            "list what is none",
            vec![
                (OPENDIR, vec![S("box/in.txt")]),
                (OPENDIR, vec![S("box/none")]),
                (OPENDIR, vec![S("box/link")]),
            ],
        ),
        (
            "stat",
            vec![
                (STAT, vec![S("box/in.txt")]),
                (STAT, vec![S("box/sub")]),
                (STAT, vec![S("box/link")]),
                (LSTAT, vec![S("box/link")]),
                (STAT, vec![S("box/dangling")]),
                (LSTAT, vec![S("box/dangling")]),
                (STAT, vec![S("box/loop")]),
                (LSTAT, vec![S("box/in.txt/")]),
            ],
        ),
        (
            "set the size",
            vec![
                (SETSTAT, vec![S("box/in.txt"), N(1), Q(3)]),
                (SETSTAT, vec![S("box/in.txt"), N(1), Q(10)]),
                (SETSTAT, vec![S("box/sub"), N(1), Q(3)]),
                (SETSTAT, vec![S("box/none"), N(1), Q(3)]),
            ],
        ),
        ("set a size that no file can have", vec![(SETSTAT, vec![S("box/in.txt"), N(1), Q(u64::MAX)])]),
        (
            "set the mode",
            vec![
                (SETSTAT, vec![S("box/in.txt"), N(4), N(0o600)]),
                (SETSTAT, vec![S("box/sub"), N(4), N(0o700)]),
                (SETSTAT, vec![S("box/link"), N(4), N(0o604)]),
                (SETSTAT, vec![S("box/in.txt"), N(4), N(0o100_640)]),
            ],
        ),
        (
            "set the times",
            vec![
                (SETSTAT, vec![S("box/in.txt"), N(8), N(1), N(2)]),
                (SETSTAT, vec![S("box/sub"), N(8), N(3), N(4)]),
                (STAT, vec![S("box/in.txt")]),
            ],
        ),
        ("set nothing", vec![(SETSTAT, vec![S("box/in.txt"), N(0)])]),
        ("set nothing of what is not there", vec![(SETSTAT, vec![S("box/none"), N(0)])]),
        ("the empty path", vec![open("", 1)]),
        (
            "set by handle",
            vec![
                open("box/in.txt", 2),
                (FSETSTAT, vec![H(0), N(0xd), Q(4), N(0o600), N(1), N(2)]),
                close(0),
                (FSETSTAT, vec![H(0), N(0)]),
            ],
        ),
        (
            "set by a handle for reading",
            vec![
                open("box/in.txt", 1),
                (FSETSTAT, vec![H(0), N(4), N(0o600)]),
                (FSETSTAT, vec![H(0), N(8), N(1), N(2)]),
                (FSETSTAT, vec![H(0), N(1), Q(0)]),
            ],
        ),
        (
            "set by the handle of a directory",
            vec![(OPENDIR, vec![S("box/sub")]), (FSETSTAT, vec![H(0), N(4), N(0o700)]), (FSTAT, vec![H(0)])],
        ),
        (
            "set a link",
            vec![
                (EXTENDED, vec![S("lsetstat@openssh.com"), S("box/link"), N(8), N(1), N(2)]),
                (EXTENDED, vec![S("lsetstat@openssh.com"), S("box/in.txt"), N(4), N(0o600)]),
                (EXTENDED, vec![S("lsetstat@openssh.com"), S("box/link"), N(1), Q(0)]),
                (EXTENDED, vec![S("lsetstat@openssh.com"), S("box/none"), N(8), N(1), N(2)]),
            ],
        ),
        (
            "the size of a file that is no link",
            vec![(EXTENDED, vec![S("lsetstat@openssh.com"), S("box/in.txt"), N(1), Q(0)])],
        ),
        (
            "make a directory",
            vec![
                (MKDIR, vec![S("box/d"), N(0)]),
                (MKDIR, vec![S("box/d"), N(0)]),
                (MKDIR, vec![S("box/none/d"), N(0)]),
                (MKDIR, vec![S("box/in.txt/d"), N(0)]),
                (MKDIR, vec![S("box/e"), N(4), N(0o700)]),
                (MKDIR, vec![S("box/f/"), N(0)]),
                (STAT, vec![S("box/e")]),
            ],
        ),
        (
            "remove",
            vec![
                (REMOVE, vec![S("box/in.txt")]),
                (REMOVE, vec![S("box/in.txt")]),
                (REMOVE, vec![S("box/link")]),
                (REMOVE, vec![S("box/dangling")]),
                (REMOVE, vec![S("box/none/x")]),
            ],
        ),
        ("remove a directory as a file", vec![(REMOVE, vec![S("box/sub")])]),
        (
            "remove directories",
            vec![
                (RMDIR, vec![S("box/sub")]),
                (RMDIR, vec![S("box/sub/deep")]),
                (RMDIR, vec![S("box/sub/deep")]),
                (RMDIR, vec![S("box/in.txt")]),
                (RMDIR, vec![S("box/link")]),
            ],
        ),
        (
            "rename",
            vec![
                (RENAME, vec![S("box/in.txt"), S("box/out.txt")]),
                (RENAME, vec![S("box/in.txt"), S("box/x")]),
                (RENAME, vec![S("box/sub"), S("box/sub2")]),
                (RENAME, vec![S("box/link"), S("box/l2")]),
            ],
        ),
        (
            "rename over something",
            vec![
                (RENAME, vec![S("box/in.txt"), S("box/other")]),
                (RENAME, vec![S("box/in.txt"), S("box/none/x")]),
            ],
        ),
        (
            "rename a directory over an empty one",
            vec![(MKDIR, vec![S("box/d"), N(0)]), (RENAME, vec![S("box/d"), S("box/sub/deep")])],
        ),
        (
            "rename to itself",
            vec![(RENAME, vec![S("box/in.txt"), S("box/in.txt")]), posix("box/in.txt", "box/in.txt")],
        ),
        (
            "posix-rename",
            vec![
                posix("box/in.txt", "box/other"),
                posix("box/none", "box/x"),
                posix("box/other", "box/sub"),
                posix("box/sub", "box/other"),
                posix("box/sub", "box/sub/deep/x"),
            ],
        ),
        (
            "hard links",
            vec![
                link("box/in.txt", "box/h"),
                link("box/in.txt", "box/other"),
                link("box/none", "box/x"),
                link("box/sub", "box/y"),
                (STAT, vec![S("box/h")]),
            ],
        ),
        (
            "symlinks",
            vec![
                (SYMLINK, vec![S("in.txt"), S("box/s")]),
                (READLINK, vec![S("box/s")]),
                (SYMLINK, vec![S("x"), S("box/in.txt")]),
                (READLINK, vec![S("box/in.txt")]),
                (READLINK, vec![S("box/none")]),
                (READLINK, vec![S("box/dangling")]),
            ],
        ),
        ("an empty symlink", vec![(SYMLINK, vec![S(""), S("box/s")])]),
        ("a symlink that leaves", vec![(SYMLINK, vec![S("/etc"), S("box/s")])]),
        (
            "realpath",
            vec![
                (REALPATH, vec![S("box")]),
                (REALPATH, vec![S("box/./sub/../in.txt")]),
                (REALPATH, vec![S("box/link")]),
                (REALPATH, vec![S("box/none")]),
                (REALPATH, vec![S("box/linkdir/f")]),
                (REALPATH, vec![S("box//sub/")]),
            ],
        ),
        (
            "realpath of what cannot be",
            vec![
                (REALPATH, vec![S("box/none/x")]),
                (REALPATH, vec![S("box/in.txt/x")]),
                (REALPATH, vec![S("box/loop")]),
            ],
        ),
        ("realpath of a dangling link", vec![(REALPATH, vec![S("box/dangling")])]),
        ("realpath of nothing", vec![(REALPATH, vec![S("")]), (REALPATH, vec![S(".")])]),
        (
            "dots behind what is no directory",
            vec![(STAT, vec![S("box/in.txt/..")]), (STAT, vec![S("box/linkdir/../in.txt")])],
        ),
        ("fsync", vec![open("box/in.txt", 2), (EXTENDED, vec![S("fsync@openssh.com"), H(0)]), close(0)]),
        (
            "statvfs",
            vec![
                (EXTENDED, vec![S("statvfs@openssh.com"), S("box")]),
                (EXTENDED, vec![S("statvfs@openssh.com"), S("box/none")]),
                open("box/in.txt", 1),
                (EXTENDED, vec![S("fstatvfs@openssh.com"), H(0)]),
            ],
        ),
        ("limits", vec![(EXTENDED, vec![S("limits@openssh.com")])]),
        (
            "expand-path",
            vec![
                (EXTENDED, vec![S("expand-path@openssh.com"), S("box/sub/..")]),
                (EXTENDED, vec![S("expand-path@openssh.com"), S("box/link")]),
            ],
        ),
        (
            "copy-data",
            vec![
                open("box/in.txt", 1),
                open("box/new", 0x1a),
                (EXTENDED, vec![S("copy-data"), H(0), Q(0), Q(0), H(1), Q(0)]),
                (EXTENDED, vec![S("copy-data"), H(0), Q(2), Q(2), H(1), Q(10)]),
                (EXTENDED, vec![S("copy-data"), H(0), Q(100), Q(5), H(1), Q(0)]),
                close(1),
                (STAT, vec![S("box/new")]),
            ],
        ),
        (
            "copy-data the wrong way",
            vec![
                open("box/in.txt", 1),
                open("box/other", 1),
                (EXTENDED, vec![S("copy-data"), H(0), Q(0), Q(1), H(1), Q(0)]),
                (EXTENDED, vec![S("copy-data"), H(0), Q(0), Q(1), H(0), Q(0)]),
            ],
        ),
        ("what nobody knows", vec![(EXTENDED, vec![S("no-such@example.com")])]),
        ("fields that are missing", vec![(STAT, vec![]), (OPEN, vec![S("box/in.txt")]), (READ, vec![N(5)])]),
    ];
    for (name, kind) in [("remove", REMOVE), ("list", OPENDIR), ("stat", STAT)] {
        let long = "box/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
        cases.push((
            if name == "remove" {
                "a long name to remove"
            } else if name == "list" {
                "a long name to list"
            } else {
                "a long name"
            },
            one(kind, long),
        ));
    }
    cases
}

/// Where we answer differently on purpose, and why.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[
    (
        "read a directory",
        "a handle of a directory for reading could be used to set its attributes; it is of no use otherwise",
    ),
    ("a handle that is closed", "a failure whichever request names it; there it depends on the request"),
    ("set nothing of what is not there", "whether it is there is looked at first"),
    ("the empty path", "it is the root, as in every other request, which is no file"),
    ("dots behind what is no directory", "`..` is resolved by its text: the tree is virtual"),
    ("a symlink that leaves", "the owner's programs would follow it"),
    ("realpath of a dangling link", "where a link leads is told when something is there"),
    ("copy-data the wrong way", "a copy that did not happen is not answered with success"),
    ("fields that are missing", "answered, and the session goes on; there it ends"),
];
