//! Running another program to its end, within a time and without believing how much it says.

use std::io::{self, Read, Write as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// More than this of a stream is read and thrown away.
const MAX_BYTES: u64 = 1 << 20;

/// What a program did.
#[derive(Debug)]
pub struct Ended {
    /// How it ended; `None` when it had to be killed because its time was up.
    pub status: Option<ExitStatus>,
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// Its exit code, when it ended by itself.
    pub fn code(&self) -> Option<i32> {
        self.status?.code()
    }

    /// The last line that it said on standard error, not yet escaped.
    pub fn last_words(&self) -> &[u8] {
        let lines = self.stderr.split(|byte| matches!(byte, b'\n' | b'\r'));
        lines.map(<[u8]>::trim_ascii).rfind(|line| !line.is_empty()).unwrap_or_default()
    }
}

/// Runs `command` without input. A child that it leaves behind with an end of a pipe is not waited for.
pub fn run(command: &mut Command, limit: Duration) -> io::Result<Ended> {
    run_with(command, b"", limit)
}

/// The same with `input`, of which it need not read all.
pub fn run_with(command: &mut Command, input: &[u8], limit: Duration) -> io::Result<Ended> {
    converse(command, input, MAX_BYTES, limit)
}

/// Runs `command` without input, and keeps up to `most` bytes of what it says.
pub fn run_long(command: &mut Command, most: u64, limit: Duration) -> io::Result<Ended> {
    converse(command, b"", most, limit)
}

/// Runs `command` with its streams closed, and says whether it ended well. What it leaves behind is not waited for.
pub fn succeeds(command: &mut Command, limit: Duration) -> io::Result<bool> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let pid = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
    let (sender, receiver) = mpsc::channel();
    let waiter = thread::spawn(move || drop(sender.send(child.wait())));
    let ended = receiver.recv_timeout(limit);
    if ended.is_err() {
        // Nobody has waited for it yet, so the number is still its own.
        let _ = kill(pid, Signal::SIGKILL);
    }
    let _ = waiter.join();
    match ended {
        Ok(status) => Ok(status?.success()),
        Err(_) => Err(io::Error::other(format!("no answer within {} s", limit.as_secs()))),
    }
}

fn converse(command: &mut Command, input: &[u8], most: u64, limit: Duration) -> io::Result<Ended> {
    let end = Instant::now() + limit;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A pipe that nobody reads any more ends the thread.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    let streams = (
        child.stdout.take().map(|stream| beginning(stream, most)),
        child.stderr.take().map(|stream| beginning(stream, most)),
    );
    let within = |stream: Option<mpsc::Receiver<Vec<u8>>>| {
        stream.and_then(|stream| stream.recv_timeout(end.saturating_duration_since(Instant::now())).ok())
    };
    let (stdout, stderr) = (within(streams.0), within(streams.1));
    let status = if stdout.is_some() && stderr.is_some() {
        Some(child.wait()?)
    } else {
        child.kill()?;
        child.wait()?;
        None
    };
    Ok(Ended { status, stdout: stdout.unwrap_or_default(), stderr: stderr.unwrap_or_default() })
}

/// Reads a stream to its end in a thread of its own, which is the event that is waited for.
fn beginning(mut stream: impl Read + Send + 'static, most: u64) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.by_ref().take(most).read_to_end(&mut bytes);
        let _ = io::copy(&mut stream, &mut io::sink());
        let _ = sender.send(bytes);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Ended {
        run_with(Command::new("/bin/sh").args(["-c", script]), b"in", limit).unwrap()
    }

    #[test]
    fn what_a_program_says_is_bounded_and_so_is_its_time() {
        let minute = Duration::from_mins(1);
        let ended = shell("cat; echo; printf 'one\\ntwo\\r\\n\\n' >&2; exit 3", minute);
        assert_eq!(
            (ended.code(), &ended.stdout[..], ended.last_words()),
            (Some(3), &b"in\n"[..], &b"two"[..])
        );
        let ended = shell("head -c 3000000 /dev/zero", minute);
        assert_eq!((ended.code(), ended.stdout.len()), (Some(0), 1 << 20));
        let started = Instant::now();
        let ended = shell("exec sleep 600", Duration::from_millis(50));
        assert_eq!((ended.code(), ended.last_words()), (None, &b""[..]));
        assert!(started.elapsed() < minute);
        let sh = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            command
        };
        assert_eq!(run_long(&mut sh("head -c 3000000 /dev/zero"), 5, minute).unwrap().stdout.len(), 5);
        assert!(succeeds(&mut sh("sleep 1 & exit 0"), minute).unwrap());
        assert!(!succeeds(&mut sh("exit 1"), minute).unwrap());
        assert!(succeeds(&mut sh("exec sleep 600"), Duration::from_millis(50)).is_err());
    }
}
