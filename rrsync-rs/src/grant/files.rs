//! The rules of a workspace that the gate holds itself, file by file, where it serves SFTP and scp.
//!
//! rsync is another program and knows none of them. A request of its that would have to keep one is refused, see
//! [`FileRules::beyond_rsync`]: a rule holds for every tool, or the tool does not come in. Only hidden names the kernel keeps from a
//! pull.

use std::fmt;

use crate::wildcard::matches;

/// What a workspace says about what is brought into it, beside the access.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileRules {
    /// What is there already may be given more content at its end, and nothing else. Implies `overwrite = false`.
    pub append: bool,
    /// A file is seen under its name only when it is complete.
    pub atomic: bool,
    /// What is overwritten or removed is kept in the version store.
    pub versions: bool,
    /// Which symlinks may be made.
    pub symlinks: Symlinks,
    /// How much there may be.
    pub quota: Quota,
    /// Bytes that must stay free on the file system.
    pub min_free: Option<u64>,
    /// What files and directories may be called.
    pub names: Names,
    /// Which permissions they get.
    pub modes: Modes,
}

/// Which symlinks may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Symlinks {
    /// Those that cannot lead out of the workspace.
    #[default]
    Inside,
    /// None.
    None,
}

/// How much there may be in a workspace, whoever put it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Bytes of content.
    pub bytes: Option<u64>,
    /// Files, directories and symlinks.
    pub files: Option<u64>,
}

/// What names may be made, and which are not there at all for this key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// When there are any, a file or symlink that is made must match one of them.
    pub allow: Vec<Pattern>,
    /// Nothing is made that matches one of them.
    pub deny: Vec<Pattern>,
    /// What matches one of them is neither seen nor made, nor is anything below it.
    pub hide: Vec<Pattern>,
    /// Bytes of the longest name that is made.
    pub length: Option<usize>,
}

/// Which permission bits files and directories get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// Bits that nothing gets.
    pub umask: u32,
    /// What every file gets, whatever the client asks for.
    pub file: Option<u32>,
    /// What every directory gets.
    pub directory: Option<u32>,
}

/// A pattern for one name: `*`, `?`, `[…]`, and a backslash before what shall stand for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    marked: Vec<(u8, bool)>,
}

impl Pattern {
    /// Reads a pattern; `None` for what no name could match.
    pub fn read(text: &str) -> Option<Self> {
        let mut marked = Vec::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            marked.push(if byte == b'\\' { (bytes.next()?, true) } else { (byte, false) });
        }
        let fits = !marked.is_empty() && !marked.iter().any(|(byte, _)| matches!(byte, b'/' | 0));
        fits.then(|| Self { text: text.to_owned(), marked })
    }

    /// The same for rsync, whose `**` would match a slash, and where a backslash says something only beside a wildcard: rsync(1),
    /// "PATTERN MATCHING RULES".
    pub fn for_rsync(&self) -> Vec<u8> {
        let wild = self.marked.iter().any(|(byte, _)| b"*?[".contains(byte));
        let mut bytes = Vec::new();
        for (at, (byte, quoted)) in self.marked.iter().enumerate() {
            if (*byte, *quoted) == (b'*', false) && at > 0 && self.marked[at - 1] == (b'*', false) {
                continue;
            }
            if wild && (*quoted || *byte == b'\\') {
                bytes.push(b'\\');
            }
            bytes.push(*byte);
        }
        bytes
    }

    /// Whether it matches `name`, one component of a path. A leading dot is a byte like any other.
    pub fn matches(&self, name: &[u8]) -> bool {
        matches(&self.marked, name)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Modes {
    /// The bits that a file or directory gets for which `asked` was asked for.
    pub fn given(&self, asked: u32, directory: bool) -> u32 {
        let forced = if directory { self.directory } else { self.file };
        forced.unwrap_or(asked & !self.umask)
    }
}

impl Names {
    /// Whether `name` is not there for this key.
    pub fn hides(&self, name: &[u8]) -> bool {
        self.hide.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether something may be made under `name`.
    pub fn allows(&self, name: &[u8], directory: bool) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        !any(&self.deny)
            && (directory || self.allow.is_empty() || any(&self.allow))
            && self.length.is_none_or(|longest| name.len() <= longest)
    }
}

impl FileRules {
    /// The rule that an rsync which writes here would not keep. One that only reads keeps all of them.
    pub fn beyond_rsync(&self) -> Option<&'static str> {
        let rules = [
            (self.versions, "versions"),
            (self.quota.bytes.is_some(), "quota"),
            (self.quota.files.is_some(), "quota-files"),
            (self.min_free.is_some(), "min-free"),
            (self.atomic, "atomic"),
            (self.symlinks == Symlinks::None, "symlinks"),
            (self.modes != Modes::default(), "umask"),
            (self.names != Names::default(), "names"),
        ];
        rules.into_iter().find(|(stated, _)| *stated).map(|(_, name)| name)
    }

    /// The rules in words, one each: `at most 10 GiB`, `what is overwritten or removed is kept`.
    pub fn words(&self) -> Vec<String> {
        let list =
            |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let mode = |what: &str, mode: Option<u32>| mode.map(|mode| format!("{what} get mode {mode:04o}"));
        let names = &self.names;
        let mut words = Vec::new();
        let mut say = |stated: bool, text: &str| words.extend(stated.then(|| text.to_owned()));
        say(self.append, "what is there may only grow");
        say(self.atomic, "files appear when they are complete");
        say(self.versions, "what is overwritten or removed is kept");
        say(self.symlinks == Symlinks::None, "no symlinks are made");
        words.extend(self.quota.bytes.map(|bytes| format!("at most {}", size(bytes))));
        words.extend(self.quota.files.map(|files| format!("at most {files} files")));
        words.extend(self.min_free.map(|bytes| format!("{} stay free", size(bytes))));
        for (patterns, what) in [
            (&names.allow, "new files are called"),
            (&names.deny, "nothing new is called"),
            (&names.hide, "not seen:"),
        ] {
            words.extend((!patterns.is_empty()).then(|| format!("{what} {}", list(patterns))));
        }
        words.extend(names.length.map(|bytes| format!("new names have at most {bytes} bytes")));
        words.extend((self.modes.umask != 0).then(|| format!("umask {:04o}", self.modes.umask)));
        words.extend(
            mode("files", self.modes.file).into_iter().chain(mode("directories", self.modes.directory)),
        );
        words
    }
}

/// A number of bytes as people say it, exactly: `10 GiB`, `1500 bytes`.
pub fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >= 1 << shift && bytes.trailing_zeros() >= *shift) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_about_one_name() {
        let matches = |pattern: &str, name: &str| Pattern::read(pattern).unwrap().matches(name.as_bytes());
        assert!(matches("*.csv", "a.csv") && matches("*.csv", ".csv") && matches("[a-c]?", "bx"));
        assert!(matches(r"a\*", "a*") && matches("a b", "a b") && matches("ü", "ü"));
        assert!(!matches("*.csv", "a.csv ") && !matches(r"a\*", "ab") && !matches("*.exe", "a.EXE"));
        for bad in ["", "a/b", "a\0", r"a\", r"a\/b"] {
            assert_eq!(Pattern::read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn names_and_modes_are_judged() {
        let patterns = |words: &[&str]| words.iter().map(|word| Pattern::read(word).unwrap()).collect();
        let names = Names {
            allow: patterns(&["*.csv"]),
            deny: patterns(&[".*"]),
            hide: patterns(&["secret"]),
            length: Some(8),
        };
        assert!(names.allows(b"a.csv", false) && names.allows(b"dir", true));
        assert!(names.hides(b"secret") && !names.hides(b"secrets"));
        for (name, directory) in [("a.txt", false), (".a.csv", false), (".git", true), ("12345.csv", false)] {
            assert!(!names.allows(name.as_bytes(), directory), "{name}");
        }
        let modes = Modes { umask: 0o027, file: None, directory: Some(0o2750) };
        assert_eq!((modes.given(0o777, false), modes.given(0o700, true)), (0o750, 0o2750));
    }

    #[test]
    fn patterns_are_written_for_rsync() {
        for (text, written) in [
            ("x", "x"),
            ("*.key", "*.key"),
            ("a**b", "a*b"),
            ("***", "*"),
            (r"a\*b", r"a\*b"),
            (r"a*\*", r"a*\*"),
            (r"c\\d", r"c\d"),
            (r"c\\d*", r"c\\d*"),
            (r"\x", "x"),
            (r"\x?", r"\x?"),
            ("[a-c]", "[a-c]"),
            ("- x", "- x"),
        ] {
            assert_eq!(Pattern::read(text).unwrap().for_rsync(), written.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_rsync_would_not_keep_is_known() {
        let rules = FileRules { append: true, ..FileRules::default() };
        assert_eq!(rules.beyond_rsync(), None);
        let rules = FileRules { versions: true, ..rules };
        assert_eq!(rules.beyond_rsync(), Some("versions"));
        let hide = Names { hide: Pattern::read("x").into_iter().collect(), ..Names::default() };
        let rules = FileRules { names: hide, ..FileRules::default() };
        assert_eq!(rules.beyond_rsync(), Some("names"));
        assert_eq!(
            [10 << 30, 1 << 10, 1536, 1, 0].map(size),
            ["10 GiB", "1 KiB", "1536 bytes", "1 bytes", "0 bytes"].map(String::from)
        );
    }
}
