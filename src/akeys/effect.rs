//! Whether a key that was written lets anybody in: what sshd demands besides the line.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::account::Account;
use super::audit::Facts;
use super::sshd::{Settings, key_files};
use crate::authkeys::{Algorithm, Target};
use crate::common::report::shown;

/// What stands in the way of keys of these kinds in the account's key file.
pub fn notes(kinds: impl Iterator<Item = Algorithm>, layout: &Layout) -> Vec<String> {
    let mut notes = loose_places(layout);
    let account = Account::own(layout.home());
    let Ok(settings) = Settings::ask_alone(&account.name) else { return notes };
    let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let own = real(layout.authorized_keys());
    notes.extend(not_read(&own, &settings, &account, real));
    let facts =
        Facts { server: Some(&settings), ..Facts::of_text(Target::default(), jiff::Timestamp::now()) };
    let mut refused: Vec<Algorithm> = kinds.filter(|kind| !facts.accepts(*kind)).collect();
    refused.sort();
    refused.dedup();
    notes.extend(refused.into_iter().map(|kind| format!("sshd does not accept {kind} keys")));
    notes
}

/// What sshd reads in the place of the key file `own`, if it does not read that one; `real` says where a path leads.
pub fn not_read(
    own: &Path,
    settings: &Settings,
    account: &Account,
    real: impl Fn(PathBuf) -> PathBuf,
) -> Option<String> {
    let read = key_files(Some(settings), account);
    if read.iter().any(|path| real(path.clone()) == own) {
        return None;
    }
    let read: Vec<String> = read.iter().map(|path| Escaped::os(path).to_string()).collect();
    let read = if read.is_empty() { "no file".to_owned() } else { read.join(" and ") };
    Some(format!("sshd does not read this file for {}, but {read}", Escaped(account.name.as_bytes())))
}

/// sshd passes over a key file that others can write (`safe_path()` in misc.c); what is written would be without effect.
pub fn loose_places(layout: &Layout) -> Vec<String> {
    let places = [layout.home().to_owned(), layout.ssh_dir(), layout.authorized_keys()];
    let loose =
        places.iter().filter(|path| path.metadata().is_ok_and(|metadata| metadata.mode() & 0o022 != 0));
    loose
        .map(|path| {
            let path = shown(layout, path);
            format!("others can write {path}, so sshd may ignore the keys: chmod go-w {path}")
        })
        .collect()
}
