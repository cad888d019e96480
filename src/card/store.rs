//! The cards that a pod's side keeps, `~/.config/akeys/cards/FEDERATION/USER@HOST.toml`.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;

use super::{Card, file};
use crate::common::input::{self, InputError};
use crate::common::private::{self, IfThere, PrivateError};

/// Why a card cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// The file cannot be read, or is no card.
    #[error(transparent)]
    Input(#[from] InputError),
    /// It is the card of another account or federation than its file's name says.
    #[error("{} is the card of {account} in federation {federation}", Escaped::os(path))]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// Whose card it is.
        account: String,
        /// And of which federation.
        federation: Label,
    },
}

/// Reads the card in the file `path`, which anybody may have written; `-` is standard input.
pub fn read(path: &Path) -> Result<Card, CardError> {
    Ok(input::named(path, file::parse)?)
}

/// Where the card of `account`, `USER@HOST`, is or would be.
pub fn path(layout: &Layout, federation: &Label, account: &str) -> PathBuf {
    layout.cards_of(federation).join(format!("{account}.toml"))
}

/// The card of `account`, which is checked to be a file name by being compared with what the card says.
pub fn find(layout: &Layout, federation: &Label, account: &str) -> Result<Option<Card>, CardError> {
    if account.contains('/') {
        return Ok(None);
    }
    match load(&path(layout, federation, account), federation) {
        Err(CardError::Input(error)) if error.is_missing() => Ok(None),
        card => card.map(Some),
    }
}

/// Every card of `federation`, by the names of their files. One that is broken does not hide the others.
pub fn all(layout: &Layout, federation: &Label) -> Vec<Result<Card, CardError>> {
    let entries = fs::read_dir(layout.cards_of(federation)).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_card(path)).collect();
    paths.sort();
    paths.iter().map(|path| load(path, federation)).collect()
}

/// Whether a file is named as a card is. What a killed run left begins with a dot.
fn is_card(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|extension| extension == "toml")
}

fn load(path: &Path, federation: &Label) -> Result<Card, CardError> {
    let card = input::own(path, file::parse)?;
    let named = path.file_stem().is_some_and(|stem| stem == card.account().as_str());
    if named && card.federation == *federation {
        return Ok(card);
    }
    Err(CardError::Misplaced { path: path.to_owned(), account: card.account(), federation: card.federation })
}

/// Keeps `card`, in place of an earlier one of the same account.
pub fn store(layout: &Layout, card: &Card) -> Result<PathBuf, PrivateError> {
    let path = path(layout, &card.federation, &card.account());
    private::write(&path, file::render(card).as_bytes(), 0o600, IfThere::Replace)?;
    Ok(path)
}

/// Removes the card of `card`'s account; `false` when there is none.
pub fn forget(layout: &Layout, card: &Card) -> Result<bool, PrivateError> {
    private::remove(&path(layout, &card.federation, &card.account()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::parse;

    fn card(user: &str) -> Card {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5";
        parse(&format!(
            "federation = \"lab\"\npod = \"pc\"\nuser = \"{user}\"\nhost = \"h\"\nworkspaces = [\"w\"]\nhost-keys = [\"{key}\"]\n"
        ))
        .unwrap()
    }

    #[test]
    fn cards_are_kept_one_for_each_account() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::new(scratch.path()).unwrap();
        let lab: Label = "lab".parse().unwrap();
        assert!(all(&layout, &lab).is_empty() && find(&layout, &lab, "anna@h").unwrap().is_none());
        for user in ["bob", "anna"] {
            store(&layout, &card(user)).unwrap();
        }
        let there: Vec<Card> = all(&layout, &lab).into_iter().map(Result::unwrap).collect();
        assert_eq!(there, [card("anna"), card("bob")]);
        assert_eq!(find(&layout, &lab, "bob@h").unwrap(), Some(card("bob")));
        assert!(find(&layout, &lab, "../lab/bob@h").unwrap().is_none());
        assert!(forget(&layout, &card("anna")).unwrap() && !forget(&layout, &card("anna")).unwrap());
        assert_eq!(all(&layout, &lab).len(), 1);
    }

    #[test]
    fn a_card_under_another_name_is_no_card_of_that_account() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::new(scratch.path()).unwrap();
        let lab: Label = "lab".parse().unwrap();
        let kept = store(&layout, &card("anna")).unwrap();
        fs::rename(&kept, kept.with_file_name("bob@h.toml")).unwrap();
        assert!(matches!(find(&layout, &lab, "bob@h"), Err(CardError::Misplaced { .. })));
        fs::write(kept.with_file_name(".akeys-x.toml"), "").unwrap();
        assert!(matches!(all(&layout, &lab)[..], [Err(CardError::Misplaced { .. })]));
    }
}
