//! `akeys audit --fix`: the edits that mend a key file without letting anybody in.
//!
//! Only what is certain is mended: a missing line end, an empty option, another spelling of the same key, a copy of a line,
//! a line whose time is over. Bringing a dead line to life is nobody's mending: it might let in a key that its owner
//! believes to be gone. Every edit is shown before it is made, and the whole is refused if any key gained by it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rrsync_rs::layout::Layout;

use super::catalogue::Severity;
use super::facts::Facts;
use super::finding::{Basket, Finding, Fix};
use super::show;
use crate::akeys::cli::Audit;
use crate::akeys::guard::Guard;
use crate::akeys::safe_write;
use crate::authkeys::{Key, KeyFile, Options, Patch, Rules};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::report::{Report, shown};

/// Edits that do not touch each other, in the order of the file.
#[derive(Debug, Default)]
struct Plan(Vec<(Fix, Finding)>);

/// Shows the plan, and with `--yes` carries it out on the account's own key file.
pub(super) fn run(
    file: &KeyFile,
    facts: &Facts<'_>,
    args: &Audit,
    layout: &Layout,
) -> Result<Report, Failure> {
    let name = shown(layout, &layout.authorized_keys());
    let plan = Plan::of(file, facts, args.severity);
    if plan.0.is_empty() {
        let mut report = Report::default();
        report.note("nothing can be mended without a decision of yours: akeys audit");
        return Ok(report);
    }
    let mut report = Report::data(plan.preview(file, &name));
    if !args.yes {
        plan.patch(file, facts.rules)?;
        report.note("nothing was changed; --yes changes it");
        report.exit = Exit::Findings;
        return Ok(report);
    }
    let lock = Lock::acquire(layout)?;
    // Planned again on what is there under the lock.
    let guard = Guard::new(args.allow, layout);
    let written = safe_write::update(layout, &lock, &guard, |file| {
        let plan = Plan::of(file, facts, args.severity);
        report.out = plan.preview(file, &name);
        plan.patch(file, facts.rules)
    })?;
    report.notes.extend(written.notes);
    report.note("mended; the file as it was is in ~/.local/state/akeys/backups");
    Ok(report)
}

impl Plan {
    fn of(file: &KeyFile, facts: &Facts<'_>, least: Severity) -> Self {
        let mut basket = Basket::new(least);
        super::judge(file, facts, &mut basket);
        let mut edits: Vec<(Fix, Finding)> = basket
            .sorted()
            .into_iter()
            .filter_map(|finding| Some((*finding.fix.clone()?, finding)))
            .collect();
        // Where two edits meet, the one that takes more goes first and the other is left for the next run.
        edits.sort_by_key(|(fix, _)| (fix.span.start, std::cmp::Reverse(fix.span.end)));
        let mut end = 0;
        edits.retain(|(fix, _)| {
            let apart = fix.span.start >= end;
            if apart {
                end = fix.span.end.max(fix.span.start + 1);
            }
            apart
        });
        Self(edits)
    }

    /// The edits as one change.
    fn patch(&self, file: &KeyFile, rules: Rules) -> Result<Patch, Failure> {
        let edits = self.0.iter().map(|(fix, _)| Patch::splice(fix.span.clone(), fix.with.as_slice()));
        let patch = Patch::all(edits).unwrap_or_default();
        if gains(file, &patch.applied(file), rules) {
            return Err(Failure::new(
                Exit::Failed,
                "mending would give a key more than it has; nothing was changed",
            ));
        }
        Ok(patch)
    }

    /// What would change, line by line.
    fn preview(&self, file: &KeyFile, name: &str) -> String {
        let mut lines: BTreeMap<usize, Vec<&(Fix, Finding)>> = BTreeMap::new();
        for edit in &self.0 {
            lines.entry(edit.1.line().unwrap_or_default()).or_default().push(edit);
        }
        let mut out = String::new();
        for (number, edits) in lines {
            let Some(line) = file.line(number) else { continue };
            for (fix, finding) in &edits {
                let _ = writeln!(out, "{name}:{number}: {}: {}", finding.code, fix.deed);
            }
            let _ = writeln!(out, "- {}", show::line(line.raw()));
            let mut after = line.raw().to_vec();
            for (fix, _) in edits.iter().rev() {
                let (start, end) = (fix.span.start - line.span().start, fix.span.end - line.span().start);
                after.splice(start..end, fix.with.iter().copied());
            }
            if !after.is_empty() {
                let _ = writeln!(out, "+ {}", show::line(&after));
            }
        }
        out
    }
}

/// Whether `after` lets a key do something that `before` did not: its live lines must be live lines of `before`, in their
/// order.
fn gains(before: &KeyFile, after: &KeyFile, rules: Rules) -> bool {
    let live = |file: &KeyFile| -> Vec<(Key, Options)> {
        let entries = file.lines().filter_map(|line| {
            line.read(rules)
                .entry()
                .map(|entry| (entry.key.clone(), Options { items: Vec::new(), ..entry.options.clone() }))
        });
        entries.collect()
    };
    let before = live(before);
    let mut rest = before.iter();
    live(after).iter().any(|entry| !rest.any(|earlier| earlier == entry))
}

/// The file with everything mended that can be.
#[cfg(test)]
pub(super) fn mended(file: &KeyFile, facts: &Facts<'_>) -> Result<KeyFile, Failure> {
    Ok(Plan::of(file, facts, Severity::Info).patch(file, facts.rules)?.applied(file))
}
