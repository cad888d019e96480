//! What the operands of a command stand for: `~`, braces and wildcards, looked for in the virtual tree.
//!
//! A shell does that without a bound; here a short request costs a bounded answer.

use crate::beneath::Last;
use crate::rsync::expand::{DIRECTORY, MAX_WORDS, MOST_NAMES, PATH_MAX, TooMany, braces};
use crate::rsync::words::Word;
use crate::vfs::{Vfs, VirtualPath};
use crate::wildcard::{is_wild, matches_shown};

/// What `operands` stand for, as paths that a client could have written. A word that matches nothing is itself, as it is to
/// a shell.
pub(super) fn expand(vfs: &Vfs, operands: &[Word]) -> Result<Vec<Vec<u8>>, TooMany> {
    let mut found = Vec::new();
    let mut names = MOST_NAMES;
    for operand in operands {
        for word in braces(operand)? {
            let word = at_home(word.marked());
            let matches = if is_wild(word) { glob(vfs, word, &mut names)? } else { Vec::new() };
            if matches.is_empty() {
                found.push(word.iter().map(|(byte, _)| *byte).collect());
            } else {
                found.extend(matches);
            }
            if found.len() > MAX_WORDS {
                return Err(TooMany);
            }
        }
    }
    Ok(found)
}

/// `~` and `~/…` are below `/`, where relative paths start too. `~user` is a name like any other.
pub(super) fn at_home(word: &[(u8, bool)]) -> &[(u8, bool)] {
    match word {
        [(b'~', false)] => &[],
        [(b'~', false), (b'/', _), ..] => word.get(1..).unwrap_or_default(),
        word => word,
    }
}

/// The paths that a pattern matches, sorted.
fn glob(vfs: &Vfs, pattern: &[(u8, bool)], names: &mut usize) -> Result<Vec<Vec<u8>>, TooMany> {
    let mut found = vec![Vec::new()];
    for (index, part) in pattern.split(|(byte, _)| *byte == b'/').enumerate() {
        let mut next = Vec::new();
        for base in &found {
            let join =
                |name: &[u8]| if index == 0 { name.to_vec() } else { [base, &b"/"[..], name].concat() };
            if !is_wild(part) {
                *names = names.checked_sub(1).ok_or(TooMany)?;
                // A longer path names nothing, and thousands of them would fill the memory.
                if base.len() + part.len() < PATH_MAX {
                    next.push(join(&part.iter().map(|(byte, _)| *byte).collect::<Vec<u8>>()));
                }
                continue;
            }
            for name in list(vfs, base, names)? {
                if matches_shown(part, &name) {
                    next.push(join(&name));
                }
            }
            if next.len() > MAX_WORDS {
                return Err(TooMany);
            }
        }
        found = next;
    }
    found.retain(|path| VirtualPath::parse(path).is_ok_and(|path| vfs.view(&path, Last::Keep).is_ok()));
    found.sort();
    Ok(found)
}

/// The names in a directory; none where there is none, or where they may not be told.
fn list(vfs: &Vfs, path: &[u8], left: &mut usize) -> Result<Vec<Vec<u8>>, TooMany> {
    *left = left.checked_sub(DIRECTORY).ok_or(TooMany)?;
    let listed = VirtualPath::parse(path).and_then(|path| vfs.list(&path));
    let mut names = Vec::new();
    for entry in listed.into_iter().flatten() {
        *left = left.checked_sub(1).ok_or(TooMany)?;
        let Ok(entry) = entry else { break };
        let name = entry.name.to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}
