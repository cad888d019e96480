//! One login put to the model of sshd: the answer, with every line's part in it.

use crate::authkeys::{DISABLED, Dead, Entry, Key, KeyFile, Line, Options, Reading, Refusal, Why};

use super::question::Question;

/// What sshd would do.
pub(super) struct Login {
    /// The line that lets the key in.
    pub(super) line: Option<usize>,
    /// What that line allows.
    pub(super) options: Option<Options>,
    /// Why sshd would not look at the file, or why no line of it lets the key in.
    pub(super) reason: Option<String>,
    /// The fingerprint of the key asked about.
    pub(super) fingerprint: String,
    /// Every line of the file.
    pub(super) rows: Vec<Row>,
}

/// The part of one line.
pub(super) struct Row {
    /// Its number, from 1.
    pub(super) line: usize,
    /// What it is for sshd.
    pub(super) kind: Kind,
    /// Whether sshd comes to it and finds the key in it, also when it then refuses.
    pub(super) matches: bool,
    /// Why it is not the line that lets the key in; `None` for that line, blank ones and plain comments.
    pub(super) reason: Option<String>,
    /// What sshd writes to its log about it.
    pub(super) logged: Option<String>,
    /// What was probably meant.
    pub(super) hint: Option<String>,
    /// Where in the line, in bytes from 1, sshd gives up on it.
    pub(super) column: Option<usize>,
    /// The key in it.
    pub(super) fingerprint: Option<String>,
}

/// What a line is for sshd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A key that it uses.
    Key,
    /// A comment.
    Comment,
    /// Nothing.
    Blank,
    /// What it passes over although it is neither.
    Dead,
}

impl Kind {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Comment => "comment",
            Self::Blank => "blank",
            Self::Dead => "dead",
        }
    }
}

impl Login {
    /// Puts `question` to the file `bytes`.
    pub(super) fn put(question: &Question, bytes: Vec<u8>) -> Self {
        let file = KeyFile::parse(bytes);
        let Some(key) = &question.key else {
            return Self::closed(question, &file, "no key was asked about", String::new());
        };
        if !question.key_known {
            let reason = format!("this sshd knows no {} keys", key.algorithm());
            return Self::closed(question, &file, &reason, key.fingerprint());
        }
        let context = question.context();
        let answer = file.explain(key, &context);
        if answer.algorithm_off {
            let reason = format!(
                "sshd takes no {} keys unless its PubkeyAcceptedAlgorithms says so, and does not look at the file",
                key.algorithm()
            );
            return Self::closed(question, &file, &reason, key.fingerprint());
        }
        let lines = file.lines().zip(answer.lines);
        let rows: Vec<Row> = lines
            .map(|(line, (_, why))| Row::judged(line, &why, key, answer.accepted_by, question))
            .collect();
        let options = answer
            .accepted_by
            .and_then(|number| file.line(number))
            .and_then(|line| line.read(question.rules).entry().map(|entry| entry.options.clone()));
        let matched = rows.iter().any(|row| row.matches);
        let reason = match (answer.accepted_by, matched) {
            (Some(_), _) => None,
            (None, true) => Some("every line with this key refuses it".to_owned()),
            (None, false) => Some("no line that sshd uses is for this key".to_owned()),
        };
        Self { line: answer.accepted_by, options, reason, fingerprint: key.fingerprint(), rows }
    }

    /// The answer when sshd does not come to look at the file.
    fn closed(question: &Question, file: &KeyFile, reason: &str, fingerprint: String) -> Self {
        let row = |line: Line<'_>| {
            let mut row = Row::new(line, &line.read(question.rules));
            if row.kind == Kind::Key {
                row.reason = Some("sshd does not look at it".to_owned());
            }
            row
        };
        let rows = file.lines().map(row).collect();
        Self { line: None, options: None, reason: Some(reason.to_owned()), fingerprint, rows }
    }
}

impl Row {
    /// The row of a line that has no part in the answer.
    pub(super) fn new(line: Line<'_>, reading: &Reading<'_>) -> Self {
        let mut row = Self {
            line: line.number(),
            kind: Kind::Blank,
            matches: false,
            reason: None,
            logged: None,
            hint: None,
            column: None,
            fingerprint: None,
        };
        match reading {
            Reading::Blank => {}
            Reading::Comment => {
                row.kind = Kind::Comment;
                row.reason = line.raw().starts_with(DISABLED).then(|| "disabled by akeys".to_owned());
            }
            Reading::Entry(entry) => {
                row.kind = Kind::Key;
                row.fingerprint = Some(entry.key.fingerprint());
            }
            Reading::Dead(dead) => {
                row.kind = Kind::Dead;
                row.died(dead);
            }
        }
        row
    }

    fn died(&mut self, dead: &Dead) {
        self.reason = Some(dead.reason.to_string());
        self.logged = dead.sshd_words().map(str::to_owned);
        self.hint = dead.reason.hint();
        self.column = Some(dead.column);
    }

    fn judged(line: Line<'_>, why: &Why, key: &Key, accepted: Option<usize>, question: &Question) -> Self {
        let reading = line.read(question.rules);
        let mut row = Self::new(line, &reading);
        let own = reading.entry().is_some_and(|entry| entry.key == *key);
        match why {
            Why::Accepts => row.matches = true,
            Why::NotReached => {
                let accepted = accepted.unwrap_or_default();
                if let Some(entry) = reading.entry() {
                    row.reason = Some(if own {
                        format!("the same key{}; sshd stops at line {accepted}", loses(entry))
                    } else {
                        format!("another key, and sshd stops at line {accepted}")
                    });
                }
            }
            Why::OtherKey => row.reason = Some("another key".to_owned()),
            Why::OtherUse if question.certificate => {
                row.reason = Some("the key without cert-authority: it signs nothing here".to_owned());
            }
            Why::OtherUse => {
                row.reason = Some(
                    "the key is an authority here (cert-authority): it signs certificates and cannot log in"
                        .to_owned(),
                );
            }
            Why::Refuses(refusal) => {
                row.matches = true;
                row.reason = Some(refused(*refusal));
                row.logged = Some(refusal.sshd_words(&question.context()));
            }
            Why::Dead(_) | Why::Blank | Why::Comment => {}
        }
        row
    }
}

/// What of a line that sshd never reaches is lost.
fn loses(entry: &Entry<'_>) -> &'static str {
    if entry.options.items.is_empty() { "" } else { ", and its options count for nothing" }
}

/// Why a line refuses its own key, in more words than sshd has.
fn refused(refusal: Refusal) -> String {
    match refusal {
        Refusal::Expired(expiry) => match expiry.moment() {
            Some(moment) => format!("it expired at {moment}"),
            None => "it expired".to_owned(),
        },
        Refusal::Principals => {
            "principals without cert-authority: sshd refuses the key (its manual says ignored)".to_owned()
        }
        Refusal::BadFromList => "its from list is malformed, which keeps every client out".to_owned(),
        Refusal::NotFromHere => "its from list does not let this client in".to_owned(),
    }
}
