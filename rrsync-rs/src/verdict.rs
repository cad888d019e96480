//! What the judge says: allow, or refuse by a named rule.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::escape::Escaped;
use crate::grant::{Access, Tool};
use crate::name::WorkspaceName;

/// Why a request is refused.
///
/// `Display` is the one line that the client sees: no path of the server's in it, everything foreign escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule's stable name, as the audit record and `--explain` show it: `rsync.option`, `path.outside` …
    pub rule: &'static str,
    /// What the client is told.
    pub message: String,
    /// The smallest change of the policy that would have allowed the request, where there is one.
    pub change: Option<Change>,
}

/// One change of a grant, as `akeys learn` shows and applies it. By itself it allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Another access to a workspace or to a path in it; the path is empty for the workspace.
    Access {
        /// Whose.
        workspace: WorkspaceName,
        /// Relative to it.
        path: PathBuf,
        /// The access that would do.
        access: Access,
    },
    /// `delete = true` in a workspace.
    Delete(WorkspaceName),
    /// `overwrite = true` in a workspace.
    Overwrite(WorkspaceName),
    /// A name more in `options.allow`.
    Allow(String),
    /// A name less in `options.deny`.
    NotDeny(String),
    /// A tool more.
    Tool(Tool),
    /// `probes = true`.
    Probes,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access { workspace, path, access } if path.as_os_str().is_empty() => {
                write!(f, "workspace.{workspace}.access = \"{access}\"")
            }
            Self::Access { workspace, path, access } => {
                write!(f, "workspace.{workspace}.paths.\"{}\" = \"{access}\"", Escaped::os(path))
            }
            Self::Delete(workspace) => write!(f, "workspace.{workspace}.delete = true"),
            Self::Overwrite(workspace) => write!(f, "workspace.{workspace}.overwrite = true"),
            Self::Allow(option) => write!(f, "options.allow += \"{option}\""),
            Self::NotDeny(option) => write!(f, "options.deny -= \"{option}\""),
            Self::Tool(tool) => write!(f, "tools += \"{tool}\""),
            Self::Probes => f.write_str("probes = true"),
        }
    }
}

impl Refusal {
    /// A refusal by `rule`.
    pub fn new(rule: &'static str, message: impl Into<String>) -> Self {
        Self { rule, message: message.into(), change: None }
    }

    /// The same, with the change that would have allowed the request.
    #[must_use]
    pub fn unless(self, change: Option<Change>) -> Self {
        Self { change, ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
