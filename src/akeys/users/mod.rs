//! `akeys users`: who holds which keys of this machine: one person, many keys, many accounts.
//!
//! The files are found as sshd finds them, account by account, and read in its order; `holders` turns them around, so that
//! the key comes first. Root lets each account look for itself; an ordinary account sees what it may read and is told what it
//! may not. Nothing is changed.

mod holders;

use std::fmt::Write as _;
use std::io;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use serde_json::{Value, json};

use super::account::Account;
use super::accounts;
use super::cli::Users;
use super::names;
use super::source;
use super::sshd::{self, Asker, key_files};
use crate::authkeys::KeyFile;
use crate::common::exit::Failure;
use crate::common::json::ascii_with_list;
use crate::common::report::Report;

use holders::{Found, Holder, Source, holders, of_source, of_view};

/// Runs it.
pub fn run(args: &Users, layout: &Layout) -> Result<Report, Failure> {
    let Looked { files, found, notes } =
        if nix::unistd::geteuid().is_root() { as_root(layout) } else { as_oneself(layout) };
    let holders = holders(found);
    let out = if args.json { json(&holders, files) } else { text(&holders) };
    Ok(Report { out, notes, ..Report::default() })
}

/// What was found, and in which files.
struct Looked {
    files: Vec<Value>,
    found: Vec<Found>,
    notes: Vec<String>,
}

/// Root lets each account look for itself.
fn as_root(layout: &Layout) -> Looked {
    let all = accounts::all(layout, None, None);
    let files = all.views.iter().flat_map(|view| {
        view.files
            .iter()
            .filter(|file| file.present)
            .map(|file| json!({ "account": view.account, "file": file.file, "lines": file.lines.len() }))
    });
    Looked { files: files.collect(), found: all.views.iter().flat_map(of_view).collect(), notes: all.notes }
}

/// Anybody else sees what it may read.
fn as_oneself(layout: &Layout) -> Looked {
    let (sources, notes) = sources(layout);
    let target = sshd::target();
    let files = sources.iter().map(|source| {
        json!({
            "account": source.account,
            "file": source.path.to_string_lossy(),
            "lines": source.file.lines().len(),
        })
    });
    let found = sources.iter().flat_map(|source| of_source(source, target)).collect();
    Looked { files: files.collect(), found, notes }
}

/// The key files of every account that are there and can be read, and what is to be said about the others.
fn sources(layout: &Layout) -> (Vec<Source>, Vec<String>) {
    let me = nix::unistd::geteuid().as_raw();
    let asker = Asker::new();
    let mut notes: Vec<String> = asker
        .as_ref()
        .err()
        .map(|error| format!("AuthorizedKeysFile is taken to be the default: {error}"))
        .into_iter()
        .collect();
    let mut sources = Vec::new();
    let mut closed = 0;
    for listed in names::passwd_file() {
        let account =
            if listed.uid == me { Account::own(layout.home()) } else { Account::from_passwd(listed) };
        let settings = asker.as_ref().ok().and_then(|asker| match asker.ask(&account.name) {
            Ok(settings) => Some(settings),
            Err(error) => {
                let note = format!("AuthorizedKeysFile is taken to be the default: {error}");
                if !notes.contains(&note) {
                    notes.push(note);
                }
                None
            }
        });
        for path in key_files(settings.as_ref(), &account) {
            match source::regular(&path) {
                Ok(bytes) => {
                    sources.push(Source { account: account.name.clone(), path, file: KeyFile::parse(bytes) });
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => closed += 1,
                Err(error) if absent(&error) => {}
                Err(error) => notes.push(format!("{}: {error}", Escaped::os(&path))),
            }
        }
    }
    if closed > 0 {
        notes.push(format!("{closed} places cannot be looked at by this account; root sees them all"));
    }
    (sources, notes)
}

fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn text(holders: &[Holder]) -> String {
    let mut out = String::new();
    for holder in holders {
        let name = if holder.name.is_empty() { "no comment" } else { &holder.name };
        // Writing to a String does not fail.
        let _ = writeln!(out, "{name}");
        for key in &holder.keys {
            let _ = writeln!(out, "  {}  {} {}", key.key.fingerprint, key.key.algorithm, key.key.bits);
            for place in &key.places {
                let at = Escaped(place.path.as_bytes());
                let _ = writeln!(
                    out,
                    "    {}  {at}:{}  {}",
                    Escaped(place.account.as_bytes()),
                    place.line,
                    place.access
                );
            }
        }
    }
    out
}

/// Every holder, and every file in the order in which sshd reads it.
fn json(holders: &[Holder], files: Vec<Value>) -> String {
    let holder = |holder: &Holder| {
        let keys: Vec<Value> = holder.keys.iter().map(key_json).collect();
        json!({ "comment": holder.name, "keys": keys })
    };
    ascii_with_list(&[("files", files.into())], "holders", holders.iter().map(holder))
}

fn key_json(held: &holders::Held) -> Value {
    let places: Vec<Value> = held
        .places
        .iter()
        .map(|place| {
            json!({
                "account": place.account,
                "file": place.path,
                "line": place.line,
                "access": place.access,
                "unrestricted": place.unrestricted,
            })
        })
        .collect();
    json!({
        "fingerprint": held.key.fingerprint,
        "type": held.key.algorithm,
        "bits": held.key.bits,
        "places": places,
    })
}
