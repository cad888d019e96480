//! What the registry of workspaces adds to the cards: which workspaces exist now. It never says whom to trust.
//!
//! Whoever may publish there can announce anything. So an announcement counts only for an account that this pod has a card of, and
//! the way there is that card's: its host, its port, its pinned keys. One whose host has other keys than those is a conflict, which
//! a person decides; so is a second owner.

use std::collections::BTreeSet;

use rrsync_rs::layout::Layout;

use super::words::{Owner, Remote};
use crate::awatch::nats::registry::{self, Entry};
use crate::awatch::nats::settings;
use crate::card::{Card, HostPublicKey, OtherKey, Pins};
use crate::common::exit::{Exit, Failure};

/// Every announcement on the server of this account; none where no configuration names a server.
pub fn all(layout: &Layout) -> Result<Vec<Entry>, Failure> {
    let Some(server) = settings::of_account(layout)? else { return Ok(Vec::new()) };
    registry::ask(&server, "afiles")
        .map_err(|error| Failure::new(Exit::Failed, format!("the registry on {}: {error}", server.url)))
}

/// Whether an announcement is one of what was asked for.
pub fn is_meant(entry: &Entry, remote: &Remote) -> bool {
    let owned = match &remote.owner {
        None => true,
        Some(Owner::Project(project)) => entry.project.as_ref() == Some(project),
        Some(Owner::Account(user, host)) => entry.user == *user && entry.host == *host,
    };
    owned && entry.workspace == remote.workspace
}

/// Whether it is of the account of `card`. A host may call itself otherwise than its card does: then its keys say which it is.
pub fn is_of(entry: &Entry, card: &Card) -> bool {
    let same_host = entry.host == card.place.host || !entry.host_keys.is_disjoint(&card.host_keys);
    entry.user == card.user && same_host
}

/// That the host of an announcement has the keys that this pod knows it by.
///
/// # Errors
/// `Conflict`, with the fingerprints of both sides.
pub fn check(entry: &Entry, card: &Card, layout: &Layout) -> Result<(), Failure> {
    let pins = Pins::load(layout, &card.federation).map_err(|error| Failure::new(Exit::Failed, error))?;
    let pinned = match pins.of(&card.place) {
        none if none.is_empty() => card.host_keys.clone(),
        pinned => pinned,
    };
    let of = |keys: &BTreeSet<HostPublicKey>, key: &HostPublicKey| -> Vec<HostPublicKey> {
        let same = |other: &&HostPublicKey| other.key().algorithm() == key.key().algorithm();
        keys.iter().filter(same).cloned().collect()
    };
    // Of each kind that both sides have there is a key that both sides have.
    let differs = |key: &HostPublicKey| {
        let known = of(&pinned, key);
        !known.is_empty() && !of(&entry.host_keys, key).iter().any(|key| known.contains(key))
    };
    if entry.host_keys.is_empty()
        || !(entry.host_keys.iter().any(differs) || entry.host_keys.is_disjoint(&pinned))
    {
        return Ok(());
    }
    let other = OtherKey { place: card.place.clone(), pinned, shown: entry.host_keys.clone() };
    let message = format!("{} is announced by {}, and {other}", entry.workspace, entry.account());
    Err(Failure::new(Exit::Conflict, message)
        .hint("ask the account's owner which is right before anything else"))
}
