//! The list for people: readable at 80 columns, in black and white, and by a screen reader.

use std::fmt::Write as _;
use std::io;

use jiff::Timestamp;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;

use super::Finding;
use super::survey::{KeyRow, Kind, PIECE, Row, Survey};
use crate::akeys::used;
use crate::common::parallel;
use crate::common::report::{shortened, shown};

/// The width that text is wrapped at.
const WIDTH: usize = 80;

/// The column at which everything but the line number starts.
const INDENT: usize = 6;

/// Prints the survey.
pub(super) fn print(
    survey: &Survey,
    layout: &Layout,
    colours: bool,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let paint = Paint(colours);
    write!(out, "{}: {}", shown(layout, &survey.path), counted(survey.keys, "key"))?;
    match survey.unrestricted {
        0 => writeln!(out)?,
        some => writeln!(out, ", {}", paint.alarm(&format!("{some} UNRESTRICTED")))?,
    }
    let begins = survey.uses.as_ref().and_then(|uses| uses.logins.begins);
    let rows = |piece| {
        let mut text = String::new();
        survey.piece(piece).for_each(|row| print_row(&row, &paint, begins, &mut text));
        text
    };
    parallel::in_order(survey.len(), PIECE, rows, |text| out.write_all(text.as_bytes()))?;
    for finding in &survey.findings {
        writeln!(out, "{}", paint.warning(&format!("! {}", finding.text)))?;
    }
    Ok(())
}

/// Prints one line; `begins` is where sshd's log does, where it was asked when keys were used.
pub(super) fn print_row(row: &Row, paint: &Paint, begins: Option<Timestamp>, out: &mut String) {
    // Writing to a String does not fail.
    let _ = match &row.kind {
        Kind::Blank | Kind::Comment => Ok(()),
        Kind::Disabled { key: None } => writeln!(out, "{:>4}  disabled", row.line),
        Kind::Disabled { key: Some(key) } => {
            writeln!(out, "{:>4}  {}", row.line, headline(&key.fingerprint, &key.algorithm, key.bits))
        }
        Kind::Dead { column, .. } => {
            writeln!(out, "{:>4}  {}", row.line, paint.alarm(&format!("DEAD at column {column}")))
        }
        Kind::Key(key) => {
            writeln!(out, "{:>4}  {}", row.line, headline(&key.fingerprint, &key.algorithm, key.bits))
        }
    };
    match &row.kind {
        Kind::Dead { findings, .. } => print_findings(out, findings, paint),
        Kind::Key(key) => print_key(out, key, paint, begins),
        Kind::Disabled { key: Some(key) } => {
            wrapped(out, &who(key.grant.as_ref(), &key.comment), "", &|line| line.to_owned());
            wrapped(out, "disabled", "", &|line| line.to_owned());
        }
        Kind::Blank | Kind::Comment | Kind::Disabled { key: None } => {}
    }
}

/// `SHA256:… ED25519 256`: at most 80 columns with the line number, whatever the key.
fn headline(fingerprint: &str, algorithm: &str, bits: usize) -> String {
    format!("{fingerprint}  {} {bits}", short(algorithm))
}

/// Whose a key is.
fn who(grant: Option<&GrantName>, comment: &str) -> String {
    match (grant, comment) {
        (Some(grant), comment) if comment.is_empty() || comment == format!("akeys:{grant}") => {
            grant.to_string()
        }
        (Some(grant), comment) => format!("{grant} ({comment})"),
        (None, "") => "no comment".to_owned(),
        (None, comment) => comment.to_owned(),
    }
}

fn print_key(out: &mut String, key: &KeyRow, paint: &Paint, begins: Option<Timestamp>) {
    let meaning = &key.meaning;
    wrapped(out, &who(meaning.grant.as_ref(), &key.comment), "", &|line| line.to_owned());
    if meaning.unrestricted {
        wrapped(out, &meaning.may.replacen("unrestricted", "UNRESTRICTED", 1), "", &|line| paint.alarm(line));
    } else {
        wrapped(out, &meaning.may, "", &|line| line.to_owned());
    }
    if let Some(words) = used::words(key.used.as_ref(), begins) {
        wrapped(out, &words, "", &|line| line.to_owned());
    }
    // The words say it already.
    print_findings(out, meaning.findings.iter().filter(|finding| finding.code != "unrestricted"), paint);
}

fn print_findings<'a>(out: &mut String, findings: impl IntoIterator<Item = &'a Finding>, paint: &Paint) {
    for finding in findings {
        let mark = if finding.code == "hint" { "  " } else { "! " };
        wrapped(out, &finding.text, mark, &|line| paint.warning(line));
    }
}

/// What `ssh-keygen -l` calls the kind of a key.
fn short(algorithm: &str) -> &str {
    match algorithm {
        "ssh-ed25519" => "ED25519",
        "ssh-rsa" => "RSA",
        "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => "ECDSA",
        "sk-ssh-ed25519@openssh.com" => "ED25519-SK",
        "sk-ecdsa-sha2-nistp256@openssh.com" => "ECDSA-SK",
        "ssh-dss" => "DSA",
        "ssh-mldsa44-ed25519@openssh.com" => "MLDSA44-ED25519",
        other => other,
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Prints `text` from the indent on, broken at blanks where a line would be too long; a single long word stays whole, so
/// that it can be copied.
fn wrapped(out: &mut String, text: &str, mark: &str, style: &dyn Fn(&str) -> String) {
    let room = WIDTH - INDENT - mark.len();
    let text = &*shortened(text);
    if text.is_ascii() && text.len() <= room {
        let _ = writeln!(out, "{:INDENT$}{}", "", style(&format!("{mark}{text}")));
        return;
    }
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    for (number, line) in lines.iter().enumerate() {
        let mark = if number == 0 { mark } else { &"  "[..mark.len()] };
        let _ = writeln!(out, "{:INDENT$}{}", "", style(&format!("{mark}{line}")));
    }
}

/// Colours, on a terminal that wants them. They repeat what the words say.
pub(super) struct Paint(pub(super) bool);

impl Paint {
    fn alarm(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(super) fn warning(&self, text: &str) -> String {
        self.paint("33", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_blanks_and_long_words_stay_whole() {
        let mut out = String::new();
        let word = "x".repeat(100);
        wrapped(&mut out, &format!("{} {word} y", "a ".repeat(50).trim_end()), "! ", &str::to_owned);
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].starts_with("      ! a a") && lines[0].len() <= WIDTH);
        assert!(lines[1].starts_with("        a"));
        assert_eq!(lines[2].trim(), word);
        assert_eq!(lines[3], "        y");
    }

    #[test]
    fn a_line_of_megabytes_does_not_flood_the_terminal() {
        let mut out = String::new();
        wrapped(&mut out, &"é".repeat(1 << 20), "", &str::to_owned);
        assert!(
            out.len() < 5000 && out.contains("é…") && out.ends_with(" (2097152 bytes)\n"),
            "{}",
            out.len()
        );
    }
}
