//! The whole file, line by line, and what concerns no line: its own safety, and policies without a key.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;

use super::Finding;
use super::explain::{self, Meaning};
use crate::akeys::grants;
use crate::authkeys::{Algorithm, DISABLED, Entry, KeyFile, Reading, Target};
use crate::common::report::shown;

/// What a key file allows.
pub(in crate::akeys) struct Survey {
    /// The file.
    pub(in crate::akeys) path: PathBuf,
    /// Every line, blank ones too.
    pub(in crate::akeys) rows: Vec<Row>,
    /// What concerns no line.
    pub(in crate::akeys) findings: Vec<Finding>,
}

/// One line.
pub(in crate::akeys) struct Row {
    /// Its number, from 1.
    pub(in crate::akeys) line: usize,
    /// What it is.
    pub(in crate::akeys) kind: Kind,
}

/// What a line is.
pub(in crate::akeys) enum Kind {
    /// Nothing.
    Blank,
    /// A comment; `true` for a line that was disabled by us.
    Comment(bool),
    /// A line that sshd passes over.
    Dead {
        /// In bytes, from 1.
        column: usize,
        /// Why, and perhaps what was meant.
        findings: Vec<Finding>,
    },
    /// A key that may log in.
    Key(Box<KeyRow>),
}

/// A key that may log in.
pub(in crate::akeys) struct KeyRow {
    /// `SHA256:…`.
    pub(in crate::akeys) fingerprint: String,
    /// Its kind.
    pub(in crate::akeys) algorithm: Algorithm,
    /// Its size.
    pub(in crate::akeys) bits: usize,
    /// What follows it, escaped.
    pub(in crate::akeys) comment: String,
    /// What it allows.
    pub(in crate::akeys) meaning: Meaning,
}

impl Survey {
    /// Looks at `file`, the content of `path`. `whole_account` says that this is the account's own key file, so that
    /// a policy that no line uses is worth a word.
    pub(in crate::akeys) fn of(path: &Path, file: &KeyFile, whole_account: bool, layout: &Layout) -> Self {
        let now = Timestamp::now();
        let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut used = BTreeSet::new();
        let mut rows = Vec::new();
        for line in file.lines() {
            let kind = match line.read(Target::default()) {
                Reading::Blank => Kind::Blank,
                Reading::Comment => Kind::Comment(line.raw().starts_with(DISABLED)),
                Reading::Dead(dead) => {
                    let mut findings = vec![Finding::new("dead", dead.reason.to_string())];
                    findings.extend(dead.reason.hint().map(|hint| Finding::new("hint", hint)));
                    Kind::Dead { column: dead.column, findings }
                }
                Reading::Entry(entry) => {
                    let mut row = key_row(&entry, layout, now);
                    used.extend(row.meaning.grant.clone());
                    let first = *seen.entry(entry.key.blob().to_vec()).or_insert(line.number());
                    if first != line.number() {
                        let text = format!("the same key as line {first}, which sshd looks at first");
                        row.meaning.findings.push(Finding::new("same-key", text));
                    }
                    Kind::Key(Box::new(row))
                }
            };
            rows.push(Row { line: line.number(), kind });
        }
        let mut findings = loose_places(path, layout);
        if whole_account {
            findings.extend(orphans(&used, layout));
        }
        Self { path: path.to_owned(), rows, findings }
    }

    /// The lines that hold a key, with their numbers.
    pub(in crate::akeys) fn keys(&self) -> impl Iterator<Item = (usize, &KeyRow)> {
        self.rows.iter().filter_map(|row| match &row.kind {
            Kind::Key(key) => Some((row.line, &**key)),
            _ => None,
        })
    }
}

fn key_row(entry: &Entry<'_>, layout: &Layout, now: Timestamp) -> KeyRow {
    KeyRow {
        fingerprint: entry.key.fingerprint(),
        algorithm: entry.key.algorithm(),
        bits: entry.key.bits(),
        comment: Escaped(entry.comment).to_string(),
        meaning: explain::entry(entry, layout, now),
    }
}

/// The file and the directories above it, up to the home: sshd does not read a key file that others can write
/// (`safe_path()` in misc.c), and whoever can write one needs no key.
fn loose_places(path: &Path, layout: &Layout) -> Vec<Finding> {
    let mut findings = Vec::new();
    for place in path.ancestors() {
        let Ok(metadata) = fs::metadata(place) else { continue };
        let me = nix::unistd::geteuid().as_raw();
        let shown = shown(layout, place);
        if metadata.uid() != me && metadata.uid() != 0 {
            findings.push(Finding::new("owner", format!("{shown} is owned by somebody else")));
        }
        if metadata.mode() & 0o022 != 0 {
            let text = format!("{shown} can be written by group or others, so sshd may ignore every key");
            findings.push(Finding::new("writable", text));
        }
        if place == layout.home() || place.parent() == Some(Path::new("")) {
            break;
        }
    }
    findings
}

/// Policies that no key line uses. They allow nothing, and a later line of that name would bring them to life.
fn orphans(used: &BTreeSet<GrantName>, layout: &Layout) -> Vec<Finding> {
    let unused = grants::names(layout).into_iter().filter(|name| !used.contains(name));
    unused
        .map(|name| {
            let path = shown(layout, &layout.grant_file(&name));
            Finding::new("orphan", format!("{path} is a policy that no key line uses"))
        })
        .collect()
}
