//! `akeys federation import`: what somebody else's bundle asks for, kept and not granted.

use rrsync_rs::layout::Layout;

use super::{pins, update, words};
use crate::akeys::bundle::{Successor, succeed};
use crate::akeys::cli::Import;
use crate::akeys::failures::{bundle_failure, demand_signer};
use crate::akeys::shelf::{self, Found, Shelf};
use crate::common::exit::Failure;
use crate::common::lock::Lock;
use crate::common::private::IfThere;
use crate::common::report::Report;

/// Keeps a bundle, when it may take the place of the one that is here.
pub(super) fn run(args: &Import, layout: &Layout) -> Result<Report, Failure> {
    let comes = shelf::read(&args.bundle)?;
    demand_signer(args.signer.as_ref(), &comes)?;
    let federation = comes.bundle.federation.clone();
    let _lock = Lock::acquire(layout)?;
    let before = Shelf::Imported.load(layout, &federation)?;
    let step = succeed(before.as_ref(), comes).map_err(|error| bundle_failure(&error, &federation))?;
    let mut report = Report::default();
    let kept = match (step, &before) {
        (Successor::Same, Some(before)) => {
            report.line(format_args!("federation {federation} was imported before; nothing changed"));
            // The pins may be missing when an earlier run was killed.
            pins::settled(layout, None, &before.bundle)?.store(layout, &federation)?;
            before.clone()
        }
        (Successor::Takes(comes), _) => {
            let pins = pins::settled(layout, before.as_ref().map(|before| &before.bundle), &comes.bundle)?;
            pins.store(layout, &federation)?;
            Shelf::Imported.store(layout, &federation, &comes.text, IfThere::Replace)?;
            report.line(format_args!("imported federation {federation}; nothing is granted yet"));
            *comes
        }
        (Successor::Same, None) => return Ok(report),
    };
    words::bundle(&kept.bundle, kept.signer.as_ref(), layout, &mut report);
    match &kept.signer {
        // Whoever was believed before is believed now.
        Some(_) if before.is_some_and(|before| before.signer.is_some()) => {}
        Some(_) => report.note("compare the signer's fingerprint with the sender before you install"),
        None => report.note("compare the fingerprints with the sender before you install"),
    }
    let found = Found { trusted: kept.signer.is_some(), received: kept };
    update::note_pending(&found, layout, &mut report);
    Ok(report)
}
