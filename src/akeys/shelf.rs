//! Where bundles are kept: those that were imported, and the federations whose private keys are here.
//!
//! Both are the same file form. An imported bundle stays what somebody else said: it is read as carefully every time.

use std::fs;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;

use super::bundle::{self, Received};
use crate::common::input::{self, InputError};
use crate::common::lock::{bundles_dir, federations_dir};
use crate::common::private::{self, IfThere, PrivateError};

/// Why a bundle cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The file cannot be read, or is no bundle.
    #[error(transparent)]
    Input(#[from] InputError),
    /// It names another federation than its file does.
    #[error("{} is the bundle of federation {found}", Escaped::os(path))]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: Label,
    },
}

/// One of the two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// `~/.config/akeys/federations`: the pod's side.
    Own,
    /// `~/.config/akeys/bundles`: the user's side.
    Imported,
}

impl Shelf {
    /// How it is called in a listing.
    pub fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Imported => "imported",
        }
    }

    /// Where `federation` is, or would be.
    pub fn path(self, layout: &Layout, federation: &Label) -> PathBuf {
        self.dir(layout).join(format!("{federation}.toml"))
    }

    fn dir(self, layout: &Layout) -> PathBuf {
        match self {
            Self::Own => federations_dir(layout),
            Self::Imported => bundles_dir(layout),
        }
    }

    /// The bundle of `federation`; `None` when there is none here. A signature is checked every time.
    pub fn load(self, layout: &Layout, federation: &Label) -> Result<Option<Received>, ShelfError> {
        let path = self.path(layout, federation);
        match input::own(&path, bundle::receive) {
            Err(error) if error.is_missing() => Ok(None),
            Ok(Received { bundle, .. }) if bundle.federation != *federation => {
                Err(ShelfError::Misnamed { path, found: bundle.federation })
            }
            received => Ok(Some(received?)),
        }
    }

    /// Keeps the text of a bundle of `federation`.
    pub fn store(
        self,
        layout: &Layout,
        federation: &Label,
        text: &str,
        if_there: IfThere,
    ) -> Result<PathBuf, PrivateError> {
        let path = self.path(layout, federation);
        private::write(&path, text.as_bytes(), 0o600, if_there)?;
        Ok(path)
    }

    /// The federations here, by name.
    pub fn names(self, layout: &Layout) -> Vec<Label> {
        let name =
            |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".toml")?.parse::<Label>().ok();
        let mut names: Vec<Label> =
            fs::read_dir(self.dir(layout)).into_iter().flatten().flatten().filter_map(name).collect();
        names.sort();
        names
    }
}

/// Reads the bundle in the file `path`; `-` is standard input.
pub fn read(path: &Path) -> Result<Received, ShelfError> {
    Ok(input::named(path, bundle::receive)?)
}

/// The bundle of `federation`: an imported one, else one of this account's own.
pub fn find(layout: &Layout, federation: &Label) -> Result<Option<Found>, ShelfError> {
    if let Some(received) = Shelf::Imported.load(layout, federation)? {
        return Ok(Some(Found { trusted: received.signer.is_some(), received }));
    }
    Ok(Shelf::Own.load(layout, federation)?.map(|received| Found { trusted: true, received }))
}

/// A bundle to install from.
#[derive(Debug, Clone)]
pub struct Found {
    /// The bundle.
    pub received: Received,
    /// Whether its word is enough to put another key in the place of one that is installed: it is this account's own, or
    /// its signer is the one that was believed from the first.
    pub trusted: bool,
}
