//! Wildcards: `*`, `?` and `[…]` in one component of a path.
//!
//! A pattern is its bytes, each with whether it was quoted; a quoted one stands for itself.

/// Whether a pattern has a wildcard in it.
pub fn is_wild(pattern: &[(u8, bool)]) -> bool {
    pattern.iter().any(|(byte, quoted)| !quoted && b"*?[".contains(byte))
}

/// fnmatch(3) for one path component with `FNM_PERIOD`: a hidden name needs a pattern that starts with a dot.
pub fn matches_shown(pattern: &[(u8, bool)], name: &[u8]) -> bool {
    let hidden = name.first() == Some(&b'.') && pattern.first().map(|(byte, _)| *byte) != Some(b'.');
    !hidden && matches(pattern, name)
}

/// fnmatch(3) for one path component; linear in pattern × name, without recursion.
pub fn matches(pattern: &[(u8, bool)], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some((b'*', false)) => {
                retry = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some((b'?', false)) => Some(p + 1),
            Some((b'[', false)) => match class(&pattern[p..], name[n]) {
                Some((len, hit)) => hit.then_some(p + len),
                None => (name[n] == b'[').then_some(p + 1),
            },
            Some((byte, _)) => (*byte == name[n]).then_some(p + 1),
            None => None,
        };
        match (step, retry) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((after_star, from))) => {
                retry = Some((after_star, from + 1));
                p = after_star;
                n = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|part| *part == (b'*', false))
}

/// A bracket expression: its length and whether it holds `byte`; `None` when it is not closed.
fn class(pattern: &[(u8, bool)], byte: u8) -> Option<(usize, bool)> {
    // Clients escape `!`, so its backslash says nothing.
    let negated = matches!(pattern.get(1), Some((b'!', _) | (b'^', false)));
    let start = if negated { 2 } else { 1 };
    let close = (start + 1..pattern.len()).find(|at| pattern[*at] == (b']', false))?;
    let mut hit = false;
    let mut at = start;
    while at < close {
        if at + 2 < close && pattern[at + 1] == (b'-', false) {
            hit |= (pattern[at].0..=pattern[at + 2].0).contains(&byte);
            at += 3;
        } else {
            hit |= pattern[at].0 == byte;
            at += 1;
        }
    }
    Some((close + 1, hit != negated))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::words::split;

    #[test]
    fn wildcards_match_as_in_fnmatch() {
        let hit =
            |pattern: &str, name: &str| matches_shown(split(pattern.as_bytes())[0].marked(), name.as_bytes());
        for (pattern, name) in [
            ("*", "a"),
            ("*.txt", "g1.txt"),
            ("g?.txt", "g1.txt"),
            ("f[12]", "f1"),
            ("[!a]", "b"),
            ("a*b*c", "aXbYbZc"),
            ("[a-c]x", "bx"),
            (r"a\*b", "a*b"),
            (".h*", ".hidden"),
            ("[]]", "]"),
            ("[", "["),
            ("***", "x"),
            ("x[1", "x[1"),
            ("[A-]", "-"),
            ("[a-c-e]", "-"),
            (r"[\!a]", "b"),
            ("[^a]", "b"),
            (r"[\^a]", "^"),
            ("a[0a-c]", "ab"),
        ] {
            assert!(hit(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*", ".hidden"),
            ("?", ".a"),
            ("f[12]", "f3"),
            ("f[135]", "f2"),
            ("[a]", "]"),
            ("[A-]", "B"),
            ("[a-c-e]", "d"),
            (r"a\*b", "aXb"),
            ("a", "ab"),
            ("*a", "b"),
        ] {
            assert!(!hit(pattern, name), "{pattern} {name}");
        }
        assert!(!hit(&"*a".repeat(50), &"a".repeat(49)));
    }

    #[test]
    fn a_wildcard_is_one_that_is_not_quoted() {
        for (pattern, wild) in
            [("a*", true), ("?", true), ("[", true), ("a]", false), (r"a\*\?\[", false), ("a", false)]
        {
            assert_eq!(is_wild(split(pattern.as_bytes())[0].marked()), wild, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_of_a_rule_meets_hidden_names_too() {
        let hit = |pattern: &str, name: &str| matches(split(pattern.as_bytes())[0].marked(), name.as_bytes());
        assert!(hit("*.exe", ".exe") && hit("?x", ".x") && hit("*", ".."));
    }
}
