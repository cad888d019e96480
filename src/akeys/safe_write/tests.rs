//! The file is whole, private and the user's own, whatever happens around it.

use super::*;
use crate::akeys::guard::Allowed;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use xattr::FileExt as _;

struct Scratch {
    dir: tempfile::TempDir,
    layout: Layout,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("home")).unwrap();
        fs::create_dir(layout.home()).unwrap();
        Self { dir, layout }
    }

    fn with(content: &str) -> Self {
        let scratch = Self::new();
        fs::create_dir(scratch.layout.ssh_dir()).unwrap();
        fs::write(scratch.layout.authorized_keys(), content).unwrap();
        scratch
    }

    fn append(&self, text: &str) -> Result<Outcome, WriteError> {
        self.change(|file| Ok(at_the_end(file, text)))
    }

    /// The tests write words that are no keys.
    fn change(
        &self,
        change: impl FnMut(&KeyFile) -> Result<Patch, WriteError>,
    ) -> Result<Outcome, WriteError> {
        let lock = Lock::acquire(&self.layout).unwrap();
        let guard = Guard::new(Allowed { allow_dead: true, ..Allowed::default() }, &self.layout);
        update(&self.layout, &lock, &guard, change).map(|done| done.outcome)
    }

    fn content(&self) -> String {
        fs::read_to_string(self.layout.authorized_keys()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.layout.ssh_dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn backups(&self) -> Vec<PathBuf> {
        let dir = self.layout.state_dir().join("backups");
        fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }
}

fn at_the_end(file: &KeyFile, text: &str) -> Patch {
    let end = file.bytes().len();
    Patch::splice(end..end, text)
}

#[test]
fn a_missing_file_is_made_private() {
    let scratch = Scratch::new();
    assert_eq!(read(&scratch.layout).unwrap(), None);
    assert!(!scratch.layout.ssh_dir().exists());
    assert_eq!(scratch.append("one\n").unwrap(), Outcome::Replaced);
    assert_eq!(scratch.content(), "one\n");
    assert_eq!(scratch.layout.ssh_dir().metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(scratch.layout.authorized_keys().metadata().unwrap().mode() & 0o7777, 0o600);
    assert_eq!(scratch.names(), ["authorized_keys"]);
    assert!(scratch.backups().is_empty());
}

#[test]
fn a_change_that_is_none_or_fails_leaves_nothing_behind() {
    let scratch = Scratch::new();
    assert_eq!(scratch.change(|_| Ok(Patch::none())).unwrap(), Outcome::Unchanged);
    assert!(!scratch.layout.ssh_dir().exists());
    scratch.change(|_| Err(WriteError::Contended { path: PathBuf::from("x") })).unwrap_err();
    assert!(!scratch.layout.ssh_dir().exists());
    let lock = Lock::acquire(&scratch.layout).unwrap();
    let guard = Guard::new(Allowed::default(), &scratch.layout);
    let refused: Result<Done, WriteError> =
        update(&scratch.layout, &lock, &guard, |file| Ok(at_the_end(file, "no key\n")));
    assert!(matches!(refused, Err(WriteError::Blocked { .. })));
    assert!(!scratch.layout.ssh_dir().exists());
}

#[test]
fn mode_and_attributes_are_carried_over_and_the_old_content_is_kept() {
    let scratch = Scratch::with("one\n");
    let path = scratch.layout.authorized_keys();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let file = fs::File::open(&path).unwrap();
    // Version 2; user rw, user 12345 r, group -, mask r, other -: acl(5), and linux/posix_acl_xattr.h.
    let entry = |tag: u16, rights: u16, id: u32| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let acl = [
        2u32.to_le_bytes().to_vec(),
        entry(1, 6, u32::MAX),
        entry(2, 4, 12345),
        entry(4, 0, u32::MAX),
        entry(16, 4, u32::MAX),
        entry(32, 0, u32::MAX),
    ]
    .concat();
    let with_acl = file.set_xattr("system.posix_acl_access", &acl).is_ok();
    let with_user = file.set_xattr("user.note", b"mine").is_ok();
    let mode = path.metadata().unwrap().mode();
    scratch.append("two\n").unwrap();
    let file = fs::File::open(&path).unwrap();
    assert_eq!(file.metadata().unwrap().mode(), mode);
    if with_acl {
        assert_eq!(file.get_xattr("system.posix_acl_access").unwrap().unwrap(), acl);
    }
    if with_user {
        assert_eq!(file.get_xattr("user.note").unwrap().unwrap(), b"mine");
    }
    let backups = scratch.backups();
    assert_eq!(fs::read_to_string(&backups[0]).unwrap(), "one\n");
    assert_eq!(backups[0].metadata().unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn an_editor_that_saves_in_between_loses_nothing() {
    let scratch = Scratch::with("one\n");
    let mut asked = 0;
    let outcome = scratch.change(|file| {
        asked += 1;
        if asked == 1 {
            fs::write(scratch.layout.authorized_keys(), "one\neditor\n").unwrap();
        }
        Ok(at_the_end(file, "two\n"))
    });
    assert_eq!(outcome.unwrap(), Outcome::Replaced);
    assert_eq!((asked, scratch.content().as_str()), (2, "one\neditor\ntwo\n"));
    assert_eq!(scratch.names(), ["authorized_keys"]);
}

/// What is looked at before the lock is worked out once more only when the file is another one under it.
#[test]
fn what_was_seen_before_the_lock_is_not_written_over_what_came_meanwhile() {
    type Meanwhile = fn(&Scratch);
    let cases: [(Option<&str>, Meanwhile, usize, &str); 6] = [
        (Some("one\n"), |_| {}, 1, "one\ntwo\n"),
        (None, |_| {}, 1, "two\n"),
        (Some("one\n"), |scratch| fs::write(scratch.layout.authorized_keys(), "x\n").unwrap(), 2, "x\ntwo\n"),
        (
            None,
            |scratch| {
                scratch.append("one\n").unwrap();
            },
            2,
            "one\ntwo\n",
        ),
        (Some("one\n"), |scratch| fs::remove_file(scratch.layout.authorized_keys()).unwrap(), 2, "two\n"),
        (
            Some("one\n"),
            |scratch| {
                let path = scratch.layout.authorized_keys();
                fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
            },
            2,
            "one\ntwo\n",
        ),
    ];
    for (before, meanwhile, times, after) in cases {
        let scratch = before.map_or_else(Scratch::new, Scratch::with);
        let asked = std::cell::Cell::new(0);
        let guard = Guard::new(Allowed { allow_dead: true, ..Allowed::default() }, &scratch.layout);
        let change = |file: &KeyFile| {
            asked.set(asked.get() + 1);
            Ok::<_, WriteError>((at_the_end(file, "two\n"), file.lines().len()))
        };
        let seen = look(&scratch.layout, &guard, change).unwrap();
        assert_eq!(scratch.layout.ssh_dir().exists(), before.is_some());
        meanwhile(&scratch);
        let lock = Lock::acquire(&scratch.layout).unwrap();
        let made = make(&scratch.layout, &lock, &guard, seen, change).unwrap();
        assert_eq!((asked.get(), scratch.content().as_str()), (times, after), "{before:?}");
        assert_eq!(made.what + 1, KeyFile::parse(after.into()).lines().len(), "{before:?}");
        assert_eq!(scratch.names(), ["authorized_keys"]);
    }
}

/// The clock of a file stands still for some milliseconds, and a save in them may leave nothing but other bytes.
#[test]
fn bytes_that_changed_behind_the_same_times_are_seen_before_the_rename() {
    let scratch = Scratch::with("one\n");
    let guard = Guard::new(Allowed { allow_dead: true, ..Allowed::default() }, &scratch.layout);
    let change = |file: &KeyFile| Ok::<_, WriteError>((at_the_end(file, "two\n"), ()));
    let mut seen = look(&scratch.layout, &guard, change).unwrap();
    fs::write(scratch.layout.authorized_keys(), "ONE\n").unwrap();
    if let Some(before) = &mut seen.before {
        before.metadata = fs::metadata(scratch.layout.authorized_keys()).unwrap();
    }
    let lock = Lock::acquire(&scratch.layout).unwrap();
    make(&scratch.layout, &lock, &guard, seen, change).unwrap();
    assert_eq!(scratch.content(), "ONE\ntwo\n");
}

#[test]
fn a_file_that_appears_in_between_is_not_overwritten() {
    let scratch = Scratch::new();
    let mut asked = 0;
    let outcome = scratch.change(|file| {
        asked += 1;
        if asked == 1 {
            fs::write(scratch.layout.authorized_keys(), "editor\n").unwrap();
        }
        Ok(at_the_end(file, "two\n"))
    });
    assert_eq!(outcome.unwrap(), Outcome::Replaced);
    assert_eq!(scratch.content(), "editor\ntwo\n");
}

#[test]
fn a_file_that_never_rests_is_given_up() {
    let scratch = Scratch::with("");
    let mut asked = 0;
    let error = scratch.change(|file| {
        asked += 1;
        fs::write(scratch.layout.authorized_keys(), format!("{asked}\n")).unwrap();
        Ok(at_the_end(file, "mine\n"))
    });
    assert!(matches!(error, Err(WriteError::Contended { .. })));
    assert_eq!(scratch.content(), format!("{asked}\n"));
    assert_eq!(scratch.names(), ["authorized_keys"]);
}

#[test]
fn a_link_inside_the_home_stays_and_its_target_is_replaced() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.layout.ssh_dir()).unwrap();
    fs::create_dir(scratch.layout.home().join("dotfiles")).unwrap();
    let target = scratch.layout.home().join("dotfiles/keys");
    fs::write(&target, "one\n").unwrap();
    let outside = scratch.dir.path().join("store");
    symlink(&target, &outside).unwrap();
    for link in [PathBuf::from("../dotfiles/keys"), target.clone(), outside, "../../store".into()] {
        let _ = fs::remove_file(scratch.layout.authorized_keys());
        symlink(&link, scratch.layout.authorized_keys()).unwrap();
        fs::write(&target, "one\n").unwrap();
        scratch.append("two\n").unwrap();
        assert_eq!(fs::read_link(scratch.layout.authorized_keys()).unwrap(), link);
        assert_eq!(fs::read_to_string(&target).unwrap(), "one\ntwo\n");
        assert!(!target.is_symlink());
    }
}

/// Somebody may be renaming it at any moment; its place is what its name says, not what the file that was found is called by then.
#[test]
fn a_file_that_is_being_renamed_has_its_own_name() {
    let scratch = Scratch::with("one\n");
    let linked = Scratch::with("one\n");
    let target = linked.layout.home().join("keys");
    fs::rename(linked.layout.authorized_keys(), &target).unwrap();
    symlink("../keys", linked.layout.authorized_keys()).unwrap();
    for (scratch, path) in [(&scratch, scratch.layout.authorized_keys()), (&linked, target)] {
        let found = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let renames = scope.spawn(|| {
                let other = path.with_file_name("other");
                fs::write(&other, "").unwrap();
                while !found.load(Ordering::Relaxed) {
                    renameat_with(CWD, &other, CWD, &path, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let look = || Some(Place::find(&scratch.layout).ok()??.name.clone());
            let names: HashSet<Option<OsString>> = (0..20_000).map(|_| look()).collect();
            found.store(true, Ordering::Relaxed);
            renames.join().unwrap();
            assert_eq!(Vec::from_iter(names), [path.file_name().map(ToOwned::to_owned)]);
        });
    }
}

#[test]
fn what_is_not_a_plain_file_of_ours_is_refused_with_its_reason() {
    type Make = fn(&Scratch, &Path);
    let cases: [(&str, Make); 12] = [
        ("is a symlink that leads out of the home", |scratch, path| {
            fs::write(scratch.dir.path().join("outside"), "").unwrap();
            symlink("../../outside", path).unwrap();
        }),
        ("is a symlink that leads nowhere", |_, path| symlink("nowhere", path).unwrap()),
        ("is not a regular file", |_, path| fs::create_dir(path).unwrap()),
        ("is not a regular file", |_, path| {
            nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }),
        ("is not a regular file", |_, path| symlink("/dev/null", path).unwrap()),
        ("is a symlink that leads nowhere", |_, path| symlink("no/where", path).unwrap()),
        ("is a symlink that leads out of the home", |_, path| symlink("../../nowhere", path).unwrap()),
        ("is a symlink that leads out of the home", |_, path| symlink("/no/such/keys", path).unwrap()),
        ("Is a directory", |_, path| symlink("..", path).unwrap()),
        ("Not a directory", |scratch, path| {
            fs::write(scratch.layout.home().join("keys"), "one\n").unwrap();
            symlink("../keys/", path).unwrap();
        }),
        ("Too many levels of symbolic links", |_, path| symlink("authorized_keys", path).unwrap()),
        ("has another name", |scratch, path| {
            fs::write(path, "one\n").unwrap();
            fs::hard_link(path, scratch.layout.home().join("other-name")).unwrap();
        }),
    ];
    for (says, make) in cases {
        let scratch = Scratch::new();
        fs::create_dir(scratch.layout.ssh_dir()).unwrap();
        make(&scratch, &scratch.layout.authorized_keys());
        let error = scratch.append("two\n").unwrap_err().to_string();
        let outside = error.contains("out of the home");
        assert!(error.contains(says) || (outside && says == "is not a regular file"), "{says}: {error}");
        assert_eq!(scratch.names(), ["authorized_keys"], "{says}");
    }
}

#[test]
fn a_directory_that_leads_out_is_refused() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.dir.path().join("far")).unwrap();
    symlink("../far", scratch.layout.ssh_dir()).unwrap();
    let error = scratch.append("two\n").unwrap_err().to_string();
    assert!(error.ends_with(".ssh is a symlink that leads out of the home directory"), "{error}");
}

#[test]
fn what_a_killed_run_left_is_swept() {
    let scratch = Scratch::with("one\n");
    fs::write(scratch.layout.ssh_dir().join(".authorized_keys.akeys-0123456789abcdef"), "half").unwrap();
    fs::write(scratch.layout.ssh_dir().join(".authorized_keys.swp"), "editor").unwrap();
    scratch.append("two\n").unwrap();
    assert_eq!(scratch.names(), [".authorized_keys.swp", "authorized_keys"]);
}

#[test]
fn only_so_many_backups_are_kept() {
    let scratch = Scratch::with("");
    for n in 0..40 {
        scratch.append(&format!("{n}\n")).unwrap();
    }
    assert_eq!(scratch.backups().len(), 32);
}

fn identity(path: &Path) -> (u64, u64, u64) {
    let metadata = path.metadata().unwrap();
    (metadata.dev(), metadata.ino(), metadata.nlink())
}

#[test]
fn what_is_kept_is_the_old_file_itself_and_an_editor_that_still_writes_into_it_loses_nothing() {
    let scratch = Scratch::with("one\n");
    let path = scratch.layout.authorized_keys();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let before = identity(&path);
    let mut editor = fs::File::options().append(true).open(&path).unwrap();
    scratch.append("two\n").unwrap();
    io::Write::write_all(&mut editor, b"late\n").unwrap();
    let backups = scratch.backups();
    assert_eq!(backups.len(), 1);
    assert_eq!(identity(&backups[0]), before);
    assert_eq!(fs::read_to_string(&backups[0]).unwrap(), "one\nlate\n");
    assert_eq!(backups[0].metadata().unwrap().mode() & 0o7777, 0o600);
    assert_eq!((scratch.content().as_str(), identity(&path).2), ("one\ntwo\n", 1));
    assert_eq!(history(&scratch.layout)[0].read().unwrap(), b"one\nlate\n");
}

#[test]
fn the_link_of_a_run_that_was_killed_before_the_exchange_is_taken_away() {
    let scratch = Scratch::with("one\n");
    scratch.append("two\n").unwrap();
    let [kept] = scratch.backups().try_into().unwrap();
    let left = kept.with_file_name("authorized_keys.20990101T000000.000000000Z");
    fs::hard_link(scratch.layout.authorized_keys(), &left).unwrap();
    assert_eq!(scratch.append("three\n").unwrap(), Outcome::Replaced);
    assert!(!left.exists());
    assert_eq!(identity(&scratch.layout.authorized_keys()).2, 1);
    let kept: Vec<String> = scratch.backups().iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.contains(&"one\n".to_owned()) && kept.contains(&"one\ntwo\n".to_owned()), "{kept:?}");
    // Somebody else's link is somebody's: nothing is taken away.
    let other = scratch.layout.home().join("other");
    fs::hard_link(scratch.layout.authorized_keys(), &other).unwrap();
    scratch.append("four\n").unwrap_err();
    assert!(other.exists() && scratch.backups().len() == 2);
}

#[test]
fn what_cannot_be_linked_is_copied() {
    let scratch = Scratch::with("one\n");
    let snapshot = Place::find(&scratch.layout).unwrap().unwrap().read().unwrap().unwrap();
    // A file that has lost its only name cannot get another one.
    fs::remove_file(scratch.layout.authorized_keys()).unwrap();
    let kept = backup::keep(&scratch.layout, &snapshot).unwrap();
    assert!(!kept.is_link());
    assert_eq!(fs::read_to_string(&scratch.backups()[0]).unwrap(), "one\n");
    assert_eq!(scratch.backups()[0].metadata().unwrap().mode() & 0o7777, 0o600);
    kept.forget();
    assert!(scratch.backups().is_empty());
}

#[test]
fn an_editor_that_wrote_into_the_file_at_the_last_moment_has_what_was_before_kept_as_well() {
    let scratch = Scratch::with("one\n");
    let place = Place::find(&scratch.layout).unwrap().unwrap();
    let snapshot = place.read().unwrap().unwrap();
    let kept = backup::keep(&scratch.layout, &snapshot).unwrap();
    assert!(kept.is_link() && place.seems_with_a_name_more(&snapshot).unwrap());
    let temp = Temp::write(&place, Some(&snapshot), [&b"new\n"[..]].into_iter()).unwrap();
    fs::write(scratch.layout.authorized_keys(), "edited\n").unwrap();
    assert!(!place.seems_with_a_name_more(&snapshot).unwrap());
    assert_eq!(temp.commit(Some(&snapshot)).unwrap(), Commit::Over(b"edited\n".to_vec()));
    for content in [&b"one\n"[..], b"edited\n"] {
        backup::keep_copy(&scratch.layout, content).unwrap();
    }
    let said: Vec<Vec<u8>> = history(&scratch.layout).iter().map(|kept| kept.read().unwrap()).collect();
    assert_eq!(said, [&b"edited\n"[..], b"one\n", b"edited\n"]);
}
