//! `akeys completions`: the words of this program, for a shell that completes them.

use clap::CommandFactory as _;
use clap_complete::Shell as Generator;
use clap_complete::generate;

use super::cli::{Cli, Completions, Shell};
use crate::common::report::Report;

/// Runs it.
pub fn run(args: &Completions) -> Report {
    let shell = match args.shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "akeys", &mut script);
    Report::data(String::from_utf8_lossy(&script).into_owned())
}
