//! A hand-made scp client: what it is answered, what is left on the disk, and what is recorded.

mod operands;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;

use super::*;
use crate::grant::{Access, FileRules, Quota, Workspace};
use crate::sftp::tests::{Tree, mount};
use crate::vfs::Options;

/// How a session ended: what came back, how it ended, and its records.
struct Told {
    said: String,
    served: Result<bool, ServeError>,
    events: Vec<String>,
}

/// Runs `scp LINE` on the box under `rules`, for a client that sends `bytes` and then hangs up.
fn run(rules: &Workspace, options: Options, line: &str, bytes: &[u8]) -> Told {
    let (mut client, server) = UnixStream::pair().unwrap();
    let command = Command::read(line.as_bytes()).unwrap();
    let rules = rules.clone();
    let thread = std::thread::spawn(move || {
        let vfs = Vfs::new(vec![mount("box", &rules)], options);
        let mut events = Vec::new();
        let served = serve(&server, &server, &vfs, &command, &mut |event| {
            let (path, to) = (Escaped(event.path), event.to.map(|to| format!(" {}", Escaped(to))));
            let outcome = match event.outcome {
                Outcome::Failed(fault) => fault.to_string(),
                outcome => format!("{outcome:?}"),
            };
            let sum = event.sha256.map(|_| " summed").unwrap_or_default();
            events.push(format!(
                "{} {path}{} {} {outcome}{sum}",
                event.deed,
                to.unwrap_or_default(),
                event.bytes
            ));
        });
        (served, events)
    });
    let mut writer = client.try_clone().unwrap();
    let bytes = bytes.to_vec();
    // Both directions at once: whoever only writes would wait for ever.
    let sender = std::thread::spawn(move || {
        let _ = writer.write_all(&bytes);
        let _ = writer.shutdown(std::net::Shutdown::Write);
    });
    let mut said = Vec::new();
    let _ = client.read_to_end(&mut said);
    sender.join().unwrap();
    let (served, events) = thread.join().expect("the server must not panic");
    Told { said: String::from_utf8_lossy(&said).into_owned(), served, events }
}

fn rw(tree: &Tree, line: &str, bytes: &[u8]) -> Told {
    run(&tree.workspace(Access::ReadWrite), Options::default(), line, bytes)
}

fn text(tree: &Tree, path: &str) -> String {
    fs::read_to_string(tree.path(path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

#[test]
fn a_sink_writes_what_a_client_sends() {
    let tree = Tree::new();
    let told = rw(&tree, "-t box", b"C0640 3 new\nabc\0C0644 0 empty\n\0");
    assert_eq!((told.said.as_str(), told.served), ("\0\0\0\0\0", Ok(true)));
    assert_eq!((text(&tree, "box/new"), text(&tree, "box/empty")), ("abc".into(), String::new()));
    let mode = |path: &str| fs::metadata(tree.path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("box/new"), 0o640);
    assert_eq!(told.events, ["write /box/new 3 Done", "write /box/empty 0 Done"]);
    // The name of the target counts where that is no directory.
    let told = rw(&tree, "-t box/named", b"C0644 1 other\nx\0");
    assert_eq!((told.served, text(&tree, "box/named")), (Ok(true), "x".into()));
    // A tree, with times and modes.
    let stream = b"T7 0 8 0\nD0700 0 d\nT5 0 6 0\nC0444 1 f\nx\0D0755 0 e\nE\nE\n";
    let told = rw(&tree, "-rp -t box", stream);
    assert_eq!(told.served, Ok(true), "{}", told.said);
    assert_eq!((text(&tree, "box/d/f"), mode("box/d"), mode("box/d/f")), ("x".into(), 0o700, 0o444));
    let modified =
        |path: &str| std::os::unix::fs::MetadataExt::mtime(&fs::metadata(tree.path(path)).unwrap());
    assert_eq!((modified("box/d"), modified("box/d/f")), (7, 5));
    assert_eq!(told.events, ["mkdir /box/d 0 Done", "write /box/d/f 1 Done", "mkdir /box/d/e 0 Done"]);
}

#[test]
fn a_mode_is_taken_over_where_it_is_asked_for_or_a_directory_is_made() {
    let tree = Tree::new();
    let mode = |path: &str| fs::metadata(tree.path(path)).unwrap().permissions().mode() & 0o7777;
    let plain = |path: &str, bits| {
        fs::set_permissions(tree.path(path), fs::Permissions::from_mode(bits)).unwrap();
    };
    for (flags, mode_of_file, mode_of_dir) in [("-r", 0o640, 0o750), ("-rp", 0o606, 0o707)] {
        plain("box/in.txt", 0o640);
        plain("box/sub", 0o750);
        let stream = b"C0606 1 in.txt\nx\0D0707 0 sub\nE\n";
        assert_eq!(rw(&tree, &format!("{flags} -t box"), stream).served, Ok(true));
        assert_eq!((mode("box/in.txt"), mode("box/sub")), (mode_of_file, mode_of_dir), "{flags}");
    }
    // A directory that its owner cannot fill is given its mode at the end; one that is there keeps its own.
    let stream = b"D0577 0 closed\nC0644 1 f\nx\0E\nD0555 0 sub\nE\nD0777 0 new\nE\n";
    plain("box/sub", 0o750);
    assert_eq!(rw(&tree, "-r -t box", stream).served, Ok(true));
    assert_eq!((mode("box/closed"), mode("box/sub")), (0o577, 0o750));
    fs::create_dir(tree.path("box/by-umask")).unwrap();
    assert_eq!(mode("box/new"), mode("box/by-umask"));
}

#[test]
fn content_ends_where_it_was_said_to_however_it_arrives() {
    let tree = Tree::new();
    let large = vec![b'x'; 3 << 16];
    let head = format!("C0644 {} large\n", large.len());
    let stream = [head.as_bytes(), &large, b"\0C0644 2 next\nab\0"].concat();
    let told = rw(&tree, "-t box", &stream);
    assert_eq!((told.said.as_str(), told.served), ("\0\0\0\0\0", Ok(true)));
    assert_eq!(
        (fs::read(tree.path("box/large")).unwrap() == large, text(&tree, "box/next")),
        (true, "ab".into())
    );
    let told = rw(&tree, "-f box/large box/next", &[0; 5]);
    let sent =
        [format!("C0644 {} large\n", large.len()).as_bytes(), &large, b"\0C0644 2 next\nab\0"].concat();
    assert!(told.said.as_bytes() == sent && told.served == Ok(true), "{} bytes", told.said.len());
}

#[test]
fn a_file_that_changes_on_its_way_is_as_long_as_was_promised() {
    for (then, said) in
        [(400_000, "\0"), (70_000, "\x01scp: box/f: I/O error\n"), (0, "\x01scp: box/f: I/O error\n")]
    {
        let tree = Tree::new();
        let file = fs::File::create(tree.path("box/f")).unwrap();
        file.set_len(100_000).unwrap();
        let rules = tree.workspace(Access::ReadWrite);
        let (mut client, server) = UnixStream::pair().unwrap();
        let served = std::thread::spawn(move || {
            let vfs = Vfs::new(vec![mount("box", &rules)], Options::default());
            serve(&server, &server, &vfs, &Command::read(b"-f box/f").unwrap(), &mut |_| ())
        });
        client.write_all(b"\0").unwrap();
        let mut line = [0; 15];
        client.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"C0644 100000 f\n", "{then}");
        file.set_len(then).unwrap();
        client.write_all(b"\0\0").unwrap();
        let mut content = Vec::new();
        client.read_to_end(&mut content).unwrap();
        assert_eq!(String::from_utf8_lossy(content.split_off(100_000).as_slice()), said, "{then}");
        assert_eq!(served.join().unwrap(), Ok(then > 100_000));
    }
}

#[test]
fn a_line_is_no_longer_than_any_client_s() {
    let tree = Tree::new();
    let line = |length: usize| [b"C0644 1 ", "x".repeat(length - "0644 1 ".len()).as_bytes(), b"\n"].concat();
    let told = rw(&tree, "-t box", &line(8192));
    assert!(told.said.ends_with(": File name too long\n") && told.served == Ok(false), "{}", told.said);
    assert!(matches!(rw(&tree, "-t box", &line(8193)).served, Err(ServeError::Protocol(_))));
}

#[test]
fn only_what_has_arrived_as_a_whole_is_summed() {
    let tree = Tree::new();
    let options = Options { sums: true, ..Options::default() };
    let rules = tree.workspace(Access::ReadWrite);
    let told = run(&rules, options, "-t box", b"C0644 1 f\nx\0C0644 1 f\nx\x01read error\n");
    assert_eq!(told.events, ["write /box/f 1 Done summed", "write /box/f 1 Unfinished"]);
    let told = run(&rules, options, "-f box/f", &[0; 3]);
    assert_eq!(told.events, ["read /box/f 1 Done summed"]);
}

#[test]
fn a_sink_says_what_does_not_happen_and_goes_on() {
    let tree = Tree::new();
    symlink("../outside/secret", tree.path("box/lsec")).unwrap();
    symlink("../outside/none", tree.path("box/dang")).unwrap();
    symlink("../outside", tree.path("box/ldir")).unwrap();
    let outside = tree.snapshot("outside");
    let told = rw(
        &tree,
        "-r -t box",
        b"C0644 4 lsec\nC0644 4 dang\nC0644 4 sub\nD0755 0 in.txt\nD0755 0 ldir\nC0644 1 last\nx\0",
    );
    assert_eq!(told.served, Ok(false));
    assert_eq!(
        told.said,
        "\0\x01scp: /box/lsec: leads out of the workspace\n\x01scp: /box/dang: leads out of the workspace\n\
         \x01scp: /box/sub: Is a directory\n\x01scp: /box/in.txt: File exists\n\x01scp: /box/ldir: File exists\n\0\0"
    );
    assert_eq!((tree.snapshot("outside"), text(&tree, "box/last")), (outside, "x".into()));
    for (line, said) in [
        ("-t none/x", "\0\x01scp: /none/x: No such file or directory\n"),
        ("-t /", "\0\x01scp: /f: the list of workspaces is fixed\n"),
        ("-t ../outside/x", "\0\x01scp: /outside/x: No such file or directory\n"),
        ("-t ~/../outside/x", "\0\x01scp: /outside/x: No such file or directory\n"),
        ("-d -t box/in.txt", "\x01scp: the target is not a directory\n"),
        ("-t box/{a,b}", "\x01scp: ambiguous target\n"),
        ("-t box/*", "\x01scp: ambiguous target\n"),
    ] {
        let told = rw(&tree, line, b"C0644 1 f\n");
        assert_eq!((told.said.as_str(), told.served), (said, Ok(false)), "{line}");
    }
    let told = rw(&tree, "-t box", b"\x01scp: gone: No such file or directory\nC0644 1 after\nx\0");
    assert_eq!((told.said.as_str(), told.served), ("\0\0\0", Ok(false)), "the client's own trouble");
    assert_eq!(text(&tree, "box/after"), "x");
    assert_eq!(rw(&tree, "-t box/i*.txt", b"C0644 1 f\nx\0").served, Ok(true), "as a shell would");
    assert_eq!(text(&tree, "box/in.txt"), "x");
}

#[test]
fn what_is_no_protocol_ends_the_session() {
    let tree = Tree::new();
    let outside = tree.snapshot("outside");
    let inside = tree.snapshot("box");
    let long = [b"C0644 1 ".as_slice(), &vec![b'x'; 20_000]].concat();
    let deep = b"D0755 0 d\n".repeat(70);
    for stream in [
        &b"C0644 1 ..\nx\0"[..],
        b"C0644 1 ../evil\nx\0",
        b"C0644 1 .\nx\0",
        b"C0644 1 \nx\0",
        b"C0644 1 a/b\nx\0",
        b"D0755 0 ..\n",
        b"D0755 0 /etc\n",
        b"C4755 3 a\0b\nsuid",
        b"C0644 18446744073709551616 f\n",
        b"Cxxxx 1 f\n",
        b"T1 0\n",
        b"E\n",
        b"hello\n",
        b"\0\n",
        &long,
    ] {
        let told = rw(&tree, "-r -t box", stream);
        assert!(
            matches!(told.served, Err(ServeError::Protocol(_))),
            "{stream:?}: {:?} {}",
            told.served,
            told.said
        );
        assert!(
            told.said.starts_with("\0\x02scp: protocol error: ") && told.said.ends_with('\n'),
            "{}",
            told.said
        );
    }
    assert!(matches!(rw(&tree, "-t box", b"D0755 0 d\n").served, Err(ServeError::Protocol(_))), "no -r");
    assert_eq!((tree.snapshot("outside"), tree.snapshot("box")), (outside, inside));
    assert!(matches!(rw(&tree, "-r -t box", &deep).served, Err(ServeError::Protocol(_))));
}

#[test]
fn a_client_that_stops_in_the_middle_leaves_no_more_than_it_sent() {
    for atomic in [false, true] {
        let tree = Tree::new();
        let files = FileRules { atomic, ..FileRules::default() };
        let rules = Workspace { files, ..tree.workspace(Access::ReadWrite) };
        for (stream, ended, event) in [
            (&b"C0644 10 f\nhalf"[..], ServeError::HungUp, Some("write /box/f 4 Unfinished")),
            (b"C0644 4 f\nhalf", ServeError::HungUp, Some("write /box/f 4 Unfinished")),
            (b"C0644", ServeError::HungUp, None),
            (b"D0755 0 sub\n", ServeError::HungUp, None),
            (b"\x02gone\n", ServeError::GivenUp, None),
            (b"C0644 2 f\nab\x02gone\n", ServeError::GivenUp, Some("write /box/f 2 Unfinished")),
        ] {
            let told = run(&rules, Options::default(), "-r -t box", stream);
            assert_eq!(told.served, Err(ended), "{stream:?}");
            assert_eq!(told.events.first().map(String::as_str), event, "{stream:?}");
            assert_eq!(tree.path("box/f").exists(), event.is_some() && !atomic, "{stream:?}");
            let _ = fs::remove_file(tree.path("box/f"));
        }
        // The client could not read all of it: that is no success, and takes nobody's place.
        let told = run(&rules, Options::default(), "-t box", b"C0644 3 in.txt\nabc\x01scp: read error\n");
        assert_eq!(
            (told.served, told.events),
            (Ok(false), vec!["write /box/in.txt 3 Unfinished".to_owned()])
        );
        assert_eq!(text(&tree, "box/in.txt"), if atomic { "inside" } else { "abc" });
    }
}

#[test]
fn content_that_does_not_fit_is_refused_before_it_travels() {
    let tree = Tree::new();
    let quota = Quota { bytes: Some(1000), files: None };
    let rules =
        Workspace { files: FileRules { quota, ..FileRules::default() }, ..tree.workspace(Access::ReadWrite) };
    let told = run(&rules, Options::default(), "-t box", b"C0644 992 big\nC0644 2 small\nab\0");
    assert_eq!(told.said, "\0\x01scp: /box/big: Quota exceeded\n\0\0");
    let options = Options { largest_file: Some(2), ..Options::default() };
    let told =
        run(&tree.workspace(Access::ReadWrite), options, "-t box", b"C0644 3 in.txt\nC0644 2 small\nab\0");
    assert!(told.said.contains("larger than this key may make it"), "{}", told.said);
    assert_eq!(text(&tree, "box/in.txt"), "inside");
}

#[test]
fn what_scp_overwrites_is_kept() {
    let tree = Tree::new();
    let files = FileRules { versions: true, ..FileRules::default() };
    let rules = Workspace { files, ..tree.workspace(Access::ReadWrite) };
    let told =
        run(&rules, Options::default(), "-r -t box", b"C0644 3 in.txt\nnew\0D0755 0 sub\nC0644 1 f\nx\0E\n");
    assert_eq!((told.served, text(&tree, "box/in.txt")), (Ok(true), "new".into()), "{}", told.said);
    // A client that breaks off has changed nothing.
    run(&rules, Options::default(), "-t box", b"C0644 5 in.txt\nEV");
    assert_eq!(text(&tree, "box/in.txt"), "new");
    let layout = crate::layout::Layout::new(tree.path("home")).unwrap();
    let store = crate::versions::Store::open(&layout, &tree.path("box")).unwrap();
    let versions = store.list(None).unwrap().versions;
    let kept: Vec<_> = versions.iter().map(|version| version.path.to_str().unwrap()).collect();
    assert_eq!(kept, ["in.txt", "sub/f"]);
    store.content(crate::sha256::Sum::of(b"inside")).unwrap();
}

#[test]
fn clients_get_no_setuid_bits_by_scp_either() {
    let tree = Tree::new();
    let told = rw(&tree, "-rp -t box", b"C4755 1 suid\nx\0D6777 0 d\nE\n");
    assert_eq!(told.served, Ok(true));
    let mode = |path: &str| fs::metadata(tree.path(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("box/suid"), mode("box/d")), (0o755, 0o777));
}

#[test]
fn a_source_sends_what_it_is_asked_for() {
    let tree = Tree::new();
    fs::set_permissions(tree.path("box/in.txt"), fs::Permissions::from_mode(0o640)).unwrap();
    let told = rw(&tree, "-f box/in.txt", b"\0\0\0");
    assert_eq!((told.said.as_str(), told.served), ("C0640 6 in.txt\ninside\0", Ok(true)));
    assert_eq!(told.events, ["read /box/in.txt 6 Done"]);
    let file = fs::File::open(tree.path("box/in.txt")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(7)).unwrap();
    let told = rw(&tree, "-p -f box/in.txt", b"\0\0\0\0");
    assert!(told.said.starts_with("T7 0 ") && told.said.contains("\nC0640 6 in.txt\n"), "{}", told.said);
    let told = rw(&tree, "-r -f box/sub", &[0; 20]);
    let permissions = |path: &str| fs::metadata(tree.path(path)).unwrap().permissions().mode() & 0o777;
    let dir = format!("D{:04o} 0 sub\n", permissions("box/sub"));
    assert_eq!(told.served, Ok(true), "{}", told.said);
    assert!(
        told.said.starts_with(&dir) && told.said.ends_with("E\n") && told.said.contains("C0644 3 f\nsub\0"),
        "{}",
        told.said
    );
    for (line, said) in [
        ("-f box/*.txt 'box/sub/f'", "C0640 6 in.txt\ninside\0C0644 3 f\nsub\0"),
        ("-f ~/box/in.txt", "C0640 6 in.txt\ninside\0"),
        (
            "-f box/{in,none}.txt",
            "C0640 6 in.txt\ninside\0\x01scp: box/none.txt: No such file or directory\n",
        ),
        ("-f 'box/*.txt'", "\x01scp: box/*.txt: No such file or directory\n"),
        ("-f box/none*", "\x01scp: box/none*: No such file or directory\n"),
        ("-f box/sub", "\x01scp: box/sub: not a regular file\n"),
        ("-f .", "\x01scp: .: not a regular file\n"),
        ("-r -f .", "\x01scp: .: name a workspace\n"),
        ("-f ../outside/secret", "\x01scp: ../outside/secret: No such file or directory\n"),
        ("-f /etc/passwd", "\x01scp: /etc/passwd: No such file or directory\n"),
        ("-f ~root/.bashrc", "\x01scp: ~root/.bashrc: No such file or directory\n"),
        ("-f //etc/passwd", "\x01scp: //etc/passwd: No such file or directory\n"),
    ] {
        let told = rw(&tree, line, &[0; 10]);
        assert_eq!(told.said, said, "{line}");
        assert_eq!(told.served, Ok(!said.contains('\x01')), "{line}");
    }
}

#[test]
fn a_source_follows_links_inside_and_no_others() {
    let tree = Tree::new();
    symlink("../in.txt", tree.path("box/sub/inner")).unwrap();
    symlink("../../outside/secret", tree.path("box/sub/outer")).unwrap();
    symlink("../../outside", tree.path("box/sub/odir")).unwrap();
    symlink("..", tree.path("box/sub/loop")).unwrap();
    symlink("gone", tree.path("box/sub/dangling")).unwrap();
    nix::unistd::mkfifo(&tree.path("box/sub/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(tree.path("box/sub/a\nb"), "").unwrap();
    let told = rw(&tree, "-r -f box/sub", &[0; 100]);
    assert_eq!(told.served, Ok(false));
    assert!(told.said.contains("6 inner\ninside"), "{}", told.said);
    assert!(!told.said.contains("OUTSIDE"), "{}", told.said);
    for complaint in [
        "/box/sub/outer: leads out of the workspace",
        "/box/sub/odir: leads out of the workspace",
        "/box/sub/dangling: No such file or directory",
        "/box/sub/fifo: not a regular file or directory",
        "/box/sub/a\\nb: the name has a line break",
        "lead back to themselves",
    ] {
        assert!(told.said.contains(complaint), "{complaint}: {}", told.said);
    }
}

#[test]
fn a_source_keeps_its_promises() {
    let tree = Tree::new();
    // The client wants no more after the first line, and nothing at all of the second.
    let told = rw(&tree, "-f box/in.txt box/sub/f", b"\0\x01not here\n\0\0");
    assert_eq!((told.said.as_str(), told.served), ("C0644 6 in.txt\nC0644 3 f\nsub\0", Ok(false)));
    assert_eq!(rw(&tree, "-f box/in.txt", b"\0\x02enough\n").served, Err(ServeError::GivenUp));
    assert_eq!(rw(&tree, "-f box/in.txt", b"").served, Err(ServeError::HungUp));
    let told = rw(&tree, "-f box/in.txt", b"\0");
    assert_eq!(told.served, Err(ServeError::HungUp));
    let told = rw(&tree, "-f box/in.txt", b"\0\0");
    assert_eq!(
        (told.served, told.events),
        (Err(ServeError::HungUp), vec!["read /box/in.txt 6 Done".to_owned()])
    );
    // A short request has a bounded answer.
    for many in ["{a,b}".repeat(20), format!("box/{}", "{a,b,c,d}".repeat(10))] {
        let told = rw(&tree, &format!("-f {many}"), &[0; 10]);
        assert_eq!((told.said.as_str(), told.served), ("\x02scp: the patterns match too much\n", Ok(false)));
    }
}

#[test]
fn accesses_hold_for_scp() {
    let tree = Tree::new();
    let put = b"C0644 1 in.txt\nC0644 1 new\nx\0";
    let refusals = |access, line: &str, stream: &[u8]| {
        run(&tree.workspace(access), Options::default(), line, stream).said
    };
    assert_eq!(
        refusals(Access::ReadOnly, "-t box", b"C0644 1 in.txt\nC0644 1 new\nD0755 0 d\n"),
        "\0\x01scp: /box/in.txt: this key may only read here\n\x01scp: /box/new: this key may only read here\n\x02scp: protocol error: a directory without -r\n"
    );
    for line in ["-f box/in.txt", "-f box/*", "-r -f box"] {
        let said = refusals(Access::WriteOnly, line, &[0; 10]);
        assert!(said.starts_with("\x01scp: ") && !said.contains("inside"), "{line}: {said}");
    }
    assert!(refusals(Access::WriteOnly, "-f box/*", &[0; 10]).contains("box/*: "), "no names");
    let rules = Workspace { overwrite: false, ..tree.workspace(Access::ReadWrite) };
    let told = run(&rules, Options::default(), "-t box", put);
    assert_eq!(told.said, "\0\x01scp: /box/in.txt: this key may not change what is already here\n\0\0");
    assert_eq!(text(&tree, "box/in.txt"), "inside");
}

#[test]
fn a_tree_is_dropped_as_a_whole() {
    let tree = Tree::new();
    let rules = tree.workspace(Access::Drop);
    let stream = b"D0755 0 batch\nC0644 1 f\nx\0D0755 0 d\nC0600 1 g\ny\0E\nE\nC0644 1 single\nz\0";
    let told = run(&rules, Options::default(), "-rp -t box", stream);
    assert_eq!(told.served, Ok(true), "{}", told.said);
    assert_eq!((text(&tree, "box/batch/d/g"), text(&tree, "box/single")), ("y".into(), "z".into()));
    assert!(told.events.contains(&"rename /box/.batch /box/batch 0 Done".to_owned()), "{:?}", told.events);
    // One that is not complete does not appear, and the next session of the key may finish it.
    let told = run(&rules, Options::default(), "-r -t box", b"D0755 0 late\nC0644 1 f\nx\0");
    assert_eq!(told.served, Err(ServeError::HungUp));
    assert!(!tree.path("box/late").exists());
    let told = run(&rules, Options::default(), "-r -t box", b"D0755 0 late\nC0644 1 g\ny\0E\n");
    assert_eq!(told.served, Ok(true), "{}", told.said);
    assert_eq!(text(&tree, "box/late/f") + &text(&tree, "box/late/g"), "xy");
    assert_eq!(fs::metadata(tree.path("box/late")).unwrap().permissions().mode() & 0o777, 0o755);
    let told = run(&rules, Options::default(), "-r -t box", b"D0755 0 part\nC0644 1 f\nx\x01read error\nE\n");
    assert_eq!(told.served, Ok(false));
    assert!(told.said.contains("/box/part: not delivered, because something is missing"), "{}", told.said);
    // What is there is neither entered nor replaced.
    let told = run(&rules, Options::default(), "-r -t box", b"D0755 0 batch\nC0644 1 f\nEVIL");
    assert_ne!(told.served, Ok(true));
    assert_eq!(text(&tree, "box/batch/f"), "x");
}

#[test]
fn damaged_streams_do_no_harm() {
    let tree = Tree::new();
    let outside = tree.snapshot("outside");
    let whole = b"T7 0 8 0\nD0755 0 d\nT5 0 6 0\nC0644 4 f\nabcd\0E\nC0600 2 g\nxy\0";
    let mut seed = 1_u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize
    };
    for round in 0..400 {
        let mut stream = whole.to_vec();
        for _ in 0..=round % 4 {
            let at = random() % stream.len().max(1);
            match random() % 3 {
                0 if !stream.is_empty() => stream[at] = random().to_le_bytes()[0],
                1 if !stream.is_empty() => drop(stream.remove(at)),
                _ => stream.truncate(at.max(1)),
            }
        }
        let told = rw(&tree, "-rp -t box", &stream);
        assert!(told.said.len() < 100_000, "{stream:?}");
    }
    assert_eq!(tree.snapshot("outside"), outside);
}
