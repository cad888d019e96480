//! The command line of awatch(1), and nothing else: what was typed, each word already a checked type.

#![allow(
    clippy::doc_markdown,
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments are the help text, which has no markup"
)]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use rrsync_rs::name::{Label, WorkspaceName};

use super::daemon::log::Level;
use super::nats::server::Url;
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
    /// Watch workspaces for good: those of a file, or one directory.
    Run(Run),
    /// Show how the daemon and its workspaces are.
    Status(Status),
    /// Write the changes of a workspace to standard output, one JSON object a line.
    Stream(Stream),
    /// List the workspaces that are announced, wherever they are.
    Workspaces(Workspaces),
}

/// `awatch run`
#[derive(Debug, Args)]
pub struct Run {
    /// The directory to watch; without it, the workspaces of the configuration.
    pub dir: Option<PathBuf>,
    /// The workspace's name; the last part of DIR unless given.
    #[arg(long, requires = "dir")]
    pub name: Option<WorkspaceName>,
    /// The label under which it is found with others.
    #[arg(long, value_name = "LABEL", requires = "dir")]
    pub project: Option<Label>,
    /// Publish to the server that the bundle of this federation names.
    #[arg(long, value_name = "NAME", requires = "dir", conflicts_with = "nats")]
    pub federation: Option<Label>,
    /// Publish to this server.
    #[arg(long, value_name = "URL", requires = "dir")]
    pub nats: Option<Url>,
    /// The configuration; ~/.config/akeys/watch.toml unless given.
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    pub config: Option<PathBuf>,
    /// What to say: error, warning, notice, info or debug.
    #[arg(long, value_name = "LEVEL", default_value = "notice")]
    pub log: Level,
}

/// `awatch status`
#[derive(Debug, Args)]
pub struct Status {
    /// Only this workspace.
    pub name: Option<WorkspaceName>,
    /// Show it again every second, until interrupted.
    #[arg(long)]
    pub follow: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `awatch stream`
#[derive(Debug, Args)]
pub struct Stream {
    /// The workspace.
    pub name: WorkspaceName,
    /// Go on from here: a cursor that an earlier stream has said.
    #[arg(long, value_name = "CURSOR")]
    pub since: Option<Cursor>,
    /// The directory to watch where no daemon watches the workspace; the configuration may know it.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The journal of the daemon that watches it.
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// A file that says what to pass over, where no daemon watches the workspace.
    #[arg(long, value_name = "FILE")]
    pub ignore: Option<PathBuf>,
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

/// `awatch workspaces`
#[derive(Debug, Args)]
pub struct Workspaces {
    /// Only those of this project.
    #[arg(long, value_name = "LABEL")]
    pub project: Option<Label>,
    /// Ask this server; that of the configuration unless given.
    #[arg(long, value_name = "URL", conflicts_with = "federation")]
    pub nats: Option<Url>,
    /// Ask the server that the bundle of this federation names.
    #[arg(long, value_name = "NAME")]
    pub federation: Option<Label>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
