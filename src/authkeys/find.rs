//! The tolerant reader: where a key stands in a file, also in lines that sshd passes over.
//!
//! A dead line is one keystroke from a live one, and glued or mangled lines are how keys get forgotten. So this reader
//! looks for the key's own bytes: base64 text of either alphabet, with whatever an editor, a terminal or a wrong
//! encoding may have put between, as far as the blob's own length fields say that it goes.

use std::ops::Range;

use super::base64::{self, is_space, tolerant_value};
use super::edit::DISABLED;
use super::file::{KeyFile, Line};
use super::key::{Algorithm, Key, WORDS};
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
        self.lines()
            .filter(|line| needle.may_be_in(line.raw()))
            .flat_map(|line| needle.places(line, rules))
            .collect()
    }
}

/// A key, prepared for searching.
#[derive(Debug)]
pub struct Needle<'a> {
    key: &'a Key,
    start: [u8; 8],
    /// The values of the characters of its text, but for a last one that says less than six bits.
    values: Vec<u8>,
    /// How much of the blob is the name of its type, its length included.
    named: usize,
    /// Where the content of the blob's last field begins.
    last: usize,
}

impl<'a> Needle<'a> {
    /// Makes ready to look for `key`.
    pub fn new(key: &'a Key) -> Self {
        let blob = key.blob();
        let text = base64::encode(blob);
        let mut start = [0; 8];
        start.copy_from_slice(&text.as_bytes()[..8]);
        let values = text.bytes().take(blob.len() * 8 / 6).filter_map(tolerant_value).collect();
        let mut ends = field_starts(blob);
        let named = ends.next().map_or(0, |first| 4 + first.1);
        Self { key, start, values, named, last: ends.last().map_or(named, |last| last.0) }
    }

    /// Whether the key can stand in this line, in whatever spelling. Most lines are dismissed without being decoded: the next
    /// key of the same type differs in the content of its last field, which has one spelling only; what differs before may be another
    /// spelling of the same key, and has to be read.
    pub fn may_be_in(&self, raw: &[u8]) -> bool {
        memchr::memchr_iter(self.start[0], raw).any(|start| self.may_begin(&raw[start..]))
    }

    fn may_begin(&self, raw: &[u8]) -> bool {
        let mut text = raw.iter().filter(|&&byte| !is_filler(byte)).map_while(|&byte| tolerant_value(byte));
        for (at, expected) in self.values.iter().enumerate() {
            match text.next() {
                // Cut short.
                None => return false,
                Some(value) if value == *expected => {}
                // No name is as long as the first three bytes of its length would make it: this is the middle of something.
                Some(_) if at < 4 => return false,
                Some(value) => {
                    // The first bit that differs; a value has six.
                    let bit = at * 6 + (value ^ expected).leading_zeros() as usize - 2;
                    let byte = bit / 8;
                    return byte < self.last && (byte >= self.named || self.is_named_in(raw));
                }
            }
        }
        true
    }

    /// Whether another name of the key's type stands in this text, which sshd takes for the same.
    fn is_named_in(&self, raw: &[u8]) -> bool {
        let mut decoder = Decoder::default();
        let values = raw.iter().filter(|&&byte| !is_filler(byte)).map_while(|&byte| tolerant_value(byte));
        let mut bytes = values.filter_map(|value| decoder.take(value));
        let mut length = [0; 4];
        length.iter_mut().zip(&mut bytes).for_each(|(place, byte)| *place = byte);
        let mut name = [0; 64];
        let name = usize::try_from(u32::from_be_bytes(length)).ok().and_then(|length| name.get_mut(..length));
        let Some(name) = name else { return false };
        name.iter_mut().zip(&mut bytes).for_each(|(place, byte)| *place = byte);
        let own = |target| Algorithm::from_inner(name, target) == Some(self.key.algorithm());
        [Target::OpenSsh9_2, Target::OpenSsh10_5].into_iter().any(own)
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

/// Where the content of each field of a blob begins, and how long it is: RFC 4251, section 5, `string`.
fn field_starts(blob: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (length, _) = blob.get(at..)?.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let start = at + 4;
        at = start.checked_add(length)?;
        Some((start, length))
    })
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

/// Puts bytes together from six bits each.
#[derive(Default)]
struct Decoder {
    pending: u32,
    bits: u32,
}

impl Decoder {
    fn take(&mut self, value: u8) -> Option<u8> {
        self.pending = self.pending << 6 | u32::from(value);
        self.bits += 6;
        self.bits.checked_sub(8).map(|rest| {
            self.bits = rest;
            (self.pending >> rest).to_be_bytes()[3]
        })
    }
}

/// The key whose base64 text begins at `start`, and where that text ends; at most `limit` bytes of blob are decoded.
fn key_at(raw: &[u8], start: usize, limit: usize) -> Option<(Key, usize)> {
    let mut blob = Vec::new();
    let mut ends = Vec::new();
    let mut decoder = Decoder::default();
    for (at, &byte) in raw.iter().enumerate().skip(start) {
        if is_filler(byte) {
            continue;
        }
        let Some(value) = tolerant_value(byte) else { break };
        if let Some(byte) = decoder.take(value) {
            blob.push(byte);
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

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    const TARGET: Target = Target::OpenSsh9_2;

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn rsa(name: &str, zeros: usize, last: u8) -> Vec<u8> {
        let number = |length: usize, end: u8| {
            string(&[vec![0; zeros + length % 2], vec![0xf1; length - 1], vec![end]].concat())
        };
        [string(name.as_bytes()), string(&[0, 1, 0, 1][1 - zeros.min(1)..]), number(257, last)].concat()
    }

    fn ed25519(name: &str, last: u8) -> Vec<u8> {
        [string(name.as_bytes()), string(&[vec![0x5a; 31], vec![last]].concat())].concat()
    }

    #[test]
    fn a_key_is_found_in_each_spelling_and_no_other_key_is() {
        let cases = [
            (
                rsa("ssh-rsa", 0, 7),
                vec![rsa("ssh-rsa", 0, 7), rsa("ssh-rsa", 3, 7), rsa("RSA", 0, 7), rsa("rsa", 1, 7)],
            ),
            (
                ed25519("ssh-ed25519", 7),
                vec![ed25519("ssh-ed25519", 7), ed25519("ED25519", 7), ed25519("ed25519", 7)],
            ),
        ];
        let others =
            [rsa("ssh-rsa", 0, 9), ed25519("ssh-ed25519", 9), ed25519("ED25519", 9), rsa("RSA", 2, 9)];
        for (blob, spellings) in &cases {
            let key = Key::from_blob(blob, TARGET).unwrap();
            let word = key.algorithm().name();
            for spelling in spellings {
                let line = format!("{word} {}", base64::encode(spelling));
                let found = KeyFile::parse(line.clone().into_bytes()).find(&key, TARGET);
                assert_eq!(found.len(), 1, "{line}");
                assert_eq!(found[0].place, Place::Entry, "{line}");
            }
            let text = base64::encode(blob);
            for text in [
                text.replace('+', "-").replace('/', "_"),
                text.bytes().map(char::from).flat_map(|c| [c, '\0']).collect(),
                text.bytes().map(char::from).flat_map(|c| [c, ' ', '\u{e9}']).collect(),
                format!("{}\t{}", &text[..40], &text[40..]),
                format!("AAAA{text}"),
            ] {
                let found = KeyFile::parse(format!("x {text}").into_bytes()).find(&key, TARGET);
                assert_eq!(found.len(), 1, "{text:?}");
            }
            for other in others.iter().filter(|other| Key::from_blob(other, TARGET).unwrap() != key) {
                let line = format!("{word} {}", base64::encode(other));
                assert!(KeyFile::parse(line.clone().into_bytes()).find(&key, TARGET).is_empty(), "{line}");
            }
            let same_type = others.iter().find(|other| other[..20] == blob[..20]).unwrap();
            assert!(
                !Needle::new(&key).may_be_in(base64::encode(same_type).as_bytes()),
                "that is read for nothing"
            );
        }
    }

    #[test]
    fn what_is_passed_over_unread_holds_no_key() {
        let mut tried = 0;
        for file in table::files() {
            let keys: Vec<Key> =
                file.lines().flat_map(|line| keys_in(line.raw())).map(|(_, key)| key).collect();
            for key in keys {
                let needle = Needle::new(&key);
                for line in file.lines() {
                    let places = needle.places(line, TARGET.into());
                    assert!(places.is_empty() || needle.may_be_in(line.raw()), "{line:?}");
                    tried += usize::from(!places.is_empty());
                }
            }
        }
        assert!(tried > 400, "{tried}");
    }
}
