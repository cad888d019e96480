//! What surrounds a session: its environment, its lock, its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod protocol;
mod stand_in;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use protocol::{Part, Sender};
use support::{Account, GATE};

/// Starts the gate as a push that its client leaves open.
fn push(account: &Account, flags: &[&str]) -> Child {
    Command::new(GATE)
        .args(flags)
        .arg(account.d(""))
        .env_clear()
        .env("HOME", account.root.join("home"))
        .env("SSH_ORIGINAL_COMMAND", "rsync --server -re.iLsfxCIvu . .")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits for something that happens by itself.
#[track_caller]
fn becomes(what: &str, happened: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !happened() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Whether the directory's lock can be had.
fn is_free(account: &Account) -> bool {
    fs::File::open(account.d("")).unwrap().try_lock().is_ok()
}

/// Whether `gate` has taken the directory's lock (proc(5), `/proc/locks`). Trying it would take it from a gate that tries in the same
/// moment, and once is all that a gate tries.
fn is_taken(account: &Account, gate: &Child) -> bool {
    let (by, of) = (format!(" {} ", gate.id()), format!(":{} ", account.d("").metadata().unwrap().ino()));
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|lock| lock.contains(" FLOCK ") && lock.contains(&by) && lock.contains(&of))
}

/// The processes that work in the exposed directory.
fn at_work(account: &Account) -> BTreeSet<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let directory = account.d("").canonicalize().unwrap();
    numbers
        .filter(|pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == directory))
        .collect()
}

#[test]
fn nothing_of_the_environment_is_passed_on() {
    let account = Account::new();
    let program = stand_in::install(&account);
    let mut gate = Command::new(GATE);
    gate.args(program.split(' ')).arg("-ro").arg(account.d("")).env_clear();
    gate.env("HOME", account.root.join("home")).stdin(Stdio::null()).stdout(Stdio::null());
    gate.env("SSH_ORIGINAL_COMMAND", "rsync --server --sender -re.iLsfxCIvu --log-format=stop . .");
    // What AcceptEnv or a start-up file may let in.
    for name in [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "GCONV_PATH",
        "LOCPATH",
        "LANG",
        "LC_ALL",
        "PATH",
        "POPT_SYSCONFDIR",
        "TZ",
        "RSYNC_RSH",
        "RSYNC_PROXY",
        "RSYNC_PARTIAL_DIR",
        "RSYNC_PROTECT_ARGS",
        "RSYNC_OLD_ARGS",
        "RSYNC_ICONV",
        "RSYNC_CHECKSUM_LIST",
        "RSYNC_COMPRESS_LIST",
        "RSYNC_MAX_ALLOC",
        "CVSIGNORE",
        "PYTHONPATH",
        "BASH_ENV",
        "ENV",
        "SSH_AUTH_SOCK",
        "MALLOC_PERTURB_",
        "GLIBC_TUNABLES",
        "TMPDIR",
        "XDG_STATE_HOME",
    ] {
        gate.env(name, account.root.join("outside"));
    }
    let mut child = gate.spawn().unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(stopped, WaitStatus::Stopped(_, Signal::SIGSTOP)), "{stopped:?}");
    let environment = fs::read(format!("/proc/{}/environ", child.id())).unwrap();
    let variables: BTreeSet<&[u8]> = environment.split(|b| *b == 0).filter(|one| !one.is_empty()).collect();
    let expected: [&[u8]; 3] = [b"HOME=/nonexistent", b"LC_ALL=C", b"PATH=/usr/bin:/bin"];
    assert_eq!(variables, BTreeSet::from(expected));
    kill(pid, Signal::SIGKILL).unwrap();
    child.wait().unwrap();
}

#[test]
fn a_client_that_says_nothing_loses_the_lock_with_its_time() {
    for flags in [&["-timeout", "2"][..], &["-timeout", "2", "-wo"], &["-timeout", "2", "-no-overwrite"]] {
        let account = Account::new();
        let mut server = push(&account, flags);
        becomes("the lock is held", || is_taken(&account, &server));
        // It is there, and sends nothing.
        let status = server.wait().unwrap();
        assert!(!status.success(), "{status:?}");
        becomes("the lock is free", || is_free(&account));
    }
}

#[test]
fn a_lock_is_held_until_the_last_process_of_a_killed_session_is_gone() {
    for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGKILL] {
        for flags in [&["-namespace", "off"][..], &["-namespace", "required"], &["-wo"]] {
            let account = Account::new();
            let d = account.d("").display().to_string();
            let mut client = Sender::start(&account, &[flags, &[&d]].concat(), "rsync --server -r . .");
            client.list(&[("f", 0o100_644, 1)]);
            client.begin(0, &[Part::Bytes(b"half")]);
            becomes("two processes work", || at_work(&account).len() == 2);
            assert!(!is_free(&account), "{signal} {flags:?}");
            kill(client.pid(), signal).unwrap();
            let main = client.pid().as_raw();
            becomes("the first process ends", || is_ending(main));
            // The other one may go on for as long as the client does.
            let working = |account: &Account| at_work(account).iter().any(|pid| !is_ending(*pid));
            let free = is_free(&account);
            assert!(!free || !working(&account), "{signal} {flags:?}");
            client.break_off();
            fs::File::open(account.d("")).unwrap().lock().unwrap();
            becomes("nobody works", || !working(&account));
        }
    }
}

/// Whether a process has nothing left to do but to be waited for.
fn is_ending(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}
