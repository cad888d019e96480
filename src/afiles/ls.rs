//! `afiles ls`: what is in a directory of a workspace, or which workspaces there are.

use jiff::Timestamp;
use nix::sys::stat::SFlag;
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use serde_json::{Map, Value, json};

use super::cli::Ls;
use super::find;
use super::remote::Workspace;
use super::sftp::Name;
use super::words::Remote;
use crate::common::exit::Failure;
use crate::common::json::{ascii, put_bytes};
use crate::common::report::Report;

/// Runs the subcommand.
pub fn run(args: &Ls, layout: &Layout) -> Result<Report, Failure> {
    match &args.source {
        Some(source) => list(source, args.json, layout),
        None => Ok(workspaces(args.json, layout)),
    }
}

fn list(source: &Remote, json: bool, layout: &Layout) -> Result<Report, Failure> {
    let workspace = Workspace::find(source, layout)?;
    let mut names = workspace.sftp()?.list(&workspace.found.wire_path())?;
    names.sort_by(|one, other| one.name.cmp(&other.name));
    let mut report = Report::default();
    if json {
        report.out = ascii(&names.iter().map(as_json).collect());
    } else {
        for name in &names {
            report.line(as_text(name));
        }
    }
    Ok(report)
}

fn workspaces(json: bool, layout: &Layout) -> Report {
    let cards = find::all(layout);
    let mut report = Report::default();
    if json {
        let rows = cards.iter().flat_map(|card| {
            let account = card.account();
            card.workspaces.iter().map(move |name| {
                json!({
                    "workspace": name,
                    "account": account,
                    "project": card.project,
                    "federation": card.federation,
                    "pod": card.pod,
                })
            })
        });
        report.out = ascii(&rows.collect());
        return report;
    }
    for card in &cards {
        for name in &card.workspaces {
            let project =
                card.project.as_ref().map_or_else(String::new, |project| format!(", project {project}"));
            report.line(format_args!("{}/{name}: (federation {}{project})", card.account(), card.federation));
        }
    }
    if cards.is_empty() {
        report.note("no account has given this pod a card: akeys federation meet CARD");
    }
    report
}

fn kind(name: &Name) -> (char, &'static str) {
    match SFlag::from_bits_truncate(name.attributes.mode.unwrap_or(0) & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => ('-', "file"),
        SFlag::S_IFDIR => ('d', "directory"),
        SFlag::S_IFLNK => ('l', "symlink"),
        _ => ('?', "other"),
    }
}

fn moment(name: &Name) -> Option<Timestamp> {
    Timestamp::from_second(name.attributes.modified?.into()).ok()
}

/// As ls(1) would, in UTC and with foreign bytes escaped.
fn as_text(name: &Name) -> String {
    let mode = name.attributes.mode.unwrap_or(0);
    let permissions: String = "rwxrwxrwx"
        .chars()
        .enumerate()
        .map(|(bit, letter)| if mode & (0o400 >> bit) != 0 { letter } else { '-' })
        .collect();
    let size = name.attributes.size.unwrap_or(0);
    let time = moment(name).map_or_else(|| "-".to_owned(), |time| time.to_string());
    format!("{}{permissions} {size:>12} {time} {}", kind(name).0, Escaped(&name.name))
}

fn as_json(name: &Name) -> Value {
    let mut object = Map::new();
    put_bytes(&mut object, "name", Some(&name.name));
    object.insert("kind".to_owned(), kind(name).1.into());
    object.insert("size".to_owned(), name.attributes.size.into());
    object.insert("mode".to_owned(), name.attributes.mode.map(|mode| mode & 0o7777).into());
    object.insert("mtime".to_owned(), json!(moment(name)));
    Value::Object(object)
}
