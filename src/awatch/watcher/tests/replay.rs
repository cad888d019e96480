//! Whoever makes all the changes to a copy has the tree, whatever happened to it and however fast.

use std::fs;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::look;
use super::super::settle::Times;
use super::copy::Copy;
use super::deeds::{Deed, Ground, config, deed};
use super::{Change, Options, Scene};
use crate::event::EventPath;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Deed(Deed),
    /// The watcher looks.
    Look,
    /// The watcher looks until everything has settled.
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![6 => deed().prop_map(Step::Deed), 1 => Just(Step::Look), 1 => Just(Step::Settle)]
}

/// Makes a change to a copy.
pub(super) fn make(copy: &mut Copy, ground: &Ground, change: &Change) {
    let from = change.from.as_ref().map(EventPath::as_path);
    copy.make(
        change.reason,
        change.kind,
        change.path.as_path(),
        from,
        (change.sha256, change.stat.map(|stat| stat.mode)),
    );
    let partial = change.sha256.filter(|sha256| !ground.was_at_rest(sha256));
    assert!(partial.is_none(), "{} while it was being written", super::words(change));
}

fn replay(steps: &[Step]) {
    let times = Times { rename: Duration::from_millis(4), ..Times::default() };
    let mut scene = Scene::with(&[], Options { times, ..Options::default() });
    let mut ground = Ground::new(scene.path(""), scene.outside(""));
    let copy = scene.outside("copy");
    fs::create_dir(&copy).unwrap();
    let mut copy = Copy::new(scene.path(""), copy);
    let mut told = Vec::new();
    for step in steps.iter().chain([&Step::Settle]) {
        let changes = match step {
            Step::Deed(deed) => {
                ground.make(deed);
                continue;
            }
            Step::Look => {
                scene.watcher.read(Instant::now()).unwrap();
                scene.watcher.settle(Instant::now()).unwrap()
            }
            Step::Settle => {
                ground.make(&Deed::End);
                scene.changes()
            }
        };
        for change in changes {
            told.push(super::words(&change));
            make(&mut copy, &ground, &change);
        }
    }
    if let Some(difference) = copy.difference() {
        panic!("{difference}\n--- told\n{}", told.join("\n"));
    }
}

/// What was told wrongly once, each as short as it can be.
#[test]
fn what_went_wrong_once_does_not_again() {
    let s = |text: &str| text.to_owned();
    let settle = Step::Settle;
    let write = |path: &str, n| Step::Deed(Deed::Write(s(path), n));
    let make_dir = |path: &str| Step::Deed(Deed::MakeDir(s(path)));
    let two = |kind: fn(String, String) -> Deed, one: &str, other: &str| Step::Deed(kind(s(one), s(other)));
    let stories = [
        // New directories that change places are reported as gone after they have come.
        vec![make_dir("c"), make_dir("b"), two(Deed::Exchange, "c", "b")],
        // A file and a directory that have changed places, and then are one in the other, waited for each other.
        vec![
            make_dir("b"),
            settle.clone(),
            write("c", 0),
            two(Deed::Exchange, "c", "b"),
            two(Deed::Rename, "b", "c/a"),
        ],
        // A write was reported under one name of a file, and the other went unnoticed: in place,
        vec![write("b", 0), two(Deed::Link, "b", "a"), settle.clone(), write("a", 1)],
        // when another file took that name,
        vec![
            write("b", 0),
            two(Deed::Link, "b", "a"),
            settle.clone(),
            write("a", 1),
            Step::Deed(Deed::Replace(s("a"), 2)),
        ],
        // and when that name left the tree.
        vec![
            write("b", 0),
            two(Deed::Link, "b", "a"),
            settle,
            write("a", 1),
            Step::Deed(Deed::Leave(s("a"), 0)),
        ],
    ];
    for story in stories {
        replay(&story);
    }
    // A new directory with the inode of one that was removed was taken for its rename, and nobody watched it.
    look::COARSE.set(true);
    let remove = |path: &str| Step::Deed(Deed::Remove(s(path)));
    replay(&[make_dir("a"), Step::Settle, remove("a"), make_dir("b/a"), write("a", 36), Step::Look]);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whoever_makes_all_changes_to_a_copy_has_the_tree(steps in prop::collection::vec(step(), 1..60)) {
        replay(&steps);
    }

    #[test]
    fn whoever_makes_all_changes_to_a_copy_has_the_tree_also_where_no_birth_is_told_and_seconds_are_whole(steps in prop::collection::vec(step(), 1..60)) {
        look::COARSE.set(true);
        replay(&steps);
    }
}
