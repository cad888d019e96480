//! The key lines that are there already, against the ones that are to be.

use std::path::Path;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::plan::Plan;
use crate::akeys::account::Account;
use crate::akeys::forced::{self, Forced};
use crate::akeys::lines::key_of;
use crate::akeys::sshd::{self, Settings};
use crate::akeys::{present, source};
use crate::authkeys::{EditError, KeyFile, Line, Patch, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::report::shown;

/// What the key file will be.
#[derive(Debug, Default)]
pub(super) struct Edit {
    /// What changes in it.
    pub(super) patch: Patch,
    /// How many lines are new.
    pub(super) added: usize,
    /// How many lines have another key, or made room for one that has.
    pub(super) replaced: usize,
}

/// Puts the lines that are missing behind the last one, and new keys in the place of those that they replace.
pub(super) fn edited(before: &KeyFile, plans: &[Plan], layout: &Layout) -> Result<Edit, Failure> {
    let mut file = before.clone();
    let mut edit = Edit::default();
    for plan in plans {
        let mut present = is_present(&file, plan, layout)?;
        while let Some(line) = replaceable(&file, plan, layout)? {
            let change = if present {
                file.remove_lines(&[line]).map_err(|error| Failure::new(Exit::Failed, error))?
            } else {
                for_every_sshd(|target| file.replace_key(line, plan.key.key(), target))?
            };
            file = change.applied(&file);
            edit.replaced += 1;
            present = true;
        }
        if !present {
            file = for_every_sshd(|target| file.append(&[&plan.line], target))?.applied(&file);
            edit.added += 1;
        }
    }
    edit.patch = Patch::between(before.bytes(), file.bytes());
    Ok(edit)
}

/// Refuses a key that another file lets in which sshd reads for this account: what the policy says would bind it only as long as
/// its line is the one that sshd comes to.
pub(super) fn refuse_elsewhere(plans: &[Plan], layout: &Layout) -> Result<(), Failure> {
    let account = Account::own(layout.home());
    let settings = Settings::ask(&account.name).ok();
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let own = real(&layout.authorized_keys());
    for path in sshd::key_files(settings.as_ref(), &account) {
        // What this account cannot read, sshd cannot either.
        let Some(file) = source::regular(&path).ok().filter(|_| real(&path) != own).map(KeyFile::parse)
        else {
            continue;
        };
        for plan in plans {
            let other = |line: &Line<'_>| {
                key_of(*line).as_ref() == Some(plan.key.key()) && line.content() != plan.line
            };
            let Some(line) = file.lines().find(other) else { continue };
            let (path, number) = (shown(layout, &path), line.number());
            let message = format!(
                "{path}:{number}: sshd reads this file too, and the key is there with other options\n  there: {}\n  here:  {}",
                Escaped(line.content()),
                Escaped(&plan.line)
            );
            return Err(Failure::new(Exit::Conflict, message)
                .hint("nothing was changed; take the key out there, then install again"));
        }
    }
    Ok(())
}

/// An edit as Debian 12's sshd and the newest one take it: whichever reads the file must take the line.
fn for_every_sshd(edit: impl Fn(Target) -> Result<Patch, EditError>) -> Result<Patch, Failure> {
    let mut patch = Patch::none();
    for target in Target::OPENSSH {
        patch = edit(target).map_err(|error| Failure::new(Exit::Failed, error))?;
    }
    Ok(patch)
}

/// Whether a file holds exactly this line.
pub(super) fn holds_line(file: &KeyFile, line: &[u8]) -> bool {
    file.lines().any(|have| have.content() == line)
}

fn is_present(file: &KeyFile, plan: &Plan, layout: &Layout) -> Result<bool, Failure> {
    let same = |line: Line<'_>| line.content() == plan.line;
    Ok(present::line_of(file, plan.key.key(), &plan.line, same, layout)?.is_some())
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
