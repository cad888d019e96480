//! `make install`: what it refuses before anything is built or written.

use std::path::Path;
use std::process::Command;

#[test]
fn a_relative_prefix_is_refused() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for args in [&[][..], &["uninstall"]] {
        let mut script = Command::new(root.join("scripts/install.sh"));
        let output = script.args(args).env("PREFIX", "no-such-prefix").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said, "install.sh: PREFIX is not an absolute path: no-such-prefix\n");
    }
    assert!(!root.join("no-such-prefix").exists());
}
