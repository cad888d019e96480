//! The program `awatch`: every settled change of a workspace, once.
//!
//! `watcher` finds the changes, `record` makes events of them, and a subcommand says where they go.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod index;
pub mod journal;
pub mod names;
pub mod nats;
pub mod pass_over;
pub mod record;
mod run;
pub mod sight;
mod status;
mod stream;
pub mod watcher;
mod workspaces;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use rrsync_rs::layout::Layout;

use crate::common::exit::{Exit, Failure};
use crate::common::report::{Report, finish};
use cli::{Cli, Command};

/// Runs the program with the arguments and the environment of this process.
pub fn run() -> ExitCode {
    let outcome = match Cli::try_parse() {
        Ok(cli) => command(cli.command),
        Err(error) => return no_command(&error),
    };
    finish("awatch", outcome)
}

/// Says why there is nothing to do, or what was asked of the command line itself.
fn no_command(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done.into();
    }
    let text = error.to_string();
    let said = text.strip_prefix("error: ").map_or_else(|| text.clone(), |what| format!("awatch: {what}"));
    let _ = io::stderr().write_all(said.as_bytes());
    Exit::Usage.into()
}

fn command(command: Command) -> Result<Report, Failure> {
    match command {
        Command::Run(args) => {
            let layout = layout()?;
            let ended = run::run(&args, &layout).map_err(|failure| failure.abbreviated(&layout));
            ended.map(|()| Report::default())
        }
        Command::Status(args) => {
            let layout = layout()?;
            status::run(&args, &layout).map_err(|failure| failure.abbreviated(&layout))
        }
        Command::Workspaces(args) => {
            let layout = layout()?;
            workspaces::run(&args, &layout).map_err(|failure| failure.abbreviated(&layout))
        }
        // In confinement there is no home.
        Command::Stream(args) => stream::run(&args).map(|()| Report::default()),
    }
}

fn layout() -> Result<Layout, Failure> {
    Layout::from_env().ok_or_else(|| Failure::new(Exit::Failed, "HOME is not set to an absolute path"))
}
