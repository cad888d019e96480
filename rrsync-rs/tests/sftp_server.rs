//! The same requests to OpenSSH's sftp-server and to ours, in two directories that are alike: the same answers, and the same
//! files at the end.
//!
//! Where we answer differently on purpose, the case is listed with the reason; a listed difference that is none any more is
//! an error as well. Requests of a type that nobody knows are not among the cases: sftp-server leaves them without any answer,
//! which the draft asks for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod requests;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use requests::Part::{H, N, Q, S};
use requests::{DIFFERENT, Request, cases};
use support::{Account, example, picture};

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
            &example("sftp-serve"),
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
