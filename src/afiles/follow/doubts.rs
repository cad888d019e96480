//! Paths of which the source said something else than their events. What is told is what had settled, and what is asked may be on
//! its way to something else: then an event comes that says so. Or it goes back to what was told, and nobody tells of that:
//! so where no event comes for a while, everything is compared.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

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

    /// It is said what became of the path, and of what is below it.
    pub fn explain(&mut self, path: &EventPath) {
        self.paths.remove(path);
        let below: Vec<_> = path.below(&self.paths).map(|(doubt, _)| doubt.clone()).collect();
        for doubt in below {
            self.paths.remove(&doubt);
        }
    }

    /// What is.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &EventPath> {
        self.paths.keys()
    }

    /// When everything is to be compared.
    pub fn due(&self) -> Option<Instant> {
        if self.paths.len() >= MOST {
            return Some(Instant::now());
        }
        self.paths.values().min().copied()
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
    use super::*;

    fn path(path: &str) -> EventPath {
        EventPath::new(path.into()).unwrap()
    }

    fn pause(doubts: &Doubts) -> u64 {
        let wait = doubts.due().unwrap().saturating_duration_since(Instant::now());
        (wait + Duration::from_millis(500)).as_secs()
    }

    #[test]
    fn what_is_explained_is_not_in_doubt_and_neither_is_what_is_below_it() {
        let mut doubts = Doubts::new();
        doubts.note(["a", "a/b", "a/b/c", "a-b", "b"].map(path).into());
        doubts.explain(&path("a"));
        assert_eq!(doubts.paths().collect::<Vec<_>>(), [&path("a-b"), &path("b")]);
        doubts.explain(&path("b/c"));
        doubts.explain(&path("a-b"));
        doubts.explain(&path("b"));
        assert!(doubts.is_empty() && doubts.due().is_none());
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
        doubts.note((0..MOST).map(|number| path(&number.to_string())).collect());
        assert_eq!(pause(&doubts), 0);
    }
}
