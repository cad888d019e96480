//! `akeys add`: keys of people and machines, with exactly the options that were said.
//!
//! `given` reads the keys, `options` says what they may do. A line of somebody else's file may carry options, and neither
//! taking them over in silence nor dropping them in silence would be what its reader expects, so one of the two has to be
//! said. A key that is there already with other options is shown, never changed and never doubled.

mod given;
mod options;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::audit::misleading;
use super::cli::Add;
use super::effect;
use super::elsewhere;
use super::explain;
use super::failures::refuse_past;
use super::guard::Guard;
use super::present;
use super::relation;
use super::safe_write;
use crate::authkeys::{Key, KeyFile, Line, OptionList, Options, Patch, Reading, Target, key_line, keys_in};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::report::{Report, shown};

pub(super) use given::Given;
pub(super) use options::{checked, option_list};

/// A line that is to be there.
struct Wanted {
    key: Key,
    options: Options,
    line: Vec<u8>,
}

/// Runs it.
pub fn run(args: &Add, layout: &Layout) -> Result<Report, Failure> {
    let wanted = wanted(args)?;
    let guard = Guard::new(args.allow, layout);
    let change = |file: &KeyFile| added(file, &wanted, layout);
    let mut planned = safe_write::look(layout, &guard, change)?;
    if !args.dry_run && !planned.is_none() {
        let lock = Lock::acquire(layout)?;
        planned = safe_write::make(layout, &lock, &guard, planned, change)?;
    }
    let mut report = Report { notes: planned.notes, ..Report::default() };
    let verb = if args.dry_run { "would add" } else { "added" };
    let keys = shown(layout, &layout.authorized_keys());
    for (wanted, (number, new)) in wanted.iter().zip(&planned.what) {
        let verb = if *new { verb } else { "there already:" };
        report.line(format_args!("{verb} {keys}:{number}: {}", wanted.key.fingerprint()));
        report.line(format_args!("  {}", explain::sentence(&wanted.options, layout)));
        if *new && args.dry_run {
            report.line(format_args!("    {}", Escaped(&wanted.line)));
        }
    }
    let added = |key: &Key| wanted.iter().any(|wanted| wanted.key == *key);
    report.notes.extend(elsewhere::beside(added, layout));
    report.notes.extend(effect::notes(wanted.iter().map(|wanted| wanted.key.algorithm()), layout));
    if args.dry_run {
        report.note("nothing was added (--dry-run)");
    }
    Ok(report)
}

/// The lines that were asked for.
fn wanted(args: &Add) -> Result<Vec<Wanted>, Failure> {
    refuse_past(args.options.expires)?;
    let said = option_list(&args.options)?;
    let mut wanted: Vec<Wanted> = Vec::new();
    for given in Given::read(&args.key)? {
        let options = match (&given.options, said.as_bytes().is_empty()) {
            (Some(options), _) if args.take_options => checked(options)?,
            (Some(_), _) if !args.drop_options => return Err(given.has_options()),
            _ => said.clone(),
        };
        let comment = args.comment.as_ref().map(|comment| comment.as_encoded_bytes());
        let new = Wanted::new(given.key, &options, comment.unwrap_or(&given.comment))?;
        if wanted.iter().any(|have| have.key == new.key) {
            continue;
        }
        wanted.push(new);
    }
    Ok(wanted)
}

impl Wanted {
    fn new(key: Key, options: &OptionList, comment: &[u8]) -> Result<Self, Failure> {
        let another = |what: &str| {
            let message = format!("the comment \"{}\" {what}", Escaped(comment));
            Failure::new(Exit::Failed, message).hint("say another one: --comment TEXT")
        };
        if misleading(comment).is_some() {
            return Err(another("has control or direction characters in it"));
        }
        if !keys_in(comment).is_empty() {
            return Err(another("holds another key"));
        }
        let line =
            key_line(options, &key, comment).map_err(|error| another(&format!("is refused: {error}")))?;
        let file = KeyFile::parse(line.clone());
        let reading = file.line(1).map(|line| line.read(Target::default()));
        let Some(Reading::Entry(entry)) = reading else {
            return Err(Failure::new(
                Exit::Failed,
                "these options and this key make no line that sshd reads",
            ));
        };
        Ok(Self { key, options: entry.options, line })
    }
}

/// Works out what has to be added to `file`, and for each key in its order its line, and whether that is new.
fn added(file: &KeyFile, wanted: &[Wanted], layout: &Layout) -> Result<(Patch, Vec<(usize, bool)>), Failure> {
    let mut new: Vec<&[u8]> = Vec::new();
    let mut lines = Vec::new();
    for wanted in wanted {
        let same = |line: Line<'_>| {
            let reading = line.read(Target::default());
            reading.entry().is_some_and(|entry| relation::same(&entry.options, &wanted.options))
        };
        if let Some(number) = present::line_of(file, &wanted.key, &wanted.line, same, layout)? {
            lines.push((number, false));
        } else {
            new.push(&wanted.line);
            lines.push((file.lines().len() + new.len(), true));
        }
    }
    let patch = file.append(&new, Target::default()).map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok((patch, lines))
}
