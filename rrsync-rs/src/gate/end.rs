//! The record at the end of a session, for grants that ask for one.
//!
//! rsync takes the gate's place, so nothing of the gate is left when it ends. Where the grant says `record-end`, the gate
//! starts itself once more for the session, with the same arguments and the same descriptors, and waits: it reads
//! nothing of the client's and decides nothing.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;

use crate::audit::Log;
use crate::cli::{self, Args};
use crate::session::Environment;

/// How a session ended.
#[derive(Serialize)]
struct Ending {
    time: String,
    /// The session's process, as in its first record.
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    client: String,
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

/// The argument with which the gate becomes the process that waits: the session's process and the time of its beginning
/// follow, then the session's own arguments.
const AWAIT: &str = "--await";

/// Runs the session in a process of its own, and records its end. Ends as the session does; a signal is 128 and its
/// number, as in a shell.
pub(super) fn watch() -> io::Result<ExitCode> {
    let begun = monotonic()?;
    let program = std::env::current_exe()?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let session = Command::new(&program).arg("--within").args(&arguments).spawn()?;
    let session = Pid::from_raw(session.id().cast_signed());
    // What the policy took to be read is not needed for waiting: a program that has just begun is half as large.
    let mut waiting = Command::new(program);
    waiting.arg(AWAIT).arg(session.to_string()).arg(begun.as_nanos().to_string()).args(&arguments);
    let _cannot_begin_anew = waiting.exec();
    Ok(record_end(session, begun, arguments))
}

/// Waits for the session and records its end, when that is what this process was started for.
pub(super) fn awaited(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.next()? != AWAIT {
        return None;
    }
    let session = Pid::from_raw(arguments.next()?.to_str()?.parse().ok()?);
    let begun = Duration::from_nanos(arguments.next()?.to_str()?.parse().ok()?);
    Some(record_end(session, begun, arguments.collect()))
}

fn record_end(session: Pid, begun: Duration, arguments: Vec<OsString>) -> ExitCode {
    // Ended, but not gone: /proc still has the sums, those of rsync's own children among them.
    while waitid(Id::Pid(session), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
    let sums = std::fs::read_to_string(format!("/proc/{session}/io")).unwrap_or_default();
    let sum = |name: &str| {
        let line = sums.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    let (status, signal) = match waitpid(session, None) {
        Ok(WaitStatus::Exited(_, status)) => (Some(status), None),
        Ok(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
        // There is no such session.
        _ => return ExitCode::FAILURE,
    };
    if let Ok(Args::Gate(gate)) = cli::parse(arguments) {
        let environment = Environment::read();
        let record = super::first_record(&gate, &environment);
        let ending = Ending {
            time: record.time,
            pid: session.as_raw(),
            grant: record.grant,
            client: record.client,
            end: if status == Some(0) { "done" } else { "failed" },
            status,
            signal,
            seconds: monotonic().map_or(0.0, |now| now.saturating_sub(begun).as_secs_f64()),
            read: sum("rchar:"),
            written: sum("wchar:"),
        };
        let _ = Log::open(environment.layout.as_ref(), false).write(&ending);
    }
    let code = status.or(signal.map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// The time of a clock that nobody sets, the same in every process.
fn monotonic() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_MONOTONIC)?.into())
}
