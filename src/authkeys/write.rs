//! Writing options and lines that sshd reads back as they were meant.
//!
//! The quoting of `authorized_keys` cannot express everything: `\"` is its only escape, so a value cannot end in a
//! backslash, and nothing can hold a line end or a NUL byte. What cannot be written is refused here, never bent.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::dead::Dead;
use super::from::FromMatch;
use super::key::Key;
use super::options;
use super::read::{Rules, is_blank};

/// Why something cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// A line end or NUL byte in a value or comment.
    #[error("{0} has a line end or a NUL byte in it")]
    ControlByte(&'static str),
    /// A value that ends in a backslash.
    #[error("{0} ends in a backslash, which authorized_keys cannot express")]
    FinalBackslash(&'static str),
    /// An entry of `from` that sshd would misread.
    #[error("\"{0}\" cannot be an entry of from")]
    BadFrom(String),
    /// A list without entries.
    #[error("an empty list in from lets nobody in")]
    EmptyFrom,
    /// A moment that `expiry-time` cannot express.
    #[error("expiry-time reaches from 1970 to 9999")]
    BadMoment,
    /// The option text would kill its line.
    #[error("at column {0}")]
    BadOption(Dead),
    /// A blank outside the quotes of a value, which would end the options.
    #[error("a blank in the options, outside a value")]
    Blank,
}

/// The options of a line, in the order in which they were added. Only what sshd reads back can be in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OptionList(Vec<u8>);

impl OptionList {
    /// No options: the key may do everything.
    pub fn none() -> Self {
        Self::default()
    }

    /// `restrict`: nothing but the command. The start of every list that this project writes.
    pub fn restrict() -> Self {
        Self(b"restrict".to_vec())
    }

    /// Options as a person typed them.
    ///
    /// # Errors
    /// When the target would not read all of `text` as options.
    pub fn parse(text: &[u8], rules: impl Into<Rules>) -> Result<Self, Unwritable> {
        check("the option text", text, false)?;
        let parsed = options::parse(text, 0, rules.into()).map_err(Unwritable::BadOption)?;
        let end = parsed.items.last().map_or(0, |item| item.span.end);
        if text[end..].iter().any(|&byte| is_blank(byte)) {
            return Err(Unwritable::Blank);
        }
        Ok(Self(text.to_vec()))
    }

    /// Adds `from="…"`, a list of addresses, networks (`10.1.0.0/16`) and patterns.
    ///
    /// # Errors
    /// When the list is empty or an entry has a blank, a comma or a quote in it, or is a network with host bits.
    pub fn from<S: AsRef<str>>(self, entries: &[S]) -> Result<Self, Unwritable> {
        for entry in entries {
            let entry = entry.as_ref();
            let plain = entry.bytes().all(|byte| byte.is_ascii_graphic() && !b",\"\\[]".contains(&byte));
            if !plain || !FromMatch::is_valid(entry.as_bytes()) {
                return Err(Unwritable::BadFrom(entry.to_owned()));
            }
        }
        if entries.is_empty() {
            return Err(Unwritable::EmptyFrom);
        }
        let list: Vec<&str> = entries.iter().map(AsRef::as_ref).collect();
        self.value("from", list.join(",").as_bytes())
    }

    /// Adds `expiry-time="…Z"`, in whole seconds; the key works until `moment` has passed.
    ///
    /// # Errors
    /// When the year is not within 1970 to 9999.
    pub fn expires(self, moment: Timestamp) -> Result<Self, Unwritable> {
        if moment.as_second() <= 0 {
            return Err(Unwritable::BadMoment);
        }
        let civil = moment.to_zoned(TimeZone::UTC).datetime();
        let (hour, minute, second) = (civil.hour(), civil.minute(), civil.second());
        let date = format!("{:04}{:02}{:02}", civil.year(), civil.month(), civil.day());
        let midnight = (hour, minute, second) == (0, 0, 0);
        let time = if midnight { String::new() } else { format!("{hour:02}{minute:02}{second:02}") };
        // Without the Z, sshd would read the time in its own zone; OpenSSH before 9.1 knows no Z and drops the key.
        self.value("expiry-time", format!("{date}{time}Z").as_bytes())
    }

    /// Adds `command="…"`, the forced command, which sshd hands to the login shell.
    ///
    /// # Errors
    /// When the command ends in a backslash or has a line end or NUL byte in it.
    pub fn command(self, command: &[u8]) -> Result<Self, Unwritable> {
        self.value("command", command)
    }

    /// Adds a flag.
    #[must_use]
    pub fn flag(mut self, name: &'static str) -> Self {
        if !self.0.is_empty() {
            self.0.push(b',');
        }
        self.0.extend_from_slice(name.as_bytes());
        self
    }

    /// The options as they stand in a line.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds an option with a value. Whether sshd reads such a value is for [`OptionList::parse`] to say.
    ///
    /// # Errors
    /// When the quoting cannot express the value.
    pub fn value(self, name: &'static str, value: &[u8]) -> Result<Self, Unwritable> {
        check(name, value, true)?;
        let mut list = self.flag(name);
        list.0.extend_from_slice(b"=\"");
        for &byte in value {
            if byte == b'"' {
                list.0.push(b'\\');
            }
            list.0.push(byte);
        }
        list.0.push(b'"');
        Ok(list)
    }
}

/// A whole line, without its end: options, key, comment.
///
/// # Errors
/// When the comment has a line end or NUL byte in it.
pub fn key_line(options: &OptionList, key: &Key, comment: &[u8]) -> Result<Vec<u8>, Unwritable> {
    check("the comment", comment, false)?;
    let mut line = options.as_bytes().to_vec();
    if !line.is_empty() {
        line.push(b' ');
    }
    line.extend_from_slice(key.to_string().as_bytes());
    if !comment.is_empty() {
        line.push(b' ');
        line.extend_from_slice(comment);
    }
    Ok(line)
}

fn check(what: &'static str, text: &[u8], quoted: bool) -> Result<(), Unwritable> {
    if text.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        return Err(Unwritable::ControlByte(what));
    }
    if quoted && text.ends_with(b"\\") {
        return Err(Unwritable::FinalBackslash(what));
    }
    Ok(())
}
