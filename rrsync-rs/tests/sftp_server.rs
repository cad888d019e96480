//! The same requests to OpenSSH's sftp-server and to ours, in two directories that are alike: the same answers, and the same
//! files at the end.
//!
//! Where we answer differently on purpose, the case is listed with the reason; a listed difference that is none any more is
//! an error as well. Requests of a type that nobody knows are not among the cases: sftp-server leaves them without any answer,
//! which the draft asks for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, UNIX_EPOCH};

use support::{Account, picture};

/// A part of a request.
#[derive(Debug, Clone, Copy)]
enum Part {
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

type Request = (u8, Vec<Part>);

fn cases() -> Vec<(&'static str, Vec<Request>)> {
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
const DIFFERENT: &[(&str, &str)] = &[
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

/// A directory with a `box` in it, and a server for it.
struct Server {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    root: PathBuf,
    handles: Vec<Vec<u8>>,
}

impl Server {
    fn start(account: &Account, name: &str, program: &Path, args: &[String]) -> Self {
        let root = account.root.join(name);
        lay_out(&root.join("box"));
        let mut server = Command::new(program);
        server.args(args).current_dir(&root).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = server.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut server = Self { child, input, output, root, handles: Vec::new() };
        server.input.write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).unwrap();
        assert_eq!(server.receive().unwrap()[0], 2);
        server
    }

    /// The next answer; `None` when the server has hung up.
    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.output.read_exact(&mut length).ok()?;
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        self.output.read_exact(&mut packet).unwrap();
        Some(packet)
    }

    /// The answer as it can be compared.
    fn ask(&mut self, (kind, parts): &Request) -> String {
        let mut body = Vec::new();
        for part in parts {
            match part {
                S(text) => body.extend(string(text)),
                N(number) => body.extend(number.to_be_bytes()),
                Q(number) => body.extend(number.to_be_bytes()),
                H(index) => body.extend(string(self.handles.get(*index).map_or(&b"none"[..], Vec::as_slice))),
            }
        }
        let length = u32::try_from(body.len() + 5).unwrap();
        let packet = [&length.to_be_bytes()[..], &[*kind, 0, 0, 0, 7], &body].concat();
        if self.input.write_all(&packet).is_err() {
            return "hung up".to_owned();
        }
        match self.receive() {
            None => "hung up".to_owned(),
            Some(reply) => self.plain(reply[0], &reply[5..]),
        }
    }

    fn plain(&mut self, kind: u8, body: &[u8]) -> String {
        match kind {
            101 => format!("status {}", number(body)),
            102 => {
                self.handles.push(body[4..].to_vec());
                "handle".to_owned()
            }
            103 => format!("data {:?}", String::from_utf8_lossy(&body[4..])),
            104 => self.names(body),
            105 => format!("attrs {}", attributes(&mut &body[..])),
            // Of a file system, what does not change while others write; of the limits, how much may be read and written.
            201 if body.len() == 88 => format!(
                "statvfs {:?}",
                (0..11)
                    .filter(|i| ![3, 4, 6, 7].contains(i))
                    .map(|i| long(&body[i * 8..]))
                    .collect::<Vec<_>>()
            ),
            201 if body.len() == 32 => {
                format!("limits {:?}", (0..3).map(|i| long(&body[i * 8..])).collect::<Vec<_>>())
            }
            kind => format!("{kind} {body:?}"),
        }
    }

    /// Names without the part of the path that is the server's own, each with its attributes, in order.
    fn names(&self, mut body: &[u8]) -> String {
        let root = self.root.to_str().unwrap();
        let count = number(body);
        body = &body[4..];
        let mut names = BTreeMap::new();
        for _ in 0..count {
            let (name, _) = (text(&mut body), text(&mut body));
            let attributes = attributes(&mut body);
            let name = match name.strip_prefix(root) {
                Some("") => "/".to_owned(),
                Some(below) => below.to_owned(),
                None => name,
            };
            // The parent of the box is another directory here, and none there.
            names.insert(name.clone(), if name == ".." { String::new() } else { attributes });
        }
        format!("names {names:?}")
    }

    fn end(mut self) -> (bool, String) {
        drop(self.input);
        let ended = self.child.wait().unwrap().success();
        (ended, picture(&self.root.join("box")))
    }
}

fn lay_out(dir: &Path) {
    fs::create_dir_all(dir.join("sub/deep")).unwrap();
    for (name, content) in [("in.txt", "inside"), ("other", "other"), ("sub/f", "f")] {
        fs::write(dir.join(name), content).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    for (target, name) in [("in.txt", "link"), ("sub", "linkdir"), ("none", "dangling"), ("loop", "loop")] {
        symlink(target, dir.join(name)).unwrap();
    }
    for name in ["in.txt", "other", "sub/f", "sub/deep", "sub", "."] {
        let file = fs::File::open(dir.join(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_600_000_000)).unwrap();
    }
}

fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

fn long(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

fn text(bytes: &mut &[u8]) -> String {
    let length = number(bytes) as usize;
    let text = String::from_utf8_lossy(&bytes[4..4 + length]).into_owned();
    *bytes = &bytes[4 + length..];
    text
}

/// Attributes as text, without the time of access; a time of today is the moment of the test.
fn attributes(bytes: &mut &[u8]) -> String {
    let mut take = |length: usize| {
        let (field, rest) = bytes.split_at(length);
        *bytes = rest;
        field.to_vec()
    };
    let flags = number(&take(4));
    let mut told = format!("{flags:x}");
    for (flag, length) in [(1, 8), (2, 8), (4, 4), (8, 8)] {
        if flags & flag != 0 {
            let field = take(length);
            let shown = match flag {
                1 => long(&field).to_string(),
                4 => format!("{:o}", number(&field)),
                8 if number(&field[4..]) > 1_700_000_000 => "now".to_owned(),
                8 => number(&field[4..]).to_string(),
                _ => format!("{field:?}"),
            };
            told = format!("{told} {shown}");
        }
    }
    told
}

/// Our server, built: `cargo test --test sftp_server` alone does not.
fn example() -> PathBuf {
    static BUILD: Once = Once::new();
    BUILD.call_once(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "-q", "-p", "rrsync-rs", "--example", "sftp-serve"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success());
    });
    Path::new(support::GATE).with_file_name("examples/sftp-serve")
}

#[test]
fn answers_are_those_of_sftp_server() {
    let theirs = ["/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/lib/ssh/sftp-server"];
    let theirs = theirs
        .into_iter()
        .map(Path::new)
        .find(|path| path.exists())
        .expect("openssh-sftp-server is installed");
    let mut wrong = Vec::new();
    let mut different = Vec::new();
    for (name, requests) in cases() {
        let account = Account::new();
        let mut openssh = Server::start(&account, "theirs", theirs, &["-e".to_owned()]);
        let mut ours = Server::start(
            &account,
            "ours",
            &example(),
            &[format!("box={}", account.root.join("ours/box").display())],
        );
        let mut told = Vec::new();
        for request in &requests {
            let (one, other) = (openssh.ask(request), ours.ask(request));
            if one != other {
                told.push(format!("  {request:?}\n    OpenSSH {one}\n    ours    {other}"));
            }
        }
        let (one, other) = (openssh.end(), ours.end());
        if one != other {
            told.push(format!("  at the end\n    OpenSSH {one:?}\n    ours    {other:?}"));
        }
        match (told.is_empty(), DIFFERENT.iter().any(|(listed, _)| *listed == name)) {
            (false, true) => different.push(name),
            (false, false) => wrong.push(format!("{name}\n{}", told.join("\n"))),
            (true, true) => wrong.push(format!("{name}: listed as different, and is not")),
            (true, false) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(different.len(), DIFFERENT.len(), "a listed case does not exist");
}
