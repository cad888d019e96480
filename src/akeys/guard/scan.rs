//! The lines that a change brings and takes, and every other line with one of their keys.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;

use super::loss::{self, Way};
use crate::akeys::relation;
use crate::authkeys::{Dead, Key, Line, Needle, Options, Reading, Target, Touched};

/// So many keys are looked for by their text; it takes less than to read a line.
const FEW: usize = 4;

/// One line of a key.
#[derive(Debug, Clone)]
pub(super) struct HeldLine {
    /// Its number, in the file that it is in.
    pub(super) number: usize,
    /// What it says.
    pub(super) options: Options,
    /// It is in one of the two files only.
    pub(super) fresh: bool,
}

/// The lines of one key, in order.
#[derive(Debug)]
pub(super) struct Held {
    key: Key,
    /// In the file as it is.
    pub(super) before: Vec<HeldLine>,
    /// In the file as it would be.
    pub(super) after: Vec<HeldLine>,
}

impl Held {
    /// Whose lines they are.
    pub(super) fn fingerprint(&self) -> String {
        self.key.fingerprint()
    }

    /// Whether two lines of these meanings stand in this order already.
    pub(super) fn held_before(&self, earlier: &Options, later: &Options) -> bool {
        let mut lines = self.before.iter();
        lines.any(|line| relation::same(&line.options, earlier))
            && lines.any(|line| relation::same(&line.options, later))
    }
}

/// What a change comes to.
#[derive(Debug)]
pub(super) struct Scan {
    /// The first new line that sshd passes over, if there are more such lines than before.
    pub(super) dead: Option<(usize, Dead)>,
    /// The keys that the change is about.
    pub(super) keys: BTreeMap<Vec<u8>, Held>,
    /// The best way in that a key has with which the change has nothing to do.
    pub(super) other_way: Way,
}

impl Scan {
    /// Reads every line of the file as it would be, and those that would go.
    pub(super) fn of(touched: &Touched<'_>, now: Timestamp) -> Self {
        let mut scan = Self { dead: None, keys: BTreeMap::new(), other_way: Way::None };
        let mut dead_ones = 0usize;
        for line in touched.gone() {
            dead_ones += usize::from(dead(line).is_some());
            if let Some((key, options)) = live(line) {
                scan.held(key).before.push(HeldLine { number: line.number(), options, fresh: true });
            }
        }
        for after in touched.lines().filter(|after| after.was.is_none()) {
            let number = after.line.number();
            if let Some(found) = dead(after.line) {
                match dead_ones.checked_sub(1) {
                    // A key that is cut out of a dead line leaves one.
                    Some(rest) => dead_ones = rest,
                    None => scan.dead = scan.dead.or(Some((number, found))),
                }
            }
            if let Some((key, options)) = live(after.line) {
                scan.held(key).after.push(HeldLine { number, options, fresh: true });
            }
        }
        scan.pass_over_the_rest(touched, now);
        for held in scan.keys.values_mut() {
            held.before.sort_by_key(|line| line.number);
            held.after.sort_by_key(|line| line.number);
        }
        scan
    }

    /// Collects the untouched lines of the keys that the change is about, and looks what the others can do.
    fn pass_over_the_rest(&mut self, touched: &Touched<'_>, now: Timestamp) {
        // Keys that an earlier line keeps from a shell: a later line of theirs opens none.
        let mut kept = HashSet::new();
        let keys: Vec<Key> = self.keys.values().map(|held| held.key.clone()).collect();
        let needles: Vec<Needle<'_>> = keys.iter().map(Needle::new).collect();
        // Once a shell is found, other keys do not matter; then a line is read only if it can hold one of these.
        let matters = |line: Line<'_>, other_way: Way| {
            other_way < Way::Shell
                || needles.len() > FEW
                || needles.iter().any(|needle| needle.may_be_in(line.raw()))
        };
        for after in touched.lines() {
            let Some(was) = after.was else { continue };
            if !matters(after.line, self.other_way) {
                continue;
            }
            let Some((key, options)) = live(after.line) else { continue };
            if let Some(held) = self.keys.get_mut(key.blob()) {
                held.before.push(HeldLine { number: was, options: options.clone(), fresh: false });
                held.after.push(HeldLine { number: after.line.number(), options, fresh: false });
            } else if self.other_way < Way::Shell {
                let way = loss::way(&options, now);
                if way > self.other_way && !kept.contains(&key) {
                    self.other_way = way;
                }
                if way < Way::Shell && !relation::conditional(&options) && !relation::void(&options, now) {
                    kept.insert(key);
                }
            }
        }
    }

    fn held(&mut self, key: Key) -> &mut Held {
        self.keys.entry(key.blob().to_vec()).or_insert(Held { key, before: Vec::new(), after: Vec::new() })
    }
}

/// The key and the options of a line, if sshd uses it.
fn live(line: Line<'_>) -> Option<(Key, Options)> {
    match line.read(Target::default()) {
        Reading::Entry(entry) => Some((entry.key, entry.options)),
        _ => None,
    }
}

/// Why some sshd passes over a line that is no comment.
fn dead(line: Line<'_>) -> Option<Dead> {
    Target::OPENSSH.into_iter().find_map(|target| match line.read(target) {
        Reading::Dead(dead) => Some(dead),
        _ => None,
    })
}
