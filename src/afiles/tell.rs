//! What is told while files move: JSON for programs, a line that moves on a terminal for people, notes for both.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use rrsync_rs::escape::Escaped;
use rrsync_rs::sha256::Sum;
use serde_json::{Map, Value, json};

use crate::common::json::put_bytes;

/// How often the line on a terminal moves.
const PACE: Duration = Duration::from_millis(100);

/// Something that has happened to a path.
#[derive(Debug, Clone, Copy)]
pub enum Deed<'a> {
    /// A file has come, or a symlink (which has no sum).
    Arrived {
        /// Bytes.
        bytes: u64,
        /// The sum of its content.
        sum: Option<Sum>,
    },
    /// A directory was made.
    Made,
    /// Its attributes were set, and nothing else.
    Attributes,
    /// A file has been sent.
    Sent {
        /// Bytes.
        bytes: u64,
    },
    /// It is gone.
    Removed,
    /// It has another name; the path is the new one.
    Moved {
        /// The old one.
        from: &'a [u8],
    },
    /// It was left out.
    Skipped {
        /// Why.
        why: &'a str,
    },
}

/// Tells it.
#[derive(Debug)]
pub struct Teller {
    json: bool,
    terminal: bool,
    /// What is followed, where it is one of several and nothing ends.
    label: Option<String>,
    /// Notes for the end.
    notes: RefCell<Vec<String>>,
    files: Cell<u64>,
    bytes: Cell<u64>,
    /// Of what has not arrived yet, so many have come.
    moving: Cell<u64>,
    /// Files and bytes that will come, where that is known.
    expected: Cell<Option<(u64, u64)>>,
    begun: Instant,
    shown: Cell<Option<Instant>>,
}

impl Teller {
    /// With `json`, one event a line on standard output. A line that moves only where standard error is a terminal.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            terminal: !json && io::stderr().is_terminal(),
            label: None,
            notes: RefCell::default(),
            files: Cell::new(0),
            bytes: Cell::new(0),
            moving: Cell::new(0),
            expected: Cell::new(None),
            begun: Instant::now(),
            shown: Cell::new(None),
        }
    }

    /// For something that does not end, and may be one of several: notes are printed at once, under this label.
    pub fn following(json: bool, label: &str) -> Self {
        Self { label: Some(label.to_owned()), terminal: false, ..Self::new(json) }
    }

    /// Tells how what is followed stands.
    pub fn state(&self, state: &str, detail: Option<&str>) {
        if self.json {
            let mut event = self.begun_event("state");
            event.insert("state".to_owned(), state.into());
            event.insert("detail".to_owned(), detail.into());
            return line(&Value::Object(event));
        }
        let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
        self.note(format!("{}{detail}", state.replace('-', " ")));
    }

    fn note(&self, note: String) {
        match &self.label {
            Some(label) => drop(writeln!(io::stderr(), "afiles: {label} {note}")),
            None => self.notes.borrow_mut().push(note),
        }
    }

    fn begun_event(&self, kind: &str) -> Map<String, Value> {
        let mut event = Map::new();
        event.insert("type".to_owned(), kind.into());
        if let Some(label) = &self.label {
            event.insert("of".to_owned(), label.clone().into());
        }
        event
    }

    /// How many files, and bytes in them, will come.
    pub fn expect(&self, files: u64, bytes: u64) {
        self.expected.set(Some((files, bytes)));
    }

    /// Whether somebody watches the line.
    pub fn is_watched(&self) -> bool {
        self.terminal
    }

    /// So many bytes have come of what has not arrived yet.
    pub fn moving(&self, bytes: u64) {
        self.moving.set(bytes);
        self.advance();
    }

    /// Tells of a path; `to` is the copy that it is in.
    pub fn tell(&self, path: &[u8], deed: Deed<'_>) {
        if let Deed::Arrived { bytes, .. } | Deed::Sent { bytes } = deed {
            self.files.set(self.files.get() + 1);
            self.bytes.set(self.bytes.get() + bytes);
            self.moving.set(self.moving.get().saturating_sub(bytes));
        }
        if self.json {
            return self.event(path, deed);
        }
        if let Deed::Skipped { why } = deed {
            self.note(format!("{}: left out: {why}", Escaped(path)));
        }
        self.advance();
    }

    /// What was done, in a line: `12 files, 3.4 MB in 0.5 s`.
    pub fn summary(&self) -> String {
        self.clear();
        let files = self.files.get();
        let word = if files == 1 { "file" } else { "files" };
        format!("{files} {word}, {} in {:.1} s", size(self.bytes.get()), self.begun.elapsed().as_secs_f64())
    }

    /// The notes that there are.
    pub fn notes(&self) -> Vec<String> {
        self.notes.take()
    }

    fn event(&self, path: &[u8], deed: Deed<'_>) {
        let kind = match deed {
            Deed::Arrived { .. } => "arrived",
            Deed::Made => "made",
            Deed::Attributes => "attributes",
            Deed::Sent { .. } => "sent",
            Deed::Removed => "removed",
            Deed::Moved { .. } => "moved",
            Deed::Skipped { .. } => "skipped",
        };
        let mut event = self.begun_event(kind);
        put_bytes(&mut event, "path", Some(path));
        let mut put = |name: &str, value: Value| drop(event.insert(name.to_owned(), value));
        match deed {
            Deed::Arrived { bytes, sum } => {
                put("bytes", bytes.into());
                put("sha256", json!(sum));
            }
            Deed::Sent { bytes } => put("bytes", bytes.into()),
            Deed::Made | Deed::Attributes | Deed::Removed => {}
            Deed::Moved { from } => put_bytes(&mut event, "from", Some(from)),
            Deed::Skipped { why } => put("why", why.into()),
        }
        line(&Value::Object(event));
    }

    fn advance(&self) {
        if !self.terminal || self.shown.get().is_some_and(|shown| shown.elapsed() < PACE) {
            return;
        }
        if self.begun.elapsed() < PACE * 5 {
            return;
        }
        self.shown.set(Some(Instant::now()));
        let bar = bar(self.files.get(), self.bytes.get() + self.moving.get(), self.expected.get());
        let speed = per_second(self.bytes.get() + self.moving.get(), self.begun.elapsed());
        drop(write!(io::stderr(), "\r\x1b[K{bar}, {speed}/s"));
    }

    /// Takes the line away.
    fn clear(&self) {
        if self.shown.take().is_some() {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }
}

/// How much of what is expected is there: by bytes, or by files where those are all empty.
fn bar(files: u64, bytes: u64, expected: Option<(u64, u64)>) -> String {
    match expected {
        Some((all, total)) if all > 0 => {
            let (part, whole) = if total > 0 { (bytes, total) } else { (files, all) };
            let filled = usize::try_from(u128::from(part.min(whole)) * 20 / u128::from(whole)).unwrap_or(0);
            format!("[{:<20}] {files}/{all} files, {} of {}", "#".repeat(filled), size(bytes), size(total))
        }
        _ => format!("{files} files, {}", size(bytes)),
    }
}

fn per_second(bytes: u64, time: Duration) -> String {
    let milliseconds = time.as_millis().max(1);
    size(u64::try_from(u128::from(bytes) * 1000 / milliseconds).unwrap_or(u64::MAX))
}

/// Prints one event. Nobody is left to tell when that fails.
pub fn line(event: &Value) {
    drop(writeln!(io::stdout(), "{}", crate::common::json::line(event)));
}

/// Bytes, as people say them.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut value = bytes as f64 / 1000.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"kB");
    while value >= 999.95
        && let Some(next) = units.next()
    {
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_what_has_come() {
        for (files, bytes, expected, says) in [
            (3, 1000, None, "3 files, 1.0 kB"),
            (0, 0, Some((0, 0)), "0 files, 0 B"),
            (1, 500, Some((4, 1000)), "[##########          ] 1/4 files, 500 B of 1.0 kB"),
            (1, 0, Some((4, 0)), "[#####               ] 1/4 files, 0 B of 0 B"),
            // A file that has grown since it was counted.
            (4, 2000, Some((4, 1000)), "[####################] 4/4 files, 2.0 kB of 1.0 kB"),
            (0, u64::MAX, Some((1, u64::MAX)), "[####################] 0/1 files, 18446.7 PB of 18446.7 PB"),
        ] {
            assert_eq!(bar(files, bytes, expected), says);
        }
        assert_eq!(per_second(3_000_000, Duration::from_secs(2)), "1.5 MB");
    }

    #[test]
    fn sizes_are_said_as_people_say_them() {
        for (bytes, says) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (5_368_709_120, "5.4 GB"),
            (u64::MAX, "18446.7 PB"),
        ] {
            assert_eq!(size(bytes), says);
        }
    }
}
