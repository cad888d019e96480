//! `akeys federation remove`: a bundle is forgotten, or a federation with its keys.

use std::fs;
use std::io;
use std::path::PathBuf;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::{GrantName, Label};

use super::pins;
use crate::akeys::bundle::{Bundle, Received};
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
        for key in private_keys(name, layout)? {
            if key_pair::remove(&key)? {
                report.line(format_args!("removed {}", shown(layout, &key)));
            }
        }
        // Empty ones only; another federation may have keys in them.
        for dir in [layout.next_key_dir(), layout.signer_dir()] {
            let _ = fs::remove_dir(dir);
        }
        forget_cards(name, layout, &mut report)?;
    } else {
        forget_pins(name, layout)?;
        // A bundle that cannot be read any more is forgotten all the same.
        let counted = |kept: &Received| kept.bundle.serial > 1 || !kept.bundle.revoked.is_empty();
        if Shelf::Imported.load(layout, name).ok().flatten().as_ref().is_some_and(counted) {
            report
                .note("what was known of its editions is forgotten: an older bundle would be believed again");
        }
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

/// Where the private keys of a federation are, or would be: its pods', those that are to take their place, its signer's.
fn private_keys(name: &Label, layout: &Layout) -> Result<Vec<PathBuf>, Failure> {
    let Some(Received { bundle, .. }) = Shelf::Own.load(layout, name)? else { return Ok(Vec::new()) };
    let grants: Vec<GrantName> =
        bundle.offers.iter().filter_map(|offer| bundle.grant_name(offer).ok()).collect();
    let mut keys: Vec<PathBuf> = grants
        .iter()
        .flat_map(|grant| [key_pair::path(layout, grant), key_pair::next_path(layout, grant)])
        .collect();
    keys.push(key_pair::signer_path(layout, name));
    Ok(keys)
}

/// Takes away what only the imported bundle had pinned.
fn forget_pins(name: &Label, layout: &Layout) -> Result<(), Failure> {
    // A bundle that cannot be read any more is forgotten all the same.
    let Ok(Some(Received { bundle, .. })) = Shelf::Imported.load(layout, name) else { return Ok(()) };
    if !Shelf::Own.path(layout, name).exists() {
        let nothing = Bundle { host_keys: Vec::new(), ..bundle.clone() };
        pins::settled(layout, Some(&bundle), &nothing)?.store(layout, name)?;
    }
    Ok(())
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
