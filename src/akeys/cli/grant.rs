//! The words of the subcommands that look at policies and change them.

#![allow(clippy::doc_markdown, reason = "the doc comments are the help text, which has no markup")]

use clap::{Args, Subcommand};
use rrsync_rs::name::{GrantName, WorkspaceName};

use crate::akeys::bundle::FromList;
use crate::akeys::grant::words::{AccessWord, End, Switch};
use crate::akeys::guard::Allowed;
use crate::akeys::words::{SubPath, ToolSet, WorkspaceWord};

/// `akeys grant …`
#[derive(Debug, Subcommand)]
pub enum Grant {
    /// Say in words what a policy allows.
    Show {
        /// The grant: FEDERATION.POD, or FEDERATION.POD.SET.
        name: GrantName,
    },
    /// Change what an installed key may do: its policy, its end, where it may be used from.
    Set(GrantSet),
}

/// `akeys grant set`
#[derive(Debug, Args)]
pub struct GrantSet {
    /// The grant: FEDERATION.POD, or FEDERATION.POD.SET.
    pub grant: GrantName,
    /// The tools from now on.
    #[arg(long, value_name = "TOOL,…")]
    pub tools: Option<ToolSet>,
    /// When the key ends: a date (its first second in UTC), a moment, or never.
    #[arg(long, value_name = "WHEN|never")]
    pub expires: Option<End>,
    /// Where the key may be used from: addresses, CIDR blocks, host names.
    #[arg(long, value_name = "PATTERN,…")]
    pub from: Option<FromList>,
    /// Expose a directory more.
    #[arg(long, value_name = "DIR[:NAME[=ACCESS]]")]
    pub add_workspace: Vec<WorkspaceWord>,
    /// Expose a directory no longer.
    #[arg(long, value_name = "NAME")]
    pub remove_workspace: Vec<WorkspaceName>,
    /// Another access to a workspace or to a path in it.
    #[arg(long, value_name = "NAME[/SUB]=ACCESS")]
    pub access: Vec<AccessWord>,
    /// No access of its own for a path: that of its workspace holds.
    #[arg(long, value_name = "NAME/SUB")]
    pub remove_path: Vec<SubPath>,
    /// Whether the records of refusals say what would have allowed them.
    #[arg(long, value_name = "on|off")]
    pub learn: Option<Switch>,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}

impl GrantSet {
    /// Only another end.
    pub fn end(grant: GrantName, end: End, dry_run: bool, allow: Allowed) -> Self {
        Self {
            grant,
            tools: None,
            expires: Some(end),
            from: None,
            add_workspace: Vec::new(),
            remove_workspace: Vec::new(),
            access: Vec::new(),
            remove_path: Vec::new(),
            learn: None,
            dry_run,
            allow,
        }
    }
}

/// `akeys learn`
#[derive(Debug, Args)]
pub struct Learn {
    /// The grant: FEDERATION.POD, or FEDERATION.POD.SET.
    pub grant: GrantName,
    /// Print JSON.
    #[arg(long, conflicts_with_all = ["apply", "apply_all", "dry_run"])]
    pub json: bool,
    /// Make the changes of these numbers.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub apply: Vec<usize>,
    /// Make every change that can be made.
    #[arg(long, conflicts_with = "apply")]
    pub apply_all: bool,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}
