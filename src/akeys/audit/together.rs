//! Lines with the same key: which of them sshd uses, and which restriction another one undoes.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::Path;

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;

use crate::akeys::relation::{self, Relation};
use crate::authkeys::{Entry, KeyFile, Line};

use super::Facts;
use super::catalogue::Code;
use super::finding::{At, Basket};

/// The lines of each key, by a digest of the key.
#[derive(Debug, Default)]
pub(super) struct SameKeys(HashMap<u64, Numbers>);

/// Nearly every key has one line, so only the others cost a list.
#[derive(Debug)]
enum Numbers {
    One(usize),
    Several(Vec<usize>),
}

impl SameKeys {
    /// Notes that a live line has this key.
    pub(super) fn note(&mut self, key: u64, line: usize) {
        let lines = self.0.entry(key).or_insert(Numbers::One(line));
        match lines {
            Numbers::One(first) if *first != line => *lines = Numbers::Several(vec![*first, line]),
            Numbers::One(_) => {}
            Numbers::Several(all) => all.push(line),
        }
    }

    /// Puts what the lines of one key do to each other into the basket.
    pub(super) fn judge(self, file: &KeyFile, facts: &Facts<'_>, basket: &mut Basket) {
        let several = self.0.into_values().filter_map(|lines| match lines {
            Numbers::One(_) => None,
            Numbers::Several(all) => Some(all),
        });
        for numbers in several {
            let readings: Vec<_> = numbers
                .iter()
                .filter_map(|&number| Some((number, file.line(number)?.read(facts.rules))))
                .collect();
            let entries: Vec<(usize, &Entry<'_>)> =
                readings.iter().filter_map(|(number, reading)| Some((*number, reading.entry()?))).collect();
            // Two keys may share a digest; they do not share a fate.
            for (index, (number, entry)) in entries.iter().enumerate() {
                let earlier = entries[..index].iter().filter(|(_, earlier)| earlier.key == entry.key);
                one(*number, entry, earlier, file, facts.now, basket);
            }
        }
    }
}

/// More lines of one key than these are not compared across files.
const COMPARED: usize = 64;

/// Puts what the lines of one key in different files do to each other into the baskets, one for each file in sshd's order.
pub(super) fn across(files: &[(&Path, &KeyFile)], facts: &Facts<'_>, baskets: &mut [Basket]) {
    if files.len() < 2 {
        return;
    }
    let digest = RandomState::new();
    let mut places: HashMap<u64, Vec<(usize, usize)>> = HashMap::new();
    for (index, (_, file)) in files.iter().enumerate() {
        for line in file.lines() {
            if let Some(entry) = line.read(facts.rules).entry() {
                let lines = places.entry(digest.hash_one(entry.key.blob())).or_default();
                if lines.len() < COMPARED {
                    lines.push((index, line.number()));
                }
            }
        }
    }
    for lines in places.into_values() {
        for (position, &(later_file, later)) in lines.iter().enumerate() {
            for &(earlier_file, earlier) in lines[..position].iter().filter(|(file, _)| *file != later_file) {
                pair(files, (earlier_file, earlier), (later_file, later), facts, &mut baskets[later_file]);
            }
        }
    }
}

/// Judges a line by one with its key in an earlier file.
fn pair(
    files: &[(&Path, &KeyFile)],
    (earlier_file, earlier): (usize, usize),
    (later_file, later): (usize, usize),
    facts: &Facts<'_>,
    basket: &mut Basket,
) -> Option<()> {
    let (path, before) = &files[earlier_file];
    let (before, after) =
        (before.line(earlier)?.read(facts.rules), files[later_file].1.line(later)?.read(facts.rules));
    let (before, after) = (before.entry()?, after.entry()?);
    if before.key != after.key {
        return None;
    }
    let at = At::Line { number: later, column: after.key_span.start + 1 };
    let first = format!("line {earlier} of {}", Escaped::os(path));
    let (code, message) = match relation::of(&before.options, &after.options, facts.now)? {
        Relation::CaAndPlain => {
            (Code::CaAndPlain, format!("the same key as on {first}, once as an authority and once to log in"))
        }
        Relation::Duplicate => (Code::Duplicate, format!("the same key and options as on {first}")),
        Relation::Shadowed => (
            Code::Shadowed,
            format!("{first} lets this key in first, with more rights; these options never apply"),
        ),
        Relation::Fallthrough => (
            Code::Fallthrough,
            format!("lets this key in where {first} refuses it, with at least the same rights"),
        ),
    };
    basket.put(code, at, || message);
    Some(())
}

/// Judges one line by the earlier lines with its key: at most one finding for each of those.
fn one<'a>(
    number: usize,
    entry: &Entry<'_>,
    earlier: impl Iterator<Item = &'a (usize, &'a Entry<'a>)>,
    file: &KeyFile,
    now: Timestamp,
    basket: &mut Basket,
) {
    let at = || At::Line { number, column: entry.key_span.start + 1 };
    for &(first, before) in earlier {
        match relation::of(&before.options, &entry.options, now) {
            None => {}
            Some(Relation::CaAndPlain) => {
                let message =
                    || format!("the same key as on line {first}, once as an authority and once to log in");
                basket.put(Code::CaAndPlain, at(), message);
            }
            Some(Relation::Duplicate) => {
                let span = file.line(number).map_or(0..0, Line::span);
                let message = || format!("the same key and options as on line {first}");
                basket.put(Code::Duplicate, at(), message).fix("takes the line out", span, b"");
                return;
            }
            Some(Relation::Shadowed) => {
                let message = || {
                    format!(
                        "line {first} lets this key in first, with more rights; these options never apply"
                    )
                };
                basket.put(Code::Shadowed, at(), message).hint(format!("take line {first} out, or this one"));
                return;
            }
            Some(Relation::Fallthrough) => {
                let message = || {
                    format!("lets this key in where line {first} refuses it, with at least the same rights")
                };
                basket
                    .put(Code::Fallthrough, at(), message)
                    .hint(format!("the limits of line {first} hold only without this one"));
                return;
            }
        }
    }
}
