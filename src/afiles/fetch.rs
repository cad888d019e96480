//! `afiles fetch`: something new, under a name that is there when all of it is.

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::catalog::{self, Catalog, CopyBook, Transfer, Way, now};
use super::cli::Fetch;
use super::destination::{NewName, new_name};
use super::get::{Got, Wanted, get};
use super::receive::{Attributes, Keeper, ReceiveError, Tree};
use super::receiver::{Book as _, NewBook, Receiver};
use super::remote::Workspace;
use super::standing::Stand;
use super::tell::{Deed, Teller};
use super::walk::walk;
use crate::common::exit::{Exit, Failure};
use crate::common::report::Report;
use crate::event::EventPath;

/// Runs the subcommand.
pub fn run(args: &Fetch, layout: &Layout) -> Result<Report, Failure> {
    let target = new_name(&args.target, layout).map_err(|failure| match failure.exit {
        Exit::Conflict => failure.hint("afiles pull brings a directory up to date"),
        _ => failure,
    })?;
    let catalog = Catalog::open(layout)?;
    let workspace = Workspace::find(&args.source, layout)?;
    let mut sftp = workspace.sftp()?;
    let teller = Teller::new(args.json);
    let origin = workspace.found.origin();
    let durability = args.receiving.durability;
    let beside = Tree::open(&target.parent, layout, &origin, Keeper::new(layout, false), durability)?;
    let path = EventPath::new(target.name.clone()).map_err(|error| Failure::new(Exit::Usage, error))?;
    let wire = workspace.found.wire_path();
    let wanted = Wanted { wire: wire.clone(), path: path.clone(), size: None, sum: None, as_of: None };

    let mut state = None;
    get(&mut sftp, &beside, &teller, &[wanted], u64::MAX, &mut |_, got| {
        state = Some(got);
        Ok(())
    })?;
    match state {
        Some(Got::Directory(state)) => {
            let hidden = beside.hidden_dir()?;
            let tree = Tree::open_new(&hidden.path(), layout, &origin, durability)?;
            let mut book = NewBook::default();
            let mut receiver = Receiver::new(&tree, &mut book, &teller, args.receiving.outside_links);
            walk(&mut sftp, &wire, None, usize::MAX, &mut |sftp, group| {
                receiver.take(sftp, &group, u64::MAX)
            })?;
            receiver.end()?;
            let top = Attributes { mode: state.mode, modified: state.modified };
            tree.set_attributes(None, top, true)?;
            hidden.publish(&path).map_err(|error| occupied(&error, &target))?;
            beside.end()?;
            let copy = catalog.adopt(&target.path(), &workspace.found.remote.to_string(), Way::Fetched)?;
            Stand::new(&catalog, copy.id, copy.standing.clone()).compared()?;
            let mut copy = CopyBook::new(&catalog, copy, workspace.found.remote.clone(), origin);
            for (path, arrived) in &book.0 {
                let is_directory = arrived.known.kind == SFlag::S_IFDIR;
                if is_directory { copy.same(path, arrived.known) } else { copy.arrived(path, arrived) }?;
            }
            copy.write(None)?;
        }
        Some(Got::File(file, state)) => {
            let sum = file.sum();
            beside.settle(std::iter::once(&file))?;
            file.place_new().map_err(|error| occupied(&error, &target))?;
            beside.end()?;
            teller.tell(&target.name, Deed::Arrived { bytes: state.size, sum: Some(sum) });
            catalog.record(&Transfer {
                time: now(),
                path: target.path(),
                remote: workspace.found.remote.to_string(),
                deed: catalog::Deed::Received,
                who: origin,
                author: None,
                bytes: Some(state.size),
                sum: Some(sum),
            })?;
        }
        Some(got) => return Err(unfit(&got, &args.source)),
        None => return Err(Failure::new(Exit::Failed, "the server has not answered")),
    }
    let mut report = Report { notes: teller.notes(), ..Report::default() };
    if !args.json {
        report.line(format_args!("{}: {}", Escaped::os(&args.target), teller.summary()));
    }
    Ok(report)
}

/// Somebody else has made something of that name meanwhile.
fn occupied(error: &ReceiveError, target: &NewName) -> Failure {
    match error {
        ReceiveError::System { errno: Errno::EEXIST, .. } => {
            Failure::new(Exit::Conflict, format!("{} is there by now", Escaped::os(&target.path())))
        }
        error => Failure::new(Exit::Failed, error),
    }
}

/// Why what is there cannot be fetched.
fn unfit(got: &Got<'_>, source: &super::words::Remote) -> Failure {
    match got {
        Got::Missing => Failure::new(Exit::NoMatch, format!("there is no {source}")),
        Got::Link(says, _) => {
            Failure::new(Exit::Failed, format!("{source} is a symlink to {}", Escaped(says)))
        }
        Got::Busy => Failure::new(Exit::Failed, format!("{source} has not stopped changing")),
        Got::Refused(said) => Failure::new(Exit::Failed, format!("{source}: {said}")),
        _ => Failure::new(Exit::Failed, format!("{source} is neither a file nor a directory")),
    }
}
