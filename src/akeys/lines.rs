//! The lines of a key file as the subcommands that change them see them: which grant they name, which keys they hold.

use rrsync_rs::escape::Escaped;
use rrsync_rs::name::GrantName;

use super::forced::{self, Forced};
use super::words::Which;
use crate::authkeys::{DISABLED, Key, KeyFile, Line, Reading, Target};
use crate::common::exit::{Exit, Failure};

/// What is in a line, for the report.
pub fn description(line: Line<'_>) -> String {
    let reading = line.read(Target::default());
    match (reading, mentioned_grant(line)) {
        (Reading::Entry(entry), Some(name)) => format!("{name} {}", entry.key.fingerprint()),
        (Reading::Entry(entry), None) => format!("{} {}", entry.key.fingerprint(), Escaped(entry.comment)),
        (Reading::Dead(_), Some(name)) => format!("{name}, a dead line"),
        (Reading::Dead(_), None) => "a dead line".to_owned(),
        (_, Some(name)) => format!("{name}, a disabled line"),
        (Reading::Comment, None) => "a comment".to_owned(),
        (Reading::Blank, None) => "a blank line".to_owned(),
    }
}

/// Advice for somebody who has named a line that is not there.
pub fn how_long(file: &KeyFile) -> String {
    match file.lines().len() {
        1 => "the file has one line: akeys list".to_owned(),
        lines => format!("the file has {lines} lines: akeys list"),
    }
}

/// The grant that a live line runs the gate for.
pub fn entry_grant(line: Line<'_>) -> Option<GrantName> {
    let reading = line.read(Target::default());
    match forced::read(reading.entry()?.options.command.as_deref()?) {
        Forced::Grant { name, .. } => Some(name),
        _ => None,
    }
}

/// The grant that a line runs the gate for, or would if it were not dead or disabled: then its text is all there is.
pub fn mentioned_grant(line: Line<'_>) -> Option<GrantName> {
    let text = match line.read(Target::default()) {
        Reading::Entry(_) => return entry_grant(line),
        Reading::Dead(_) => line.content(),
        Reading::Comment => line.content().strip_prefix(DISABLED)?,
        Reading::Blank => return None,
    };
    let marker = b"rrsync-rs --grant ";
    let start = text.windows(marker.len()).position(|window| window == marker)? + marker.len();
    let name = text[start..].split(|b| matches!(b, b'"' | b' ' | b'\t')).next()?;
    std::str::from_utf8(name).ok()?.parse().ok()
}

/// The key of a line that sshd uses.
pub fn key_of(line: Line<'_>) -> Option<Key> {
    line.read(Target::default()).entry().map(|entry| entry.key.clone())
}

/// The lines that sshd uses among those that `which` means.
pub fn entries<'a>(which: &Which, file: &'a KeyFile) -> Result<Vec<Line<'a>>, Failure> {
    let lines: Vec<Line<'a>> = match which {
        Which::Line(number) => {
            let line = file.line(*number).ok_or_else(|| {
                Failure::new(Exit::NoMatch, format!("there is no line {number}")).hint(how_long(file))
            })?;
            if key_of(line).is_none() {
                let message = format!("line {number} is {}: sshd does not use it", description(line));
                return Err(
                    Failure::new(Exit::NoMatch, message).hint("akeys list shows what each line holds")
                );
            }
            vec![line]
        }
        Which::Fingerprint(fingerprint) => file
            .lines()
            .filter(|line| key_of(*line).is_some_and(|key| key.fingerprint() == *fingerprint))
            .collect(),
    };
    if lines.is_empty() {
        return Err(Failure::new(Exit::NoMatch, "no line that sshd uses holds that key").hint("akeys list"));
    }
    Ok(lines)
}

/// How the words for key types start.
const KEY_WORDS: [&[u8]; 6] = [b"ssh-", b"ecds", b"sk-s", b"sk-e", b"rsa-", b"weba"];

/// The keys that a line holds, as far as its words go: what stands behind a broken option list is found as well.
pub fn keys_in(line: Line<'_>) -> Vec<Key> {
    if let Some(key) = key_of(line) {
        return vec![key];
    }
    let text = line.content();
    let starts = text.windows(4).enumerate().filter(|(_, word)| KEY_WORDS.contains(word));
    starts.filter_map(|(at, _)| Key::from_public_line(&text[at..], Target::default())).collect()
}
