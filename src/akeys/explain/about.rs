//! `akeys explain LINE|FINGERPRINT`: one line of the key file, or every line with one key, in words.

use std::path::Path;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use serde_json::{Map, Value};

use crate::akeys::audit;
use crate::akeys::words::Which;
use crate::authkeys::{Entry, KeyFile, Line, Reading, keys_in};
use crate::common::exit::{Exit, Failure};
use crate::common::json::{ascii, put_bytes};
use crate::common::report::{Report, abbreviated, shortened, shown};

use super::login::Row;
use super::question::Question;
use super::{json, may, text};

/// Describes the lines that `which` means.
pub(super) fn run(
    which: &Which,
    path: &Path,
    bytes: Vec<u8>,
    question: &Question,
    as_json: bool,
    layout: &Layout,
) -> Result<Report, Failure> {
    let file = KeyFile::parse(bytes);
    let lines = find(which, &file, question)?;
    let found = audit::of_lines(&file, path, layout, question.rules.target);
    let findings = |line: Line<'_>| -> Vec<&audit::Told> {
        found.iter().filter(|finding| finding.line == Some(line.number())).collect()
    };
    if as_json {
        let lines = lines.into_iter().map(|line| object(line, question, layout, &findings(line))).collect();
        return Ok(Report::data(ascii(&Value::Array(lines))));
    }
    let mut report = Report::default();
    let name = shown(layout, path);
    for line in lines {
        report.line(format_args!("{name}:{}: {}", line.number(), headline(line, question)));
        for told in words(line, question, layout) {
            report.line(format_args!("  {}", abbreviated(layout, &told)));
        }
        for finding in findings(line) {
            report.line(format_args!("  ! {}", abbreviated(layout, &audit::one(finding))));
        }
    }
    Ok(report)
}

fn find<'a>(which: &Which, file: &'a KeyFile, question: &Question) -> Result<Vec<Line<'a>>, Failure> {
    match which {
        Which::Line(number) => file
            .line(*number)
            .map(|line| vec![line])
            .ok_or_else(|| Failure::new(Exit::NoMatch, format!("the file has {} lines", file.lines().len()))),
        Which::Fingerprint(fingerprint) => {
            // Also in a dead line or a comment: a key that is one keystroke from working is worth knowing.
            let has = |line: &Line<'_>| match line.read(question.rules) {
                Reading::Entry(entry) if entry.key.fingerprint() == *fingerprint => true,
                Reading::Blank => false,
                _ => keys_in(line.raw()).iter().any(|(_, key)| key.fingerprint() == *fingerprint),
            };
            let lines: Vec<Line<'_>> = file.lines().filter(has).collect();
            if lines.is_empty() {
                return Err(Failure::new(Exit::NoMatch, "no line holds that key").hint("akeys list"));
            }
            Ok(lines)
        }
    }
}

/// What kind of line it is, and whose.
fn headline(line: Line<'_>, question: &Question) -> String {
    match line.read(question.rules) {
        Reading::Blank => "a blank line".to_owned(),
        Reading::Comment => "a comment; sshd passes over it".to_owned(),
        Reading::Dead(_) => "DEAD; sshd passes over it".to_owned(),
        Reading::Entry(entry) => {
            let key = format!("{} {}", entry.key.algorithm(), entry.key.fingerprint());
            match entry.comment {
                b"" => key,
                comment => format!("{key} {}", Escaped(comment)),
            }
        }
    }
}

/// What the line means: the sentence, and when and from where it holds.
fn words(line: Line<'_>, question: &Question, layout: &Layout) -> Vec<String> {
    let reading = line.read(question.rules);
    let Reading::Entry(entry) = &reading else {
        let row = Row::new(line, &reading);
        let logged = row.logged.iter().map(|logged| format!("sshd logs: {logged}"));
        return row
            .column
            .iter()
            .map(|column| format!("column {column}: "))
            .zip(row.reason.iter())
            .map(|(column, reason)| column + reason)
            .chain(logged)
            .collect();
    };
    let mut words = vec![shortened(&may::sentence(&entry.options, layout, question.now)).into_owned()];
    if let Some(refusal) = entry.options.refusal(&question.context()).filter(|_| !unlimited(entry)) {
        words.push(format!("not now: {}", refusal.sshd_words(&question.context())));
    }
    words.extend(text::effects(&entry.options));
    words
}

/// Whether nothing about the login decides.
fn unlimited(entry: &Entry<'_>) -> bool {
    // The address of a login that nobody described says nothing about the list.
    entry.options.expiry.is_none() && entry.options.principals.is_none()
}

fn object(line: Line<'_>, question: &Question, layout: &Layout, findings: &[&audit::Told]) -> Value {
    let reading = line.read(question.rules);
    let mut row = json::row(&Row::new(line, &reading));
    let mut more = Map::new();
    if let Reading::Entry(entry) = &reading {
        more.insert("may".into(), may::sentence(&entry.options, layout, question.now).into());
        put_bytes(&mut more, "forced_command", entry.options.command.as_deref());
        more.insert("options".into(), json::options(&entry.options));
        more.insert("type".into(), entry.key.algorithm().name().into());
        more.insert("bits".into(), entry.key.bits().into());
        put_bytes(&mut more, "comment", Some(entry.comment));
    }
    more.insert("findings".into(), findings.iter().map(|finding| audit::object(finding)).collect());
    if let Some(row) = row.as_object_mut() {
        row.remove("matches");
        row.extend(more);
    }
    row
}
