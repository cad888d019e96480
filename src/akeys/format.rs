//! `akeys format`: one spelling for the key file, and no other meaning.

use rrsync_rs::layout::Layout;

use super::cli::Format;
use super::difference;
use super::guard::Guard;
use super::lines::how_long;
use super::safe_write;
use super::spelling::{self, Aspect};
use crate::authkeys::{KeyFile, Patch};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::report::{Report, shown};

/// Runs it.
pub fn run(args: &Format, layout: &Layout) -> Result<Report, Failure> {
    let guard = Guard::new(args.allow, layout);
    let mut file = safe_write::read(layout)?.unwrap_or_default();
    let mut patch = patch(args, &file)?;
    let mut notes = safe_write::judge(layout, &guard, &file, &patch)?;
    if !args.check && !patch.is_none() {
        let lock = Lock::acquire(layout)?;
        let written = safe_write::update(layout, &lock, &guard, |now| {
            file = now.clone();
            patch = self::patch(args, now)?;
            Ok::<_, Failure>(patch.clone())
        })?;
        notes = written.notes;
    }
    let mut report = Report { notes, ..Report::default() };
    if patch.is_none() {
        report.line("it is so already; nothing changed");
        return Ok(report);
    }
    report.line(format_args!("{}:", shown(layout, &layout.authorized_keys())));
    report.out.push_str(&difference::shown(file.bytes(), patch.applied(&file).bytes()));
    if args.check {
        report.note("nothing was changed (--check)");
        report.exit = Exit::Findings;
    }
    Ok(report)
}

/// What gives the lines that are meant their spelling.
fn patch(args: &Format, file: &KeyFile) -> Result<Patch, Failure> {
    let aspects = if args.only.is_empty() { &Aspect::ALL[..] } else { &args.only };
    if let Some(number) = args.lines.iter().find(|number| file.line(**number).is_none()) {
        return Err(Failure::new(Exit::NoMatch, format!("there is no line {number}")).hint(how_long(file)));
    }
    let meant = file.lines().filter(|line| args.lines.is_empty() || args.lines.contains(&line.number()));
    Ok(Patch::all(meant.map(|line| spelling::patch(line, aspects))).unwrap_or_default())
}
