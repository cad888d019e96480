//! `akeys expire`: when a key ends.
//!
//! The end of a plain key is an option of its line and nothing else. That of a grant stands in its policy as well, so there
//! both are changed, as `akeys grant set` does it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;
use serde_json::{Value, json};

use super::cli::{Expire, GrantSet};
use super::elsewhere;
use super::failures::refuse_past;
use super::grant;
use super::guard::Guard;
use super::line_options::{self, LineEdit};
use super::lines::{entries, entry_grant, key_of};
use super::list::Survey;
use super::safe_write;
use super::words::Which;
use crate::authkeys::{Key, KeyFile, Line, Patch, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::json::ascii_with_list;
use crate::common::lock::Lock;
use crate::common::moment::in_words;
use crate::common::report::{Report, shown};

/// Runs it.
pub fn run(args: &Expire, layout: &Layout) -> Result<Report, Failure> {
    if let Some(days) = args.within {
        return soon(days, args.json, layout);
    }
    let which = args.which.as_ref().ok_or_else(|| Failure::new(Exit::Usage, "nothing is named"))?;
    let when = args.when.ok_or_else(|| Failure::new(Exit::Usage, "no end is named"))?;
    refuse_past(when.0).map_err(|failure| failure.hint("akeys disable ends it now"))?;
    let file = safe_write::read(layout)?.unwrap_or_default();
    if let Some(grant) = one_grant(which, &file)? {
        let set = GrantSet::end(grant, when, args.dry_run, args.allow);
        return grant::set(&set, layout);
    }
    let edit = LineEdit { end: Some(when), from: None };
    drop(file);
    let guard = Guard::new(args.allow, layout);
    let change = |file: &KeyFile| ended(which, file, edit, layout);
    let mut planned = safe_write::look(layout, &guard, change)?;
    if !args.dry_run && !planned.is_none() {
        let lock = Lock::acquire(layout)?;
        planned = safe_write::make(layout, &lock, &guard, planned, change)?;
    }
    let mut report = Report { notes: planned.notes, ..Report::default() };
    report.notes.extend(elsewhere::beside(|key| planned.what.keys.contains(key), layout));
    if planned.what.lines.is_empty() {
        report.line("it is so already; nothing changed");
        return Ok(report);
    }
    report.line(format_args!("{}:", shown(layout, &layout.authorized_keys())));
    for (number, was, is) in &planned.what.lines {
        report.line(format_args!("  - {number}: {was}\n  + {number}: {is}"));
    }
    if args.dry_run {
        report.note("nothing was changed (--dry-run)");
    }
    Ok(report)
}

/// The grant that every one of the lines runs the gate for; `None` when none does.
fn one_grant(which: &Which, file: &KeyFile) -> Result<Option<GrantName>, Failure> {
    let grants: BTreeSet<Option<GrantName>> = entries(which, file)?.into_iter().map(entry_grant).collect();
    match grants.into_iter().collect::<Vec<_>>().as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(Failure::new(Exit::Usage, "these lines are of several grants, or some of none")
            .hint("name a line, or use akeys grant set")),
    }
}

/// The lines that get another end.
#[derive(Debug, Default)]
struct Ended {
    /// Their numbers, with what stands before their keys, before and after.
    lines: Vec<(usize, String, String)>,
    /// The keys that are named, whether their end changes or not.
    keys: Vec<Key>,
}

fn ended(
    which: &Which,
    file: &KeyFile,
    edit: LineEdit<'_>,
    layout: &Layout,
) -> Result<(Patch, Ended), Failure> {
    let mut patches = Vec::new();
    let mut ended = Ended::default();
    for line in entries(which, file)? {
        ended.keys.extend(key_of(line));
        let after = line_options::edited(line, edit).map_err(|error| {
            let file = shown(layout, &layout.authorized_keys());
            Failure::new(Exit::Failed, format!("{file}:{}: {error}", line.number()))
        })?;
        if after.bytes() == line.raw() {
            continue;
        }
        ended.lines.push((line.number(), options(line), after.line(1).map(options).unwrap_or_default()));
        patches.push(Patch::splice(line.span(), after.bytes()));
    }
    Ok((Patch::all(patches).unwrap_or_default(), ended))
}

/// What stands before the key of a line, and its fingerprint.
fn options(line: Line<'_>) -> String {
    let reading = line.read(Target::default());
    let Some(entry) = reading.entry() else { return String::new() };
    let options = entry.options_span.clone().map(|span| format!("{} ", Escaped(&line.raw()[span])));
    format!("{}{}", options.unwrap_or_default(), entry.key.fingerprint())
}

/// The keys whose time is over within `days`.
fn soon(days: u16, as_json: bool, layout: &Layout) -> Result<Report, Failure> {
    let now = Timestamp::now();
    let until =
        now.saturating_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MAX);
    let path = layout.authorized_keys();
    let file = safe_write::read(layout)?.unwrap_or_default();
    let survey = Survey::of(&path, file, false, layout);
    let mut ending: Vec<(Timestamp, Value, String)> = Vec::new();
    for (number, key) in survey.keys() {
        let Some(end) = key.meaning.expires.filter(|end| *end <= until) else { continue };
        let name = match &key.meaning.grant {
            Some(grant) => grant.to_string(),
            None => key.comment.clone(),
        };
        let fields = json!({
            "line": number,
            "fingerprint": key.fingerprint,
            "comment": key.comment,
            "grant": key.meaning.grant,
            "expires": end.to_string(),
            "expired": end < now,
        });
        let text =
            format!("{}:{number}: {} {name} {}", shown(layout, &path), key.fingerprint, told(end, now));
        ending.push((end, fields, text));
    }
    ending.sort_by_key(|(end, ..)| *end);
    let mut report = Report::default();
    if as_json {
        let rows = ending.iter().map(|(_, fields, _)| fields.clone());
        report.out = ascii_with_list(&[("within_days", days.into())], "keys", rows);
    } else {
        for (.., text) in &ending {
            report.line(text);
        }
    }
    if !ending.is_empty() {
        report.exit = Exit::Findings;
    }
    Ok(report)
}

/// `ends on 2027-12-31, in 12 days`.
fn told(end: Timestamp, now: Timestamp) -> String {
    let days = end.duration_since(now).as_hours() / 24;
    match (end < now, days.abs()) {
        (true, _) => format!("ended on {}", in_words(end)),
        (false, 0) => format!("ends on {}, within a day", in_words(end)),
        (false, 1) => format!("ends on {}, in 1 day", in_words(end)),
        (false, days) => format!("ends on {}, in {days} days", in_words(end)),
    }
}
