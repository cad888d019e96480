//! Running another program to its end, within a time and without believing how much it says.

use std::io::{self, Read, Write as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

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
    let end = Instant::now() + limit;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A pipe that nobody reads any more ends the thread.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    let streams = (child.stdout.take().map(beginning), child.stderr.take().map(beginning));
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
fn beginning(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.by_ref().take(MAX_BYTES).read_to_end(&mut bytes);
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
    }
}
