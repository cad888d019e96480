//! One change of a policy: what it means for the grant, and how it is called.
//!
//! The meaning is applied here to the grant as it is read; `document` applies the same change to the text. The two must
//! agree, or nothing is written.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;
use rrsync_rs::grant::{Access, Grant, Tool, Workspace};
use rrsync_rs::name::WorkspaceName;
use rrsync_rs::verdict::Change;

use crate::common::moment::in_words;

/// One change of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// One that the gate found while it refused a request.
    Learned(Change),
    /// Exactly this access to a workspace, or to a path in it; the path is empty for the workspace.
    Access {
        /// Whose.
        workspace: WorkspaceName,
        /// Relative to it.
        path: PathBuf,
        /// From now on.
        access: Access,
    },
    /// Exactly these tools.
    Tools(BTreeSet<Tool>),
    /// Another end, or none.
    Expires(Option<Timestamp>),
    /// Whether refusals are recorded with what would have allowed them.
    Learn(bool),
    /// A workspace more.
    AddWorkspace {
        /// Its name.
        name: WorkspaceName,
        /// The directory, absolute.
        path: PathBuf,
        /// The access to it.
        access: Access,
    },
    /// A workspace less, its sub-paths with it.
    RemoveWorkspace(WorkspaceName),
    /// A sub-path without an access of its own.
    RemovePath(WorkspaceName, PathBuf),
}

/// Why a change cannot be made to a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotApplicable {
    /// It names a workspace that the grant does not have.
    #[error("there is no workspace {0}")]
    NoWorkspace(WorkspaceName),
    /// Another directory has the name.
    #[error("workspace {0} is there already, as {path}", path = Escaped::os(.1))]
    Named(WorkspaceName, PathBuf),
    /// Nothing would be left.
    #[error("no workspace would be left: the key could do nothing")]
    NoneLeft,
}

impl Edit {
    /// Changes `grant`. What holds already is left as it is, so that a change made twice is a change made once.
    pub fn apply(&self, grant: &mut Grant) -> Result<(), NotApplicable> {
        match self {
            Self::Learned(change) => return learned(change, grant),
            Self::Access { workspace: name, path, access } => {
                let workspace = workspace(grant, name)?;
                if path.as_os_str().is_empty() {
                    workspace.access = *access;
                } else {
                    workspace.paths.insert(path.clone(), *access);
                }
            }
            Self::Tools(tools) => grant.tools.clone_from(tools),
            Self::Expires(end) => grant.expires = *end,
            Self::Learn(on) => grant.learn = *on,
            Self::AddWorkspace { name, path, access } => match grant.workspaces.get_mut(name) {
                Some(there) if there.path == *path => there.access = *access,
                Some(there) => return Err(NotApplicable::Named(name.clone(), there.path.clone())),
                None => {
                    grant.workspaces.insert(name.clone(), Workspace::new(path, *access));
                }
            },
            Self::RemoveWorkspace(name) => {
                grant.workspaces.remove(name);
            }
            Self::RemovePath(name, path) => {
                workspace(grant, name)?.paths.remove(path);
            }
        }
        Ok(())
    }

    /// Whether `grant` allows already what the change would allow, or is as it would be.
    pub fn holds_in(&self, grant: &Grant) -> bool {
        let Self::Learned(change) = self else {
            let mut changed = grant.clone();
            return self.apply(&mut changed).is_ok() && changed == *grant;
        };
        let rules = &grant.rules;
        let there = |name, test: &dyn Fn(&Workspace) -> bool| grant.workspaces.get(name).is_some_and(test);
        match change {
            Change::Access { workspace, path, access } => there(workspace, &|workspace| {
                let have = workspace.access_to(path);
                have == *access || have == Access::ReadWrite
            }),
            Change::Delete(workspace) => there(workspace, &|workspace| workspace.delete),
            Change::Overwrite(workspace) => there(workspace, &|workspace| workspace.overwrite),
            Change::Allow(option) => rules.allow.contains(option),
            Change::NotDeny(option) => !rules.deny.contains(option),
            // scp speaks SFTP, so either tool serves it.
            Change::Tool(Tool::Sftp) => [Tool::Sftp, Tool::Scp].iter().any(|tool| grant.tools.contains(tool)),
            Change::Tool(tool) => grant.tools.contains(tool),
            Change::Probes => rules.probes,
        }
    }
}

fn learned(change: &Change, grant: &mut Grant) -> Result<(), NotApplicable> {
    match change {
        Change::Access { workspace, path, access } => {
            let edit = Edit::Access { workspace: workspace.clone(), path: path.clone(), access: *access };
            return edit.apply(grant);
        }
        Change::Delete(name) => workspace(grant, name)?.delete = true,
        Change::Overwrite(name) => workspace(grant, name)?.overwrite = true,
        Change::Allow(option) => {
            if !grant.rules.allow.contains(option) {
                grant.rules.allow.push(option.clone());
            }
        }
        Change::NotDeny(option) => grant.rules.deny.retain(|denied| denied != option),
        Change::Tool(tool) => {
            grant.tools.insert(*tool);
        }
        Change::Probes => grant.rules.probes = true,
    }
    Ok(())
}

fn workspace<'a>(grant: &'a mut Grant, name: &WorkspaceName) -> Result<&'a mut Workspace, NotApplicable> {
    grant.workspaces.get_mut(name).ok_or_else(|| NotApplicable::NoWorkspace(name.clone()))
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Learned(change) => change.fmt(f),
            Self::Access { workspace, path, access } => {
                let (workspace, path) = (workspace.clone(), path.clone());
                Change::Access { workspace, path, access: *access }.fmt(f)
            }
            Self::Tools(tools) => {
                let tools: Vec<String> = tools.iter().map(ToString::to_string).collect();
                write!(f, "tools = {}", tools.join(", "))
            }
            Self::Expires(Some(end)) => write!(f, "expires = {}", in_words(*end)),
            Self::Expires(None) => f.write_str("no end"),
            Self::Learn(on) => write!(f, "learn = {on}"),
            Self::AddWorkspace { name, path, access } => {
                write!(f, "workspace {name} is {}, {access}", Escaped::os(path))
            }
            Self::RemoveWorkspace(name) => write!(f, "no workspace {name}"),
            Self::RemovePath(name, path) => {
                write!(f, "no access of its own for {name}/{}", Escaped::os(path))
            }
        }
    }
}
