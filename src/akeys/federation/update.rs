//! `akeys federation update`: what is installed follows the bundle, as far as that gives nobody anything new.
//!
//! A key that was revoked goes, with its policy when no other line has it. A key that was rotated makes room for its
//! successor, in the same line and under the same policy; only a bundle whose signer is known may say so. Nothing is ever
//! added: that is `akeys install`. And nothing happens by itself, however new the bundle is that was imported.

use std::collections::BTreeSet;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::{GrantName, Label};

use crate::akeys::bundle::{Bundle, Offer};
use crate::akeys::cli::Update;
use crate::akeys::elsewhere;
use crate::akeys::grants;
use crate::akeys::guard::Guard;
use crate::akeys::install;
use crate::akeys::lines::{description, entry_grant, key_of, keys_in, mentioned_grant};
use crate::akeys::safe_write;
use crate::akeys::shelf::{self, Found};
use crate::authkeys::{Key, KeyFile, Line, Patch, Reading, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::private;
use crate::common::report::{Report, shown};

/// What will be different.
#[derive(Debug, Default)]
struct Plan {
    /// What changes in the key file.
    patch: Patch,
    /// A line for each key that goes or makes room.
    steps: Vec<String>,
    /// The policies that no line uses afterwards.
    grants: BTreeSet<GrantName>,
    /// What the user has to know or to do.
    notes: Vec<String>,
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.patch.is_none() && self.grants.is_empty()
    }
}

/// Runs it.
pub(super) fn run(args: &Update, layout: &Layout) -> Result<Report, Failure> {
    if let Some(host) = &args.host {
        return install::update_there(&args.name, args.allow, host, layout);
    }
    let found = shelf::find(layout, &args.name)?.ok_or_else(|| {
        Failure::new(Exit::NoMatch, format!("no federation {} was imported or made here", args.name))
            .hint("akeys federation import BUNDLE")
    })?;
    if args.dry_run {
        let file = safe_write::read(layout)?.unwrap_or_default();
        let plan = plan(&file, &found, layout)?;
        let guard = Guard::new(args.allow, layout);
        safe_write::judge(layout, &guard, &file, &plan.patch)?;
        let mut report = told(&plan, layout, &args.name);
        report.note("nothing was changed (--dry-run)");
        return Ok(report);
    }
    let lock = Lock::acquire(layout)?;
    let guard = Guard::new(args.allow, layout);
    let mut done = Plan::default();
    let written = safe_write::update(layout, &lock, &guard, |file| {
        done = plan(file, &found, layout)?;
        Ok::<_, Failure>(done.patch.clone())
    })?;
    for grant in &done.grants {
        private::remove(&layout.grant_file(grant))?;
    }
    let mut report = told(&done, layout, &args.name);
    report.notes.extend(written.notes);
    if !done.is_empty() {
        report.note("sessions that are open now go on until they end");
    }
    Ok(report)
}

fn told(plan: &Plan, layout: &Layout, name: &Label) -> Report {
    let mut report = Report { notes: plan.notes.clone(), ..Report::default() };
    for step in &plan.steps {
        report.line(step);
    }
    for grant in &plan.grants {
        report.line(format_args!("policy {} goes", shown(layout, &layout.grant_file(grant))));
    }
    if plan.is_empty() {
        report.line(format_args!("what is installed of federation {name} is as its bundle says"));
    }
    report
}

/// Says, after an import, what waits to be done. A key file that cannot be read is no reason not to import.
pub(super) fn note_pending(found: &Found, layout: &Layout, report: &mut Report) {
    let name = &found.received.bundle.federation;
    let Ok(file) = safe_write::read(layout) else { return };
    match plan(&file.unwrap_or_default(), found, layout) {
        Ok(plan) if plan.is_empty() => {}
        Ok(plan) => {
            for step in &plan.steps {
                report.note(format_args!("not done yet: {step}"));
            }
            report.note(format_args!("to do it: akeys federation update {name}"));
        }
        Err(failure) => report.note(failure),
    }
}

/// Works out what the bundle means for a file.
fn plan(before: &KeyFile, found: &Found, layout: &Layout) -> Result<Plan, Failure> {
    let bundle = &found.received.bundle;
    let mut file = before.clone();
    let mut plan = Plan::default();
    let mut gone = Vec::new();
    let mut named = BTreeSet::new();
    plan.notes.extend(elsewhere::notes(|key| bundle.revocation(key).is_some(), layout));
    let keys = shown(layout, &layout.authorized_keys());
    let lines = file.lines().len();
    for number in 1..=lines {
        let Some(line) = file.line(number) else { continue };
        let Some(grant) = mentioned_grant(line).filter(|name| is_of(name, &bundle.federation)) else {
            plan.notes.extend(stranger(line, bundle));
            continue;
        };
        if holds_revoked(line, bundle) {
            plan.steps.push(format!("{keys}:{number}: {} goes: it was revoked", description(line)));
            gone.push(number);
            named.insert(grant);
        } else if sleeps_with_old_key(line, &grant, bundle) {
            plan.notes.push(format!(
                "{keys}:{number}: disabled, with an earlier key of {grant}: akeys remove --line {number}"
            ));
        } else if let Some((old, offer)) = rotated(line, &grant, bundle) {
            let (old, new) = (old.fingerprint(), offer.key.fingerprint());
            if !found.trusted {
                plan.notes.push(format!(
                    "{keys}:{number}: {grant} has another key in the bundle, which is not signed, so {old} stays"
                ));
                continue;
            }
            plan.steps.push(format!("{keys}:{number}: {grant} gets {new} in place of {old}"));
            match holder(&file, offer.key.key()) {
                None => file = replaced(&file, number, offer.key.key())?,
                // An earlier installation has both.
                Some(other) if entry_grant(other).as_ref() == Some(&grant) => gone.push(number),
                Some(other) => {
                    let message = format!(
                        "{keys}:{}: the new key {new} is there already, in another way",
                        other.number()
                    );
                    let hint = format!("nothing was changed; akeys remove --line {}", other.number());
                    return Err(Failure::new(Exit::Conflict, message).hint(hint));
                }
            }
        }
    }
    let cut = file.remove_lines(&gone).map_err(|error| Failure::new(Exit::Failed, error))?;
    let after = cut.applied(&file);
    let rest: BTreeSet<GrantName> = after.lines().filter_map(mentioned_grant).collect();
    let there: BTreeSet<GrantName> = grants::names(layout).into_iter().collect();
    plan.grants = named.into_iter().filter(|name| !rest.contains(name) && there.contains(name)).collect();
    plan.grants.extend(orphans(bundle, &rest, &there));
    plan.patch = Patch::between(before.bytes(), after.bytes());
    Ok(plan)
}

fn is_of(name: &GrantName, federation: &Label) -> bool {
    grants::parts(name).is_some_and(|(of, _)| of == *federation)
}

/// Policies of revoked pods without a line: an earlier run was killed between the two.
fn orphans(bundle: &Bundle, rest: &BTreeSet<GrantName>, there: &BTreeSet<GrantName>) -> Vec<GrantName> {
    let offered: Vec<GrantName> =
        bundle.offers.iter().filter_map(|offer| bundle.grant_name(offer).ok()).collect();
    let revoked = bundle.revoked.iter().filter_map(|gone| bundle.name_of(&gone.pod, gone.set.as_ref()).ok());
    revoked.filter(|name| !offered.contains(name) && !rest.contains(name) && there.contains(name)).collect()
}

/// Whether a line is there for a revoked key: the one that sshd takes from it, or any where sshd takes none.
fn holds_revoked(line: Line<'_>, bundle: &Bundle) -> bool {
    keys_in(line).iter().any(|key| bundle.revocation(key).is_some())
}

/// The key that a line lets in and the offer that has another in its place.
fn rotated<'b>(line: Line<'_>, grant: &GrantName, bundle: &'b Bundle) -> Option<(Key, &'b Offer)> {
    let key = key_of(line)?;
    let offer = bundle.offers.iter().find(|offer| bundle.grant_name(offer).as_ref() == Ok(grant))?;
    offer.replaces.iter().any(|old| *old.key() == key).then_some((key, offer))
}

/// Whether a disabled line would bring an earlier key back if it were enabled.
fn sleeps_with_old_key(line: Line<'_>, grant: &GrantName, bundle: &Bundle) -> bool {
    let earlier = bundle
        .offers
        .iter()
        .filter(|offer| bundle.grant_name(offer).as_ref() == Ok(grant))
        .flat_map(|offer| &offer.replaces);
    let held = keys_in(line);
    matches!(line.read(Target::default()), Reading::Comment)
        && earlier.into_iter().any(|old| held.contains(old.key()))
}

/// The line that lets `key` in, whatever for.
fn holder<'f>(file: &'f KeyFile, key: &Key) -> Option<Line<'f>> {
    file.lines().find(|line| key_of(*line).as_ref() == Some(key))
}

/// The file with another key in one line, which every sshd in use must then read.
fn replaced(file: &KeyFile, number: usize, key: &Key) -> Result<KeyFile, Failure> {
    let mut patch = Patch::none();
    for target in Target::OPENSSH {
        patch = file.replace_key(number, key, target).map_err(|error| Failure::new(Exit::Failed, error))?;
    }
    Ok(patch.applied(file))
}

/// Says that a revoked key gets in by a line that is no grant of the federation: somebody else put it there.
fn stranger(line: Line<'_>, bundle: &Bundle) -> Option<String> {
    let number = line.number();
    let key = key_of(line).filter(|key| bundle.revocation(key).is_some())?;
    Some(format!(
        "line {number} lets the revoked key {} in by itself and stays: akeys remove --line {number}",
        key.fingerprint()
    ))
}
