//! The hostile stand-in for rsync, `examples/stand_in`, built and put where the gate will run it.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::{Account, GATE, example};

/// Puts the stand-in into the account, and returns the gate's flags that make it the rsync to run.
pub fn install(account: &Account) -> String {
    let program = account.root.join("stand_in");
    if fs::hard_link(example("stand_in"), &program).is_err() {
        // Copied by another process: a descriptor open for writing here could be caught by a fork, and make it busy.
        assert!(Command::new("cp").arg(example("stand_in")).arg(&program).status().unwrap().success());
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
