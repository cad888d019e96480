//! Random deeds, while daemons come and go and a reader does too: its copy is the tree each time that it reads, and no event is of a
//! content that somebody was still writing.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::support::our_program;
use crate::support::{Daemon, Follower, Home};

#[path = "../../src/awatch/watcher/tests/deeds.rs"]
mod deeds;

use deeds::{Deed, Ground, config, deed};

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Deed(Deed),
    /// The daemon gets some time.
    Pause,
    /// The daemon does nothing for a while, until something else than a deed.
    Freeze,
    /// It ends, and nobody watches until something else than a deed.
    Stop,
    Kill,
    /// The reader comes, reads all that there is, and goes away.
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => deed().prop_map(Step::Deed),
        2 => Just(Step::Pause),
        1 => Just(Step::Freeze),
        1 => Just(Step::Stop),
        2 => Just(Step::Kill),
        1 => Just(Step::Read),
    ]
}

/// A home whose daemon may have few watches only, unless there is no limit.
struct Stage {
    home: Home,
    limit: Option<u32>,
    daemon: Option<Daemon>,
}

impl Stage {
    fn new(limit: Option<u32>) -> Self {
        let home = Home::new();
        home.write(".config/akeys/watch.toml", "[workspace.papers]\npath = \"~/papers\"\nscan = 1\n");
        Self { home, limit, daemon: None }
    }

    /// The daemon, awake.
    fn daemon(&mut self) -> &mut Daemon {
        let Self { home, limit, daemon } = self;
        let daemon = daemon.get_or_insert_with(|| {
            let Some(limit) = limit else { return home.run_with(&["run"]) };
            let mut command = Command::new("unshare");
            let script = format!("echo {limit} > /proc/sys/user/max_inotify_watches && exec \"$0\" run");
            command.args(["--user", "--map-root-user", "sh", "-c", &script]).arg(our_program("awatch"));
            let mut daemon = home.start(command);
            daemon.is_told("READY=1");
            daemon
        });
        daemon.signal(Signal::SIGCONT);
        daemon
    }

    fn end<T>(&mut self, how: impl FnOnce(Daemon) -> T) {
        self.daemon.take().map(how);
    }

    /// Does what it can of a step, and lets the reader read where that is the step.
    fn make(&mut self, step: &Step, ground: &mut Ground, reader: &mut Follower) {
        match step {
            Step::Deed(deed) => return ground.make(deed),
            Step::Pause => drop(self.daemon()),
            Step::Freeze => self.daemon().signal(Signal::SIGSTOP),
            Step::Stop => {
                self.daemon();
                self.end(Daemon::stop);
            }
            Step::Kill => {
                self.daemon();
                self.end(Daemon::kill);
            }
            Step::Read => {
                ground.make(&Deed::End);
                self.daemon();
                reader.catch_up(&self.home);
                let told = reader.told();
                let partial: Vec<_> = reader.sums.drain(..).filter(|sum| !ground.was_at_rest(sum)).collect();
                assert!(partial.is_empty(), "told while it was being written: {told:?}");
            }
        }
        if matches!(step, Step::Pause) {
            self.home.status();
        }
    }
}

fn replay(limit: Option<u32>, stories: u32) {
    let mut runner = TestRunner::new(config());
    let story = prop::collection::vec(step(), 80..160);
    for _ in 0..stories {
        let steps = story.new_tree(&mut runner).unwrap().current();
        // Shown when it fails.
        eprintln!("--- a story: {steps:?}");
        let mut stage = Stage::new(limit);
        std::fs::create_dir(stage.home.beside("outside")).unwrap();
        let at = |path: &str| stage.home.at(path);
        let mut ground = Ground::new(at("papers"), stage.home.beside("outside"));
        let mut reader = Follower::new(&stage.home);
        for step in [&Step::Read].into_iter().chain(&steps).chain([&Step::Read]) {
            stage.make(step, &mut ground, &mut reader);
        }
        assert_eq!(reader.resyncs, ["the stream begins here"]);
        stage.end(Daemon::stop);
    }
}

#[test]
fn whatever_happens_and_whatever_ends_the_daemon_the_reader_has_the_tree() {
    replay(None, config().cases.div_ceil(10));
}

#[test]
fn the_same_where_most_directories_cannot_be_watched() {
    let tried = Command::new("unshare").args(["--user", "--map-root-user", "true"]).output();
    if tried.is_ok_and(|output| output.status.success()) && Path::new("/proc/sys/user").is_dir() {
        replay(Some(3), config().cases.div_ceil(20));
    } else {
        eprintln!("no user namespace here: random deeds beyond the limit of watches were not tried");
    }
}
