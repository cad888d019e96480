//! One login put to the model of sshd: the answer, with every line's part in it.

use crate::authkeys::{
    Context, DISABLED, Dead, Entry, Key, KeyFile, Line, Needs, Options, Reading, Refusal, Why,
};

use super::certificate::Certificate;
use super::question::Question;

/// What sshd would do.
pub(super) struct Login {
    /// The line that lets the key in.
    pub(super) line: Option<usize>,
    /// What that line allows.
    pub(super) options: Option<Options>,
    /// What a FIDO key's signature has to prove besides.
    pub(super) needs: Needs,
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
        if !key.algorithm().accepted_by_default() {
            let reason = format!(
                "sshd takes no {} keys unless its PubkeyAcceptedAlgorithms says so, and does not look at the file",
                key.algorithm()
            );
            return Self::closed(question, &file, &reason, key.fingerprint());
        }
        match &question.certificate {
            Some(certificate) if !certificate.is_for_users() => {
                Self::closed(question, &file, "this is a certificate for a host", key.fingerprint())
            }
            Some(certificate) => Self::by_certificate(question, &file, key, certificate),
            None => Self::by_key(question, &file, key, &question.context()),
        }
    }

    /// The answer to a key, or to some certificate of an authority.
    fn by_key(question: &Question, file: &KeyFile, key: &Key, context: &Context<'_>) -> Self {
        let answer = file.explain(key, context);
        let lines = file.lines().zip(answer.lines);
        let rows: Vec<Row> =
            lines.map(|(line, (_, why))| Row::judged(line, &why, key, answer.accepted_by, context)).collect();
        let accepting = answer.accepted_by.and_then(|number| file.line(number));
        let options =
            accepting.and_then(|line| line.read(question.rules).entry().map(|entry| entry.options.clone()));
        let matched = rows.iter().any(|row| row.matches);
        let reason = match (answer.accepted_by, matched) {
            (Some(_), _) => None,
            (None, true) => Some("every line with this key refuses it".to_owned()),
            (None, false) => Some("no line that sshd uses is for this key".to_owned()),
        };
        let needs = options.as_ref().map(|options| options.needs(key.algorithm())).unwrap_or_default();
        Self { line: answer.accepted_by, options, needs, reason, fingerprint: key.fingerprint(), rows }
    }

    /// The answer to a certificate, and to the key in it, which a client shows next.
    fn by_certificate(question: &Question, file: &KeyFile, key: &Key, certificate: &Certificate) -> Self {
        let context = question.context();
        let mut login = Self::by_key(question, file, key, &context);
        // A line of the authority that lets certificates in may not let in this one; then sshd goes on behind it.
        while let Some((number, options)) = login.line.zip(login.options.take()) {
            let Some(refusal) = certificate.refusal(&options, question) else {
                let merged = certificate.merged(&options);
                let subject = certificate.subject.as_ref();
                login.needs = subject.map(|key| merged.needs(key.algorithm())).unwrap_or_default();
                login.options = Some(merged);
                return login;
            };
            let from = file.line(number).map_or(0, |line| line.span().end);
            let rest = KeyFile::parse(file.bytes()[from..].to_vec());
            let mut behind = Self::by_key(question, &rest, key, &context);
            behind.rows.iter_mut().for_each(|row| row.line += number);
            login.rows.truncate(number);
            if let Some(row) = login.rows.last_mut() {
                row.reason = Some("it is for the authority, and refuses this certificate".to_owned());
                row.logged = Some(refusal);
            }
            login.rows.append(&mut behind.rows);
            login.line = behind.line.map(|line| line + number);
            login.options = behind.options;
            login.needs = behind.needs;
            login.reason =
                behind.reason.or(Some("every line of its authority refuses the certificate".to_owned()));
        }
        let Some(subject) = &certificate.subject else { return login };
        let bare = Self::by_key(question, file, subject, &Context { certificate: false, ..context });
        if bare.line.is_some() { bare } else { login }
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
        let reason = Some(reason.to_owned());
        Self { line: None, options: None, needs: Needs::default(), reason, fingerprint, rows }
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

    fn judged(line: Line<'_>, why: &Why, key: &Key, accepted: Option<usize>, context: &Context<'_>) -> Self {
        let reading = line.read(context.rules);
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
            Why::OtherUse if context.certificate => {
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
                row.logged = Some(refusal.sshd_words(context));
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
