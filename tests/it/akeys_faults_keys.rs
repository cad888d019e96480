//! The commands for keys that no federation brought, killed, refused and crowded: the old or the new file is there, whole.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::akeys_faults::{CALLS, killed_everywhere, may_trace};
use crate::akeys_home::{FOREIGN, Home, OTHER, Ran};
use crate::support::{PROGRAMS_DIR, our_program};

const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";
const ED_SHA: &str = "SHA256:25s8WBSp0KhPUopvzg0T/22n63+E867cDq2mYuqOuH4";
const FOREIGN_SHA: &str = "SHA256:QxD1k9j19KgeD1bG8fAToe8kvo767pRYBHtIio95tJY";

/// Two keys, a comment, and a spelling that `format` would change.
fn home() -> Home {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("# mine\n{FOREIGN} alice\nPTY,restrict {ED} bob\n"));
    home.write(
        "keys.toml",
        &format!("[[key]]\nkey = \"{OTHER} carol\"\n\n[[key]]\nkey = \"{ED} bob\"\nstate = \"absent\"\n"),
    );
    home
}

/// Every command that changes the key file, each made so that doing it twice is doing it once.
fn commands() -> Vec<Vec<&'static str>> {
    vec![
        vec!["add", OTHER],
        vec!["expire", FOREIGN_SHA, "2035-01-01"],
        vec!["format"],
        vec!["apply", "keys.toml"],
        vec!["disable", "--fingerprint", ED_SHA],
        vec!["remove", "--fingerprint", ED_SHA],
        vec!["rotate", FOREIGN_SHA, OTHER, "--prove-model"],
    ]
}

/// All of them; where the tests run once more without root's rights, as many as show that it makes no difference.
fn commands_to_break() -> Vec<Vec<&'static str>> {
    let mut commands = commands();
    if std::env::var_os(PROGRAMS_DIR).is_some() {
        eprintln!("the first run has tried them all, this one tries {:?}", commands[0]);
        commands.truncate(1);
    }
    commands
}

/// What the file may be while or after `args` runs: as it was, as it shall be, and for a rotation with both keys.
fn states(prepared: &Home, args: &[&str]) -> Vec<String> {
    let done = prepared.copy();
    done.akeys(args).ok();
    let mut states = vec![prepared.keys(), done.keys()];
    if args[0] == "rotate" {
        let half = prepared.copy();
        half.akeys(&args[..3]).ok();
        states.push(half.keys());
    }
    assert_ne!(states[0], states[1], "{args:?}");
    states
}

#[test]
fn each_command_that_is_killed_anywhere_leaves_a_whole_file_and_can_be_run_again() {
    if !may_trace() {
        return;
    }
    for args in commands_to_break() {
        let prepared = home();
        let states = states(&prepared, &args);
        let kills = killed_everywhere(
            &prepared,
            &args,
            |home, at| assert!(states.contains(&home.keys()), "{at}: {}", home.keys()),
            |home, at| {
                assert_eq!(home.keys(), states[1], "{at}");
                assert_eq!(home.names(".ssh"), ["authorized_keys"], "{at}");
            },
        );
        assert!(kills > 5, "{args:?}: only {kills} kills hit");
    }
}

/// A full disk, a full quota, a disk that went read-only, a broken one: each call of the write path fails once.
#[test]
fn each_command_whose_calls_fail_says_so_and_leaves_a_whole_file() {
    if !may_trace() {
        return;
    }
    let errors = [("ENOSPC", 0), ("EDQUOT", 1), ("EROFS", 2), ("EIO", 3)];
    let mut failures = 0;
    for (index, args) in commands_to_break().into_iter().enumerate() {
        let prepared = home();
        let states = states(&prepared, &args);
        for (turn, call) in CALLS.into_iter().chain(["openat"]).enumerate() {
            for when in 1..=30 {
                let (error, _) = errors[(index + turn + when) % errors.len()];
                let at = format!("{args:?} {call} {when} {error}");
                let home = prepared.copy();
                let mut command = Command::new("strace");
                let inject = format!("inject={call}:error={error}:when={when}");
                home.settle(&mut command).args(["-f", "-o", "trace", "-e", &inject]);
                let ran = Ran::from(&command.arg(our_program("akeys")).args(&args).output().unwrap());
                let hit = home.read("trace").contains("(INJECTED)");
                let keys = home.keys();
                assert!(states.contains(&keys), "{at}: {keys}");
                if ran.code == 0 {
                    assert_eq!(keys, states[1], "{at}");
                } else {
                    assert!(ran.err.starts_with("akeys: "), "{at}: {ran:?}");
                    failures += 1;
                }
                if !hit {
                    break;
                }
            }
        }
    }
    assert!(failures > 7, "only {failures} failures");
}

/// In a namespace of its own, where `~/.ssh` or the state directory is another file system.
fn with_mount(home: &Home, mount: &str, args: &[&str]) -> Option<(Ran, String)> {
    let mut command = Command::new("unshare");
    let user: &[&str] = if nix::unistd::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let script = format!(
        "cp -a .ssh/authorized_keys before\n{mount}\n\"$0\" \"$@\" && status=0 || status=$?\n\
         echo \"status $status\"; ls -A .ssh; cat .ssh/authorized_keys"
    );
    home.settle(&mut command).args(user).args(["--mount", "sh", "-euc", &script]);
    let ran = Ran::from(&command.arg(our_program("akeys")).args(args).output().unwrap());
    if !ran.out.contains("status ") {
        eprintln!("not tried, for want of a mount namespace: {}", ran.err.trim());
        return None;
    }
    let shown = ran.out.split_once("status ").unwrap().1.to_owned();
    Some((ran, shown))
}

#[test]
fn a_small_disk_and_a_read_only_one_change_nothing() {
    let small = |dir: &str| format!("mkdir -p {dir}; mount -t tmpfs -o size=24k,mode=700 none {dir}");
    let full = |dir: &str| format!("dd if=/dev/zero of={dir}/fill bs=1k 2>/dev/null || true");
    let refill = "cp -a before .ssh/authorized_keys";
    let state = ".local/state/akeys";
    let read_only =
        |dir: &str| format!("mkdir -p {dir}; mount --bind {dir} {dir}; mount -o remount,bind,ro {dir}");
    let cases = [
        (format!("{}; {refill}; {}", small(".ssh"), full(".ssh")), "No space left on device"),
        (format!("{}; {}", small(state), full(state)), "No space left on device"),
        (read_only(".ssh"), "Read-only file system"),
        (read_only(state), "Read-only file system"),
    ];
    for (mount, says) in cases {
        for args in commands() {
            let home = home();
            let before = home.keys();
            let Some((ran, shown)) = with_mount(&home, &mount, &args) else { return };
            assert!(shown.starts_with("1\n") && shown.ends_with(&before), "{args:?} {mount}: {ran:?}");
            assert!(ran.err.contains(says), "{args:?} {mount}: {ran:?}");
            assert!(!shown.contains(".akeys-"), "{args:?} {mount}: {ran:?}");
        }
    }
}

/// Another key for each number.
fn key(number: usize) -> String {
    format!("{}{number:04}", &OTHER[..OTHER.len() - 4])
}

#[test]
fn fifty_writers_of_all_kinds_lose_nothing() {
    let home = Home::new();
    let lines: Vec<String> = (0..40).map(|n| format!("{} old{n}\n", key(n))).collect();
    home.write(".ssh/authorized_keys", &format!("# top\n{}# bottom\n", lines.concat()));
    let mut running: Vec<Child> = Vec::new();
    for n in 0..50 {
        let (new, old) = (format!("{} new{n}", key(100 + n)), key(n));
        let fingerprint = fingerprint(&old);
        let args: Vec<&str> = match n % 5 {
            0 => vec!["remove", "--fingerprint", &fingerprint],
            1 => vec!["disable", "--fingerprint", &fingerprint],
            2 => vec!["expire", &fingerprint, "2035-01-01"],
            _ => vec!["add", &new],
        };
        // The last ten lines are not there to be changed.
        let args = if n < 40 || n % 5 > 2 { args } else { vec!["add", &new] };
        running.push(home.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    }
    for child in running {
        Ran::from(&child.wait_with_output().unwrap()).ok();
    }
    let keys = home.keys();
    for n in 0..50 {
        let line = keys.lines().find(|line| line.contains(&key(n)) && n < 40);
        match n % 5 {
            0 if n < 40 => assert_eq!(line, None, "{n}"),
            1 if n < 40 => assert!(line.unwrap().starts_with("# akeys-disabled: "), "{n}"),
            2 if n < 40 => assert!(line.unwrap().starts_with("expiry-time=\"20350101Z\" "), "{n}"),
            _ => assert!(keys.contains(&format!("{} new{n}\n", key(100 + n))), "{n}"),
        }
    }
    assert!(keys.starts_with("# top\n") && keys.contains("\n# bottom\n"));
    assert_eq!(keys.lines().count(), 2 + 40 - 8 + 50 - 24);
    assert_eq!(home.names(".ssh"), ["authorized_keys"]);
}

fn fingerprint(key: &str) -> String {
    let scratch = tempfile::NamedTempFile::new().unwrap();
    fs::write(scratch.path(), key).unwrap();
    let said = Command::new("ssh-keygen").arg("-lf").arg(scratch.path()).output().unwrap();
    String::from_utf8(said.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}
