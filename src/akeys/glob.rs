//! The patterns of `AuthorizedKeysFile`, which OpenSSH expands with glob(3) since 10.0: `*`, `?` and `[…]` in each name, none of
//! which matches a dot at its start or a slash.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// More files than this are no key files of one account.
const MOST: usize = 1000;

/// The files that a pattern means, by name; a pattern without wildcards means itself.
pub fn expanded(pattern: &Path) -> Vec<PathBuf> {
    if !is_pattern(pattern) {
        return vec![pattern.to_owned()];
    }
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str();
        let mut next = Vec::new();
        for base in found {
            if is_pattern(Path::new(part)) {
                next.extend(names(&base, part.as_bytes()));
            } else {
                next.push(base.join(part));
            }
            next.truncate(MOST);
        }
        found = next;
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found
}

/// Whether there are wildcards in it.
pub fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// What in a directory matches, sorted.
fn names(dir: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let hidden = pattern.first() == Some(&b'.');
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> = entries
        .map(|entry| entry.file_name())
        .filter(|name| hidden || !name.as_bytes().starts_with(b"."))
        .filter(|name| matches(pattern, name.as_bytes()))
        .map(|name| dir.join(OsStr::new(&name)))
        .collect();
    names.sort();
    names
}

/// fnmatch(3) for one name. It goes back to the last `*` only, so that no pattern takes long.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(_) => {
                if let Some(length) = one(&pattern[p..], name[n]) {
                    (p, n) = (p + length, n + 1);
                    continue;
                }
            }
            None => {}
        }
        let Some((at, from)) = star else { return false };
        (p, n) = (at + 1, from + 1);
        star = Some((at, from + 1));
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Whether the start of `pattern` matches one byte, and how long that start is.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => match set(rest, byte) {
            Some((length, matched)) => matched.then_some(length + 1),
            // Without its end it stands for itself.
            None => (byte == b'[').then_some(1),
        },
        [first, ..] => (*first == byte).then_some(1),
        [] => None,
    }
}

/// The length of a set behind its `[`, with its `]`, and whether `byte` is in it.
fn set(text: &[u8], byte: u8) -> Option<(usize, bool)> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let mut at = start;
    let mut matched = false;
    loop {
        match text.get(at)? {
            b']' if at > start => return Some((at + 1, matched != negated)),
            &low => {
                let high = match text.get(at + 1..at + 3) {
                    Some([b'-', high]) if *high != b']' => Some(*high),
                    _ => None,
                };
                matched |= (low..=high.unwrap_or(low)).contains(&byte);
                at += if high.is_some() { 3 } else { 1 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_with_fnmatch() {
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "ac", false),
            ("?", "a", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]a]", "]", true),
            ("[a", "[a", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*.pub", "x.pub", true),
            ("a***************b", &"a".repeat(5000), false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_means_the_files_that_are_there() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["keys.d/b", "keys.d/a", "keys.d/.hidden", "other.d/a"] {
            let path = scratch.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let found = expanded(&scratch.path().join(pattern));
            found
                .iter()
                .map(|path| path.strip_prefix(scratch.path()).unwrap().to_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(found("keys.d/*"), ["keys.d/a", "keys.d/b"]);
        assert_eq!(found("*.d/a"), ["keys.d/a", "other.d/a"]);
        assert_eq!(found("keys.d/.h*"), ["keys.d/.hidden"]);
        assert_eq!(found("none/*"), [""; 0]);
        assert_eq!(found("*/none"), [""; 0]);
        assert_eq!(found("missing"), ["missing"]);
    }
}
