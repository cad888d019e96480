//! `afiles versions` and `afiles restore`: what paths have had before, and bringing it back.
//!
//! The store is that of the gate, `rrsync_rs::versions`: what a pod has overwritten in a workspace and what a pull has overwritten
//! in a copy are found in the same way. It is only read here; restoring never overwrites.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::versions::{Kept, Reason, Store, StoreError, Version};
use serde_json::{Map, Value, json};

use super::cli::{Forget, Restore, Versions};
use super::destination::{absolute, new_name};
use super::receive::{Attributes, Durability, Keeper, Symlinks, Tree};
use super::tell::size;
use crate::common::exit::{Exit, Failure};
use crate::common::json::{ascii, put_bytes};
use crate::common::report::Report;
use crate::event::EventPath;

/// A version, and its number among those of its path.
struct Numbered {
    number: usize,
    version: Version,
}

/// Runs `afiles versions`.
pub fn list(args: &Versions, layout: &Layout) -> Result<Report, Failure> {
    let path = absolute(&args.path)?;
    let (root, store) = store_of(&path, layout)?;
    let below = path.strip_prefix(&root).unwrap_or(Path::new(""));
    let history = store.list(None).map_err(store_failure)?;
    let found: Vec<Numbered> =
        numbered(history.versions).into_iter().filter(|it| it.version.path.starts_with(below)).collect();
    let mut report = Report::default();
    if history.unreadable > 0 {
        report.note(format_args!("{} lines of the log cannot be read", history.unreadable));
    }
    if args.json {
        report.out = ascii(&found.iter().map(|it| as_json(it, &root, &store)).collect());
    } else {
        for it in &found {
            let kept = if is_kept(&it.version, &store) { "" } else { "; let go" };
            report.line(format_args!("{}{kept}", as_text(it, &args.path, below)));
        }
    }
    if found.is_empty() {
        report.note(format_args!("nothing of {} was kept", Escaped::os(&args.path)));
        report.exit = Exit::NoMatch;
    }
    Ok(report)
}

/// Runs `afiles restore`.
pub fn restore(args: &Restore, layout: &Layout) -> Result<Report, Failure> {
    let path = absolute(&args.version.path)?;
    let (root, store) = store_of(&path, layout)?;
    let below = path.strip_prefix(&root).unwrap_or(Path::new(""));
    let versions = numbered(store.list(Some(below)).map_err(store_failure)?.versions);
    let found = versions.into_iter().find(|it| it.number == args.version.number).ok_or_else(|| {
        let message = format!("{} has no version {}", Escaped::os(&args.version.path), args.version.number);
        Failure::new(Exit::NoMatch, message)
            .hint(format!("afiles versions {}", Escaped::os(&args.version.path)))
    })?;
    if !is_kept(&found.version, &store) {
        let message = format!("version {} of {} was let go", found.number, Escaped::os(&args.version.path));
        return Err(Failure::new(Exit::NoMatch, message));
    }
    let target = new_name(&args.to, layout)?;
    let name = EventPath::new(target.name.clone()).map_err(|error| Failure::new(Exit::Usage, error))?;
    let tree = Tree::open(&target.parent, layout, "afiles", Keeper::new(layout, false), Durability::File)?;
    match found.version.what {
        Kept::File { size, mtime, mode, sha256 } => {
            let content = store.content(sha256).map_err(store_failure)?;
            let mut file = tree.begin(&name)?;
            let mut piece = vec![0; 1 << 17];
            loop {
                let read = content.read_at(&mut piece, file.size());
                match read
                    .map_err(|error| Failure::new(Exit::Failed, format!("the kept content: {error}")))?
                {
                    0 => break,
                    read => file.add(piece.get(..read).unwrap_or_default())?,
                }
            }
            if file.sum() != sha256 || file.size() != size {
                return Err(store_failure(StoreError::Damaged(sha256)));
            }
            file.complete(Attributes { mode, modified: nanoseconds(mtime) })?;
            tree.settle(std::iter::once(&file))?;
            file.place_new()?;
        }
        Kept::Symlink { target: says } => {
            tree.make_link(&name, says.as_os_str().as_bytes(), Symlinks::Keep, None)?;
        }
    }
    tree.end()?;
    let mut report = Report::default();
    report.line(format_args!("restored {}", Escaped::os(&args.to)));
    Ok(report)
}

/// The store of the directory that `path` is in, or that it is.
/// Runs `afiles forget`.
pub fn forget(args: &Forget, layout: &Layout) -> Result<Report, Failure> {
    let path = absolute(&args.path)?;
    let (root, store) = store_of(&path, layout)?;
    let below = path.strip_prefix(&root).unwrap_or(Path::new(""));
    let age = SignedDuration::from_hours(24 * i64::from(args.older_than));
    let limit = Timestamp::now().checked_sub(age);
    let limit = limit.map_err(|_| Failure::new(Exit::Usage, "--older-than: nothing is as old as that"))?;
    let forgotten = store.forget(below, limit).map_err(store_failure)?;
    let mut report = Report::default();
    let word = if forgotten.contents == 1 { "content" } else { "contents" };
    report.line(format_args!("{} {word} let go, {}", forgotten.contents, size(forgotten.bytes)));
    Ok(report)
}

/// Whether a version can still be brought back.
fn is_kept(version: &Version, store: &Store) -> bool {
    match version.what {
        Kept::File { sha256, .. } => store.is_kept(sha256),
        Kept::Symlink { .. } => true,
    }
}

fn store_of(path: &Path, layout: &Layout) -> Result<(PathBuf, Store), Failure> {
    let all = Store::workspaces(layout)
        .map_err(|error| Failure::new(Exit::Failed, format!("the version store: {error}")))?;
    // The innermost, where one is in another.
    let root =
        all.into_iter().filter(|root| path.starts_with(root)).max_by_key(|root| root.components().count());
    let root = root.ok_or_else(|| {
        Failure::new(
            Exit::NoMatch,
            format!("nothing was kept of any directory that {} is in", Escaped::os(path)),
        )
        .hint("afiles pull --keep-versions; versions = true in a grant, akeys-grant(5)")
    })?;
    let store = Store::open(layout, &root).map_err(store_failure)?;
    Ok((root, store))
}

/// Versions with their numbers, the oldest of each path being 1. Nothing is ever taken out, so a number stays what it is.
fn numbered(versions: Vec<Version>) -> Vec<Numbered> {
    let mut counts: HashMap<PathBuf, usize> = HashMap::new();
    let number = |version: Version| {
        let count = counts.entry(version.path.clone()).or_default();
        *count += 1;
        Numbered { number: *count, version }
    };
    versions.into_iter().map(number).collect()
}

fn store_failure(error: StoreError) -> Failure {
    match error {
        StoreError::Io(what, source) => Failure::named(&source, format!("cannot {what}: {source}")),
        error => Failure::new(Exit::Failed, error),
    }
}

fn nanoseconds(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_nanosecond()).unwrap_or(i64::MAX)
}

fn reason(version: &Version) -> &'static str {
    match version.reason {
        Reason::Overwritten => "overwritten",
        Reason::Removed => "removed",
        Reason::Conflict => "conflict",
    }
}

/// `typed` is what the user named, and `below` what that is below the store's directory.
fn as_text(it: &Numbered, typed: &Path, below: &Path) -> String {
    let version = &it.version;
    let rest = version.path.strip_prefix(below).unwrap_or(&version.path);
    let path = if rest.as_os_str().is_empty() { typed.to_owned() } else { typed.join(rest) };
    let what = match &version.what {
        Kept::File { size: bytes, .. } => size(*bytes),
        Kept::Symlink { target } => format!("-> {}", Escaped::os(target)),
    };
    let origin = version
        .origin
        .as_ref()
        .map_or_else(String::new, |origin| format!(" by {}", Escaped(origin.as_bytes())));
    let time = Timestamp::from_second(version.time.as_second()).unwrap_or(version.time);
    format!("{}@{}  {time}  {what}, {}{origin}", Escaped::os(&path), it.number, reason(version))
}

fn as_json(it: &Numbered, root: &Path, store: &Store) -> Value {
    let version = &it.version;
    let mut object = Map::new();
    put_bytes(&mut object, "path", Some(root.join(&version.path).as_os_str().as_bytes()));
    object.insert("number".to_owned(), it.number.into());
    object.insert("time".to_owned(), json!(version.time));
    object.insert("reason".to_owned(), reason(version).into());
    object.insert("origin".to_owned(), version.origin.clone().into());
    object.insert("kept".to_owned(), is_kept(version, store).into());
    match &version.what {
        Kept::File { size, mtime, mode, sha256 } => {
            object.insert("size".to_owned(), (*size).into());
            object.insert("mtime".to_owned(), json!(mtime));
            object.insert("mode".to_owned(), (*mode).into());
            object.insert("sha256".to_owned(), json!(sha256));
        }
        Kept::Symlink { target } => put_bytes(&mut object, "target", Some(target.as_os_str().as_bytes())),
    }
    Value::Object(object)
}
