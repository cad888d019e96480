//! The key lines that are there already, against the ones that are to be.

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::plan::Plan;
use crate::akeys::forced::{self, Forced};
use crate::authkeys::{KeyFile, Place, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::report::shown;

/// The file with the lines that are missing behind its last one; `None` when none is.
///
/// A key that is there in any other way is a conflict: sshd takes the first line that matches, so a second one would
/// either widen what the key may do or never be looked at.
pub(super) fn add_lines(bytes: &[u8], plans: &[Plan], layout: &Layout) -> Result<Option<Vec<u8>>, Failure> {
    let mut file = KeyFile::parse(bytes.to_vec());
    let mut changed = false;
    for plan in plans {
        if is_present(&file, plan, layout)? {
            continue;
        }
        // Debian 12's sshd and the newest one: whichever reads the file must take the line.
        for target in [Target::OpenSsh9_2, Target::OpenSsh10_5] {
            file.append_line(&plan.line, target).map_err(|error| Failure::new(Exit::Failed, error))?;
        }
        let longer = file.append_line(&plan.line, Target::default());
        file = KeyFile::parse(longer.map_err(|error| Failure::new(Exit::Failed, error))?);
        changed = true;
    }
    Ok(changed.then(|| file.into_bytes()))
}

/// Whether a file holds exactly this line.
pub(super) fn holds_line(bytes: &[u8], line: &[u8]) -> bool {
    KeyFile::parse(bytes.to_vec()).lines().any(|have| have.content() == line)
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
