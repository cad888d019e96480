//! The account of this process, looked at with its own rights.

use std::io;
use std::path::{Path, PathBuf};

use rrsync_rs::layout::Layout;

use super::{FileView, View};
use crate::akeys::account::Account;
use crate::akeys::list::Survey;
use crate::akeys::sshd::{Settings, key_files};
use crate::akeys::used::{GateUses, Logins, Uses};
use crate::akeys::{audit, source};
use crate::authkeys::{KeyFile, Target};

/// A key file of more bytes than this is nobody's.
const MOST: u64 = 1 << 28;

/// Looks at every file that sshd reads for this account. When keys were used is what the gate recorded and what `logins` says.
pub(in crate::akeys) fn own(layout: &Layout, target: Option<Target>, logins: Option<Logins>) -> View {
    let account = Account::own(layout.home());
    let settings = Settings::ask(&account.name);
    let notes = settings
        .as_ref()
        .err()
        .map(|error| format!("sshd could not be asked, so its usual files were looked at: {error}"));
    let settings = settings.ok();
    let uses = Uses {
        logins: logins.unwrap_or_default(),
        gate: GateUses::read(layout),
        account: account.name.clone(),
    };
    let paths = key_files(settings.as_ref(), &account);
    let mut read: Vec<(PathBuf, KeyFile)> = Vec::new();
    let mut files: Vec<FileView> = paths.iter().map(|path| look(path, &mut read)).collect();
    for view in files.iter_mut().filter(|view| view.unread.is_some()) {
        view.findings = audit::of_place(Path::new(&view.file), layout);
    }
    let found = audit::of_account(&read, layout, target);
    let mut uses = Some(uses);
    for ((path, file), findings) in read.into_iter().zip(found.files) {
        let whole_account = path == layout.authorized_keys();
        let survey = Survey::of(&path, file, whole_account, layout).with_uses(uses.take());
        if let Some(view) = files.iter_mut().find(|view| view.file == path.to_string_lossy()) {
            (view.keys, view.unrestricted) = (survey.keys, survey.unrestricted);
            view.lines = survey.rows().collect();
            view.about.clone_from(&survey.findings);
            view.findings = findings;
        }
        uses = survey.uses;
    }
    View {
        account: account.name,
        uid: account.uid,
        home: account.home.to_string_lossy().into_owned(),
        closed: None,
        files,
        more: settings.as_ref().map(more).unwrap_or_default(),
        findings: found.account,
        notes: notes.into_iter().collect(),
    }
}

fn look(path: &Path, read: &mut Vec<(PathBuf, KeyFile)>) -> FileView {
    let mut view = FileView {
        file: path.to_string_lossy().into_owned(),
        present: true,
        unread: None,
        keys: 0,
        unrestricted: 0,
        lines: Vec::new(),
        about: Vec::new(),
        findings: Vec::new(),
    };
    match source::regular_at_most(path, MOST) {
        Ok(bytes) => read.push((path.to_owned(), KeyFile::parse(bytes))),
        Err(_) if path.symlink_metadata().is_ok_and(|there| there.is_symlink()) && !path.exists() => {
            view.unread = Some("it is a symlink that leads nowhere".to_owned());
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            view.present = false;
        }
        Err(error) => view.unread = Some(error.to_string()),
    }
    view
}

/// What sshd asks behind the files, in its order (`user_key_allowed` in auth2-pubkey.c).
fn more(settings: &Settings) -> Vec<String> {
    let set = |name: &str| settings.value(name).filter(|value| *value != "none");
    let authorities = set("trustedusercakeys").map(|path| format!("TrustedUserCAKeys {path}"));
    let command = set("authorizedkeyscommand").map(|command| {
        let user = set("authorizedkeyscommanduser").unwrap_or("nobody");
        format!("AuthorizedKeysCommand {command}, as {user}")
    });
    authorities.into_iter().chain(command).collect()
}
