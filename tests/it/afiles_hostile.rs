//! A server that has been taken over says what it likes: nothing of it leaves the place where it was to arrive.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use akeys::event::{Cursor, Event, EventPath, FORMAT, Kind, Message, Reason};
use jiff::Timestamp;
use uuid::Uuid;

use crate::support::{Pod, Sandbox};

/// A packet of SFTP.
fn packet(kind: u8, id: Option<u32>, body: &[u8]) -> Vec<u8> {
    let mut inner = vec![kind];
    inner.extend(id.into_iter().flat_map(u32::to_be_bytes));
    inner.extend(body);
    [&length(&inner)[..], &inner].concat()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap().to_be_bytes()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&length(bytes)[..], bytes].concat()
}

/// The greeting of a gate.
fn greeting() -> Vec<u8> {
    packet(2, None, &[&[0, 0, 0, 3][..], &string(b"fetch@akeys"), &string(b"1")].concat())
}

/// An answer to `fetch@akeys`: content, and a state that says `mode` and `size`.
fn fetched(id: u32, content: &[u8], mode: u32, size: u64) -> Vec<u8> {
    let state = [&mode.to_be_bytes()[..], &1_u64.to_be_bytes(), &size.to_be_bytes(), &[0; 32]].concat();
    packet(201, Some(id), &[&u64::MAX.to_be_bytes()[1..], &[0], &string(content), &state].concat())
}

fn names(id: u32, names: &[&[u8]], mode: u32) -> Vec<u8> {
    let count = u32::try_from(names.len()).unwrap().to_be_bytes();
    // The name, what ls would say, and the flags and value of the permissions.
    let name =
        |name: &&[u8]| [string(name), string(b""), vec![0, 0, 0, 4], mode.to_be_bytes().to_vec()].concat();
    packet(104, Some(id), &[count.to_vec(), names.iter().flat_map(name).collect()].concat())
}

/// From now on a script that says these, one each time it is asked something, stands where the gate was.
fn take_over(sandbox: &Sandbox, answers: &[Vec<u8>]) {
    for (number, answer) in answers.iter().enumerate() {
        sandbox.write(&format!("answers/{number}"), answer);
    }
    let script = format!(
        "#!/bin/sh\nnumber=0\nwhile [ -e {dir}/$number ]; do\n dd bs=65536 count=1 of=/dev/null 2>/dev/null\n cat {dir}/$number\n \
         number=$((number + 1))\ndone\nexec cat >/dev/null\n",
        dir = sandbox.home().join("answers").display()
    );
    let gate = sandbox.gate();
    fs::remove_file(&gate).unwrap();
    fs::write(&gate, script).unwrap();
    fs::set_permissions(&gate, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What is in the home of the pod, but for its configuration.
fn things(pod: &Pod<'_>) -> Vec<String> {
    let all =
        fs::read_dir(pod.home()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut things: Vec<String> =
        all.filter(|name| !matches!(name.as_str(), ".ssh" | ".config" | ".local")).collect();
    things.sort();
    things
}

const FILE: u32 = 0o100_644;
const DIRECTORY: u32 = 0o040_755;

#[test]
fn a_name_that_leads_out_is_no_name() {
    for name in [&b"../evil"[..], b"/evil", b"a/b", b"", b"x\0y"] {
        let sandbox = Sandbox::new();
        sandbox.write("papers/a", "a");
        let pod = sandbox.pod("chef", &["--workspace", "papers"]);
        let handle = packet(102, Some(2), &string(b"h"));
        let closed = packet(101, Some(4), &0_u32.to_be_bytes());
        take_over(
            &sandbox,
            &[greeting(), fetched(1, b"", DIRECTORY, 0), handle, names(3, &[b"good", name], FILE), closed],
        );
        let ran = pod.afiles(&["fetch", "papers:", "copy"]).fails_with(1);
        assert!(ran.stderr_text().contains("a name in a listing is no name"), "{ran}");
        assert!(things(&pod).is_empty(), "{:?}", things(&pod));
        assert!(!sandbox.path("evil").exists());
    }
}

#[test]
fn a_size_that_is_a_lie_brings_no_file() {
    // More than it says, each time that it is asked again; a reply longer than any may be; and more than there can be.
    let longer: Vec<Vec<u8>> = (1..=8).map(|id| fetched(id, b"0123456789", FILE, 3)).collect();
    let huge = vec![vec![0x7f, 0xff, 0xff, 0xff, 201]];
    let cut_off = vec![packet(201, Some(1), &[&[0; 8][..], &[0xff; 4], b"x"].concat())];
    for (answers, says) in [
        (longer, "has not stopped changing"),
        (huge, "does not keep to the protocol"),
        (cut_off, "does not keep to the protocol"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("papers/a", "a");
        let pod = sandbox.pod("chef", &["--workspace", "papers"]);
        take_over(&sandbox, &[vec![greeting()], answers].concat());
        let ran = pod.afiles(&["fetch", "papers:a", "a"]).fails_with(1);
        assert!(ran.stderr_text().contains(says), "{says}: {ran}");
        assert!(things(&pod).is_empty(), "{:?}", things(&pod));
    }
}

#[test]
fn a_rename_that_was_none_puts_nothing_old_in_the_place_of_what_has_come() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/right", "right");
    let old = sandbox.write("papers/old", "stale");
    let pod = sandbox.pod("chef", &["--workspace", "papers"]);
    // Whoever streams says what it likes; the rest is the gate as it is.
    let stream = sandbox.path("stream");
    nix::unistd::mkfifo(&stream, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (gate, real) = (sandbox.gate(), sandbox.gate().with_file_name("real"));
    fs::rename(&gate, &real).unwrap();
    let script = format!(
        "#!/bin/sh\ncase $SSH_ORIGINAL_COMMAND in \"awatch stream\"*) exec cat '{}' ;; esac\nexec '{}' \"$@\"\n",
        stream.display(),
        real.display()
    );
    fs::write(&gate, script).unwrap();
    fs::set_permissions(&gate, fs::Permissions::from_mode(0o755)).unwrap();
    let mut following = pod.follow(&["papers:", "copy"]);
    let mut says = fs::File::options().write(true).open(&stream).unwrap();
    let journal = Uuid::from_u128(1);
    let hello = Message::Hello {
        format: FORMAT,
        workspace: "papers".parse().unwrap(),
        author: "you@laptop".to_owned(),
        project: None,
    };
    let mut say = |message: &Message| {
        writeln!(says, "{}", serde_json::to_string(message).unwrap()).unwrap();
    };
    say(&hello);
    say(&Message::Resync { cursor: Cursor { journal, sequence: 0 }, why: "test".to_owned() });
    following.in_sync();
    fs::remove_file(old).unwrap();
    let right = fs::metadata(sandbox.home().join("papers/right")).unwrap();
    let event = Event {
        uuid: Uuid::from_u128(2),
        time: Timestamp::UNIX_EPOCH,
        author: "you@laptop".to_owned(),
        project: None,
        workspace: "papers".parse().unwrap(),
        reason: Reason::Renamed,
        path: EventPath::new(b"right".to_vec()).unwrap(),
        from: Some(EventPath::new(b"old".to_vec()).unwrap()),
        kind: Kind::File,
        size: Some(right.len()),
        mtime: Some(Timestamp::new(right.mtime(), i32::try_from(right.mtime_nsec()).unwrap()).unwrap()),
        mode: Some(right.mode() & 0o777),
        sha256: None,
        origin: None,
        text: None,
    };
    let cursor = Cursor { journal, sequence: 1 };
    say(&Message::Event { cursor, event: Box::new(event) });
    say(&Message::Current { cursor });
    let told = following.until(|kind, what| kind == "removed" && what == "old");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(fs::read(pod.path("copy/right")).unwrap(), b"right");
}
