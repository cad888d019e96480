//! One line as sshd reads it: `auth_check_authkey_line` and `sshkey_read`.
//!
//! The answer does not depend on the key of a login: sshd's own reader starts from that key's type, but a line of
//! another type can match neither way.

use std::ops::Range;

use super::base64;
use super::dead::{Dead, Reason};
use super::key::{Algorithm, Key, is_certificate_word};
use super::options::{self, Options};
use super::values::Zone;

/// Whose reader is modelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Target {
    /// OpenSSH 9.2, as in Debian 12; holds for 9.1 to 9.8.
    OpenSsh9_2,
    /// OpenSSH 10.5; what is not said to differ holds for 9.9 and later.
    #[default]
    OpenSsh10_5,
    /// Dropbear, from its source; an approximation where its parser is laxer than its manual.
    Dropbear,
}

impl Target {
    /// Debian 12's OpenSSH and the newest one: a line that is written must be one for whichever reads it.
    pub const OPENSSH: [Self; 2] = [Self::OpenSsh9_2, Self::OpenSsh10_5];

    /// Whether the target reads keys of this kind under this word.
    pub(super) fn knows(self, algorithm: Algorithm, word: &[u8]) -> bool {
        match (self, algorithm) {
            (_, Algorithm::MlDsa44Ed25519) => self == Self::OpenSsh10_5,
            (_, Algorithm::Dsa) => self == Self::OpenSsh9_2,
            (Self::Dropbear, _) => word == algorithm.name().as_bytes(),
            _ => true,
        }
    }
}

/// What the reading of a line depends on besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Whose reader.
    pub target: Target,
    /// The zone of an `expiry-time` that does not end in `Z`.
    pub zone: Zone,
}

impl From<Target> for Rules {
    /// The target's reader in UTC.
    fn from(target: Target) -> Self {
        Self { target, zone: Zone::UTC }
    }
}

/// What sshd makes of a line. Spans count bytes from the start of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<'a> {
    /// Nothing, or blanks only; also a line that starts with a NUL byte.
    Blank,
    /// `#` first, leading blanks aside.
    Comment,
    /// A key that may log in, with its options.
    Entry(Box<Entry<'a>>),
    /// Anything else: sshd passes over it in silence or nearly so.
    Dead(Dead),
}

/// A line that sshd uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where the options stand, without the blanks behind them; `None` when there are none.
    pub options_span: Option<Range<usize>>,
    /// What the options say.
    pub options: Options,
    /// From the start of the type word to the end of the base64 text.
    pub key_span: Range<usize>,
    /// The key.
    pub key: Key,
    /// What follows, without the line's end. Any bytes: escape them before showing them.
    pub comment: &'a [u8],
}

impl Reading<'_> {
    /// The entry, when the line is one.
    pub fn entry(&self) -> Option<&Entry<'_>> {
        match self {
            Self::Entry(entry) => Some(entry),
            _ => None,
        }
    }
}

/// Reads the line `raw`, which may end in `\n`.
pub(super) fn read_line(raw: &[u8], number: usize, rules: Rules) -> Reading<'_> {
    let nul = memchr::memchr(0, raw);
    // For sshd the line is a C string.
    let text = &raw[..nul.unwrap_or(raw.len())];
    let start = skip_blanks(text, 0);
    match text.get(start) {
        None | Some(b'\n') => return Reading::Blank,
        Some(b'#') => return Reading::Comment,
        Some(_) => {}
    }
    if rules.target == Target::Dropbear
        && let Some(dead) = refused_by_dropbear(raw, nul, number)
    {
        return Reading::Dead(dead);
    }
    match entry(text, start, rules) {
        Ok(entry) => Reading::Entry(Box::new(entry)),
        Err(dead) => Reading::Dead(dead),
    }
}

fn refused_by_dropbear(raw: &[u8], nul: Option<usize>, number: usize) -> Option<Dead> {
    match nul {
        _ if number > 300 => Some(Dead::at(0, Reason::TooManyLines)),
        _ if raw.len() > 3000 => Some(Dead::at(3000, Reason::LineTooLong)),
        Some(at) => Some(Dead::at(at, Reason::Nul)),
        None => None,
    }
}

fn entry(text: &[u8], start: usize, rules: Rules) -> Result<Entry<'_>, Dead> {
    let bare = match key_at(text, start, rules.target) {
        Ok(found) => return Ok(finish(text, None, Options::default(), found)),
        Err(miss) => miss,
    };
    let end = past_options(text, start).map_err(|quote| Dead::at(quote, Reason::UnterminatedQuote))?;
    let behind = skip_blanks(text, end);
    match key_at(text, behind, rules.target) {
        Ok(found) => {
            let options =
                options::parse(text, start, rules).map_err(|dead| Dead { key_read: true, ..dead })?;
            Ok(finish(text, Some(start..end), options, found))
        }
        Err(second) => Err(which(text, start, behind, bare, second, rules)),
    }
}

/// Which of two failed attempts to blame: the one that got furthest, and a fault in the options before a missing key.
fn which(text: &[u8], start: usize, behind: usize, bare: Dead, second: Dead, rules: Rules) -> Dead {
    if !matches!(bare.reason, Reason::NoKeyType(_)) {
        return bare;
    }
    if !matches!(second.reason, Reason::NoKeyType(_)) {
        return second;
    }
    let is_type = |word: &&[u8]| Algorithm::from_word(word, rules.target).is_some();
    let key_later = text[behind..].split(|&byte| is_blank(byte)).skip(1).any(|word| is_type(&word));
    match options::parse(text, start, rules) {
        Ok(_) if key_later => Dead::at(behind, Reason::BlankInOptions),
        Ok(_) => second,
        // A word that is not close to any option is rather a wrong key type.
        Err(Dead { reason: Reason::UnknownOption { meant: None, .. }, .. }) => bare,
        Err(fault) => fault,
    }
}

struct Found {
    span: Range<usize>,
    key: Key,
}

/// `sshkey_read`: a type word, blanks, base64 text up to the next blank.
fn key_at(text: &[u8], start: usize, target: Target) -> Result<Found, Dead> {
    let word_end = next_blank(&text[start..]);
    let shown = &text[start..start + word_end.unwrap_or_else(|| content_length(&text[start..]))];
    let no_type = || Dead::at(start, Reason::NoKeyType(shown[..shown.len().min(80)].to_vec()));
    let Some(length) = word_end else {
        let known = Algorithm::from_word(shown, target).is_some();
        return Err(if known { Dead::at(start + shown.len(), Reason::NoBlob) } else { no_type() });
    };
    let word_end = start + length;
    let Some(algorithm) = Algorithm::from_word(shown, target) else {
        let elsewhere = Algorithm::from_word(shown, Target::OpenSsh9_2)
            .or_else(|| Algorithm::from_word(shown, Target::OpenSsh10_5));
        return Err(match elsewhere {
            _ if is_certificate_word(shown) => Dead::at(start, Reason::Certificate),
            Some(_) => Dead::at(start, Reason::TypeNotKnownHere(shown.to_vec())),
            None => no_type(),
        });
    };
    let at = skip_blanks(text, word_end);
    let end = next_blank(&text[at..]).map_or(text.len(), |length| at + length);
    if content_length(&text[at..end]) == 0 {
        return Err(Dead::at(at, Reason::NoBlob));
    }
    let blob = base64::decode(&text[at..end]).map_err(|offset| Dead::at(at + offset, Reason::BadBase64))?;
    let key = Key::from_owned(blob, target).map_err(|bad| Dead::at(at, Reason::BadKey(bad)))?;
    if key.algorithm() != algorithm {
        let other = super::key::BadKey::OtherType { word: algorithm, inner: key.algorithm() };
        return Err(Dead::at(start, Reason::BadKey(other)));
    }
    Ok(Found { span: start..end, key })
}

fn finish(text: &[u8], options_span: Option<Range<usize>>, options: Options, found: Found) -> Entry<'_> {
    let comment = &text[skip_blanks(text, found.span.end)..];
    let comment = &comment[..content_length(comment)];
    // Without a comment the base64 text runs to the line's end, which sshd skips inside it.
    let end = found.span.start + content_length(&text[found.span.clone()]);
    Entry { options_span, options, key_span: found.span.start..end, key: found.key, comment }
}

/// `sshkey_advance_past_options`: the first blank outside quotes; `Err` is the offset of a quote never closed.
fn past_options(text: &[u8], start: usize) -> Result<usize, usize> {
    let mut quote = None;
    let mut at = start;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' if text.get(at + 1) == Some(&b'"') => at += 1,
            b'"' => quote = if quote.is_some() { None } else { Some(at) },
            _ if quote.is_none() && is_blank(byte) => break,
            _ => {}
        }
        at += 1;
    }
    match quote {
        Some(opened) => Err(opened),
        None => Ok(at),
    }
}

/// The length of `text` without a line end.
fn content_length(text: &[u8]) -> usize {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text).len()
}

pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Where the next blank is.
fn next_blank(text: &[u8]) -> Option<usize> {
    memchr::memchr2(b' ', b'\t', text)
}

fn skip_blanks(text: &[u8], from: usize) -> usize {
    from + text[from..].iter().take_while(|&&byte| is_blank(byte)).count()
}
