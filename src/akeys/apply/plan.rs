//! What makes a key file what is declared: one step for each key that differs.

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::declared::{Declared, DeclaredKey, State};
use crate::akeys::lines::entry_grant;
use crate::akeys::relation;
use crate::authkeys::{Key, KeyFile, Line, Patch, Place, Reading, Target, key_line, keys_in};
use crate::common::exit::{Exit, Failure};

/// What is to be done about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// `add`, `change`, `enable`, `disable` or `remove`.
    pub(super) action: &'static str,
    /// The key.
    pub(super) key: Key,
    /// What stands behind it, escaped.
    pub(super) name: String,
    /// The line, in the file as it is; `None` for one that is added.
    pub(super) line: Option<usize>,
}

/// The steps, and the file after them.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the order of the declaration, then of the file.
    pub(super) steps: Vec<Step>,
    /// The whole change.
    pub(super) patch: Patch,
    /// Grants that an exclusive declaration leaves alone.
    pub(super) kept: Vec<String>,
}

/// Where a plan is made.
struct Making<'a> {
    file: &'a KeyFile,
    steps: Vec<Step>,
    patches: Vec<Patch>,
    new: Vec<Vec<u8>>,
}

impl Plan {
    /// Works out what makes `file` what is declared.
    pub(super) fn of(
        declared: &Declared,
        exclusive: bool,
        file: &KeyFile,
        layout: &Layout,
    ) -> Result<Self, Failure> {
        let mut making = Making { file, steps: Vec::new(), patches: Vec::new(), new: Vec::new() };
        for key in &declared.keys {
            match key.state {
                State::Present => making.present(key)?,
                State::Disabled => making.disabled(key)?,
                State::Absent => making.absent(&key.key, |_| true),
            }
        }
        let kept = if exclusive { making.nothing_else(declared, layout) } else { Vec::new() };
        let meet = || {
            Failure::new(Exit::Failed, "two declared keys stand in one line")
                .hint("mend that line first: akeys audit")
        };
        let changed = Patch::all(making.patches).ok_or_else(meet)?.applied(file);
        let added = changed
            .append(&making.new, Target::default())
            .map_err(|error| Failure::new(Exit::Failed, error))?;
        let after = added.applied(&changed);
        Ok(Self { steps: making.steps, patch: Patch::between(file.bytes(), after.bytes()), kept })
    }
}

impl Making<'_> {
    fn step(&mut self, action: &'static str, key: &Key, line: Option<Line<'_>>, comment: &[u8]) {
        let name = Escaped(comment).to_string();
        self.steps.push(Step { action, key: key.clone(), name, line: line.map(Line::number) });
    }

    /// One line that says what is declared, and no other with the key.
    fn present(&mut self, declared: &DeclaredKey) -> Result<(), Failure> {
        let key = &declared.key;
        let comment = declared.comment.as_deref().unwrap_or_default();
        let unwritable = |error| Failure::new(Exit::Failed, format!("{}: {error}", key.fingerprint()));
        let wanted = key_line(&declared.options, key, comment).map_err(unwritable)?;
        let found = self.file.find(key, Target::default());
        let first =
            |place| found.iter().find(|found| found.place == place).and_then(|f| self.file.line(f.line));
        let (entry, asleep) = (first(Place::Entry), first(Place::Disabled));
        let stays = entry.or(asleep).map(Line::number);
        self.absent(key, |line| Some(line.number()) != stays);
        match (entry, asleep) {
            (Some(line), _) => {
                let patch = changed(line, declared, &wanted)?;
                if !patch.is_none() {
                    self.step("change", key, Some(line), comment_of(line, comment));
                    self.patches.push(patch);
                }
            }
            (None, Some(line)) => {
                self.step("enable", key, Some(line), comment);
                self.patches.push(Patch::splice(line.span(), [&wanted, line.end()].concat()));
            }
            (None, None) => {
                self.step("add", key, None, comment);
                self.new.push(wanted);
            }
        }
        Ok(())
    }

    /// Every line of the key asleep.
    fn disabled(&mut self, declared: &DeclaredKey) -> Result<(), Failure> {
        for found in self.file.find(&declared.key, Target::default()) {
            let Some(line) = self.file.line(found.line) else { continue };
            if matches!(found.place, Place::Entry | Place::Dead) {
                let patch = self.file.disable(line.number(), Target::default());
                self.patches.push(patch.map_err(|error| Failure::new(Exit::Failed, error))?);
                self.step("disable", &declared.key, Some(line), comment_of(line, b""));
            }
        }
        Ok(())
    }

    /// No place of the key in the lines that `wanted` says yes to.
    fn absent(&mut self, key: &Key, wanted: impl Fn(Line<'_>) -> bool) {
        let removal = self.file.remove_key_where(key, Target::default(), wanted);
        if removal.patch.is_none() {
            return;
        }
        for removed in &removal.places {
            let line = self.file.line(removed.line);
            let comment = line.map(|line| comment_of(line, b"").to_vec()).unwrap_or_default();
            self.step("remove", key, line, &comment);
        }
        self.patches.push(removal.patch);
    }

    /// Every line with a key that is not declared goes, but for grants, which their policies declare.
    fn nothing_else(&mut self, declared: &Declared, layout: &Layout) -> Vec<String> {
        let is_declared = |key: &Key| declared.keys.iter().any(|declared| declared.key == *key);
        let mut kept = Vec::new();
        for line in self.file.lines() {
            let keys: Vec<Key> = match line.read(Target::default()) {
                Reading::Entry(entry) => vec![entry.key.clone()],
                Reading::Dead(_) => keys_in(line.raw()).into_iter().map(|(_, key)| key).collect(),
                Reading::Blank | Reading::Comment => continue,
            };
            let Some(key) = keys.first().filter(|_| !keys.iter().any(is_declared)) else { continue };
            if let Some(name) = entry_grant(line).filter(|name| layout.grant_file(name).exists()) {
                kept.push(format!("line {} stays: it is the grant {name}", line.number()));
            } else {
                self.step("remove", key, Some(line), comment_of(line, b""));
                self.patches.push(Patch::splice(line.span(), ""));
            }
        }
        kept
    }
}

/// What stands behind the key of a line; `otherwise` for a line that is no entry.
fn comment_of<'a>(line: Line<'a>, otherwise: &'a [u8]) -> &'a [u8] {
    match line.read(Target::default()) {
        Reading::Entry(entry) => entry.comment,
        _ => otherwise,
    }
}

/// What makes an entry mean what is declared: the option span and the comment, as far as they differ.
fn changed(line: Line<'_>, declared: &DeclaredKey, wanted: &[u8]) -> Result<Patch, Failure> {
    let wanted = KeyFile::parse(wanted.to_vec());
    let wanted = wanted.line(1).map(|line| line.read(Target::default()));
    let reading = line.read(Target::default());
    let (Some(have), Some(Reading::Entry(want))) = (reading.entry(), &wanted) else {
        return Ok(Patch::none());
    };
    let alone = KeyFile::parse(line.raw().to_vec());
    let mut patches = Vec::new();
    if !relation::same(&have.options, &want.options) {
        let options = alone.replace_options(1, &declared.options, Target::default());
        patches.push(options.map_err(|error| Failure::new(Exit::Failed, error))?);
    }
    if declared.comment.as_ref().is_some_and(|comment| comment.trim_ascii() != have.comment.trim_ascii()) {
        let end = line.content().len();
        let start = have.key_span.end.min(end);
        patches.push(Patch::splice(start..end, [b" ", want.comment].concat()));
    }
    let after = Patch::all(patches).unwrap_or_default().applied(&alone);
    if after == alone {
        return Ok(Patch::none());
    }
    Ok(Patch::splice(line.span(), after.into_bytes()))
}
