//! The command line of awatch(1), and nothing else: what was typed, each word already a checked type.

#![allow(clippy::doc_markdown, reason = "the doc comments are the help text, which has no markup")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use rrsync_rs::name::WorkspaceName;

use crate::event::Cursor;

/// Know every settled change of a directory, once.
#[derive(Debug, Parser)]
#[command(name = "awatch", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the changes of a workspace to standard output, one JSON object a line.
    Stream(Stream),
}

/// `awatch stream`
#[derive(Debug, Args)]
pub struct Stream {
    /// The workspace.
    pub name: WorkspaceName,
    /// Go on from here: a cursor that an earlier stream has said.
    #[arg(long, value_name = "CURSOR")]
    pub since: Option<Cursor>,
    /// The directory to watch.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Whose workspace: USER@HOST. This account and this host unless given.
    #[arg(long, value_name = "AUTHOR")]
    pub author: Option<String>,
    /// Say nothing of this path and what is below it; "." is the whole workspace.
    #[arg(long, value_name = "PATH")]
    pub hide: Vec<PathBuf>,
    /// Say all of this path, within one that is hidden.
    #[arg(long, value_name = "PATH")]
    pub show: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
