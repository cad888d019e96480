//! The program `afiles`: files between this pod and the workspaces of others, in both directions, never half.
//!
//! `words` says what was meant, `find` whose workspace that is, [`crate::common::ssh`] how it is reached. `receive` is how anything gets
//! its place here, whatever brought it: `get` over an open SFTP session, `rsync` for what is large or many.

mod announced;
mod catalog;
pub mod cli;
mod destination;
mod failures;
mod fetch;
mod find;
mod follow;
mod get;
mod history;
mod ls;
mod pull;
mod push;
mod receive;
mod receiver;
mod reconcile;
mod remote;
mod rsync;
mod sftp;
mod standing;
mod status;
mod tell;
mod versions;
mod walk;
mod words;

use std::process::ExitCode;

use clap::Parser as _;
use rrsync_rs::layout::Layout;

use crate::common::command_line::nothing_to_do;
use crate::common::exit::{Exit, Failure};
use crate::common::report::{Report, finish};
use cli::{Cli, Command};

/// Runs the program with the arguments and the environment of this process.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return nothing_to_do("afiles", &error),
    };
    let outcome = Layout::from_env()
        .ok_or_else(|| Failure::new(Exit::Failed, "HOME is not set to an absolute path"))
        .and_then(|layout| command(cli.command, &layout).map_err(|failure| failure.abbreviated(&layout)));
    finish("afiles", outcome)
}

fn command(command: Command, layout: &Layout) -> Result<Report, Failure> {
    match command {
        Command::Fetch(args) => fetch::run(&args, layout),
        Command::Pull(args) => pull::run(&args, layout),
        Command::Diff(args) => pull::diff(&args, layout),
        Command::Follow(args) => follow::run(&args, layout),
        Command::Push(args) => push::run(&args, layout),
        Command::Ls(args) => ls::run(&args, layout),
        Command::Status(args) => status::run(&args, layout),
        Command::History(args) => history::run(&args, layout),
        Command::Versions(args) => versions::list(&args, layout),
        Command::Restore(args) => versions::restore(&args, layout),
        Command::Forget(args) => versions::forget(&args, layout),
    }
}
