//! `akeys federation meet` and `forget`: which accounts let this pod in, and by which keys it knows their hosts.
//!
//! A card is somebody else's word. It says where its account is and which host keys to expect there; it cannot change what
//! was pinned for a host before, because other accounts may be on the same host. That takes an explicit word.

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;

use super::card::summary;
use super::pins::{self, release};
use crate::akeys::cli::{Forget, Meet};
use crate::akeys::shelf::Shelf;
use crate::card::{self, Card, OtherKey, Pins};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::report::{Report, shown};

/// Takes a card in.
pub(super) fn meet(args: &Meet, layout: &Layout) -> Result<Report, Failure> {
    let card = card::read(&args.card)?;
    let federation = &card.federation;
    refuse_stranger(&card, layout)?;
    let _lock = Lock::acquire(layout)?;
    let known = card::find(layout, federation, &card.account()).unwrap_or_default();
    if let Some(known) = known.as_ref().filter(|known| known.pod != card.pod) {
        let message =
            format!("{} was met for pod {}, and the card is for pod {}", card.account(), known.pod, card.pod);
        let hint = format!("meet it where that pod is, or first: akeys federation forget {}", card.account());
        return Err(Failure::new(Exit::Conflict, message).hint(hint));
    }
    let mut pins = Pins::load(layout, federation)?;
    let pinned = if args.replace_host_key {
        let before = pins.clone();
        pins.replace(&card.place, &card.host_keys);
        pins != before
    } else {
        pins.add(&card.place, &card.host_keys).map_err(|error| changed(&error))?
    };
    let moved = known.as_ref().filter(|known| known.place != card.place);
    if let Some(known) = moved
        && !args.replace_host_key
        && !card.host_keys.is_subset(&known.host_keys)
    {
        // Another port is another sshd, but this account has been met, and its host by other keys.
        let error = OtherKey {
            place: card.place.clone(),
            pinned: known.host_keys.clone(),
            shown: card.host_keys.clone(),
        };
        return Err(changed(&error));
    }
    let mut report = Report::default();
    if !pinned && known.as_ref() == Some(&card) {
        report.line(format_args!("{} was met before; nothing changed", card.account()));
        return Ok(report);
    }
    // The card first: until its host is pinned as well, ssh refuses to connect.
    let path = card::store(layout, &card)?;
    let released = moved.filter(|known| release(known, layout, &mut pins));
    pins.store(layout, federation)?;
    let met = if known.is_some() { "met again" } else { "met" };
    report.line(format_args!("{met} {} (pod {})", summary(&card), card.pod));
    for key in &card.host_keys {
        report.line(format_args!("  host key {}", key.shown()));
    }
    report.line(format_args!("wrote {}", shown(layout, &path)));
    if pinned {
        let keys = shown(layout, &layout.known_hosts(federation));
        report.line(format_args!("pinned the host keys of {} in {keys}", card.place));
        report.note("compare the fingerprints with the account's owner before you connect");
    }
    report_released(released, &mut report);
    Ok(report)
}

/// A card is for a pod whose federation was made here: nobody else has the key to use it.
fn refuse_stranger(card: &Card, layout: &Layout) -> Result<(), Failure> {
    let federation = &card.federation;
    let Some(own) = Shelf::Own.load(layout, federation)? else {
        let message = format!("the card is for federation {federation}, which was not made here");
        return Err(Failure::new(Exit::NoMatch, message).hint("akeys federation list"));
    };
    let pods = own.bundle.pods();
    if pods.contains(&card.pod) {
        return Ok(());
    }
    let list: Vec<&str> = pods.into_iter().map(Label::as_str).collect();
    let message =
        format!("the card is for pod {} of federation {federation}, which has {}", card.pod, list.join(", "));
    Err(Failure::new(Exit::NoMatch, message))
}

fn changed(error: &OtherKey) -> Failure {
    pins::changed(error).hint(
        "nothing was changed; when the host's owner confirms the new keys over another channel: --replace-host-key",
    )
}

/// Forgets the card of an account, and its host's keys with the host's last card.
pub(super) fn forget(args: &Forget, layout: &Layout) -> Result<Report, Failure> {
    let _lock = Lock::acquire(layout)?;
    let federations: Vec<Label> = match &args.federation {
        Some(federation) => vec![federation.clone()],
        None => Shelf::Own.names(layout),
    };
    let mut found = Vec::new();
    for federation in &federations {
        found.extend(card::find(layout, federation, &args.account)?);
    }
    let account = Escaped(args.account.as_bytes());
    let card = match &found[..] {
        [card] => card,
        [] => {
            return Err(Failure::new(Exit::NoMatch, format!("no card of {account} is here"))
                .hint("akeys federation list"));
        }
        several => {
            let list: Vec<&str> = several.iter().map(|card| card.federation.as_str()).collect();
            let message = format!("{account} is known to several federations: {}", list.join(", "));
            return Err(Failure::new(Exit::Usage, message).hint("say which: --federation NAME"));
        }
    };
    let mut report = Report::default();
    let mut pins = Pins::load(layout, &card.federation)?;
    // The pins first: killed in between, nobody connects, and the same command goes on.
    let released = release(card, layout, &mut pins);
    if released {
        pins.store(layout, &card.federation)?;
    }
    card::forget(layout, card)?;
    let path = card::path(layout, &card.federation, &card.account());
    report.line(format_args!("removed {}", shown(layout, &path)));
    report_released(released.then_some(card), &mut report);
    Ok(report)
}

fn report_released(card: Option<&Card>, report: &mut Report) {
    if let Some(card) = card {
        report.line(format_args!("the host keys of {} are not pinned any more", card.place));
    }
}
