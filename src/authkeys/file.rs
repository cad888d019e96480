//! The file as lines: bytes and spans, nothing else.
//!
//! sshd reads with getline(3) (`auth_check_authkeys_file`), so a line ends at `\n` and nowhere else; a carriage return
//! is a byte of the line.

use std::ops::Range;

use super::read::{Reading, Rules, read_line};

/// An `authorized_keys` file, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyFile {
    bytes: Vec<u8>,
    /// The offset behind each line, its `\n` included.
    ends: Vec<usize>,
}

/// One line of a [`KeyFile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    number: usize,
    start: usize,
    raw: &'a [u8],
}

impl KeyFile {
    /// Splits `bytes` into lines. Every byte string is a file, so this cannot fail.
    pub fn parse(bytes: Vec<u8>) -> Self {
        let mut ends: Vec<usize> = memchr::memchr_iter(b'\n', &bytes).map(|at| at + 1).collect();
        if ends.last().copied().unwrap_or(0) < bytes.len() {
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }

    /// The file's bytes, exactly as they were read.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file's bytes, given back.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The lines in order, blank and broken ones too.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = Line<'_>> + ExactSizeIterator {
        (0..self.ends.len()).map(|index| self.at(index + 1))
    }

    /// The line with this number, counted from 1 as sshd's log and an editor do.
    pub fn line(&self, number: usize) -> Option<Line<'_>> {
        (1..=self.ends.len()).contains(&number).then(|| self.at(number))
    }

    /// How many lines end at or before `offset`.
    pub(super) fn lines_before(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| *end <= offset)
    }

    fn at(&self, number: usize) -> Line<'_> {
        let start = if number == 1 { 0 } else { self.ends[number - 2] };
        Line { number, start, raw: &self.bytes[start..self.ends[number - 1]] }
    }

    /// How the file ends its lines: `\r\n` when most of its ended lines do, else `\n`.
    pub fn line_end(&self) -> &'static [u8] {
        let (mut crlf, mut lf) = (0usize, 0usize);
        for line in self.lines() {
            match line.end() {
                b"\r\n" => crlf += 1,
                b"\n" => lf += 1,
                _ => {}
            }
        }
        if crlf > lf { b"\r\n" } else { b"\n" }
    }
}

impl<'a> Line<'a> {
    /// The line's number, counted from 1.
    pub fn number(self) -> usize {
        self.number
    }

    /// Where the line stands in the file, its end included.
    pub fn span(self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    /// The same line as one of another file.
    pub(super) fn moved(self, number: usize, start: usize) -> Self {
        Self { number, start, ..self }
    }

    /// The bytes of the line, its end included.
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// The bytes of the line without its end.
    pub fn content(self) -> &'a [u8] {
        &self.raw[..self.raw.len() - self.end().len()]
    }

    /// The line's end: `\n`, `\r\n`, or empty for a last line without one.
    pub fn end(self) -> &'static [u8] {
        match self.raw {
            [.., b'\r', b'\n'] => b"\r\n",
            [.., b'\n'] => b"\n",
            _ => b"",
        }
    }

    /// What sshd makes of the line. Spans and columns of the answer count from the start of the line.
    pub fn read(self, rules: impl Into<Rules>) -> Reading<'a> {
        read_line(self.raw, self.number, rules.into())
    }
}
