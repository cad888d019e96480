//! Clients that speak no SFTP, or stop in the middle of it: the session ends, is recorded, and leaves no process.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Served, picture};
use crate::support::Run;

const INIT: &[u8] = &[0, 0, 0, 5, 1, 0, 0, 0, 3];

#[test]
fn what_is_no_sftp_ends_the_session_and_is_recorded() {
    let served = Served::new();
    let client = served.client().hold();
    let before = picture(&served.shelf("rw"));
    let half = [INIT, &[0, 0, 0, 9, 17, 0]].concat();
    let long = [INIT, &[255; 4], &[b'x'; 10_000]].concat();
    for (sent, told) in [
        (b"GET / HTTP/1.0\r\n\r\n".as_slice(), "packet of 1195725856 bytes"),
        (b"\0\0\0\x05\x11\0\0\0\x01", "request of type 17 before the session was opened"),
        (half.as_slice(), "end of input within a packet"),
        (long.as_slice(), "packet of 4294967295 bytes"),
        (b"\0\0\0\0", "packet without a request number"),
    ] {
        let how = Run { stdin: sent, ..Run::default() };
        // sshd keeps a subsystem's standard error to itself.
        client.ssh_with(&["-s"], &["sftp"], &how).fails_with(1);
        let record = served.sandbox.audit().pop().unwrap();
        assert_eq!((&record["verdict"], &record["rule"]), (&"refuse".into(), &"sftp.protocol".into()));
        assert!(record["reason"].as_str().unwrap().starts_with(told), "{record}");
    }
    // Nothing at all is a session too.
    client.ssh_with(&["-s"], &["sftp"], &Run::default()).succeeds();
    assert!(picture(&served.shelf("rw")) == before);
}

#[test]
fn a_client_that_vanishes_leaves_no_process_behind() {
    let served = Served::new();
    let client = served.client();
    let mut command = client.command("ssh");
    command.args(["-s", "host", "sftp"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut session = command.spawn().unwrap();
    session.stdin.as_mut().unwrap().write_all(INIT).unwrap();
    session.stdout.as_mut().unwrap().read_exact(&mut [0; 9]).unwrap();
    let gate = served.sandbox.gate();
    assert_eq!(running(&gate), 1);
    session.kill().unwrap();
    session.wait().unwrap();
    let end = Instant::now() + Duration::from_mins(1);
    while running(&gate) > 0 {
        assert!(Instant::now() < end, "the gate is still there");
        std::thread::yield_now();
    }
}

/// How many processes run this program.
fn running(program: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("exe"));
    processes.filter(|exe| std::fs::read_link(exe).is_ok_and(|exe| exe == program)).count()
}
