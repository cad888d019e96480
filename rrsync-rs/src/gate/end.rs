//! The record at the end of a session, for grants that ask for one.
//!
//! rsync takes the gate's place, so nothing of the gate is left when it ends. Where the grant says `record-end`, the gate
//! starts itself once more for the session, with the same arguments and the same descriptors, and waits: it reads
//! nothing of the client's and decides nothing.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};
use std::time::Instant;

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde::Serialize;

use crate::audit::{Log, Record};

/// How a session ended.
#[derive(Serialize)]
struct Ending<'a> {
    time: String,
    /// The session's process, as in its first record.
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a str>,
    client: &'a str,
    end: &'static str,
    /// The exit status, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<i32>,
    /// The signal, when it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    seconds: f64,
    /// Bytes read and written by the session's processes, from files and from the client together. The kernel shows the
    /// sums of an ended process to root alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<u64>,
}

/// Runs the session in a process of its own, and records its end. Ends as the session does; a signal is 128 and its
/// number, as in a shell.
pub(super) fn watch(log: &mut Log, record: &Record) -> io::Result<ExitCode> {
    let begun = Instant::now();
    let arguments = std::env::args_os().skip(1);
    let mut session = Command::new(std::env::current_exe()?).arg("--within").args(arguments).spawn()?;
    let pid = session.id();
    // Ended, but not gone: /proc still has the sums, those of rsync's own children among them.
    let session_pid = Pid::from_raw(pid.cast_signed());
    while waitid(Id::Pid(session_pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
        == Err(nix::errno::Errno::EINTR)
    {}
    let sums = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let sum = |name: &str| {
        let line = sums.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    let status = session.wait()?;
    let ending = Ending {
        time: Record::now(),
        pid,
        grant: record.grant.as_deref(),
        client: &record.client,
        end: if status.success() { "done" } else { "failed" },
        status: status.code(),
        signal: status.signal(),
        seconds: begun.elapsed().as_secs_f64(),
        read: sum("rchar:"),
        written: sum("wchar:"),
    };
    let _ = log.write(&ending);
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
