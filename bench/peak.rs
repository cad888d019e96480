//! Runs a program and prints how much memory it, or the largest of its children, has had at most, in KiB.
//!
//! A program's peak counts what its parent had when it was started, so the parent must be a small one: Python is not.

use std::process::{Command, Stdio};

const RUSAGE_CHILDREN: i32 = -1;

unsafe extern "C" {
    /// getrusage(2). `struct rusage` is two `struct timeval` and fourteen `long`, the first of which is `ru_maxrss`.
    fn getrusage(who: i32, usage: *mut [i64; 18]) -> i32;
}

fn main() {
    let mut args = std::env::args_os().skip(1);
    let mut command = Command::new(args.next().expect("a program to run"));
    let null = || Stdio::null();
    command.args(args).stdin(null()).stdout(null()).stderr(null()).status().expect("the program runs");
    let mut usage = [0; 18];
    // SAFETY: the array has the size and alignment of `struct rusage` on 64-bit Linux, and lives through the call.
    unsafe { getrusage(RUSAGE_CHILDREN, &raw mut usage) };
    println!("{}", usage[4]);
}
