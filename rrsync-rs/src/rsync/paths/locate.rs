//! Whose path it is: the workspace that its first component names, or the one unnamed directory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::{shown, too_many};
use crate::beneath::{Last, kind};
use crate::policy::{Exposed, Policy, Use};
use crate::rsync::expand::{Room, braces};
use crate::rsync::words::Word;
use crate::verdict::Refusal;

/// A client's path: the root it belongs to, and the rest.
#[derive(Debug)]
pub(in crate::rsync) struct Target<'a> {
    /// Whose root.
    pub(in crate::rsync) exposed: &'a Exposed,
    /// The path below it, wildcards still in it; no leading slash, no `./`.
    pub(in crate::rsync) word: Word,
    /// Whether the client wrote the workspace's name and nothing behind it.
    pub(super) bare: bool,
    /// Whether the client wrote `/./`, where the names that `-R` sends begin.
    pub(super) dotted: bool,
}

/// Finds the root of each path of a request; no path at all stands for `.`.
pub(in crate::rsync) fn locate<'a>(paths: &[Word], policy: &'a Policy) -> Result<Vec<Target<'a>>, Refusal> {
    let mut targets = Vec::new();
    let mut room = Room::default();
    for word in paths {
        for expanded in braces(word).map_err(too_many)? {
            room.take(expanded.marked().len()).map_err(too_many)?;
            // As in a shell, an empty alternative is no word. An empty word that was sent stands for the directory.
            if !expanded.marked().is_empty() || word.marked().is_empty() {
                targets.push(target(&expanded, policy)?);
            }
        }
    }
    if targets.is_empty() {
        targets.push(target(&Word::literal(b"."), policy)?);
    }
    Ok(targets)
}

/// Whether a client may know what is at `path`, and what is: `None` when nothing is there.
pub fn find(path: &[u8], policy: &Policy) -> Result<Option<SFlag>, Refusal> {
    let Target { exposed, word, .. } = target(&Word::literal(path), policy)?;
    let path = PathBuf::from(word.to_os());
    if exposed.hides(&path) {
        return Ok(None);
    }
    let access = exposed.workspace.access_to(&super::lexical(&path));
    if !access.may_read() {
        // Whatever is there or not: the answer to both is the same.
        return Err(Use::Read.refusal(&exposed.shown(&path), access));
    }
    match exposed.root.hold(&path, Last::Follow) {
        Ok(held) if exposed.hides(&held.at) => Ok(None),
        Ok(held) => exposed.scope(&held.at, Use::Read).map(|_| Some(kind(&held.stat))),
        Err(Errno::EXDEV) => Err(super::outside(&exposed.shown(&path))),
        Err(_) => Ok(None),
    }
}

/// A bare `;` or quote is for a shell, and clients put a backslash before one that belongs to a name.
pub(super) fn refuse_shell_syntax(word: &Word) -> Result<(), Refusal> {
    match word.shell_syntax() {
        None => Ok(()),
        Some(byte) => {
            let message = format!("{} has a bare {:?}: no shell runs here", shown(word), char::from(byte));
            Err(Refusal::new("rsync.shell-syntax", message))
        }
    }
}

pub(super) fn target<'a>(word: &Word, policy: &'a Policy) -> Result<Target<'a>, Refusal> {
    let bytes = word.unescaped();
    let dotted = bytes.windows(3).any(|three| three == b"/./");
    let mut bare = false;
    let (exposed, rest) = match policy.exposed.as_slice() {
        [only] if only.name.is_none() => (only, from_root(word, only)),
        _ => {
            let word = from_home(word);
            let marked = word.marked();
            let end = marked.iter().position(|(byte, _)| *byte == b'/').unwrap_or(marked.len());
            let first: Vec<u8> = marked[..end].iter().map(|(byte, _)| *byte).collect();
            let exposed = policy.named(&first)?;
            let rest = Word::from_marked(marked[end..].to_vec());
            bare = end == marked.len();
            (exposed, below(&rest).unwrap_or_else(|| Word::literal(b".")))
        }
    };
    refuse_dotdot(word, exposed)?;
    Ok(Target { exposed, word: rest, bare, dotted })
}

/// A word without a leading `~/`, `./` or slash: a grant's workspaces are all there is at home.
fn from_home(word: &Word) -> Word {
    let rest = match word.marked() {
        [(b'~', false)] => &[],
        [(b'~', false), (b'/', _), rest @ ..] => rest,
        whole => whole,
    };
    below(&Word::from_marked(rest.to_vec())).unwrap_or_else(|| Word::literal(b"."))
}

/// A word as a path from the root of a drop-in directory. With `-absolute`, the server's own spelling of that
/// directory in front is dropped, whether written with or without its symlinks.
pub(super) fn from_root(word: &Word, exposed: &Exposed) -> Word {
    if exposed.absolute && word.marked().first().is_some_and(|(byte, _)| *byte == b'/') {
        let bytes = word.unescaped();
        let ends = (1..=bytes.len()).filter(|end| *end == bytes.len() || bytes[*end] == b'/');
        for end in ends {
            let start = Path::new(OsStr::from_bytes(&bytes[..end]));
            let same = |dir: &Path| start.components().eq(dir.components());
            if same(exposed.root.real()) || same(&exposed.workspace.path) {
                let rest = Word::from_marked(word.marked()[end..].to_vec());
                let directory = rest.marked().is_empty();
                return below(&rest).unwrap_or_else(|| Word::literal(if directory { b"." } else { b"./" }));
            }
        }
    }
    let slash = word.marked().last().is_some_and(|(byte, _)| *byte == b'/');
    below(word).unwrap_or_else(|| Word::literal(if slash { b"./" } else { b"." }))
}

/// A word without leading slashes and `./`; `None` when nothing is left.
fn below(word: &Word) -> Option<Word> {
    let mut marked = word.marked();
    loop {
        marked = match marked {
            [] | [(b'.', _)] => return None,
            [(b'/', _), rest @ ..] | [(b'.', _), (b'/', _), rest @ ..] => rest,
            rest => return Some(Word::from_marked(rest.to_vec())),
        }
    }
}

/// `..` in a path is refused outright, as rrsync does: a client can always say the same from the root.
fn refuse_dotdot(word: &Word, exposed: &Exposed) -> Result<(), Refusal> {
    let bytes = word.unescaped();
    if !exposed.is_everything() && bytes.split(|b| *b == b'/').any(|part| part == b"..") {
        let message = format!("{} has \"..\" in it; write the path from the root instead", shown(word));
        return Err(Refusal::new("path.dotdot", message));
    }
    Ok(())
}
