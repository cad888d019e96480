//! Wildcards and braces in the paths of a request, expanded beneath the root.
//!
//! The client leaves `*`, `?`, `[…]` and `{…,…}` for the remote side when the user typed them. No shell runs here, so
//! the gate expands them itself, looking only at directories that it can open beneath the root.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::words::Word;
use crate::beneath::{Last, below_slashes};
use crate::policy::Exposed;
use crate::wildcard::{is_wild, matches_shown};

/// More words than this from one request are refused: a short one must not cost a long answer.
pub const MAX_WORDS: usize = 20_000;

/// Nor may the words of one request take more bytes than this; Linux would not pass much more to a program.
pub const MAX_BYTES: usize = 4 << 20;

/// The expansion grew beyond `MAX_WORDS` or `MAX_BYTES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// Brace expansion as bash does it for comma lists: `{a,b}` becomes two words; a brace without a comma or a partner is
/// itself. Numeric ranges (`{1..9}`) stay as they are: no client needs them, and they cost what the sender chooses.
pub fn braces(word: &Word) -> Result<Vec<Word>, TooMany> {
    let mut done = Vec::new();
    let mut todo = vec![word.marked().to_vec()];
    let mut made = 0;
    while let Some(bytes) = todo.pop() {
        made += bytes.len();
        if todo.len() + done.len() >= MAX_WORDS || made > MAX_BYTES {
            return Err(TooMany);
        }
        match brace_group(&bytes) {
            None => done.push(Word::from_marked(bytes)),
            Some((open, close, commas)) => {
                let mut cuts = vec![open];
                cuts.extend(commas);
                cuts.push(close);
                // Pushed in reverse, so the first alternative is popped, and expanded further, first.
                for pair in cuts.windows(2).rev() {
                    let mut alternative = bytes[..open].to_vec();
                    alternative.extend_from_slice(&bytes[pair[0] + 1..pair[1]]);
                    alternative.extend_from_slice(&bytes[close + 1..]);
                    todo.push(alternative);
                }
            }
        }
    }
    Ok(done)
}

/// The first balanced group with a comma at its own level: where it opens, closes and is divided.
fn brace_group(bytes: &[(u8, bool)]) -> Option<(usize, usize, Vec<usize>)> {
    // Each frame is an open brace and its commas, so one pass finds every group, however they nest.
    let mut frames: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut first: Option<(usize, usize, Vec<usize>)> = None;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            (b'{', false) => frames.push((at, Vec::new())),
            (b',', false) => {
                if let Some((_, commas)) = frames.last_mut() {
                    commas.push(at);
                }
            }
            (b'}', false) => {
                if let Some((open, commas)) = frames.pop()
                    && !commas.is_empty()
                    && first.as_ref().is_none_or(|(earlier, ..)| open < *earlier)
                {
                    first = Some((open, at, commas));
                }
            }
            _ => {}
        }
    }
    first
}

/// Whether a word has a wildcard that the user typed.
pub fn has_wildcard(word: &Word) -> bool {
    is_wild(word.marked())
}

/// The paths below `root` that `word` matches, sorted; empty when nothing does. Hidden names need a pattern that
/// starts with a dot. A trailing slash matches directories only. Where a link leads outside, nothing is looked for, and
/// the second value says so.
pub fn glob(exposed: &Exposed, word: &Word) -> Result<(Vec<PathBuf>, bool), TooMany> {
    let root = &exposed.root;
    let marked = word.marked();
    let directories_only = marked.last().is_some_and(|(byte, _)| *byte == b'/');
    let parts: Vec<&[(u8, bool)]> =
        marked.split(|(byte, _)| *byte == b'/').filter(|part| !part.is_empty()).collect();
    let mut found = vec![PathBuf::new()];
    let mut outside = false;
    for part in &parts {
        let wild = is_wild(part);
        let mut next = Vec::new();
        for base in &found {
            if wild {
                for name in names(exposed, base, &mut outside) {
                    if matches_shown(part, name.as_bytes()) {
                        next.push(base.join(name));
                    }
                    if next.len() > MAX_WORDS {
                        return Err(TooMany);
                    }
                }
            } else {
                let name: Vec<u8> = part.iter().map(|(byte, _)| *byte).collect();
                next.push(base.join(OsStr::from_bytes(&name)));
            }
        }
        found = next;
    }
    let last = if directories_only { Last::Follow } else { Last::Keep };
    found.retain(|path| match root.hold(path, last) {
        Ok(held) => !directories_only || held.is_dir(),
        Err(errno) => {
            outside |= errno == Errno::EXDEV;
            false
        }
    });
    if directories_only {
        for path in &mut found {
            path.as_mut_os_string().push("/");
        }
    }
    found.sort();
    Ok((found, outside))
}

/// The names in a directory beneath the root; none when it cannot be opened or read.
fn names(exposed: &Exposed, base: &Path, outside: &mut bool) -> Vec<std::ffi::OsString> {
    let root = &exposed.root;
    let held = match root.hold(below_slashes(base), Last::Follow) {
        Ok(held) => held,
        Err(errno) => {
            *outside |= errno == Errno::EXDEV;
            return Vec::new();
        }
    };
    if !exposed.workspace.access_to(&held.at).may_read() {
        // What a pattern matches would tell names.
        return Vec::new();
    }
    // The place, not the O_PATH descriptor: reading a directory takes a descriptor opened for reading.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = crate::beneath::open_beneath(
        root.dir(),
        &held.at,
        flags,
        nix::fcntl::ResolveFlag::RESOLVE_NO_SYMLINKS,
        nix::sys::stat::Mode::empty(),
    );
    let Ok(mut dir) = opened.and_then(nix::dir::Dir::from_fd) else { return Vec::new() };
    dir.iter()
        .filter_map(|entry| {
            let name = OsStr::from_bytes(entry.ok()?.file_name().to_bytes()).to_owned();
            // A pattern passes over what may not be read; by its name it is refused.
            let readable = exposed.workspace.access_to(&held.at.join(&name)).may_read();
            (name != "." && name != ".." && readable).then_some(name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::words::split;

    fn expanded(word: &str) -> Vec<String> {
        braces(&split(word.as_bytes())[0]).unwrap().iter().map(|w| w.to_os().into_string().unwrap()).collect()
    }

    #[test]
    fn braces_expand_as_in_bash() {
        assert_eq!(expanded("sub/{deep,s1}"), ["sub/deep", "sub/s1"]);
        assert_eq!(expanded("{a,b{1,2}}x"), ["ax", "b1x", "b2x"]);
        assert_eq!(expanded("a{,}"), ["a", "a"]);
        assert_eq!(expanded(r"br\{a,b\}c"), ["br{a,b}c"]);
        assert_eq!(expanded("{a}{b"), ["{a}{b"]);
        assert_eq!(expanded("{1..2000000}"), ["{1..2000000}"]);
        assert_eq!(braces(&split("{a,b}".repeat(20).as_bytes())[0]), Err(TooMany));
        assert_eq!(braces(&split("{,".repeat(60_000).as_bytes())[0]).map(|w| w.len()), Ok(1));
    }
}
