//! One spelling for what has several: blanks, line ends, the names of options, the text of a key.
//!
//! A line is written anew from what sshd reads in it, and stays as it was unless the model reads the very same in the new
//! one: the same key, the same options, the same comment. A line that sshd does not use is never brought to life.

use crate::authkeys::{DISABLED, Entry, KeyFile, Line, OptionItem, Patch, Reading, Target};

/// What has a spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Aspect {
    /// Lines end in a line feed only, the last one too.
    Ends,
    /// One blank between options, key and comment, and none around them.
    Blanks,
    /// The names of options as sshd(8) writes them, without empty ones.
    Options,
    /// Key types by their names, keys without blanks or leading zeros inside.
    Keys,
}

impl Aspect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ends, Self::Blanks, Self::Options, Self::Keys];
}

/// What gives `line` its spelling; nothing where it has it, or where it would mean something else.
pub fn patch(line: Line<'_>, aspects: &[Aspect]) -> Patch {
    let new = spelled(line, aspects);
    if new == line.raw() || !same(line, &new) {
        return Patch::none();
    }
    Patch::splice(line.span(), new)
}

fn spelled(line: Line<'_>, aspects: &[Aspect]) -> Vec<u8> {
    let raw = line.raw();
    // What is asleep wakes as it was, and behind a NUL byte sshd sees nothing.
    if raw.starts_with(DISABLED) || raw.contains(&0) {
        return raw.to_vec();
    }
    let mut new = match line.read(Target::default()) {
        Reading::Entry(entry) => spelled_entry(line, &entry, aspects),
        _ => line.content().to_vec(),
    };
    new.extend_from_slice(if aspects.contains(&Aspect::Ends) { b"\n" } else { line.end() });
    new
}

/// An entry without its line end.
fn spelled_entry(line: Line<'_>, entry: &Entry<'_>, aspects: &[Aspect]) -> Vec<u8> {
    let content = line.content();
    let blanks = aspects.contains(&Aspect::Blanks);
    let mut out = Vec::with_capacity(content.len());
    let start = entry.options_span.as_ref().map_or(entry.key_span.start, |span| span.start);
    if !blanks {
        out.extend_from_slice(&content[..start]);
    }
    if let Some(span) = &entry.options_span {
        let options = if aspects.contains(&Aspect::Options) {
            named(&entry.options.items, content)
        } else {
            content[span.clone()].to_vec()
        };
        let gap: &[u8] = if blanks { b" " } else { &content[span.end..entry.key_span.start] };
        if !options.is_empty() {
            out.extend_from_slice(&options);
            out.extend_from_slice(gap);
        }
    }
    let end = entry.key_span.end.min(content.len());
    out.extend_from_slice(&key(&content[entry.key_span.start..end], entry, aspects));
    let behind = &content[end..];
    match (blanks, behind.trim_ascii()) {
        (false, _) => out.extend_from_slice(behind),
        (true, b"") => {}
        (true, comment) => {
            out.push(b' ');
            out.extend_from_slice(comment);
        }
    }
    out
}

/// The text of a key: its type and its base64.
fn key(text: &[u8], entry: &Entry<'_>, aspects: &[Aspect]) -> Vec<u8> {
    if aspects.contains(&Aspect::Keys) {
        return entry.key.to_string().into_bytes();
    }
    let word = text.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    if aspects.contains(&Aspect::Blanks) {
        return [&text[..word], b" ", text[word..].trim_ascii()].concat();
    }
    text.to_vec()
}

/// Options with their names as sshd(8) has them; their values stay as they are written.
fn named(items: &[OptionItem], content: &[u8]) -> Vec<u8> {
    let one = |item: &OptionItem| {
        let name = if item.name == "x11-forwarding" { "X11-forwarding" } else { item.name };
        let no = if item.negated { "no-" } else { "" };
        let value = &content[item.span.start + no.len() + name.len()..item.span.end];
        [no.as_bytes(), name.as_bytes(), value].concat()
    };
    items.iter().map(one).collect::<Vec<_>>().join(&b","[..])
}

/// Whether every sshd reads the same in the new line.
fn same(line: Line<'_>, new: &[u8]) -> bool {
    let file = KeyFile::parse(new.to_vec());
    let mut lines = file.lines();
    let (Some(new), None) = (lines.next(), lines.next()) else { return false };
    Target::OPENSSH.into_iter().all(|target| match (line.read(target), new.read(target)) {
        (Reading::Entry(before), Reading::Entry(after)) => {
            let bare =
                |entry: &Entry<'_>| crate::authkeys::Options { items: Vec::new(), ..entry.options.clone() };
            before.key == after.key
                && bare(&before) == bare(&after)
                && before.comment.trim_ascii() == after.comment.trim_ascii()
        }
        (Reading::Entry(_), _) | (_, Reading::Entry(_)) => false,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";

    fn formatted(text: &[u8], aspects: &[Aspect]) -> Vec<u8> {
        let file = KeyFile::parse(text.to_vec());
        let patches: Vec<Patch> = file.lines().map(|line| patch(line, aspects)).collect();
        Patch::all(patches).unwrap().applied(&file).into_bytes()
    }

    #[test]
    fn each_aspect_changes_its_own() {
        let all = &Aspect::ALL[..];
        for (before, aspects, after) in [
            ("\t ED \t me@home  x \r\n", all, "ED me@home  x\n"),
            ("\t ED \t me@home  x \r\n", &[Aspect::Ends], "\t ED \t me@home  x \n"),
            ("\t ED \t me@home  x \r\n", &[Aspect::Blanks], "ED me@home  x\r\n"),
            ("ED", all, "ED\n"),
            (
                ",RESTRICT,,no-x11-Forwarding,Command=\"A  b\",\tED",
                all,
                "restrict,no-X11-forwarding,command=\"A  b\" ED\n",
            ),
            (", ED\n", all, "ED\n"),
            ("RESTRICT  ED\n", &[Aspect::Options], "restrict  ED\n"),
            ("# a \r\n\r\n", all, "# a \n\n"),
            ("# akeys-disabled:  ED \r\n", all, "# akeys-disabled:  ED \r\n"),
            ("comand=\"x\"  ED \n", all, "comand=\"x\"  ED \n"),
            ("ED\0 junk  \n", all, "ED\0 junk  \n"),
            (
                "ssh-ed25519   AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf\n",
                &[Aspect::Blanks],
                "ED\n",
            ),
        ] {
            let text = |text: &str| text.replace("ED", ED).replace(&format!("{ED}-"), "ED-");
            let got = formatted(text(before).as_bytes(), aspects);
            assert_eq!(String::from_utf8_lossy(&got), text(after), "{before:?}");
        }
    }

    proptest! {
        #[test]
        fn the_meaning_stays_and_once_is_enough(
            pieces in prop::collection::vec(prop::sample::select(vec![
                ED, " ", "\t", "\r\n", "\n", "restrict", ",", "PTY", "command=\"a  b\"", "from=\"*\" ", "#", "x", "\0", "\u{fc}",
            ]), 0..16)
        ) {
            let before = pieces.concat().into_bytes();
            let after = formatted(&before, &Aspect::ALL);
            let (old, new) = (KeyFile::parse(before), KeyFile::parse(after.clone()));
            prop_assert_eq!(old.lines().len(), new.lines().len());
            for (old, new) in old.lines().zip(new.lines()) {
                prop_assert!(old == new || same(old, new.raw()));
            }
            prop_assert_eq!(formatted(&after, &Aspect::ALL), after);
        }
    }
}
