//! Edits: changes of the lines named, or only of a span of one, and of nothing else.
//!
//! Every edit is total over broken files. None may bring a key to life that was dead: where taking one of two glued
//! keys away would leave a working line, that line is disabled too, and the answer says so.

use std::collections::BTreeSet;
use std::ops::Range;

use super::dead::Dead;
use super::file::{KeyFile, Line};
use super::find::{Found, Place, keys_in};
use super::key::Key;
use super::patch::Patch;
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
    /// What takes the key out.
    pub patch: Patch,
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
    /// Puts `lines` behind the last one, each ended as the file's other lines are.
    ///
    /// A missing end of the last line is added first, so that nothing is glued to it.
    ///
    /// # Errors
    /// When one of `lines` is not exactly one entry for the target.
    pub fn append<L: AsRef<[u8]>>(&self, lines: &[L], rules: impl Into<Rules>) -> Result<Patch, EditError> {
        let rules = rules.into();
        let end = self.line_end();
        let mut text = Vec::new();
        if !lines.is_empty() && self.lines().next_back().is_some_and(|last| last.end().is_empty()) {
            text.extend_from_slice(end);
        }
        for (index, line) in lines.iter().enumerate() {
            one_entry(line.as_ref(), self.lines().len() + 1 + index, rules)?;
            text.extend_from_slice(line.as_ref());
            text.extend_from_slice(end);
        }
        let at = self.bytes().len();
        Ok(Patch::splice(at..at, text))
    }

    /// Takes out the lines of these numbers: exactly their bytes go.
    ///
    /// # Errors
    /// When a number is not that of a line.
    pub fn remove_lines(&self, numbers: &[usize]) -> Result<Patch, EditError> {
        let numbers: BTreeSet<usize> = numbers.iter().copied().collect();
        let cuts = numbers.into_iter().map(|number| Ok(Patch::splice(self.existing(number)?.span(), "")));
        Ok(together(cuts.collect::<Result<Vec<_>, EditError>>()?))
    }

    /// Takes out `key`, wherever sshd, or a slip of an editor, could find it.
    ///
    /// A line that sshd uses for the key goes whole, and so does a dead line. A key glued to one that sshd uses is cut
    /// out of that line. Comments stay, but for disabled lines.
    pub fn remove_key(&self, key: &Key, rules: impl Into<Rules>) -> Removal {
        self.remove_key_where(key, rules, |_| true)
    }

    /// The same for the lines that `wanted` says yes to.
    pub fn remove_key_where(
        &self,
        key: &Key,
        rules: impl Into<Rules>,
        wanted: impl Fn(Line<'_>) -> bool,
    ) -> Removal {
        let rules = rules.into();
        let mut places = Vec::new();
        let mut cuts = Vec::new();
        let found = self.find(key, rules);
        for here in found.chunk_by(|a, b| a.line == b.line) {
            let line = here.first().and_then(|first| self.line(first.line)).filter(|line| wanted(*line));
            let Some(line) = line else { continue };
            let (outcome, patch) = take_out(line, here, key, rules);
            places.push(Removed { line: line.number(), outcome });
            cuts.push(patch);
        }
        Removal { patch: together(cuts), places }
    }

    /// Gives one entry other options: its option span is replaced, or one is put before the key.
    ///
    /// # Errors
    /// When the line is no entry.
    pub fn replace_options(
        &self,
        number: usize,
        options: &OptionList,
        rules: impl Into<Rules>,
    ) -> Result<Patch, EditError> {
        let line = self.existing(number)?;
        let reading = line.read(rules);
        let entry = reading.entry().ok_or(EditError::NoKey(number))?;
        let text = options.as_bytes();
        let key = entry.key_span.start;
        let span = match &entry.options_span {
            Some(span) if text.is_empty() => span.start..key,
            Some(span) => span.clone(),
            None => key..key,
        };
        if line.raw()[span.clone()] == *text {
            return Ok(Patch::none());
        }
        let blank: &[u8] = if entry.options_span.is_none() { b" " } else { b"" };
        Ok(Patch::splice(within(line, span), [text, blank].concat()))
    }

    /// Puts another key in the place of the one of an entry: only the words of the key are others, options and comment stay.
    ///
    /// # Errors
    /// When the line is no entry, or would be none with that key.
    pub fn replace_key(&self, number: usize, key: &Key, rules: impl Into<Rules>) -> Result<Patch, EditError> {
        let rules = rules.into();
        let line = self.existing(number)?;
        let reading = line.read(rules);
        let span = &reading.entry().ok_or(EditError::NoKey(number))?.key_span;
        let words = key.to_string();
        let text = [&line.raw()[..span.start], words.as_bytes(), &line.raw()[span.end..]].concat();
        match read_line(&text, number, rules) {
            Reading::Entry(entry) if entry.key == *key => {
                Ok(Patch::splice(within(line, span.clone()), words))
            }
            Reading::Dead(dead) => Err(EditError::WouldBeDead(dead)),
            _ => Err(EditError::NoEntry),
        }
    }

    /// Makes one line a comment that [`KeyFile::enable`] turns back, byte for byte.
    ///
    /// # Errors
    /// When the line is blank or a comment already.
    pub fn disable(&self, number: usize, rules: impl Into<Rules>) -> Result<Patch, EditError> {
        let line = self.existing(number)?;
        match line.read(rules) {
            Reading::Entry(_) | Reading::Dead(_) => Ok(Patch::splice(within(line, 0..0), DISABLED)),
            // Behind a NUL there may be a key.
            Reading::Blank if line.raw().contains(&0) => Ok(Patch::splice(within(line, 0..0), DISABLED)),
            Reading::Blank | Reading::Comment => Err(EditError::NoKey(number)),
        }
    }

    /// Makes one disabled line what it was.
    ///
    /// # Errors
    /// When the line was not disabled.
    pub fn enable(&self, number: usize) -> Result<Patch, EditError> {
        let line = self.existing(number)?;
        if !line.raw().starts_with(DISABLED) {
            return Err(EditError::NotDisabled(number));
        }
        Ok(Patch::splice(within(line, 0..DISABLED.len()), ""))
    }

    fn existing(&self, number: usize) -> Result<Line<'_>, EditError> {
        self.line(number).ok_or(EditError::NoSuchLine(number))
    }
}

/// Refuses what is not exactly one entry.
fn one_entry(line: &[u8], number: usize, rules: Rules) -> Result<(), EditError> {
    if line.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        return Err(EditError::NotOneLine);
    }
    match read_line(line, number, rules) {
        Reading::Entry(_) => Ok(()),
        Reading::Dead(dead) => Err(EditError::WouldBeDead(dead)),
        Reading::Blank | Reading::Comment => Err(EditError::NoEntry),
    }
}

/// A part of a line as a part of its file.
fn within(line: Line<'_>, span: Range<usize>) -> Range<usize> {
    line.span().start + span.start..line.span().start + span.end
}

/// Changes of different lines as one. They do not meet; if they did, nothing would change.
fn together(patches: Vec<Patch>) -> Patch {
    Patch::all(patches).unwrap_or_default()
}

/// Takes a key out of one line, at the places where it was found.
fn take_out(line: Line<'_>, here: &[Found], key: &Key, rules: Rules) -> (Outcome, Patch) {
    let others = || {
        let keys = keys_in(line.raw()).into_iter().map(|(_, key)| key);
        keys.filter(|other| other != key).collect::<Vec<_>>()
    };
    let whole = |also| (Outcome::Line { also }, Patch::splice(line.span(), ""));
    match here.first().map(|first| first.place) {
        _ if here.iter().any(|found| found.place == Place::Entry) => whole(others()),
        Some(Place::Dead | Place::Disabled) if others().is_empty() => whole(Vec::new()),
        Some(Place::Comment) | None => (Outcome::Kept, Patch::none()),
        Some(_) => cut(line, here, rules),
    }
}

/// Takes the places of a key out of a line, unless that would change what the rest means.
fn cut(line: Line<'_>, places: &[Found], rules: Rules) -> (Outcome, Patch) {
    let alone = KeyFile::parse(line.raw().to_vec());
    let cuts = places.iter().map(|found| Patch::splice(found.span.clone(), "")).collect();
    let rest = together(cuts).applied(&alone);
    let (before, after) = (line.read(rules), read_line(rest.bytes(), line.number(), rules));
    let outcome = match (before.entry(), after.entry()) {
        (Some(before), Some(after)) if before.key == after.key && before.options == after.options => {
            Outcome::Cut
        }
        (Some(_), _) => return (Outcome::Kept, Patch::none()),
        (None, None) => Outcome::Cut,
        (None, Some(_)) => Outcome::CutAndDisabled,
    };
    let mut patches: Vec<Patch> =
        places.iter().map(|found| Patch::splice(within(line, found.span.clone()), "")).collect();
    if outcome == Outcome::CutAndDisabled {
        patches.push(Patch::splice(within(line, 0..0), DISABLED));
    }
    (outcome, together(patches))
}
