//! Clients that do not keep to the protocol: a status or a clean end, and never more memory than there should be.

use super::super::wire::packet::*;
use super::*;

#[test]
fn lengths_that_lie_are_malformed_requests() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    let handle = client.open("box/in.txt", 1).unwrap();
    for (kind, body) in [
        (OPEN, Body::default().n(u32::MAX)),
        (OPEN, Body::default().n(u32::MAX - 3).s("box")),
        (OPEN, s("box/new")),
        (OPEN, s("box/new").n(0x1a)),
        (OPEN, s("box/new").n(0x1a).n(0xf)),
        (OPEN, s("box/new").n(0x1a).n(0x8000_0000).n(u32::MAX)),
        (READ, s(&handle)),
        (READ, s(&handle).q(0)),
        (WRITE, s(&handle).q(0).n(u32::MAX)),
        (WRITE, s(&handle).q(0).n(5)),
        (SETSTAT, s("box/in.txt").n(1).n(0)),
        (RENAME, s("box/in.txt")),
        (SYMLINK, s("")),
        (EXTENDED, Body::default()),
        (EXTENDED, s("copy-data").s(&handle)),
        (EXTENDED, s("users-groups-by-id@openssh.com").n(u32::MAX)),
        (CLOSE, Body::default()),
        (READDIR, Body::default().n(4)),
        (SYMLINK, s("a\0b").s("box/nul")),
    ] {
        assert_eq!(client.code(kind, body.clone()), 5, "{kind} {body:?}");
    }
    assert!(!tree.path("box/new").exists());
    assert_eq!(client.read(&handle, 0, 6), Ok(b"inside".to_vec()), "the session goes on");
}

#[test]
fn a_packet_that_is_too_long_ends_the_session_at_once() {
    for length in [262_145_u32, 0x7fff_ffff, u32::MAX] {
        let tree = Tree::new();
        let mut client = tree.client(Access::ReadWrite);
        client.raw(&length.to_be_bytes());
        assert_eq!(client.receive(), None, "without waiting for the packet");
        assert_eq!(client.end().result, Err(ServeError::TooLong(length)));
    }
}

#[test]
fn what_cannot_be_answered_ends_the_session() {
    let start = |bytes: &[u8]| {
        let tree = Tree::new();
        let mut client = Client::silent(vec![("box", tree.workspace(Access::ReadWrite))], Options::default());
        client.raw(bytes);
        client.end().result
    };
    assert_eq!(start(&[]), Ok(()));
    assert_eq!(start(&[0, 0]), Err(ServeError::Truncated));
    assert_eq!(start(&[0, 0, 0, 9, 1, 0, 0, 0, 3]), Err(ServeError::Truncated));
    assert_eq!(start(&[0, 0, 0, 0]), Err(ServeError::TooShort));
    assert_eq!(start(&[0, 0, 0, 1, 1]), Err(ServeError::TooShort));
    assert_eq!(start(&[0, 0, 0, 5, 17, 0, 0, 0, 1]), Err(ServeError::NotInitialised(17)));
}

#[test]
fn unknown_requests_are_unsupported() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    for kind in (0..=255).filter(|kind| !(1..=20).contains(kind) && *kind != 200) {
        assert_eq!(client.code(kind, s("box/in.txt")), 8, "{kind}");
    }
    assert_eq!(client.code(2, s("box")), 8, "the server's own packet");
}

#[test]
fn handles_are_names_of_open_files_only() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    let first = client.open("box/in.txt", 1).unwrap();
    assert_eq!(client.close(&first), 0);
    let second = client.open("box/sub/f", 1).unwrap();
    assert_ne!(first, second, "a closed handle does not come back to life with its slot");
    let dir = client.opendir("box").unwrap();
    for handle in [
        &first[..],
        &dir,
        b"",
        b"\0",
        b"\0\0\0\0",
        &[255; 8],
        &[0; 8],
        &[second.as_slice(), b"\0"].concat(),
        &[0; 300],
    ] {
        assert_eq!(client.read(handle, 0, 1), Err(4), "{handle:?}");
        assert_eq!(client.write(handle, 0, "x"), 4);
        assert_eq!(client.code(FSTAT, s(handle)), 4);
        assert_eq!(client.code(FSETSTAT, s(handle).n(0)), 4);
        assert_eq!(client.code(EXTENDED, s("fsync@openssh.com").s(handle)), 4);
        assert_eq!(client.code(EXTENDED, s("copy-data").s(handle).q(0).q(0).s(&second).q(0)), 4);
    }
    assert_eq!(client.code(READDIR, s(&second)), 4);
    assert_eq!(client.read(&second, 0, 9), Ok(b"sub".to_vec()));
}

#[test]
fn what_is_open_when_the_client_hangs_up_is_recorded() {
    let tree = Tree::new();
    let mut client = tree.client(Access::ReadWrite);
    let handle = client.open("box/half", 0x1a).unwrap();
    client.write(&handle, 0, "ha");
    let end = client.end();
    let half = Event {
        deed: Deed::Write,
        path: "/box/half".into(),
        bytes: 2,
        sha256: None,
        outcome: Outcome::Unfinished,
    };
    assert_eq!(end.events, [half]);
}

/// Bytes that follow a seed: the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let tree = Tree::new();
    let outside = tree.snapshot("outside");
    let mut noise = Noise(0x5eed_0f5f_7b00_1234);
    for _ in 0..300 {
        let mut client = Client::silent(vec![("box", tree.workspace(Access::ReadWrite))], Options::default());
        let mut bytes: Vec<u8> = (0..noise.below(400)).map(|_| noise.next().to_le_bytes()[0]).collect();
        if noise.next().is_multiple_of(2) {
            bytes.splice(0..0, [0, 0, 0, 5, INIT, 0, 0, 0, 3]);
        }
        client.raw(&bytes);
        // Either end is fine; a panic is not.
        let _ = client.end();
    }
    assert_eq!(tree.snapshot("outside"), outside);
}

#[test]
fn no_damaged_request_makes_it_panic() {
    let tree = Tree::new();
    let outside = tree.snapshot("outside");
    let mut noise = Noise(0xdead_beef_cafe_0001);
    let mut seeds = super::access::changes();
    let mut client = tree.client(Access::ReadWrite);
    for name in ["copy-data", "limits@openssh.com", "statvfs@openssh.com", "users-groups-by-id@openssh.com"] {
        seeds.push((EXTENDED, s(name).s("box/in.txt").q(0).q(0).s("box/sub").q(0)));
    }
    for kind in 3..=20 {
        seeds.push((kind, s([0, 0, 0, 0, 0, 0, 0, 1]).q(0).s("data")));
        seeds.push((kind, s("box/in.txt").n(3).n(0)));
    }
    for round in 0..20_000 {
        let (kind, body) = &seeds[noise.below(seeds.len())];
        let mut body = body.clone();
        for _ in 0..noise.below(4) {
            let at = noise.below(body.0.len());
            body.0[at] = noise.next().to_le_bytes()[3];
        }
        body.0.truncate(noise.below(body.0.len() * 2));
        // `ask` fails when the server is gone or answers another request.
        client.ask(*kind, body);
        if round % 500 == 0 {
            client = tree.client(Access::ReadWrite);
        }
    }
    assert_eq!(tree.snapshot("outside"), outside);
}
