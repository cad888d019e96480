//! What has lost its other half: a key line of a federation that has no such key any more, a policy that no line names.

use std::collections::{BTreeSet, HashMap};

use rrsync_rs::layout::Layout;
use rrsync_rs::name::{GrantName, Label};

use crate::akeys::bundle::Bundle;
use crate::akeys::forced::{self, Forced};
use crate::akeys::grants;
use crate::akeys::lines::mentioned_grant;
use crate::akeys::shelf::{self, Found};
use crate::authkeys::{Entry, KeyFile, Line};

use super::Facts;
use super::catalogue::Code;
use super::finding::{At, Basket};

/// The bundles that lines name, each read once; `None` where there is none that can be read.
#[derive(Debug, Default)]
pub(super) struct Federations(HashMap<Label, Option<Found>>);

impl Federations {
    /// Puts what the federation of a grant says about its key into the basket.
    pub(super) fn judge(
        &mut self,
        line: Line<'_>,
        entry: &Entry<'_>,
        facts: &Facts<'_>,
        basket: &mut Basket,
    ) {
        let Some((layout, command)) = facts.disk.zip(entry.options.command.as_deref()) else { return };
        let Forced::Grant { name, .. } = forced::read(command) else { return };
        let Some((federation, _)) = grants::parts(&name) else { return };
        let found = self
            .0
            .entry(federation)
            .or_insert_with_key(|federation| shelf::find(layout, federation).ok().flatten());
        let Some(found) = found else { return };
        let at = At::Line { number: line.number(), column: entry.key_span.start + 1 };
        let federation = &found.received.bundle.federation;
        let update = format!("akeys federation update {federation}");
        match standing(&found.received.bundle, &name, entry) {
            Standing::Offered => {}
            Standing::Revoked => {
                let message = || format!("{federation} has revoked the key of {name}");
                basket.put(Code::GrantRevoked, at, message).hint(update);
            }
            Standing::Replaced => {
                let message = || format!("{federation} has another key for {name} now");
                basket.put(Code::GrantOrphan, at, message).hint(update);
            }
            Standing::Unknown => {
                let message = || format!("{federation} has no such key for {name}");
                basket
                    .put(Code::GrantOrphan, at, message)
                    .hint(format!("akeys remove --fingerprint {}", entry.key.fingerprint()));
            }
        }
    }
}

/// What a bundle says about a key.
enum Standing {
    Offered,
    Revoked,
    Replaced,
    Unknown,
}

fn standing(bundle: &Bundle, name: &GrantName, entry: &Entry<'_>) -> Standing {
    if bundle.revocation(&entry.key).is_some() {
        return Standing::Revoked;
    }
    let own = bundle.offers.iter().filter(|offer| bundle.grant_name(offer).as_ref() == Ok(name));
    let mut standing = Standing::Unknown;
    for offer in own {
        if *offer.key.key() == entry.key {
            return Standing::Offered;
        }
        if offer.replaces.iter().any(|old| *old.key() == entry.key) {
            standing = Standing::Replaced;
        }
    }
    standing
}

/// Puts the policies that no line of any of the account's key files names into the basket; a disabled line counts.
pub(super) fn judge_policies<'f>(
    files: impl Iterator<Item = &'f KeyFile>,
    layout: &Layout,
    basket: &mut Basket,
) {
    let names = grants::names(layout);
    if names.is_empty() {
        return;
    }
    let used: BTreeSet<GrantName> =
        files.flat_map(|file| file.lines().filter_map(mentioned_grant).collect::<Vec<_>>()).collect();
    for name in names.into_iter().filter(|name| !used.contains(name)) {
        let message = || format!("no key line names the policy {name}");
        basket
            .put(Code::PolicyUnused, At::Path(layout.grant_file(&name)), message)
            .hint("remove the file, or install the key again");
    }
}
