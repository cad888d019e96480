//! Where rrsync 3.5.0 is wrong, unsafe or surprising: what it did with each such command line, and what the gate does
//! instead.
//!
//! `data/rrsync-quirks.tsv` has one recorded case a line, the tags of its quirks behind it, and the gate's answer. The
//! answers were reviewed by hand; `docs/differences-from-rrsync.md` says for each tag which kinds of answer there are,
//! how many, and why. This test holds all three together, so that no answer changes unnoticed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod fixtures;
mod table;
mod text;

use std::collections::BTreeMap;

use fixtures::Fixtures;
use table::{Case, DOCUMENT, Ground, Judged, judge};

const TABLE: &str = include_str!("data/rrsync-quirks.tsv");

/// One kind of answer to the cases of a tag: a row of that tag's table in the document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    tag: String,
    /// What rrsync did.
    recorded: String,
    /// What the gate does: `same`, `run` with other options or paths, or `refuse` and the rule.
    gate: String,
}

impl Kind {
    fn new(tag: &str, recorded: &str, gate: &str) -> Self {
        Self { tag: tag.to_owned(), recorded: recorded.to_owned(), gate: gate.to_owned() }
    }
}

/// The tags in the order of the document, the kinds that it knows, and how many cases each has there.
fn documented() -> (Vec<&'static str>, BTreeMap<Kind, usize>) {
    let mut tags = Vec::new();
    let mut kinds = BTreeMap::new();
    let mut tag = "";
    for line in DOCUMENT.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            tag = heading.split(':').next().unwrap();
            tags.push(tag);
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if let [recorded @ ("run" | "refuse" | "crash"), gate, cases, _why] = cells.as_slice() {
            let kind = Kind::new(tag, recorded, gate);
            assert_eq!(kinds.insert(kind, cases.parse().unwrap()), None, "{line} twice");
        }
    }
    (tags, kinds)
}

/// The tags and the reviewed answer of a line.
fn expectation(line: &str) -> (&str, &str) {
    let mut fields = line.split('\t').skip(8);
    (fields.next().unwrap(), fields.next().unwrap_or_default())
}

fn gate_of(judged: &Judged) -> &str {
    match &judged.difference {
        None => "same",
        Some(_) if judged.answer.starts_with("run") => "run",
        Some(_) => &judged.answer,
    }
}

#[test]
fn every_quirk_is_answered_as_reviewed() {
    let fixtures = Fixtures::build("rrsync-quirks");
    let root = nix::unistd::geteuid().is_root();
    let (order, documented) = documented();
    let mut counted: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in TABLE.lines() {
        let case = Case::read(line);
        let (tags, answer) = expectation(line);
        let judged = if case.needs_root() && !root {
            // Taken on trust here; whoever is root checks it.
            let difference = (!answer.starts_with(case.outcome)).then(String::new);
            Judged { answer: answer.to_owned(), difference }
        } else {
            judge(&case, &Ground::new(&fixtures, &case))
        };
        if judged.answer != answer {
            wrong.push(format!("{}:\n  reviewed {answer}\n  now      {}", case.shown(), judged.answer));
        }
        // A case with several tags counts where the document comes to it first.
        let tagged = order.iter().filter(|tag| tags.split(',').any(|other| other == **tag));
        let mut kinds = tagged.map(|tag| Kind::new(tag, case.outcome, gate_of(&judged)));
        match kinds.find(|kind| documented.contains_key(kind)) {
            Some(kind) => *counted.entry(kind).or_default() += 1,
            None => wrong.push(format!("{} {tags}: undocumented: {}", case.shown(), gate_of(&judged))),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), TABLE.lines().count(), wrong.join("\n"));
    for (kind, cases) in documented {
        assert_eq!(counted.remove(&kind), Some(cases), "the document counts other cases: {kind:?}");
    }
}
