//! The command line of afiles(1), and nothing else: what was typed, each word already a checked type.

#![allow(
    clippy::doc_markdown,
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments are the help text, which has no markup"
)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand};
use rrsync_rs::name::Label;

use super::follow::Source;
use super::receive::{Durability, Symlinks};
use super::words::{BadWord, Push, Remote, VersionWord};

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
    /// Make a directory here the same as one in a workspace.
    Pull(Pull),
    /// Say what a pull would do.
    Diff(Diff),
    /// Keep directories here the same as others in workspaces, as they change.
    Follow(Follow),
    /// Send what is new in a directory here to one in a workspace.
    Push(PushArgs),
    /// Show what is in a directory of a workspace.
    Ls(Ls),
    /// Show how copies stand: in sync, or behind by how much, and why.
    Status(Status),
    /// Show what was transferred.
    History(History),
    /// Show what a path has had before.
    Versions(Versions),
    /// Bring back what a path has had before, under a name that is free.
    Restore(Restore),
    /// Let go of what paths had before, and nothing has since.
    Forget(Forget),
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

/// `afiles pull`
#[derive(Debug, Args)]
pub struct Pull {
    /// What: [PROJECT/ or USER@HOST/]WORKSPACE:[PATH], a directory.
    #[arg(value_name = "SRC", value_parser = remote())]
    pub source: Remote,
    /// The directory here; it is made if it is missing.
    #[arg(value_name = "DST")]
    pub target: PathBuf,
    /// How files arrive.
    #[command(flatten)]
    pub receiving: Receiving,
    /// Keep what is overwritten or removed here, also what is only a copy.
    #[arg(long)]
    pub keep_versions: bool,
    /// Make DST a copy of SRC although it is one of something else.
    #[arg(long)]
    pub adopt: bool,
    /// Print an event for each file, as JSON, one a line.
    #[arg(long)]
    pub json: bool,
}

/// `afiles diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// What: [PROJECT/ or USER@HOST/]WORKSPACE:[PATH], a directory.
    #[arg(value_name = "SRC", value_parser = remote())]
    pub source: Remote,
    /// The directory here.
    #[arg(value_name = "DST")]
    pub target: PathBuf,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub json: bool,
}

/// `afiles push`
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The directory here.
    #[arg(value_name = "SRC")]
    pub source: PathBuf,
    /// Where its content goes: [PROJECT/ or USER@HOST/]WORKSPACE:[PATH].
    #[arg(value_name = "DST", value_parser = remote())]
    pub target: Remote,
    /// Remove there what is not here.
    #[arg(long)]
    pub delete: bool,
    /// Print an event for each file, as JSON, one a line.
    #[arg(long)]
    pub json: bool,
}

/// `afiles history`
#[derive(Debug, Args)]
pub struct History {
    /// Only of this path here, and of what is below it.
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// How many, the last ones.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub last: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `afiles versions`
#[derive(Debug, Args)]
pub struct Versions {
    /// A path in a copy, or in a workspace whose grants say versions = true; of a directory, all that was in it.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `afiles restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// Which version: the path and its number, as afiles versions shows them.
    #[arg(value_name = "PATH@N", value_parser = OsStringValueParser::new().try_map(|word| VersionWord::read(&word)))]
    pub version: VersionWord,
    /// Its name. There must be nothing of that name.
    #[arg(long, value_name = "NAME")]
    pub to: PathBuf,
}

/// `afiles forget`
#[derive(Debug, Args)]
pub struct Forget {
    /// A path in a copy, or in a workspace whose grants say versions = true; of a directory, all that was in it.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Only of what was overwritten or removed longer ago than this.
    #[arg(long, value_name = "DAYS")]
    pub older_than: u32,
}

/// `afiles follow`
#[derive(Debug, Args)]
pub struct Follow {
    /// What, and the directory here: [PROJECT/ or USER@HOST/]WORKSPACE:[PATH] DIRECTORY, as often as you like. Without them, what
    /// the configuration file says.
    #[arg(value_name = "SRC DST")]
    pub copies: Vec<OsString>,
    /// How files arrive.
    #[command(flatten)]
    pub receiving: Receiving,
    /// Keep what is overwritten or removed here, also what is only a copy.
    #[arg(long)]
    pub keep_versions: bool,
    /// Run this with sh when something has changed, in DST, with the changed paths on its standard input, a NUL behind each.
    #[arg(long, value_name = "COMMAND")]
    pub on_change: Option<OsString>,
    /// Bring back what changes in this directory of the copy.
    #[arg(long, value_name = "DIR=WORKSPACE:[PATH]", value_parser = OsStringValueParser::new().try_map(|word| Push::read(&word)))]
    pub push: Vec<Push>,
    /// Only this copy of those in the configuration file.
    #[arg(long, value_name = "NAME", conflicts_with = "copies")]
    pub only: Option<Label>,
    /// Make DST a copy of SRC although it is one of something else.
    #[arg(long)]
    pub adopt: bool,
    /// Where the events come from: ssh or nats.
    #[arg(long, value_name = "SOURCE", default_value = "ssh", hide_possible_values = true)]
    pub events: Source,
    /// Print an event for everything that happens, as JSON, one a line.
    #[arg(long)]
    pub json: bool,
}

/// `afiles status`
#[derive(Debug, Args)]
pub struct Status {
    /// Show it again every second, until interrupted.
    #[arg(long)]
    pub follow: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
