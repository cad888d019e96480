//! OpenSSH's own clients against the server, under Landlock on the workspace alone, in a process that is killed at any
//! system call that is not on its list.
//!
//! The server is the example `sftp-serve`; `sftp -D` and `scp -D` talk to it without sshd.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use support::example;

/// A directory with a workspace `box`, something `outside` it, and the client's own `local`.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("sftp-clients-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        for sub in ["box/sub/deep", "outside", "local/tree/a/b"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        fs::write(dir.join("box/in.txt"), "inside").unwrap();
        fs::write(dir.join("box/sub/f"), "sub").unwrap();
        fs::write(dir.join("outside/secret"), "OUTSIDE").unwrap();
        fs::write(dir.join("local/f"), "local").unwrap();
        fs::write(dir.join("local/tree/a/x"), "x").unwrap();
        fs::write(dir.join("local/tree/a/b/y"), "y").unwrap();
        let big: Vec<u8> =
            (0..3_000_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        fs::write(dir.join("local/big"), big).unwrap();
        symlink("../outside/secret", dir.join("box/escape")).unwrap();
        Self(fs::canonicalize(dir).unwrap())
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }

    fn text(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
    }

    /// The server's command line, with the box under `access`; `atomic rw` is `rw` with atomic uploads.
    fn server(&self, access: &str) -> String {
        let (option, access) =
            access.strip_prefix("atomic ").map_or(("", access), |access| ("--atomic ", access));
        format!(
            "{} --confine {option}box={}:{access}",
            example("sftp-serve").display(),
            self.path("box").display()
        )
    }

    /// Runs an sftp batch; returns whether all of it went well, and what was printed.
    fn sftp(&self, access: &str, batch: &str) -> (bool, String) {
        let mut child = Command::new("sftp")
            .args(["-b", "-", "-D", &self.server(access)])
            .current_dir(self.path("local"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("OpenSSH's sftp is needed");
        child.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
        output(child)
    }

    /// Runs scp; the remote host is called `h`.
    fn scp(&self, access: &str, args: &[&str]) -> (bool, String) {
        let script = self.path("server.sh");
        fs::write(&script, format!("#!/bin/sh\nexec {}\n", self.server(access))).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let child = Command::new("scp")
            .arg("-D")
            .arg(&script)
            .args(args)
            .current_dir(self.path("local"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("OpenSSH's scp is needed");
        output(child)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn output(child: Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn sftp_does_all_that_it_can() {
    does_all("rw");
    does_all("atomic rw");
}

fn does_all(access: &str) {
    let tree = Tree::new();
    let (ok, text) = tree.sftp(
        access,
        "pwd\nls -la\ncd box\npwd\nls -la\nls -1 sub\n\
         put big\nget big big.back\n\
         put -rp tree\nget -rp tree tree.back\n\
         put f sub/../f2\nmkdir d\nput f d\nget d/f f.back\nget *.txt\n\
         rename f2 f3\nln f3 f4\nsymlink f3 l\nchmod 640 f3\nls -ln f?\n\
         df\ndf -hi sub\ncp f3 f5\nrm d/f\nrmdir d\ncd sub\ncd ..\npwd\nrm f5\n",
    );
    assert!(ok, "{text}");
    assert!(text.contains("Remote working directory: /\n"), "{text}");
    assert_eq!(text.matches("Remote working directory: /box\n").count(), 2, "{text}");
    assert!(!text.contains(tree.0.to_str().unwrap()), "{text}");
    for (one, other) in [
        ("local/big", "box/big"),
        ("local/big", "local/big.back"),
        ("local/tree/a/b/y", "box/tree/a/b/y"),
        ("local/tree/a/x", "local/tree.back/a/x"),
        ("local/f", "local/f.back"),
        ("local/f", "box/l"),
    ] {
        assert!(fs::read(tree.path(one)).unwrap() == fs::read(tree.path(other)).unwrap(), "{one} {other}");
    }
    assert_eq!(tree.text("local/in.txt"), "inside");
    let modified = |path: &str| fs::metadata(tree.path(path)).unwrap().modified().unwrap();
    let seconds = |path: &str| modified(path).duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(seconds("local/tree/a/x"), seconds("box/tree/a/x"));
    assert_eq!(fs::metadata(tree.path("box/f4")).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(!tree.path("box/d").exists() && !tree.path("box/f5").exists());
}

#[test]
fn transfers_are_resumed() {
    resumes("rw");
    resumes("atomic rw");
}

fn resumes(access: &str) {
    let tree = Tree::new();
    let big = fs::read(tree.path("local/big")).unwrap();
    fs::write(tree.path("box/big"), &big[..5_000_000]).unwrap();
    fs::write(tree.path("local/down"), &big[..7_000_001]).unwrap();
    let (ok, text) = tree.sftp(access, "cd box\nreput big\nreget big down\n");
    assert!(ok, "{text}");
    assert!(fs::read(tree.path("box/big")).unwrap() == big);
    assert!(fs::read(tree.path("local/down")).unwrap() == big);
}

#[test]
fn sftp_is_told_what_is_refused() {
    let tree = Tree::new();
    for (access, command) in [
        ("rw", "get box/escape"),
        ("rw", "put f box/escape"),
        ("rw", "get ../outside/secret"),
        ("rw", "symlink /etc/passwd box/l"),
        ("rw", "mkdir new"),
        ("rw", "rename -l box/in.txt box/sub/f"),
        ("rw", "rename box/in.txt new"),
        ("ro", "put f box/f"),
        ("ro", "chmod 600 box/in.txt"),
        ("ro", "rm box/in.txt"),
        ("wo", "get box/in.txt"),
        ("wo", "ls box"),
        ("rw:no-overwrite", "put f box/in.txt"),
        ("rw:no-delete", "rm box/in.txt"),
    ] {
        let (ok, text) = tree.sftp(access, &format!("{command}\n"));
        assert!(!ok, "{access} {command}: {text}");
        assert_eq!(tree.text("box/in.txt"), "inside", "{access} {command}");
        assert_eq!(tree.text("outside/secret"), "OUTSIDE");
    }
    assert!(!tree.path("local/escape").exists() && !tree.path("box/f").exists());
}

#[test]
fn reading_needs_no_call_that_changes_anything() {
    let tree = Tree::new();
    // Each refusal is a status from a server that is still there for the next line.
    let refused =
        "-put f\n-chmod 600 in.txt\n-rm in.txt\n-mkdir d\n-rename in.txt x\n-ln in.txt x\n-symlink a x\n";
    let (ok, text) = tree.sftp("ro", &format!("cd box\n{refused}ls -la\nget -rp sub\ndf\nget in.txt\n"));
    assert!(ok, "{text}");
    assert_eq!(text.matches("Permission denied").count(), 7, "{text}");
    assert_eq!((tree.text("local/in.txt"), tree.text("local/sub/f")), ("inside".into(), "sub".into()));
}

#[test]
fn uploads_into_a_write_only_workspace_work() {
    let tree = Tree::new();
    for access in ["wo", "wo:no-overwrite"] {
        let name = access.replace(':', "-");
        let (ok, text) =
            tree.sftp(access, &format!("cd box\nput f {name}\nput -rp tree\nrename {name} {name}.done\n"));
        // The second session meets the first one's tree, and may not change it.
        assert_eq!(ok, access == "wo", "{text}");
        let (ok, text) = tree.scp(access, &["-rp", "tree", &format!("h:box/{name}.tree")]);
        assert!(ok, "{text}");
        let (ok, text) = tree.scp(access, &["f", &format!("h:box/{name}.scp")]);
        assert!(ok, "{text}");
    }
    assert_eq!(tree.text("box/wo.done"), "local");
    assert_eq!(tree.text("box/wo-no-overwrite.scp"), "local");
    assert_eq!(tree.text("box/tree/a/b/y"), "y");
    assert_eq!(tree.text("box/wo-no-overwrite.tree/a/b/y"), "y");
}

#[test]
fn scp_copies_in_both_directions() {
    let tree = Tree::new();
    for args in [
        &["big", "h:box"][..],
        &["f", "h:/box/named"],
        &["-rp", "tree", "h:box/sub"],
        &["f", "tree/a/x", "h:box/sub/"],
        &["h:box/in.txt", "got"],
        &["-r", "h:box/sub", "gotdir"],
        &["h:box/sub/../i*", "."],
        &["h:~/box/named", "named"],
    ] {
        let (ok, text) = tree.scp("rw", args);
        assert!(ok, "{args:?}: {text}");
    }
    assert_eq!((tree.text("box/named"), tree.text("box/sub/x")), ("local".into(), "x".into()));
    assert_eq!((tree.text("local/got"), tree.text("local/in.txt")), ("inside".into(), "inside".into()));
    assert_eq!(
        (tree.text("local/gotdir/tree/a/b/y"), tree.text("local/named")),
        ("y".into(), "local".into())
    );
    for args in [
        &["h:box/escape", "leak"][..],
        &["h:/etc/passwd", "leak"],
        &["h:../../../etc/passwd", "leak"],
        &["f", "h:box/escape"],
        &["f", "h:evil"],
        &["h:~root/.bashrc", "leak"],
    ] {
        let (ok, text) = tree.scp("rw", args);
        assert!(!ok, "{args:?}: {text}");
    }
    assert_eq!(tree.text("outside/secret"), "OUTSIDE");
    assert!(fs::metadata(tree.path("local/leak")).map_or(true, |leak| leak.len() == 0));
}

/// The server as a process, spoken to packet by packet.
struct Raw {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Raw {
    fn start(tree: &Tree) -> Self {
        let server = tree.server("rw");
        let mut words = server.split(' ');
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut raw = Self { child, input, output };
        raw.send(1, &[0, 0, 0, 3]);
        assert_eq!(raw.receive()[0], 2);
        raw
    }

    fn send(&mut self, kind: u8, rest: &[u8]) {
        let length = u32::try_from(rest.len() + 1).unwrap();
        let packet = [&length.to_be_bytes()[..], &[kind], rest].concat();
        self.input.write_all(&packet).unwrap();
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.output.read_exact(&mut length).expect("the server is alive");
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        self.output.read_exact(&mut packet).unwrap();
        packet
    }

    /// A request with number 7; returns the reply's type and what follows its number.
    fn ask(&mut self, kind: u8, fields: &[&[u8]]) -> (u8, Vec<u8>) {
        self.send(kind, &[&[0, 0, 0, 7], fields.concat().as_slice()].concat());
        let mut reply = self.receive();
        assert_eq!(reply[1..5], [0, 0, 0, 7]);
        (reply[0], reply.split_off(5))
    }

    /// The peak of its memory, in kB.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
    }
}

fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
}

fn number(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

#[test]
fn every_request_is_served_under_the_filter() {
    let tree = Tree::new();
    symlink(tree.path("box/sub/f"), tree.path("box/absolute")).unwrap();
    let mut raw = Raw::start(&tree);
    let handle = raw.ask(3, &[&string("box/new"), &number(0x1b), &number(0)]).1;
    let other = raw.ask(3, &[&string("box/in.txt"), &number(1), &number(0)]).1;
    let dir = raw.ask(11, &[&string("box")]).1;
    // An ordinary user can give a file only to itself.
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let all =
        [number(15), vec![0; 8], number(uid), number(gid), number(0o6644), number(1), number(2)].concat();
    let times = [number(8), number(1), number(2)].concat();
    let (zero, long) = (number(0), vec![0; 8]);
    let ext = |name: &str| string(name);
    let requests: Vec<(u8, Vec<Vec<u8>>)> = vec![
        (6, vec![handle.clone(), long.clone(), string("data")]),
        (5, vec![handle.clone(), long.clone(), number(9)]),
        (8, vec![handle.clone()]),
        (10, vec![handle.clone(), all.clone()]),
        (200, vec![ext("fsync@openssh.com"), handle.clone()]),
        (200, vec![ext("fstatvfs@openssh.com"), handle.clone()]),
        (
            200,
            vec![ext("copy-data"), other.clone(), long.clone(), long.clone(), handle.clone(), long.clone()],
        ),
        (12, vec![dir.clone()]),
        (7, vec![string("box/escape")]),
        (17, vec![string("box/absolute")]),
        (17, vec![string("box/escape")]),
        (9, vec![string("box/in.txt"), all.clone()]),
        (9, vec![string("box/sub"), times.clone()]),
        (200, vec![ext("lsetstat@openssh.com"), string("box/in.txt"), times.clone()]),
        (14, vec![string("box/d"), zero.clone()]),
        (15, vec![string("box/d")]),
        (16, vec![string("box/sub/missing")]),
        (16, vec![string("box/absolute")]),
        (20, vec![string("in.txt"), string("box/l")]),
        (19, vec![string("box/l")]),
        (18, vec![string("box/l"), string("box/l2")]),
        (200, vec![ext("posix-rename@openssh.com"), string("box/l2"), string("box/sub/f")]),
        (200, vec![ext("hardlink@openssh.com"), string("box/in.txt"), string("box/h")]),
        (13, vec![string("box/h")]),
        (200, vec![ext("statvfs@openssh.com"), string("/")]),
        (200, vec![ext("limits@openssh.com")]),
        (200, vec![ext("expand-path@openssh.com"), string("~/box")]),
        (200, vec![ext("home-directory"), string("root")]),
        (200, vec![ext("users-groups-by-id@openssh.com"), string([0; 8]), string([0; 4])]),
        (200, vec![ext("fetch@akeys"), string("box/in.txt"), number(9)]),
        (200, vec![ext("fetch@akeys"), string("box/absolute"), number(9)]),
        (200, vec![ext("state@akeys"), handle.clone()]),
        (4, vec![dir]),
        (4, vec![handle]),
    ];
    for (kind, fields) in requests {
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let (answer, body) = raw.ask(kind, &fields);
        let refused = kind == 17 && fields[0] == string("box/escape");
        assert!(answer != 101 || (body[..4] == [0; 4]) != refused, "{kind} {fields:?}: {body:?}");
    }
    raw.end();
    assert_eq!(fs::metadata(tree.path("box/new")).unwrap().permissions().mode() & 0o7777, 0o644);
}

#[test]
fn memory_stays_small_whatever_is_open_and_however_large() {
    let tree = Tree::new();
    let mut raw = Raw::start(&tree);
    let mut open = Vec::new();
    for _ in 0..100_001 {
        let (kind, body) = raw.ask(3, &[&string("box/in.txt"), &number(1), &number(0)]);
        match kind {
            102 => open.push(body),
            _ => assert_eq!(body[..4], number(4)),
        }
    }
    assert!((900..=1000).contains(&open.len()), "{}", open.len());
    for handle in &open {
        assert_eq!(raw.ask(4, &[handle]).1[..4], [0; 4]);
    }
    let deep = format!("box/{}in.txt", "sub/../".repeat(500));
    let opened = (0..1100).filter(|_| raw.ask(3, &[&string(&deep), &number(1), &number(0)]).0 == 102).count();
    assert!((900..=1000).contains(&opened), "{opened}");
    drop(raw.ask(17, &[&string(vec![b'x'; 260_000])]));
    let peak = raw.peak();
    assert!(peak < 16_000, "{peak} kB");
    raw.end();

    let mut raw = Raw::start(&tree);
    let directories: Vec<Vec<u8>> = (0..200)
        .filter_map(|_| {
            Some(raw.ask(11, &[&string("box")])).filter(|(kind, _)| *kind == 102).map(|(_, body)| body)
        })
        .collect();
    assert_eq!(directories.len(), 128);
    for handle in &directories {
        assert_eq!(raw.ask(12, &[handle]).0, 104);
    }
    let file = raw.ask(3, &[&string("box/big"), &number(0x1b), &number(0)]).1;
    let data = vec![1; 255 * 1024];
    for block in 0..400_u64 {
        let at = (block * data.len() as u64).to_be_bytes();
        assert_eq!(raw.ask(6, &[&file, &at, &string(&data)]).1[..4], [0; 4]);
        assert_eq!(raw.ask(5, &[&file, &at, &number(u32::MAX)]).1.len(), 4 + data.len());
    }
    let peak = raw.peak();
    assert!(peak < 16_000, "{peak} kB");
    raw.end();
}

#[test]
fn memory_stays_small_while_a_client_sends_and_does_not_read() {
    let tree = Tree::new();
    for index in 0..20_000 {
        fs::write(tree.path("box/sub").join(format!("{index:0200}")), "").unwrap();
    }
    fs::copy(tree.path("local/big"), tree.path("box/big")).unwrap();
    let mut raw = Raw::start(&tree);
    let file = raw.ask(3, &[&string("box/big"), &number(1), &number(0)]).1;
    let dir = raw.ask(11, &[&string("box/sub")]).1;
    for _ in 0..10_000 {
        let id = &[0, 0, 0, 7][..];
        raw.send(5, &[id, &file, &[0; 8], &number(256 * 1024)].concat());
        raw.send(12, &[id, &dir].concat());
    }
    let peak = raw.peak();
    assert!(peak < 16_000, "{peak} kB");
    let (mut data, mut names) = (0, 0);
    for _ in 0..10_000 {
        data += raw.receive().len();
        let reply = raw.receive();
        names += if reply[0] == 104 { u32::from_be_bytes(reply[5..9].try_into().unwrap()) } else { 0 };
    }
    assert_eq!((data, names), (10_000 * (9 + 255 * 1024), 20_004));
    let peak = raw.peak();
    assert!(peak < 16_000, "{peak} kB");
    raw.end();
}
