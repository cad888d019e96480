//! `afiles pull` and `afiles diff`: a directory here is made the same as one in a workspace, or it is said what that would do.

use std::io;

use nix::sys::stat::SFlag;
use rrsync_rs::escape::Escaped;
use rrsync_rs::grant::Tool;
use rrsync_rs::layout::Layout;
use serde_json::{Map, Value};

use super::catalog::{Catalog, CopyBook, Way};
use super::cli::{Diff, Pull};
use super::destination::Destination;
use super::receive::{Keeper, Tree};
use super::reconcile::Reconcile;
use super::remote::Workspace;
use super::rsync::{Change, Item, Look, Rsync};
use super::standing::Stand;
use super::tell::{Teller, line, size};
use crate::common::exit::{Exit, Failure};
use crate::common::json::put_bytes;
use crate::common::report::Report;

/// Runs `afiles pull`.
pub fn run(args: &Pull, layout: &Layout) -> Result<Report, Failure> {
    let workspace = Workspace::find(&args.source, layout)?;
    let connection = workspace.connect(Tool::Rsync)?;
    let teller = Teller::new(args.json);
    let rsync = Rsync::new(&connection, workspace.found.wire_path()).watched(teller.is_watched());
    let catalog = Catalog::open(layout)?;
    let destination = Destination::open(&args.target, layout)?;
    let copy = destination.copy_of(&workspace.found.remote, &catalog, Way::Fetched, args.adopt)?;
    let who = workspace.found.origin();
    let keeper = Keeper::new(layout, args.keep_versions);
    let tree = Tree::open(destination.real(), layout, &who, keeper, args.receiving.durability)?;
    let mut stand = Stand::new(&catalog, copy.id, copy.standing.clone());
    let mut book = CopyBook::new(&catalog, copy, workspace.found.remote.clone(), who);
    let links = args.receiving.outside_links;
    let reconcile = Reconcile {
        tree: &tree,
        rsync: &rsync,
        found: &workspace.found,
        sftp: &|| workspace.sftp().ok(),
        book: &mut book,
        teller: &teller,
        links,
        directory_times: true,
    };
    let outcome = reconcile.run(&mut |_| Ok(()))?;
    let mut report = Report { notes: teller.notes(), ..Report::default() };
    if outcome.left.is_empty() {
        stand.compared()?;
    } else {
        report.exit = Exit::Failed;
    }
    if !args.json {
        report.line(format_args!("{}: {}", Escaped::os(&args.target), teller.summary()));
    }
    Ok(report)
}

/// Runs `afiles diff`.
pub fn diff(args: &Diff, layout: &Layout) -> Result<Report, Failure> {
    let workspace = Workspace::find(&args.source, layout)?;
    let connection = workspace.connect(Tool::Rsync)?;
    let rsync = Rsync::new(&connection, workspace.found.wire_path());
    let catalog = Catalog::open(layout)?;
    let target = args
        .target
        .canonicalize()
        .map_err(|error| Failure::named(&error, format!("{}: {error}", Escaped::os(&args.target))))?;
    let copy = catalog.copy_in(&target)?.map(|copy| copy.id);
    let mut report = Report::default();
    let mut differ = false;
    let look = Look { directory_times: false, equal: false };
    let mut items = Vec::new();
    rsync.compare(&target, look, &mut |item| {
        items.push(item);
        Ok::<(), io::Error>(())
    })?;
    items.sort_by(|one: &Item, other| one.path().cmp(&other.path()));
    for item in items {
        let (word, path, bytes) = match item {
            Item::There(there) => {
                let here = target.join(there.path.as_path());
                let word = match there.change {
                    Change::Equal => continue,
                    Change::Attributes => "attributes",
                    Change::Content if here.symlink_metadata().is_ok() => "change",
                    Change::Content => "new",
                };
                let bytes =
                    (there.kind == SFlag::S_IFREG && there.change == Change::Content).then_some(there.size);
                (word, there.path, bytes)
            }
            Item::Extra(path) => {
                let known = match copy {
                    Some(copy) => catalog.known(copy, &path)?,
                    None => None,
                };
                // What did not come from there, or is no longer what came, stays.
                (if known.is_some() { "gone" } else { "only-here" }, path, None)
            }
            Item::Special(path) => ("special", path, None),
            Item::Top(_) | Item::Moved(_) => continue,
        };
        differ |= word != "only-here" && word != "special";
        if args.json {
            let mut event = Map::new();
            event.insert("type".to_owned(), word.into());
            put_bytes(&mut event, "path", Some(path.as_bytes()));
            event.insert("bytes".to_owned(), bytes.into());
            line(&Value::Object(event));
        } else {
            let bytes = bytes.map_or_else(String::new, |bytes| format!(" ({})", size(bytes)));
            report.line(format_args!("{word:<10} {}{bytes}", Escaped(path.as_bytes())));
        }
    }
    report.exit = if differ { Exit::Findings } else { Exit::Done };
    Ok(report)
}
