//! rrsync's own behaviour as a table: what rrsync 3.5.0 did with each command line, and that the gate does the same.
//!
//! `data/rrsync-cases.tsv` has one recorded case a line. Differences are deliberate, and each is listed with its reason
//! in `docs/differences-from-rrsync.md`, which this test reads; a difference that is not listed, or a listed one that is
//! none, fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod fixtures;
mod table;
mod text;

use std::collections::BTreeMap;

use fixtures::Fixtures;
use table::{Case, DOCUMENT, Ground, judge};

const TABLE: &str = include_str!("data/rrsync-cases.tsv");

/// The case was recorded as root, whose pattern matches in a directory that nobody else may list.
const LISTED_BY_ROOT: &str = "1276";

/// Where the gate differs on purpose: the number of the case, and why. Rows of the document that start with numbers.
fn differences() -> BTreeMap<&'static str, &'static str> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let numbered = rows.filter(|(numbers, _)| numbers.starts_with(|c: char| c.is_ascii_digit()));
    numbered.flat_map(|(numbers, why)| numbers.split(", ").map(move |number| (number, why))).collect()
}

#[test]
fn the_gate_does_what_rrsync_does() {
    let fixtures = Fixtures::build("rrsync-table");
    let root = nix::unistd::geteuid().is_root();
    let mut differences = differences();
    let (mut compared, mut wrong) = (0, Vec::new());
    for case in TABLE.lines().map(Case::read) {
        let listed = differences.remove(case.number);
        if (case.needs_root() || case.number == LISTED_BY_ROOT) && !root {
            continue;
        }
        compared += 1;
        match (judge(&case, &Ground::new(&fixtures, &case)).difference, listed) {
            (None, None) | (Some(_), Some(_)) => {}
            (Some(found), None) => wrong.push(format!("{}: {found}", case.shown())),
            (None, Some(reason)) => {
                wrong.push(format!("{} is listed as different ({reason}), and is not", case.number));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(differences.is_empty(), "listed, and no cases: {differences:?}");
}
