//! `akeys federation list`: the federations that were made and imported here, and the accounts that they know.

use std::fmt::Write as _;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::{Label, WorkspaceName};
use serde_json::json;

use super::card::summary;
use crate::akeys::bundle::{Bundle, Offer, Suggestion};
use crate::akeys::shelf::Shelf;
use crate::card::{self, Card};
use crate::common::report::{Report, shown};

pub(super) fn run(json: bool, layout: &Layout) -> Report {
    let mut report = Report::default();
    let mut rows = Vec::new();
    for shelf in [Shelf::Own, Shelf::Imported] {
        for name in shelf.names(layout) {
            // One broken file must not hide the others.
            match shelf.load(layout, &name) {
                Ok(Some(bundle)) => {
                    let cards =
                        if shelf == Shelf::Own { cards(layout, &name, &mut report) } else { Vec::new() };
                    rows.push((shelf, bundle, cards));
                }
                Ok(None) => {}
                Err(error) => report.note(error),
            }
        }
    }
    if json {
        let value = |(shelf, bundle, cards): &(Shelf, Bundle, Vec<Card>)| {
            let offer = |offer: &Offer| {
                json!({
                    "pod": offer.pod,
                    "set": offer.set,
                    "key": offer.key.to_string(),
                    "fingerprint": offer.key.fingerprint(),
                    "tools": offer.tools,
                    "access": offer.access,
                    "from": offer.from.as_ref().map(ToString::to_string),
                    "expires": offer.expires.map(|at| at.to_string()),
                })
            };
            let offers: Vec<_> = bundle.offers.iter().map(offer).collect();
            let suggestion = |(name, suggestion): (&WorkspaceName, &Suggestion)| {
                json!({
                    "name": name,
                    "path": suggestion.path,
                    "access": suggestion.access,
                    "writable": suggestion.writable,
                })
            };
            let workspaces: Vec<_> = bundle.workspaces.iter().map(suggestion).collect();
            json!({
                "federation": bundle.federation,
                "kind": shelf.word(),
                "grants": offers,
                "workspaces": workspaces,
                "cards": cards.iter().map(card_as_json).collect::<Vec<_>>(),
            })
        };
        let all: Vec<_> = rows.iter().map(value).collect();
        report.line(format_args!("{:#}", serde_json::Value::Array(all)));
        return report;
    }
    for (shelf, bundle, cards) in &rows {
        let _ = writeln!(report.out, "{} ({})", bundle.federation, shelf.word());
        for offer in &bundle.offers {
            let _ = writeln!(report.out, "  pod {} wants {}", offer.pod, offer.wants());
            let _ = writeln!(report.out, "    key {}", offer.key.fingerprint());
        }
        suggestions_in_words(bundle, layout, &mut report);
        for card in cards {
            report.line(format_args!("  knows {} (pod {})", summary(card), card.pod));
        }
    }
    report
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

fn card_as_json(card: &Card) -> serde_json::Value {
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

/// What the bundle would like to see; nothing is exposed because of it.
pub(super) fn suggestions_in_words(bundle: &Bundle, layout: &Layout, report: &mut Report) {
    for (name, suggestion) in &bundle.workspaces {
        let path =
            suggestion.path.as_ref().map_or_else(String::new, |path| format!(" at {}", shown(layout, path)));
        let subs: Vec<String> =
            suggestion.writable.iter().map(|sub| format!("{name}/{}", Escaped::os(sub))).collect();
        let writable =
            if subs.is_empty() { String::new() } else { format!(", writable {}", subs.join(", ")) };
        report.line(format_args!("  suggests workspace {name}{path} ({}){writable}", suggestion.access));
    }
}
