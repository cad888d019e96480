//! The host keys that a bundle names are pinned as those of cards are, in the same file.

use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;

use crate::akeys::bundle::Bundle;
use crate::akeys::shelf::Shelf;
use crate::card::{self, Card, OtherKey, Pins, Place};
use crate::common::exit::{Exit, Failure};

/// What is pinned once `after` takes the place of `before`. Nothing is written.
///
/// A host that `before` named may have other keys in `after`, because whoever was believed about the ones is believed about
/// the others. A host that was pinned by something else keeps its keys.
pub(super) fn settled(layout: &Layout, before: Option<&Bundle>, after: &Bundle) -> Result<Pins, Failure> {
    let mut pins = Pins::load(layout, &after.federation)?;
    let before = before.map(Bundle::pinned).unwrap_or_default();
    let now = after.pinned();
    for (place, keys) in &now {
        // What a card has pinned as well is not this bundle's alone to change.
        let ours = before.get(place).is_some_and(|keys| pins.of(place) == *keys)
            && !in_card(layout, &after.federation, place);
        if ours {
            pins.replace(place, keys);
        } else {
            pins.add(place, keys).map_err(|error| changed(&error))?;
        }
    }
    for place in before.keys().filter(|place| !now.contains_key(*place)) {
        if !in_card(layout, &after.federation, place) {
            pins.drop(place);
        }
    }
    Ok(pins)
}

fn in_card(layout: &Layout, federation: &Label, place: &Place) -> bool {
    card::all(layout, federation).into_iter().flatten().any(|card| card.place == *place)
}

/// Takes the pins of the place of `gone`, a card that goes or changes, away when neither another card nor a bundle of the
/// federation speaks of it; `true` when it did.
pub(super) fn release(gone: &Card, layout: &Layout, pins: &mut Pins) -> bool {
    let (place, federation) = (&gone.place, &gone.federation);
    let in_card =
        card::all(layout, federation).into_iter().flatten().any(|card| card.place == *place && card != *gone);
    let in_bundle = || {
        let bundles = [Shelf::Own, Shelf::Imported].map(|shelf| shelf.load(layout, federation));
        bundles.iter().flatten().flatten().any(|received| received.bundle.pinned().contains_key(place))
    };
    let free = !pins.of(place).is_empty() && !in_card && !in_bundle();
    if free {
        pins.drop(place);
    }
    free
}

/// How a host with another key ends the program.
pub(super) fn changed(error: &OtherKey) -> Failure {
    Failure::new(Exit::Conflict, error)
        .hint("nothing was changed; ask the host's owner over another channel whether the new keys are right")
}
