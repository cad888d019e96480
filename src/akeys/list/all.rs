//! `akeys list --all-users`: every account with every file that sshd reads for it, in sshd's order.

use std::fmt::Write as _;

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::text::{Paint, print_row};
use crate::akeys::accounts::{self, View};
use crate::akeys::cli::List;
use crate::akeys::used::Logins;
use crate::common::exit::{Exit, Failure};
use crate::common::json;
use crate::common::report::{Report, colours};

/// Runs it.
pub(super) fn run(args: &List, layout: &Layout) -> Result<Report, Failure> {
    let logins = args.last_used.then(|| Logins::read(args.log.as_deref()));
    let mut all = accounts::all(layout, None, logins);
    if args.json {
        // The audit has a command of its own.
        for view in &mut all.views {
            view.findings.clear();
            view.files.iter_mut().for_each(|file| file.findings.clear());
        }
        let out = json::ascii_of(&all).map_err(|error| Failure::new(Exit::Failed, error))?;
        return Ok(Report::data(out));
    }
    let paint = Paint(colours());
    let mut report = Report::default();
    for view in &all.views {
        if !report.out.is_empty() {
            report.out.push('\n');
        }
        print(view, all.log_begins, &paint, &mut report.out);
    }
    report.notes = all.notes;
    Ok(report)
}

fn print(view: &View, begins: Option<Timestamp>, paint: &Paint, out: &mut String) {
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "{} ({}, {})",
        Escaped(view.account.as_bytes()),
        view.uid,
        Escaped(view.home.as_bytes())
    );
    if let Some(closed) = &view.closed {
        let _ = writeln!(out, "{}", paint.warning(&format!("! the account {closed}")));
    }
    for (index, file) in view.files.iter().enumerate() {
        let _ = writeln!(out, "  {}. {}: {}", index + 1, Escaped(file.file.as_bytes()), file.state());
        file.lines.iter().for_each(|row| print_row(row, paint, begins, out));
        for finding in &file.about {
            let _ = writeln!(out, "{}", paint.warning(&format!("    ! {}", finding.text)));
        }
    }
    for (index, more) in view.more.iter().enumerate() {
        let number = view.files.len() + index + 1;
        let _ = writeln!(out, "  {number}. {}: not looked at", Escaped(more.as_bytes()));
    }
    for note in &view.notes {
        let _ = writeln!(out, "{}", paint.warning(&format!("  ! {note}")));
    }
}
