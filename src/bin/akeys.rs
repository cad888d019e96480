//! The entry point of `akeys`.

fn main() {}
