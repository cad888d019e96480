//! Everything once more as an ordinary user, when the tests run as root: that is the user the toolkit is for.
//!
//! The test binary copies itself and our programs to a directory that all may read and starts again there, in a
//! private mount namespace whose `/etc/passwd` has one more account. The machine's own accounts stay as they are.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{PROGRAMS_DIR, Run, copy_program, find_program, gate, is_root, our_program, run};

/// A user and group id that no account has on Debian, below those of dynamic users.
const ID: u32 = 59_123;

#[test]
fn everything_again_without_roots_rights() {
    if !is_root() {
        return;
    }
    let namespace = Command::new(find_program("unshare")).args(["--mount", "true"]).output().unwrap();
    if !namespace.status.success() {
        eprintln!("skipped: no mount namespace here; run the tests once more as an ordinary user");
        return;
    }
    let scratch = tempfile::Builder::new().prefix("akeys-user-").tempdir().unwrap();
    let dir = scratch.path();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let home = dir.join("home");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(ID), Some(ID)).unwrap();
    // A directory of their own: nothing beside the gate may be a workspace.
    let programs = dir.join("programs");
    fs::create_dir(&programs).unwrap();
    fs::set_permissions(&programs, fs::Permissions::from_mode(0o755)).unwrap();
    let tests = std::env::current_exe().unwrap();
    copy_program(&tests, &programs.join("it"));
    for (program, name) in [
        (our_program("akeys"), "akeys"),
        (our_program("awatch"), "awatch"),
        (our_program("afiles"), "afiles"),
        (gate(), "rrsync-rs"),
    ] {
        copy_program(&program, &programs.join(name));
    }
    let outcome = run(
        &mut as_user(dir, &programs, &home),
        &Run { deadline: Some(Duration::from_mins(20)), ..Run::default() },
    );
    let report = outcome.stdout_text();
    eprintln!(
        "as user {ID}: {}",
        report.lines().rev().find(|line| line.starts_with("test result")).unwrap_or("")
    );
    let outcome = outcome.succeeds();
    assert!(!report.contains(" 0 passed"), "no test ran\n{outcome}");
}

fn as_user(dir: &Path, programs: &Path, home: &Path) -> Command {
    let passwd = dir.join("passwd");
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    fs::write(&passwd, format!("{accounts}tester:x:{ID}:{ID}::{}:/bin/bash\n", home.display())).unwrap();
    fs::set_permissions(&passwd, fs::Permissions::from_mode(0o644)).unwrap();
    let script =
        "mount --bind \"$0\" /etc/passwd && exec setpriv --reuid=\"$1\" --regid=\"$1\" --clear-groups \"$2\"";
    let mut command = Command::new(find_program("unshare"));
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(passwd)
        .arg(ID.to_string())
        .arg(programs.join("it"))
        .current_dir(home)
        .env("HOME", home)
        .env("TMPDIR", home)
        .env(PROGRAMS_DIR, programs);
    command
}
