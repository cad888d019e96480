//! A whole small file in one request, and states to the nanosecond.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::time::{Duration, UNIX_EPOCH};

use super::super::wire::packet::*;
use super::*;

/// Clock, content if there is any, and state.
fn fields(reply: &Reply, content: bool) -> (u64, Vec<u8>, Vec<u64>, u32) {
    assert_eq!(reply.kind, EXTENDED_REPLY, "{reply:?}");
    let number = |at: usize| u64::from_be_bytes(reply.body[at..at + 8].try_into().unwrap());
    let bytes = if content { reply.string(8) } else { Vec::new() };
    let at = if content { 12 + bytes.len() } else { 8 };
    let state = (0..6).map(|index| number(at + 4 + 8 * index)).collect();
    assert_eq!(reply.body.len(), at + 52);
    (number(0), bytes, state, reply.number(at))
}

fn fetch(client: &mut Client, path: &str, limit: u32) -> Reply {
    client.ask(EXTENDED, s("fetch@akeys").s(path).n(limit))
}

fn seen(path: &Path) -> Vec<u64> {
    let m = fs::symlink_metadata(path).unwrap();
    let moment = |seconds: i64, rest: i64| (seconds * 1_000_000_000 + rest).cast_unsigned();
    vec![
        m.nlink(),
        m.size(),
        moment(m.mtime(), m.mtime_nsec()),
        moment(m.ctime(), m.ctime_nsec()),
        m.dev(),
        m.ino(),
    ]
}

#[test]
fn a_small_file_comes_with_its_state_in_one_request() {
    let tree = Tree::new();
    let file = File::options().write(true).open(tree.path("box/in.txt")).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789)).unwrap();
    let mut client = tree.client(Access::ReadOnly);
    for (limit, content) in [(100, "inside"), (6, "inside"), (3, "ins"), (0, "")] {
        let (clock, bytes, state, mode) = fields(&fetch(&mut client, "box/in.txt", limit), true);
        assert_eq!((bytes.as_slice(), state), (content.as_bytes(), seen(&tree.path("box/in.txt"))));
        assert_eq!(mode, fs::metadata(tree.path("box/in.txt")).unwrap().mode());
        let now = UNIX_EPOCH.elapsed().unwrap().as_nanos();
        assert!(now.abs_diff(clock.into()) < 60_000_000_000, "{clock}");
    }
    let handle = client.open("box/in.txt", 0x01).unwrap();
    let reply = client.ask(EXTENDED, s("state@akeys").s(&handle));
    assert_eq!(fields(&reply, false).2, seen(&tree.path("box/in.txt")));
    let end = client.end();
    let read = |bytes| {
        let path = "/box/in.txt".into();
        Event { deed: Deed::Read, path, bytes, sha256: None, outcome: Outcome::Done }
    };
    // With a limit of 0 nothing was read.
    assert_eq!(end.events[..3], [read(6), read(6), read(3)]);
    assert_eq!(end.events.len(), 4, "and the open handle");
    assert_eq!(end.summary.bytes_read, 15);
}

#[test]
fn whatever_else_is_there_is_said_and_not_followed() {
    let tree = Tree::new();
    symlink("in.txt", tree.path("box/link")).unwrap();
    symlink("../outside/secret", tree.path("box/escape")).unwrap();
    nix::unistd::mkfifo(&tree.path("box/fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let mut client = tree.client(Access::ReadOnly);
    for (path, content) in [("link", "in.txt"), ("escape", "../outside/secret"), ("sub", ""), ("fifo", "")] {
        let (_, bytes, state, mode) = fields(&fetch(&mut client, &format!("box/{path}"), 100), true);
        let at = tree.path(&format!("box/{path}"));
        assert_eq!((bytes.as_slice(), state), (content.as_bytes(), seen(&at)));
        assert_eq!(mode, fs::symlink_metadata(at).unwrap().mode());
    }
    for (path, code) in [("box/no", 2), ("/", 3), ("no/x", 2), ("box/in.txt/x", 2), ("box/escape/x", 3)] {
        assert_eq!(fetch(&mut client, path, 1).code(), code, "{path}");
    }
    assert_eq!(client.code(EXTENDED, s("state@akeys").s("nothing")), 4);
    assert_eq!(client.code(EXTENDED, s("fetch@akeys").s("box/in.txt")), 5, "without a limit");
    assert_eq!(client.code(EXTENDED, s("fetch@akeys")), 5);
}

#[test]
fn who_may_only_write_learns_nothing_by_it() {
    let tree = Tree::new();
    symlink("in.txt", tree.path("box/link")).unwrap();
    let mut client = tree.client(Access::WriteOnly);
    for path in ["box/in.txt", "box/link", "box/sub", "box"] {
        assert_eq!(fetch(&mut client, path, 100).code(), 3, "{path}");
    }
    let handle = client.open("box/in.txt", 0x02).unwrap();
    assert_eq!(client.code(EXTENDED, s("state@akeys").s(&handle)), 3);
}
