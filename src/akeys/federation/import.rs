//! `akeys federation import`: what somebody else's bundle asks for, kept and not granted.

use std::path::Path;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;

use super::list::suggestions_in_words;
use crate::akeys::bundle::MergeError;
use crate::akeys::shelf::{self, Shelf};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::private::IfThere;
use crate::common::report::Report;

/// Keeps a bundle. Another pod of a federation that is here already joins it; nothing is ever replaced.
pub(super) fn run(path: &Path, layout: &Layout) -> Result<Report, Failure> {
    let bundle = shelf::read(path)?;
    let federation = bundle.federation.clone();
    let _lock = Lock::acquire(layout)?;
    let (kept, news) = match Shelf::Imported.load(layout, &federation)? {
        None => (bundle, true),
        Some(mut kept) => {
            let news = kept.merge(bundle).map_err(|error| merge_failure(&error, &federation))?;
            (kept, news > 0)
        }
    };
    let mut report = Report::default();
    if news {
        Shelf::Imported.store(layout, &kept, IfThere::Replace)?;
        report.line(format_args!("imported federation {federation}; nothing is granted yet"));
    } else {
        report.line(format_args!("federation {federation} was imported before; nothing changed"));
    }
    for offer in &kept.offers {
        report.line(format_args!("  pod {} wants {}", offer.pod, offer.wants()));
        report.line(format_args!("    key {}", offer.key.fingerprint()));
    }
    suggestions_in_words(&kept, layout, &mut report);
    report.note(format_args!("compare the fingerprints with the sender before you install"));
    Ok(report)
}

fn merge_failure(error: &MergeError, federation: &Label) -> Failure {
    let message = match error {
        MergeError::Setting(_) => format!("federation {federation}: {error}"),
        MergeError::Offer { here, there, .. } => format!(
            "federation {federation}: {error}\n  here:   {} {}\n  bundle: {} {}",
            here.key.fingerprint(),
            here.wants(),
            there.key.fingerprint(),
            there.wants()
        ),
    };
    let hint = format!(
        "when the sender confirms it: akeys federation remove --imported {federation}, then import again"
    );
    Failure::new(Exit::Conflict, message).hint(hint)
}
