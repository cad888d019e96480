//! Watchers that come and go over one index: whoever makes all the changes to a copy has the tree, whatever happened to it in
//! between.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::dirs::Root;
use super::super::settle::Times;
use super::super::{Resume, Setting, Watcher, look};
use super::copy::Copy;
use super::deeds::{Deed, Ground, config, deed};
use super::replay::make;
use super::{Change, Everything, Options, words};
use crate::awatch::index::Index;
use crate::sys::lease;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Deed(Deed),
    /// The watcher looks.
    Look,
    /// The watcher looks until everything has settled.
    Settle,
    /// More is learnt than the names.
    Learn,
    /// It ends, and another begins where it was.
    Restart,
    /// It ends before what it has seen last is recorded.
    Kill,
    /// Nobody watches until something makes one begin.
    Sleep,
    /// Reports were lost.
    Compare,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => deed().prop_map(Step::Deed),
        3 => Just(Step::Look),
        2 => Just(Step::Settle),
        1 => Just(Step::Learn),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
        2 => Just(Step::Sleep),
        1 => Just(Step::Compare),
    ]
}

/// A tree, what is known of it, a reader's copy, and a watcher unless it has ended.
struct Stage {
    scratch: PathBuf,
    ground: Ground,
    copy: Option<Copy>,
    watcher: Option<Watcher<Index, Everything>>,
    from: Option<Resume>,
    told: Vec<String>,
}

impl Stage {
    fn new(scratch: &Path) -> Self {
        lease::block_signal();
        for dir in ["w", "outside"] {
            fs::create_dir(scratch.join(dir)).unwrap();
        }
        let ground = Ground::new(scratch.join("w"), scratch.join("outside"));
        let scratch = scratch.to_owned();
        Self { scratch, ground, copy: None, watcher: None, from: None, told: Vec::new() }
    }

    /// The watcher, which begins if none does its work: the first one only lists what is there.
    fn watcher(&mut self) -> &mut Watcher<Index, Everything> {
        if self.watcher.is_none() {
            let root = fs::File::open(self.scratch.join("w")).unwrap();
            let device = look::open(&root).unwrap().identity.device;
            let store = Index::open(&self.scratch.join("index.db"), device).unwrap();
            let times = Times { rename: Duration::from_millis(4), ..Times::default() };
            let options = Options { times, learn: true, ..Options::default() };
            let setting = Setting { root: Root::Held(root.into()), store, rules: Everything, options };
            let (watcher, changes) = match self.from {
                Some(from) => {
                    let mut watcher = Watcher::resume(setting, from).unwrap();
                    let changes = watcher.compare(Instant::now()).unwrap();
                    (watcher, changes)
                }
                None => (Watcher::begin(setting).unwrap(), Vec::new()),
            };
            self.watcher = Some(watcher);
            self.record(changes);
            self.copy.get_or_insert_with(|| {
                let copied = Command::new("cp")
                    .arg("-a")
                    .arg(self.scratch.join("w"))
                    .arg(self.scratch.join("copy"))
                    .status();
                assert!(copied.unwrap().success());
                Copy::new(self.scratch.join("w"), self.scratch.join("copy"))
            });
        }
        self.watcher.as_mut().unwrap()
    }

    /// What a daemon does: what is known and what is told become lasting in one step.
    fn record(&mut self, changes: Vec<Change>) {
        let watcher = self.watcher.as_mut().unwrap();
        self.from = Some(watcher.memory());
        watcher.store().commit().unwrap();
        for change in changes {
            self.told.push(words(&change));
            make(self.copy.as_mut().unwrap(), &self.ground, &change);
        }
    }

    fn look(&mut self) -> Vec<Change> {
        let watcher = self.watcher();
        watcher.read(Instant::now()).unwrap();
        watcher.settle(Instant::now()).unwrap()
    }

    /// Settles, and has a copy that is the same as the tree.
    fn ends_well(mut self) {
        self.make(&Step::Settle);
        if let Some(difference) = self.copy.unwrap().difference() {
            panic!("{difference}\n--- told\n{}", self.told.join("\n"));
        }
    }

    fn make(&mut self, step: &Step) {
        match step {
            Step::Deed(deed) => self.ground.make(deed),
            Step::Look => {
                let changes = self.look();
                self.record(changes);
            }
            Step::Settle => {
                self.ground.make(&Deed::End);
                let changes = super::changes(self.watcher());
                self.record(changes);
            }
            Step::Learn => {
                let watcher = self.watcher();
                if watcher.is_learning() {
                    watcher.learn(Instant::now()).unwrap();
                    watcher.store().commit().unwrap();
                }
            }
            Step::Restart => {
                let changes = self.look();
                self.record(changes);
                self.watcher = None;
                self.watcher();
            }
            Step::Kill => {
                self.look();
                self.watcher = None;
                self.watcher();
            }
            Step::Sleep => self.watcher = None,
            Step::Compare => {
                let changes = self.watcher().compare(Instant::now()).unwrap();
                self.record(changes);
            }
        }
    }
}

fn replay(steps: &[Step]) {
    let scratch = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(scratch.path());
    for step in steps {
        stage.make(step);
    }
    stage.ends_well();
}

#[test]
fn what_changed_after_the_clock_was_set_back_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(scratch.path());
    let deeds = [Deed::Write("c".to_owned(), 35), Deed::Forge("c".to_owned(), 62)].map(Step::Deed);
    for step in [&deeds[0], &Step::Settle, &Step::Sleep, &deeds[1]] {
        stage.make(step);
    }
    // As if the watch had begun an hour from now, by the clock of then.
    let (from, hour) = (stage.from.as_mut().unwrap(), 3_600_000_000_000);
    (from.begun, from.seen) = (from.begun + hour, from.seen + hour);
    stage.ends_well();
}

/// What was only listed and changed within the same second was not told of.
#[test]
fn an_edit_in_the_second_in_which_the_watch_began_was_missed() {
    look::COARSE.set(true);
    let write = |content| Step::Deed(Deed::Write("c".to_owned(), content));
    let forge = Step::Deed(Deed::Forge("c".to_owned(), 62));
    for between in [Step::Sleep, Step::Settle, Step::Learn] {
        replay(&[write(35), Step::Settle, between, forge.clone(), Step::Sleep, Step::Look]);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whoever_makes_all_changes_to_a_copy_has_the_tree_whatever_ended_the_watch(steps in prop::collection::vec(step(), 1..60)) {
        replay(&steps);
    }

    #[test]
    fn whoever_makes_all_changes_to_a_copy_has_the_tree_whatever_ended_the_watch_also_where_no_birth_is_told_and_seconds_are_whole(steps in prop::collection::vec(step(), 1..60)) {
        look::COARSE.set(true);
        replay(&steps);
    }
}
