//! Changing a policy file: exactly what is meant, and nothing else of what its owner wrote.
//!
//! A change is made twice, to the text and to the grant that the text means. The new text is read again by the gate's own
//! reader, and only when it means what was meant is it written, in one step. Whatever the reader refuses, and a workspace
//! that would hand over the account, is refused here with its line and column.

mod cut;
mod document;
mod edit;

use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::exposure::{self, Exposure};
use rrsync_rs::grant::{self, Grant, GrantError, LoadError};
use rrsync_rs::layout::Layout;
use rrsync_rs::name::{GrantName, WorkspaceName};

use crate::common::lock::Lock;
use crate::common::private::{self, IfThere, PrivateError};
use crate::common::toml_text::At;

pub use document::TextError;
pub use edit::{Edit, NotApplicable};

/// Why a policy is not changed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The change does not fit the grant.
    #[error("{grant}: {source}")]
    NotApplicable {
        /// The grant.
        grant: GrantName,
        /// Why not.
        source: NotApplicable,
    },
    /// The text does not take the change.
    #[error("{}: {source}", Escaped::os(path))]
    Text {
        /// The policy file.
        path: PathBuf,
        /// Why not.
        source: TextError,
    },
    /// The gate would refuse the new text.
    #[error("{}:{source}", Escaped::os(path))]
    Invalid {
        /// The policy file.
        path: PathBuf,
        /// Where in the new text, and what.
        source: GrantError,
    },
    /// A workspace of the changed grant would hand over the account.
    #[error("{}:{at}", Escaped::os(path))]
    Exposed {
        /// The policy file.
        path: PathBuf,
        /// Where in the new text, and which.
        at: At,
    },
    /// The new text would mean something else than what was asked for.
    #[error("{}: this change cannot be made without changing something else", Escaped::os(path))]
    Otherwise {
        /// The policy file.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] PrivateError),
}

/// A policy as it is on disk.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name.
    pub name: GrantName,
    /// What it says.
    pub text: String,
    /// What that means.
    pub grant: Grant,
}

impl Policy {
    /// Reads the policy `name` as carefully as the gate does.
    pub fn open(name: &GrantName, layout: &Layout) -> Result<Self, LoadError> {
        let text = grant::read(name, layout)?;
        let grant = grant::parse(&text, layout)
            .map_err(|source| LoadError::Invalid { path: layout.grant_file(name), source })?;
        Ok(Self { name: name.clone(), text, grant })
    }

    /// The policy after `edits`, in their order; those that hold already leave it as it is. Nothing is written.
    ///
    /// `binaries` are the directories of the toolkit's programs, which no workspace may contain.
    pub fn changed(&self, edits: &[Edit], layout: &Layout, binaries: &[&Path]) -> Result<Self, PolicyError> {
        let path = layout.grant_file(&self.name);
        let mut new = self.clone();
        for edit in edits {
            if edit.holds_in(&new.grant) {
                continue;
            }
            edit.apply(&mut new.grant)
                .map_err(|source| PolicyError::NotApplicable { grant: self.name.clone(), source })?;
            new.text = document::apply(&new.text, edit, layout)
                .map_err(|source| PolicyError::Text { path: path.clone(), source })?;
        }
        if new.grant == self.grant {
            return Ok(self.clone());
        }
        if new.grant.workspaces.is_empty() {
            let source = NotApplicable::NoneLeft;
            return Err(PolicyError::NotApplicable { grant: self.name.clone(), source });
        }
        let read = grant::parse(&new.text, layout)
            .map_err(|source| PolicyError::Invalid { path: path.clone(), source })?;
        if read != new.grant {
            return Err(PolicyError::Otherwise { path });
        }
        new.refuse_exposure(&self.grant, layout, binaries)?;
        Ok(new)
    }

    /// Refuses a workspace that is new or other than `before`, and would hand over the account.
    fn refuse_exposure(
        &self,
        before: &Grant,
        layout: &Layout,
        binaries: &[&Path],
    ) -> Result<(), PolicyError> {
        for (name, workspace) in &self.grant.workspaces {
            if before.workspaces.get(name) == Some(workspace) {
                continue;
            }
            let real = workspace.path.canonicalize().unwrap_or_else(|_| workspace.path.clone());
            exposure::refuse(&real, workspace.hidden, layout, binaries).map_err(|exposure| {
                PolicyError::Exposed {
                    path: layout.grant_file(&self.name),
                    at: self.place_of(name, &exposure),
                }
            })?;
        }
        Ok(())
    }

    fn place_of(&self, name: &WorkspaceName, exposure: &Exposure) -> At {
        let document = toml_edit::Document::parse(self.text.as_str()).ok();
        let path = document.as_ref().and_then(|all| all.get("workspace")?.get(name.as_str())?.get("path"));
        let start = path.and_then(toml_edit::Item::span).map_or(0, |span| span.start);
        At::offset(&self.text, start, format!("refused as a workspace: {exposure}"))
    }

    /// Makes it the policy file, in one step.
    pub fn write(&self, layout: &Layout, _held: &Lock) -> Result<(), PrivateError> {
        private::write(&layout.grant_file(&self.name), self.text.as_bytes(), 0o600, IfThere::Replace)
    }
}

#[cfg(test)]
mod tests;
