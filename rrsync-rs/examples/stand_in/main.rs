//! A hostile stand-in for rsync, for the tests: what a taken-over rsync would try once it runs.
//!
//! The gate runs it through `-rsync PATH`. What it does is said by an option that the gate passes on:
//! `--log-format=battery,ROOT,PID` tries every attack and prints one line for each; `files` in its
//! place, those on files;
//! `--log-format=stop` stops itself, and when it is continued, uses every path that it was given as rsync would.

#![allow(unsafe_code, reason = "hostile code makes system calls that no safe wrapper offers")]
#![allow(
    clippy::exit,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a program for the tests"
)]

mod attacks;
mod files;
mod paths;
mod sys;

use std::path::PathBuf;

/// What the attacks need to know about the scratch account.
pub struct Scene {
    /// Holds `D`, `home`, `outside`.
    pub root: PathBuf,
    /// A process of the same account, outside.
    pub victim: i32,
}

impl Scene {
    fn outside(&self, name: &str) -> String {
        format!("{}/outside/{name}", self.root.display())
    }

    fn inside(&self, name: &str) -> String {
        format!("{}/D/{name}", self.root.display())
    }
}

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let mode = args.iter().find_map(|arg| arg.strip_prefix("--log-format="));
    let mut words = mode.unwrap_or_default().split(',');
    match words.next() {
        Some(mode @ ("battery" | "files")) => {
            let root = words.next().unwrap().into();
            let victim = words.next().unwrap().parse().unwrap();
            let attack = if mode == "files" { attacks::on_files } else { attacks::battery };
            attack(&Scene { root, victim });
        }
        Some("stop") => {
            // SAFETY: a signal to this process, which has set no handler.
            unsafe { libc::raise(libc::SIGSTOP) };
            paths::use_all(&args);
        }
        // Asked by the gate what it understands: nothing.
        _ => return std::process::ExitCode::FAILURE,
    }
    std::process::ExitCode::SUCCESS
}
