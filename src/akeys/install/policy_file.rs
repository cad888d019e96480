//! The policy that is there already, against the one that is to be.

use rrsync_rs::escape::Escaped;
use rrsync_rs::grant::{load, render};
use rrsync_rs::layout::Layout;

use super::plan::Plan;
use crate::common::exit::{Exit, Failure};
use crate::common::report::shown;

/// What is there under a grant's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// Nothing.
    Absent,
    /// A policy that means the same; it stays as it is written.
    Same,
}

/// Compares by meaning, so that comments and order in a policy file are the user's own.
pub(super) fn compare(plan: &Plan, layout: &Layout) -> Result<Policy, Failure> {
    let path = shown(layout, &layout.grant_file(&plan.name));
    let have = match load(&plan.name, layout) {
        Ok(have) => have,
        Err(error) if error.is_missing() => {
            return Ok(Policy::Absent);
        }
        Err(error) => {
            return Err(Failure::new(Exit::Failed, error).hint(format!(
                "mend it, or remove the grant: akeys remove --federation {}",
                plan.grant.federation
            )));
        }
    };
    if have == plan.grant {
        return Ok(Policy::Same);
    }
    let have = render(&have, layout).unwrap_or_default();
    let message = format!(
        "{path}: the grant {} is there with another policy\n{}",
        plan.name,
        difference(&have, &plan.policy)
    );
    let pod = &plan.grant.pod;
    Err(Failure::new(Exit::Conflict, message).hint(format!(
        "nothing was changed; akeys grant set {} changes it; or akeys remove --federation {} --pod {pod}, then install again",
        plan.name, plan.grant.federation
    )))
}

/// The lines that differ: `-` is there, `+` would be. What both share at the start and the end is left out.
fn difference(there: &str, here: &str) -> String {
    let (there, here): (Vec<&str>, Vec<&str>) = (there.lines().collect(), here.lines().collect());
    let same = there.iter().zip(&here).take_while(|(a, b)| a == b).count();
    let (there, here) = (&there[same..], &here[same..]);
    let tail = there.iter().rev().zip(here.iter().rev()).take_while(|(a, b)| a == b).count();
    let lines = |mark: char, lines: &[&str]| -> Vec<String> {
        lines[..lines.len() - tail]
            .iter()
            .filter(|line| !line.is_empty())
            .map(|line| format!("  {mark} {}", Escaped(line.as_bytes())))
            .collect()
    };
    [lines('-', there), lines('+', here)].concat().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        assert_eq!(difference("a\nb\nc", "a\nx\ny\nc"), "  - b\n  + x\n  + y");
        assert_eq!(difference("a", "a\nb"), "  + b");
        assert_eq!(difference("a\na", "a"), "  - a");
    }
}
