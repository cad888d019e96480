//! Runs a program and prints how much memory it, or the largest of its children, has had at most, in KiB. With
//! `-o FILE` the program keeps its standard streams, and the file gets that number and the seconds of processor time.
//!
//! A program's peak counts what its parent had when it was started, so the parent must be a small one: Python is not.

use std::process::{Command, Stdio};

const RUSAGE_CHILDREN: i32 = -1;

unsafe extern "C" {
    /// getrusage(2). `struct rusage` is two `struct timeval` and fourteen `long`, the first of which is `ru_maxrss`.
    fn getrusage(who: i32, usage: *mut [i64; 18]) -> i32;
}

fn main() {
    let mut args = std::env::args_os().skip(1).peekable();
    let file = args.next_if(|arg| arg == "-o").and_then(|_| args.next());
    let mut command = Command::new(args.next().expect("a program to run"));
    if file.is_none() {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    }
    let status = command.args(args).status().expect("the program runs");
    let mut usage = [0; 18];
    // SAFETY: the array has the size and alignment of `struct rusage` on 64-bit Linux, and lives through the call.
    unsafe { getrusage(RUSAGE_CHILDREN, &raw mut usage) };
    let [user, user_micros, system, system_micros, kib, ..] = usage;
    match file {
        None => println!("{kib}"),
        Some(file) => {
            let seconds = (user + system) as f64 + (user_micros + system_micros) as f64 / 1e6;
            std::fs::write(file, format!("{kib} {seconds}\n")).expect("the file can be written");
            std::process::exit(status.code().unwrap_or(1));
        }
    }
}
