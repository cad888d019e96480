//! Older kernels: what each ABI of Landlock leaves open, and that seccomp closes what matters.
//!
//! Landlock and seccomp bind one thread, so each case is a thread that confines itself as on such a kernel, tries, and
//! ends. ABI 2 brought moves between directories, 3 truncation, 4 TCP, 5 devices' `ioctl`, 6 signals and abstract
//! sockets: landlock(7), "VERSIONS".

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::Mode;
use rrsync_rs::confine::seccomp::Filter;
use rrsync_rs::confine::{Files, Level, Rights, apply_as_of, can_stage_with};
use rrsync_rs::grant::Confine;
use rrsync_rs::rsync::judge::Reach;
use support::{Account, picture};

/// The kernels of the ladder.
const LADDER: [u8; 7] = [1, 2, 3, 4, 5, 6, 7];

/// Confines a thread of its own as on a kernel with `abi`, with `D` exposed, and runs `then` in it.
fn confined<T: Send>(
    account: &Account,
    abi: u8,
    write: bool,
    demand: Confine,
    then: impl FnOnce() -> T + Send,
) -> Result<(Level, T), String> {
    let dir = open(&account.d(""), OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    let rights = if write { Rights::ALL } else { Rights::PULL };
    let reach = [Reach::new(dir, account.root.join("D"), rights)];
    let files = Files { reach: &reach, programs: &[], libraries: &[], parts: &[], names_users: false };
    let filter = if write { Filter::writer(false, true) } else { Filter::reader() };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let level = apply_as_of(abi, &files, filter, demand, false).map_err(|error| error.to_string())?;
            Ok((level, then()))
        });
        thread.join().unwrap()
    })
}

/// The error of something that must have failed.
fn errno<T>(result: io::Result<T>) -> Option<Errno> {
    result.err().map(|error| Errno::from_raw(error.raw_os_error().unwrap()))
}

fn open_to_truncate(path: &Path) -> io::Result<()> {
    Ok(open(path, OFlag::O_RDONLY | OFlag::O_TRUNC, Mode::empty()).map(drop)?)
}

#[test]
fn nothing_outside_is_read_or_changed_at_any_level() {
    for abi in LADDER {
        let account = Account::new();
        account.write("D/in", "inside\n");
        let outside = account.root.join("outside");
        let before = picture(&outside);
        let at = |name: &str| -> PathBuf { outside.join(name) };
        let tried = || {
            [
                ("read", errno(fs::read(at("secret")))),
                ("list", errno(fs::read_dir(&outside))),
                ("write", errno(File::options().append(true).open(at("secret")))),
                ("create", errno(File::create(at("new")))),
                ("create and truncate", errno(File::create(at("secret")))),
                ("open to truncate", errno(open_to_truncate(&at("secret")))),
                ("truncate", errno(nix::unistd::truncate(&at("secret"), 0).map_err(Into::into))),
                ("remove", errno(fs::remove_file(at("secret")))),
                ("make a directory", errno(fs::create_dir(at("made")))),
                ("make a link", errno(symlink("x", at("linked")))),
                ("move out", errno(fs::rename(account.d("in"), at("moved")))),
                ("move in", errno(fs::rename(at("secret"), account.d("moved")))),
                ("link in", errno(fs::hard_link(at("secret"), account.d("linked")))),
                ("a socket", socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).err()),
            ]
        };
        for write in [false, true] {
            let (level, tried) = confined(&account, abi, write, Confine::Required, tried).unwrap();
            assert_eq!((level.landlock, level.seccomp), (abi, true));
            assert_eq!(level.to_string(), format!("landlock (ABI {abi}) and seccomp"));
            for (what, errno) in tried {
                let refused = matches!(errno, Some(Errno::EACCES | Errno::EPERM | Errno::EXDEV));
                assert!(refused, "ABI {abi}, write {write}: {what}: {errno:?}");
            }
        }
        assert_eq!(picture(&outside), before, "ABI {abi}");
    }
}

#[test]
fn a_push_works_at_every_level_but_moves_between_directories_need_abi_2() {
    for abi in LADDER {
        let account = Account::new();
        for name in ["in", "truncate", "sub/x"] {
            account.write(&format!("D/{name}"), "inside\n");
        }
        let tried = || {
            fs::write(account.d("new"), "new").unwrap();
            fs::write(account.d("in"), "replaced").unwrap();
            fs::rename(account.d("new"), account.d("renamed")).unwrap();
            fs::hard_link(account.d("renamed"), account.d("linked")).unwrap();
            fs::remove_file(account.d("linked")).unwrap();
            (
                errno(fs::rename(account.d("renamed"), account.d("sub/renamed"))),
                errno(open_to_truncate(&account.d("truncate"))),
            )
        };
        let (_, (moved, truncated)) = confined(&account, abi, true, Confine::Required, tried).unwrap();
        assert_eq!(moved, (abi < 2).then_some(Errno::EXDEV), "ABI {abi}");
        // Below ABI 3 the filter cannot tell inside from outside, and refuses what rsync does not do anyway.
        assert_eq!(truncated, (abi < 3).then_some(Errno::EPERM), "ABI {abi}");
        assert_eq!(account.read("D/in"), "replaced");
    }
}

#[test]
fn a_pull_changes_nothing_at_any_level() {
    for abi in LADDER {
        let account = Account::new();
        account.write("D/in", "inside\n");
        let before = picture(&account.d(""));
        let tried = || {
            assert_eq!(fs::read(account.d("in")).unwrap(), b"inside\n");
            [
                errno(fs::write(account.d("in"), "x")),
                errno(open_to_truncate(&account.d("in"))),
                errno(fs::remove_file(account.d("in"))),
                errno(File::create(account.d("new"))),
            ]
        };
        let (_, tried) = confined(&account, abi, false, Confine::Required, tried).unwrap();
        let refused = |errno: &Option<Errno>| matches!(errno, Some(Errno::EACCES | Errno::EPERM));
        assert!(tried.iter().all(refused), "ABI {abi}: {tried:?}");
        assert_eq!(picture(&account.d("")), before);
    }
}

#[test]
fn without_landlock_a_session_is_refused_unless_the_policy_says_otherwise() {
    let account = Account::new();
    let refused = confined(&account, 0, true, Confine::Required, || ()).unwrap_err();
    assert!(refused.contains("no Landlock"), "{refused}");
    let (level, truncated) = confined(&account, 0, true, Confine::BestEffort, || {
        errno(open_to_truncate(&account.root.join("outside/secret")))
    })
    .unwrap();
    assert_eq!(level, Level { landlock: 0, seccomp: true, namespace: false });
    assert_eq!(level.to_string(), "seccomp");
    assert_eq!(truncated, Some(Errno::EPERM));
    let (level, ()) = confined(&account, 7, true, Confine::Off, || ()).unwrap();
    assert_eq!(level, Level::NONE);
    assert_eq!(level.to_string(), "none");
}

#[test]
fn where_nothing_can_be_staged_a_key_that_may_only_add_is_refused() {
    for abi in 0..=7 {
        let required = can_stage_with(Confine::Required, abi).map_err(|error| error.to_string());
        match abi {
            0 => assert!(required.unwrap_err().contains("no Landlock")),
            1 => assert!(required.unwrap_err().contains("ABI 1")),
            _ => assert_eq!(required, Ok(true)),
        }
        assert_eq!(can_stage_with(Confine::BestEffort, abi).unwrap(), abi >= 2);
        assert!(!can_stage_with(Confine::Off, abi).unwrap());
    }
}
