//! `afiles push`: what is new in a directory here goes to one in a workspace.
//!
//! rsync sends, with delta; the gate there decides what may be written, and keeps what it was told to keep.

use nix::sys::stat::SFlag;
use rrsync_rs::escape::Escaped;
use rrsync_rs::grant::Tool;
use rrsync_rs::layout::Layout;
use rrsync_rs::sha256::Sum;

use super::catalog::{self, Catalog, Transfer, now};
use super::cli::PushArgs;
use super::remote::Workspace;
use super::rsync::{Change, Item, Rsync, There};
use super::tell::{Deed, Teller};
use super::words::Remote;
use crate::common::exit::{Exit, Failure};
use crate::common::report::Report;
use crate::event::EventPath;

/// Runs the subcommand.
pub fn run(args: &PushArgs, layout: &Layout) -> Result<Report, Failure> {
    let source = args
        .source
        .canonicalize()
        .map_err(|error| Failure::named(&error, format!("{}: {error}", Escaped::os(&args.source))))?;
    if !source.is_dir() {
        return Err(Failure::new(Exit::Failed, format!("{} is not a directory", Escaped::os(&args.source))));
    }
    let workspace = Workspace::find(&args.target, layout)?;
    let connection = workspace.connect(Tool::Rsync)?;
    let teller = Teller::new(args.json);
    let rsync = Rsync::new(&connection, workspace.found.wire_path()).watched(teller.is_watched());
    let catalog = Catalog::open(layout)?;
    let mut sent: Vec<There> = Vec::new();
    let mut removed: Vec<EventPath> = Vec::new();
    rsync.send(&source, args.delete, None, &mut |item| {
        match item {
            Item::There(there) if there.change == Change::Content && there.kind != SFlag::S_IFDIR => {
                teller.tell(there.path.as_bytes(), Deed::Sent { bytes: there.size });
                sent.push(there);
            }
            Item::Extra(path) => {
                teller.tell(path.as_bytes(), Deed::Removed);
                removed.push(path);
            }
            Item::Moved(bytes) => teller.moving(bytes),
            _ => {}
        }
        Ok(())
    })?;
    let record = |path: &EventPath, deed, bytes, sum| {
        let there = Remote { path: workspace.found.remote.join(path), ..workspace.found.remote.clone() };
        catalog.record(&Transfer {
            time: now(),
            path: source.join(path.as_path()),
            remote: there.to_string(),
            deed,
            who: workspace.found.origin(),
            author: None,
            bytes,
            sum,
        })
    };
    for there in &sent {
        let sum = sum_of(&source.join(there.path.as_path()), there);
        record(&there.path, catalog::Deed::Sent, Some(there.size), sum)?;
    }
    for path in &removed {
        record(path, catalog::Deed::RemovedThere, None, None)?;
    }
    let mut report = Report { notes: teller.notes(), ..Report::default() };
    if !args.json {
        report.line(format_args!("{}: {}", workspace.found.remote, teller.summary()));
    }
    Ok(report)
}

/// The sum of what was sent, if the file has still the size that it was sent with.
fn sum_of(path: &std::path::Path, there: &There) -> Option<Sum> {
    if there.kind != SFlag::S_IFREG {
        return None;
    }
    let (sum, size) = Sum::of_file(std::fs::File::open(path).ok()?).ok()?;
    (size == there.size).then_some(sum)
}
