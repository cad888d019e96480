//! The key lines that are there already, against the ones that are to be.

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::plan::Plan;
use crate::akeys::forced::{self, Forced};
use crate::authkeys::{KeyFile, Patch, Place, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::report::shown;

/// What puts the lines that are missing behind the last one.
///
/// A key that is there in any other way is a conflict: sshd takes the first line that matches, so a second one would
/// either widen what the key may do or never be looked at.
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
    let keys = shown(layout, &layout.authorized_keys());
    let mut present = false;
    for found in file.find(plan.key.key(), Target::default()) {
        let Some(line) = file.line(found.line) else { continue };
        let what = match found.place {
            Place::Entry if line.content() == plan.line => {
                present = true;
                continue;
            }
            Place::Entry => "this key is there with other options",
            Place::Dead | Place::Beside => "this key is there in a line that sshd cannot use for it",
            Place::Disabled => "this key is there, disabled",
            Place::Comment => continue,
        };
        let message = format!(
            "{keys}:{}: {what}\n  there: {}\n  here:  {}",
            found.line,
            Escaped(line.content()),
            Escaped(&plan.line)
        );
        let hint = format!("nothing was changed; akeys remove --line {}, then install again", found.line);
        return Err(Failure::new(Exit::Conflict, message).hint(hint));
    }
    other_key(file, plan, &keys)?;
    Ok(present)
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
