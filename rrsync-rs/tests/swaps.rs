//! Paths that are exchanged between the gate's verdict and their use.
//!
//! The stand-in for rsync stops itself before it looks at anything. The test exchanges a file or a directory for a
//! symlink that leads outside, and lets it go on: it uses every path that it was given, by name, following whatever is
//! there. Nothing outside may be read, made, changed or removed, and what was opened before must still be the same.
//! For the two cases that were lost in races against rrsync there are races with the real rsync as well.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod stand_in;
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Account, content, picture};

/// What is left to see when everything went as it should.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    /// The directory was opened before, so its files, and nothing else, are read or written.
    Yes,
    /// The path is left to rsync, by name, in a directory that is held: nothing is read or written outside. Without a
    /// namespace, the metadata of what the name leads to by then is not protected.
    ByName,
}

/// What is asked for, what is exchanged (in `D`), where it leads then (absolute: below the account), and what is held.
struct Swap(&'static str, &'static str, &'static str, Held);

const PULLS: &[Swap] = &[
    Swap("dir/f", "dir", "../outside/dir", Held::Yes),
    Swap("dir/f", "dir/f", "../../outside/secret", Held::ByName),
    Swap("dir/f", "dir/f", "/outside/secret", Held::ByName),
    Swap("dir", "dir", "../outside/dir", Held::ByName),
    Swap("dir/", "dir", "../outside/dir", Held::Yes),
    Swap("dir/.", "dir", "../outside/dir", Held::Yes),
    Swap("dir/sub/f", "dir", "../outside/dir", Held::Yes),
    Swap("dir/sub/f", "dir/sub", "../../outside/dir", Held::Yes),
    Swap("dir/sub/", "dir/sub", "../../outside/dir", Held::Yes),
    Swap("dir/*", "dir", "../outside/dir", Held::Yes),
    Swap("dir/f dir/f2", "dir", "../outside/dir", Held::Yes),
    Swap("dir/f other/f", "dir", "../outside/dir", Held::ByName),
    Swap("missing", "missing", "../outside/secret", Held::ByName),
    Swap("-R dir/sub/f", "dir", "../outside/dir", Held::ByName),
    Swap("-R dir/sub/f", "dir/sub", "../../outside/dir", Held::ByName),
    Swap("-R dir/./sub/f", "dir", "../outside/dir", Held::ByName),
    Swap("-R dir/./sub/f", "dir/sub", "../../outside/dir", Held::ByName),
    Swap("--files-from=list .", "list", "../outside/secret", Held::ByName),
    Swap("--files-from=dir/list .", "dir", "../outside/dir", Held::Yes),
    Swap("dir/f", "", "../outside", Held::Yes),
    Swap(".", "", "../outside", Held::Yes),
];

const PUSHES: &[Swap] = &[
    Swap(".", "", "../outside", Held::Yes),
    Swap("dir", "dir", "../outside/dir", Held::Yes),
    Swap("dir/", "dir", "../outside/dir", Held::Yes),
    Swap("dir/sub/", "dir", "../outside/dir", Held::Yes),
    Swap("newdir/", "newdir", "../outside/dir", Held::Yes),
    Swap("dir/newdir/", "dir", "../outside/dir", Held::Yes),
    Swap("dir/newdir/", "dir/newdir", "../../outside/dir", Held::Yes),
    Swap("newdir", "newdir", "../outside/dir", Held::ByName),
    Swap("newfile", "newfile", "../outside/secret", Held::ByName),
    Swap("dir/newfile", "dir", "../outside/dir", Held::Yes),
    Swap("new/er/", "new", "../outside/dir", Held::ByName),
    Swap("new/er", "new", "../outside/dir", Held::ByName),
    Swap("dir/f", "dir/f", "../../outside/secret", Held::ByName),
    Swap("dir/f", "dir", "../outside/dir", Held::Yes),
    Swap("-R dir/", "dir", "../outside/dir", Held::Yes),
    Swap("--backup-dir=bak .", "bak", "../outside/dir", Held::Yes),
    Swap("--backup-dir=newbak .", "newbak", "../outside/dir", Held::ByName),
    Swap("--backup-dir=/dir/bak .", "dir", "../outside/dir", Held::Yes),
    Swap("--partial-dir=/bak .", "bak", "../outside/dir", Held::Yes),
    Swap("--partial-dir=bak .", "bak", "../outside/dir", Held::ByName),
    Swap("--temp-dir=bak .", "bak", "../outside/dir", Held::Yes),
    Swap("--link-dest=bak linked/", "bak", "../outside/dir", Held::Yes),
    Swap("--link-dest=/bak .", "bak", "../outside/dir", Held::Yes),
    Swap("--link-dest=../bak linked/", "bak", "../outside/dir", Held::Yes),
    Swap("--link-dest=nobak .", "nobak", "../outside/dir", Held::ByName),
    Swap("--copy-dest=bak .", "bak", "../outside/dir", Held::Yes),
    Swap("--compare-dest=bak/dir .", "bak", "../outside", Held::Yes),
    Swap("--log-file=log .", "log", "../outside/secret", Held::ByName),
    Swap("--log-file=newlog .", "newlog", "../outside/secret", Held::ByName),
    Swap("--log-file=newlog .", "newlog", "../outside/new", Held::ByName),
    Swap("--log-file=dir/log .", "dir", "../outside/dir", Held::Yes),
    Swap("--files-from=list .", "list", "../outside/secret", Held::ByName),
];

/// The tree on which everything is exchanged.
fn lay_out() -> Account {
    let account = Account::new();
    for path in ["dir/f", "dir/f2", "dir/sub/f", "other/f", "list", "dir/list", "log", "bak/f", "linked/x"] {
        account.write(&format!("D/{path}"), "INSIDE\n");
    }
    for path in ["dir/f", "dir/sub/f", "dir/list", "f", "dir/secret", "sub/f"] {
        account.write(&format!("outside/{path}"), "OUTSIDE-SECRET\n");
    }
    account
}

/// Puts a symlink to `to` where `at` is, or would be; what was there goes beside it.
fn exchange(at: &Path, to: &str) {
    if at.symlink_metadata().is_ok() {
        let mut moved = at.as_os_str().to_owned();
        moved.push("-moved");
        fs::rename(at, moved).unwrap();
    }
    symlink(to, at).unwrap();
}

/// Runs one case; returns what is wrong with what came of it.
fn attempt(direction: &str, swap: &Swap, how: &str) -> Option<String> {
    let Swap(asked, at, to, held) = *swap;
    let account = lay_out();
    let outside = account.root.join("outside");
    let (before, content_before) = (picture(&outside), content(&outside));
    let (options, paths) = match asked.split_once(' ') {
        Some((options, paths)) if options.starts_with('-') => (options, paths),
        _ => ("", asked),
    };
    let sender = if direction == "pull" { "--sender " } else { "" };
    let command = format!("rsync --server {sender}-logDtpre.iLsfxCIvu {options} --log-format=stop . {paths}");
    let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
    let flags = stand_in::install(&account);
    let access = if direction == "pull" { "-ro" } else { "-no-lock" };
    let flags = format!("{flags} {access} {how}");
    let Some(mut child) = stand_in::start_stopped(&account, &flags, &command) else {
        return Some(format!("{direction} {asked}: did not run: {:?}", account.audit()));
    };
    let at_path = if at.is_empty() { account.root.join("D") } else { account.d(at) };
    match to.strip_prefix('/') {
        Some(below) => exchange(&at_path, account.root.join(below).to_str().unwrap()),
        None => exchange(&at_path, to),
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGCONT).unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut said).unwrap();
    let status = child.wait().unwrap();
    let mut wrong = Vec::new();
    if !status.success() || !said.ends_with("DONE\n") {
        wrong.push(format!("did not get through: {status:?} {said:?}"));
    }
    if said.contains("OUTSIDE-SECRET") {
        wrong.push(format!("was read: {said:?}"));
    }
    if content(&outside) != content_before {
        wrong.push(format!("was changed: {:?}", content(&outside)));
    } else if (held == Held::Yes || how.ends_with("required")) && picture(&outside) != before {
        wrong.push(format!("got other metadata:\n{before}\n{}", picture(&outside)));
    }
    if held == Held::Yes && direction == "pull" && !said.contains("INSIDE") {
        wrong.push(format!("lost what was held: {said:?}"));
    }
    let written = holds(&account.root, b"FROM-THE-STAND-IN");
    if held == Held::Yes && direction == "push" && !asked.contains("-dest=") && !written {
        wrong.push("lost what was held".to_owned());
    }
    (!wrong.is_empty()).then(|| format!("{direction} {asked} [{at} -> {to}] {how}: {}", wrong.join("; ")))
}

/// Whether any file below `at` holds `wanted`.
fn holds(at: &Path, wanted: &[u8]) -> bool {
    fs::read_dir(at).into_iter().flatten().flatten().any(|entry| {
        let kind = entry.file_type().unwrap();
        kind.is_dir() && holds(&entry.path(), wanted)
            || kind.is_file()
                && entry.file_name() != "stand_in"
                && fs::read(entry.path()).unwrap_or_default().windows(wanted.len()).any(|part| part == wanted)
    })
}

fn attempt_all(direction: &str, swaps: &[Swap], how: &str) {
    let wrong: Vec<String> = swaps.iter().filter_map(|swap| attempt(direction, swap, how)).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), swaps.len(), wrong.join("\n"));
}

#[test]
fn what_a_pull_names_cannot_be_exchanged_for_something_outside() {
    attempt_all("pull", PULLS, "-namespace off");
}

#[test]
fn what_a_pull_in_a_namespace_names_cannot_be_exchanged_for_something_outside() {
    attempt_all("pull", PULLS, "-namespace required");
}

#[test]
fn what_a_push_names_cannot_be_exchanged_for_something_outside() {
    attempt_all("push", PUSHES, "-namespace off");
}

#[test]
fn what_a_push_in_a_namespace_names_cannot_be_exchanged_for_something_outside() {
    attempt_all("push", PUSHES, "-namespace required");
}

#[test]
fn what_is_held_is_held_without_the_kernel_and_what_is_not_needs_it() {
    let mut unexpected = Vec::new();
    for (direction, swaps) in [("pull", PULLS), ("push", PUSHES)] {
        for swap in swaps {
            let wrong = attempt(direction, swap, "-confine off");
            if wrong.is_none() != (swap.3 == Held::Yes) {
                unexpected.push(format!("{direction} {} [{}]: {wrong:?}", swap.0, swap.1));
            }
        }
    }
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}

/// Runs `session` again and again while `flip` exchanges a path as fast as it can; bounded in number and in time.
fn race(flip: impl Fn() + Sync, mut session: impl FnMut()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                flip();
            }
        });
        let start = Instant::now();
        for _ in 0..40 {
            session();
            if start.elapsed() > Duration::from_secs(8) {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_destination_that_flips_to_a_link_is_not_followed() {
    let account = lay_out();
    account.write("client/src/escaped", "FROM THE CLIENT\n");
    let (outside, link) = (account.root.join("outside"), account.d("newdir"));
    let before = content(&outside);
    race(
        || {
            let _ = symlink("../outside", &link);
            let _ = fs::remove_file(&link);
            let _ = fs::remove_dir_all(&link);
        },
        || drop(account.rsync("-wo -no-lock", &["-r", "src/", "h:newdir/"])),
    );
    assert_eq!(content(&outside), before);
}

#[test]
fn a_source_below_a_directory_that_flips_to_a_link_is_not_followed() {
    let account = lay_out();
    account.write("outside/b/f", "OUTSIDE-SECRET\n");
    account.write("D/a/b/f", "INSIDE\n");
    let (a, aside) = (account.d("a"), account.d("aside"));
    race(
        || {
            let _ = fs::rename(&a, &aside);
            let _ = symlink("../outside", &a);
            let _ = fs::remove_file(&a);
            let _ = fs::rename(&aside, &a);
        },
        || {
            drop(account.rsync("-ro", &["-rR", "h:a/b/f", "got/"]));
            assert_ne!(account.read("client/got/a/b/f"), "OUTSIDE-SECRET\n");
        },
    );
}
