//! Key files turned around: from accounts with lines to people with keys.
//!
//! The comment of a line is all that says who holds a key. One key under several comments stands under each of them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use rrsync_rs::escape::Escaped;

use crate::akeys::accounts::View;
use crate::authkeys::{KeyFile, Options, Reading, Target};

/// One key file of one account.
#[derive(Debug)]
pub(super) struct Source {
    /// The account.
    pub(super) account: String,
    /// The file.
    pub(super) path: PathBuf,
    /// What it says.
    pub(super) file: KeyFile,
}

/// A key that a line lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// `SHA256:…`.
    pub(super) fingerprint: String,
    /// Its kind, as sshd names it.
    pub(super) algorithm: String,
    /// Its size.
    pub(super) bits: usize,
}

/// One line that lets a key in, and who is said to hold it.
#[derive(Debug)]
pub(super) struct Found {
    comment: String,
    key: Key,
    place: Place,
}

/// Whoever a comment names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// The comment, escaped; empty for keys that have none.
    pub(super) name: String,
    /// The keys, in the order in which they were met.
    pub(super) keys: Vec<Held>,
}

/// A key and the accounts that it opens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The key.
    pub(super) key: Key,
    /// Where it stands.
    pub(super) places: Vec<Place>,
}

/// A line that lets a key in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The account.
    pub(super) account: String,
    /// The file.
    pub(super) path: String,
    /// The line's number, from 1.
    pub(super) line: usize,
    /// What it allows, in words.
    pub(super) access: String,
    /// Whether it is the whole account.
    pub(super) unrestricted: bool,
}

/// The keys of one holder, and where each is in the list: some hold thousands.
#[derive(Debug, Default)]
struct Ring {
    keys: Vec<Held>,
    index: HashMap<String, usize>,
}

/// The lines of a file that this process could read itself.
pub(super) fn of_source(source: &Source, target: Target) -> Vec<Found> {
    let lines = source.file.lines().filter_map(|line| {
        let Reading::Entry(entry) = line.read(target) else { return None };
        let (access, unrestricted) = access(&entry.options);
        let key = Key {
            fingerprint: entry.key.fingerprint(),
            algorithm: entry.key.algorithm().name().to_owned(),
            bits: entry.key.bits(),
        };
        let place = Place {
            account: source.account.clone(),
            path: source.path.to_string_lossy().into_owned(),
            line: line.number(),
            access,
            unrestricted,
        };
        Some(Found { comment: Escaped(entry.comment.trim_ascii()).to_string(), key, place })
    });
    lines.collect()
}

/// The lines that a process of the account has found.
pub(super) fn of_view(view: &View) -> Vec<Found> {
    let lines = view.keys().map(|(file, line, row)| {
        let unrestricted = row.meaning.unrestricted;
        let access = if unrestricted { WHOLE.to_owned() } else { row.meaning.may.clone() };
        let key = Key {
            fingerprint: row.fingerprint.clone(),
            algorithm: row.algorithm.to_string(),
            bits: row.bits,
        };
        let place =
            Place { account: view.account.clone(), path: file.file.clone(), line, access, unrestricted };
        Found { comment: row.comment.trim().to_owned(), key, place }
    });
    lines.collect()
}

/// Everybody who holds a key that sshd uses, by comment.
pub(super) fn holders(found: Vec<Found>) -> Vec<Holder> {
    let mut by_name: BTreeMap<String, Ring> = BTreeMap::new();
    for Found { comment, key, place } in found {
        let ring = by_name.entry(comment).or_default();
        let at = *ring.index.entry(key.fingerprint.clone()).or_insert(ring.keys.len());
        match ring.keys.get_mut(at) {
            Some(held) => held.places.push(place),
            None => ring.keys.push(Held { key, places: vec![place] }),
        }
    }
    by_name.into_iter().map(|(name, ring)| Holder { name, keys: ring.keys }).collect()
}

const WHOLE: &str = "whole account";

/// What a line allows, as far as its own words go, and whether that is the whole account.
fn access(options: &Options) -> (String, bool) {
    match &options.command {
        _ if options.cert_authority => ("signs certificates".to_owned(), false),
        Some(command) => (format!("runs \"{}\"", Escaped(command)), false),
        None => (WHOLE.to_owned(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEl6ZPlW4lzaXAVlzbxVev8C0lLTWq9/xDwuq24HTwJH";

    #[test]
    fn one_person_many_keys_many_accounts() {
        let source = |account: &str, text: String| Source {
            account: account.to_owned(),
            path: format!("/home/{account}/.ssh/authorized_keys").into(),
            file: KeyFile::parse(text.into_bytes()),
        };
        let sources = [
            source("u", format!("{ED} me@home\n{OTHER} me@home\ntypo {ED} me@home\n")),
            source("v", format!("# {ED} me@home\nrestrict,command=\"x\" {ED} me@home\n{OTHER}\n")),
        ];
        let found: Vec<Found> =
            sources.iter().flat_map(|source| of_source(source, Target::OpenSsh10_5)).collect();
        let found = holders(found);
        let shown: Vec<String> = found
            .iter()
            .flat_map(|holder| holder.keys.iter().map(move |held| (holder, held)))
            .map(|(holder, held)| {
                let places =
                    held.places.iter().map(|p| format!("{}:{}:{}", p.account, p.line, p.unrestricted));
                format!("{} {}", holder.name, places.collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(shown, [" v:3:true", "me@home u:1:true v:2:false", "me@home u:2:true"]);
    }
}
