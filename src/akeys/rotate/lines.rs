//! The lines of the new key: those of the old one, with the other key in its place.

use rrsync_rs::layout::Layout;

use super::state::Rotation;
use crate::akeys::cli::Old;
use crate::akeys::lines::{entries, entry_grant, key_of as key_in};
use crate::akeys::present;
use crate::akeys::words::Which;
use crate::authkeys::{Key, KeyFile, Line, Patch, Target};
use crate::common::exit::{Exit, Failure};

/// What the first phase comes to.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// What changes in the file.
    pub(super) patch: Patch,
    /// The new lines, with the numbers that they get.
    pub(super) new: Vec<(usize, Vec<u8>)>,
    /// The numbers of those that are there already.
    pub(super) there: Vec<usize>,
}

impl Lines {
    /// Works out the lines of the new key in `file`, each behind the line whose options it has.
    pub(super) fn of(rotation: &Rotation, file: &KeyFile, layout: &Layout) -> Result<Self, Failure> {
        let mut lines = Self::default();
        let mut patches = Vec::new();
        let all: Vec<Vec<u8>> = olds(rotation, file).map(|line| with_new_key(line, rotation)).collect();
        for line in olds(rotation, file) {
            let new = with_new_key(line, rotation);
            // The lines of the new key may only be those that come from the old one's.
            let same = |there: Line<'_>| all.iter().any(|line| same_entry(there, line));
            present::line_of(file, &rotation.new, &new, same, layout)?;
            if let Some(there) = file.lines().find(|there| same_entry(*there, &new)) {
                lines.there.push(there.number());
                continue;
            }
            let (end, file_end) = (line.end(), file.line_end());
            let text = if end.is_empty() { [file_end, &new].concat() } else { [&new, end].concat() };
            let at = line.span().end;
            patches.push(Patch::splice(at..at, text));
            lines.new.push((line.number() + patches.len(), new));
        }
        lines.patch = Patch::all(patches).unwrap_or_default();
        Ok(lines)
    }
}

/// The key that is meant: of a line, by its fingerprint, or of a grant.
pub(super) fn key_of(old: &Old, file: &KeyFile) -> Result<Key, Failure> {
    let found: Vec<Line<'_>> = match old {
        Old::Which(which) => entries(which, file)?,
        Old::Grant(name) => file.lines().filter(|line| entry_grant(*line).as_ref() == Some(name)).collect(),
    };
    let mut keys: Vec<Key> = found.into_iter().filter_map(key_in).collect();
    keys.dedup();
    match (keys.pop(), keys.is_empty(), old) {
        (Some(key), true, _) => Ok(key),
        (Some(_), false, _) => {
            Err(Failure::new(Exit::Usage, "several keys are meant").hint("name one: SHA256:…"))
        }
        (None, _, Old::Grant(name)) => {
            Err(Failure::new(Exit::NoMatch, format!("no line runs the gate for {name}")).hint("akeys list"))
        }
        (None, ..) => Err(Failure::new(Exit::NoMatch, "no line holds that key").hint("akeys list")),
    }
}

impl Old {
    /// Whether it is this fingerprint, in so many words.
    pub(super) fn is_fingerprint(&self, fingerprint: &str) -> bool {
        matches!(self, Self::Which(Which::Fingerprint(own)) if own == fingerprint)
    }
}

/// Whether sshd uses the line for this key.
pub(super) fn is_of(line: Line<'_>, key: &Key) -> bool {
    key_in(line).is_some_and(|own| own == *key)
}

/// The numbers of the lines that the first phase wrote and nobody changed.
pub(super) fn written(rotation: &Rotation, file: &KeyFile) -> Vec<usize> {
    let new: Vec<Vec<u8>> = olds(rotation, file).map(|line| with_new_key(line, rotation)).collect();
    let ours = |line: &Line<'_>| new.iter().any(|new| line.content() == *new);
    file.lines().filter(ours).map(Line::number).collect()
}

/// Takes a key out, wherever it stands.
pub(super) fn without(key: &Key, file: &KeyFile) -> Patch {
    file.remove_key(key, Target::default()).patch
}

fn olds<'a>(rotation: &'a Rotation, file: &'a KeyFile) -> impl Iterator<Item = Line<'a>> {
    file.lines().filter(|line| is_of(*line, &rotation.old))
}

/// A line with the new key in the place of its own, and the new comment, unless the comment names a grant.
fn with_new_key(line: Line<'_>, rotation: &Rotation) -> Vec<u8> {
    let reading = line.read(Target::default());
    let Some(entry) = reading.entry() else { return Vec::new() };
    let (raw, key) = (line.content(), rotation.new.to_string());
    let (start, end) = (entry.key_span.start, entry.key_span.end.min(raw.len()));
    let keep = rotation.comment.is_empty() || entry_grant(line).is_some();
    let comment = if keep { raw[end..].to_vec() } else { [b" ", rotation.comment.as_bytes()].concat() };
    [&raw[..start], key.as_bytes(), &comment].concat()
}

/// Whether a line says what `wanted` says; the comment does not count.
fn same_entry(line: Line<'_>, wanted: &[u8]) -> bool {
    let file = KeyFile::parse(wanted.to_vec());
    let wanted = file.line(1).map(|line| line.read(Target::default()));
    let reading = line.read(Target::default());
    match (reading.entry(), wanted.as_ref().and_then(|reading| reading.entry())) {
        (Some(have), Some(wanted)) => {
            have.key == wanted.key && crate::akeys::relation::same(&have.options, &wanted.options)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEl6ZPlW4lzaXAVlzbxVev8C0lLTWq9/xDwuq24HTwJH";

    fn key(line: &str) -> Key {
        Key::from_public_line(line.as_bytes(), Target::default()).unwrap()
    }

    #[test]
    fn the_options_are_the_same_to_the_byte() {
        let layout = Layout::new("/home/u").unwrap();
        for (comment, before, after) in [
            ("new", "# a\n{ED} old\n# b\n", "# a\n{ED} old\n{NEW} new\n# b\n"),
            ("", "{ED} old\r\n", "{ED} old\r\n{NEW} old\r\n"),
            ("", "{ED}", "{ED}\n{NEW}"),
            (
                "new",
                "\t restrict,,command=\"a  b\"\t{ED}\told \n",
                "\t restrict,,command=\"a  b\"\t{ED}\told \n\t restrict,,command=\"a  b\"\t{NEW} new\n",
            ),
            (
                "new",
                "command=\"/b/rrsync-rs --grant a.b\" {ED} akeys:a.b\n",
                "command=\"/b/rrsync-rs --grant a.b\" {ED} akeys:a.b\ncommand=\"/b/rrsync-rs --grant a.b\" {NEW} akeys:a.b\n",
            ),
            (
                "",
                "from=\"10.0.0.0/8\" {ED} x\n{ED} y\n",
                "from=\"10.0.0.0/8\" {ED} x\nfrom=\"10.0.0.0/8\" {NEW} x\n{ED} y\n{NEW} y\n",
            ),
        ] {
            let text = |text: &str| text.replace("{ED}", ED).replace("{NEW}", OTHER);
            let rotation = Rotation::new(key(ED), key(OTHER), comment.as_bytes());
            let file = KeyFile::parse(text(before).into_bytes());
            let lines = Lines::of(&rotation, &file, &layout).unwrap();
            let made = lines.patch.applied(&file);
            assert_eq!(String::from_utf8_lossy(made.bytes()), text(after), "{before}");
            for (number, line) in &lines.new {
                assert_eq!(made.line(*number).unwrap().content(), line);
            }
            // Once more changes nothing, and it can be taken back.
            let again = Lines::of(&rotation, &made, &layout).unwrap();
            assert!(again.patch.is_none() && again.there.len() == lines.new.len(), "{before}");
            let back = made.remove_lines(&written(&rotation, &made)).unwrap().applied(&made);
            assert_eq!(
                back.lines().map(Line::content).collect::<Vec<_>>(),
                file.lines().map(Line::content).collect::<Vec<_>>()
            );
        }
    }
}
