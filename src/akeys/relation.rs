//! What two lines with the same key do to each other, and what each lets its key do.
//!
//! sshd takes the first line that lets the key in, and goes on behind one that refuses it (`from`, `expiry-time`). So a
//! restriction holds only when no line before it allows more, and a condition only when no line behind it does without.

use jiff::Timestamp;

use crate::authkeys::{FromMatch, Options};

/// What an earlier and a later line with the same key are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// One is an authority, the other a login: they have nothing to do with each other.
    CaAndPlain,
    /// The later one says the same once more.
    Duplicate,
    /// The earlier one lets the key in first, with more rights: the options of the later one never apply.
    Shadowed,
    /// The later one lets the key in where the earlier one refuses it, with at least the same rights.
    Fallthrough,
}

/// The relation of two lines of one key in the order of the file; `None` when neither undoes the other.
pub fn of(earlier: &Options, later: &Options, now: Timestamp) -> Option<Relation> {
    if earlier.cert_authority != later.cert_authority {
        Some(Relation::CaAndPlain)
    } else if same(earlier, later) {
        Some(Relation::Duplicate)
    } else if void(earlier, now) || void(later, now) {
        // Whichever lets nobody in stands in nobody's way.
        None
    } else if !conditional(earlier) && exceeds(earlier, later) {
        Some(Relation::Shadowed)
    } else if drops_a_condition(earlier, later) && !exceeds(earlier, later) {
        Some(Relation::Fallthrough)
    } else {
        None
    }
}

/// Whether these options refuse every login from `now` on.
pub fn void(options: &Options, now: Timestamp) -> bool {
    options.expiry.is_some_and(|end| end.passed(now))
        || options.principals.is_some() && !options.cert_authority
        || options.from.as_deref().is_some_and(|list| !FromMatch::is_valid(list))
}

/// Whether a login with the key may be refused by these options.
pub fn conditional(options: &Options) -> bool {
    options.from.is_some() || options.expiry.is_some()
}

/// Whether `after` lets the key in when `before` does not.
fn drops_a_condition(before: &Options, after: &Options) -> bool {
    before.from.is_some() && after.from != before.from
        || before.expiry.is_some_and(|end| after.expiry.is_none_or(|after| after > end))
}

/// Whether two option lists mean the same, however they are written.
pub fn same(a: &Options, b: &Options) -> bool {
    let bare = |options: &Options| Options { items: Vec::new(), restrict: false, ..options.clone() };
    bare(a) == bare(b)
}

/// Whether a session under `a` may do something that one under `b` may not. Who is let in, and when, does not count.
pub fn exceeds(a: &Options, b: &Options) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authkeys::{KeyFile, Target};

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";

    fn options(text: &str) -> Options {
        let file = KeyFile::parse(format!("{text} {ED}\n").trim_start().as_bytes().to_vec());
        let reading = file.line(1).unwrap().read(Target::OpenSsh9_2);
        reading.entry().unwrap().options.clone()
    }

    #[test]
    fn one_line_may_undo_another() {
        let now: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
        for (earlier, later, relation) in [
            ("", "", Some(Relation::Duplicate)),
            (
                "restrict",
                "no-pty,no-port-forwarding,no-agent-forwarding,no-x11-forwarding,no-user-rc",
                Some(Relation::Duplicate),
            ),
            ("", "restrict", Some(Relation::Shadowed)),
            ("restrict", "", None),
            ("command=\"a\"", "command=\"b\"", Some(Relation::Shadowed)),
            ("from=\"10.0.0.0/8\"", "", Some(Relation::Fallthrough)),
            ("from=\"10.0.0.0/8\"", "restrict", None),
            ("expiry-time=\"20300101\"", "expiry-time=\"20310101\"", Some(Relation::Fallthrough)),
            ("expiry-time=\"20200101\"", "", None),
            ("from=\"*,\"", "", None),
            ("cert-authority", "", Some(Relation::CaAndPlain)),
        ] {
            assert_eq!(of(&options(earlier), &options(later), now), relation, "{earlier:?} {later:?}");
        }
    }
}
