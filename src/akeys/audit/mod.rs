//! `akeys audit`: what is wrong in a key file and around it.
//!
//! `catalogue` is the table of everything that can be found. One pass over the lines asks `dead`, `text`, `options`, `limits`, `keys`
//! and `command` about each, and `together` about lines with the same key; `place` looks at the file and its directories,
//! `server` at sshd's configuration. `show` tells the findings, `fix` mends what can be mended without letting anybody in.

mod catalogue;
mod command;
mod dead;
mod facts;
mod finding;
mod fix;
mod keys;
mod limits;
mod options;
mod place;
mod server;
mod show;
mod text;
mod together;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};

use rrsync_rs::layout::Layout;

pub use catalogue::{Code, RULES, Rule, Severity};
pub use facts::Facts;
pub(in crate::akeys) use facts::public_keys;
pub use finding::{At, Basket, Finding, Fix};
pub(in crate::akeys) use show::{object, one};
pub(in crate::akeys) use text::misleading;

use super::cli::Audit;
use super::source;
use crate::authkeys::{KeyFile, Reading, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::report::Report;

use facts::Surroundings;

/// Runs it.
pub fn run(args: &Audit, layout: &Layout) -> Result<Report, Failure> {
    if args.codes {
        return Ok(Report::data(show::codes(args.severity, args.json)));
    }
    let own = layout.authorized_keys();
    let path = args.file.clone().unwrap_or_else(|| own.clone());
    let bytes = match &args.file {
        Some(path) => source::named(path),
        // What is no regular file has no lines, and is a finding itself.
        None => {
            source::own(&path).or_else(|failure| if path.is_file() { Err(failure) } else { Ok(Vec::new()) })
        }
    }?;
    let file = KeyFile::parse(bytes);
    let surroundings = Surroundings::of(&path, layout);
    let facts = surroundings.facts(args.target.map(Into::into));
    if args.fix {
        return fix::run(&file, &facts, args, layout);
    }
    let findings = findings(&file, &path, &facts, &surroundings, args.severity);
    let shown =
        show::Shown { path: &path, file: &file, target: facts.rules.target, findings: &findings, layout };
    let out = match (args.json, args.sarif) {
        (true, _) => show::json(&shown),
        (_, true) => show::sarif(&shown),
        _ => show::text(&shown),
    };
    let mut report = Report::data(out);
    report.notes.extend(surroundings.note());
    report.note(show::summary(&findings));
    if !findings.is_empty() {
        report.exit = Exit::Findings;
    }
    Ok(report)
}

/// Everything about the file, its place and sshd's configuration, from `least` on.
fn findings(
    file: &KeyFile,
    path: &Path,
    facts: &Facts<'_>,
    surroundings: &Surroundings,
    least: Severity,
) -> Vec<Finding> {
    let mut basket = Basket::new(least);
    surroundings.judge(path, &mut basket);
    judge(file, facts, &mut basket);
    basket.sorted()
}

/// What is wrong with the lines of a key file; for `akeys explain`.
pub fn of_lines(file: &KeyFile, path: &Path, layout: &Layout, target: Target) -> Vec<Finding> {
    let surroundings = Surroundings::of(path, layout);
    let mut basket = Basket::new(Severity::Low);
    judge(file, &surroundings.facts(Some(target)), &mut basket);
    basket.sorted()
}

/// Puts what is wrong with the lines of `file` into the basket, in one pass.
pub fn judge(file: &KeyFile, facts: &Facts<'_>, basket: &mut Basket) {
    if text::is_utf16(file.bytes()) {
        let message = || "the file is in UTF-16, and no line of it works".to_owned();
        basket.put(Code::Utf16, At::File, message).hint("iconv -f UTF-16 -t UTF-8");
        return;
    }
    text::judge_cr_only(file.bytes(), basket);
    // Keyed at random, so that nobody can choose keys whose digests meet.
    let digest = RandomState::new();
    let mut ends = text::LineEnds::default();
    let mut same_keys = together::SameKeys::default();
    let mut comments = keys::Comments::default();
    let mut commands = command::Commands::default();
    for line in file.lines() {
        let reading = line.read(facts.rules);
        text::judge(line, &reading, &mut ends, basket);
        match &reading {
            Reading::Blank | Reading::Comment => {}
            Reading::Dead(dead) => dead::judge(line, dead, file.line(line.number() + 1), facts.rules, basket),
            Reading::Entry(entry) => {
                let key = digest.hash_one(entry.key.blob());
                options::judge(line, entry, facts, basket);
                keys::judge(line, entry, facts, basket);
                commands.judge(line, entry, facts, basket);
                comments.note(line, entry, digest.hash_one(entry.comment), key, basket);
                same_keys.note(key, line.number());
            }
        }
    }
    text::judge_ends(file.lines().next_back(), &ends, basket);
    same_keys.judge(file, facts, basket);
}

/// Where a key file with this path really is; itself when it cannot be followed.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
