//! Every request aimed out of the workspace, under every access: nothing outside is changed, opened or told.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::super::wire::packet::*;
use super::*;
use crate::beneath::Root;
use crate::grant::FileRules;
use crate::rename::{RenameFlags, renameat2};

const READ_FILE: u32 = 0x01;
const WRITE_FILE: u32 = 0x02;
const PUT: u32 = 0x1a;

/// Paths that lead to the secret, beside it, or to a directory around it.
fn targets(tree: &Tree) -> Vec<String> {
    let outside = tree.path("outside");
    let outside = outside.to_str().unwrap();
    let mut paths = vec![
        format!("{outside}/secret"),
        format!("{outside}/new"),
        outside.to_owned(),
        format!("box/root{outside}/secret"),
        format!("box/root{outside}/new"),
    ];
    for path in [
        "/etc/passwd",
        "/proc/self/environ",
        "../outside/secret",
        "box/../../outside/secret",
        "box/sub/../../../outside/secret",
        "box/lsec",
        "box/asec",
        "box/ldir",
        "box/ldir/secret",
        "box/ldir/new",
        "box/ldir/dir/v",
        "box/ldir/../outside/secret",
        "box/dang",
        "box/proc/environ",
        "box/proc/root/etc/passwd",
        "box/proc/cwd/Cargo.toml",
        "box/proc/fd/0",
        "box/root/etc/passwd",
        "box/fifo",
        "~root",
        "~/../outside/secret",
    ] {
        paths.push(path.to_owned());
    }
    paths
}

/// Requests on one path; the second name of those that need one is inside.
fn requests(path: &str) -> Vec<(u8, Body)> {
    let ext = |name: &str| s(name);
    vec![
        (OPEN, s(path).n(READ_FILE).n(0)),
        (OPEN, s(path).n(WRITE_FILE).n(0)),
        (OPEN, s(path).n(READ_FILE | WRITE_FILE).n(0)),
        (OPEN, s(path).n(PUT).n(4).n(0o777)),
        (OPEN, s(path).n(WRITE_FILE | 0x08).n(0)),
        (OPEN, s(path).n(WRITE_FILE | 0x28).n(0)),
        (OPEN, s(path).n(READ_FILE | 0x10).n(0)),
        (OPENDIR, s(path)),
        (STAT, s(path)),
        (LSTAT, s(path)),
        (LSTAT, s(format!("{path}/"))),
        (READLINK, s(path)),
        (REALPATH, s(path)),
        (SETSTAT, s(path).n(1).q(0)),
        (SETSTAT, s(path).n(4).n(0o666)),
        (SETSTAT, s(path).n(8).n(1).n(1)),
        (SETSTAT, s(path).n(2).n(0).n(0)),
        (MKDIR, s(path).n(0)),
        (RMDIR, s(path)),
        (RENAME, s(path).s("box/got")),
        (RENAME, s("box/in.txt").s(path)),
        (EXTENDED, ext("posix-rename@openssh.com").s(path).s("box/got2")),
        (EXTENDED, ext("posix-rename@openssh.com").s("box/in.txt").s(path)),
        (EXTENDED, ext("hardlink@openssh.com").s(path).s("box/got3")),
        (EXTENDED, ext("hardlink@openssh.com").s("box/in.txt").s(path)),
        (EXTENDED, ext("lsetstat@openssh.com").s(path).n(4).n(0o666)),
        (EXTENDED, ext("statvfs@openssh.com").s(path)),
        (EXTENDED, ext("expand-path@openssh.com").s(path)),
        (SYMLINK, s(path).s("box/evil")),
        (SYMLINK, s("in.txt").s(path)),
        (REMOVE, s(path)),
    ]
}

/// Every access, and every rule that changes how files are opened and replaced.
fn modes(tree: &Tree) -> Vec<(String, Workspace)> {
    let with = |access, name: &str, files: FileRules| {
        let overwrite = !files.append;
        let rules = Workspace { files, overwrite, delete: overwrite, ..tree.workspace(access) };
        (format!("{access} {name}"), rules)
    };
    let plain = FileRules::default;
    vec![
        with(Access::ReadOnly, "", plain()),
        with(Access::WriteOnly, "", plain()),
        with(Access::ReadWrite, "", plain()),
        with(Access::ReadWrite, "atomic", FileRules { atomic: true, ..plain() }),
        with(Access::ReadWrite, "versions", FileRules { versions: true, ..plain() }),
        with(Access::WriteOnly, "append", FileRules { append: true, ..plain() }),
        with(Access::Drop, "", plain()),
    ]
}

#[test]
fn no_request_reaches_outside() {
    for mode in 0..7 {
        let tree = Tree::new();
        let (mode, rules) = modes(&tree).swap_remove(mode);
        let before = tree.snapshot("outside");
        fill(&tree);
        let mut box_before = tree.snapshot("box");
        // What only opens and replaces in another way has no other way to find anything.
        let targets =
            targets(&tree).into_iter().step_by(if rules.files == FileRules::default() { 1 } else { 3 });
        for path in targets {
            let mut client = Client::start(vec![("box", rules.clone())], Options::default());
            for (index, (kind, body)) in requests(&path).into_iter().enumerate() {
                let told = told(&mut client, kind, body);
                let case = format!("{mode}: request {index} on {path}: {told}");
                for secret in ["OUTSIDE", "root:x:0:0", "PATH=", "[package]"] {
                    assert!(!told.contains(secret), "{case}");
                }
                // The client's own words may come back to it; no other host path does.
                let host = tree.path("").to_str().unwrap().to_owned();
                assert!(path.contains(&host) || !told.contains(&host), "{case}");
                // Requests that are allowed, such as removing a link itself, must not spare the rest.
                if tree.snapshot("box") != box_before {
                    fill(&tree);
                    box_before = tree.snapshot("box");
                }
            }
            assert_eq!(client.end().result, Ok(()));
        }
        assert_eq!(tree.snapshot("outside"), before, "{mode}");
    }
}

/// The same requests under every access, while somebody exchanges the directory that they are about for a symlink.
#[test]
fn no_request_reaches_outside_while_directories_are_swapped() {
    for mode in 0..7 {
        let tree = Tree::new();
        let (mode, rules) = modes(&tree).swap_remove(mode);
        let before = tree.snapshot("outside");
        let stop = Arc::new(AtomicBool::new(false));
        let swapper = {
            let (dir, stop) = (Root::open(&tree.path("box")).unwrap(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let exchange = RenameFlags::EXCHANGE;
                let mut swaps = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    // A request that is allowed may have taken one of them away.
                    swaps += u32::from(renameat2(dir.dir(), "x", dir.dir(), "y", exchange).is_ok());
                }
                swaps
            })
        };
        for round in 0..2 {
            swappable(&tree);
            let mut client = Client::start(vec![("box", rules.clone())], Options::default());
            for path in ["box/x/secret", "box/x/dir/v", "box/x/dir", "box/x/new", "box/x"] {
                for (kind, body) in requests(path) {
                    let told = told(&mut client, kind, body);
                    assert!(!told.contains("OUTSIDE"), "{mode} {round} {path} {kind}: {told}");
                }
            }
            assert_eq!(client.end().result, Ok(()));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(swapper.join().unwrap() > 0, "{mode}: nothing was swapped");
        assert_eq!(tree.snapshot("outside"), before, "{mode}");
    }
}

/// Puts a directory and a symlink to the outside where the swapper exchanges them, if they are not there any more.
fn swappable(tree: &Tree) {
    fs::create_dir_all(tree.path("box/new/dir")).unwrap();
    for at in ["box/new/secret", "box/new/dir/v"] {
        fs::write(tree.path(at), "inside").unwrap();
    }
    let root = Root::open(&tree.path("box")).unwrap();
    let flag = RenameFlags::NOREPLACE;
    for name in ["x", "y"] {
        let _ = symlink("../outside", tree.path("box").join(name));
        let _ = fs::remove_file(tree.path("box").join(name));
        if renameat2(root.dir(), "new", root.dir(), name, flag).is_ok() {
            break;
        }
    }
    for name in ["x", "y"] {
        let _ = symlink("../outside", tree.path("box").join(name));
    }
    let _ = fs::remove_dir_all(tree.path("box/new"));
}

/// Sends a request and uses whatever it gives as far as it goes; returns all that came back.
fn told(client: &mut Client, kind: u8, body: Body) -> String {
    let reply = client.ask(kind, body);
    let mut told = reply.body.clone();
    if reply.kind == HANDLE {
        let handle = reply.string(0);
        told.extend(client.read(&handle, 0, 1000).unwrap_or_default());
        client.write(&handle, 0, "EVIL");
        client.code(FSETSTAT, s(&handle).n(4).n(0o666));
        told.extend(client.ask(READDIR, s(&handle)).body);
        client.close(&handle);
    }
    for got in ["box/got", "box/got2", "box/got3", "box/evil"] {
        if client.ask(LSTAT, s(got)).kind != ATTRS {
            continue;
        }
        if let Ok(handle) = client.open(got, READ_FILE) {
            told.extend(client.read(&handle, 0, 1000).unwrap_or_default());
            client.close(&handle);
        }
        client.put(got, "EVIL");
    }
    String::from_utf8_lossy(&told).into_owned()
}

/// A new box, with symlinks of every kind out of it.
fn fill(tree: &Tree) {
    fs::remove_dir_all(tree.path("box")).unwrap();
    fs::create_dir_all(tree.path("box/sub/deep")).unwrap();
    fs::write(tree.path("box/in.txt"), "inside").unwrap();
    links(tree);
}

fn links(tree: &Tree) {
    let dir = tree.path("box");
    symlink("../outside/secret", dir.join("lsec")).unwrap();
    symlink(tree.path("outside/secret"), dir.join("asec")).unwrap();
    symlink("../outside", dir.join("ldir")).unwrap();
    symlink("../outside/new", dir.join("dang")).unwrap();
    symlink("/proc/self", dir.join("proc")).unwrap();
    symlink("/", dir.join("root")).unwrap();
    nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
}

#[test]
fn links_that_leave_are_seen_and_not_followed() {
    let tree = Tree::new();
    links(&tree);
    let mut client = tree.client(Access::ReadWrite);
    let names = client.names("box").unwrap();
    for link in ["lsec", "asec", "ldir", "dang", "proc", "root"] {
        assert!(names.contains(&link.to_owned()), "{link}");
        let path = format!("box/{link}");
        assert_eq!(client.ask(LSTAT, s(&path)).number(20) & 0o170_000, 0o120_000, "{link}");
        assert_eq!(client.code(STAT, s(&path)), 3, "{link}");
        assert_eq!(client.open(&path, READ_FILE), Err(3), "{link}");
        assert_eq!(client.open(&path, PUT), Err(3), "{link}");
        assert_eq!(client.realpath(&path), Err(3), "{link}");
    }
    assert_eq!(client.ask(READLINK, s("box/lsec")).string(4), b"../outside/secret");
    assert_eq!(client.code(READLINK, s("box/asec")), 3, "its text is a host path");
    // Whether something exists outside cannot be told apart.
    symlink(tree.path("outside/none"), tree.path("box/anone")).unwrap();
    let (exists, missing) = (client.ask(STAT, s("box/asec")), client.ask(STAT, s("box/anone")));
    assert_eq!(exists.body, missing.body);
    // The link itself can be removed.
    assert_eq!(client.code(REMOVE, s("box/asec")), 0);
    // A FIFO is neither opened nor waited for.
    assert_eq!(client.open("box/fifo", READ_FILE), Err(3));
    assert_eq!(client.open("box/fifo", PUT), Err(3));
    assert_eq!(client.code(SETSTAT, s("box/fifo").n(4).n(0o777)), 3);
}

#[test]
fn the_host_directory_above_a_workspace_is_not_in_its_listing() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    let handle = client.opendir("box").unwrap();
    let reply = client.ask(READDIR, s(&handle));
    let parent = fs::metadata(tree.path("")).unwrap();
    let modified = u32::try_from(parent.mtime()).unwrap().to_be_bytes();
    let root = client.ask(STAT, s("/")).body;
    assert!(reply.body.windows(root.len()).any(|window| window == root), "`..` is the virtual root");
    assert_ne!(root[28..32], modified);
}

/// A directory becomes a symlink to the outside between two requests that name it.
#[test]
fn a_directory_swapped_between_requests_is_not_followed() {
    let tree = Tree::new();
    fs::write(tree.path("box/sub/secret"), "inside").unwrap();
    let before = tree.snapshot("outside");
    let mut client = tree.client(Access::ReadWrite);
    let file = client.open("box/sub/secret", READ_FILE | WRITE_FILE).unwrap();
    let dir = client.opendir("box/sub").unwrap();
    fs::rename(tree.path("box/sub"), tree.path("box/old")).unwrap();
    symlink("../outside", tree.path("box/sub")).unwrap();
    assert_eq!(client.open("box/sub/secret", READ_FILE), Err(3));
    assert_eq!(client.put("box/sub/secret", "EVIL"), 3);
    assert_eq!(client.code(REMOVE, s("box/sub/secret")), 3);
    assert_eq!(client.code(SETSTAT, s("box/sub/secret").n(4).n(0o666)), 3);
    assert_eq!(client.code(RENAME, s("box/sub/secret").s("box/got")), 3);
    // Handles still mean what they were opened for.
    assert_eq!(client.read(&file, 0, 100), Ok(b"inside".to_vec()));
    assert_eq!(client.code(FSETSTAT, s(&file).n(4).n(0o600)), 0);
    assert_eq!(client.ask(READDIR, s(&dir)).kind, NAME);
    assert_eq!(tree.snapshot("outside"), before);
}

/// The same, while another thread swaps as fast as it can.
#[test]
fn a_directory_swapped_during_requests_is_not_followed() {
    let tree = Tree::new();
    fs::create_dir(tree.path("box/real")).unwrap();
    fs::write(tree.path("box/real/secret"), "inside").unwrap();
    fs::write(tree.path("box/real/v"), "inside").unwrap();
    symlink("../outside", tree.path("box/link")).unwrap();
    fs::rename(tree.path("box/real"), tree.path("box/x")).unwrap();
    let before = tree.snapshot("outside");
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (dir, stop) = (tree.path("box"), stop.clone());
        std::thread::spawn(move || {
            let dir = Root::open(&dir).unwrap();
            let mut swaps = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                let flag = RenameFlags::EXCHANGE;
                renameat2(dir.dir(), "x", dir.dir(), "link", flag).unwrap();
                swaps += 1;
            }
            swaps
        })
    };
    let mut client = tree.client(Access::ReadWrite);
    let (mut inside, mut refused) = (0, 0);
    for round in 0..3000 {
        if let Ok(handle) = client.open("box/x/secret", READ_FILE) {
            assert_eq!(client.read(&handle, 0, 100), Ok(b"inside".to_vec()));
            assert_eq!(client.close(&handle), 0);
            inside += 1;
        } else {
            refused += 1;
        }
        let body = match round % 6 {
            0 => client.code(SETSTAT, s("box/x/secret").n(4).n(0o640 + round % 8)),
            1 => client.put(&format!("box/x/new{round}"), "EVIL"),
            2 => client.code(EXTENDED, s("posix-rename@openssh.com").s("box/x/v").s("box/x/v")),
            3 => client.code(MKDIR, s(format!("box/x/d{round}")).n(0)),
            4 => client.code(REMOVE, s(format!("box/x/new{}", round - 3))),
            _ => {
                client.code(EXTENDED, s("hardlink@openssh.com").s("box/in.txt").s(format!("box/x/h{round}")))
            }
        };
        let _ = body;
    }
    stop.store(true, Ordering::Relaxed);
    let swaps = swapper.join().unwrap();
    assert_eq!(tree.snapshot("outside"), before);
    assert!(swaps > 100 && inside > 0 && refused > 0, "{swaps} swaps, {inside} inside, {refused} refused");
}
