//! The tolerant reader: where a key stands in a file, also in lines that sshd passes over.
//!
//! A dead line is one keystroke from a live one, and glued or mangled lines are how keys get forgotten. So this reader
//! looks for the key's own bytes: base64 text of either alphabet, with whatever an editor, a terminal or a wrong
//! encoding may have put between, as far as the blob's own length fields say that it goes.

use std::ops::Range;

use super::base64::{self, is_space, tolerant_value};
use super::edit::DISABLED;
use super::file::{KeyFile, Line};
use super::key::{Key, WORDS};
use super::read::{Reading, Rules, Target};

/// One place where a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The number of the line.
    pub line: usize,
    /// What kind of place it is.
    pub place: Place,
    /// The key in the line: from its type word, if one stands directly in front, to the end of its base64 text.
    pub span: Range<usize>,
}

/// What the key found is for sshd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The key of an entry: sshd uses it.
    Entry,
    /// In a line that sshd passes over, or takes for a blank one because of the NUL in front.
    Dead,
    /// In an entry for another key: behind it or inside its options.
    Beside,
    /// In a line that [`KeyFile::disable`] made a comment.
    Disabled,
    /// In any other comment.
    Comment,
}

impl KeyFile {
    /// Every place of `key` in the file, in order.
    pub fn find(&self, key: &Key, rules: impl Into<Rules>) -> Vec<Found> {
        let rules = rules.into();
        let needle = Needle::new(key);
        self.lines().flat_map(|line| needle.places(line, rules)).collect()
    }
}

/// A key, prepared for searching.
struct Needle<'a> {
    key: &'a Key,
    start: [u8; 8],
}

impl<'a> Needle<'a> {
    fn new(key: &'a Key) -> Self {
        let text = base64::encode(key.blob());
        let mut start = [0; 8];
        start.copy_from_slice(&text.as_bytes()[..8]);
        Self { key, start }
    }

    fn places(&self, line: Line<'_>, rules: Rules) -> Vec<Found> {
        let raw = line.raw();
        let reading = line.read(rules);
        let found = |place, span| Found { line: line.number(), place, span };
        let mut places = Vec::new();
        let entry = reading.entry();
        let own = entry.filter(|entry| entry.key == *self.key).map(|entry| entry.key_span.clone());
        if let Some(span) = own.clone() {
            places.push(found(Place::Entry, span));
        }
        let place = match &reading {
            Reading::Entry(_) => Place::Beside,
            Reading::Comment if raw.starts_with(DISABLED) => Place::Disabled,
            Reading::Comment => Place::Comment,
            // A key in a blank line stands behind a NUL, where a crash has left a hole. Whoever mends that wakes the key.
            Reading::Dead(_) | Reading::Blank => Place::Dead,
        };
        let mut at = 0;
        while let Some(start) = memchr::memchr(self.start[0], &raw[at..]).map(|n| at + n) {
            at = start + 1;
            let matches = self.start_at(&raw[start..]);
            let Some((key, end)) = matches.then(|| key_at(raw, start, self.key.blob().len() + 64)).flatten()
            else {
                continue;
            };
            at = end;
            let is_own = own.as_ref().is_some_and(|own| own.contains(&start));
            if key == *self.key && !is_own {
                places.push(found(place, word_before(raw, start)..end));
            }
        }
        places.sort_by_key(|found| found.span.start);
        places
    }

    fn start_at(&self, raw: &[u8]) -> bool {
        let mut text = raw.iter().filter(|&&byte| !is_filler(byte));
        self.start.iter().all(|expected| text.next() == Some(expected))
    }
}

/// Every key of any kind that stands in `raw`, tolerantly read, with its place there.
pub fn keys_in(raw: &[u8]) -> Vec<(Range<usize>, Key)> {
    let mut keys = Vec::new();
    let mut at = 0;
    while let Some(start) = memchr::memchr(b'A', &raw[at..]).map(|n| at + n) {
        at = start + 1;
        // An RSA key of 16384 bits has a blob of about 2,100 bytes.
        if let Some((key, end)) = key_at(raw, start, 4200) {
            keys.push((word_before(raw, start)..end, key));
            at = end;
        }
    }
    keys
}

/// What may stand between two characters of a mangled base64 text: blanks, NUL (UTF-16), anything beyond ASCII.
fn is_filler(byte: u8) -> bool {
    byte == 0 || byte >= 0x80 || is_space(byte)
}

/// The key whose base64 text begins at `start`, and where that text ends; at most `limit` bytes of blob are decoded.
fn key_at(raw: &[u8], start: usize, limit: usize) -> Option<(Key, usize)> {
    let mut blob = Vec::new();
    let mut ends = Vec::new();
    let (mut pending, mut bits) = (0u32, 0);
    for (at, &byte) in raw.iter().enumerate().skip(start) {
        if is_filler(byte) {
            continue;
        }
        let Some(value) = tolerant_value(byte) else { break };
        pending = pending << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            blob.push((pending >> bits).to_be_bytes()[3]);
            ends.push(at + 1);
        }
        // The first field is a type's name. Most text that merely looks like base64 is dismissed here.
        let hopeless = blob.len() == 5 && !matches!(blob[..], [0, 0, 0, 3..=64, b'a'..=b'z' | b'A'..=b'Z']);
        if hopeless || blob.len() >= limit {
            break;
        }
    }
    let target = |target| Key::from_prefix(&blob, target).ok();
    let (key, rest) = target(Target::OpenSsh9_2).or_else(|| target(Target::OpenSsh10_5))?;
    let length = blob.len() - rest.len();
    let mut end = *ends.get(length.checked_sub(1)?)?;
    let padding = (3 - length % 3) % 3;
    for _ in 0..padding {
        end += usize::from(raw.get(end) == Some(&b'='));
    }
    Some((key, end))
}

/// The start of the type word that stands before `at`, blanks between; `at` itself when there is none.
fn word_before(raw: &[u8], at: usize) -> usize {
    let blanks = raw[..at].iter().rev().take_while(|&&byte| is_filler(byte)).count();
    let before = &raw[..at - blanks];
    let longest =
        WORDS.iter().filter(|(word, _)| before.ends_with(word.as_bytes())).map(|(word, _)| word.len()).max();
    longest.map_or(at, |length| before.len() - length)
}
