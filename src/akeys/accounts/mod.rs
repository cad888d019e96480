//! Accounts as sshd sees them: which key files it reads for each, in which order, and what is in them.
//!
//! `own` looks at the account of this process. `all` asks for every account of the machine: root lets a process of each account
//! look, because whatever lies in a home is its owner's, and no symlink in it shall lead root anywhere.

mod all;
mod own;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::audit::{Severity, Told};
use super::list::{Finding, KeyRow, Kind, Row};

pub(in crate::akeys) use all::all;
pub(in crate::akeys) use own::own;

/// Accounts, and what is to be said about how they were looked at.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::akeys) struct Accounts {
    /// Those that were looked at.
    #[serde(rename = "accounts")]
    pub(in crate::akeys) views: Vec<View>,
    /// Where sshd's log begins; without it nothing is known about logins.
    pub(in crate::akeys) log_begins: Option<Timestamp>,
    /// What was not looked at, and why.
    pub(in crate::akeys) notes: Vec<String>,
}

/// One account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::akeys) struct View {
    /// Its name.
    pub(in crate::akeys) account: String,
    /// Its number.
    pub(in crate::akeys) uid: u32,
    /// Its home.
    pub(in crate::akeys) home: String,
    /// Why nobody logs in to it although it has keys.
    pub(in crate::akeys) closed: Option<String>,
    /// The files that sshd reads, in its order; the first line that lets a key in counts.
    pub(in crate::akeys) files: Vec<FileView>,
    /// Where else sshd takes keys from, behind the files.
    pub(in crate::akeys) more: Vec<String>,
    /// What is wrong with the account's place and with sshd's configuration.
    pub(in crate::akeys) findings: Vec<Told>,
    /// What could not be looked at.
    pub(in crate::akeys) notes: Vec<String>,
}

/// One key file of an account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::akeys) struct FileView {
    /// Where sshd looks for it.
    pub(in crate::akeys) file: String,
    /// Whether there is one.
    pub(in crate::akeys) present: bool,
    /// Why it cannot be read although it is there.
    pub(in crate::akeys) unread: Option<String>,
    /// How many keys it has.
    pub(in crate::akeys) keys: usize,
    /// How many of them have the whole account.
    pub(in crate::akeys) unrestricted: usize,
    /// Its lines.
    pub(in crate::akeys) lines: Vec<Row>,
    /// What the list says about the file as a whole.
    pub(in crate::akeys) about: Vec<Finding>,
    /// What the audit says.
    pub(in crate::akeys) findings: Vec<Told>,
}

impl FileView {
    /// What there is of it, in words.
    pub(in crate::akeys) fn state(&self) -> String {
        let plural = if self.keys == 1 { "" } else { "s" };
        match (&self.unread, self.present, self.unrestricted) {
            (Some(why), ..) => format!("cannot be read: {why}"),
            (None, false, _) => "not there".to_owned(),
            (None, true, 0) => format!("{} key{plural}", self.keys),
            (None, true, some) => format!("{} key{plural}, {some} with the whole account", self.keys),
        }
    }
}

impl View {
    /// Whether there is anything to show.
    pub(in crate::akeys) fn has_keys(&self) -> bool {
        !self.more.is_empty() || self.files.iter().any(|file| file.present)
    }

    /// Its keys, with the file and the line of each.
    pub(in crate::akeys) fn keys(&self) -> impl Iterator<Item = (&FileView, usize, &KeyRow)> {
        self.files.iter().flat_map(|file| {
            file.lines.iter().filter_map(move |row| match &row.kind {
                Kind::Key(key) => Some((file, row.line, &**key)),
                _ => None,
            })
        })
    }

    /// Its findings from `least` on, with the file that each is about.
    pub(in crate::akeys) fn findings(
        &self,
        least: Severity,
    ) -> impl Iterator<Item = (Option<&FileView>, &Told)> {
        let account = self.findings.iter().map(|finding| (None, finding));
        let files = self.files.iter().flat_map(|file| file.findings.iter().map(move |one| (Some(file), one)));
        account.chain(files).filter(move |(_, finding)| finding.severity() >= least)
    }
}
