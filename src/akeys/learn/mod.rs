//! `akeys learn`: what a grant would have needed for the requests that it refused, and the changes that its owner chooses.
//!
//! Nothing is allowed by being asked for: every change is made by its number, and only in the policy file.

mod learned;
mod show;

use std::collections::BTreeSet;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::cli::Learn;
use super::difference;
use super::gate;
use super::grant::unreadable;
use super::policy::{Edit, Policy};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::report::{Report, shown};

use learned::Lessons;

/// Whether a change can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The grant does not allow it yet.
    Open,
    /// The grant allows it.
    InEffect,
    /// It names something that the grant does not have any more.
    Gone,
}

/// Runs it.
pub fn run(args: &Learn, layout: &Layout) -> Result<Report, Failure> {
    let policy = open(args, layout)?;
    let lessons = learned::read(layout, &args.grant).map_err(|error| {
        Failure::new(Exit::Failed, format!("{}: {error}", Escaped::os(&layout.audit_file())))
    })?;
    let mut report = Report::default();
    if lessons.unreadable > 0 {
        report.note(format_args!("{} lines of the audit file cannot be read", lessons.unreadable));
    }
    if args.apply.is_empty() && !args.apply_all {
        report.out = if args.json {
            show::json(&policy, &lessons)
        } else {
            show::text(&policy, &lessons, &mut report.notes)
        };
        return Ok(report);
    }
    let edits = chosen(args, &policy, &lessons)?;
    let preview = changed(&policy, &edits, layout)?;
    if args.dry_run {
        tell(&policy, &preview, layout, &mut report);
        report.note("nothing was written (--dry-run)");
        return Ok(report);
    }
    let lock = Lock::acquire(layout)?;
    // Once more under the lock: another program may have changed it.
    let policy = open(args, layout)?;
    let new = changed(&policy, &edits, layout)?;
    if new.text != policy.text {
        new.write(layout, &lock)?;
    }
    tell(&policy, &new, layout, &mut report);
    Ok(report)
}

fn open(args: &Learn, layout: &Layout) -> Result<Policy, Failure> {
    Policy::open(&args.grant, layout).map_err(|error| unreadable(&error, &args.grant, layout))
}

/// The changes of the numbers that were named, or all that can be made.
fn chosen(args: &Learn, policy: &Policy, lessons: &Lessons) -> Result<Vec<Edit>, Failure> {
    let edit = |index: usize| lessons.learned.get(index).map(|known| Edit::Learned(known.change.clone()));
    if args.apply_all {
        let open = (0..lessons.learned.len())
            .filter_map(edit)
            .filter(|edit| standing(edit, policy) == Standing::Open);
        return Ok(open.collect());
    }
    let numbers: BTreeSet<usize> = args.apply.iter().copied().collect();
    let one = |number: usize| {
        number.checked_sub(1).and_then(edit).ok_or_else(|| {
            Failure::new(Exit::NoMatch, format!("there is no change {number}"))
                .hint(format!("akeys learn {} shows them", policy.name))
        })
    };
    numbers.into_iter().map(one).collect()
}

fn standing(edit: &Edit, policy: &Policy) -> Standing {
    if edit.holds_in(&policy.grant) {
        Standing::InEffect
    } else if edit.apply(&mut policy.grant.clone()).is_err() {
        Standing::Gone
    } else {
        Standing::Open
    }
}

fn changed(policy: &Policy, edits: &[Edit], layout: &Layout) -> Result<Policy, Failure> {
    Ok(policy.changed(edits, layout, &[&gate::own_directory()])?)
}

/// What the key may do now, and the lines that differ.
fn tell(before: &Policy, after: &Policy, layout: &Layout, report: &mut Report) {
    let file = shown(layout, &layout.grant_file(&before.name));
    if before.text == after.text {
        report.line(format_args!("{file}: nothing to change"));
        return;
    }
    report.line(format_args!("{file}:"));
    report.out.push_str(&difference::shown(before.text.as_bytes(), after.text.as_bytes()));
    report.line(format_args!("before: {}", before.grant.summary()));
    report.line(format_args!("after:  {}", after.grant.summary()));
}
