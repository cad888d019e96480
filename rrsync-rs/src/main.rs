//! The gate's entry point.

fn main() {}
