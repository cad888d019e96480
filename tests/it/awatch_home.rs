//! A scratch home with workspaces that awatch watches: daemons, their readers, and a copy that follows.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use akeys::event::{Cursor, Event, Kind, Message, Reason};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{Outcome, Run, Talk, our_program, run};

#[path = "../../src/awatch/watcher/tests/copy.rs"]
mod copy;

use copy::Copy;

/// Long enough for a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

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
        let path = self.beside("notify");
        let _ = fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(DEADLINE)).unwrap();
        self.settle(&mut command)
            .env("NOTIFY_SOCKET", &path)
            .envs(journal.map(|journal| ("JOURNAL_STREAM", journal)));
        Daemon { talk: Talk::start(&mut command), manager }
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
        Stream { talk: Talk::start(&mut command) }
    }

    /// Starts a stream of a journal that is elsewhere.
    #[track_caller]
    pub(crate) fn stream_of(&self, journal: &Path) -> Stream {
        let mut command = Command::new(our_program("awatch"));
        self.settle(&mut command).args(["stream", "papers", "--journal"]).arg(journal);
        Stream { talk: Talk::start(&mut command) }
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

/// A running daemon. It ends with this.
pub(crate) struct Daemon {
    talk: Talk,
    manager: UnixDatagram,
}

impl Daemon {
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
}

/// A stream that is being read.
pub(crate) struct Stream {
    talk: Talk,
}

impl Stream {
    #[track_caller]
    pub(crate) fn message(&mut self) -> Message {
        let line = self.talk.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// All that is said until everything known has been said.
    #[track_caller]
    pub(crate) fn batch(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            match self.message() {
                Message::Current { .. } => return all,
                other => all.push(other),
            }
        }
    }
}

/// One who follows `papers`, goes away and comes back.
pub(crate) struct Follower {
    copy: Copy,
    place: PathBuf,
    source: PathBuf,
    /// Where it is.
    pub(crate) cursor: Option<Cursor>,
    /// Why it had to compare everything, each time.
    pub(crate) resyncs: Vec<String>,
    /// Every event, in short.
    pub(crate) events: Vec<String>,
}

impl Follower {
    pub(crate) fn new(home: &Home) -> Self {
        let (source, place) = (home.at("papers"), home.beside("copy"));
        fs::create_dir(&place).unwrap();
        let copy = Copy::new(source.clone(), place.clone());
        Self { copy, place, source, cursor: None, resyncs: Vec::new(), events: Vec::new() }
    }

    /// Reads on until its copy is the workspace, and goes away again. Events come without a gap and never twice.
    #[track_caller]
    pub(crate) fn catch_up(&mut self, home: &Home) {
        let mut stream = home.stream(self.cursor);
        self.read(&mut stream);
    }

    /// The same, with a stream that goes on.
    #[track_caller]
    pub(crate) fn read(&mut self, stream: &mut Stream) {
        let until = Instant::now() + DEADLINE;
        let mut difference = None;
        loop {
            match stream.message() {
                Message::Hello { .. } => {}
                Message::Resync { cursor, why } => {
                    self.resyncs.push(why);
                    self.cursor = Some(cursor);
                    self.copy_everything();
                }
                Message::Event { cursor, event } => {
                    let before = self.cursor.expect("a resync comes first");
                    assert_eq!((cursor.journal, cursor.sequence), (before.journal, before.sequence + 1));
                    self.cursor = Some(cursor);
                    self.events.push(words(&event));
                    let from = event.from.as_ref().map(akeys::event::EventPath::as_path);
                    self.copy.make(event.reason, event.kind, event.path.as_path(), from);
                }
                Message::Current { .. } => {
                    // To look is not worth it while more is on its way.
                    if stream.talk.is_quiet() {
                        difference = self.copy.difference();
                        if difference.is_none() {
                            return;
                        }
                    }
                }
            }
            assert!(Instant::now() < until, "{difference:?}");
        }
    }

    fn copy_everything(&mut self) {
        fs::remove_dir_all(&self.place).unwrap();
        let copied = Command::new("cp").arg("-a").arg(&self.source).arg(&self.place).status().unwrap();
        assert!(copied.success());
        self.copy = Copy::new(self.source.clone(), self.place.clone());
    }

    /// What was told since the last time that this was asked.
    pub(crate) fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }
}

/// An event in a few words.
pub(crate) fn words(event: &Event) -> String {
    let reason = serde_json::to_value(event.reason).unwrap();
    let reason = reason.as_str().unwrap();
    let path = event.path.as_path().display();
    match &event.from {
        Some(from) => format!("{reason} {} -> {path}", from.as_path().display()),
        None => format!("{reason} {path}"),
    }
}

/// How often each thing was told.
pub(crate) fn counts(events: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.as_str()).or_default() += 1;
    }
    counts
}

/// A file without holes of that many bytes.
pub(crate) fn fill(path: &Path, bytes: usize) -> std::io::Result<()> {
    fs::write(path, vec![b'x'; bytes])
}
