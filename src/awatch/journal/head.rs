//! Which journal a directory holds, and whose it is: `head.json`.

use std::fs;
use std::io;
use std::path::Path;

use rrsync_rs::name::{Label, WorkspaceName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::common::private::{self, IfThere, PrivateError};

/// The file's name.
pub const FILE: &str = "head.json";

/// What it says. The gate reads `device` and `inode`, to find the journal of the directory that a grant exposes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The journal.
    pub journal: Uuid,
    /// Why it was begun, for a reader of an earlier one.
    pub why: String,
    /// The workspace.
    pub workspace: WorkspaceName,
    /// Whose: `USER@HOST`.
    pub author: String,
    /// The label under which it is found with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Label>,
    /// Which file system the workspace is on.
    pub device: u64,
    /// Which directory there it is.
    pub inode: u64,
}

impl Head {
    /// Reads the head of the journal in `dir`.
    pub fn read(dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(dir.join(FILE))?)?)
    }

    /// Writes it, whole.
    pub fn write(&self, dir: &Path) -> Result<(), PrivateError> {
        let path = dir.join(FILE);
        let text = serde_json::to_vec(self).map_err(|error| PrivateError::io(&path)(error.into()))?;
        private::write(&path, &text, 0o600, IfThere::Replace)
    }
}
