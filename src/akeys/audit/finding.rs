//! What an audit finds, and the basket it is put in.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::authkeys::KeyFile;
use crate::common::report::shortened;

use super::catalogue::{Code, Severity};

/// What is said of a finding. Most of it is the same for every line, and then takes no room.
type Words = Cow<'static, str>;

/// One thing that is wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which entry of the catalogue.
    pub code: Code,
    /// Where.
    pub at: At,
    /// What, in one line; already escaped.
    pub message: Words,
    /// What helps; already escaped.
    pub hint: Option<Words>,
    /// The edit that mends it, where one can without letting anybody in. Few have one, and there may be as many as lines.
    pub fix: Option<Box<Fix>>,
}

/// Where something was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// In the key file.
    Line {
        /// The number of the line, from 1.
        number: usize,
        /// The column in bytes, from 1.
        column: usize,
    },
    /// The key file as a whole, or its directory.
    File,
    /// Somewhere else.
    Path(PathBuf),
    /// sshd's configuration.
    Server,
}

/// An edit of the key file that mends a finding. None of them lets anybody in who was out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What it does, in words.
    pub deed: &'static str,
    /// The bytes of the file that it replaces.
    pub span: Range<usize>,
    /// What it puts there.
    pub with: Vec<u8>,
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.code.rule().severity
    }

    /// The line of the key file, if it is about one.
    pub fn line(&self) -> Option<usize> {
        match self.at {
            At::Line { number, .. } => Some(number),
            _ => None,
        }
    }
}

/// A finding as it is told: it needs neither the file nor the process that found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Which entry of the catalogue.
    pub code: Code,
    /// The line of the key file, from 1, if it is about one.
    pub line: Option<usize>,
    /// The column in bytes, from 1.
    pub column: Option<usize>,
    /// The same in characters, as other programs count.
    pub character: Option<usize>,
    /// Another file, or `sshd` for its configuration.
    pub path: Option<String>,
    /// What, in one line; already escaped.
    pub message: String,
    /// What helps; already escaped.
    pub hint: Option<String>,
    /// What `--fix` would do.
    pub fix: Option<Cow<'static, str>>,
}

impl Told {
    /// A finding about `file`.
    pub fn of(finding: Finding, file: &KeyFile) -> Self {
        let (line, column, path) = match &finding.at {
            At::Line { number, column } => (Some(*number), Some(*column), None),
            At::File => (None, None, None),
            At::Path(path) => (None, None, Some(path.to_string_lossy().into_owned())),
            At::Server => (None, None, Some(SERVER.to_owned())),
        };
        let character = line.zip(column).map(|(number, column)| {
            let raw = file.line(number).and_then(|line| line.raw().get(..column - 1));
            String::from_utf8_lossy(raw.unwrap_or_default()).chars().count() + 1
        });
        let (code, fix) = (finding.code, finding.fix.map(|fix| fix.deed.into()));
        let (message, hint) = (finding.message.into_owned(), finding.hint.map(Cow::into_owned));
        Self { code, line, column, character, path, message, hint, fix }
    }

    /// A finding about a line, of whoever has not the file.
    pub fn of_line(code: Code, line: usize, message: String) -> Self {
        let (line, first) = (Some(line), Some(1));
        Self { line, column: first, character: first, ..Self::of_account(code, message) }
    }

    /// A finding about an account.
    pub fn of_account(code: Code, message: String) -> Self {
        Self { code, line: None, column: None, character: None, path: None, message, hint: None, fix: None }
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.code.rule().severity
    }
}

/// Where a finding is that is about sshd's configuration.
pub const SERVER: &str = "sshd";

/// The findings that are severe enough to be told. The others are never even put into words, which is what makes a large
/// file cheap.
#[derive(Debug)]
pub struct Basket {
    least: Severity,
    findings: Vec<Finding>,
}

impl Basket {
    /// An empty one for findings from `least` on.
    pub fn new(least: Severity) -> Self {
        Self { least, findings: Vec::new() }
    }

    /// Another empty one for the same findings.
    pub(super) fn like(&self) -> Self {
        Self::new(self.least)
    }

    /// Whether a finding of this kind would be told.
    pub fn wants(&self, code: Code) -> bool {
        code.rule().severity >= self.least
    }

    /// Puts a finding in; `message` is asked only when it will be told.
    pub fn put<W: Into<Words>>(&mut self, code: Code, at: At, message: impl FnOnce() -> W) -> Put<'_> {
        if !self.wants(code) {
            return Put(None);
        }
        let message = short(message());
        self.findings.push(Finding { code, at, message, hint: None, fix: None });
        Put(self.findings.last_mut())
    }

    /// Takes over what was found in the file `elsewhere`, or in the same file.
    pub(super) fn take(&mut self, found: Self, elsewhere: Option<&Path>) {
        for mut finding in found.findings {
            if let (Some(path), At::Line { number, .. }) = (elsewhere, &finding.at) {
                finding.message = short(format!("line {number}: {}", finding.message));
                finding.at = At::Path(path.to_owned());
            }
            self.findings.push(finding);
        }
    }

    /// All of them, in the order of the file; what is about no line comes first.
    pub fn sorted(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| match finding.at {
            At::Line { number, column } => (number, column, finding.code),
            _ => (0, 0, finding.code),
        });
        self.findings
    }
}

fn short(words: impl Into<Words>) -> Words {
    let words = words.into();
    match shortened(&words) {
        Cow::Borrowed(_) => words,
        Cow::Owned(short) => short.into(),
    }
}

/// A finding that was just put in, to be completed.
pub struct Put<'a>(Option<&'a mut Finding>);

impl Put<'_> {
    /// Says what helps.
    pub fn hint(self, hint: impl Into<Words>) -> Self {
        self.hint_from(|| Some(hint))
    }

    /// Says what helps, if something does.
    pub fn hint_from<W: Into<Words>>(mut self, hint: impl FnOnce() -> Option<W>) -> Self {
        if let Some(finding) = &mut self.0 {
            finding.hint = hint().map(short);
        }
        self
    }

    /// Adds the edit that mends it.
    pub fn fix(mut self, deed: &'static str, span: Range<usize>, with: &[u8]) {
        if let Some(finding) = &mut self.0 {
            finding.fix = Some(Box::new(Fix { deed, span, with: with.to_vec() }));
        }
    }
}
