//! A home with a workspace `papers`, and the daemon that watches it.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::outcome::{Outcome, Run, run};
use super::programs::our_program;
use super::talk::Talk;

/// Long enough for a loaded machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// The home.
pub(crate) struct Watched {
    dir: TempDir,
}

impl Watched {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("akeys-watched-").tempdir().unwrap();
        fs::create_dir_all(dir.path().join("home/papers")).unwrap();
        Self { dir }
    }

    /// A path in the home.
    pub(crate) fn at(&self, relative: &str) -> PathBuf {
        self.dir.path().join("home").join(relative)
    }

    /// Writes a file below the home, with its parents.
    #[track_caller]
    pub(crate) fn write(&self, relative: &str, content: &str) {
        let file = self.at(relative);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    /// `awatch ARGS…` in the home.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(our_program("awatch"));
        command.args(args).env_clear().env("HOME", self.at("")).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.current_dir(self.at(""));
        command
    }

    /// Runs awatch to its end.
    #[track_caller]
    pub(crate) fn awatch(&self, args: &[&str]) -> Outcome {
        run(&mut self.command(args), &Run::default())
    }

    /// Starts a daemon, and waits until it watches.
    #[track_caller]
    pub(crate) fn run_with(&self, args: &[&str]) -> Watching {
        let path = self.dir.path().join("notify");
        let _ = fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(DEADLINE)).unwrap();
        let talk = Talk::start(self.command(args).env("NOTIFY_SOCKET", &path));
        let mut buffer = [0; 4096];
        loop {
            let length = manager.recv(&mut buffer).expect("a daemon that is ready in time");
            if String::from_utf8_lossy(&buffer[..length]).lines().any(|told| told == "READY=1") {
                // It goes on telling, and waits for nobody.
                return Watching { talk, _manager: manager };
            }
        }
    }

    /// Waits until the daemon says of the first workspace what is asked for.
    #[track_caller]
    pub(crate) fn wait_for(&self, is: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let outcome = self.awatch(&["status", "--json"]);
            let status: Value = serde_json::from_str(&outcome.stdout_text())
                .unwrap_or_else(|error| panic!("{error}: {outcome}"));
            let status = status["workspaces"][0].clone();
            if is(&status) {
                return status;
            }
            assert!(Instant::now() < until, "{status:#}");
        }
    }
}

/// A running daemon. It ends with this.
pub(crate) struct Watching {
    talk: Talk,
    _manager: UnixDatagram,
}

impl Watching {
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

    /// Ends it as nothing should.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.talk.end();
    }
}
