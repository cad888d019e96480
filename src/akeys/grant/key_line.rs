//! The end of a key and the places it may be used from, changed in its line: those options, and no other byte.

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;

use super::words::End;
use crate::akeys::bundle::FromList;
use crate::akeys::lines::{entry_grant, mentioned_grant};
use crate::authkeys::{Entry, KeyFile, Line, OptionList, Options, Patch, Target, Unwritable};
use crate::common::exit::{Exit, Failure};
use crate::common::report::shown;

/// What is to be different in the key lines of a grant.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineEdit<'a> {
    /// Another end; `None` leaves it.
    pub(super) end: Option<End>,
    /// Other places; `None` leaves them.
    pub(super) from: Option<&'a FromList>,
}

/// The key lines of a grant before and after.
#[derive(Debug, Default)]
pub(super) struct KeyLines {
    /// What changes in the file.
    pub(super) patch: Patch,
    /// The numbers of the lines that changed, with their options before and after, escaped.
    pub(super) changed: Vec<(usize, String, String)>,
    /// How many live lines the grant has.
    pub(super) count: usize,
    /// Where the first one may be used from, before and after.
    pub(super) from: (Option<String>, Option<String>),
    /// Lines that name the grant and stay as they are.
    pub(super) others: Vec<usize>,
}

impl KeyLines {
    /// Works out what `edit` makes of the lines of `grant` in a file.
    pub(super) fn edited(
        before: &KeyFile,
        grant: &GrantName,
        edit: LineEdit<'_>,
        layout: &Layout,
    ) -> Result<Self, Failure> {
        let mut patches = Vec::new();
        let mut lines = Self::default();
        for line in before.lines() {
            let number = line.number();
            if entry_grant(line).as_ref() != Some(grant) {
                if mentioned_grant(line).as_ref() == Some(grant) {
                    lines.others.push(number);
                }
                continue;
            }
            lines.count += 1;
            let after = edited_line(line, edit).map_err(|error| {
                let file = shown(layout, &layout.authorized_keys());
                Failure::new(Exit::Failed, format!("{file}:{number}: {error}"))
            })?;
            lines.note(line, after.line(1));
            if after.bytes() != line.raw() {
                patches.push(Patch::splice(line.span(), after.bytes()));
            }
        }
        lines.patch = Patch::all(patches).unwrap_or_default();
        Ok(lines)
    }

    fn note(&mut self, before: Line<'_>, after: Option<Line<'_>>) {
        let facts = |line: Line<'_>| {
            let reading = line.read(Target::default());
            let entry = reading.entry();
            let span = entry.and_then(|entry| entry.options_span.clone()).unwrap_or_default();
            let from = entry.and_then(|entry| entry.options.from.as_ref());
            (Escaped(&line.raw()[span]).to_string(), from.map(|from| Escaped(from).to_string()))
        };
        let (was, was_from) = facts(before);
        let (is, is_from) = after.map(facts).unwrap_or_default();
        if self.count == 1 {
            self.from = (was_from, is_from);
        }
        if was != is {
            self.changed.push((before.number(), was, is));
        }
    }
}

/// Why a line cannot be given other options.
#[derive(Debug, thiserror::Error)]
enum LineError {
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

/// The line as a file of its own, with the edit made.
fn edited_line(line: Line<'_>, edit: LineEdit<'_>) -> Result<KeyFile, LineError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5";

    #[test]
    fn only_the_span_of_an_option_changes() {
        let end: End = "2028-01-01".parse().unwrap();
        let from: FromList = "10.0.0.0/8,!10.1.1.1".parse().unwrap();
        let keep = LineEdit { end: None, from: None };
        let ends = LineEdit { end: Some(end), ..keep };
        let never = LineEdit { end: Some(End(None)), ..keep };
        let comes = LineEdit { from: Some(&from), ..keep };
        for (edit, before, after) in [
            (ends, "restrict,C", "restrict,expiry-time=\"20280101Z\",C"),
            (ends, "C,restrict", "expiry-time=\"20280101Z\",C,restrict"),
            (ends, "expiry-time=\"20270101Z\",C", "expiry-time=\"20280101Z\",C"),
            (ends, "Expiry-Time=\"20270101\",C,expiry-time=\"202601011200\"", "expiry-time=\"20280101Z\",C"),
            (never, "restrict,expiry-time=\"20270101Z\",C", "restrict,C"),
            (never, "C,expiry-time=\"20270101Z\"", "C"),
            (never, "restrict,C", "restrict,C"),
            (comes, "restrict,from=\"a,b\\\"\",C", "restrict,from=\"10.0.0.0/8,!10.1.1.1\",C"),
            (comes, "C", "from=\"10.0.0.0/8,!10.1.1.1\",C"),
            (keep, "C", "C"),
        ] {
            let line = |options: &str| {
                let options = options.replace('C', "command=\"/b/rrsync-rs --grant a.b\"");
                format!("# top\n\t{options}  {KEY}\tnote \u{fc}\r\n# end").into_bytes()
            };
            let layout = Layout::new("/home/u").unwrap();
            let file = KeyFile::parse(line(before));
            let lines = KeyLines::edited(&file, &"a.b".parse().unwrap(), edit, &layout).unwrap();
            let got = lines.patch.applied(&file).into_bytes();
            assert_eq!(String::from_utf8(got), String::from_utf8(line(after)), "{before}");
            assert_eq!(lines.changed.len(), usize::from(before != after), "{before}");
        }
    }
}
