//! A hostile stand-in for rsync, for the tests: what a taken-over rsync would try once it runs.
//!
//! The gate runs it through `-rsync PATH`. What it does is said by an option that the gate passes on:
//! `--log-format=battery,ROOT,PID` tries every attack and prints one line for each; `files` in its
//! place, those on files; `kept`, those on what the destination holds;
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
mod kept;
mod paths;
mod sys;

use std::path::PathBuf;

/// What the attacks need to know about the scratch account.
pub struct Scene {
    /// Holds `D`, `home`, `outside`.
    pub root: PathBuf,
    /// A process of the same account, outside.
    pub victim: i32,
    /// The directory where what arrives may be written, when there is one.
    pub staging: String,
}

impl Scene {
    fn outside(&self, name: &str) -> String {
        format!("{}/outside/{name}", self.root.display())
    }

    fn inside(&self, name: &str) -> String {
        format!("{}/D/{name}", self.root.display())
    }

    fn staged(&self, name: &str) -> String {
        format!("{}/{name}", self.staging)
    }
}

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let mode = args.iter().find_map(|arg| arg.strip_prefix("--log-format="));
    let mut words = mode.unwrap_or_default().split(',');
    match words.next() {
        Some(mode @ ("battery" | "files" | "kept")) => {
            let root = words.next().unwrap().into();
            let victim = words.next().unwrap().parse().unwrap();
            let attack = match mode {
                "files" => attacks::on_files,
                "kept" => attacks::on_what_is_kept,
                _ => attacks::battery,
            };
            let staging = args.iter().find_map(|arg| arg.strip_prefix("--temp-dir="));
            attack(&Scene { root, victim, staging: staging.unwrap_or("/nothing").to_owned() });
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
