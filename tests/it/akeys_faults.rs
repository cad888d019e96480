//! Full disks, missing rights and kill -9: the old or the new file is there, whole, and never a key without its policy.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::akeys_home::{FOREIGN, Home, Ran};
use crate::support::{copy_program, our_program};

/// Long enough that the file does not fit into what the limits below allow, while a policy does.
fn long_file() -> String {
    format!("{FOREIGN} alice\n").repeat(40)
}

fn with_long_file() -> Home {
    let home = Home::with_federation();
    home.write(".ssh/authorized_keys", &long_file());
    home
}

/// `akeys install` with a limit on the size of any file that it writes, after the shell's `prepare`.
fn install_with_limit(home: &Home, prepare: &str) -> Ran {
    let mut command = Command::new("/bin/sh");
    let script = format!("ulimit -c 0; {prepare} ulimit -f 2; exec \"$0\" \"$@\"");
    home.settle(&mut command).args(["-c", &script]).arg(our_program("akeys")).args(["install", "--gate"]);
    command.arg(home.gate()).args(["--federation", "playground", "--workspace", &home.at("papers")]);
    Ran::from(&command.output().unwrap())
}

#[test]
fn a_full_disk_leaves_everything_as_it_was() {
    let home = with_long_file();
    let ran = install_with_limit(&home, "trap '' XFSZ;").fails(1, "~/.ssh/authorized_keys: File too large");
    assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    assert_eq!(home.keys(), long_file());
    assert_eq!(home.names(".ssh"), ["akeys", "authorized_keys"]);
    assert_eq!(home.names(".config/akeys/grants"), [""; 0]);
    assert_eq!(home.names(".local/state/akeys/backups"), [""; 0]);
}

#[test]
fn killed_in_the_middle_of_a_write_it_leaves_the_old_file_and_the_next_run_mends_the_rest() {
    let home = with_long_file();
    assert_eq!(install_with_limit(&home, "").code, -1);
    assert_eq!(home.keys(), long_file());
    // The policy is there without a key line, which grants nothing; so is half a file under a name of ours.
    assert_eq!(home.names(".config/akeys/grants"), ["playground.chef1.toml"]);
    assert_eq!(home.names(".ssh").len(), 3);
    home.install_papers().ok();
    assert!(home.keys().starts_with(&long_file()));
    assert_eq!(home.keys().lines().count(), 41);
    assert_eq!(home.names(".ssh"), ["akeys", "authorized_keys"]);
}

/// The system calls that change something, each of which is where a kill may hit.
const CALLS: [&str; 8] = ["write", "fsync", "/^rename", "/^link", "/^unlink", "/^mkdir", "fchmod", "flock"];

/// More often than any of them is called.
const TRIES: usize = 20;

#[test]
fn killed_at_any_system_call_it_leaves_no_half_state() {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    if !traced.is_ok_and(|output| output.status.success()) {
        eprintln!("strace is missing or may not trace: kills at system calls were not tried");
        return;
    }
    let pod = Home::new();
    pod.akeys(&["federation", "new", "playground", "--pod", "chef1"]).ok();
    let bundle = pod.akeys(&["federation", "export", "playground"]).ok().out;
    let mut kills = 0;
    for before in [format!("{FOREIGN} alice\n"), String::new()] {
        for call in CALLS {
            let mut killed = 0;
            for when in 1..=TRIES {
                let at = format!("{call} {when}");
                let home = Home::new();
                home.make("papers");
                home.write("bundle.toml", &bundle);
                if !before.is_empty() {
                    home.write(".ssh/authorized_keys", &before);
                }
                home.write("host.pub", FOREIGN);
                let (bundle, papers) = (home.at("bundle.toml"), home.at("papers"));
                let card = ["--address", "laptop:22", "--host-key", "host.pub"];
                let install = [&["--bundle", &bundle, "--workspace", &papers][..], &card].concat();
                let mut command = Command::new("strace");
                let inject = format!("inject={call}:signal=KILL:when={when}");
                home.settle(&mut command).args(["-f", "-o", "/dev/null", "-e", &inject]);
                command.arg(our_program("akeys")).args(["install", "--gate"]).arg(home.gate());
                let status = command.args(&install).output().unwrap().status;
                sound(&home, &before, &at);
                home.install(&install).ok();
                assert_eq!(home.keys().lines().count(), before.lines().count() + 1, "{at}");
                assert_eq!(home.names(".ssh"), ["authorized_keys"], "{at}");
                assert_eq!(home.names(".config/akeys/grants"), ["playground.chef1.toml"], "{at}");
                assert_eq!(home.names(".config/akeys/issued"), ["playground.chef1.toml"], "{at}");
                if status.success() {
                    break;
                }
                killed += 1;
            }
            assert!(killed < TRIES, "{call} is called more often than was tried");
            kills += killed;
        }
    }
    assert!(kills > 20, "only {kills} kills hit");
}

/// The old file, or the new one with its policy.
fn sound(home: &Home, before: &str, at: &str) {
    let keys = home.keys();
    let added = keys.strip_prefix(before).unwrap_or_else(|| panic!("{at}: {keys}"));
    match added {
        "" => {}
        line => {
            assert!(
                line.starts_with("restrict,") && line.ends_with(" akeys:playground.chef1\n"),
                "{at}: {line}"
            );
            assert_eq!(home.names(".config/akeys/grants"), ["playground.chef1.toml"], "{at}");
        }
    }
}

#[test]
fn a_directory_without_the_right_to_write_leaves_everything_as_it_was() {
    let home = with_long_file();
    // Root may write everywhere, so the test steps down; then the program has to be where the other may reach it.
    let program = home.around().join("bin/akeys");
    copy_program(&our_program("akeys"), &program);
    let root = nix::unistd::geteuid().is_root();
    if root {
        give_away(home.around());
    }
    fs::set_permissions(home.path().join(".ssh"), Permissions::from_mode(0o500)).unwrap();
    let before = home.keys();
    let mut command = Command::new(&program);
    home.settle(&mut command)
        .args(["install", "--federation", "playground", "--workspace"])
        .arg(home.at("papers"));
    if root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let ran = Ran::from(&command.output().unwrap());
    fs::set_permissions(home.path().join(".ssh"), Permissions::from_mode(0o700)).unwrap();
    ran.fails(1, "akeys: ~/.ssh/authorized_keys: Permission denied");
    assert_eq!(home.keys(), before);
    assert_eq!(home.names(".config/akeys/grants"), [""; 0]);
}

#[test]
fn files_of_somebody_else_are_refused() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can give files away: not tried");
        return;
    }
    let home = with_long_file();
    let keys = home.path().join(".ssh/authorized_keys");
    chown(&keys, Some(NOBODY), None).unwrap();
    home.install_papers().fails(1, "~/.ssh/authorized_keys is owned by somebody else");
    chown(&keys, Some(0), None).unwrap();
    chown(home.path().join(".ssh"), Some(NOBODY), None).unwrap();
    home.install_papers().fails(1, "~/.ssh is owned by somebody else");
    assert_eq!(home.keys(), long_file());
    assert_eq!(home.names(".config/akeys/grants"), [""; 0]);
}

/// The account that owns nothing.
const NOBODY: u32 = 65534;

fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}
