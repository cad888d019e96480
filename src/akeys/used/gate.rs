//! What the gate recorded about each grant of one account: `~/.local/state/akeys/audit.jsonl`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};

use jiff::Timestamp;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;
use rrsync_rs::trusted::{self, Kind};
use serde::{Deserialize, Serialize};

use super::Use;

/// The file is the account's, which may make it as long as it likes.
const MAX_FILE: u64 = 1 << 30;

/// Longer lines are no records.
const MAX_LINE: u64 = 1 << 20;

/// The requests to each grant, refused ones too: whoever asked had the key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateUses(BTreeMap<GrantName, Use>);

/// As much of a record as is needed.
#[derive(Deserialize)]
struct Line {
    time: String,
    grant: Option<String>,
    client: Option<String>,
}

impl GateUses {
    /// Reads the audit file; one that is missing, or that somebody else could have written, says nothing.
    pub fn read(layout: &Layout) -> Self {
        let open = trusted::open(&layout.audit_file(), Kind::File);
        open.map(|file| Self::collect(file.take(MAX_FILE))).unwrap_or_default()
    }

    /// The requests to a grant.
    pub fn of(&self, grant: &GrantName) -> Option<&Use> {
        self.0.get(grant)
    }

    fn collect(file: impl Read) -> Self {
        let mut uses = Self::default();
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut bytes = Vec::new();
        while reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
            uses.note(&bytes);
            bytes.clear();
        }
        uses
    }

    fn note(&mut self, line: &[u8]) -> Option<()> {
        let line: Line = serde_json::from_slice(line).ok()?;
        let (grant, time): (GrantName, Timestamp) = (line.grant?.parse().ok()?, line.time.parse().ok()?);
        // The records have it from sshd; the file is the account's, and may say anything.
        let from = line.client.unwrap_or_default();
        let from: String = from.chars().filter(char::is_ascii_graphic).take(64).collect();
        match self.0.get_mut(&grant) {
            Some(known) => known.add(time, from),
            None => drop(self.0.insert(grant, Use::one(time, from))),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_of_each_grant_counts() {
        let record = |time: &str, grant: &str, client: &str| {
            format!(
                r#"{{"time":"2026-11-{time}T00:00:00Z","grant":"{grant}","client":"{client}","verdict":"allow"}}"#
            )
        };
        let log = [
            record("20", "a.b", "192.0.2.7"),
            record("21", "a.b", "192.0.2.8"),
            record("19", "a.b", "192.0.2.9"),
            record("22", "c.d", "x\\u001b[31m"),
            "broken".to_owned(),
            r#"{"time":"2026-11-23T00:00:00Z","grant":null}"#.to_owned(),
        ];
        let uses = GateUses::collect(log.join("\n").as_bytes());
        let used = uses.of(&"a.b".parse().unwrap()).unwrap();
        assert_eq!(
            (used.count, used.from.as_str(), used.last.to_string().as_str()),
            (3, "192.0.2.8", "2026-11-21T00:00:00Z")
        );
        assert_eq!(uses.of(&"c.d".parse().unwrap()).unwrap().from, "x[31m");
        assert_eq!(uses.0.len(), 2);
    }
}
