//! `rrsync-rs`, the gate: a forced command that lets one SSH key move files, and do nothing else.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    rrsync_rs::gate::main()
}
