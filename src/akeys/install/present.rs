//! The key lines that are there already, against the ones that are to be.

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::plan::Plan;
use crate::akeys::forced::{self, Forced};
use crate::authkeys::{EditError, KeyFile, Place, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::report::shown;

/// What the key file will be.
#[derive(Debug, Default)]
pub(super) struct Edit {
    /// Its content; `None` when it does not change.
    pub(super) bytes: Option<Vec<u8>>,
    /// How many lines are new.
    pub(super) added: usize,
    /// How many lines have another key, or made room for one that has.
    pub(super) replaced: usize,
}

/// The file with the lines that are missing behind its last one, and new keys in the place of those that they replace.
///
/// A key that is there in any other way is a conflict: sshd takes the first line that matches, so a second one would
/// either widen what the key may do or never be looked at.
pub(super) fn edited(bytes: &[u8], plans: &[Plan], layout: &Layout) -> Result<Edit, Failure> {
    let mut file = KeyFile::parse(bytes.to_vec());
    let mut edit = Edit::default();
    for plan in plans {
        let mut present = is_present(&file, plan, layout)?;
        while let Some(line) = replaceable(&file, plan, layout)? {
            let changed = if present {
                file.remove_lines(&[line]).map_err(|error| Failure::new(Exit::Failed, error))?
            } else {
                for_every_sshd(|target| file.replace_key(line, plan.key.key(), target))?
            };
            file = KeyFile::parse(changed);
            edit.replaced += 1;
            present = true;
        }
        if !present {
            file = KeyFile::parse(for_every_sshd(|target| file.append_line(&plan.line, target))?);
            edit.added += 1;
        }
    }
    edit.bytes = (edit.added + edit.replaced > 0).then(|| file.into_bytes());
    Ok(edit)
}

/// An edit as Debian 12's sshd and the newest one take it: whichever reads the file must take the line.
fn for_every_sshd(edit: impl Fn(Target) -> Result<Vec<u8>, EditError>) -> Result<Vec<u8>, Failure> {
    let refused = |error| Failure::new(Exit::Failed, error);
    edit(Target::OpenSsh9_2).map_err(refused)?;
    edit(Target::OpenSsh10_5).map_err(refused)
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
    Ok(present)
}

/// A line that has an earlier key of the same grant. Its options must be the same: a new key never brings other ones.
///
/// Two keys must not share a policy by accident, because the pod has a new key that nobody vouches for, or two pods have
/// one name: that is a conflict.
fn replaceable(file: &KeyFile, plan: &Plan, layout: &Layout) -> Result<Option<usize>, Failure> {
    let keys = shown(layout, &layout.authorized_keys());
    for line in file.lines() {
        let reading = line.read(Target::default());
        let Some(entry) = reading.entry().filter(|entry| entry.key != *plan.key.key()) else { continue };
        let command = entry.options.command.as_deref().map(forced::read);
        if !matches!(command, Some(Forced::Grant { ref name, .. }) if *name == plan.name) {
            continue;
        }
        let number = line.number();
        let hint = format!("nothing was changed; akeys remove --line {number}, then install again");
        if !plan.replaces.iter().any(|old| *old.key() == entry.key) {
            let message = format!(
                "{keys}:{number}: the grant {} is there for another key\n  there: {}\n  here:  {}",
                plan.name,
                entry.key.fingerprint(),
                plan.key.fingerprint()
            );
            return Err(Failure::new(Exit::Conflict, message).hint(hint));
        }
        let options = entry.options_span.clone().map(|span| &line.raw()[span]);
        if options != Some(plan.options.as_bytes()) {
            let message = format!(
                "{keys}:{number}: the key that is to be replaced has other options\n  there: {}\n  here:  {}",
                Escaped(line.content()),
                Escaped(&plan.line)
            );
            return Err(Failure::new(Exit::Conflict, message).hint(hint));
        }
        return Ok(Some(number));
    }
    Ok(None)
}
