//! The inputs that are kept: `seeds`, which were made by hand, and `corpus`, which a fuzzer has found.

use std::fs;
use std::panic;
use std::path::Path;

/// All that is kept for the target `name` in `fuzz`, this directory.
pub fn of(fuzz: &Path, name: &str) -> Vec<Vec<u8>> {
    let kept = |kind: &str| -> Vec<Vec<u8>> {
        let entries = fs::read_dir(fuzz.join(kind).join(name)).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert!(!paths.is_empty(), "{name} has no {kind}");
        paths.sort();
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    };
    [kept("seeds"), kept("corpus")].concat()
}

/// Runs the target `name` on `data`, and says on which it fails.
pub fn attempt(name: &str, run: fn(&[u8]), data: &[u8]) {
    let outcome = panic::catch_unwind(|| run(data));
    assert!(outcome.is_ok(), "{name} fails with \"{}\"", data.escape_ascii());
}
