//! Lines with the same key: which of them sshd uses, and which restriction another one undoes.
//!
//! sshd takes the first line that lets the key in, and goes on behind one that refuses it (`from`, `expiry-time`). So a
//! restriction holds only when no line before it allows more, and a condition only when no line behind it does without.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::authkeys::{Entry, FromMatch, KeyFile, Line, Options};

use super::Facts;
use super::catalogue::Code;
use super::finding::{At, Basket};

/// The lines of each key, by a digest of the key.
#[derive(Debug, Default)]
pub(super) struct SameKeys(HashMap<u64, Numbers>);

/// Nearly every key has one line, so only the others cost a list.
#[derive(Debug)]
enum Numbers {
    One(usize),
    Several(Vec<usize>),
}

impl SameKeys {
    /// Notes that a live line has this key.
    pub(super) fn note(&mut self, key: u64, line: usize) {
        let lines = self.0.entry(key).or_insert(Numbers::One(line));
        match lines {
            Numbers::One(first) if *first != line => *lines = Numbers::Several(vec![*first, line]),
            Numbers::One(_) => {}
            Numbers::Several(all) => all.push(line),
        }
    }

    /// Puts what the lines of one key do to each other into the basket.
    pub(super) fn judge(self, file: &KeyFile, facts: &Facts<'_>, basket: &mut Basket) {
        let several = self.0.into_values().filter_map(|lines| match lines {
            Numbers::One(_) => None,
            Numbers::Several(all) => Some(all),
        });
        for numbers in several {
            let readings: Vec<_> = numbers
                .iter()
                .filter_map(|&number| Some((number, file.line(number)?.read(facts.rules))))
                .collect();
            let entries: Vec<(usize, &Entry<'_>)> =
                readings.iter().filter_map(|(number, reading)| Some((*number, reading.entry()?))).collect();
            // Two keys may share a digest; they do not share a fate.
            for (index, (number, entry)) in entries.iter().enumerate() {
                let earlier = entries[..index].iter().filter(|(_, earlier)| earlier.key == entry.key);
                one(*number, entry, earlier, file, facts.now, basket);
            }
        }
    }
}

/// Judges one line by the earlier lines with its key: at most one finding for each of those.
fn one<'a>(
    number: usize,
    entry: &Entry<'_>,
    earlier: impl Iterator<Item = &'a (usize, &'a Entry<'a>)>,
    file: &KeyFile,
    now: Timestamp,
    basket: &mut Basket,
) {
    let at = || At::Line { number, column: entry.key_span.start + 1 };
    for &(first, before) in earlier {
        if before.options.cert_authority != entry.options.cert_authority {
            let message =
                || format!("the same key as on line {first}, once as an authority and once to log in");
            basket.put(Code::CaAndPlain, at(), message);
        } else if same(&before.options, &entry.options) {
            let span = file.line(number).map_or(0..0, Line::span);
            basket.put(Code::Duplicate, at(), || format!("the same key and options as on line {first}")).fix(
                "takes the line out",
                span,
                b"",
            );
            return;
        } else if void(&before.options, now) || void(&entry.options, now) {
            // Whichever lets nobody in stands in nobody's way.
        } else if !conditional(&before.options) && exceeds(&before.options, &entry.options) {
            let message = || {
                format!("line {first} lets this key in first, with more rights; these options never apply")
            };
            basket.put(Code::Shadowed, at(), message).hint(format!("take line {first} out, or this one"));
            return;
        } else if drops_a_condition(&before.options, &entry.options)
            && !exceeds(&before.options, &entry.options)
        {
            let message =
                || format!("lets this key in where line {first} refuses it, with at least the same rights");
            basket
                .put(Code::Fallthrough, at(), message)
                .hint(format!("the limits of line {first} hold only without this one"));
            return;
        }
    }
}

/// Whether these options refuse every login from `now` on.
fn void(options: &Options, now: Timestamp) -> bool {
    options.expiry.is_some_and(|end| end.passed(now))
        || options.principals.is_some() && !options.cert_authority
        || options.from.as_deref().is_some_and(|list| !FromMatch::is_valid(list))
}

/// Whether a login with the key may be refused by these options.
fn conditional(options: &Options) -> bool {
    options.from.is_some() || options.expiry.is_some()
}

/// Whether `after` lets the key in when `before` does not.
fn drops_a_condition(before: &Options, after: &Options) -> bool {
    before.from.is_some() && after.from != before.from
        || before.expiry.is_some_and(|end| after.expiry.is_none_or(|after| after > end))
}

/// Whether two option lists mean the same, however they are written.
fn same(a: &Options, b: &Options) -> bool {
    let bare = |options: &Options| Options { items: Vec::new(), restrict: false, ..options.clone() };
    bare(a) == bare(b)
}

/// Whether a session under `a` may do something that one under `b` may not. Who is let in, and when, does not count.
fn exceeds(a: &Options, b: &Options) -> bool {
    let permits = |a: &[Vec<u8>], b: &[Vec<u8>]| {
        !b.is_empty() && (a.is_empty() || a.iter().any(|permit| !b.contains(permit)))
    };
    let command = b.command.is_some() && a.command != b.command;
    let flags = [
        (a.pty, b.pty),
        (a.port_forwarding, b.port_forwarding),
        (a.agent_forwarding, b.agent_forwarding),
        (a.x11_forwarding, b.x11_forwarding),
        (a.user_rc, b.user_rc),
        (a.no_touch_required, b.no_touch_required),
        (!a.verify_required, !b.verify_required),
        (a.tunnel.is_some(), b.tunnel.is_some()),
    ];
    let ports = a.port_forwarding
        && (permits(&a.permitopen, &b.permitopen) || permits(&a.permitlisten, &b.permitlisten));
    let principals = b.principals.is_some() && a.principals != b.principals;
    command || ports || principals || flags.into_iter().any(|(a, b)| a && !b)
}
