//! The words of `akeys grant set`: an access with its place, an end or none, on or off.

use std::path::PathBuf;
use std::str::FromStr;

use jiff::Timestamp;
use rrsync_rs::grant::Access;
use rrsync_rs::name::WorkspaceName;

use crate::akeys::words::{self, BadWord, SubPath};
use crate::common::moment::{self, BadMoment};

/// Another access: `NAME[/SUB]=ACCESS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessWord {
    /// The workspace.
    pub workspace: WorkspaceName,
    /// The path in it; empty for the workspace itself.
    pub path: PathBuf,
    /// The access.
    pub access: Access,
}

/// Why a word is no [`AccessWord`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadAccess {
    /// No `=`.
    #[error("no access: NAME[/SUB]=ro, wo, rw, drop or none")]
    NoAccess,
    /// A part of it says nothing.
    #[error(transparent)]
    Word(#[from] BadWord),
}

impl FromStr for AccessWord {
    type Err = BadAccess;

    fn from_str(word: &str) -> Result<Self, BadAccess> {
        let (place, access) = word.rsplit_once('=').ok_or(BadAccess::NoAccess)?;
        let access = words::access(access)?;
        let SubPath { workspace, path } = if place.contains('/') {
            place.parse()?
        } else {
            SubPath { workspace: place.parse().map_err(BadWord::Name)?, path: PathBuf::new() }
        };
        Ok(Self { workspace, path, access })
    }
}

/// When a key ends: `WHEN` or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End(pub Option<Timestamp>);

impl FromStr for End {
    type Err = BadMoment;

    fn from_str(word: &str) -> Result<Self, BadMoment> {
        if word == "never" { Ok(Self(None)) } else { moment::parse(word).map(|moment| Self(Some(moment))) }
    }
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_has_a_place() {
        for (word, workspace, path, access) in [
            ("papers=rw", "papers", "", Access::ReadWrite),
            ("papers/build=wo", "papers", "build", Access::WriteOnly),
            ("papers/a=b/c=ro", "papers", "a=b/c", Access::ReadOnly),
        ] {
            let read: AccessWord = word.parse().unwrap();
            assert_eq!((read.workspace.as_str(), read.path.to_str().unwrap()), (workspace, path), "{word}");
            assert_eq!(read.access, access, "{word}");
        }
        for word in ["", "papers", "papers=", "papers=x", "=ro", "papers/=ro", "papers/../x=ro", "/x=ro"] {
            assert!(word.parse::<AccessWord>().is_err(), "{word}");
        }
        assert_eq!("never".parse(), Ok(End(None)));
        assert!("soon".parse::<End>().is_err());
    }
}
