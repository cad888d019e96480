//! `akeys rotate`: another key in the place of one, without a moment in which neither gets in.
//!
//! In two phases. The first puts a line for the new key behind each line of the old one, with the same options to the byte.
//! The second takes the old key out, and happens only when the new one has been proven: by a real login with nothing else
//! (`login`), or by the model of sshd (`model`), which cannot know who holds the private half. Between the two there may be
//! days; `state` keeps what was begun. What is to be done next is always read from the key file itself, so a run that was
//! killed anywhere is gone on with by running it again.

mod lines;
mod login;
mod model;
mod state;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::add::Given;
use super::cli::{Old, RotateKey};
use super::elsewhere;
use super::guard::{Allowed, Guard};
use super::lines::entry_grant;
use super::safe_write;
use crate::authkeys::{Key, KeyFile, Patch};
use crate::common::exit::{Exit, Failure};
use crate::common::lock::Lock;
use crate::common::report::{Report, shown};

use lines::Lines;
use state::{Rotation, all};

/// Runs it.
pub fn run(args: &RotateKey, layout: &Layout) -> Result<Report, Failure> {
    let Some(old) = &args.old else { return list(args.json, layout) };
    let file = safe_write::read(layout)?.unwrap_or_default();
    let rotation = rotation(old, args, &file, layout)?;
    if args.abort {
        return abort(&rotation, args, &file, layout);
    }
    let mut report = add(&rotation, args, &file, layout)?;
    let proof = match (&args.prove_login, args.prove_model) {
        (Some(identity), _) => {
            login::prove(identity, &rotation, args, layout)?;
            report.line(format_args!("proven: {} logged in to {}", rotation.new.fingerprint(), args.host));
            true
        }
        (None, true) => {
            let file = after(&rotation, &file, args, layout)?;
            model::prove(&rotation, &file, layout)?;
            report
                .line(format_args!("proven by the model: sshd would let {} in", rotation.new.fingerprint()));
            report.note("whether anybody holds its private half is not known by that");
            false
        }
        (None, false) => {
            let old = rotation.old.fingerprint();
            report.note(format_args!("both keys work now; next: akeys rotate {old} --prove-login IDENTITY"));
            return Ok(report);
        }
    };
    remove(&rotation, args, proof, layout, &mut report)?;
    Ok(report)
}

/// What is to be done: a rotation that was begun, or a new one.
fn rotation(old: &Old, args: &RotateKey, file: &KeyFile, layout: &Layout) -> Result<Rotation, Failure> {
    let begun = |wanted: &dyn Fn(&Rotation) -> bool| -> Result<Option<Rotation>, Failure> {
        Ok(all(layout)?.into_iter().find(wanted))
    };
    // The old key may be gone from the file already, when a run was killed at its very end.
    let key = match lines::key_of(old, file) {
        Ok(key) => key,
        Err(failure) => {
            let named = |rotation: &Rotation| old.is_fingerprint(&rotation.old.fingerprint());
            return begun(&named)?.ok_or(failure);
        }
    };
    let there = begun(&|rotation| rotation.old == key)?;
    let Some(word) = &args.new else {
        return there.ok_or_else(|| {
            Failure::new(Exit::NoMatch, format!("no rotation of {} was begun", key.fingerprint()))
                .hint("name the new key: akeys rotate OLD NEW")
        });
    };
    let [given] = Given::read(word)?.try_into().map_err(|given: Vec<Given>| {
        Failure::new(Exit::Usage, format!("{} keys in the place of one", given.len()))
    })?;
    if given.options.is_some() && !args.drop_options {
        let failure = given.has_options();
        return Err(failure.hint("the options of the old key hold for the new one; --drop-options says so"));
    }
    if given.key == key {
        return Err(Failure::new(Exit::Usage, "the new key is the old one"));
    }
    match there {
        Some(there) if there.new != given.key => Err(Failure::new(
            Exit::Conflict,
            format!(
                "a rotation of {} to another key was begun: {}",
                key.fingerprint(),
                there.new.fingerprint()
            ),
        )
        .hint(format!("akeys rotate {} --abort takes it back", key.fingerprint()))),
        Some(there) => Ok(there),
        None => Ok(Rotation::new(key, given.key, &given.comment)),
    }
}

/// The first phase: a line of the new key for each line of the old one. What is there already stays.
fn add(rotation: &Rotation, args: &RotateKey, file: &KeyFile, layout: &Layout) -> Result<Report, Failure> {
    let guard = Guard::new(args.allow, layout);
    let mut lines = Lines::of(rotation, file, layout)?;
    let mut notes = safe_write::judge(layout, &guard, file, &lines.patch)?;
    if !args.dry_run {
        let lock = Lock::acquire(layout)?;
        // First what was begun, then the lines: a killed run is known by it.
        rotation.write(layout, &lock)?;
        let written = safe_write::update(layout, &lock, &guard, |file| {
            lines = Lines::of(rotation, file, layout)?;
            Ok::<_, Failure>(lines.patch.clone())
        })?;
        notes = written.notes;
    }
    let mut report = Report { notes, ..Report::default() };
    let keys = shown(layout, &layout.authorized_keys());
    let verb = if args.dry_run { "would add" } else { "added" };
    for (number, line) in &lines.new {
        report.line(format_args!("{verb} {keys}:{number}: {}", Escaped(line)));
    }
    for number in &lines.there {
        report.line(format_args!("there already: {keys}:{number}: {}", rotation.new.fingerprint()));
    }
    Ok(report)
}

/// The file as it is after the first phase, made or not.
fn after(rotation: &Rotation, file: &KeyFile, args: &RotateKey, layout: &Layout) -> Result<KeyFile, Failure> {
    if args.dry_run {
        return Ok(Lines::of(rotation, file, layout)?.patch.applied(file));
    }
    Ok(safe_write::read(layout)?.unwrap_or_default())
}

/// The second phase: the old key goes, wherever it stands.
fn remove(
    rotation: &Rotation,
    args: &RotateKey,
    by_login: bool,
    layout: &Layout,
    report: &mut Report,
) -> Result<(), Failure> {
    let keys = shown(layout, &layout.authorized_keys());
    report.notes.extend(elsewhere::notes(|key| *key == rotation.old, layout));
    if args.dry_run {
        report.line(format_args!("would remove {} from {keys}", rotation.old.fingerprint()));
        report.note("nothing was changed (--dry-run)");
        return Ok(());
    }
    // Whoever has just logged in with the new key has a way in that is as good as the old one.
    let allowed = Allowed { allow_lockout: by_login || args.allow.allow_lockout, ..args.allow };
    let guard = Guard::new(allowed, layout);
    let lock = Lock::acquire(layout)?;
    let mut grants = Vec::new();
    let written = safe_write::update(layout, &lock, &guard, |file| {
        grants =
            file.lines().filter(|line| lines::is_of(*line, &rotation.old)).filter_map(entry_grant).collect();
        // Somebody may have taken the new key out meanwhile.
        if !file.lines().any(|line| lines::is_of(line, &rotation.new)) {
            let message = format!("the new key {} is not there any more", rotation.new.fingerprint());
            return Err(Failure::new(Exit::Failed, message).hint("the old one stays; akeys rotate once more"));
        }
        Ok(lines::without(&rotation.old, file))
    })?;
    report.notes.extend(written.notes);
    rotation.forget(layout, &lock)?;
    report.line(format_args!("removed {} from {keys}", rotation.old.fingerprint()));
    for grant in grants {
        report.note(format_args!("{grant} has a new key; its bundle still names the old one"));
    }
    report.note("sessions of the old key that are open now go on until they end");
    Ok(())
}

/// Takes the new key's lines out again, as far as they are as they were written.
fn abort(rotation: &Rotation, args: &RotateKey, file: &KeyFile, layout: &Layout) -> Result<Report, Failure> {
    let guard = Guard::new(args.allow, layout);
    let mut numbers = lines::written(rotation, file);
    let patch = |numbers: &[usize], file: &KeyFile| -> Result<Patch, Failure> {
        file.remove_lines(numbers).map_err(|error| Failure::new(Exit::Failed, error))
    };
    let mut notes = safe_write::judge(layout, &guard, file, &patch(&numbers, file)?)?;
    if !args.dry_run {
        let lock = Lock::acquire(layout)?;
        let written = safe_write::update(layout, &lock, &guard, |file| {
            numbers = lines::written(rotation, file);
            patch(&numbers, file)
        })?;
        notes = written.notes;
        rotation.forget(layout, &lock)?;
    }
    let mut report = Report { notes, ..Report::default() };
    let keys = shown(layout, &layout.authorized_keys());
    let verb = if args.dry_run { "would remove" } else { "removed" };
    for number in numbers {
        report.line(format_args!("{verb} {keys}:{number}: {}", rotation.new.fingerprint()));
    }
    report.line(format_args!("{} stays", rotation.old.fingerprint()));
    Ok(report)
}

/// What was begun and not ended.
fn list(as_json: bool, layout: &Layout) -> Result<Report, Failure> {
    let file = safe_write::read(layout)?.unwrap_or_default();
    let has = |key: &Key| file.lines().any(|line| lines::is_of(line, key));
    let mut report = Report::default();
    let mut rows = Vec::new();
    for rotation in all(layout)? {
        let (old, new) = (rotation.old.fingerprint(), rotation.new.fingerprint());
        let (old_there, new_there) = (has(&rotation.old), has(&rotation.new));
        if as_json {
            rows.push(serde_json::json!({
                "old": old, "new": new, "begun": rotation.begun.to_string(),
                "old_there": old_there, "new_there": new_there,
            }));
            continue;
        }
        let state = match (old_there, new_there) {
            (true, true) => "both work; the new one is to be proven",
            (true, false) => "the new one is not there yet",
            (false, _) => "the old one is gone",
        };
        report.line(format_args!("{old} -> {new}, begun {}: {state}", rotation.begun.strftime("%Y-%m-%d")));
    }
    if as_json {
        report.line(format_args!("{:#}", serde_json::Value::from(rows)));
    } else if report.out.is_empty() {
        report.note("no rotation was begun");
    }
    Ok(report)
}
