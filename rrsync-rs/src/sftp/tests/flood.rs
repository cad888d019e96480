//! Clients that send too much, too slowly or in odd pieces, and numbers and names at the ends of what there is.

use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use nix::errno::Errno;

use super::super::wire::packet::*;
use super::*;

const READ_FILE: u32 = 0x01;
const READ_AND_WRITE: u32 = 0x1b;
const PUT: u32 = 0x1a;

/// The first offset that the system has no number for.
const TOP: u64 = 1 << 63;

/// What each request that is sent ahead of all replies asks for.
#[derive(Debug, Clone, Copy)]
enum Ahead {
    Read,
    Write,
    Stat,
}

#[test]
fn ten_thousand_requests_are_answered_though_no_reply_is_read_before_the_last_is_sent() {
    for ahead in [Ahead::Read, Ahead::Stat, Ahead::Write] {
        let tree = Tree::new();
        fs::write(tree.path("box/big"), vec![7; 100_000]).unwrap();
        let mut client = tree.client(Access::ReadWrite);
        // A server that does not read while it waits for this client to read would be waited for in turn.
        client.stream.set_write_timeout(Some(Duration::from_mins(1))).unwrap();
        let handle = client.open("box/big", READ_AND_WRITE & !0x10).unwrap();
        let mut sent = Vec::new();
        for number in 0..10_000_u32 {
            sent.push(match ahead {
                Ahead::Read => client.send(READ, s(&handle).q(u64::from(number)).n(30_000)),
                Ahead::Write => client.send(WRITE, s(&handle).q(u64::from(number)).s("x")),
                Ahead::Stat => client.send(STAT, s("box/big")),
            });
        }
        for id in sent {
            let reply = client.receive().expect("every request has a reply");
            assert_eq!(reply.id, id, "in the order of the requests");
            match ahead {
                Ahead::Read => assert_eq!((reply.kind, reply.body.len()), (DATA, 30_004)),
                Ahead::Write => assert_eq!((reply.kind, reply.code()), (STATUS, 0)),
                Ahead::Stat => assert_eq!(reply.kind, ATTRS),
            }
        }
        assert_eq!(client.end().result, Ok(()));
    }
}

#[test]
fn a_client_that_goes_away_with_replies_unread_ends_the_session() {
    let tree = Tree::new();
    fs::write(tree.path("box/big"), vec![7; 1_000_000]).unwrap();
    let mut client = tree.client(Access::ReadWrite);
    let handle = client.open("box/big", READ_FILE).unwrap();
    for _ in 0..100 {
        client.send(READ, s(&handle).q(0).n(260_000));
    }
    let end = client.end();
    // Which of the two learns of it first.
    let gone = [ServeError::Write(Errno::EPIPE), ServeError::Read(Errno::ECONNRESET)];
    assert!(end.result.as_ref().is_err_and(|error| gone.contains(error)), "{:?}", end.result);
    assert_eq!(end.events.len(), 1, "what was open is recorded");
}

#[test]
fn a_copy_that_nobody_waits_for_is_given_up() {
    let tree = Tree::new();
    // A hole of a terabyte: no disk is as large as the zeros in it, or as fast.
    fs::File::create(tree.path("box/huge")).unwrap().set_len(1 << 40).unwrap();
    let mut client = tree.client(Access::ReadWrite);
    let (from, to) = (client.open("box/huge", READ_FILE).unwrap(), client.open("box/copy", PUT).unwrap());
    client.send(EXTENDED, s("copy-data").s(&from).q(0).q(0).s(&to).q(0));
    let end = client.end();
    assert_eq!(end.result, Err(ServeError::Write(nix::errno::Errno::EPIPE)));
    assert!(fs::metadata(tree.path("box/copy")).unwrap().len() < 1 << 40);
    let copied = end.events.iter().find(|event| event.path == "/box/copy").unwrap();
    assert_eq!(copied.outcome, Outcome::Failed(nix::errno::Errno::EPIPE.into()));
}

#[test]
fn a_hole_is_not_read_for_its_sum() {
    let tree = Tree::new();
    let options = Options { sums: true, ..Options::default() };
    let mut client = Client::start(vec![("box", tree.workspace(Access::ReadWrite))], options);
    let handle = client.open("box/holes", PUT).unwrap();
    assert_eq!(client.write(&handle, 1 << 43, "a long way off"), 0);
    assert_eq!(client.close(&handle), 0);
    // Whatever has no hole has a sum, in whichever order it was written.
    let handle = client.open("box/pieces", PUT).unwrap();
    assert_eq!((client.write(&handle, 5, "world"), client.write(&handle, 0, "hello")), (0, 0));
    assert_eq!(client.close(&handle), 0);
    let sums: Vec<_> = client.end().events.into_iter().map(|event| event.sha256).collect();
    assert_eq!(sums, [None, Some(crate::sha256::Sum::of(b"helloworld"))]);
}

#[test]
fn where_files_are_copied_none_is_made_longer_than_the_disk() {
    for atomic in [false, true] {
        let tree = Tree::new();
        let mut rules = tree.workspace(Access::ReadWrite);
        rules.files.atomic = atomic;
        let mut client = Client::start(vec![("box", rules)], Options::default());
        // Nothing is copied for a plain write, and a hole takes no space.
        let far = if atomic { 4 } else { 0 };
        let handle = client.open("box/new", PUT).unwrap();
        assert_eq!(client.write(&handle, 1 << 43, "a long way off"), far);
        assert_eq!(client.code(FSETSTAT, s(&handle).n(1).q(1 << 43)), far);
        assert_eq!(client.code(SETSTAT, s("box/in.txt").n(1).q(1 << 43)), far);
        assert_eq!(client.code(SETSTAT, s("box/sub/f").n(1).q(1 << 20)), 0, "this much there is");
        assert_eq!(client.write(&handle, 1 << 20, "not so far"), 0);
    }
}

#[test]
fn requests_may_come_byte_by_byte_and_replies_be_taken_so() {
    let tree = Tree::new();
    fs::write(tree.path("box/big"), vec![7; 1_000_000]).unwrap();
    let mut client = tree.client(Access::ReadWrite);
    let handle = client.open("box/big", READ_FILE).unwrap();
    let body = s(&handle).q(999_990).n(u32::MAX);
    let mut bytes = u32::try_from(body.0.len() + 5).unwrap().to_be_bytes().to_vec();
    bytes.extend([READ, 0, 0, 0, 77]);
    bytes.extend(&body.0);
    for byte in &bytes {
        client.raw(&[*byte]);
    }
    let mut reply = vec![0; 4 + 5 + 4 + 10];
    for byte in &mut reply {
        client.stream.read_exact(std::slice::from_mut(byte)).unwrap();
    }
    assert_eq!(reply, [[0, 0, 0, 19, DATA, 0, 0, 0, 77, 0, 0, 0, 10].as_slice(), &[7; 10]].concat());
    // Half a packet and then nothing more: the end of the input is the end of the session.
    client.raw(&bytes[..bytes.len() / 2]);
    assert_eq!(client.end().result, Err(ServeError::Truncated));
}

#[test]
fn many_packets_and_a_part_of_one_may_come_at_once() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    let handle = client.open("box/new", PUT).unwrap();
    // Lengths that put the ends of packets everywhere in the buffer.
    let mut at = 0;
    let mut sent = Vec::new();
    let lengths = [1, 261_120, 7, 100_000, 200_003, 3, 261_119, 131_072, 4_096];
    for length in lengths.iter().cycle().take(45).copied() {
        let data = vec![u8::try_from(at % 251).unwrap(); length];
        sent.push((client.send(WRITE, s(&handle).q(at).s(&data)), at, length));
        at += length as u64;
    }
    for (id, ..) in &sent {
        let reply = client.receive().unwrap();
        assert_eq!((reply.id, reply.code()), (*id, 0));
    }
    assert_eq!(client.close(&handle), 0);
    let content = fs::read(tree.path("box/new")).unwrap();
    for (_, at, length) in sent {
        let start = usize::try_from(at).unwrap();
        let byte = u8::try_from(at % 251).unwrap();
        assert!(content[start..start + length].iter().all(|found| *found == byte), "at {at}");
    }
}

#[test]
fn opening_again_is_answered_and_whichever_version_is_offered_it_is_three() {
    let tree = Tree::new();
    for offered in [0, 1, 2, 3, 4, 6, 99, u32::MAX] {
        let mut client = Client::silent(vec![("box", tree.workspace(Access::ReadWrite))], Options::default());
        for _ in 0..2 {
            let mut init = vec![0, 0, 0, 5, INIT];
            init.extend(offered.to_be_bytes());
            client.raw(&init);
            let reply = client.receive().unwrap();
            assert_eq!((reply.kind, reply.id), (VERSION, 3), "{offered}");
        }
        assert_eq!(client.realpath("."), Ok("/".into()));
        assert_eq!(client.end().result, Ok(()));
    }
}

#[test]
fn what_follows_the_fields_of_a_request_is_ignored() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    let handle = client.open("box/in.txt", READ_FILE).unwrap();
    assert_eq!(client.ask(STAT, s("box").s("garbage")).kind, ATTRS);
    assert_eq!(client.ask(READ, s(&handle).q(0).n(6).s([255; 1000])).string(0), b"inside");
    assert_eq!(client.code(CLOSE, s(&handle).q(u64::MAX)), 0);
}

#[test]
fn a_handle_of_another_session_is_none_here() {
    let tree = Tree::new();
    let (mut one, mut other) = (tree.client(Access::ReadWrite), tree.client(Access::ReadWrite));
    one.open("box/in.txt", READ_FILE).unwrap();
    let theirs = one.open("box/sub/f", READ_FILE).unwrap();
    assert_eq!(other.read(&theirs, 0, 10), Err(4));
    let mine = other.open("box/in.txt", READ_FILE).unwrap();
    assert_eq!(other.read(&theirs, 0, 10), Err(4));
    assert_eq!(other.close(&theirs), 4);
    // The names may be the same; what is behind them is always one's own.
    assert_eq!(other.read(&mine, 0, 10), Ok(b"inside".to_vec()));
    assert_eq!(one.read(&theirs, 0, 10), Ok(b"sub".to_vec()));
}

#[test]
fn offsets_and_lengths_at_the_ends_of_their_numbers_are_a_status() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    let handle = client.open("box/in.txt", READ_AND_WRITE & !0x10).unwrap();
    let other = client.open("box/other", READ_AND_WRITE).unwrap();
    for offset in [TOP - 1, TOP, TOP + 1, u64::MAX - 1, u64::MAX] {
        for length in [1, 30_000, 1 << 31, u32::MAX] {
            let code = client.read(&handle, offset, length).unwrap_err();
            assert!([1, 4, 5].contains(&code), "reading at {offset}: {code}");
        }
        assert!([4, 5].contains(&client.write(&handle, offset, "x")), "writing at {offset}");
        assert_eq!(client.write(&other, offset, ""), 0, "nothing is nowhere");
        for (from, length, to) in
            [(offset, 0, 0), (0, 0, offset), (0, u64::MAX, offset), (offset, offset, offset)]
        {
            let copied = client.code(EXTENDED, s("copy-data").s(&handle).q(from).q(length).s(&other).q(to));
            assert!([0, 4, 5].contains(&copied), "copying {length} from {from} to {to}: {copied}");
        }
        let size = client.code(SETSTAT, s("box/other").n(1).q(offset));
        assert!([4, 5].contains(&size), "a size of {offset}: {size}");
    }
    assert_eq!(client.read(&handle, 0, u32::MAX), Ok(b"inside".to_vec()));
    assert_eq!(fs::read(tree.path("box/in.txt")).unwrap(), b"inside");
    assert_eq!(fs::metadata(tree.path("box/other")).unwrap().len(), 0);
}

#[test]
fn a_file_beyond_four_gigabytes_is_written_and_read_where_the_client_says() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    let handle = client.open("box/sparse", READ_AND_WRITE).unwrap();
    let far = (5 << 32) + 3;
    assert_eq!(client.write(&handle, far, "far out"), 0);
    assert_eq!(client.read(&handle, far, 100), Ok(b"far out".to_vec()));
    assert_eq!(client.read(&handle, far - 4, 6), Ok(b"\0\0\0\0fa".to_vec()));
    assert_eq!(client.read(&handle, far + 7, 1), Err(1));
    assert!(fs::metadata(tree.path("box/sparse")).unwrap().blocks() < 1000, "it has a hole");
}

#[test]
fn writes_that_overlap_leave_what_came_last() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    let one = client.open("box/new", PUT).unwrap();
    let two = client.open("box/new", 0x02).unwrap();
    let mut expected = vec![0; 4990];
    let mut sent = Vec::new();
    for number in 0..1000_usize {
        let (start, byte) = (number * 70 % 4000, u8::try_from(number % 256).unwrap());
        let handle = if number.is_multiple_of(2) { &one } else { &two };
        sent.push(client.send(WRITE, s(handle).q(start as u64).s(vec![byte; 1000])));
        expected[start..start + 1000].fill(byte);
    }
    for id in sent {
        let reply = client.receive().unwrap();
        assert_eq!((reply.id, reply.code()), (id, 0));
    }
    assert!(fs::read(tree.path("box/new")).unwrap() == expected);
}

#[test]
fn names_may_have_any_bytes_but_two() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    for byte in 1..=255_u8 {
        let name = [b'n', byte, b'n'];
        let path = [b"box/".as_slice(), &name].concat();
        if byte == b'/' {
            continue;
        }
        let reply = client.ask(OPEN, s(&path).n(PUT).n(0));
        assert_eq!(reply.kind, HANDLE, "{byte}");
        assert_eq!(client.close(&reply.string(0)), 0);
        assert!(tree.path("box").join(std::ffi::OsStr::from_bytes(&name)).exists(), "{byte}");
        assert_eq!(client.ask(REALPATH, s(&path)).string(4), [b"/", path.as_slice()].concat());
        assert_eq!(client.code(REMOVE, s(&path)), 0, "{byte}");
    }
    for path in [b"box/nul\0".as_slice(), b"\0", b"box\0/in.txt"] {
        assert_eq!(client.code(STAT, s(path)), 5);
        assert_eq!(client.code(OPEN, s(path).n(PUT).n(0)), 5);
    }
    // 255 bytes are the longest name, 4095 the longest path.
    for (length, code) in [(255, 0), (256, 5), (65_536, 5), (200_000, 5)] {
        assert_eq!(client.code(MKDIR, s(format!("box/{}", "l".repeat(length))).n(0)), code, "{length}");
    }
    let longest = format!("box/{}", "sub/../".repeat(584));
    assert_eq!((longest.len(), client.ask(STAT, s(&longest)).kind), (4092, ATTRS));
    assert_eq!(client.code(STAT, s(format!("{longest}long"))), 5);
}

#[test]
fn a_path_may_be_as_deep_as_it_can_be_long() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    let mut path = "box".to_owned();
    while path.len() + 2 < 4096 {
        path.push_str("/d");
        assert_eq!(client.code(MKDIR, s(&path).n(0)), 0, "{}", path.len());
    }
    assert_eq!(client.realpath(&path), Ok(format!("/{path}")));
    assert_eq!(client.names(&path).unwrap(), [".", ".."]);
    assert_eq!(client.code(MKDIR, s(format!("{path}/dd")).n(0)), 5);
    assert_eq!(client.code(RENAME, s("box/d").s("box/e")), 0);
    // Removing it again is only possible from the inside out.
    while path.len() > 4 {
        assert_eq!(client.code(RMDIR, s(path.replacen("box/d", "box/e", 1))), 0, "{}", path.len());
        path.truncate(path.len() - 2);
    }
}
