//! What a change of `authorized_keys` does not do unless it is told to.
//!
//! sshd says nothing about a line that it passes over, about a restriction that another line undoes, and least of all to
//! somebody who has just shut himself out. So the model of sshd reads what a change would write, before it is written:
//! `scan` finds the lines that differ and every other line with one of their keys, `loss` says who would get in no longer
//! and who would get more, `session` which key the present login came in by. Every writer passes here: `safe_write` takes
//! no change without a guard. Each refusal names the flag that overrides it.

mod loss;
mod scan;
mod session;

use jiff::Timestamp;
use rrsync_rs::layout::Layout;

use super::relation::{self, Relation};
use crate::authkeys::{Dead, KeyFile, Patch};

use scan::{Held, Scan};

/// What is to be done all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct Allowed {
    /// Let the last key that opens a shell go, or the one that this session came in by.
    #[arg(long, help_heading = "Overriding the guards")]
    pub allow_lockout: bool,
    /// Let a line that sshd did not come to so far give its key more than it had.
    #[arg(long, help_heading = "Overriding the guards")]
    pub allow_wider: bool,
    /// Write a restriction that another line with the same key undoes.
    #[arg(long, help_heading = "Overriding the guards")]
    pub allow_shadowed: bool,
    /// Write a line that sshd passes over.
    #[arg(long, alias = "dead", help_heading = "Overriding the guards")]
    pub allow_dead: bool,
}

impl Allowed {
    /// The options that say the same.
    pub fn words(self) -> Vec<String> {
        let all = [
            (self.allow_lockout, "--allow-lockout"),
            (self.allow_wider, "--allow-wider"),
            (self.allow_shadowed, "--allow-shadowed"),
            (self.allow_dead, "--allow-dead"),
        ];
        all.into_iter().filter(|(said, _)| *said).map(|(_, word)| word.to_owned()).collect()
    }
}

/// Why a change is not made. Line numbers are those of the file as it would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// sshd would pass over a line.
    #[error("line {number} would be one that sshd passes over, at column {dead}")]
    Dead {
        /// The line.
        number: usize,
        /// Why.
        dead: Dead,
    },
    /// A restriction would not hold, because of a line before it.
    #[error(
        "the options of line {later} would never apply: line {earlier} lets the same key in first, with more rights"
    )]
    Shadowed {
        /// The line that lets the key in.
        earlier: usize,
        /// The line with the restriction.
        later: usize,
    },
    /// A condition would not hold, because of a line behind it.
    #[error(
        "the limits of line {earlier} would not hold: line {later} lets the same key in where they refuse it"
    )]
    Fallthrough {
        /// The line with the limits.
        earlier: usize,
        /// The line that lets the key in.
        later: usize,
    },
    /// A line that was never reached would take over.
    #[error(
        "line {number} would let {fingerprint} in with more than the key may do now; sshd did not come to that line so far"
    )]
    Wider {
        /// The line.
        number: usize,
        /// Whose.
        fingerprint: String,
    },
    /// Nobody would get a shell any more.
    #[error("{}; whether a password still would let you in is not known here", .0.lost())]
    LastKey(loss::Way),
    /// The present session's key would not get in as it did.
    #[error("this session came in by {0}, and that key would not get in any more as it did")]
    Session(String),
}

impl Blocked {
    /// What helps.
    pub fn hint(&self) -> String {
        match self {
            Self::Dead { dead, .. } => match dead.reason.hint() {
                Some(hint) => hint,
                None => "to write it all the same: --allow-dead".to_owned(),
            },
            Self::Shadowed { earlier, .. } | Self::Fallthrough { later: earlier, .. } => {
                format!("take line {earlier} out first, or say --allow-shadowed")
            }
            Self::Wider { fingerprint, .. } => {
                format!(
                    "akeys remove --fingerprint {fingerprint} takes the key back wholly; or say --allow-wider"
                )
            }
            Self::LastKey(_) => "add another key first, or say --allow-lockout".to_owned(),
            Self::Session(_) => "log in with another key first, or say --allow-lockout".to_owned(),
        }
    }
}

/// Judges changes of one account's key file.
#[derive(Debug)]
pub struct Guard<'a> {
    allowed: Allowed,
    layout: &'a Layout,
    now: Timestamp,
}

impl<'a> Guard<'a> {
    /// The guard of the account at home in `layout`, with what the user overrides.
    pub fn new(allowed: Allowed, layout: &'a Layout) -> Self {
        Self { allowed, layout, now: Timestamp::now() }
    }

    /// Refuses a change that nobody asked for in so many words. Otherwise what the user should know about it.
    pub fn check(&self, before: &KeyFile, patch: &Patch) -> Result<Vec<String>, Blocked> {
        let touched = patch.touched(before);
        let scan = Scan::of(&touched, self.now);
        if !self.allowed.allow_dead
            && let Some((number, dead)) = scan.dead.clone()
        {
            return Err(Blocked::Dead { number, dead });
        }
        for lines in scan.keys.values() {
            if !self.allowed.allow_shadowed {
                self.refuse_undone(lines)?;
            }
            if !self.allowed.allow_wider
                && let Some(number) = loss::wider(lines, self.now)
            {
                return Err(Blocked::Wider { number, fingerprint: lines.fingerprint() });
            }
        }
        if self.allowed.allow_lockout {
            return Ok(Vec::new());
        }
        loss::refuse_lockout(&scan, self.layout, self.now)?;
        // Asking which session this is may take a look at a long log.
        if loss::any(&scan, self.now) {
            return loss::refuse_session(&scan, &session::present(), self.now);
        }
        Ok(Vec::new())
    }

    /// Refuses a restriction that another line undoes, unless it was undone before.
    fn refuse_undone(&self, lines: &Held) -> Result<(), Blocked> {
        for (index, later) in lines.after.iter().enumerate() {
            for earlier in &lines.after[..index] {
                if !earlier.fresh && !later.fresh {
                    continue;
                }
                let relation = relation::of(&earlier.options, &later.options, self.now);
                let (first, second) = (earlier.number, later.number);
                let blocked = match relation {
                    Some(Relation::Shadowed) => Blocked::Shadowed { earlier: first, later: second },
                    Some(Relation::Fallthrough) => Blocked::Fallthrough { earlier: first, later: second },
                    Some(Relation::CaAndPlain | Relation::Duplicate) | None => continue,
                };
                if !lines.held_before(&earlier.options, &later.options) {
                    return Err(blocked);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
