//! The directory in which what arrives is written where a key may not read, or may only add: made, used, and gone again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod protocol;
mod stand_in;
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::{Part, Sender};
use support::{Account, picture, said};

const FILE: u32 = 0o100_644;

/// The flags of every kind of session that has such a directory.
const STAGED: &[&str] = &["-wo", "-no-overwrite", "-wo -no-overwrite"];

#[track_caller]
fn ends(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
}

/// Whether anything of a session's own is left below `at`.
fn is_tidy(at: &Path) -> bool {
    !picture(at).contains("akeys-staging")
}

/// Waits for what happens as soon as the last process of a session is gone.
#[track_caller]
fn becomes_tidy(account: &Account) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_tidy(&account.d("")) {
        assert!(Instant::now() < deadline, "{}", picture(&account.d("")));
        std::thread::yield_now();
    }
}

#[test]
fn nothing_of_the_session_is_left_when_the_client_has_ended() {
    for flags in STAGED {
        for namespace in ["off", "required"] {
            let account = Account::new();
            account.write("client/src/sub/f", "content");
            fs::create_dir(account.d("there")).unwrap();
            for to in ["h:", "h:there/", "h:new/", "h:deep/er/new/", "h:name"] {
                let source = if to == "h:name" { "src/sub/f" } else { "src/" };
                let flags = format!("{flags} -namespace {namespace}");
                ends(&account.rsync(&flags, &["-a", "--mkpath", source, to]), 0);
                assert!(is_tidy(&account.d("")), "{flags} {to}: {}", picture(&account.d("")));
            }
            for at in ["sub/f", "there/sub/f", "new/sub/f", "deep/er/new/sub/f", "name"] {
                assert_eq!(account.read(&format!("D/{at}")), "content", "{flags} {at}");
            }
        }
    }
}

#[test]
fn an_upload_that_breaks_off_leaves_no_part_of_the_file_and_the_next_one_completes() {
    for flags in STAGED {
        for options in ["-r", "-r --partial"] {
            let account = Account::new();
            let d = account.d("").display().to_string();
            let all: Vec<&str> = flags.split(' ').chain([d.as_str()]).collect();
            let mut client = Sender::start(&account, &all, &format!("rsync --server {options} . ."));
            client.list(&[("large", FILE, 1)]);
            client.begin(0, &[Part::Bytes(&[b'x'; 5000])]);
            client.break_off();
            becomes_tidy(&account);
            // Where files may be replaced, the part is what the client asked for; where not, it would stay for ever.
            let keeps = options.contains("partial") && !flags.contains("-no-overwrite");
            assert_eq!(account.d("large").exists(), keeps, "{flags} {options}: {}", picture(&account.d("")));
            account.write("client/large", "complete");
            ends(&account.rsync(flags, &["-P", "large", "h:"]), 0);
            assert_eq!(account.read("D/large"), "complete", "{flags} {options}");
        }
    }
}

#[test]
fn a_killed_session_leaves_nothing() {
    let account = Account::new();
    let flags = format!("{} -wo", stand_in::install(&account));
    let command = "rsync --server -re.iLsfxCIvu --log-format=stop . .";
    let mut rsync = stand_in::start_stopped(&account, &flags, command).unwrap();
    let session = account.d(".akeys-staging");
    fs::write(session.join(".half.a1b2c3"), "half a file").unwrap();
    kill(Pid::from_raw(rsync.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
    rsync.wait().unwrap();
    becomes_tidy(&account);
}

#[test]
fn a_session_leaves_another_ones_files_alone_and_removes_lost_ones() {
    let account = Account::new();
    account.write("client/src/f", "content");
    let flags = format!("{} -wo -no-lock", stand_in::install(&account));
    let command = "rsync --server -re.iLsfxCIvu --log-format=stop . .";
    let mut other = stand_in::start_stopped(&account, &flags, command).unwrap();
    let of_the_other = account.d(".akeys-staging");
    fs::write(of_the_other.join(".half.a1b2c3"), "half a file").unwrap();
    for lost in ["D/.akeys-staging-1", "D/.akeys-staging-3"] {
        account.write(&format!("{lost}/.lost.a1b2c3"), "what a power failure left");
        fs::set_permissions(account.root.join(lost), fs::Permissions::from_mode(0o700)).unwrap();
    }
    ends(&account.rsync("-wo -no-lock", &["-r", "--delete", "src/", "h:"]), 0);
    assert_eq!(fs::read(of_the_other.join(".half.a1b2c3")).unwrap(), b"half a file");
    assert!(!account.d(".akeys-staging-1").exists());
    assert!(!account.d(".akeys-staging-3").exists());
    other.kill().unwrap();
    other.wait().unwrap();
    // Nor what lies deeper than its own destination.
    fs::create_dir(account.d("sub")).unwrap();
    fs::create_dir_all(account.root.join("client/src/sub")).unwrap();
    let mut other = stand_in::start_stopped(&account, &flags, &command.replace(". .", ". sub/")).unwrap();
    let of_the_other = account.d("sub/.akeys-staging");
    fs::write(of_the_other.join(".half.a1b2c3"), "half a file").unwrap();
    ends(&account.rsync("-wo -no-lock", &["-r", "--delete", "src/", "h:"]), 0);
    assert_eq!(fs::read(of_the_other.join(".half.a1b2c3")).unwrap(), b"half a file");
    other.kill().unwrap();
    other.wait().unwrap();
    becomes_tidy(&account);
    assert_eq!(account.read("D/f"), "content");
}

#[test]
fn what_a_client_has_planted_in_its_place_is_neither_used_nor_in_the_way() {
    for flags in STAGED {
        let account = Account::new();
        account.write("client/src/f", "content");
        account.write("D/a/.akeys-staging/deep/f", "precious");
        fs::set_permissions(account.d("a/.akeys-staging"), fs::Permissions::from_mode(0o700)).unwrap();
        account.write("D/a/.akeys-staging-1/f", "somebody else's, to go by its mode");
        fs::set_permissions(account.d("a/.akeys-staging-1"), fs::Permissions::from_mode(0o755)).unwrap();
        account.write("D/b/.akeys-staging", "a file");
        fs::create_dir(account.d("c")).unwrap();
        symlink("../../outside", account.d("c/.akeys-staging")).unwrap();
        let before = picture(&account.root.join("outside"));
        let planted = |account: &Account| {
            let lines = picture(&account.d(""));
            lines.lines().filter(|line| line.contains("akeys")).map(str::to_owned).collect::<Vec<_>>()
        };
        let (kept, there) = (planted(&account), account.d("a/.akeys-staging/deep/f"));
        for to in ["a", "b", "c"] {
            ends(&account.rsync(flags, &["-r", "src/", &format!("h:{to}/")]), 0);
            assert_eq!(account.read(&format!("D/{to}/f")), "content", "{flags} {to}");
        }
        assert_eq!(planted(&account), kept, "{flags}");
        assert!(there.exists());
        assert_eq!(picture(&account.root.join("outside")), before, "{flags}");
    }
}

#[test]
fn a_name_of_the_gate_s_own_gets_a_client_nowhere() {
    for flags in STAGED {
        let account = Account::new();
        account.write("client/src/.akeys-staging/f", "from the client");
        account.write("client/src/.akeys-staging-1/f", "from the client");
        account.write("D/victim", "KEPT");
        let _ = account.rsync(flags, &["-a", "src/", "h:"]);
        assert_eq!(account.read("D/victim"), "KEPT");
        account.write("client/more/f", "content");
        ends(&account.rsync(flags, &["-a", "more/", "h:"]), 0);
        assert_eq!(account.read("D/f"), "content");
    }
}

#[test]
fn a_dry_run_and_a_directory_that_cannot_be_written_make_nothing() {
    let account = Account::new();
    account.write("client/src/f", "content");
    let before = picture(&account.d(""));
    ends(&account.rsync("-wo", &["-an", "src/", "h:"]), 0);
    assert_eq!(picture(&account.d("")), before);
    if !nix::unistd::geteuid().is_root() {
        fs::set_permissions(account.d(""), fs::Permissions::from_mode(0o555)).unwrap();
        let output = account.rsync("-wo", &["-a", "src/", "h:"]);
        fs::set_permissions(account.d(""), fs::Permissions::from_mode(0o755)).unwrap();
        ends(&output, 12);
        assert!(said(&output).contains("/ cannot be written"), "{}", said(&output));
        assert_eq!(picture(&account.d("")), before);
    }
}
