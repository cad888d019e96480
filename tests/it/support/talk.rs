//! A program that runs while the test goes on, and what it says line by line.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Long enough for a loaded machine with two cores.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// A running program. It ends with this.
pub(crate) struct Talk {
    child: Child,
    /// Held open: a program may take its end for the end of its client.
    _stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// A line that was received and not asked for.
    ahead: Option<String>,
    errors: Receiver<String>,
    shown: String,
}

impl Talk {
    /// Starts a program.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let shown = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{shown}: {error}"));
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (line, lines) = mpsc::channel();
        thread::spawn(move || {
            for said in BufReader::new(stdout).lines() {
                if said.is_err() || line.send(said.unwrap()).is_err() {
                    return;
                }
            }
        });
        let (error, errors) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).ok();
            error.send(text).ok();
        });
        Self { _stdin: child.stdin.take(), child, lines, ahead: None, errors, shown }
    }

    /// The next line, or the test ends here.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        self.line_or_end().unwrap_or_else(|| {
            let (status, said) = self.end();
            panic!("{} ended, {status}: {said}", self.shown)
        })
    }

    /// The next line; `None` when there will be none.
    #[track_caller]
    pub(crate) fn line_or_end(&mut self) -> Option<String> {
        if let Some(line) = self.ahead.take() {
            return Some(line);
        }
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => panic!("no line within {DEADLINE:?}: {}", self.shown),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether nothing more is said for a moment.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.ahead = self.ahead.take().or_else(|| self.lines.recv_timeout(Duration::from_millis(20)).ok());
        self.ahead.is_none()
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Sends a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Kills it with everything that it has started.
    #[track_caller]
    pub(crate) fn kill_group(&self) {
        kill(Pid::from_raw(-self.pid()), Signal::SIGKILL).ok();
    }

    /// Waits for the end: how, and what was said on standard error.
    #[track_caller]
    pub(crate) fn end(&mut self) -> (ExitStatus, String) {
        let until = Instant::now() + DEADLINE;
        let said = self.errors.recv_timeout(DEADLINE).unwrap_or_default();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, said);
            }
            assert!(Instant::now() < until, "still running: {}", self.shown);
            thread::yield_now();
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
