//! Where bundles are kept: those that were imported, and the federations whose private keys are here.
//!
//! Both are the same file form. An imported bundle stays what somebody else said: it is read as carefully every time.

use std::fs;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;

use super::bundle::{self, Bundle};
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

    /// The bundle of `federation`; `None` when there is none here.
    pub fn load(self, layout: &Layout, federation: &Label) -> Result<Option<Bundle>, ShelfError> {
        let path = self.path(layout, federation);
        match input::own(&path, bundle::parse) {
            Err(error) if error.is_missing() => Ok(None),
            Ok(bundle) if bundle.federation != *federation => {
                Err(ShelfError::Misnamed { path, found: bundle.federation })
            }
            bundle => Ok(Some(bundle?)),
        }
    }

    /// Keeps `bundle`.
    pub fn store(self, layout: &Layout, bundle: &Bundle, if_there: IfThere) -> Result<PathBuf, PrivateError> {
        let path = self.path(layout, &bundle.federation);
        private::write(&path, bundle::render(bundle).as_bytes(), 0o600, if_there)?;
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
pub fn read(path: &Path) -> Result<Bundle, ShelfError> {
    Ok(input::named(path, bundle::parse)?)
}

/// The bundle of `federation`: an imported one, else one of this account's own.
pub fn find(layout: &Layout, federation: &Label) -> Result<Option<Bundle>, ShelfError> {
    match Shelf::Imported.load(layout, federation)? {
        Some(bundle) => Ok(Some(bundle)),
        None => Shelf::Own.load(layout, federation),
    }
}
