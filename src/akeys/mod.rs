//! The program `akeys`: keys and their policies, from the pod that makes one to the user who takes it back.
//!
//! `run` reads a command line and hands it to one subcommand. A subcommand returns what it has to say; nothing else prints.

pub mod account;
pub mod accounts;
pub mod acting;
pub mod add;
pub mod apply;
pub mod audit;
pub mod bundle;
pub mod cli;
mod completions;
pub mod difference;
pub mod directory;
pub mod disable;
pub mod doctor;
mod effect;
pub mod elsewhere;
pub mod expire;
pub mod explain;
mod failures;
pub mod federation;
pub mod forced;
pub mod format;
pub mod gate;
pub mod glob;
pub mod grant;
pub mod grants;
pub mod guard;
pub mod history;
pub mod host;
pub mod install;
pub mod key_pair;
pub mod learn;
pub mod line_options;
pub mod lines;
pub mod list;
pub mod names;
pub mod policy;
pub mod present;
pub mod relation;
pub mod remove;
pub mod report;
pub mod rotate;
pub mod safe_write;
pub mod shelf;
pub mod source;
pub mod spelling;
pub mod sshd;
pub mod strict;
pub mod sub_path;
pub mod used;
pub mod users;
pub mod words;

use std::process::ExitCode;

use clap::Parser as _;
use rrsync_rs::layout::Layout;

use crate::common::command_line::nothing_to_do;
use crate::common::exit::{Exit, Failure};
use crate::common::report::{Report, finish};
use cli::{Cli, Command};
use disable::Turn;

/// Runs the program with the arguments and the environment of this process.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return nothing_to_do("akeys", &error),
    };
    let outcome = home(&cli)
        .and_then(|layout| command(cli.command, &layout).map_err(|failure| failure.abbreviated(&layout)));
    sshd::memory::keep();
    finish("akeys", outcome)
}

/// The account that is meant: this one, or the one that root acts for.
fn home(cli: &Cli) -> Result<Layout, Failure> {
    match &cli.account {
        Some(name) => acting::become_account(name, &cli.command),
        None => Layout::from_env()
            .ok_or_else(|| Failure::new(Exit::Failed, "HOME is not set to an absolute path")),
    }
}

fn command(command: Command, layout: &Layout) -> Result<Report, Failure> {
    match command {
        Command::Federation(command) => federation::run(command, layout),
        Command::Install(args) => install::run(&args, layout),
        Command::List(args) => list::run(&args, layout),
        Command::Report(args) => report::run(&args, layout),
        Command::Explain(args) => explain::run(&args, layout),
        Command::Audit(args) => audit::run(&args, layout),
        Command::Doctor(args) => doctor::run(&args, layout),
        Command::Users(args) => users::run(&args, layout),
        Command::Add(args) => add::run(&args, layout),
        Command::Apply(args) => apply::run(&args, layout),
        Command::Format(args) => format::run(&args, layout),
        Command::Rotate(args) => rotate::run(&args, layout),
        Command::Expire(args) => expire::run(&args, layout),
        Command::Remove(args) => remove::run(&args, layout),
        Command::Grant(command) => grant::run(&command, layout),
        Command::Learn(args) => learn::run(&args, layout),
        Command::Log(args) => history::log(&args, layout),
        Command::Diff(args) => history::diff(&args, layout),
        Command::Completions(args) => Ok(completions::run(&args)),
        Command::Undo(args) => history::undo(&args, layout),
        Command::Disable(args) => disable::run(Turn::Off, &args, layout),
        Command::Enable(args) => disable::run(Turn::On, &args, layout),
    }
}
