//! Edits: new bytes in which only the lines named, or only a span of one, differ.
//!
//! Every edit is total over broken files. None may bring a key to life that was dead: where taking one of two glued
//! keys away would leave a working line, that line is disabled too, and the answer says so.

use std::collections::BTreeSet;

use super::dead::Dead;
use super::file::{KeyFile, Line};
use super::find::{Found, Place, keys_in};
use super::key::Key;
use super::read::{Reading, Rules, read_line};
use super::write::OptionList;

/// What [`KeyFile::disable`] puts in front of a line. A `#` first makes it a comment for every sshd.
pub const DISABLED: &[u8] = b"# akeys-disabled: ";

/// Why an edit was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The file has no such line.
    #[error("there is no line {0}")]
    NoSuchLine(usize),
    /// The line holds nothing that could be disabled, enabled or given options.
    #[error("line {0} holds no key")]
    NoKey(usize),
    /// The line was not disabled by [`KeyFile::disable`].
    #[error("line {0} was not disabled")]
    NotDisabled(usize),
    /// The text to add is not one line.
    #[error("the line to add has a line end or a NUL byte in it")]
    NotOneLine,
    /// The text to add would not be an entry.
    #[error("sshd would pass over the line to add, at column {0}")]
    WouldBeDead(Dead),
    /// The text to add is blank or a comment.
    #[error("the line to add holds no key")]
    NoEntry,
}

/// What [`KeyFile::remove_key`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The file without the key.
    pub bytes: Vec<u8>,
    /// Each place of the key, in order.
    pub places: Vec<Removed>,
}

/// What became of one line that held the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Its number in the file as it was.
    pub line: usize,
    /// What was done.
    pub outcome: Outcome,
}

/// What became of a line that held a key to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The whole line is gone, and with it these other keys, which were no use to sshd where they stood.
    Line {
        /// The keys glued to the one removed.
        also: Vec<Key>,
    },
    /// Only the key's own text is gone; the rest means to sshd what it meant before.
    Cut,
    /// The key's text is gone, and the rest, which would have come to life, is disabled.
    CutAndDisabled,
    /// Nothing was done: the key stands in a comment or inside the options of another.
    Kept,
}

impl KeyFile {
    /// The file with `line` behind its last one, ended as the file's other lines are.
    ///
    /// A missing end of the last line is added first, so that nothing is glued to it.
    ///
    /// # Errors
    /// When `line` is not exactly one entry for the target.
    pub fn append_line(&self, line: &[u8], rules: impl Into<Rules>) -> Result<Vec<u8>, EditError> {
        if line.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            return Err(EditError::NotOneLine);
        }
        match read_line(line, self.lines().len() + 1, rules.into()) {
            Reading::Entry(_) => {}
            Reading::Dead(dead) => return Err(EditError::WouldBeDead(dead)),
            Reading::Blank | Reading::Comment => return Err(EditError::NoEntry),
        }
        let end = self.line_end();
        let mut bytes = self.bytes().to_vec();
        if self.lines().next_back().is_some_and(|last| last.end().is_empty()) {
            bytes.extend_from_slice(end);
        }
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(end);
        Ok(bytes)
    }

    /// The file without the lines of these numbers: exactly their bytes are gone.
    ///
    /// # Errors
    /// When a number is not that of a line.
    pub fn remove_lines(&self, numbers: &[usize]) -> Result<Vec<u8>, EditError> {
        for &number in numbers {
            self.existing(number)?;
        }
        let numbers: BTreeSet<usize> = numbers.iter().copied().collect();
        Ok(self.rewrite(|line, out| {
            if !numbers.contains(&line.number()) {
                out.extend_from_slice(line.raw());
            }
        }))
    }

    /// The file without `key`, wherever sshd, or a slip of an editor, could find it.
    ///
    /// A line that sshd uses for the key goes whole, and so does a dead line. A key glued to one that sshd uses is cut
    /// out of that line. Comments stay, but for disabled lines.
    pub fn remove_key(&self, key: &Key, rules: impl Into<Rules>) -> Removal {
        let rules = rules.into();
        let mut places = Vec::new();
        let mut found = self.find(key, rules).into_iter().peekable();
        let bytes = self.rewrite(|line, out| {
            let mut here = Vec::new();
            while let Some(next) = found.next_if(|found| found.line == line.number()) {
                here.push(next);
            }
            let Some(first) = here.first() else {
                out.extend_from_slice(line.raw());
                return;
            };
            let others = || {
                let keys = keys_in(line.raw()).into_iter().map(|(_, key)| key);
                keys.filter(|other| other != key).collect::<Vec<_>>()
            };
            let whole = here.iter().any(|found| found.place == Place::Entry);
            let outcome = match first.place {
                _ if whole => Outcome::Line { also: others() },
                Place::Dead | Place::Disabled if others().is_empty() => Outcome::Line { also: Vec::new() },
                Place::Comment => Outcome::Kept,
                _ => cut(line, &here, rules, out),
            };
            if outcome == Outcome::Kept {
                out.extend_from_slice(line.raw());
            }
            places.push(Removed { line: line.number(), outcome });
        });
        Removal { bytes, places }
    }

    /// The file with other options on one entry: its option span is replaced, or one is put before the key.
    ///
    /// # Errors
    /// When the line is no entry.
    pub fn replace_options(
        &self,
        number: usize,
        options: &OptionList,
        rules: impl Into<Rules>,
    ) -> Result<Vec<u8>, EditError> {
        let line = self.existing(number)?;
        let reading = line.read(rules);
        let entry = reading.entry().ok_or(EditError::NoKey(number))?;
        let text = options.as_bytes();
        let key = entry.key_span.start;
        let (from, to) = match &entry.options_span {
            Some(span) if text.is_empty() => (span.start, key),
            Some(span) => (span.start, span.end),
            None => (key, key),
        };
        let blank: &[u8] = if entry.options_span.is_none() && !text.is_empty() { b" " } else { b"" };
        Ok(self.replace(number, &[&line.raw()[..from], text, blank, &line.raw()[to..]]))
    }

    /// The file with another key on one entry: only the words of the key are others, options and comment stay.
    ///
    /// # Errors
    /// When the line is no entry, or would be none with that key.
    pub fn replace_key(
        &self,
        number: usize,
        key: &Key,
        rules: impl Into<Rules>,
    ) -> Result<Vec<u8>, EditError> {
        let rules = rules.into();
        let line = self.existing(number)?;
        let reading = line.read(rules);
        let span = &reading.entry().ok_or(EditError::NoKey(number))?.key_span;
        let text = [&line.raw()[..span.start], key.to_string().as_bytes(), &line.raw()[span.end..]].concat();
        match read_line(&text, number, rules) {
            Reading::Entry(entry) if entry.key == *key => Ok(self.replace(number, &[&text])),
            Reading::Dead(dead) => Err(EditError::WouldBeDead(dead)),
            _ => Err(EditError::NoEntry),
        }
    }

    /// The file with one line made a comment that [`KeyFile::enable`] turns back, byte for byte.
    ///
    /// # Errors
    /// When the line is blank or a comment already.
    pub fn disable(&self, number: usize, rules: impl Into<Rules>) -> Result<Vec<u8>, EditError> {
        let line = self.existing(number)?;
        match line.read(rules) {
            Reading::Entry(_) | Reading::Dead(_) => Ok(self.replace(number, &[DISABLED, line.raw()])),
            Reading::Blank | Reading::Comment => Err(EditError::NoKey(number)),
        }
    }

    /// The file with one disabled line as it was.
    ///
    /// # Errors
    /// When the line was not disabled.
    pub fn enable(&self, number: usize) -> Result<Vec<u8>, EditError> {
        let line = self.existing(number)?;
        let original = line.raw().strip_prefix(DISABLED).ok_or(EditError::NotDisabled(number))?;
        Ok(self.replace(number, &[original]))
    }

    fn existing(&self, number: usize) -> Result<Line<'_>, EditError> {
        self.line(number).ok_or(EditError::NoSuchLine(number))
    }

    fn replace(&self, number: usize, parts: &[&[u8]]) -> Vec<u8> {
        self.rewrite(|line, out| {
            if line.number() == number {
                out.extend_from_slice(&parts.concat());
            } else {
                out.extend_from_slice(line.raw());
            }
        })
    }

    fn rewrite(&self, mut write: impl FnMut(Line<'_>, &mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes().len() + 64);
        self.lines().for_each(|line| write(line, &mut out));
        out
    }
}

/// Writes a line without the spans of a key, unless that would change what the rest means.
fn cut(line: Line<'_>, spans: &[Found], rules: Rules, out: &mut Vec<u8>) -> Outcome {
    let raw = line.raw();
    let mut rest = Vec::with_capacity(raw.len());
    let mut at = 0;
    for found in spans {
        rest.extend_from_slice(&raw[at..found.span.start]);
        at = found.span.end;
    }
    rest.extend_from_slice(&raw[at..]);
    let after = read_line(&rest, line.number(), rules);
    let before = line.read(rules);
    let outcome = match (before.entry(), after.entry()) {
        (Some(before), Some(after)) if before.key == after.key && before.options == after.options => {
            Outcome::Cut
        }
        (Some(_), _) => return Outcome::Kept,
        (None, None) => Outcome::Cut,
        (None, Some(_)) => Outcome::CutAndDisabled,
    };
    if outcome == Outcome::CutAndDisabled {
        out.extend_from_slice(DISABLED);
    }
    out.extend_from_slice(&rest);
    outcome
}
