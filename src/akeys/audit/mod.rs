//! `akeys audit`: what is wrong in a key file and around it.
//!
//! `catalogue` is the table of everything that can be found. One pass over the lines asks `dead`, `text`, `options`, `limits`, `keys`
//! and `command` about each, and `together` about lines with the same key; `place` looks at the file and its directories,
//! `server` at sshd's configuration. `show` tells the findings, `fix` mends what can be mended without letting anybody in.

mod age;
mod all;
mod catalogue;
mod command;
mod dead;
mod debian;
mod facts;
mod finding;
mod fix;
mod grants;
mod keys;
mod limits;
mod options;
mod place;
mod primes;
mod revoked;
mod server;
mod show;
mod text;
mod together;
mod usage;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rrsync_rs::layout::Layout;

pub use catalogue::{Code, RULES, Rule, Severity};
pub(in crate::akeys) use facts::public_keys;
pub use facts::{Facts, Outside, Unused};
pub use finding::{At, Basket, Finding, Fix, Told};
pub(in crate::akeys) use show::told as object;
pub(in crate::akeys) use show::{one, summary};
pub(in crate::akeys) use text::misleading;

use super::cli::Audit;
use super::source;
use super::sshd::memory;
use super::used::Uses;
use crate::authkeys::{KeyFile, Reading, Target};
use crate::common::exit::{Exit, Failure};
use crate::common::report::Report;

use facts::Surroundings;

/// Runs it.
pub fn run(args: &Audit, layout: &Layout) -> Result<Report, Failure> {
    memory::may_be_kept();
    if args.codes {
        return Ok(Report::data(show::codes(args.severity, args.json)));
    }
    if args.all_users {
        return Ok(all::run(args, layout));
    }
    let own = layout.authorized_keys();
    let path = args.file.clone().unwrap_or_else(|| own.clone());
    let read = match &args.file {
        Some(path) => Some(KeyFile::parse(source::named(path)?)),
        // What cannot be read cannot be mended.
        None if args.fix => Some(KeyFile::parse(source::own(&path)?)),
        None => own_file(&path)?,
    };
    let known = read.is_some();
    let file = read.unwrap_or_default();
    let surroundings = Surroundings::of(&path, layout);
    let facts = surroundings.facts(args.target.map(Into::into));
    if args.fix {
        return fix::run(&file, &facts, args, layout);
    }
    let uses = args.reads_log().then(|| Uses::of(&surroundings.account_name(), args.log.as_deref(), layout));
    let facts = Facts {
        unused: unused(args.unused, uses.as_ref()),
        outside: uses.as_ref().map(|uses| Outside { uses, expected: args.from.as_ref() }),
        old: args.older.map(|days| age::Old::than(days, facts.disk, facts.rules, facts.now)),
        primes: args.primes,
        ..facts
    };
    let mut basket = Basket::new(args.severity);
    surroundings.judge(&path, known.then_some(&file), &mut basket);
    judge(&file, &facts, &mut basket);
    if args.file.is_none() {
        surroundings.judge_across(&path, &file, &facts, &mut basket);
    }
    let findings = basket.sorted();
    let total = summary(findings.iter().map(Finding::severity));
    let exit = if findings.is_empty() { Exit::Done } else { Exit::Findings };
    let mut report = shown(args, &path, facts.rules.target, findings, file, layout);
    report.notes.extend(surroundings.note());
    report.notes.extend(uses.into_iter().flat_map(|uses| uses.logins.notes));
    report.note(total);
    report.exit = exit;
    Ok(report)
}

/// The account's own file; `None` where sshd cannot read it either, which is a finding itself.
fn own_file(path: &Path) -> Result<Option<KeyFile>, Failure> {
    match source::regular(path) {
        Ok(bytes) => Ok(Some(KeyFile::parse(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
            Ok(Some(KeyFile::default()))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied || !path.is_file() => Ok(None),
        Err(error) => Err(source::failure(path, &error)),
    }
}

/// The findings in the form that was asked for. A large file may have as many as it has lines, so text is made while it is written.
fn shown(
    args: &Audit,
    path: &Path,
    target: Target,
    findings: Vec<Finding>,
    file: KeyFile,
    layout: &Layout,
) -> Report {
    let path = path.to_string_lossy().into_owned();
    let mut told = findings.into_iter();
    let layout = layout.clone();
    if !args.json && !args.sarif {
        return Report::stream(move |out| {
            let audit = show::Shown { path: &path, target, findings: &[], layout: Some(&layout) };
            let mut out = io::BufWriter::with_capacity(1 << 16, out);
            told.try_for_each(|finding| {
                out.write_all(show::lines(&audit, &Told::of(finding, &file)).as_bytes())
            })?;
            out.flush()
        });
    }
    let told: Vec<Told> = told.map(|finding| Told::of(finding, &file)).collect();
    let audit = show::Shown { path: &path, target, findings: &told, layout: Some(&layout) };
    Report::data(if args.json { show::json(&audit) } else { show::sarif(&[audit]) })
}

/// Which keys count as unused.
fn unused(days: Option<u16>, uses: Option<&Uses>) -> Option<Unused<'_>> {
    let now = Timestamp::now();
    let since = now.saturating_sub(SignedDuration::from_hours(24 * i64::from(days?))).unwrap_or(now);
    Some(Unused { uses: uses?, since })
}

fn told(basket: Basket, file: &KeyFile) -> Vec<Told> {
    basket.sorted().into_iter().map(|finding| Told::of(finding, file)).collect()
}

/// What is wrong with the lines of a key file; for `akeys explain`.
pub fn of_lines(file: &KeyFile, path: &Path, layout: &Layout, target: Target) -> Vec<Told> {
    let surroundings = Surroundings::of(path, layout);
    let mut basket = Basket::new(Severity::Low);
    judge(file, &surroundings.facts(Some(target)), &mut basket);
    told(basket, file)
}

/// What is wrong with an account, and with each of its key files.
#[derive(Debug, Default)]
pub struct OfAccount {
    /// With its place and with sshd's configuration.
    pub account: Vec<Told>,
    /// With each file, in their order.
    pub files: Vec<Vec<Told>>,
}

/// What is wrong with a key file of the account of this process whose lines cannot be read.
pub fn of_place(path: &Path, layout: &Layout) -> Vec<Told> {
    let mut basket = Basket::new(Severity::Info);
    Surroundings::of_account(layout).judge_place(path, &mut basket);
    told(basket, &KeyFile::default())
}

/// Looks at every key file that sshd reads for the account of this process, in sshd's order.
pub fn of_account(files: &[(PathBuf, KeyFile)], layout: &Layout, target: Option<Target>) -> OfAccount {
    let surroundings = Surroundings::of_account(layout);
    let facts = surroundings.facts(target);
    let mut baskets: Vec<Basket> = files.iter().map(|_| Basket::new(Severity::Info)).collect();
    for ((path, file), basket) in files.iter().zip(&mut baskets) {
        surroundings.judge_place(path, basket);
        judge(file, &facts, basket);
    }
    let lent: Vec<(&Path, &KeyFile)> = files.iter().map(|(path, file)| (path.as_path(), file)).collect();
    together::across(&lent, &facts, &mut baskets);
    let mut account = Basket::new(Severity::Info);
    surroundings.judge_account(files.iter().map(|(_, file)| file), &mut account);
    OfAccount {
        account: told(account, &KeyFile::default()),
        files: baskets.into_iter().zip(files).map(|(basket, (_, file))| told(basket, file)).collect(),
    }
}

/// Puts what is wrong with the lines of `file` into the basket, in one pass.
pub fn judge(file: &KeyFile, facts: &Facts<'_>, basket: &mut Basket) {
    if text::is_utf16(file.bytes()) {
        let message = || "the file is in UTF-16, and no line of it works".to_owned();
        basket.put(Code::Utf16, At::File, message).hint("iconv -f UTF-16 -t UTF-8");
        return;
    }
    text::judge_cr_only(file.bytes(), basket);
    // Keyed at random, so that nobody can choose keys whose digests meet.
    let digest = RandomState::new();
    let mut ends = text::LineEnds::default();
    let mut same_keys = together::SameKeys::default();
    let mut comments = keys::Comments::default();
    let mut commands = command::Commands::default();
    let mut federations = grants::Federations::default();
    let mut moduli = primes::Moduli::default();
    for line in file.lines() {
        let reading = line.read(facts.rules);
        text::judge(line, &reading, &mut ends, basket);
        match &reading {
            Reading::Blank | Reading::Comment => {}
            Reading::Dead(dead) => dead::judge(line, dead, file.line(line.number() + 1), facts.rules, basket),
            Reading::Entry(entry) => {
                let key = digest.hash_one(entry.key.blob());
                options::judge(line, entry, facts, basket);
                keys::judge(line, entry, facts, basket);
                commands.judge(line, entry, facts, basket);
                federations.judge(line, entry, facts, basket);
                if facts.primes {
                    moduli.note(line, entry);
                }
                comments.note(line, entry, digest.hash_one(entry.comment), key, basket);
                same_keys.note(key, line.number());
            }
        }
    }
    text::judge_ends(file.lines().next_back(), &ends, basket);
    same_keys.judge(file, facts, basket);
    moduli.judge(basket);
}

/// Where a key file with this path really is; itself when it cannot be followed.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
