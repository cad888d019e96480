//! `akeys federation list`: the federations that were made and imported here, and the accounts that they know.

use rrsync_rs::layout::Layout;
use rrsync_rs::name::{Label, WorkspaceName};
use serde_json::{Value, json};

use super::card::summary;
use super::{own, words};
use crate::akeys::bundle::{Offer, PodKey, Received, Revoked, Suggestion};
use crate::akeys::key_pair;
use crate::akeys::shelf::Shelf;
use crate::card::{self, Card};
use crate::common::report::Report;

/// One federation.
struct Row {
    shelf: Shelf,
    received: Received,
    signer: Option<PodKey>,
    cards: Vec<Card>,
}

/// Runs it.
pub(super) fn run(json: bool, layout: &Layout) -> Report {
    let mut report = Report::default();
    let mut rows = Vec::new();
    for shelf in [Shelf::Own, Shelf::Imported] {
        for name in shelf.names(layout) {
            // One broken file must not hide the others.
            match shelf.load(layout, &name) {
                Ok(Some(received)) => rows.push(row(shelf, received, layout, &mut report)),
                Ok(None) => {}
                Err(error) => report.note(error),
            }
        }
    }
    if json {
        let all: Vec<_> = rows.iter().map(|row| as_json(row, layout)).collect();
        report.line(format_args!("{:#}", Value::Array(all)));
        return report;
    }
    if rows.is_empty() && report.notes.is_empty() {
        report.note("no federation is here: akeys federation new NAME, or akeys federation import BUNDLE");
    }
    for row in &rows {
        let bundle = &row.received.bundle;
        report.line(format_args!("{} ({})", bundle.federation, row.shelf.word()));
        words::bundle(bundle, row.signer.as_ref(), layout, &mut report);
        for offer in bundle.offers.iter().filter(|offer| row.rotates(offer, layout)) {
            let of = bundle.grant_name(offer).map_or_else(|_| offer.pod.to_string(), |name| name.to_string());
            report.line(format_args!("  {of} has a new key, and its old one as well"));
        }
        for card in &row.cards {
            report.line(format_args!("  knows {} (pod {})", summary(card), card.pod));
        }
    }
    report
}

fn row(shelf: Shelf, received: Received, layout: &Layout, report: &mut Report) -> Row {
    let name = &received.bundle.federation;
    match shelf {
        Shelf::Own => {
            Row { shelf, signer: own::signer_key(layout, name), cards: cards(layout, name, report), received }
        }
        Shelf::Imported => Row { shelf, signer: received.signer.clone(), cards: Vec::new(), received },
    }
}

impl Row {
    /// Whether the keys of `offer` are being changed here.
    fn rotates(&self, offer: &Offer, layout: &Layout) -> bool {
        let name = self.received.bundle.grant_name(offer);
        self.shelf == Shelf::Own && name.is_ok_and(|name| key_pair::next_path(layout, &name).exists())
    }
}

/// The cards that can be read; of the others a note says why not.
fn cards(layout: &Layout, federation: &Label, report: &mut Report) -> Vec<Card> {
    let mut cards = Vec::new();
    for card in card::all(layout, federation) {
        match card {
            Ok(card) => cards.push(card),
            Err(error) => report.note(error),
        }
    }
    cards
}

fn as_json(row: &Row, layout: &Layout) -> Value {
    let bundle = &row.received.bundle;
    let texts = |keys: &[PodKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    let offer = |offer: &Offer| {
        json!({
            "pod": offer.pod,
            "set": offer.set,
            "key": offer.key.to_string(),
            "fingerprint": offer.key.fingerprint(),
            "replaces": texts(&offer.replaces),
            "rotating": row.rotates(offer, layout),
            "tools": offer.tools,
            "access": offer.access,
            "from": offer.from.as_ref().map(ToString::to_string),
            "expires": offer.expires.map(|at| at.to_string()),
        })
    };
    let revoked = |revoked: &Revoked| {
        json!({
            "pod": revoked.pod,
            "set": revoked.set,
            "key": revoked.key.to_string(),
            "fingerprint": revoked.key.fingerprint(),
            "since": revoked.since.to_string(),
        })
    };
    let suggestion = |(name, suggestion): (&WorkspaceName, &Suggestion)| {
        json!({
            "name": name,
            "path": suggestion.path,
            "access": suggestion.access,
            "writable": suggestion.writable,
        })
    };
    json!({
        "federation": bundle.federation,
        "kind": row.shelf.word(),
        "serial": bundle.serial,
        "signer": row.signer.as_ref().map(PodKey::fingerprint),
        "hubs": bundle.hubs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "nats": bundle.nats.as_ref().map(ToString::to_string),
        "host_keys": bundle.host_keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "grants": bundle.offers.iter().map(offer).collect::<Vec<_>>(),
        "revoked": bundle.revoked.iter().map(revoked).collect::<Vec<_>>(),
        "workspaces": bundle.workspaces.iter().map(suggestion).collect::<Vec<_>>(),
        "cards": row.cards.iter().map(card_as_json).collect::<Vec<_>>(),
    })
}

fn card_as_json(card: &Card) -> Value {
    json!({
        "pod": card.pod,
        "user": card.user.as_str(),
        "host": card.place.host.as_str(),
        "port": card.place.port,
        "project": card.project,
        "workspaces": card.workspaces,
        "host_keys": card.host_keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
