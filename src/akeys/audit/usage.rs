//! When and from where a key was used, where sshd's log and the gate's records were read.

use rrsync_rs::name::GrantName;

use crate::akeys::forced::{self, Forced};
use crate::akeys::used;
use crate::authkeys::{Entry, FromMatch};

use super::catalogue::Code;
use super::finding::{At, Basket};
use super::{Facts, Outside, Unused};

/// Puts what is known about the use of the key of `entry` into the basket.
pub(super) fn judge(entry: &Entry<'_>, at: &dyn Fn() -> At, facts: &Facts<'_>, basket: &mut Basket) {
    if let Some(message) = facts.unused.and_then(|unused| idle(entry, &unused)) {
        basket.put(Code::Unused, at(), || message);
    }
    if let Some(message) = facts.outside.and_then(|outside| from_elsewhere(entry, &outside)) {
        basket.put(Code::UsedOutside, at(), || message);
    }
}

/// That nobody has used a key since long ago.
fn idle(entry: &Entry<'_>, unused: &Unused<'_>) -> Option<String> {
    let last = unused.uses.last(&entry.key.fingerprint(), grant(entry).as_ref());
    used::idle(last.as_ref(), unused.uses.logins.begins, unused.since)
}

/// The grant that a key is for.
fn grant(entry: &Entry<'_>) -> Option<GrantName> {
    match forced::read(entry.options.command.as_deref()?) {
        Forced::Grant { name, .. } => Some(name),
        _ => None,
    }
}

/// That somebody has used a key from where its line, or whoever asks, expects nobody. Names say nothing here: who had one then
/// is not in the log.
fn from_elsewhere(entry: &Entry<'_>, outside: &Outside<'_>) -> Option<String> {
    let expected = outside.expected.map(ToString::to_string);
    let lists = [
        (entry.options.from.as_deref(), "from does not let that in now"),
        (expected.as_deref().map(str::as_bytes), "nobody is expected there"),
    ];
    let seen = outside.uses.seen(&entry.key.fingerprint(), grant(entry).as_ref());
    lists.into_iter().find_map(|(list, why)| {
        let list = list.filter(|list| FromMatch::has_addresses_only(list))?;
        let elsewhere = |from: &&String| {
            let address = from.parse().ok();
            address.is_some_and(|address| FromMatch::of(list, address, None) == FromMatch::NotAllowed)
        };
        let first = seen.iter().find(elsewhere)?;
        Some(format!("used from {first}, and {why}"))
    })
}
