//! Where the programs are, ours and the system's. A missing one fails loudly and says how to get it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Names a directory with our programs that is used instead of cargo's, when the tests run from a copy.
pub(crate) const PROGRAMS_DIR: &str = "AKEYS_TEST_PROGRAMS";

/// Names the target that the gate is built for, where that is another than these tests'.
const GATE_TARGET: &str = "GATE_TARGET";

/// A program of the system, by absolute path: sshd refuses to run under a relative one.
#[track_caller]
pub(crate) fn find_program(name: &str) -> PathBuf {
    look_for(name)
        .unwrap_or_else(|| panic!("{name} is not installed: apt-get install {}", debian_package(name)))
}

/// Whether a program that tests can do without is there.
pub(crate) fn has_program(name: &str) -> bool {
    look_for(name).is_some()
}

fn look_for(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An ordinary user's PATH often lacks the directories where Debian keeps sshd.
    let usual = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|dir| dir.join(name))
        .find(|file| file.is_absolute() && file.is_file())
}

fn debian_package(program: &str) -> &'static str {
    match program {
        "sshd" => "openssh-server",
        "ssh" | "scp" | "sftp" | "ssh-keygen" => "openssh-client",
        "rsync" | "rrsync" => "rsync",
        "setfacl" | "getfacl" => "acl",
        "setfattr" | "getfattr" => "attr",
        "nats-server" => "nats-server",
        "getent" => "libc-bin",
        "unshare" | "setpriv" => "util-linux",
        _ => "the package that has it (apt-file search)",
    }
}

/// A program of this package, as cargo built it for this test run.
#[track_caller]
pub(crate) fn our_program(name: &str) -> PathBuf {
    // `target/TARGET/PROFILE/akeys`
    let built = Path::new(env!("CARGO_BIN_EXE_akeys")).parent().unwrap();
    let dir = match (std::env::var_os(PROGRAMS_DIR), std::env::var_os(GATE_TARGET)) {
        (Some(copies), _) => PathBuf::from(copies),
        (None, Some(target)) if name == "rrsync-rs" => {
            built.ancestors().nth(2).unwrap().join(target).join(built.file_name().unwrap())
        }
        (None, _) => built.to_owned(),
    };
    let program = dir.join(name);
    assert!(
        program.is_file(),
        "{} is not built: run `make test`, or `cargo build --workspace --bins` first",
        program.display()
    );
    program
}

/// The gate. It is another package's program, so cargo does not build it for this package's tests.
#[track_caller]
pub(crate) fn gate() -> PathBuf {
    our_program("rrsync-rs")
}

/// Copies a program so that its owner alone can exchange it, whatever umask it was built under.
///
/// Another process does it. While this one has a program open for writing, a child that another test forks has it too,
/// and starting it fails with "text file busy".
#[track_caller]
pub(crate) fn copy_program(program: &Path, target: &Path) {
    let status = Command::new(find_program("install")).args(["-m", "755"]).arg(program).arg(target).status();
    assert!(status.unwrap().success(), "{} could not be copied to {}", program.display(), target.display());
}
