//! `akeys disable` and `akeys enable`: a key is put to sleep and woken, byte for byte.
//!
//! A disabled line is a comment to every sshd. Its policy stays, and so does its place: waking it brings back exactly the
//! bytes that were there.

use std::collections::BTreeSet;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;

use super::cli::KeyLines;
use super::elsewhere;
use super::guard::Guard;
use super::lines::{description, how_long, key_of, keys_in, mentioned_grant};
use super::{grants, safe_write};
use crate::authkeys::{DISABLED, Key, KeyFile, Line, Patch, Place, Reading, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::report::{Report, shown};

/// Which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// To sleep.
    Off,
    /// Awake.
    On,
}

/// What the file becomes.
#[derive(Debug, Default)]
struct Turned {
    /// The lines that change, with what they hold now.
    lines: Vec<(usize, String)>,
    /// The keys that are not let in any more.
    keys: Vec<Key>,
    /// What the user should know.
    notes: Vec<String>,
}

/// Runs it.
pub fn run(turn: Turn, args: &KeyLines, layout: &Layout) -> Result<Report, Failure> {
    let guard = Guard::new(args.allow, layout);
    let change = |file: &KeyFile| turned(turn, args, file);
    let mut planned = safe_write::look(layout, &guard, change)?;
    if !args.dry_run && !planned.is_none() {
        let lock = Lock::acquire(layout)?;
        planned = safe_write::make(layout, &lock, &guard, planned, change)?;
    }
    let (turned, mut notes) = (planned.what, planned.notes);
    notes.extend(turned.notes);
    if !turned.keys.is_empty() {
        notes.extend(elsewhere::notes(|key| turned.keys.contains(key), layout));
    }
    let mut report = Report { notes, ..Report::default() };
    let verb = match (turn, args.dry_run) {
        (Turn::Off, false) => "disabled",
        (Turn::On, false) => "enabled",
        (Turn::Off, true) => "would disable",
        (Turn::On, true) => "would enable",
    };
    let keys = shown(layout, &layout.authorized_keys());
    for (number, what) in &turned.lines {
        report.line(format_args!("{verb} {keys}:{number}: {what}"));
    }
    if turned.lines.is_empty() {
        report.line("it is so already; nothing changed");
    } else if args.dry_run {
        report.note("nothing was changed (--dry-run)");
    } else if turn == Turn::Off {
        report.note("sessions that are open now go on until they end");
    }
    Ok(report)
}

fn turned(turn: Turn, args: &KeyLines, file: &KeyFile) -> Result<(Patch, Turned), Failure> {
    let mut turned = Turned::default();
    let numbers = chosen(args, file, &mut turned.notes)?;
    if numbers.is_empty() {
        return Err(Failure::new(Exit::NoMatch, "there is no line of that").hint("akeys list"));
    }
    let mut patches = Vec::new();
    for number in numbers {
        let Some(line) = file.line(number) else { continue };
        let asleep = line.raw().starts_with(DISABLED);
        let patch = match (turn, asleep, line.read(Target::default())) {
            (Turn::Off, true, _) | (Turn::On, false, Reading::Entry(_) | Reading::Dead(_)) => continue,
            (Turn::Off, false, _) => file.disable(number, Target::default()),
            (Turn::On, ..) => file.enable(number),
        };
        let no_key = |error| Failure::new(Exit::NoMatch, error).hint("akeys list shows what each line holds");
        patches.push(patch.map_err(no_key)?);
        if turn == Turn::Off {
            turned.lines.push((number, description(line)));
            turned.keys.extend(key_of(line));
        }
    }
    let patch = Patch::all(patches).unwrap_or_default();
    if turn == Turn::On {
        // What a line holds is said of it when it is awake.
        let after = patch.applied(file);
        for woken in patch.touched(file).lines().filter(|after| after.was.is_none()) {
            turned.lines.push((woken.line.number(), description(woken.line)));
            note_what_woke(&after, woken.line.number(), &mut turned.notes);
        }
    }
    Ok((patch, turned))
}

/// Says where a line that woke is not what its owner may expect.
fn note_what_woke(file: &KeyFile, number: usize, notes: &mut Vec<String>) {
    let Some(line) = file.line(number) else { return };
    let Some(key) = key_of(line) else {
        notes.push(format!("line {number} is one that sshd passes over, as it was"));
        return;
    };
    if let Some(first) = file.lines().take(number - 1).find(|other| key_of(*other).as_ref() == Some(&key)) {
        notes.push(format!("line {} has the same key, and sshd looks at that one first", first.number()));
    }
}

/// The lines that are named, whether they change or not.
fn chosen(args: &KeyLines, file: &KeyFile, notes: &mut Vec<String>) -> Result<BTreeSet<usize>, Failure> {
    if let Some(federation) = &args.federation {
        let wanted = |name: &GrantName| {
            grants::parts(name).is_some_and(|(f, pod)| {
                f == *federation && args.pod.as_ref().is_none_or(|wanted| *wanted == pod)
            })
        };
        let named = |line: &Line<'_>| mentioned_grant(*line).is_some_and(|name| wanted(&name));
        return Ok(file.lines().filter(named).map(Line::number).collect());
    }
    if let Some(fingerprint) = &args.fingerprint {
        return by_fingerprint(file, fingerprint, notes);
    }
    let number = args.line.ok_or_else(|| Failure::new(Exit::Usage, "nothing is named"))?;
    if file.line(number).is_none() {
        let failure = Failure::new(Exit::NoMatch, format!("there is no line {number}"));
        return Err(failure.hint(how_long(file)));
    }
    Ok([number].into())
}

/// Every line that holds the key with this fingerprint, live, dead or disabled.
fn by_fingerprint(
    file: &KeyFile,
    fingerprint: &str,
    notes: &mut Vec<String>,
) -> Result<BTreeSet<usize>, Failure> {
    if !fingerprint.starts_with("SHA256:") {
        return Err(Failure::new(Exit::Usage, "a fingerprint starts with SHA256:, as akeys list shows it"));
    }
    let is_it = |key: &Key| key.fingerprint() == fingerprint.trim_end_matches('=');
    let Some(key) = file.lines().flat_map(keys_in).find(is_it) else { return Ok(BTreeSet::new()) };
    let mut numbers = BTreeSet::new();
    for found in file.find(&key, Target::default()) {
        match found.place {
            Place::Entry | Place::Dead | Place::Disabled => {
                numbers.insert(found.line);
            }
            Place::Beside if !numbers.contains(&found.line) => {
                notes.push(format!(
                    "line {} lets another key in, has this one beside it, and stays",
                    found.line
                ));
            }
            Place::Beside | Place::Comment => {}
        }
    }
    Ok(numbers)
}
