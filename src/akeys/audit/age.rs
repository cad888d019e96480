//! How old a key is, as far as something says so: a date in its comment, or a kept content of the file that had it already.

use std::collections::HashMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rrsync_rs::layout::Layout;

use crate::akeys::safe_write;
use crate::akeys::used;
use crate::authkeys::{Entry, Key, KeyFile, Rules};

/// Which keys count as old.
#[derive(Debug)]
pub struct Old {
    /// Those that are from before this moment.
    before: Timestamp,
    now: Timestamp,
    /// When each key was in the file already.
    seen: HashMap<Key, Timestamp>,
}

impl Old {
    /// Keys that are older than `days`, by their comments and, for the account's own file, by what was kept of it.
    pub(super) fn than(days: u16, own: Option<&Layout>, rules: Rules, now: Timestamp) -> Self {
        let ago = SignedDuration::from_hours(24 * i64::from(days));
        let before = now.saturating_sub(ago).unwrap_or(Timestamp::MIN);
        let mut seen = HashMap::new();
        // Newest first, so that the oldest counts.
        for kept in own.into_iter().flat_map(safe_write::history) {
            let file = KeyFile::parse(kept.read().unwrap_or_default());
            for line in file.lines() {
                if let Some(entry) = line.read(rules).entry() {
                    seen.insert(entry.key.clone(), kept.until);
                }
            }
        }
        Self { before, now, seen }
    }

    /// Says that a key is old, if that is so.
    pub(super) fn judge(&self, entry: &Entry<'_>) -> Option<String> {
        let dated = date(entry.comment).and_then(|date| date.to_zoned(TimeZone::UTC).ok());
        let dated = dated.map(|zoned| zoned.timestamp()).filter(|moment| *moment <= self.now);
        let seen = self.seen.get(&entry.key).copied();
        if let Some(dated) = dated.filter(|moment| *moment < self.before) {
            return Some(format!("its comment says {}", used::day(dated)));
        }
        let seen = seen.filter(|moment| *moment < self.before)?;
        Some(format!("it was in the file on {} already", used::day(seen)))
    }
}

/// The first date in a comment: `2024-03-01` or `20240301`, with no digit beside it.
fn date(comment: &[u8]) -> Option<Date> {
    let words = comment.split(|byte| !byte.is_ascii_digit() && *byte != b'-');
    words.filter_map(|word| std::str::from_utf8(word).ok()).find_map(|word| {
        let word = word.trim_matches('-');
        let form = if word.contains('-') { "%Y-%m-%d" } else { "%Y%m%d" };
        let usual = matches!(word.len(), 8 | 10) && (word.starts_with("19") || word.starts_with("20"));
        usual.then(|| Date::strptime(form, word).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_in_a_comment() {
        for (comment, expected) in [
            ("me@home 2024-03-01", Some("2024-03-01")),
            ("deploy-20240301", Some("2024-03-01")),
            ("key_2024-03-01_old", Some("2024-03-01")),
            ("2024-13-01", None),
            ("120240301", None),
            ("user2024@host", None),
            ("31337-31337", None),
            ("18240301", None),
            ("", None),
        ] {
            assert_eq!(
                date(comment.as_bytes()).map(|date| date.to_string()).as_deref(),
                expected,
                "{comment}"
            );
        }
    }
}
