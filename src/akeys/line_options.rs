//! The end of a key and the places it may be used from, changed in its line: those options, and no other byte.

use super::bundle::FromList;
use super::grant::words::End;
use crate::authkeys::{Entry, KeyFile, Line, OptionList, Options, Target, Unwritable};

/// What is to be different in a key line.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineEdit<'a> {
    /// Another end; `None` leaves it.
    pub end: Option<End>,
    /// Other places; `None` leaves them.
    pub from: Option<&'a FromList>,
}

/// Why a line cannot be given other options.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The option cannot be written.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    /// The line cannot be edited.
    #[error(transparent)]
    Edit(#[from] crate::authkeys::EditError),
    /// sshd would read something else than what was meant.
    #[error("these options cannot be changed without changing something else")]
    Otherwise,
}

/// The line as a file of its own, with the edit made; every option but the two means what it meant.
pub fn edited(line: Line<'_>, edit: LineEdit<'_>) -> Result<KeyFile, LineError> {
    let before = KeyFile::parse(line.raw().to_vec());
    let mut after = before.clone();
    if let Some(from) = edit.from {
        let option = OptionList::none().from(from.patterns())?;
        after = with_option(&after, "from", Some(option.as_bytes()))?;
    }
    if let Some(end) = edit.end {
        let option = end.0.map(|end| OptionList::none().expires(end)).transpose()?;
        after = with_option(&after, "expiry-time", option.as_ref().map(OptionList::as_bytes))?;
    }
    for target in Target::OPENSSH {
        if rest_of(&before, target) != rest_of(&after, target) {
            return Err(LineError::Otherwise);
        }
    }
    Ok(after)
}

/// What must stay: the key and every option but the two.
fn rest_of(file: &KeyFile, target: Target) -> Option<(Vec<u8>, Options)> {
    let line = file.line(1)?;
    let reading = line.read(target);
    let entry = reading.entry()?;
    let options = Options { from: None, expiry: None, items: Vec::new(), ..entry.options.clone() };
    Some((entry.key.blob().to_vec(), options))
}

/// The line with `option` as the only one of its name; `None` leaves none.
fn with_option(file: &KeyFile, name: &str, option: Option<&[u8]>) -> Result<KeyFile, LineError> {
    let target = Target::default();
    let line = file.line(1).ok_or(LineError::Otherwise)?;
    let reading = line.read(target);
    let entry = reading.entry().ok_or(LineError::Otherwise)?;
    let text = option_text(line.raw(), entry, name, option);
    let options = OptionList::parse(&text, target)?;
    Ok(file.replace_options(1, &options, target)?.applied(file))
}

/// The options of a line with `option` in place of those of its name; a new one stands before the command.
fn option_text(raw: &[u8], entry: &Entry<'_>, name: &str, option: Option<&[u8]>) -> Vec<u8> {
    let Some(span) = &entry.options_span else { return option.unwrap_or_default().to_vec() };
    let mut text = raw[span.clone()].to_vec();
    let items = || entry.options.items.iter();
    let there = || items().filter(|item| item.name == name);
    // From the back, so that the spans in front still hold.
    for (index, item) in there().enumerate().collect::<Vec<_>>().into_iter().rev() {
        let (start, end) = (item.span.start - span.start, item.span.end - span.start);
        let (start, end, new) = match option {
            Some(option) if index == 0 => (start, end, option),
            _ if text.get(end) == Some(&b',') => (start, end + 1, &b""[..]),
            _ => (start.saturating_sub(1), end, &b""[..]),
        };
        text.splice(start..end, new.iter().copied());
    }
    if let Some(option) = option.filter(|_| there().next().is_none()) {
        match items().find(|item| item.name == "command") {
            Some(command) => {
                let at = command.span.start - span.start;
                text.splice(at..at, [option, b","].concat());
            }
            None => text.extend_from_slice(&[b",", option].concat()),
        }
    }
    text
}
