//! `awatch run`, and the service manager that it tells how it is.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::home::Home;
use super::talk::{DEADLINE, Talk};

/// A running daemon. It ends with this.
pub(crate) struct Daemon {
    talk: Talk,
    manager: UnixDatagram,
}

impl Daemon {
    /// Starts one, with a service manager of its own at `socket`.
    #[track_caller]
    pub(crate) fn start(command: &mut Command, socket: &Path) -> Self {
        let _ = fs::remove_file(socket);
        let manager = UnixDatagram::bind(socket).unwrap();
        Self { talk: Talk::start(command.env("NOTIFY_SOCKET", socket)), manager }
    }

    /// Waits until the service manager is told this.
    #[track_caller]
    pub(crate) fn is_told(&mut self, line: &str) {
        if !self.hears(line) {
            let (status, said) = self.talk.end();
            panic!("the daemon ended, {status}: {said}");
        }
    }

    /// Waits until it watches, or is not there any more.
    #[track_caller]
    pub(crate) fn is_ready_or_dead(&mut self) {
        self.hears("READY=1");
    }

    #[track_caller]
    fn hears(&mut self, line: &str) -> bool {
        let until = Instant::now() + DEADLINE;
        let mut buffer = [0; 4096];
        self.manager.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        loop {
            if let Ok(length) = self.manager.recv(&mut buffer)
                && String::from_utf8_lossy(&buffer[..length]).lines().any(|told| told == line)
            {
                return true;
            }
            if self.talk.has_ended() {
                return false;
            }
            assert!(Instant::now() < until, "{line} was not told");
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.talk.has_ended()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.talk.pid()
    }

    /// Sends a signal to what was started, and to what that has started.
    #[track_caller]
    pub(crate) fn signal_group(&self, signal: Signal) {
        nix::sys::signal::killpg(nix::unistd::Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits until nobody writes the journal.
    #[track_caller]
    pub(crate) fn wait_until_gone(mut self, home: &Home) {
        let until = Instant::now() + DEADLINE;
        self.talk.end();
        while rrsync_rs::watch::is_written(&home.journal()) {
            assert!(Instant::now() < until, "it is still there");
        }
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        self.talk.signal(signal);
    }

    /// Stops it as a service manager does, and answers with what it has said.
    #[track_caller]
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let (status, said) = self.talk.end();
        assert!(status.success(), "{status}: {said}");
        said
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> (std::process::ExitStatus, String) {
        self.talk.end()
    }

    /// Ends it as nothing should.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.talk.end();
    }
}
