//! `akeys doctor`: whether keys of this account will work, and whether they are safe.
//!
//! Each check is one line: `pass`, `warn` or `fail`, and for the last two the command that mends it. `account` looks at
//! the login shell and what it runs first, `keys` at the key file and the policies, `server` at sshd, `programs` at the
//! gate, rsync and the kernel. Nothing is changed; one start of the login shell is the only thing that runs.

mod account;
mod check;
mod keys;
mod programs;
mod server;

use rrsync_rs::layout::Layout;
use serde_json::{Value, json};

use super::account::Account;
use super::cli::Doctor;
use super::sshd::memory;
use crate::common::exit::{Exit, Failure};
use crate::common::json::ascii;
use crate::common::report::Report;

use check::{Check, State};

/// Runs it.
pub fn run(args: &Doctor, layout: &Layout) -> Result<Report, Failure> {
    memory::may_be_kept();
    let own = Account::own(layout.home());
    let mut checks = account::checks(&own);
    checks.extend(keys::checks(&own, layout));
    checks.extend(server::checks(&own));
    checks.extend(programs::checks());
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(State::Pass);
    let mut report = if args.json {
        let checks: Vec<Value> = checks.iter().map(Check::json).collect();
        Report::data(ascii(&json!({ "state": worst.to_string(), "checks": checks })))
    } else {
        Report::data(checks.iter().map(|check| check.text(layout)).collect())
    };
    if worst == State::Fail {
        report.exit = Exit::Findings;
    }
    Ok(report)
}
