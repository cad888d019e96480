//! The key lines of a grant, with another end and other places that they may be used from.

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;

use crate::akeys::line_options::{self, LineEdit};
use crate::akeys::lines::{entry_grant, key_of, mentioned_grant};
use crate::authkeys::{Key, KeyFile, Line, Patch, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::report::shown;

/// The key lines of a grant before and after.
#[derive(Debug, Default)]
pub(super) struct KeyLines {
    /// What changes in the file.
    pub(super) patch: Patch,
    /// The numbers of the lines that changed, with their options before and after, escaped.
    pub(super) changed: Vec<(usize, String, String)>,
    /// The keys of the live lines that the grant has.
    pub(super) keys: Vec<Key>,
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
            lines.keys.extend(key_of(line));
            let after = line_options::edited(line, edit).map_err(|error| {
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
        if self.keys.len() == 1 {
            self.from = (was_from, is_from);
        }
        if was != is {
            self.changed.push((before.number(), was, is));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::akeys::bundle::FromList;
    use crate::akeys::grant::words::End;

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
