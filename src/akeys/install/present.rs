//! The key lines that are there already, against the ones that are to be.

use rrsync_rs::layout::Layout;

use super::plan::Plan;
use crate::akeys::forced::{self, Forced};
use crate::akeys::present;
use crate::authkeys::{KeyFile, Line, Patch, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::report::shown;

/// What puts the lines that are missing behind the last one.
pub(super) fn add_lines(file: &KeyFile, plans: &[Plan], layout: &Layout) -> Result<Patch, Failure> {
    let mut lines: Vec<&[u8]> = Vec::new();
    for plan in plans {
        if !is_present(file, plan, layout)? {
            lines.push(&plan.line);
        }
    }
    file.append(&lines, Target::default()).map_err(|error| Failure::new(Exit::Failed, error))
}

/// Whether a file holds exactly this line.
pub(super) fn holds_line(file: &KeyFile, line: &[u8]) -> bool {
    file.lines().any(|have| have.content() == line)
}

fn is_present(file: &KeyFile, plan: &Plan, layout: &Layout) -> Result<bool, Failure> {
    let same = |line: Line<'_>| line.content() == plan.line;
    let there = present::line_of(file, plan.key.key(), &plan.line, same, layout)?;
    other_key(file, plan, &shown(layout, &layout.authorized_keys()))?;
    Ok(there.is_some())
}

/// Two keys must not share a policy by accident: the pod has a new key, or two pods have one name.
fn other_key(file: &KeyFile, plan: &Plan, keys: &str) -> Result<(), Failure> {
    for line in file.lines() {
        let reading = line.read(Target::default());
        let Some(entry) = reading.entry().filter(|entry| entry.key != *plan.key.key()) else { continue };
        let command = entry.options.command.as_deref().map(forced::read);
        if matches!(command, Some(Forced::Grant { ref name, .. }) if *name == plan.name) {
            let message = format!(
                "{keys}:{}: the grant {} is there for another key\n  there: {}\n  here:  {}",
                line.number(),
                plan.name,
                entry.key.fingerprint(),
                plan.key.fingerprint()
            );
            let hint =
                format!("nothing was changed; akeys remove --line {}, then install again", line.number());
            return Err(Failure::new(Exit::Conflict, message).hint(hint));
        }
    }
    Ok(())
}
