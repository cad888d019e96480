//! Paths of which the source said something else than their events. What is told is what had settled, and what is asked may be on
//! its way to something else: then an event comes that says so. Or it goes back to what was told, and nobody tells of that:
//! so where no event comes for a while, everything is compared.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::batch::Step;
use crate::event::EventPath;

/// How long to wait for an event that explains it.
pub const WHILE: Duration = Duration::from_secs(1);

/// The longest wait, for what explains itself never: whoever sends events may invent them.
const LONGEST: Duration = Duration::from_mins(10);

/// With so many, comparing costs no more than they did.
const MOST: usize = 100_000;

/// What is in doubt, and until when.
#[derive(Debug)]
pub struct Doubts {
    paths: BTreeMap<EventPath, Instant>,
    pause: Duration,
}

impl Doubts {
    /// Nothing is.
    pub const fn new() -> Self {
        Self { paths: BTreeMap::new(), pause: WHILE }
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// These are.
    pub fn note(&mut self, paths: Vec<EventPath>) {
        let until = Instant::now() + self.pause;
        for path in paths {
            self.paths.entry(path).or_insert(until);
        }
    }

    /// What is made now says what became of these.
    pub fn explain(&mut self, step: &Step) {
        for (path, with_all_below) in step.explains() {
            self.paths.remove(path);
            if with_all_below {
                let below: Vec<_> = path.below(&self.paths).map(|(doubt, _)| doubt.clone()).collect();
                for doubt in below {
                    self.paths.remove(&doubt);
                }
            }
        }
    }

    /// What is.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &EventPath> {
        self.paths.keys()
    }

    /// When everything is to be compared.
    pub fn due(&self) -> Option<Instant> {
        self.paths.values().min().copied()
    }

    /// Whether it is to be compared at once.
    pub fn are_too_many(&self) -> bool {
        self.paths.len() >= MOST
    }

    /// Everything has been compared; with `news` it was worth it.
    pub fn settle(&mut self, news: bool) {
        if !self.is_empty() {
            self.pause = if news { WHILE } else { (self.pause * 2).min(LONGEST) };
        }
        self.paths.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Hint, Want};
    use super::*;
    use crate::event::Kind;

    fn path(path: &str) -> EventPath {
        EventPath::new(path.into()).unwrap()
    }

    fn pause(doubts: &Doubts) -> u64 {
        let wait = doubts.due().unwrap().saturating_duration_since(Instant::now());
        (wait + Duration::from_millis(500)).as_secs()
    }

    #[test]
    fn what_is_explained_is_not_in_doubt_and_neither_is_what_went_with_it() {
        let all = ["a", "a/b", "a/b/c", "a-b", "b"];
        let become_so = |at: &str, want: Want| Step::Become([(path(at), want)].into());
        let rename = |from: &str, to: &str| Step::Rename(path(from), path(to), None);
        let hint = Hint {
            kind: Kind::Directory,
            size: None,
            modified: None,
            mode: Some(0o700),
            sum: None,
            author: "you@laptop".to_owned(),
            put_off: false,
        };
        for (step, left) in [
            (become_so("a", Want::Gone { directory: true }), &["a-b", "b"][..]),
            (become_so("a", Want::Whole), &["a-b", "b"]),
            (rename("a", "c"), &["a-b", "b"]),
            (rename("c", "a/b"), &["a", "a-b", "b"]),
            // A directory's mode says nothing of what is in it, and neither does word of where to look.
            (become_so("a", Want::Like(hint.clone())), &["a-b", "a/b", "a/b/c", "b"]),
            (become_so("a", Want::Look(hint.clone())), &["a-b", "a/b", "a/b/c", "b"]),
            (become_so("b/c", Want::Like(hint)), &["a", "a-b", "a/b", "a/b/c", "b"]),
        ] {
            let mut doubts = Doubts::new();
            doubts.note(all.map(path).into());
            doubts.explain(&step);
            assert_eq!(
                doubts.paths().cloned().collect::<Vec<_>>(),
                left.iter().map(|at| path(at)).collect::<Vec<_>>()
            );
        }
        assert!(Doubts::new().is_empty() && Doubts::new().due().is_none());
    }

    #[test]
    fn who_invents_events_is_compared_with_ever_more_seldom_and_news_makes_it_often_again() {
        let mut doubts = Doubts::new();
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
            doubts.note(vec![path("a")]);
            assert_eq!(pause(&doubts), expected);
            doubts.settle(false);
        }
        doubts.note(vec![path("a")]);
        doubts.settle(true);
        doubts.note(vec![path("a")]);
        assert_eq!(pause(&doubts), 1);
        // A comparison that somebody else asked for is no judgement.
        doubts.settle(true);
        doubts.settle(false);
        doubts.note(vec![path("a")]);
        assert_eq!(pause(&doubts), 1);
    }

    #[test]
    fn doubts_do_not_fill_the_memory() {
        let mut doubts = Doubts::new();
        doubts.note((1..MOST).map(|number| path(&number.to_string())).collect());
        assert!(!doubts.are_too_many());
        doubts.note(vec![path("0")]);
        assert!(doubts.are_too_many());
    }
}
