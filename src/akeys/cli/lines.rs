//! The words of the subcommands that take lines out, turn them off and on, and go back.

#![allow(clippy::doc_markdown, reason = "the doc comments are the help text, which has no markup")]

use clap::Args;
use rrsync_rs::name::Label;

use crate::akeys::guard::Allowed;

/// `akeys remove`, `akeys disable` and `akeys enable`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["federation", "fingerprint", "line"])))]
pub struct KeyLines {
    /// Every line of this federation.
    #[arg(long, value_name = "NAME")]
    pub federation: Option<Label>,
    /// Only this pod's lines.
    #[arg(long, requires = "federation")]
    pub pod: Option<Label>,
    /// Every line with this key: SHA256:…
    #[arg(long, value_name = "SHA256:…")]
    pub fingerprint: Option<String>,
    /// This line.
    #[arg(long, value_name = "N")]
    pub line: Option<usize>,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}

/// `akeys log`
#[derive(Debug, Args)]
pub struct Log {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `akeys diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// The content before the last N changes, as akeys log numbers it.
    #[arg(value_name = "N", default_value_t = 1)]
    pub number: usize,
}

/// `akeys undo`
#[derive(Debug, Args)]
pub struct Undo {
    /// The content before the last N changes, as akeys log numbers it.
    #[arg(value_name = "N", default_value_t = 1)]
    pub number: usize,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// What is done all the same.
    #[command(flatten)]
    pub allow: Allowed,
}
