//! `akeys remove`: keys are taken back, exactly those, whatever else is in the file.
//!
//! The key line goes first and its policy after it: in between, the policy grants nothing. Lines are recognised as sshd
//! reads them, and also where it would not: a dead or disabled line that names the grant is one keystroke from a live one.

use std::collections::{BTreeMap, BTreeSet};

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::{GrantName, Label};

use super::cli::KeyLines;
use super::elsewhere;
use super::grants;
use super::guard::Guard;
use super::lines::{description, entry_grant, how_long, key_of, keys_in, mentioned_grant};
use super::safe_write;
use super::shelf;
use crate::authkeys::{Key, KeyFile, Line, Outcome, Patch, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::private;
use crate::common::report::{Report, shown};

/// What will be gone.
#[derive(Debug, Default)]
struct Cut {
    /// What takes the keys out of the file.
    patch: Patch,
    /// The lines that change, with what they hold now.
    lines: BTreeMap<usize, String>,
    /// The policies that no line uses afterwards.
    grants: BTreeSet<GrantName>,
    /// What the user should know.
    notes: Vec<String>,
}

/// Runs it.
pub fn run(args: &KeyLines, layout: &Layout) -> Result<Report, Failure> {
    let guard = Guard::new(args.allow, layout);
    // Looked at before the lock, so that a mistyped name leaves no trace.
    let file = safe_write::read(layout)?.unwrap_or_default();
    let mut done = cut(args, &file, layout)?;
    let notes = safe_write::judge(layout, &guard, &file, &done.patch)?;
    drop(file);
    if args.dry_run {
        let mut report = told(&done, layout, "would remove");
        report.notes.extend(notes);
        report.note("nothing was removed (--dry-run)");
        return Ok(report);
    }
    let lock = Lock::acquire(layout)?;
    let written = safe_write::update(layout, &lock, &guard, |file| {
        done = cut(args, file, layout)?;
        Ok::<_, Failure>(done.patch.clone())
    })?;
    for grant in &done.grants {
        private::remove(&layout.grant_file(grant))?;
    }
    let mut report = told(&done, layout, "removed");
    report.notes.extend(written.notes);
    if !done.lines.is_empty() {
        report.note("sessions that are open now go on until they end");
    }
    Ok(report)
}

fn told(cut: &Cut, layout: &Layout, verb: &str) -> Report {
    let mut report = Report { notes: cut.notes.clone(), ..Report::default() };
    let keys = shown(layout, &layout.authorized_keys());
    for (number, what) in &cut.lines {
        report.line(format_args!("{verb} {keys}:{number}: {what}"));
    }
    for grant in &cut.grants {
        report.line(format_args!("{verb} {}", shown(layout, &layout.grant_file(grant))));
    }
    report
}

/// Works out what `args` mean for `file`.
fn cut(args: &KeyLines, file: &KeyFile, layout: &Layout) -> Result<Cut, Failure> {
    let mut cut = Cut::default();
    let named = match (&args.federation, &args.fingerprint, args.line) {
        (Some(federation), ..) => by_federation(file, federation, args.pod.as_ref(), layout, &mut cut)?,
        (None, Some(fingerprint), _) => by_fingerprint(file, fingerprint, layout, &mut cut)?,
        (None, None, Some(number)) => {
            let removed = file.line(number).and_then(key_of);
            cut.notes.extend(elsewhere::notes(|key| removed.as_ref() == Some(key), layout));
            by_lines(file, &[number], &mut cut)?
        }
        (None, None, None) => return Err(Failure::new(Exit::Usage, "nothing is named")),
    };
    // A policy goes with its last line.
    let still: BTreeSet<GrantName> = if named.is_empty() {
        BTreeSet::new()
    } else {
        cut.patch.touched(file).lines().filter_map(|after| entry_grant(after.line)).collect()
    };
    let there: BTreeSet<GrantName> = grants::names(layout).into_iter().collect();
    cut.grants = named.into_iter().filter(|name| !still.contains(name) && there.contains(name)).collect();
    if cut.lines.is_empty() && cut.grants.is_empty() {
        let hint = if cut.notes.is_empty() { "akeys list".to_owned() } else { cut.notes.join("; ") };
        return Err(Failure::new(Exit::NoMatch, format!("nothing to remove: {}", missing(args))).hint(hint));
    }
    Ok(cut)
}

/// What was looked for in vain.
fn missing(args: &KeyLines) -> String {
    match (&args.federation, &args.pod, &args.fingerprint) {
        (Some(federation), None, _) => format!("no key line and no policy is of federation {federation}"),
        (Some(federation), Some(pod), _) => {
            format!("no key line and no policy is of pod {pod} of federation {federation}")
        }
        (None, _, Some(fingerprint)) => {
            format!("no line holds the key {}", Escaped(fingerprint.as_bytes()))
        }
        (None, _, None) => "no such line".to_owned(),
    }
}

/// Whether a key line runs the gate for a grant of `federation`. A file that cannot be read might hold one.
pub(super) fn is_installed(federation: &Label, layout: &Layout) -> bool {
    let Ok(file) = safe_write::read(layout) else { return true };
    file.unwrap_or_default()
        .lines()
        .filter_map(entry_grant)
        .filter_map(|name| grants::parts(&name))
        .any(|(of, _)| of == *federation)
}

/// Removes whole lines; returns the grants that they named.
fn by_lines(file: &KeyFile, numbers: &[usize], cut: &mut Cut) -> Result<BTreeSet<GrantName>, Failure> {
    cut.patch = file
        .remove_lines(numbers)
        .map_err(|error| Failure::new(Exit::NoMatch, error).hint(how_long(file)))?;
    let lines: Vec<Line<'_>> = numbers.iter().filter_map(|number| file.line(*number)).collect();
    cut.lines = lines.iter().map(|line| (line.number(), description(*line))).collect();
    Ok(lines.into_iter().filter_map(mentioned_grant).collect())
}

/// Every line that runs the gate for a grant of the federation, and its policies also where no line is left.
fn by_federation(
    file: &KeyFile,
    federation: &Label,
    pod: Option<&Label>,
    layout: &Layout,
    cut: &mut Cut,
) -> Result<BTreeSet<GrantName>, Failure> {
    let wanted = |name: &GrantName| {
        grants::parts(name).is_some_and(|(f, p)| f == *federation && pod.is_none_or(|pod| *pod == p))
    };
    let named = |line: &Line<'_>| mentioned_grant(*line).is_some_and(|name| wanted(&name));
    let numbers: Vec<usize> = file.lines().filter(named).map(Line::number).collect();
    let mut grants = by_lines(file, &numbers, cut)?;
    grants.extend(grants::names(layout).into_iter().filter(wanted));
    note_same_keys(file, federation, pod, layout, cut);
    Ok(grants)
}

/// Says which lines stay although they hold a key of the federation: somebody put them there in another way.
fn note_same_keys(file: &KeyFile, federation: &Label, pod: Option<&Label>, layout: &Layout, cut: &mut Cut) {
    let removed = |line: &Line<'_>| cut.lines.contains_key(&line.number());
    let mut keys: Vec<Key> = file.lines().filter(removed).filter_map(key_of).collect();
    // A broken bundle is no reason not to remove.
    let found = shelf::find(layout, federation).ok().flatten();
    let offers = found.iter().flat_map(|found| &found.received.bundle.offers);
    keys.extend(
        offers.filter(|offer| pod.is_none_or(|pod| *pod == offer.pod)).map(|offer| offer.key.key().clone()),
    );
    let stays = |line: &Line<'_>| !removed(line) && key_of(*line).is_some_and(|key| keys.contains(&key));
    let notes: Vec<String> = file
        .lines()
        .filter(stays)
        .map(|line| {
            let number = line.number();
            format!("line {number} lets a key of {federation} in by itself and stays: akeys remove --line {number}")
        })
        .collect();
    cut.notes.extend(notes);
    cut.notes.extend(elsewhere::notes(|key| keys.contains(key), layout));
}

/// Every place of the key with this fingerprint, in live and in dead lines.
fn by_fingerprint(
    file: &KeyFile,
    fingerprint: &str,
    layout: &Layout,
    cut: &mut Cut,
) -> Result<BTreeSet<GrantName>, Failure> {
    if !fingerprint.starts_with("SHA256:") {
        return Err(Failure::new(Exit::Usage, "a fingerprint starts with SHA256:, as akeys list shows it"));
    }
    let is_it = |key: &Key| key.fingerprint() == fingerprint.trim_end_matches('=');
    cut.notes.extend(elsewhere::notes(is_it, layout));
    let key = file.lines().flat_map(keys_in).find(is_it);
    let Some(key) = key else { return Ok(BTreeSet::new()) };
    let removal = file.remove_key(&key, Target::default());
    let mut named = BTreeSet::new();
    for place in &removal.places {
        let Some(line) = file.line(place.line) else { continue };
        match &place.outcome {
            Outcome::Line { also } => {
                for other in also {
                    cut.notes.push(format!("line {} also held {}", place.line, other.fingerprint()));
                }
                named.extend(mentioned_grant(line));
            }
            Outcome::Cut => cut.notes.push(format!("line {}: only this key was cut out", place.line)),
            Outcome::CutAndDisabled => {
                cut.notes.push(format!("line {}: this key was cut out, and the rest disabled", place.line));
            }
            Outcome::Kept => {
                cut.notes.push(format!("line {} only mentions this key and stays", place.line));
                continue;
            }
        }
        cut.lines.insert(place.line, description(line));
    }
    cut.patch = removal.patch;
    Ok(named)
}
