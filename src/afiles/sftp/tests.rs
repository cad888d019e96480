//! A server that answers what it likes.

use super::*;

/// A session with a server that says one of these each time it is asked something, whatever that was.
fn session(parts: &[Vec<u8>]) -> (tempfile::TempDir, Result<Sftp, SftpError>) {
    let scratch = tempfile::tempdir().unwrap();
    let mut server = Command::new("sh");
    let script = "for part; do dd bs=65536 count=1 of=/dev/null 2>/dev/null; cat \"$part\"; done; exec cat > /dev/null";
    server.args(["-c", script, "sh"]);
    for (index, part) in parts.iter().enumerate() {
        let path = scratch.path().join(index.to_string());
        std::fs::write(&path, part).unwrap();
        server.arg(path);
    }
    let opened = Sftp::open(server);
    (scratch, opened)
}

fn packet(kind: u8, id: Option<u32>, body: Body) -> Vec<u8> {
    let mut out = Vec::new();
    body.packet(kind, id, &mut out);
    out
}

fn version() -> Vec<u8> {
    let body = Body::default().u32(3).string(b"other").string(b"9").string(b"fetch@akeys").string(b"1");
    packet(packet::VERSION, None, body)
}

/// A session whose server says these after its greeting.
fn opened(parts: &[Vec<u8>]) -> (tempfile::TempDir, Sftp) {
    let (scratch, opened) = session(&[&[version()], parts].concat());
    (scratch, opened.unwrap())
}

fn protocol<T: std::fmt::Debug>(result: Result<T, SftpError>) -> &'static str {
    match result {
        Err(SftpError::Protocol(what)) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_greeting_is_that_of_a_gate_or_none() {
    let bare = packet(packet::VERSION, None, Body::default().u32(3));
    assert!(matches!(session(&[bare]).1, Err(SftpError::NoGate)));
    for (said, what) in [
        (packet(packet::VERSION, None, Body::default().u32(6)), "another version"),
        (packet(packet::STATUS, None, Body::default().u32(3)), "another version"),
        (packet(packet::VERSION, None, Body::default().u32(3).u32(u32::MAX)), "cut off"),
        (b"This account is not available\n".to_vec(), "too long"),
        (vec![0, 0, 0, 0], "empty packet"),
    ] {
        assert!(protocol(session(&[said]).1).contains(what), "{what}");
    }
    let mut gone = Command::new("sh");
    gone.args(["-c", "echo first >&2; echo rrsync-rs: no >&2"]);
    match Sftp::open(gone) {
        Err(SftpError::Lost(said)) => assert_eq!(said, b"rrsync-rs: no"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reply_is_the_one_that_was_asked_for() {
    let data = |id| packet(packet::DATA, Some(id), Body::default().string(b"data"));
    let (_scratch, mut sftp) = opened(&[[data(2), data(1)].concat()]);
    let (one, two) = (sftp.read(b"h", 0, 9).unwrap(), sftp.read(b"h", 9, 9).unwrap());
    assert_eq!((sftp.data(one).unwrap(), sftp.data(two).unwrap()), (b"data".to_vec(), b"data".to_vec()));

    for (replies, what) in [
        (vec![data(7)], "nobody asked for"),
        (vec![data(1), data(1)], "nobody asked for"),
        (vec![packet(packet::ATTRS, Some(1), Body::default())], "another kind"),
        (vec![packet(packet::STATUS, Some(1), Body::default().u32(0))], "answered with success"),
        (vec![packet(packet::STATUS, Some(1), Body::default())], "cut off"),
        (vec![packet(packet::DATA, Some(1), Body::default().u32(9))], "cut off"),
        (vec![vec![0, 0, 0, 3, 103, 0, 0]], "without a number"),
        (vec![vec![0x7f, 0, 0, 0]], "too long"),
    ] {
        let (_scratch, mut sftp) = opened(&[replies.concat()]);
        let ticket = sftp.read(b"h", 0, 9).unwrap();
        assert!(protocol(sftp.data(ticket)).contains(what), "{what}");
    }
}

#[test]
fn a_status_says_why() {
    let status = |code| packet(packet::STATUS, Some(1), Body::default().u32(code).string(b"\x1b[31mno\n"));
    for (code, missing, refusal) in [(2, true, false), (3, false, true), (4, false, false)] {
        let (_scratch, mut sftp) = opened(&[status(code)]);
        let ticket = sftp.fetch(b"x", 9).unwrap();
        let error = sftp.fetched(ticket).unwrap_err();
        assert_eq!((error.is_missing(), error.is_refusal(), error.is_final()), (missing, refusal, false));
        assert_eq!(error.to_string(), "\\x1b[31mno\\n");
    }
}

#[test]
fn a_listing_has_names_and_nothing_else() {
    let handle = packet(packet::HANDLE, Some(1), Body::default().string(b"h"));
    let names = |names: &[&[u8]]| {
        let body = Body::default().u32(u32::try_from(names.len()).unwrap());
        let body = names.iter().fold(body, |body, name| body.string(name).string(b"").u32(0));
        packet(packet::NAME, Some(2), body)
    };
    let end = packet(packet::STATUS, Some(3), Body::default().u32(1));
    let closed = packet(packet::STATUS, Some(4), Body::default().u32(0));
    let (_scratch, mut sftp) = opened(&[handle.clone(), names(&[b".", b"a", b"..", b"\xff\n"]), end, closed]);
    let listed: Vec<_> = sftp.list(b"d").unwrap().into_iter().map(|name| name.name).collect();
    assert_eq!(listed, [b"a".to_vec(), b"\xff\n".to_vec()]);
    for hostile in [&b"../x"[..], b"/etc/passwd", b"a/b", b"", b"a\0b"] {
        let closed = packet(packet::STATUS, Some(3), Body::default().u32(0));
        let (_scratch, mut sftp) = opened(&[handle.clone(), names(&[b"a", hostile]), closed]);
        assert_eq!(protocol(sftp.list(b"d")), "a name in a listing is no name");
    }
    let (_scratch, mut sftp) = opened(&[handle, names(&[])]);
    assert_eq!(protocol(sftp.list(b"d")), "a listing goes on with nothing");
}

#[test]
fn a_listing_without_an_end_filled_the_memory() {
    // As many names as fit a packet.
    let count = 15_000_u32;
    let name = |body: Body, _| body.string(b"name").string(b"").u32(0);
    let names = |id| packet(packet::NAME, Some(id), (0..count).fold(Body::default().u32(count), name));
    let handle = packet(packet::HANDLE, Some(1), Body::default().string(b"h"));
    let most = u32::try_from(MOST_NAMES).unwrap();
    let replies: Vec<Vec<u8>> = (2..most / count + 3).map(names).collect();
    let (_scratch, mut sftp) = opened(&[vec![handle], replies].concat());
    assert!(protocol(sftp.list(b"/d")).contains("does not end"));
}
