//! The whole file, line by line, and what concerns no line: its own safety, and policies without a key.
//!
//! A file may have a hundred thousand lines, so the rows are made when they are asked for, and on all processors: only what
//! one line says about another is kept.

use std::borrow::Cow;
use std::collections::hash_map::{Entry as Slot, RandomState};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::hash::BuildHasher as _;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;
use serde::{Deserialize, Serialize};

use super::Finding;
use super::explain::{Explainer, Meaning};
use crate::akeys::grants;
use crate::akeys::lines::{entry_grant, mentioned_grant};
use crate::akeys::relation;
use crate::akeys::used::{Use, Uses};
use crate::authkeys::{DISABLED, Entry, KeyFile, Line, Reading, Target};
use crate::common::parallel;
use crate::common::report::shown;

/// How many lines are one piece of work.
pub(super) const PIECE: usize = 1024;

/// What a key file allows.
pub(in crate::akeys) struct Survey {
    /// The file.
    pub(in crate::akeys) path: PathBuf,
    /// Its lines.
    file: KeyFile,
    /// What concerns no line.
    pub(in crate::akeys) findings: Vec<Finding>,
    /// How many keys it has.
    pub(in crate::akeys) keys: usize,
    /// How many of them have the whole account.
    pub(in crate::akeys) unrestricted: usize,
    /// For a line whose key stands further up already: where.
    first: HashMap<usize, usize>,
    explainer: Explainer,
    /// When keys were used, where that was asked.
    pub(in crate::akeys) uses: Option<Uses>,
}

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::akeys) struct Row {
    /// Its number, from 1.
    pub(in crate::akeys) line: usize,
    /// What it is.
    #[serde(flatten)]
    pub(in crate::akeys) kind: Kind,
}

/// What a line is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(in crate::akeys) enum Kind {
    /// Nothing.
    Blank,
    /// A comment.
    Comment,
    /// A line that was disabled by us.
    Disabled {
        /// The key that it would let in.
        key: Option<Box<Asleep>>,
    },
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

/// A key that would be let in if its line were enabled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::akeys) struct Asleep {
    /// `SHA256:…`.
    pub(in crate::akeys) fingerprint: String,
    /// Its kind, as sshd names it.
    #[serde(rename = "type")]
    pub(in crate::akeys) algorithm: Cow<'static, str>,
    /// Its size.
    pub(in crate::akeys) bits: usize,
    /// What follows it, escaped.
    pub(in crate::akeys) comment: String,
    /// The policy that the line names.
    pub(in crate::akeys) grant: Option<GrantName>,
}

impl Asleep {
    /// The key of a disabled line; `None` where sshd would pass over it awake as well.
    fn of(line: Line<'_>) -> Option<Self> {
        let awake = KeyFile::parse(line.content().strip_prefix(DISABLED)?.to_vec());
        let reading = awake.line(1)?.read(Target::default());
        let entry = reading.entry()?;
        Some(Self {
            fingerprint: entry.key.fingerprint(),
            algorithm: entry.key.algorithm().name().into(),
            bits: entry.key.bits(),
            comment: Escaped(entry.comment).to_string(),
            grant: mentioned_grant(line),
        })
    }
}

/// A key that may log in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::akeys) struct KeyRow {
    /// `SHA256:…`.
    pub(in crate::akeys) fingerprint: String,
    /// Its kind, as sshd names it.
    #[serde(rename = "type")]
    pub(in crate::akeys) algorithm: Cow<'static, str>,
    /// Its size.
    pub(in crate::akeys) bits: usize,
    /// What follows it, escaped.
    pub(in crate::akeys) comment: String,
    /// What it allows.
    #[serde(flatten)]
    pub(in crate::akeys) meaning: Meaning,
    /// When it was last used, where that was asked and is known.
    pub(in crate::akeys) used: Option<Use>,
}

impl Survey {
    /// Looks at `file`, the content of `path`. `whole_account` says that this is the account's own key file, so that
    /// a policy that no line uses is worth a word.
    pub(in crate::akeys) fn of(path: &Path, file: KeyFile, whole_account: bool, layout: &Layout) -> Self {
        let now = Timestamp::now();
        let mut totals = Totals::default();
        let random = RandomState::new();
        let count = |piece| Totals::of(&file, piece, whole_account, now, &random);
        let _: Result<(), std::convert::Infallible> =
            parallel::in_order(file.lines().len(), PIECE, count, |piece| {
                totals.add(piece, &file);
                Ok(())
            });
        let mut findings = loose_places(path, layout);
        if whole_account {
            findings.extend(orphans(&totals.grants, layout));
        }
        Self {
            path: path.to_owned(),
            findings,
            keys: totals.keys,
            unrestricted: totals.unrestricted,
            first: totals.again,
            explainer: Explainer::new(layout, now),
            file,
            uses: None,
        }
    }

    /// The same, with when each key was last used.
    #[must_use]
    pub(in crate::akeys) fn with_uses(self, uses: Option<Uses>) -> Self {
        Self { uses, ..self }
    }

    /// How many lines there are.
    pub(in crate::akeys) fn len(&self) -> usize {
        self.file.lines().len()
    }

    /// Every line, blank ones too.
    pub(in crate::akeys) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.file.lines().map(|line| self.row(line))
    }

    /// The lines of one piece of the file.
    pub(super) fn piece(&self, piece: Range<usize>) -> impl Iterator<Item = Row> + '_ {
        piece.filter_map(|index| Some(self.row(self.file.line(index + 1)?)))
    }

    /// The lines that hold a key, with their numbers.
    pub(in crate::akeys) fn keys(&self) -> impl Iterator<Item = (usize, KeyRow)> + '_ {
        self.rows().filter_map(|row| match row.kind {
            Kind::Key(key) => Some((row.line, *key)),
            _ => None,
        })
    }

    fn row(&self, line: Line<'_>) -> Row {
        let kind = match line.read(Target::default()) {
            Reading::Blank => Kind::Blank,
            Reading::Comment if line.raw().starts_with(DISABLED) => {
                Kind::Disabled { key: Asleep::of(line).map(Box::new) }
            }
            Reading::Comment => Kind::Comment,
            Reading::Dead(dead) => {
                let mut findings = vec![Finding::new("dead", dead.reason.to_string())];
                findings.extend(dead.reason.hint().map(|hint| Finding::new("hint", hint)));
                Kind::Dead { column: dead.column, findings }
            }
            Reading::Entry(entry) => {
                let mut row = self.key_row(&entry);
                if let Some(first) = self.first.get(&line.number()) {
                    let text = format!("the same key as line {first}, which sshd looks at first");
                    row.meaning.findings.push(Finding::new("same-key", text));
                }
                Kind::Key(Box::new(row))
            }
        };
        Row { line: line.number(), kind }
    }

    fn key_row(&self, entry: &Entry<'_>) -> KeyRow {
        let fingerprint = entry.key.fingerprint();
        let meaning = self.explainer.entry(entry);
        KeyRow {
            used: self.uses.as_ref().and_then(|uses| uses.last(&fingerprint, meaning.grant.as_ref())),
            fingerprint,
            algorithm: entry.key.algorithm().name().into(),
            bits: entry.key.bits(),
            comment: Escaped(entry.comment).to_string(),
            meaning,
        }
    }
}

/// What is counted before the first row is made.
#[derive(Default)]
struct Totals {
    keys: usize,
    unrestricted: usize,
    /// Each key by a digest, and its line.
    digests: Vec<(u64, usize)>,
    /// The first line of each key.
    seen: HashMap<u64, usize>,
    again: HashMap<usize, usize>,
    grants: BTreeSet<GrantName>,
}

impl Totals {
    fn of(
        file: &KeyFile,
        piece: Range<usize>,
        with_grants: bool,
        now: Timestamp,
        random: &RandomState,
    ) -> Self {
        let mut totals = Self::default();
        for line in piece.filter_map(|index| file.line(index + 1)) {
            let Reading::Entry(entry) = line.read(Target::default()) else {
                // Enabled or mended, the line needs its policy again.
                if with_grants {
                    totals.grants.extend(mentioned_grant(line));
                }
                continue;
            };
            totals.keys += 1;
            let options = &entry.options;
            let whole = options.command.is_none() && !options.cert_authority;
            totals.unrestricted += usize::from(whole && !relation::void(options, now));
            totals.digests.push((random.hash_one(entry.key.blob()), line.number()));
            if with_grants && options.command.is_some() {
                totals.grants.extend(entry_grant(line));
            }
        }
        totals
    }

    fn add(&mut self, piece: Self, file: &KeyFile) {
        self.keys += piece.keys;
        self.unrestricted += piece.unrestricted;
        self.grants.extend(piece.grants);
        for (digest, line) in piece.digests {
            match self.seen.entry(digest) {
                Slot::Vacant(slot) => {
                    slot.insert(line);
                }
                // Two keys may share a digest.
                Slot::Occupied(first) if same_key(file, *first.get(), line) => {
                    self.again.insert(line, *first.get());
                }
                Slot::Occupied(_) => {}
            }
        }
    }
}

fn same_key(file: &KeyFile, a: usize, b: usize) -> bool {
    let key = |number| {
        let line = file.line(number)?;
        line.read(Target::default()).entry().map(|entry| entry.key.clone())
    };
    key(a) == key(b)
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

/// Policies that no key line names, a disabled or dead one neither. They allow nothing, and a later line of that name would bring them to life.
fn orphans(used: &BTreeSet<GrantName>, layout: &Layout) -> Vec<Finding> {
    let unused = grants::names(layout).into_iter().filter(|name| !used.contains(name));
    unused
        .map(|name| {
            let path = shown(layout, &layout.grant_file(&name));
            Finding::new("orphan", format!("{path} is a policy that no key line uses"))
        })
        .collect()
}
