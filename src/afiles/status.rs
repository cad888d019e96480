//! `afiles status`: how each copy stands.

use jiff::Timestamp;
use rrsync_rs::layout::Layout;
use serde_json::{Map, Value, json};

use super::catalog::{Catalog, Copy, Way, now};
use super::cli::Status;
use super::destination::is_locked;
use crate::common::exit::{Exit, Failure};
use crate::common::json::{ascii, put_bytes};
use crate::common::live::live;
use crate::common::report::{Report, shown};

/// A copy, as it stands at this moment.
struct Row {
    copy: Copy,
    /// Whether somebody keeps it up to date, or is just bringing it up to date.
    kept: bool,
    /// Whether the directory is there.
    there: bool,
    files: u64,
}

/// Runs the subcommand.
pub fn run(args: &Status, layout: &Layout) -> Result<Report, Failure> {
    if args.follow { live(|| report(args, layout)) } else { report(args, layout) }
}

fn report(args: &Status, layout: &Layout) -> Result<Report, Failure> {
    let catalog = Catalog::open(layout)?;
    let mut rows = Vec::new();
    for copy in catalog.copies()? {
        let kept = is_locked(&copy.directory, layout);
        let there = copy.directory.is_dir();
        rows.push(Row { kept, there, files: catalog.count(copy.id)?, copy });
    }
    let mut report = Report::default();
    if args.json {
        report.out = ascii(&rows.iter().map(as_json).collect());
    } else {
        for row in &rows {
            let arrow = match row.copy.way {
                Way::Fetched => "<-",
                Way::Sent => "->",
            };
            report.line(format_args!("{} {arrow} {}", shown(layout, &row.copy.directory), row.copy.source));
            for line in details(row) {
                report.line(format_args!("  {line}"));
            }
        }
    }
    // Whoever asks from a script wants to know whether something is wrong.
    if rows.iter().any(|row| row.copy.standing.error.is_some()) {
        report.exit = Exit::Findings;
    }
    Ok(report)
}

/// In one word.
fn state(row: &Row) -> &'static str {
    match (row.there, row.kept, row.copy.standing.behind_since) {
        (false, ..) => "gone",
        (true, true, None) => "in-sync",
        (true, true, Some(_)) => "behind",
        (true, false, _) => "not-followed",
    }
}

fn seconds_since(moment: i64) -> i64 {
    now().saturating_sub(moment).max(0) / 1_000_000_000
}

fn moment(nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(nanoseconds.div_euclid(1_000_000_000)).ok()
}

fn details(row: &Row) -> Vec<String> {
    let standing = &row.copy.standing;
    let said = |at: Option<i64>| at.and_then(moment).map_or_else(|| "never".to_owned(), |at| at.to_string());
    let first = match state(row) {
        "gone" => "the directory is not there any more".to_owned(),
        "in-sync" => format!("in sync; {} paths", row.files),
        "behind" => {
            let since = standing.behind_since.map_or(0, seconds_since);
            let by = match standing.behind_by {
                0 => String::new(),
                1 => " by 1 change".to_owned(),
                by => format!(" by {by} changes"),
            };
            format!("behind{by} for {since} s; {} paths", row.files)
        }
        _ if standing.same_at.is_none() => format!("not followed; {} paths", row.files),
        _ => format!("not followed; as its source was at {}; {} paths", said(standing.same_at), row.files),
    };
    let mut lines = vec![first, format!("last transfer: {}", said(standing.transferred_at))];
    lines.extend(standing.error.as_ref().map(|error| format!("error: {error}")));
    lines
}

fn as_json(row: &Row) -> Value {
    let Row { copy, files, .. } = row;
    let standing = &copy.standing;
    let exact = |at: Option<i64>| at.and_then(|at| Timestamp::from_nanosecond(at.into()).ok());
    let mut object = Map::new();
    put_bytes(&mut object, "directory", Some(copy.directory.as_os_str().as_encoded_bytes()));
    object.insert("source".to_owned(), copy.source.clone().into());
    object.insert("sent".to_owned(), (copy.way == Way::Sent).into());
    object.insert("state".to_owned(), state(row).into());
    object.insert("paths".to_owned(), (*files).into());
    object.insert("same-at".to_owned(), json!(exact(standing.same_at)));
    object.insert("behind-since".to_owned(), json!(exact(standing.behind_since)));
    object.insert("behind-seconds".to_owned(), standing.behind_since.map(seconds_since).into());
    object.insert("behind-by".to_owned(), standing.behind_by.into());
    object.insert("last-transfer".to_owned(), json!(exact(standing.transferred_at)));
    object.insert("error".to_owned(), standing.error.clone().into());
    Value::Object(object)
}
