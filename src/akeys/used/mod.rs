//! When a key was last used: by sshd's log, and for grants by the gate's own records.
//!
//! `accepted` reads one message of sshd, `log` finds the messages in the journal or in files, `gate` reads the audit file.
//! A log begins somewhere, so "never" is never known: what is said is that there was no login since then.

mod accepted;
mod gate;
mod log;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;
use serde::{Deserialize, Serialize};

pub use accepted::Accepted;
pub use gate::GateUses;

/// Uses of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// The last one.
    pub last: Timestamp,
    /// Where that came from, escaped.
    pub from: String,
    /// How many are known.
    pub count: u64,
    /// Every place that they came from, as far as they are few; no part of what is told.
    #[serde(skip)]
    pub seen: BTreeSet<String>,
}

/// More places than these are not kept apart.
const PLACES: usize = 1000;

impl Use {
    fn one(last: Timestamp, from: String) -> Self {
        Self { last, count: 1, seen: BTreeSet::from([from.clone()]), from }
    }

    fn add(&mut self, last: Timestamp, from: String) {
        self.count += 1;
        if self.seen.len() < PLACES && !self.seen.contains(&from) {
            self.seen.insert(from.clone());
        }
        if last >= self.last {
            (self.last, self.from) = (last, from);
        }
    }
}

/// What sshd's log says about all accounts.
#[derive(Debug, Default)]
pub struct Logins {
    by_key: HashMap<String, HashMap<String, Use>>,
    /// The first message that is known.
    pub begins: Option<Timestamp>,
    /// What could not be looked at.
    pub notes: Vec<String>,
}

impl Logins {
    /// What was read before this process gave up the right to read it; else the same as [`Logins::read`].
    pub fn remembered_or_read(named: Option<&Path>) -> Self {
        let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
        before.unwrap_or_else(|| Self::read(named))
    }

    /// Reads sshd's log: the file `named`, else the journal, else the usual files.
    pub fn read(named: Option<&Path>) -> Self {
        let mut logins = Self::default();
        if let Some(path) = named {
            let read = log::file(path, &mut |seen| logins.note(seen));
            logins.notes.extend(read.err());
        } else {
            log::usual(&mut |seen| logins.note(seen));
        }
        if logins.begins.is_none() && logins.notes.is_empty() {
            logins.notes.push(
                "sshd's log has nothing to read for this account: when keys were used is not known".into(),
            );
        }
        logins
    }

    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        self.begins.is_some()
    }

    /// The logins of `account` with the key of this fingerprint.
    pub fn of(&self, account: &str, fingerprint: &str) -> Option<&Use> {
        self.by_key.get(account)?.get(fingerprint)
    }

    fn note(&mut self, seen: log::Seen<'_>) {
        self.begins = Some(self.begins.map_or(seen.time, |begins| begins.min(seen.time)));
        let Some(accepted) = seen.accepted else { return };
        let account = self.by_key.entry(accepted.account.to_owned()).or_default();
        for fingerprint in accepted.keys() {
            let from = accepted.address.to_owned();
            match account.get_mut(fingerprint) {
                Some(known) => known.add(seen.time, from),
                None => drop(account.insert(fingerprint.to_owned(), Use::one(seen.time, from))),
            }
        }
    }
}

/// The fingerprint of the key by which the client at this address and port came in to `account`, by sshd's log. Clients use
/// a port again; the last login counts.
pub fn key_of_connection(account: &str, address: &str, port: &str) -> Option<String> {
    let mut found: Option<(Timestamp, String)> = None;
    let mut note = |seen: log::Seen<'_>| {
        let Some(accepted) = seen.accepted else { return };
        let same = (accepted.account, accepted.address, accepted.port) == (account, address, port);
        if same && found.as_ref().is_none_or(|(time, _)| *time <= seen.time) {
            found = Some((seen.time, accepted.key().to_owned()));
        }
    };
    log::usual(&mut note);
    found.map(|(_, key)| key)
}

/// What was read before this process gave up the right to read it.
static BEFORE: Mutex<Option<Logins>> = Mutex::new(None);

/// Reads sshd's log now, for [`Uses::of`] later.
pub fn remember(named: Option<&Path>) {
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Logins::read(named));
}

/// What is known about the use of keys.
#[derive(Debug, Default)]
pub struct Uses {
    /// By sshd's log.
    pub logins: Logins,
    /// By the gate's records of one account.
    pub gate: GateUses,
    /// Whose.
    pub account: String,
}

impl Uses {
    /// What is known about the keys of `account`, at home in `layout`.
    pub fn of(account: &str, named: Option<&Path>, layout: &Layout) -> Self {
        let logins = Logins::remembered_or_read(named);
        Self { logins, gate: GateUses::read(layout), account: account.to_owned() }
    }

    /// Every place from which a key was used.
    pub fn seen(&self, fingerprint: &str, grant: Option<&GrantName>) -> BTreeSet<String> {
        let uses = [self.logins.of(&self.account, fingerprint), grant.and_then(|name| self.gate.of(name))];
        uses.into_iter().flatten().flat_map(|one| one.seen.iter().cloned()).collect()
    }

    /// The last use of a key: the later of a login and a request to the gate.
    pub fn last(&self, fingerprint: &str, grant: Option<&GrantName>) -> Option<Use> {
        last(self.logins.of(&self.account, fingerprint), grant.and_then(|name| self.gate.of(name)))
    }
}

/// The later of two.
pub fn last(login: Option<&Use>, gate: Option<&Use>) -> Option<Use> {
    match (login, gate) {
        (Some(login), Some(gate)) if gate.last > login.last => {
            Some(Use { count: login.count, ..gate.clone() })
        }
        (Some(one), _) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    }
}

/// `last used 2026-11-20 from 10.1.1.1`, or that there was no use since the log begins; `None` when nothing is known.
pub fn words(used: Option<&Use>, begins: Option<Timestamp>) -> Option<String> {
    match (used, begins) {
        (Some(used), _) if used.from.is_empty() => Some(format!("last used {}", day(used.last))),
        (Some(used), _) => Some(format!("last used {} from {}", day(used.last), used.from)),
        (None, Some(begins)) => Some(format!("not used since {}, where sshd's log begins", day(begins))),
        (None, None) => None,
    }
}

/// Says that nobody has used a key since long ago, if that is so. A log that does not go back so far proves nothing.
pub fn idle(used: Option<&Use>, begins: Option<Timestamp>, since: Timestamp) -> Option<String> {
    match (used, begins) {
        (Some(used), _) if used.last < since => Some(format!("last used on {}", day(used.last))),
        (None, Some(begins)) if begins <= since => {
            Some(format!("not used since {}, where sshd's log begins", day(begins)))
        }
        _ => None,
    }
}

/// A moment as a reader of a table wants it: the day, in UTC.
pub fn day(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d").to_string()
}
