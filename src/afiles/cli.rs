//! The command line of afiles(1), and nothing else: what was typed, each word already a checked type.

#![allow(clippy::doc_markdown, reason = "the doc comments are the help text, which has no markup")]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand};

use super::receive::{Durability, Symlinks};
use super::words::{BadWord, Remote};

/// Move files between here and the workspaces of others, in both directions, never half.
#[derive(Debug, Parser)]
#[command(name = "afiles", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring a file or a directory here under a new name, which is there when all of it is.
    Fetch(Fetch),
    /// Show what is in a directory of a workspace.
    Ls(Ls),
}

fn remote() -> impl clap::builder::TypedValueParser<Value = Remote> {
    OsStringValueParser::new().try_map(|word: OsString| -> Result<Remote, BadWord> { Remote::read(&word) })
}

/// `afiles fetch`
#[derive(Debug, Args)]
pub struct Fetch {
    /// What: [PROJECT/ or USER@HOST/]WORKSPACE:[PATH].
    #[arg(value_name = "SRC", value_parser = remote())]
    pub source: Remote,
    /// Its name here. There must be nothing of that name.
    #[arg(value_name = "DST")]
    pub target: PathBuf,
    /// How it arrives.
    #[command(flatten)]
    pub receiving: Receiving,
    /// Print an event for each file, as JSON, one a line.
    #[arg(long)]
    pub json: bool,
}

/// How files arrive.
#[derive(Debug, Clone, Copy, Args)]
pub struct Receiving {
    /// What is on the disk before a file is seen: nothing, each file, or the files of a group together.
    #[arg(long, value_name = "WHAT", default_value = "batch")]
    pub durability: Durability,
    /// What becomes of a symlink that leads out of the copy.
    #[arg(long, value_name = "WHAT", default_value = "skip")]
    pub outside_links: Symlinks,
}

/// `afiles ls`
#[derive(Debug, Args)]
pub struct Ls {
    /// Where: [PROJECT/ or USER@HOST/]WORKSPACE:[PATH]. Without it, the workspaces that this pod knows.
    #[arg(value_name = "SRC", value_parser = remote())]
    pub source: Option<Remote>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
