//! Where rrsync 3.5.0 leaks, breaks or gives up, with the real client: what the gate does instead.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod closed;
mod works;

use support::said;

/// Asserts a client's exit code.
#[track_caller]
fn ends(output: &std::process::Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
}
