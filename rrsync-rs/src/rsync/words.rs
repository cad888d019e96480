//! The client's command line, cut into words as an rsync client wrote it.
//!
//! A client puts a backslash before every byte that a shell would treat specially (`safe_arg()` in rsync's options.c)
//! and nothing else; quotes mean nothing. This is not shell quoting: a backslash before a newline is a newline in the
//! name. A wildcard without its backslash is one that the user typed, for the remote side to expand.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// One word: its bytes without the backslashes, and which of them had one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word {
    /// Byte and whether a backslash stood before it.
    bytes: Vec<(u8, bool)>,
}

impl Word {
    /// A word in which every byte means itself, as `--secluded-args` sends them.
    pub fn literal(bytes: &[u8]) -> Self {
        Self { bytes: bytes.iter().map(|b| (*b, true)).collect() }
    }

    /// The bytes that the word stands for.
    pub fn unescaped(&self) -> Vec<u8> {
        self.bytes.iter().map(|(byte, _)| *byte).collect()
    }

    /// [`Word::unescaped`] as an `OsString`.
    pub fn to_os(&self) -> OsString {
        OsString::from_vec(self.unescaped())
    }

    /// The bytes with their escape marks.
    pub fn marked(&self) -> &[(u8, bool)] {
        &self.bytes
    }

    /// Whether no byte of the first `upto` carries a backslash: option names never do.
    pub fn plain_until(&self, upto: usize) -> bool {
        self.bytes.iter().take(upto).all(|(_, escaped)| !escaped)
    }

    /// A bare byte that only a shell would have given a meaning, if there is one.
    ///
    /// Stock clients never send these bare, but for the newline, which those before 3.5.0 do not escape. Wildcards, braces
    /// and `~` are left out: those are the user's request to the remote side, and the gate itself expands the first two.
    pub fn shell_syntax(&self) -> Option<u8> {
        self.bytes
            .iter()
            .find(|(byte, escaped)| !escaped && b";&|<>()`$\"'\n".contains(byte))
            .map(|(byte, _)| *byte)
    }

    /// A word from marked bytes.
    pub fn from_marked(bytes: Vec<(u8, bool)>) -> Self {
        Self { bytes }
    }
}

/// Cuts a command line at spaces and tabs, which clients escape in a name. Any other white space is a byte of a name, as it
/// is for a shell; but for the newline, which that would take for the end of a command, see [`Word::shell_syntax`].
///
/// A backslash keeps the next byte, whatever it is; one at the very end is dropped, as rrsync does. Never fails: every
/// byte string is some list of words.
pub fn split(line: &[u8]) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => words.extend(word.take()),
            b'\\' => {
                let word = word.get_or_insert_default();
                if let Some(next) = bytes.next() {
                    word.bytes.push((next, true));
                }
            }
            byte => word.get_or_insert_default().bytes.push((byte, false)),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_a_client_escaped_them() {
        let cut = |line: &str| {
            split(line.as_bytes()).iter().map(|w| w.to_os().into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(cut(r". a\ b c"), [".", "a b", "c"]);
        assert_eq!(cut("new\\\nline  x\ty"), ["new\nline", "x", "y"]);
        assert_eq!(cut("new\nline car\rriage\u{b}\u{c}"), ["new\nline", "car\rriage\u{b}\u{c}"]);
        assert_eq!(cut(r#"q\'uote "not quoted""#), ["q'uote", "\"not", "quoted\""]);
        assert_eq!(cut("nb\u{a0}sp id\u{3000}sp"), ["nb\u{a0}sp", "id\u{3000}sp"]);
        assert_eq!(cut(r"f1\"), ["f1"]);
        assert_eq!(cut(""), [""; 0]);
        assert_eq!(split(br"a\*b*")[0].marked(), [(b'a', false), (b'*', true), (b'b', false), (b'*', false)]);
    }

    #[test]
    fn what_a_shell_would_have_read_is_found_where_it_is_bare() {
        for (line, found) in [
            ("a;b", Some(b';')),
            (r"a\;b&", Some(b'&')),
            (r"\;\&\|\<\>\(\)\`\$\q\'", None),
            ("plain-*?[]{a,b}~!#%^=:", None),
            ("new\nline", Some(b'\n')),
            ("new\\\nline", None),
            ("", None),
        ] {
            let word = split(line.as_bytes()).pop().unwrap_or_default();
            assert_eq!(word.shell_syntax(), found, "{line:?}");
        }
        for byte in *b";&|<>()`$\"'\n" {
            assert_eq!(split(&[b'a', byte])[0].shell_syntax(), Some(byte), "{byte}");
            assert_eq!(Word::literal(&[b'a', byte]).shell_syntax(), None, "{byte}");
        }
        assert_eq!(Word::literal(b"a *").marked(), [(b'a', true), (b' ', true), (b'*', true)]);
    }
}
