//! `akeys federation admit`: pods whose keys were made on another machine join a federation of this account's own.
//!
//! Each machine makes its own keys, and one of them speaks for all: users import what that one exports and signs.

use rrsync_rs::layout::Layout;

use super::own::{self, Edition};
use crate::akeys::bundle::{Bundle, Offer};
use crate::akeys::cli::Admit;
use crate::akeys::shelf;
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::report::Report;

/// Runs it.
pub(super) fn run(args: &Admit, layout: &Layout) -> Result<Report, Failure> {
    let comes = shelf::read(&args.bundle)?.bundle;
    let _lock = Lock::acquire(layout)?;
    let before = own::load(layout, &comes.federation)?;
    let mut after = before.clone();
    let mut report = Report::default();
    for offer in comes.offers {
        take(&mut after, offer, args.replace, &mut report)?;
    }
    let Some(edition) = Edition::after(&before, after)? else {
        report.line(format_args!("every pod of it is in federation {} already", before.federation));
        return Ok(report);
    };
    edition.store(layout)?;
    report.line(edition.next_step());
    report.note("compare the fingerprints with the pod's owner before you export");
    Ok(report)
}

fn take(bundle: &mut Bundle, offer: Offer, replace: bool, report: &mut Report) -> Result<(), Failure> {
    let words = format!("pod {} wants {}\n  key {}", offer.pod, offer.wants(), offer.key.fingerprint());
    let known = bundle.offers.iter_mut().find(|have| have.pod == offer.pod && have.set == offer.set);
    match known {
        None => {
            report.line(words);
            bundle.offers.push(offer);
        }
        Some(known) if *known == offer => {}
        // What it asks for may change; whose key it is may not.
        Some(known) if known.key == offer.key => {
            report.line(words);
            let replaces = std::mem::take(&mut known.replaces);
            *known = Offer { replaces, ..offer };
        }
        Some(known) if replace => {
            report.line(words);
            report.line(format_args!("  in place of {}", known.key.fingerprint()));
            let mut replaces = std::mem::take(&mut known.replaces);
            replaces.push(known.key.clone());
            *known = Offer { replaces, ..offer };
        }
        Some(known) => {
            let message = format!(
                "pod {} comes with another key\n  here:   {}\n  bundle: {}",
                offer.pod,
                known.key.fingerprint(),
                offer.key.fingerprint()
            );
            return Err(Failure::new(Exit::Conflict, message)
                .hint("nothing was changed; when the pod's owner confirms the new key: --replace"));
        }
    }
    Ok(())
}
