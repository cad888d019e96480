//! The floor of the start-up benchmark: a static program that only becomes another one.

use std::os::unix::process::CommandExt as _;

fn main() {
    let mut args = std::env::args_os().skip(1);
    let error = std::process::Command::new(args.next().expect("a program to run")).args(args).exec();
    panic!("{error}");
}
