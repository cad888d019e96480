//! `akeys apply`: the keys of the account become those that a file declares.
//!
//! The plan is shown and then carried out in one change; with `--check` it is only shown, and a difference is a finding, for
//! a machine that watches. What is not declared is left alone, unless the declaration says that it is exclusive.

mod declared;
mod plan;

use rrsync_rs::layout::Layout;
use serde_json::json;

use super::cli::Apply;
use super::difference;
use super::elsewhere;
use super::guard::Guard;
use super::safe_write;
use crate::authkeys::{Key, KeyFile};
use crate::common::exit::{Exit, Failure};
use crate::common::input;
use crate::common::json::ascii_with_list;
use crate::common::lock::Lock;
use crate::common::report::{Report, shown};

use declared::State;
use plan::Plan;

/// Runs it.
pub fn run(args: &Apply, layout: &Layout) -> Result<Report, Failure> {
    let declared = input::named(&args.file, declared::parse)?;
    let exclusive = args.exclusive || declared.exclusive;
    let guard = Guard::new(args.allow, layout);
    let mut file = safe_write::read(layout)?.unwrap_or_default();
    let mut plan = Plan::of(&declared, exclusive, &file, layout)?;
    let mut notes = Vec::new();
    if !plan.patch.is_none() {
        notes = match safe_write::judge(layout, &guard, &file, &plan.patch) {
            Ok(notes) => notes,
            // A drift is a drift, also one that would not be mended unasked.
            Err(refused) if args.check => vec![refused.to_string()],
            Err(refused) => return Err(refused.into()),
        };
    }
    if !args.check && !plan.patch.is_none() {
        let lock = Lock::acquire(layout)?;
        let written = safe_write::update(layout, &lock, &guard, |now| {
            file = now.clone();
            plan = Plan::of(&declared, exclusive, now, layout)?;
            Ok::<_, Failure>(plan.patch.clone())
        })?;
        notes = written.notes;
    }
    let mut report = told(args, &plan, &file, notes, layout);
    let shall = |key: &Key, present: bool| {
        declared.keys.iter().any(|one| one.key == *key && (one.state == State::Present) == present)
    };
    let removed = |key: &Key| plan.steps.iter().any(|step| step.action == "remove" && step.key == *key);
    report.notes.extend(elsewhere::beside(|key| shall(key, true), layout));
    report
        .notes
        .extend(elsewhere::notes(|key| shall(key, false) || removed(key) && !shall(key, true), layout));
    Ok(report)
}

fn told(args: &Apply, plan: &Plan, file: &KeyFile, notes: Vec<String>, layout: &Layout) -> Report {
    let mut report = Report { notes, ..Report::default() };
    report.notes.extend(plan.kept.iter().cloned());
    if args.json {
        let steps = plan.steps.iter().map(|step| {
            json!({
                "action": step.action,
                "fingerprint": step.key.fingerprint(),
                "comment": step.name,
                "line": step.line,
            })
        });
        let head = [("changed", (!plan.patch.is_none()).into()), ("applied", (!args.check).into())];
        report.out = ascii_with_list(&head, "steps", steps);
    } else if plan.patch.is_none() {
        report.line("the keys are as declared; nothing changed");
    } else {
        for step in &plan.steps {
            let at = step.line.map_or_else(String::new, |line| format!(" (line {line})"));
            let name = if step.name.is_empty() { String::new() } else { format!(" {}", step.name) };
            report.line(format_args!("{:<8}{}{name}{at}", step.action, step.key.fingerprint()));
        }
        report.line(format_args!("{}:", shown(layout, &layout.authorized_keys())));
        report.out.push_str(&difference::shown(file.bytes(), plan.patch.applied(file).bytes()));
    }
    if args.check && !plan.patch.is_none() {
        report.note("nothing was changed (--check)");
        report.exit = Exit::Findings;
    }
    report
}
