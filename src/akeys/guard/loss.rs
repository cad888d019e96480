//! Who would get in no longer, and who would get more than now.

use jiff::Timestamp;
use rrsync_rs::layout::Layout;

use super::Blocked;
use super::scan::{Held, HeldLine, Scan};
use super::session::Session;
use crate::akeys::account::Account;
use crate::akeys::forced::{self, Forced};
use crate::akeys::relation::{self, conditional, exceeds, void};
use crate::akeys::{source, sshd};
use crate::authkeys::{KeyFile, Options, Target};

/// What a key is to the owner of the account, from nothing to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// It lets nobody in.
    None,
    /// It opens a gate, for another machine.
    Gate,
    /// It runs a command, which may be somebody's way in.
    Command,
    /// It opens a shell.
    Shell,
}

impl Way {
    /// What is said when the last key of this kind goes.
    pub(super) fn lost(self) -> &'static str {
        match self {
            Self::Shell => "no key would be left that opens a shell",
            Self::Command | Self::Gate | Self::None => "no key would be left but those of other machines",
        }
    }
}

/// What these options make of a key.
pub(super) fn way(options: &Options, now: Timestamp) -> Way {
    match &options.command {
        _ if void(options, now) => Way::None,
        None => Way::Shell,
        Some(command) => match forced::read(command) {
            Forced::Grant { .. } | Forced::DropIn { .. } | Forced::Refused { .. } => Way::Gate,
            Forced::InternalSftp | Forced::Program { .. } | Forced::Shell => Way::Command,
        },
    }
}

/// The lines that sshd may come to: up to the first one that lets the key in from anywhere at any time.
fn reached(lines: &[HeldLine], now: Timestamp) -> impl Iterator<Item = &HeldLine> {
    let mut open = true;
    lines.iter().filter(move |line| !void(&line.options, now)).take_while(move |line| {
        let here = open;
        open &= conditional(&line.options);
        here
    })
}

/// The best that a key can get.
fn best(lines: &[HeldLine], now: Timestamp) -> Way {
    reached(lines, now).map(|line| way(&line.options, now)).max().unwrap_or(Way::None)
}

/// A line that stays as it is and lets its key do more than any line that sshd came to so far.
pub(super) fn wider(lines: &Held, now: Timestamp) -> Option<usize> {
    let before: Vec<&HeldLine> = reached(&lines.before, now).collect();
    let mut news = reached(&lines.after, now).filter(|line| !line.fresh);
    let new = news.find(|new| {
        let was_there = |old: &&HeldLine| !old.fresh && old.options == new.options;
        !before.iter().any(was_there) && before.iter().all(|old| exceeds(&new.options, &old.options))
    });
    new.map(|line| line.number)
}

/// Refuses a change after which the account's owner has a worse way in than before.
pub(super) fn refuse_lockout(scan: &Scan, layout: &Layout, now: Timestamp) -> Result<(), Blocked> {
    let over = |lines: fn(&Held) -> &[HeldLine]| {
        let ways = scan.keys.values().map(|held| best(lines(held), now));
        ways.max().unwrap_or(Way::None).max(scan.other_way)
    };
    let (before, after) = (over(|held| &held.before), over(|held| &held.after));
    let worse = after < before && before > Way::Gate;
    if !worse || elsewhere(layout, now) >= before {
        return Ok(());
    }
    Err(Blocked::LastKey(before))
}

/// The best way in by another key file that sshd reads for the account.
fn elsewhere(layout: &Layout, now: Timestamp) -> Way {
    let account = Account::own(layout.home());
    let settings = sshd::Settings::ask_alone(&account.name).ok();
    let own = layout.authorized_keys().canonicalize().ok();
    let files = sshd::key_files(settings.as_ref(), &account).into_iter();
    let others = files.filter(|path| path.canonicalize().ok().is_some_and(|real| Some(real) != own));
    let ways = others.filter_map(|path| source::regular(&path).ok()).flat_map(|bytes| {
        let file = KeyFile::parse(bytes);
        let lines = file
            .lines()
            .filter_map(|line| line.read(Target::default()).entry().map(|entry| way(&entry.options, now)));
        lines.collect::<Vec<_>>()
    });
    ways.max().unwrap_or(Way::None)
}

/// Refuses a change after which the key of the present session is let in to less than now.
pub(super) fn refuse_session(scan: &Scan, session: &Session, now: Timestamp) -> Result<Vec<String>, Blocked> {
    match session {
        Session::None => Ok(Vec::new()),
        Session::Unknown(why) => Ok(vec![format!(
            "which key this session came in by is not known ({why}): it may be one that changes"
        )]),
        Session::Key { fingerprint, from, as_authority } => {
            let held = scan.keys.values().find(|held| held.fingerprint() == *fingerprint);
            let Some(held) = held else { return Ok(Vec::new()) };
            let uses = as_authority.map_or(vec![false, true], |certificate| vec![certificate]);
            let loses = uses.into_iter().any(|certificate| {
                let context = from.context(now, certificate);
                let lets_in = |line: &&HeldLine| {
                    line.options.cert_authority == certificate && line.options.refusal(&context).is_none()
                };
                let way = |lines: &[HeldLine]| {
                    lines.iter().find(lets_in).map_or(Way::None, |line| way(&line.options, now))
                };
                way(&held.after) < way(&held.before)
            });
            if loses { Err(Blocked::Session(fingerprint.clone())) } else { Ok(Vec::new()) }
        }
    }
}

/// Whether a key that gets in now would get in by other words: less, or perhaps not from where the session is.
pub(super) fn any(scan: &Scan, now: Timestamp) -> bool {
    let changes = |held: &Held| {
        let same = |(a, b): (&HeldLine, &HeldLine)| relation::same(&a.options, &b.options);
        held.before.len() != held.after.len() || !held.before.iter().zip(&held.after).all(same)
    };
    scan.keys.values().any(|held| best(&held.before, now) > Way::None && changes(held))
}
