//! `akeys users`: who holds which keys of this machine: one person, many keys, many accounts.
//!
//! The files are found as sshd finds them, account by account, and read in its order; `holders` turns them around, so that
//! the key comes first. An ordinary account sees what it may read and is told what it may not. Nothing is changed.

mod holders;

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use serde_json::{Value, json};

use super::account::Account;
use super::cli::Users;
use super::names;
use super::source;
use super::sshd::{self, Asker, key_files};
use crate::authkeys::KeyFile;
use crate::common::exit::Failure;
use crate::common::json::{ascii_with_list, put_bytes};
use crate::common::report::Report;

use holders::{Holder, Source, holders};

/// Runs it.
pub fn run(args: &Users, layout: &Layout) -> Result<Report, Failure> {
    let (sources, notes) = sources(layout);
    let holders = holders(&sources, sshd::target());
    let out = if args.json { json(&holders, &sources) } else { text(&holders) };
    Ok(Report { out, notes, ..Report::default() })
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
        let name =
            if holder.name.is_empty() { "no comment".to_owned() } else { Escaped(&holder.name).to_string() };
        // Writing to a String does not fail.
        let _ = writeln!(out, "{name}");
        for key in &holder.keys {
            let _ = writeln!(out, "  {}  {} {}", key.key.fingerprint(), key.key.algorithm(), key.key.bits());
            for place in &key.places {
                let at = Escaped::os(&place.path);
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
fn json(holders: &[Holder], sources: &[Source]) -> String {
    let files: Vec<Value> = sources
        .iter()
        .map(|source| json!({ "account": source.account, "file": lossy(&source.path), "lines": source.file.lines().len() }))
        .collect();
    let holder = |holder: &Holder| {
        let keys: Vec<Value> = holder.keys.iter().map(key_json).collect();
        let mut object = serde_json::Map::new();
        put_bytes(&mut object, "comment", Some(&holder.name));
        object.insert("keys".into(), keys.into());
        Value::Object(object)
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
                "file": lossy(&place.path),
                "line": place.line,
                "access": place.access,
                "unrestricted": place.unrestricted,
            })
        })
        .collect();
    json!({
        "fingerprint": held.key.fingerprint(),
        "type": held.key.algorithm().name(),
        "bits": held.key.bits(),
        "places": places,
    })
}

fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
