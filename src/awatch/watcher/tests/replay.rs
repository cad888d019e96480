//! Whoever makes all the changes to a copy has the tree, whatever happened to it and however fast.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::settle::Times;
use super::copy::Copy;
use super::{Change, Options, Scene};
use crate::event::EventPath;

/// Something that somebody does to a tree. Names are few, so that things happen to the same ones.
#[derive(Debug, Clone)]
enum Deed {
    Write(String, u8),
    Append(String),
    Replace(String, u8),
    MakeDir(String),
    Rename(String, String),
    Exchange(String, String),
    Remove(String),
    Link(String, String),
    Symlink(String, String),
    Mode(String, u32),
    Leave(String, u8),
    Enter(u8, String),
    /// The watcher looks.
    Look,
    /// The watcher looks until everything has settled.
    Settle,
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[abc]", 1..4).prop_map(|names| names.join("/"))
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (path(), any::<u8>()).prop_map(|(path, content)| Deed::Write(path, content)),
        1 => path().prop_map(Deed::Append),
        2 => (path(), any::<u8>()).prop_map(|(path, content)| Deed::Replace(path, content)),
        3 => path().prop_map(Deed::MakeDir),
        4 => (path(), path()).prop_map(|(from, to)| Deed::Rename(from, to)),
        1 => (path(), path()).prop_map(|(one, other)| Deed::Exchange(one, other)),
        2 => path().prop_map(Deed::Remove),
        1 => (path(), path()).prop_map(|(from, to)| Deed::Link(from, to)),
        1 => (path(), path()).prop_map(|(to, at)| Deed::Symlink(to, at)),
        1 => (path(), prop_oneof![Just(0o600), Just(0o755)]).prop_map(|(path, mode)| Deed::Mode(path, mode)),
        1 => (path(), 0..3u8).prop_map(|(path, number)| Deed::Leave(path, number)),
        1 => (0..3u8, path()).prop_map(|(number, path)| Deed::Enter(number, path)),
        3 => Just(Deed::Look),
        1 => Just(Deed::Settle),
    ]
}

impl Deed {
    /// Does it; what is not possible is not done.
    fn run(&self, scene: &Scene) {
        let at = |path: &String| scene.path(path);
        let _ = match self {
            Self::Write(path, content) => fs::write(at(path), vec![*content; usize::from(*content)]),
            Self::Append(path) => {
                fs::File::options().append(true).open(at(path)).and_then(|mut file| file.write_all(b"more"))
            }
            Self::Replace(path, content) => {
                let temporary = at(path).with_file_name("tmp");
                fs::write(&temporary, [*content])
                    .and_then(|()| fs::rename(&temporary, at(path)).or_else(|_| fs::remove_file(&temporary)))
            }
            Self::MakeDir(path) => fs::create_dir_all(at(path)),
            Self::Rename(from, to) => fs::rename(at(from), at(to)),
            Self::Exchange(one, other) => {
                let (cwd, exchange) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                rustix::fs::renameat_with(cwd, at(one), cwd, at(other), exchange).map_err(Into::into)
            }
            Self::Remove(path) => fs::remove_file(at(path)).or_else(|_| fs::remove_dir_all(at(path))),
            Self::Link(from, to) => fs::hard_link(at(from), at(to)),
            Self::Symlink(to, path) => symlink(to, at(path)),
            Self::Mode(path, mode) if at(path).is_file() && !at(path).is_symlink() => {
                fs::set_permissions(at(path), fs::Permissions::from_mode(*mode))
            }
            Self::Leave(path, number) => fs::rename(at(path), scene.outside(&number.to_string())),
            Self::Enter(number, path) => fs::rename(scene.outside(&number.to_string()), at(path)),
            Self::Mode(..) | Self::Look | Self::Settle => Ok(()),
        };
    }
}

fn make(copy: &mut Copy, change: &Change) {
    let from = change.from.as_ref().map(EventPath::as_path);
    copy.make(change.reason, change.kind, change.path.as_path(), from);
}

fn replay(deeds: &[Deed]) {
    let times = Times { rename: Duration::from_millis(4), ..Times::default() };
    let mut scene = Scene::with(&[], Options { times, ..Options::default() });
    let copy = scene.outside("copy");
    fs::create_dir(&copy).unwrap();
    let mut copy = Copy::new(scene.path(""), copy);
    let mut told = Vec::new();
    for deed in deeds {
        deed.run(&scene);
        let changes = match deed {
            Deed::Look => {
                scene.watcher.read(Instant::now()).unwrap();
                scene.watcher.settle(Instant::now()).unwrap()
            }
            Deed::Settle => scene.changes(),
            _ => continue,
        };
        for change in changes {
            told.push(super::words(&change));
            make(&mut copy, &change);
        }
    }
    for change in scene.changes() {
        told.push(super::words(&change));
        make(&mut copy, &change);
    }
    if let Some(difference) = copy.difference() {
        panic!("{difference}\n--- told\n{}", told.join("\n"));
    }
}

/// What was told wrongly once, each as short as it can be.
#[test]
fn what_went_wrong_once_does_not_again() {
    let s = |text: &str| text.to_owned();
    let (write, make_dir, settle) =
        (|path: &str, n| Deed::Write(s(path), n), |path: &str| Deed::MakeDir(s(path)), Deed::Settle);
    let two = |kind: fn(String, String) -> Deed, one: &str, other: &str| kind(s(one), s(other));
    let stories = [
        // New directories that change places are reported as gone after they have come.
        vec![make_dir("c"), make_dir("b"), two(Deed::Exchange, "c", "b")],
        // A file and a directory that have changed places, and then are one in the other, waited for each other.
        vec![
            make_dir("b"),
            settle.clone(),
            write("c", 0),
            two(Deed::Exchange, "c", "b"),
            two(Deed::Rename, "b", "c/a"),
        ],
        // A write was reported under one name of a file, and the other went unnoticed: in place,
        vec![write("b", 0), two(Deed::Link, "b", "a"), settle.clone(), write("a", 1)],
        // when another file took that name,
        vec![
            write("b", 0),
            two(Deed::Link, "b", "a"),
            settle.clone(),
            write("a", 1),
            Deed::Replace(s("a"), 2),
        ],
        // and when that name left the tree.
        vec![write("b", 0), two(Deed::Link, "b", "a"), settle, write("a", 1), Deed::Leave(s("a"), 0)],
    ];
    for story in stories {
        replay(&story);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_makes_all_changes_to_a_copy_has_the_tree(deeds in prop::collection::vec(deed(), 1..60)) {
        replay(&deeds);
    }
}
