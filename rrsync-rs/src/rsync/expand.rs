//! Wildcards and braces in the paths of a request, expanded beneath the root.
//!
//! The client leaves `*`, `?`, `[…]` and `{…,…}` for the remote side when the user typed them. No shell runs here, so
//! the gate expands them itself, looking only at directories that it can open beneath the root.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::Mode;

use super::words::Word;
use crate::beneath::{Last, below_slashes, open_beneath};
use crate::policy::Exposed;
use crate::wildcard::{is_wild, matches_shown};

/// More words than this from one request are refused: a short one must not cost a long answer.
pub const MAX_WORDS: usize = 20_000;

/// Nor may the words of one request take more bytes than this; Linux would not pass much more to a program.
pub const MAX_BYTES: usize = 4 << 20;

/// Names that are looked at for the wildcards of one request, however little they match.
pub const MOST_NAMES: usize = 1_000_000;

/// To open a directory costs as much as to look at so many names.
pub const DIRECTORY: usize = 20;

/// Bytes of a path that the kernel does not look at any more, `PATH_MAX`.
pub const PATH_MAX: usize = 4096;

/// The expansion grew beyond `MAX_WORDS`, `MAX_BYTES` or `MOST_NAMES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// What a request may still stand for.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    words: usize,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { words: MAX_WORDS, bytes: MAX_BYTES }
    }
}

impl Room {
    /// Counts a word of so many bytes, before it is kept.
    pub fn take(&mut self, bytes: usize) -> Result<(), TooMany> {
        self.words = self.words.checked_sub(1).ok_or(TooMany)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(TooMany)?;
        Ok(())
    }
}

/// Brace expansion as bash does it for comma lists: `{a,b}` becomes two words; a brace without a comma or a partner is
/// itself. Numeric ranges (`{1..9}`) stay as they are: no client needs them, and they cost what the sender chooses.
pub fn braces(word: &Word) -> Result<Vec<Word>, TooMany> {
    let mut done = Vec::new();
    let mut todo = vec![word.marked().to_vec()];
    let mut made = 0;
    while let Some(bytes) = todo.pop() {
        match brace_group(&bytes) {
            None => done.push(Word::from_marked(bytes)),
            Some((open, close, commas)) => {
                let mut cuts = vec![open];
                cuts.extend(commas);
                cuts.push(close);
                // Pushed in reverse, so the first alternative is popped, and expanded further, first.
                for pair in cuts.windows(2).rev() {
                    // Counted before it is made: one group may have as many alternatives as the word has bytes.
                    made += bytes.len() - (close - open) + (pair[1] - pair[0] - 1) - 1;
                    if todo.len() + done.len() >= MAX_WORDS || made > MAX_BYTES {
                        return Err(TooMany);
                    }
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
/// the second value says so. `left` is how many names may still be looked at.
pub fn glob(exposed: &Exposed, word: &Word, left: &mut usize) -> Result<(Vec<PathBuf>, bool), TooMany> {
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
        let mut room = Room::default();
        for base in &found {
            let mut keep = |name: &[u8]| {
                let path = base.join(OsStr::from_bytes(name));
                room.take(path.as_os_str().len())?;
                next.push(path);
                Ok(())
            };
            if wild {
                names(exposed, base, part, left, &mut outside, keep)?;
                continue;
            }
            *left = left.checked_sub(1).ok_or(TooMany)?;
            let name: Vec<u8> = part.iter().map(|(byte, _)| *byte).collect();
            // A longer path names nothing, and thousands of them would fill the memory.
            if base.as_os_str().len() + name.len() < PATH_MAX {
                keep(&name)?;
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

/// Keeps the names in a directory beneath the root that a pattern matches; none when it cannot be opened or read.
fn names(
    exposed: &Exposed,
    base: &Path,
    pattern: &[(u8, bool)],
    left: &mut usize,
    outside: &mut bool,
    mut keep: impl FnMut(&[u8]) -> Result<(), TooMany>,
) -> Result<(), TooMany> {
    *left = left.checked_sub(DIRECTORY).ok_or(TooMany)?;
    let root = &exposed.root;
    let held = match root.hold(below_slashes(base), Last::Follow) {
        Ok(held) => held,
        Err(errno) => {
            *outside |= errno == Errno::EXDEV;
            return Ok(());
        }
    };
    if !exposed.workspace.access_to(&held.at).may_read() || exposed.hides(&held.at) {
        // What a pattern matches would tell names.
        return Ok(());
    }
    // The place, not the O_PATH descriptor: reading a directory takes a descriptor opened for reading.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = open_beneath(root.dir(), &held.at, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, Mode::empty());
    let Ok(mut dir) = opened.and_then(Dir::from_fd) else { return Ok(()) };
    for entry in dir.iter() {
        *left = left.checked_sub(1).ok_or(TooMany)?;
        let Ok(entry) = entry else { break };
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." || !matches_shown(pattern, name) {
            continue;
        }
        // A pattern passes over what may not be read; by its name it is refused.
        let place = held.at.join(OsStr::from_bytes(name));
        if exposed.workspace.access_to(&place).may_read() && !exposed.hides(&place) {
            keep(name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::grant::{Access, Workspace};
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
        assert!(has_wildcard(&split(b"a/b*c")[0]) && !has_wildcard(&split(br"a\*{b,c}")[0]));
        assert_eq!(braces(&split("{a,b}".repeat(20).as_bytes())[0]), Err(TooMany));
        assert_eq!(braces(&split("{,".repeat(60_000).as_bytes())[0]).map(|w| w.len()), Ok(1));
    }

    #[test]
    fn braces_make_so_many_words_and_bytes_and_no_more() {
        let long = "x".repeat(8000);
        for (word, words) in [
            ("{a,b}".repeat(14), Ok(1 << 14)),
            ("{a,b}".repeat(15), Err(TooMany)),
            (format!("{{{}}}", ",".repeat(MAX_WORDS - 1)), Ok(MAX_WORDS)),
            (format!("{{{}}}", ",".repeat(MAX_WORDS)), Err(TooMany)),
            (format!("{{,}}{}", "x".repeat(MAX_BYTES / 2)), Ok(2)),
            (format!("{{,}}{}", "x".repeat(MAX_BYTES / 2 + 1)), Err(TooMany)),
            (format!("a{{b,c}}{}", "x".repeat(MAX_BYTES / 2 - 2)), Ok(2)),
            (format!("a{{b,c}}{}", "x".repeat(MAX_BYTES / 2 - 1)), Err(TooMany)),
            (format!("{}{long}", "{a,b}".repeat(7)), Ok(1 << 7)),
            (format!("{}{long}", "{a,b}".repeat(9)), Err(TooMany)),
        ] {
            let start = word.get(..40).unwrap_or(&word);
            assert_eq!(braces(&split(word.as_bytes())[0]).map(|made| made.len()), words, "{start}");
        }
    }

    fn long(character: char) -> String {
        character.to_string().repeat(200)
    }

    /// A directory to look in: what is read and what is not, what is hidden, a link inside and links outside.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("expand-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            for below in ["D/a1/x", "D/a2/x", "D/drop/x", "D/.h/x", "D/wo/part/x", "outside/x"] {
                fs::create_dir_all(dir.join(below)).unwrap();
            }
            fs::create_dir_all(dir.join("D/.h").join(long('y')).join(long('z'))).unwrap();
            fs::write(dir.join("D/a3"), "").unwrap();
            fs::write(dir.join("D/a*"), "").unwrap();
            nix::unistd::mkfifo(&dir.join("D/.pipe"), Mode::S_IRWXU).unwrap();
            for (link, to) in [("a4", "a1"), ("a5", "../outside"), ("gone", "nothing")] {
                symlink(to, dir.join("D").join(link)).unwrap();
            }
            Self(dir)
        }

        fn exposed(&self) -> Exposed {
            let mut workspace = Workspace::new(self.0.join("D"), Access::ReadWrite);
            for (part, access) in
                [("drop", Access::WriteOnly), ("wo", Access::WriteOnly), ("wo/part", Access::ReadOnly)]
            {
                workspace.paths.insert(part.into(), access);
            }
            Exposed::open(None, workspace, false).unwrap()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn wildcards_are_looked_for_inside_and_where_it_may_be_read() {
        let tree = Tree::new("glob");
        let exposed = tree.exposed();
        for (word, found, leads_outside) in [
            ("a?", "a* a1 a2 a3 a4 a5", false),
            (r"a\**", "a*", false),
            ("a?/", "a1/ a2/ a4/", true),
            ("a[12]//x", "a1/x a2/x", false),
            ("*", "a* a1 a2 a3 a4 a5 gone", false),
            ("go*/", "", false),
            (".*", ".h .pipe", false),
            (".pipe/*", "", false),
            ("*/x", "a1/x a2/x a4/x", true),
            ("a?/*", "a1/x a2/x a4/x", true),
            ("a4/[x]/", "a4/x/", false),
            ("a3/*", "", false),
            ("drop/*", "", false),
            ("w*/part/*", "", false),
            ("wo/*/x", "", false),
            ("wo/part/?", "wo/part/x", false),
            ("nothing/*", "", false),
            ("[x]", "", false),
            (&format!(".[h]/{}/{}", long('y'), long('z')), &format!(".h/{}/{}", long('y'), long('z')), false),
            (&format!("a[1]{}/x", "/.".repeat(2047)), "", false),
            (&format!("a[1]{}/x", "/".repeat(5000)), "a1/x", false),
        ] {
            let (paths, outside) = glob(&exposed, &split(word.as_bytes())[0], &mut 10_000).unwrap();
            let paths: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
            assert_eq!((paths.join(" ").as_str(), outside), (found, leads_outside), "{word}");
        }
    }

    #[test]
    fn a_pattern_matches_so_many_paths_and_no_more() {
        let tree = Tree::new("many");
        for name in 0..100 {
            fs::write(tree.0.join(format!("D/a2/n{name}")), "").unwrap();
        }
        for link in 0..200 {
            symlink("a2", tree.0.join(format!("D/l{link}"))).unwrap();
        }
        let exposed = tree.exposed();
        let found = |word: &str| {
            glob(&exposed, &split(word.as_bytes())[0], &mut 100_000).map(|(found, _)| found.len())
        };
        assert_eq!(found("l*/n*"), Ok(MAX_WORDS));
        assert_eq!(found("l*/*"), Err(TooMany));
        // Nor so many bytes, however few names there are.
        assert_eq!(found(&format!("l*/{}n*", "./".repeat(90))), Ok(MAX_WORDS));
        assert_eq!(found(&format!("l*/{}n*", "./".repeat(110))), Err(TooMany));
    }

    #[test]
    fn a_request_stands_for_so_many_words_and_bytes() {
        let take = |words: usize, bytes: usize| {
            let mut room = Room::default();
            (0..words).try_for_each(|_| room.take(bytes / words)).is_ok()
        };
        assert!(take(MAX_WORDS, 0) && !take(MAX_WORDS + 1, 0));
        assert!(take(1, MAX_BYTES) && !take(1, MAX_BYTES + 1));
        assert!(take(2, MAX_BYTES) && !take(2, MAX_BYTES + 2));
    }

    #[test]
    fn what_is_looked_at_and_does_not_match_costs_too() {
        let tree = Tree::new("cost");
        let exposed = tree.exposed();
        // The root has "." and ".." and eleven names; a directory that is opened costs twenty.
        for (word, cost) in
            [("q*", 33), ("a1/q*", 24), ("a3/q*", 21), ("drop/q*", 21), ("*/q", 40), ("a[123]/q*", 99)]
        {
            let word = &split(word.as_bytes())[0];
            let mut left = cost;
            assert!(glob(&exposed, word, &mut left).is_ok_and(|(found, _)| found.is_empty()), "{word:?}");
            assert_eq!(left, 0, "{word:?}");
            assert_eq!(glob(&exposed, word, &mut (cost - 1)), Err(TooMany), "{word:?}");
        }
    }
}
