//! `akeys grant set`: an installed key may do something else from now on.
//!
//! A policy and its key line are two files, and a crash may come between them. The key ends at the earlier of its two
//! ends, so whichever is written first, the key never works longer than it did before or shall from now on.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;
use rrsync_rs::grant::Access;
use rrsync_rs::layout::Layout;

use super::key_line::KeyLines;
use super::unreadable;
use super::words::{AccessWord, Switch};
use crate::akeys::cli::GrantSet;
use crate::akeys::forced::{self, Forced};
use crate::akeys::guard::Guard;
use crate::akeys::line_options::LineEdit;
use crate::akeys::policy::{Edit, Policy};
use crate::akeys::{difference, directory, elsewhere, gate, safe_write, sub_path};
use crate::authkeys::{KeyFile, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::moment::in_words;
use crate::common::report::{Report, shown};

/// Both halves of a grant, before and after.
struct Change {
    before: Policy,
    after: Policy,
    lines: KeyLines,
    /// Sub-paths that are named and not there.
    missing: Vec<PathBuf>,
}

/// Runs it.
pub(super) fn run(args: &GrantSet, layout: &Layout) -> Result<Report, Failure> {
    let edits = edits(args, layout)?;
    if edits.is_empty() && args.from.is_none() {
        return Err(Failure::new(Exit::Usage, "nothing is to be changed").hint("akeys grant set --help"));
    }
    let guard = Guard::new(args.allow, layout);
    let file = safe_write::read(layout)?.unwrap_or_default();
    let change = Change::make(args, &edits, &file, layout)?;
    let notes = safe_write::judge(layout, &guard, &file, &change.lines.patch)?;
    if args.dry_run {
        let mut report = change.told(layout);
        report.notes.extend(notes);
        report.note("nothing was written (--dry-run)");
        return Ok(report);
    }
    let lock = Lock::acquire(layout)?;
    let change = Change::make(args, &edits, &safe_write::read(layout)?.unwrap_or_default(), layout)?;
    if change.after.text != change.before.text {
        change.after.write(layout, &lock)?;
    }
    let written = safe_write::update(layout, &lock, &guard, |file| {
        Ok::<_, Failure>(KeyLines::edited(file, &args.grant, line_edit(args), layout)?.patch)
    });
    let mut report = change.told(layout);
    match written {
        Ok(done) => report.notes.extend(done.notes),
        Err(failure) => {
            if change.after.text != change.before.text {
                change.before.write(layout, &lock)?;
            }
            return Err(failure);
        }
    }
    Ok(report)
}

/// The changes of the policy, removals first, so that a workspace can give its name to another directory.
fn edits(args: &GrantSet, layout: &Layout) -> Result<Vec<Edit>, Failure> {
    let mut edits = Vec::new();
    edits.extend(args.tools.iter().map(|tools| Edit::Tools(tools.0.clone())));
    if let Some(end) = args.expires {
        if let Some(past) = end.0.filter(|end| *end <= Timestamp::now()) {
            return Err(Failure::new(
                Exit::Failed,
                format!("the key would have ended on {}", in_words(past)),
            )
            .hint("akeys remove takes a key back"));
        }
        edits.push(Edit::Expires(end.0));
    }
    edits.extend(args.learn.map(|learn| Edit::Learn(learn == Switch::On)));
    let removed =
        |sub: &crate::akeys::words::SubPath| Edit::RemovePath(sub.workspace.clone(), sub.path.clone());
    edits.extend(args.remove_path.iter().map(removed));
    edits.extend(args.remove_workspace.iter().cloned().map(Edit::RemoveWorkspace));
    for word in &args.add_workspace {
        let real = directory::resolved(&word.dir, layout)?;
        let name = word.name_or(&real).map_err(|error| Failure::new(Exit::Usage, error))?;
        let path = directory::as_below_home(&real, layout);
        edits.push(Edit::AddWorkspace { name, path, access: word.access.unwrap_or(Access::ReadOnly) });
    }
    edits.extend(args.access.iter().map(|word| Edit::Access {
        workspace: word.workspace.clone(),
        path: word.path.clone(),
        access: word.access,
    }));
    Ok(edits)
}

fn line_edit(args: &GrantSet) -> LineEdit<'_> {
    LineEdit { end: args.expires, from: args.from.as_ref() }
}

impl Change {
    fn make(args: &GrantSet, edits: &[Edit], keys: &KeyFile, layout: &Layout) -> Result<Self, Failure> {
        let before =
            Policy::open(&args.grant, layout).map_err(|error| unreadable(&error, &args.grant, layout))?;
        let mut programs = gates(keys, layout);
        programs.push(gate::own_directory());
        let binaries: Vec<&Path> = programs.iter().map(PathBuf::as_path).collect();
        let after = before.changed(edits, layout, &binaries)?;
        let lines = KeyLines::edited(keys, &args.grant, line_edit(args), layout)?;
        if args.from.is_some() && lines.keys.is_empty() {
            let keys = shown(layout, &layout.authorized_keys());
            return Err(Failure::new(
                Exit::NoMatch,
                format!("{keys}: no line runs the gate for {}", args.grant),
            ));
        }
        let missing = missing(&args.access, &after)?;
        Ok(Self { before, after, lines, missing })
    }

    /// What the key may do before and after, and the lines that differ.
    fn told(&self, layout: &Layout) -> Report {
        let mut report = Report::default();
        let words = |policy: &Policy, from: &Option<String>| {
            let from = from.as_ref().map_or_else(String::new, |from| format!("; from {from}"));
            format!("{}{from}", policy.grant.summary())
        };
        let name = &self.before.name;
        if self.before.text == self.after.text && self.lines.changed.is_empty() {
            report.line(format_args!("{name} may: {}", words(&self.after, &self.lines.from.1)));
            report.line("it is so already; nothing changed");
        } else {
            report.line(format_args!("{name} might: {}", words(&self.before, &self.lines.from.0)));
            report.line(format_args!("{name} may:   {}", words(&self.after, &self.lines.from.1)));
        }
        if self.before.text != self.after.text {
            report.line(format_args!("{}:", shown(layout, &layout.grant_file(name))));
            let texts = (self.before.text.as_bytes(), self.after.text.as_bytes());
            report.out.push_str(&difference::shown(texts.0, texts.1));
        }
        if !self.lines.changed.is_empty() {
            report.line(format_args!("{}:", shown(layout, &layout.authorized_keys())));
        }
        for (number, was, is) in &self.lines.changed {
            report.line(format_args!("  - {number}: {was}\n  + {number}: {is}"));
        }
        report.notes.extend(elsewhere::beside(|key| self.lines.keys.contains(key), layout));
        if self.lines.keys.is_empty() {
            report.note(format_args!("no key line runs the gate for {name}"));
        }
        for number in &self.lines.others {
            report.note(format_args!("line {number} names {name}, is no live line and stays as it is"));
        }
        for path in &self.missing {
            let path = shown(layout, path);
            report.note(format_args!("{path} is not there: nothing can be pushed into it until it is made"));
        }
        report
    }
}

/// The sub-paths that are named and not there. One that the gate would never use, because it lies behind a symlink, is
/// refused.
fn missing(words: &[AccessWord], after: &Policy) -> Result<Vec<PathBuf>, Failure> {
    let mut missing = Vec::new();
    for word in words.iter().filter(|word| !word.path.as_os_str().is_empty()) {
        let Some(workspace) = after.grant.workspaces.get(&word.workspace) else { continue };
        let path = workspace.path.join(&word.path);
        match sub_path::exists(&workspace.path, &word.path) {
            Ok(false) if word.access.may_write() => missing.push(path),
            Ok(_) => {}
            Err(error) => return Err(Failure::new(Exit::Failed, format!("{} {error}", Escaped::os(&path)))),
        }
    }
    Ok(missing)
}

/// The directories of the gates that the key lines run.
fn gates(file: &KeyFile, layout: &Layout) -> Vec<PathBuf> {
    let program = |line: crate::authkeys::Line<'_>| {
        let reading = line.read(Target::default());
        match forced::read(reading.entry()?.options.command.as_deref()?) {
            Forced::Grant { program, .. } => {
                forced::expanded(&program, layout)?.canonicalize().ok()?.parent().map(Path::to_owned)
            }
            _ => None,
        }
    };
    let mut found: Vec<PathBuf> = file.lines().filter_map(program).collect();
    found.sort();
    found.dedup();
    found
}
