//! sshd's messages: in the journal, else in the files that syslog writes, with their times.
//!
//! The journal knows which process wrote a message, so there only root's sshd is believed. A file knows nothing: whoever may
//! write to syslog can put a login into it that never was. That can only make a key look used.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rrsync_rs::escape::Escaped;
use serde_json::Value;

use super::accepted::Accepted;

/// A message of sshd.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    /// When.
    pub(super) time: Timestamp,
    /// The login that it tells of, if it tells of one.
    pub(super) accepted: Option<Accepted<'a>>,
}

/// What is done with each message.
pub(super) type Note<'n> = &'n mut dyn FnMut(Seen<'_>);

/// The files of Debian and of Red Hat, with what logrotate makes of them.
const FILES: [&str; 2] = ["/var/log/auth.log", "/var/log/secure"];

/// Longer lines are no messages of sshd.
const MAX_LINE: u64 = 1 << 16;

/// Reads what there is in the usual places. Files that are not there or may not be read are passed over.
pub(super) fn usual(note: Note<'_>) {
    if journal(note) {
        return;
    }
    for path in FILES.into_iter().flat_map(rotated) {
        // What cannot be read is as good as not there; that nothing was found is said in the end.
        let _ = file(&path, note);
    }
}

/// `auth.log`, `auth.log.1`, `auth.log.2.gz`, …, as far as they are there.
fn rotated(path: &str) -> Vec<PathBuf> {
    let older = (1..100).flat_map(|number| ["", ".gz"].map(|end| format!("{path}.{number}{end}")));
    std::iter::once(path.to_owned()).chain(older).map(PathBuf::from).filter(|path| path.exists()).collect()
}

/// Reads a file of syslog lines; one whose name ends in `.gz` is unpacked by gzip(1).
pub(super) fn file(path: &Path, note: Note<'_>) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", Escaped::os(path));
    let file = File::open(path).map_err(failed)?;
    let written = file.metadata().and_then(|metadata| metadata.modified()).map_err(failed)?;
    let written = Timestamp::try_from(written).unwrap_or_else(|_| Timestamp::now());
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut gzip = Command::new("gzip");
        gzip.arg("-dc").stdin(file).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = gzip.spawn().map_err(failed)?;
        let read = child.stdout.take().map_or(Ok(()), |out| lines(out, written, note));
        let _ = child.kill();
        let _ = child.wait();
        return read.map_err(failed);
    }
    lines(file, written, note).map_err(failed)
}

fn lines(from: impl Read, written: Timestamp, note: Note<'_>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, from);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((time, message)) = message(text.trim_end(), written) {
            note(Seen { time, accepted: Accepted::read(message) });
        }
    }
}

/// The time and the message of a line that sshd wrote: `TIME HOST sshd[PID]: MESSAGE`.
fn message(line: &str, written: Timestamp) -> Option<(Timestamp, &str)> {
    // The host's name has no blank, and the first tag counts: what a message quotes stands behind it.
    let (head, message) = line.split_once("]: ")?;
    let (head, tag) = head.rsplit_once(' ')?;
    let (name, pid) = tag.split_once('[')?;
    let ours = matches!(name, "sshd" | "sshd-session") && pid.bytes().all(|byte| byte.is_ascii_digit());
    let (time, _host) = head.rsplit_once(' ')?;
    Some((moment(time, written)?, message)).filter(|_| ours)
}

/// `2026-11-20T12:00:00.123456+01:00`, or `Nov 20 12:00:00` by this machine's clock in the last year before `written`.
fn moment(text: &str, written: Timestamp) -> Option<Timestamp> {
    if let Ok(moment) = text.parse() {
        return Some(moment);
    }
    let zone = TimeZone::system();
    let year = written.to_zoned(zone.clone()).year();
    let in_year = |year: i16| {
        let text = format!("{year} {}", text.split_whitespace().collect::<Vec<_>>().join(" "));
        let civil = DateTime::strptime("%Y %b %d %H:%M:%S", text).ok()?;
        civil.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
    };
    // A day of grace, for clocks that were set.
    let latest = written.saturating_add(jiff::SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX);
    [year, year - 1].into_iter().filter_map(in_year).find(|moment| *moment <= latest)
}

/// Reads sshd's messages from the journal; `false` when there is none that this account may read.
fn journal(note: Note<'_>) -> bool {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=json", "--output-fields=MESSAGE,__REALTIME_TIMESTAMP"]);
    command.args(["_UID=0", "SYSLOG_IDENTIFIER=sshd", "+", "_UID=0", "SYSLOG_IDENTIFIER=sshd-session"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let mut any = false;
    if let Some(out) = child.stdout.take() {
        let mut reader = BufReader::with_capacity(1 << 16, out);
        let mut bytes = Vec::new();
        while reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
            any |= entry(&bytes, note).is_some();
            bytes.clear();
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    any
}

/// One entry of the journal. A message that is no text is a list of bytes there, and none of sshd's about a login.
fn entry(line: &[u8], note: Note<'_>) -> Option<()> {
    let entry: Value = serde_json::from_slice(line).ok()?;
    let microseconds: i64 = entry.get("__REALTIME_TIMESTAMP")?.as_str()?.parse().ok()?;
    let time = Timestamp::from_microsecond(microseconds).ok()?;
    let accepted = entry.get("MESSAGE").and_then(Value::as_str).and_then(Accepted::read);
    note(Seen { time, accepted });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "SHA256:25s8WBSp0KhPUopvzg0T/22n63+E867cDq2mYuqOuH4";

    #[test]
    fn lines_of_both_forms_and_of_sshd_only() {
        let login = format!("Accepted publickey for anna from 192.0.2.7 port 1 ssh2: ED25519 {ED}");
        let log = format!(
            "2026-11-20T12:00:00.5+00:00 host sshd[1]: {login}\n\
             2026-11-20T12:00:01+00:00 host sshd-session[2]: {login}\n\
             2026-11-20T12:00:02+00:00 host cron[3]: sshd[4]: {login}\n\
             2026-11-20T12:00:03+00:00 host sshd[5]: Invalid user x sshd[6]: {login} from 192.0.2.9\n\
             nonsense\n"
        );
        let mut seen = Vec::new();
        let written = "2026-11-21T00:00:00Z".parse().unwrap();
        lines(log.as_bytes(), written, &mut |one| seen.push((one.time.to_string(), one.accepted.is_some())))
            .unwrap();
        let expected = [
            ("2026-11-20T12:00:00.5Z", true),
            ("2026-11-20T12:00:01Z", true),
            ("2026-11-20T12:00:03Z", false),
        ];
        assert_eq!(seen, expected.map(|(time, accepted)| (time.to_owned(), accepted)));
    }

    #[test]
    fn a_time_without_a_year_is_in_the_last_one() {
        let year = |text: &str, written: &str| {
            let moment = moment(text, written.parse().unwrap())?;
            Some(moment.to_zoned(TimeZone::system()).year())
        };
        assert_eq!(year("Nov 20 12:00:00", "2026-11-25T00:00:00Z"), Some(2026));
        assert_eq!(year("Dec  1 12:00:00", "2026-11-25T00:00:00Z"), Some(2025));
        assert_eq!(year("Dec 31 23:00:00", "2027-01-02T00:00:00Z"), Some(2026));
        assert_eq!(year("yesterday", "2027-01-02T00:00:00Z"), None);
    }

    #[test]
    fn an_entry_of_the_journal() {
        let mut seen = Vec::new();
        let mut read =
            |line: &str| entry(line.as_bytes(), &mut |one| seen.push(one.accepted.is_some())).is_some();
        let login = format!("Accepted publickey for anna from 192.0.2.7 port 1 ssh2: ED25519 {ED}");
        assert!(read(&format!(r#"{{"__REALTIME_TIMESTAMP":"1794700000000000","MESSAGE":"{login}"}}"#)));
        assert!(read(r#"{"__REALTIME_TIMESTAMP":"1794700000000000","MESSAGE":[1,2]}"#));
        assert!(!read("{}"));
        assert!(!read("not json"));
        assert_eq!(seen, [true, false]);
    }
}
