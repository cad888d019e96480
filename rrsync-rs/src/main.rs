//! `rrsync-rs`, the gate: a forced command that lets one SSH key move files, and do nothing else.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    rrsync_rs::gate::main()
}
