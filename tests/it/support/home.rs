//! A scratch home with workspaces that awatch watches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use akeys::event::Cursor;
use tempfile::TempDir;

use super::daemon::Daemon;
use super::follower::Stream;
use super::outcome::{Outcome, Run, run};
use super::programs::our_program;
use super::talk::DEADLINE;

/// A home in which awatch runs.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    /// A home with an empty `papers`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("akeys-watch-").tempdir().unwrap();
        let home = Self { dir };
        fs::create_dir_all(home.at("papers")).unwrap();
        home
    }

    /// A path in the home.
    pub(crate) fn at(&self, relative: &str) -> PathBuf {
        self.dir.path().join("home").join(relative)
    }

    /// A path beside the home.
    pub(crate) fn beside(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// Writes a file below the home, with its parents.
    pub(crate) fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        let file = self.at(relative);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    /// Renames something.
    #[track_caller]
    pub(crate) fn mv(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    /// Gives a command the environment of this home.
    pub(crate) fn settle<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let home = self.dir.path().join("home");
        command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.current_dir(self.at(""))
    }

    /// Runs awatch to its end.
    #[track_caller]
    pub(crate) fn awatch(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new(our_program("awatch"));
        run(self.settle(&mut command).args(args), &Run::default())
    }

    /// Starts a daemon for `papers`, and waits until it watches.
    #[track_caller]
    pub(crate) fn run(&self) -> Daemon {
        self.run_with(&["run", "papers", "--log", "debug"])
    }

    /// Starts a daemon, and waits until it watches.
    #[track_caller]
    pub(crate) fn run_with(&self, args: &[&str]) -> Daemon {
        let mut command = Command::new(our_program("awatch"));
        command.args(args);
        let mut daemon = self.start(command);
        daemon.is_told("READY=1");
        daemon
    }

    /// Starts a daemon by whatever command.
    #[track_caller]
    pub(crate) fn start(&self, command: Command) -> Daemon {
        self.start_with(command, None)
    }

    fn start_with(&self, mut command: Command, journal: Option<&str>) -> Daemon {
        self.settle(&mut command).envs(journal.map(|journal| ("JOURNAL_STREAM", journal)));
        Daemon::start(&mut command, &self.beside("notify"))
    }

    /// The same, as a service manager starts it: what it says goes into a journal.
    #[track_caller]
    pub(crate) fn run_in_journal(&self, args: &[&str]) -> Daemon {
        let mut command = Command::new(our_program("awatch"));
        command.args(args);
        let mut daemon = self.start_with(command, Some("8:1"));
        daemon.is_told("READY=1");
        daemon
    }

    /// Starts a stream of `papers`.
    #[track_caller]
    pub(crate) fn stream(&self, since: Option<Cursor>) -> Stream {
        let mut command = Command::new(our_program("awatch"));
        self.settle(&mut command).args(["stream", "papers"]);
        if let Some(since) = since {
            command.args(["--since", &since.to_string()]);
        }
        Stream::start(&mut command)
    }

    /// Starts a stream of a journal that is elsewhere.
    #[track_caller]
    pub(crate) fn stream_of(&self, journal: &Path) -> Stream {
        let mut command = Command::new(our_program("awatch"));
        self.settle(&mut command).args(["stream", "papers", "--journal"]).arg(journal);
        Stream::start(&mut command)
    }

    /// How the daemon says that it is.
    #[track_caller]
    pub(crate) fn status(&self) -> serde_json::Value {
        let outcome = self.awatch(&["status", "--json"]);
        serde_json::from_str(&outcome.stdout_text()).unwrap_or_else(|error| panic!("{error}: {outcome}"))
    }

    /// Waits until the daemon says of `papers` what is asked for.
    #[track_caller]
    pub(crate) fn wait_for(&self, is: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let status = self.status()["workspaces"][0].clone();
            if is(&status) {
                return status;
            }
            assert!(Instant::now() < until, "{status:#}");
        }
    }

    /// Where the journal of `papers` is.
    pub(crate) fn journal(&self) -> PathBuf {
        self.at(".local/state/akeys/watch/papers/journal")
    }
}

/// A file without holes of that many bytes.
pub(crate) fn fill(path: &Path, bytes: usize) -> std::io::Result<()> {
    fs::write(path, vec![b'x'; bytes])
}
