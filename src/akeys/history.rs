//! `akeys log`, `akeys diff` and `akeys undo`: what `authorized_keys` was before, and the way back.
//!
//! Going back is a change like any other: it is written as every change is, and what it replaces is kept.

use rrsync_rs::layout::Layout;
use serde_json::json;

use super::cli::{Diff, Log, Undo};
use super::difference::{self, Differing};
use super::guard::Guard;
use super::lines::entry_grant;
use super::safe_write::{self, Kept};
use crate::authkeys::{KeyFile, Patch};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::report::{Report, shown};

/// Runs `akeys log`.
pub fn log(args: &Log, layout: &Layout) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut later = safe_write::read(layout)?.unwrap_or_default().into_bytes();
    let mut rows = Vec::new();
    for (index, kept) in safe_write::history(layout).iter().enumerate() {
        let bytes = kept.read()?;
        let (mut added, mut removed) = (0, 0);
        for line in difference::lines(&bytes, &later) {
            match line {
                Differing::New(..) => added += 1,
                Differing::Gone(..) => removed += 1,
            }
        }
        let lines = KeyFile::parse(bytes.clone()).lines().len();
        if args.json {
            rows.push(json!({
                "number": index + 1,
                "until": kept.until.to_string(),
                "size": bytes.len(),
                "lines": lines,
                "added": added,
                "removed": removed,
            }));
        } else {
            let until = kept.until.strftime("%Y-%m-%d %H:%M:%S UTC");
            report.line(format_args!(
                "{:>3}  until {until}  {lines} line{}, {} bytes; then +{added} -{removed}",
                index + 1,
                if lines == 1 { "" } else { "s" },
                bytes.len()
            ));
        }
        later = bytes;
    }
    if args.json {
        report.line(format_args!("{:#}", serde_json::Value::from(rows)));
    } else if report.out.is_empty() {
        report.note("no earlier content is kept");
    }
    Ok(report)
}

/// Runs `akeys diff`.
pub fn diff(args: &Diff, layout: &Layout) -> Result<Report, Failure> {
    let before = kept(args.number, layout)?.read()?;
    let now = safe_write::read(layout)?.unwrap_or_default();
    let mut report = Report::data(difference::shown(&before, now.bytes()));
    if before == now.bytes() {
        report.note(format_args!("content {} is the present one", args.number));
    }
    Ok(report)
}

/// Runs `akeys undo`.
pub fn undo(args: &Undo, layout: &Layout) -> Result<Report, Failure> {
    // Looked at before the lock, so that a mistyped number leaves no trace.
    let chosen = kept(args.number, layout)?;
    let before = chosen.read()?;
    let guard = Guard::new(args.allow, layout);
    let file = safe_write::read(layout)?.unwrap_or_default();
    let mut notes = safe_write::judge(layout, &guard, &file, &Patch::between(file.bytes(), &before))?;
    let mut now = file.into_bytes();
    if !args.dry_run && before != now {
        let lock = Lock::acquire(layout)?;
        // Under the lock the numbers rest. Until then, another change may have moved them.
        if kept(args.number, layout)? != chosen {
            let message =
                format!("content {} is another one by now: the file was changed meanwhile", args.number);
            return Err(Failure::new(Exit::Conflict, message).hint("akeys log"));
        }
        let written = safe_write::update(layout, &lock, &guard, |file| {
            now = file.bytes().to_vec();
            Ok::<_, Failure>(Patch::between(&now, &before))
        })?;
        notes = written.notes;
    }
    let mut report = Report { notes, ..Report::default() };
    if before == now {
        report.line(format_args!("content {} is the present one; nothing changed", args.number));
        return Ok(report);
    }
    report.line(format_args!("{}:", shown(layout, &layout.authorized_keys())));
    report.out.push_str(&difference::shown(&now, &before));
    note_missing_policies(&before, layout, &mut report);
    if args.dry_run {
        report.note("nothing was changed (--dry-run)");
    }
    Ok(report)
}

fn kept(number: usize, layout: &Layout) -> Result<Kept, Failure> {
    let all = safe_write::history(layout);
    let count = all.len();
    let found = number.checked_sub(1).and_then(|index| all.into_iter().nth(index));
    found.ok_or_else(|| {
        let failure = Failure::new(Exit::NoMatch, format!("no content {number} is kept"));
        failure.hint(if count == 0 {
            "there was no change yet".to_owned()
        } else {
            format!("akeys log shows {count}")
        })
    })
}

/// A line that comes back without its policy is one that the gate refuses.
fn note_missing_policies(bytes: &[u8], layout: &Layout, report: &mut Report) {
    for line in KeyFile::parse(bytes.to_vec()).lines() {
        if let Some(grant) = entry_grant(line)
            && !layout.grant_file(&grant).exists()
        {
            let number = line.number();
            report.note(format_args!(
                "line {number} names the policy {grant}, which is gone: the gate refuses the key"
            ));
        }
    }
}
