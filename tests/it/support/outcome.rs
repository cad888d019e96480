//! Running a command with a deadline, and saying everything about it when it did not do what the test expects.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Long enough for a loaded machine with two cores; a test that reaches it has hung.
const DEADLINE: Duration = Duration::from_mins(1);

/// How to run a command: what it reads, and how long it may take.
#[derive(Default)]
pub(crate) struct Run<'a> {
    /// The bytes of its standard input, which then ends.
    pub(crate) stdin: &'a [u8],
    /// When to give up; `None` stands for one minute.
    pub(crate) deadline: Option<Duration>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The command as it was run, for messages.
    pub(crate) command: String,
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Everything it wrote to standard output.
    pub(crate) stdout: Vec<u8>,
    /// Everything it wrote to standard error.
    pub(crate) stderr: Vec<u8>,
}

/// Runs `command` to its end, in a process group of its own so that a hung one is ended with all its children.
#[track_caller]
pub(crate) fn run(command: &mut Command, how: &Run<'_>) -> Outcome {
    let shown = format!("{command:?}");
    let limit = how.deadline.unwrap_or(DEADLINE);
    let end = Instant::now() + limit;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap());

    // Each pipe has a thread; a pipe that ends is the event that is waited for.
    let mut input = child.stdin.take().unwrap();
    let bytes = how.stdin.to_vec();
    // A command that does not read its input closes the pipe; that is its own business.
    thread::spawn(move || drop(input.write_all(&bytes)));
    let stdout = read_all(child.stdout.take().unwrap());
    let stderr = read_all(child.stderr.take().unwrap());

    let received =
        [&stdout, &stderr].map(|pipe| pipe.recv_timeout(end.saturating_duration_since(Instant::now())));
    let [Ok(stdout), Ok(stderr)] = received else {
        killpg(group, Signal::SIGKILL).ok();
        child.wait().ok();
        // Killed, so the pipes end now.
        let rest = |early: Result<Vec<u8>, _>, pipe: &mpsc::Receiver<Vec<u8>>| {
            early.or_else(|_| pipe.recv_timeout(Duration::from_secs(1))).unwrap_or_default()
        };
        let [early_out, early_err] = received;
        let (out, err) = (rest(early_out, &stdout), rest(early_err, &stderr));
        panic!(
            "still running after {limit:?}: {shown}\n--- stdout\n{}\n--- stderr\n{}",
            String::from_utf8_lossy(&out),
            String::from_utf8_lossy(&err)
        );
    };
    let status = child.wait().unwrap();
    Outcome { command: shown, status, stdout, stderr }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).ok();
        sender.send(bytes).ok();
    });
    receiver
}

impl Outcome {
    /// Exit status 0, or the test ends here.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert!(self.status.success(), "should have succeeded\n{self}");
        self
    }

    /// Exit status `code`, or the test ends here.
    #[track_caller]
    pub(crate) fn fails_with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "should have failed with exit status {code}\n{self}");
        self
    }

    /// Standard error contains `text`, or the test ends here.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr_text().contains(text), "should have said {text:?} on stderr\n{self}");
        self
    }

    /// Standard output as text; bytes that are not UTF-8 show as U+FFFD.
    pub(crate) fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text; bytes that are not UTF-8 show as U+FFFD.
    pub(crate) fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut end = String::new();
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => write!(end, "exit status {code}")?,
            (None, Some(signal)) => write!(end, "ended by signal {signal}")?,
            (None, None) => write!(end, "{}", self.status)?,
        }
        write!(
            f,
            "--- {}\n--- {end}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            self.stdout_text(),
            self.stderr_text()
        )
    }
}
