//! `akeys audit --all-users`: the findings of every account, each found with that account's rights.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use serde_json::{Value, json};

use super::{Code, Told, show};
use crate::akeys::accounts::{self, FileView, View};
use crate::akeys::cli::Audit;
use crate::akeys::list::Kind;
use crate::akeys::sshd;
use crate::akeys::used::{self, Logins};
use crate::akeys::words::target_name;
use crate::authkeys::Target;
use crate::common::exit::Exit;
use crate::common::json::ascii_with_list;
use crate::common::report::Report;

/// Runs it.
pub(super) fn run(args: &Audit, layout: &Layout) -> Report {
    let target = args.target.map(Into::into);
    let logins = args.unused.map(|_| Logins::read(args.log.as_deref()));
    let mut all = accounts::all(layout, target, logins);
    if let Some(days) = args.unused {
        let now = Timestamp::now();
        let since = now.saturating_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(now);
        all.views.iter_mut().for_each(|view| judge_unused(view, since, all.log_begins));
    }
    for view in &mut all.views {
        let keep = |findings: &mut Vec<Told>| findings.retain(|finding| finding.severity() >= args.severity);
        keep(&mut view.findings);
        view.files.iter_mut().for_each(|file| keep(&mut file.findings));
    }
    let target = target.unwrap_or_else(sshd::target);
    // What is about an account stands under its first file, or under its home where it has none.
    let mut parts: Vec<(String, &[Told])> = Vec::new();
    for view in &all.views {
        parts.push((view.home.clone(), &view.findings));
        parts.extend(view.files.iter().map(|file| (file.file.clone(), file.findings.as_slice())));
    }
    let audits: Vec<show::Shown<'_>> =
        parts.iter().map(|(path, findings)| show::Shown { path, target, findings, layout: None }).collect();
    let out = match (args.json, args.sarif) {
        (true, _) => {
            let head = [("target", target_name(target).into())];
            ascii_with_list(&head, "accounts", all.views.iter().map(object))
        }
        (_, true) => show::sarif(&audits),
        _ => text(&all.views, target),
    };
    let mut report = Report::data(out);
    report.notes.append(&mut all.notes);
    let found =
        || all.views.iter().flat_map(|view| view.findings(args.severity)).map(|(_, one)| one.severity());
    report.note(super::summary(found()));
    if found().next().is_some() {
        report.exit = Exit::Findings;
    }
    report
}

/// Keys that nobody has used since `since`.
fn judge_unused(view: &mut View, since: Timestamp, begins: Option<Timestamp>) {
    for file in &mut view.files {
        let idle = file.lines.iter().filter_map(|row| match &row.kind {
            Kind::Key(key) => {
                let message = used::idle(key.used.as_ref(), begins, since)?;
                Some(Told::of_line(Code::Unused, row.line, message))
            }
            _ => None,
        });
        let found: Vec<Told> = idle.collect();
        file.findings.extend(found);
    }
}

fn text(accounts: &[View], target: Target) -> String {
    let mut out = String::new();
    for view in accounts {
        let shown =
            |path: &str, findings: &[Told]| show::text(&show::Shown { path, target, findings, layout: None });
        let mut said = shown(&view.home, &view.findings);
        view.files.iter().for_each(|file| said += &shown(&file.file, &file.findings));
        if !said.is_empty() {
            // Writing to a String does not fail.
            let _ = writeln!(out, "{}:\n{said}", Escaped(view.account.as_bytes()));
        }
    }
    out.truncate(out.trim_end().len());
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn object(view: &View) -> Value {
    let file = |file: &FileView| json!({ "file": file.file, "findings": file.findings.iter().map(show::told).collect::<Vec<_>>() });
    json!({
        "account": view.account,
        "findings": view.findings.iter().map(show::told).collect::<Vec<_>>(),
        "files": view.files.iter().filter(|file| file.present).map(file).collect::<Vec<_>>(),
    })
}
