//! The changes that a grant would need, for a reader and for a program.

use rrsync_rs::escape::Escaped;
use serde_json::json;

use super::learned::{Learned, Lessons};
use super::{Standing, standing};
use crate::akeys::policy::{Edit, Policy};

/// One change as the audit file asks for it, and whether it can be made.
fn standing_of(known: &Learned, policy: &Policy) -> Standing {
    standing(&Edit::Learned(known.change.clone()), policy)
}

/// Numbered lines, each with the last request that asked for it. What the grant allows already is left out.
pub(super) fn text(policy: &Policy, lessons: &Lessons, notes: &mut Vec<String>) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let mut settled = 0;
    for (index, known) in lessons.learned.iter().enumerate() {
        let mark = match standing_of(known, policy) {
            Standing::InEffect => {
                settled += 1;
                continue;
            }
            Standing::Gone => "  (cannot be made: the policy has no such workspace)",
            Standing::Open => "",
        };
        let times = if known.count == 1 { "once".to_owned() } else { format!("{} times", known.count) };
        let _ = writeln!(out, "{:>3}  {}{mark}", index + 1, known.change);
        let _ = writeln!(out, "     {times}, last {}: {}", again(&known.last), again(&known.example));
    }
    if settled > 0 {
        notes.push(format!("{settled} more are in effect"));
    }
    if out.is_empty() {
        notes.push(format!("no refused request of {} asks for a change", policy.name));
    }
    if !policy.grant.learn {
        let name = &policy.name;
        notes.push(format!("{name} does not learn: refusals are recorded without what would allow them"));
    }
    out
}

/// One object; every change is in it.
pub(super) fn json(policy: &Policy, lessons: &Lessons) -> String {
    let changes: Vec<serde_json::Value> = lessons
        .learned
        .iter()
        .enumerate()
        .map(|(index, known)| {
            let standing = standing_of(known, policy);
            json!({
                "number": index + 1,
                "change": known.change,
                "text": known.change.to_string(),
                "count": known.count,
                "last": known.last,
                "example": known.example,
                "in_effect": standing == Standing::InEffect,
                "applicable": standing == Standing::Open,
            })
        })
        .collect();
    let value = json!({
        "grant": policy.name,
        "learn": policy.grant.learn,
        "changes": changes,
        "unreadable": lessons.unreadable,
    });
    format!("{value:#}\n")
}

/// A text that the gate has escaped, shown as it is; anything else is escaped here.
fn again(text: &str) -> String {
    let escaped = Escaped(text.as_bytes()).to_string();
    if escaped.replace(r"\\", r"\") == text { text.to_owned() } else { escaped }
}
