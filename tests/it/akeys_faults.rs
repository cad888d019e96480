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
pub(crate) const CALLS: [&str; 8] =
    ["write", "fsync", "/^rename", "/^link", "/^unlink", "/^mkdir", "fchmod", "flock"];

/// More often than any of them is called.
const TRIES: usize = 20;

/// Runs `akeys` in copies of a home, and kills it at one system call after the other. What it leaves each time must be
/// sound; then the same command is run again, and what it leaves then must be whole. Returns how often a kill hit.
pub(crate) fn killed_everywhere(
    prepared: &Home,
    args: &[&str],
    sound: impl Fn(&Home, &str),
    whole: impl Fn(&Home, &str),
) -> usize {
    let mut kills = 0;
    for call in CALLS {
        let mut killed = 0;
        for when in 1..=TRIES {
            let at = format!("{args:?} {call} {when}");
            let home = prepared.copy();
            let mut command = Command::new("strace");
            let inject = format!("inject={call}:signal=KILL:when={when}");
            home.settle(&mut command).args(["-f", "-o", "/dev/null", "-e", &inject]);
            let status = command.arg(our_program("akeys")).args(args).output().unwrap().status;
            sound(&home, &at);
            let again = home.akeys(args);
            // 4: the killed run has done all of it, and what it was told to remove is not there any more.
            assert!(matches!(again.code, 0 | 4), "{at}: {again:?}");
            whole(&home, &at);
            if status.success() {
                break;
            }
            killed += 1;
        }
        assert!(killed < TRIES, "{call} is called more often than was tried");
        kills += killed;
    }
    kills
}

pub(crate) fn may_trace() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let may = traced.is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("strace is missing or may not trace: kills at system calls were not tried");
    }
    may
}

#[test]
fn killed_at_any_system_call_it_leaves_no_half_state() {
    if !may_trace() {
        return;
    }
    let pod = Home::new();
    pod.akeys(&["federation", "new", "playground", "--pod", "chef1"]).ok();
    let bundle = pod.akeys(&["federation", "export", "playground"]).ok().out;
    for before in [format!("{FOREIGN} alice\n"), String::new()] {
        let home = Home::new();
        home.make("papers");
        home.write("bundle.toml", &bundle);
        home.write("host.pub", FOREIGN);
        if !before.is_empty() {
            home.write(".ssh/authorized_keys", &before);
        }
        let gate = home.gate();
        let install =
            ["install", "--gate", gate.to_str().unwrap(), "--bundle", "bundle.toml", "--workspace", "papers"];
        let card = ["--address", "laptop:22", "--host-key", "host.pub"];
        let kills = killed_everywhere(
            &home,
            &[&install[..], &card].concat(),
            |home, at| sound(home, &before, at),
            |home, at| {
                assert_eq!(home.keys().lines().count(), before.lines().count() + 1, "{at}");
                assert_eq!(home.names(".ssh"), ["authorized_keys"], "{at}");
                assert_eq!(home.names(".config/akeys/grants"), ["playground.chef1.toml"], "{at}");
                assert_eq!(home.names(".config/akeys/issued"), ["playground.chef1.toml"], "{at}");
            },
        );
        assert!(kills > 10, "only {kills} kills hit");
    }
}

#[test]
fn a_change_of_keys_that_is_killed_goes_on_where_it_was() {
    if !may_trace() {
        return;
    }
    let home = Home::with_federation();
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} alice\n"));
    home.install_papers().ok();
    let private = |home: &Home, name: &str| fs::read(home.path().join(".ssh/akeys").join(name)).ok();
    let old = private(&home, "playground.chef1").unwrap();
    let publish = |home: &Home| {
        let bundle = home.akeys(&["federation", "export", "playground"]).ok().out;
        home.write("playground.toml", &bundle);
    };
    let rotate = ["federation", "rotate", "playground"];
    let mut kills = killed_everywhere(
        &home,
        &rotate,
        |home, at| assert_eq!(private(home, "playground.chef1").as_ref(), Some(&old), "{at}"),
        |home, at| {
            let bundle = home.akeys(&["federation", "export", "playground"]).ok().out;
            let next = home.read(".ssh/akeys/next/playground.chef1.pub");
            assert!(bundle.contains(next.rsplit_once(' ').unwrap().0), "{at}: {bundle}");
            assert_eq!(bundle.matches("serial = 2\n").count(), 1, "{at}: {bundle}");
        },
    );
    home.akeys(&rotate).ok();
    publish(&home);
    let new = private(&home, "next/playground.chef1").unwrap();
    let import = ["federation", "import", "playground.toml"];
    let keys = home.keys();
    kills += killed_everywhere(&home, &import, |home, at| assert_eq!(home.keys(), keys, "{at}"), |_, _| ());
    home.akeys(&import).ok();
    let update = ["federation", "update", "playground"];
    let line = |home: &Home| home.keys().lines().nth(1).map(str::to_owned);
    let before = line(&home);
    let public = home.read(".ssh/akeys/next/playground.chef1.pub").split(' ').nth(1).unwrap().to_owned();
    kills += killed_everywhere(
        &home,
        &update,
        |home, at| assert!(line(home) == before || line(home).unwrap().contains(&public), "{at}"),
        |home, at| assert!(line(home).unwrap().contains(&public), "{at}"),
    );
    // The new key is never lost, and the old one not before the new one has its name.
    let mut finished = home.copy();
    for name in ["playground.chef1.pub", "next/playground.chef1.pub"] {
        assert!(private(&home, name).is_some());
    }
    for call in ["/^rename", "fsync", "/^unlink", "flock"] {
        for when in 1..=TRIES {
            let at = format!("finish {call} {when}");
            finished = home.copy();
            let mut command = Command::new("strace");
            let inject = format!("inject={call}:signal=KILL:when={when}");
            finished.settle(&mut command).args(["-f", "-o", "/dev/null", "-e", &inject]);
            command.arg(our_program("akeys")).args(rotate).args(["--finish", "--unproven"]);
            let status = command.output().unwrap().status;
            let (path, next) =
                (private(&finished, "playground.chef1"), private(&finished, "next/playground.chef1"));
            assert!(
                (path.as_ref(), next.as_ref()) == (Some(&old), Some(&new))
                    || (path.as_ref(), next) == (Some(&new), None),
                "{at}"
            );
            if status.success() {
                break;
            }
            kills += 1;
            // Either command completes it: the one that finishes where there is something to finish.
            if private(&finished, "next/playground.chef1").is_some() {
                finished.akeys(&[&rotate[..], &["--finish", "--unproven"]].concat()).ok();
            } else {
                finished
                    .akeys(&[&rotate[..], &["--finish", "--unproven"]].concat())
                    .fails(4, "is being changed");
            }
            assert_eq!(private(&finished, "playground.chef1").as_ref(), Some(&new), "{at}");
            assert!(finished.read(".ssh/akeys/playground.chef1.pub").contains(&public), "{at}");
        }
    }
    assert!(finished.read(".ssh/akeys/playground.chef1.pub").contains(&public));
    assert!(kills > 40, "only {kills} kills hit");
}

#[test]
fn a_revocation_and_a_meeting_that_are_killed_go_on_where_they_were() {
    if !may_trace() {
        return;
    }
    let home = Home::with_federation();
    home.install_papers().ok();
    let revoke = ["federation", "revoke", "playground", "--pod", "chef1"];
    let says = |home: &Home| home.read(".config/akeys/federations/playground.toml").contains("[[revoked]]");
    let mut kills = killed_everywhere(
        &home,
        &revoke,
        // A key is not removed before the bundle says why.
        |home, at| assert!(says(home) || home.names(".ssh/akeys").len() == 3, "{at}"),
        |home, at| assert!(says(home) && home.names(".ssh/akeys") == ["signers"], "{at}"),
    );
    home.akeys(&revoke).ok();
    home.write("playground.toml", &home.akeys(&["federation", "export", "playground"]).ok().out);
    home.akeys(&["federation", "import", "playground.toml"]).ok();
    kills += killed_everywhere(
        &home,
        &["federation", "update", "playground"],
        // There is never a key without its policy.
        |home, at| assert!(home.keys().is_empty() || home.names(".config/akeys/grants").len() == 1, "{at}"),
        |home, at| assert!(home.keys().is_empty() && home.names(".config/akeys/grants").is_empty(), "{at}"),
    );
    let pod = Home::with_federation();
    pod.write(
        "card.toml",
        &format!(
            "federation = \"playground\"\npod = \"chef1\"\nuser = \"anna\"\nhost = \"laptop\"\nworkspaces = [\"w\"]\nhost-keys = [\"{FOREIGN}\"]\n"
        ),
    );
    let pins = |home: &Home| fs::read_to_string(home.path().join(".ssh/akeys/playground.known_hosts"));
    kills += killed_everywhere(
        &pod,
        &["federation", "meet", "card.toml"],
        |home, at| {
            assert!(pins(home).is_err() || pins(home).unwrap() == format!("laptop {FOREIGN}\n"), "{at}");
        },
        |home, at| {
            assert_eq!(pins(home).unwrap(), format!("laptop {FOREIGN}\n"), "{at}");
            assert_eq!(home.names(".config/akeys/cards/playground"), ["anna@laptop.toml"], "{at}");
            assert_eq!(home.names(".ssh/akeys").len(), 4, "{at}");
        },
    );
    pod.akeys(&["federation", "meet", "card.toml"]).ok();
    let cards = |home: &Home| home.names(".config/akeys/cards/playground");
    for (args, card) in [
        (&["federation", "set", "playground", "--add-host-key", &format!("hub {FOREIGN}")][..], true),
        (&["federation", "forget", "anna@laptop"], false),
    ] {
        // There is never a pin that nothing speaks of.
        let sound = |home: &Home, at: &str| {
            assert!(!cards(home).is_empty() || !pins(home).unwrap_or_default().contains("laptop"), "{at}");
        };
        kills += killed_everywhere(&pod, args, sound, |home, at| {
            assert_eq!(cards(home).is_empty(), !card, "{at}");
            assert_eq!(pins(home).unwrap_or_default().contains("hub"), card, "{at}");
        });
    }
    assert!(kills > 25, "only {kills} kills hit");
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
