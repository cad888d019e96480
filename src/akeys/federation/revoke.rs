//! `akeys federation revoke`: the keys of a pod are not to be used any more.
//!
//! The bundle says so first, and then the private halves are removed: killed in between, the same command goes on. Users
//! see it when they import the newer bundle, and take the keys out with `akeys federation update`.

use jiff::Timestamp;
use rrsync_rs::layout::Layout;

use super::own::{self, Edition};
use crate::akeys::bundle::{Bundle, Offer, Revoked};
use crate::akeys::cli::Revoke;
use crate::akeys::key_pair;
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::report::{Report, shown};

/// Runs it.
pub(super) fn run(args: &Revoke, layout: &Layout) -> Result<Report, Failure> {
    let _lock = Lock::acquire(layout)?;
    let before = own::load(layout, &args.name)?;
    let mut after = before.clone();
    let named = |offer: &Offer| {
        offer.pod == args.pod && args.set.as_ref().is_none_or(|set| offer.set.as_ref() == Some(set))
    };
    let (gone, stay): (Vec<Offer>, Vec<Offer>) = after.offers.into_iter().partition(named);
    after.offers = stay;
    let since = whole_second();
    for offer in gone {
        for key in std::iter::once(offer.key).chain(offer.replaces) {
            let (pod, set) = (offer.pod.clone(), offer.set.clone());
            after.revoked.push(Revoked { pod, set, key, since });
        }
    }
    let is_revoked = |revoked: &&Revoked| {
        revoked.pod == args.pod && args.set.as_ref().is_none_or(|set| revoked.set.as_ref() == Some(set))
    };
    let mut report = Report::default();
    let edition = Edition::after(&before, after)?;
    let bundle = edition.as_ref().map_or(&before, |edition| &edition.bundle);
    let revoked: Vec<&Revoked> = bundle.revoked.iter().filter(is_revoked).collect();
    if revoked.is_empty() {
        let set = args.set.as_ref().map_or_else(String::new, |set| format!(" with a tool set {set}"));
        let message = format!("federation {} has no pod {}{set}", args.name, args.pod);
        return Err(Failure::new(Exit::NoMatch, message).hint("akeys federation list"));
    }
    if let Some(edition) = &edition {
        edition.store(layout)?;
        for revoked in &revoked {
            report.line(format_args!("revoked pod {} {}", revoked.pod, revoked.key.fingerprint()));
        }
    }
    let removed = remove_keys(bundle, &revoked, layout, &mut report)?;
    match &edition {
        Some(edition) => {
            report.line(edition.next_step());
            report.note("the keys work until each user has imported that and run akeys federation update");
        }
        None if !removed => report.line(format_args!("pod {} was revoked before; nothing changed", args.pod)),
        None => {}
    }
    Ok(report)
}

/// TOML takes fractions, but nobody is helped by them.
fn whole_second() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Removes what is here of the private keys, unless their names have come to be those of another key.
fn remove_keys(
    bundle: &Bundle,
    revoked: &[&Revoked],
    layout: &Layout,
    report: &mut Report,
) -> Result<bool, Failure> {
    let mut removed = false;
    for gone in revoked {
        if bundle.offers.iter().any(|offer| offer.pod == gone.pod && offer.set == gone.set) {
            continue;
        }
        let Ok(grant) = bundle.name_of(&gone.pod, gone.set.as_ref()) else { continue };
        for path in [key_pair::path(layout, &grant), key_pair::next_path(layout, &grant)] {
            if key_pair::remove(&path)? {
                report.line(format_args!("removed {}", shown(layout, &path)));
                removed = true;
            }
        }
    }
    Ok(removed)
}
