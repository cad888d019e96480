//! What the operands of a command stand for: `~`, braces and wildcards, looked for in the virtual tree.
//!
//! A shell does that without a bound; here a short request costs a bounded answer.

use crate::beneath::Last;
use crate::rsync::expand::{DIRECTORY, MOST_NAMES, PATH_MAX, Room, TooMany, braces};
use crate::rsync::words::Word;
use crate::vfs::{Vfs, VirtualPath};
use crate::wildcard::{is_wild, matches_shown};

/// What `operands` stand for, as paths that a client could have written. A word that matches nothing is itself, as it is to
/// a shell.
pub(super) fn expand(vfs: &Vfs, operands: &[Word]) -> Result<Vec<Vec<u8>>, TooMany> {
    let mut found = Vec::new();
    let mut room = Room::default();
    let mut names = MOST_NAMES;
    for operand in operands {
        for word in braces(operand)? {
            let word = at_home(word.marked());
            let mut paths = if is_wild(word) { glob(vfs, word, &mut names)? } else { Vec::new() };
            if paths.is_empty() {
                paths.push(plain(word));
            }
            for path in paths {
                room.take(path.len())?;
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// What a word stands for where it has no wildcards.
pub(super) fn plain(word: &[(u8, bool)]) -> Vec<u8> {
    word.iter().map(|(byte, _)| *byte).collect()
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
        let mut room = Room::default();
        for base in &found {
            let mut keep = |name: &[u8]| {
                let path = if index == 0 { name.to_vec() } else { [base, &b"/"[..], name].concat() };
                room.take(path.len())?;
                next.push(path);
                Ok(())
            };
            if is_wild(part) {
                list(vfs, base, part, names, keep)?;
                continue;
            }
            *names = names.checked_sub(1).ok_or(TooMany)?;
            // A longer path names nothing, and thousands of them would fill the memory.
            if base.len() + part.len() < PATH_MAX {
                keep(&plain(part))?;
            }
        }
        found = next;
    }
    found.retain(|path| VirtualPath::parse(path).is_ok_and(|path| vfs.view(&path, Last::Keep).is_ok()));
    found.sort();
    Ok(found)
}

/// Keeps the names in a directory that a pattern matches; none where there is none, or where they may not be told.
fn list(
    vfs: &Vfs,
    path: &[u8],
    pattern: &[(u8, bool)],
    left: &mut usize,
    mut keep: impl FnMut(&[u8]) -> Result<(), TooMany>,
) -> Result<(), TooMany> {
    *left = left.checked_sub(DIRECTORY).ok_or(TooMany)?;
    let listed = VirtualPath::parse(path).and_then(|path| vfs.list(&path));
    for entry in listed.into_iter().flatten() {
        *left = left.checked_sub(1).ok_or(TooMany)?;
        let Ok(entry) = entry else { break };
        let name = entry.name.to_bytes();
        if name != b"." && name != b".." && matches_shown(pattern, name) {
            keep(name)?;
        }
    }
    Ok(())
}
