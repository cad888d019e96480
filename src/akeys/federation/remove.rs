//! `akeys federation remove`: a bundle is forgotten, or a federation with its keys.

use std::fs;
use std::io;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;

use crate::akeys::cli::RemoveFederation;
use crate::akeys::key_pair;
use crate::akeys::remove;
use crate::akeys::shelf::Shelf;
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::private::{self, PrivateError};
use crate::common::report::{Report, shown};

/// Forgets a bundle, or a federation with its keys. What was installed from it stays installed, and is mentioned.
pub(super) fn run(args: &RemoveFederation, layout: &Layout) -> Result<Report, Failure> {
    let _lock = Lock::acquire(layout)?;
    let name = &args.name;
    let there = |shelf: Shelf| shelf.path(layout, name).exists();
    let shelf = match (there(Shelf::Own), there(Shelf::Imported)) {
        (true, true) if !args.own && !args.imported => {
            let message = format!("federation {name} is both your own and imported");
            return Err(Failure::new(Exit::Usage, message).hint("say which: --own or --imported"));
        }
        (true, _) if !args.imported => Shelf::Own,
        (_, true) if !args.own => Shelf::Imported,
        _ => return Err(Failure::new(Exit::NoMatch, format!("no such federation: {name}"))),
    };
    let mut report = Report::default();
    if shelf == Shelf::Own {
        // Without its file nobody would know which keys these are, so the keys go first.
        let bundle = shelf.load(layout, name)?;
        for offer in bundle.iter().flat_map(|bundle| &bundle.offers) {
            let Some(grant) = bundle.as_ref().and_then(|bundle| bundle.grant_name(offer).ok()) else {
                continue;
            };
            if key_pair::remove(layout, &grant)? {
                report.line(format_args!("removed {}", shown(layout, &key_pair::path(layout, &grant))));
            }
        }
        forget_cards(name, layout, &mut report)?;
    }
    let path = shelf.path(layout, name);
    private::remove(&path)?;
    report.line(format_args!("removed {}", shown(layout, &path)));
    if remove::is_installed(name, layout) {
        report.note(format_args!(
            "keys that were installed from it still work: akeys remove --federation {name}"
        ));
    }
    Ok(report)
}

/// Removes the cards of a federation and what was pinned for it: nobody is left to connect.
fn forget_cards(name: &Label, layout: &Layout, report: &mut Report) -> Result<(), Failure> {
    let (cards, pins) = (layout.cards_of(name), layout.known_hosts(name));
    match fs::remove_dir_all(&cards) {
        Ok(()) => report.line(format_args!("removed {}", shown(layout, &cards))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(PrivateError::io(&cards)(error).into()),
    }
    if private::remove(&pins)? {
        report.line(format_args!("removed {}", shown(layout, &pins)));
    }
    Ok(())
}
