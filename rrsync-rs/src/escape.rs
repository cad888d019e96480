//! Bytes from outside, made safe to print.
//!
//! Every string that a client, a file name or a key comment supplies goes through [`Escaped`] before a terminal, a
//! log or an error message sees it: control characters, ANSI sequences, bidirectional overrides, zero-width and
//! invalid UTF-8 all become visible ASCII.

use std::fmt::{self, Write as _};

/// Displays bytes with everything that could mislead a reader escaped: `\n`, `\x1b`, `\u{202e}`.
///
/// A backslash is doubled, so the text stands for exactly one byte string.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl<'a> Escaped<'a> {
    /// Escapes an `OsStr`, a path or anything else that is bytes on Unix.
    pub fn os<S: AsRef<std::ffi::OsStr> + ?Sized>(text: &'a S) -> Self {
        Self(std::os::unix::ffi::OsStrExt::as_bytes(text.as_ref()))
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            // Nearly everything that is shown is plain ASCII, and is written in one piece.
            let valid = chunk.valid();
            let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
            let (head, tail) = valid.split_at(valid.bytes().take_while(|byte| plain(byte)).count());
            f.write_str(head)?;
            for c in tail.chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c if misleading(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                    c => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Characters that do not show, or change how others show: C1 controls, format characters (Unicode `Cf`), separators
/// other than the ASCII space, variation selectors, tags and private use.
fn misleading(c: char) -> bool {
    matches!(u32::from(c),
        0x80..=0xa0 | 0xad | 0x34f | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x115f..=0x1160 | 0x1680 | 0x17b4..=0x17b5
        | 0x180b..=0x180f | 0x2000..=0x200f | 0x2028..=0x202f | 0x205f..=0x206f | 0x3000 | 0x3164
        | 0xe000..=0xf8ff | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0x1bca0..=0x1bca3
        | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff | 0xf_0000..=0x10_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_misleads_gets_through() {
        let shown = |bytes: &[u8]| Escaped(bytes).to_string();
        assert_eq!(shown(b"a\x1b[31m\n\\"), r"a\x1b[31m\n\\");
        assert_eq!(shown("x\u{202e}y\u{200b}\u{a0}".as_bytes()), r"x\u{202e}y\u{200b}\u{a0}");
        assert_eq!(shown(b"latin1-\xe9"), r"latin1-\xe9");
        assert_eq!(shown("日本 ü".as_bytes()), "日本 ü");
    }
}
