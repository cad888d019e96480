//! `akeys disable` and `akeys enable`: a key is put to sleep and woken, byte for byte.
//!
//! A disabled line is a comment to every sshd. Its policy stays, and so does its place: waking it brings back exactly the
//! bytes that were there.

use std::collections::BTreeSet;

use rrsync_rs::layout::Layout;
use rrsync_rs::name::GrantName;

use super::cli::KeyLines;
use super::lines::{description, key_of, keys_in, mentioned_grant};
use super::{grants, safe_write};
use crate::authkeys::{DISABLED, Key, KeyFile, Line, Place, Reading, Target};
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
    /// The new file; `None` when nothing changes.
    bytes: Option<Vec<u8>>,
    /// The lines that change, with what they hold now.
    lines: Vec<(usize, String)>,
    /// What the user should know.
    notes: Vec<String>,
}

/// Runs it.
pub fn run(turn: Turn, args: &KeyLines, layout: &Layout) -> Result<Report, Failure> {
    // Looked at before the lock, so that a mistyped name leaves no trace.
    let mut turned = turned(turn, args, &safe_write::read(layout)?.unwrap_or_default())?;
    if !args.dry_run && turned.bytes.is_some() {
        let lock = Lock::acquire(layout)?;
        safe_write::update(layout, &lock, |bytes| {
            turned = self::turned(turn, args, bytes)?;
            Ok::<_, Failure>(turned.bytes.take())
        })?;
    }
    let mut report = Report { notes: turned.notes, ..Report::default() };
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

fn turned(turn: Turn, args: &KeyLines, bytes: &[u8]) -> Result<Turned, Failure> {
    let file = KeyFile::parse(bytes.to_vec());
    let mut turned = Turned::default();
    let numbers = chosen(args, &file, &mut turned.notes)?;
    if numbers.is_empty() {
        return Err(Failure::new(Exit::NoMatch, "there is no line of that").hint("akeys list"));
    }
    let mut after = file.clone();
    for number in numbers {
        let Some(line) = file.line(number) else { continue };
        let asleep = line.raw().starts_with(DISABLED);
        let bytes = match (turn, asleep, line.read(Target::default())) {
            (Turn::Off, true, _) | (Turn::On, false, Reading::Entry(_) | Reading::Dead(_)) => continue,
            (Turn::Off, false, _) => after.disable(number, Target::default()),
            (Turn::On, ..) => after.enable(number),
        };
        let no_key = |error| Failure::new(Exit::NoMatch, error).hint("akeys list shows what each line holds");
        after = KeyFile::parse(bytes.map_err(no_key)?);
        // What it holds is said of the line that is awake.
        let awake = if turn == Turn::On { after.line(number) } else { Some(line) };
        turned.lines.push((number, awake.map(description).unwrap_or_default()));
        if turn == Turn::On {
            note_what_woke(&after, number, &mut turned.notes);
        }
    }
    turned.bytes = (after != file).then(|| after.into_bytes());
    Ok(turned)
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
        return Err(failure.hint(format!("the file has {} lines: akeys list", file.lines().len())));
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
