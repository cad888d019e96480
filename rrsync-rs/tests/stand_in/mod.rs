//! The hostile stand-in for rsync, `examples/stand_in`, built and put where the gate will run it.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::{Account, GATE};

/// The built program: beside the directory of this test's own binary. Cargo builds examples for a run of all tests, and
/// not for a run of this one.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().with_file_name("examples").join("stand_in");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", "stand_in"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        // `target/TARGET/PROFILE/rrsync-rs`
        cargo.arg("--target").arg(Path::new(GATE).ancestors().nth(2).unwrap().file_name().unwrap());
        let status = cargo.status();
        // An account that may not run cargo uses what is there.
        assert!(program.exists(), "{} is not built: {status:?}", program.display());
        program
    })
}

/// Puts the stand-in into the account, and returns the gate's flags that make it the rsync to run.
pub fn install(account: &Account) -> String {
    let program = account.root.join("stand_in");
    if fs::hard_link(built(), &program).is_err() {
        // Copied by another process: a descriptor open for writing here could be caught by a fork, and make it busy.
        assert!(Command::new("cp").arg(built()).arg(&program).status().unwrap().success());
    }
    format!("-rsync {}", program.display())
}

/// Starts the gate with `flags` and the exposed directory, and waits until the stand-in has stopped itself; `None` when
/// the gate has ended in its place.
pub fn start_stopped(account: &Account, flags: &str, command: &str) -> Option<Child> {
    start_stopped_by(account, &format!("{flags} {}", account.d("").display()), command)
}

/// The same with these flags and nothing else: for a grant.
#[allow(clippy::zombie_processes, reason = "one that has not stopped has ended, and was waited for")]
pub fn start_stopped_by(account: &Account, flags: &str, command: &str) -> Option<Child> {
    let child = Command::new(GATE)
        .args(flags.split_whitespace())
        .env_clear()
        .env("HOME", account.root.join("home"))
        .env("SSH_ORIGINAL_COMMAND", command)
        .current_dir(&account.root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let status = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    matches!(status, WaitStatus::Stopped(_, Signal::SIGSTOP)).then_some(child)
}
