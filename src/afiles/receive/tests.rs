//! What gets a place, and what never does.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use nix::sys::stat::SFlag;
use rrsync_rs::origin;
use rrsync_rs::versions::{Kept, Reason, Store};

use super::*;

/// A directory that receives, one beside it that must stay as it is, and a home for what belongs to them.
struct Place {
    scratch: tempfile::TempDir,
    layout: Layout,
}

impl Place {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        for directory in ["copy", "outside"] {
            fs::create_dir(scratch.path().join(directory)).unwrap();
        }
        fs::write(scratch.path().join("outside/secret"), "secret").unwrap();
        let layout = Layout::new(scratch.path().join("home")).unwrap();
        Self { scratch, layout }
    }

    fn tree(&self, keep_everything: bool) -> Tree {
        let keeper = Keeper::new(&self.layout, keep_everything);
        Tree::open(&self.at(""), &self.layout, "lab.chef", keeper, Durability::Batch).unwrap()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.scratch.path().join("copy").join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    /// Everything below the copy, hidden names included.
    fn names(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut directories = vec![self.at("")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                found.push(path.strip_prefix(self.at("")).unwrap().to_str().unwrap().to_owned());
                if path.symlink_metadata().unwrap().is_dir() {
                    directories.push(path);
                }
            }
        }
        found.sort();
        found
    }

    /// What was kept: path, reason, content.
    fn kept(&self) -> Vec<(String, Reason, String)> {
        let Ok(store) = Store::open(&self.layout, &self.at("")) else { return Vec::new() };
        let text = |kept: &Kept| match kept {
            Kept::File { sha256, .. } => std::io::read_to_string(store.content(*sha256).unwrap()).unwrap(),
            Kept::Symlink { target } => format!("-> {}", target.display()),
        };
        let versions = store.list(None).unwrap().versions;
        versions.iter().map(|it| (it.path.to_str().unwrap().to_owned(), it.reason, text(&it.what))).collect()
    }

    fn unchanged_outside(&self) {
        let outside = self.scratch.path().join("outside");
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
        assert_eq!(fs::read_dir(outside).unwrap().count(), 1);
    }
}

fn path(path: &str) -> EventPath {
    EventPath::new(path.into()).unwrap()
}

const ATTRIBUTES: Attributes = Attributes { mode: 0o104_640, modified: 1_600_000_000_123_456_789 };

fn begun<'t>(tree: &'t Tree, at: &str, content: &str) -> Incoming<'t> {
    let mut file = tree.begin(&path(at)).unwrap();
    file.add(content.as_bytes()).unwrap();
    file.complete(ATTRIBUTES).unwrap();
    file
}

fn put(tree: &Tree, at: &str, content: &str, known: Option<Known>) {
    begun(tree, at, content).place(known).unwrap();
}

/// What is there now, as a copy of what is elsewhere.
#[allow(clippy::unnecessary_wraps, reason = "as it is asked for")]
fn known(tree: &Tree, at: &str) -> Option<Known> {
    Some(Known::of(&tree.look(&path(at)).unwrap().unwrap()))
}

#[test]
fn a_file_is_not_seen_before_it_is_whole_and_then_has_everything() {
    let place = Place::new();
    fs::write(place.at("a"), "old").unwrap();
    let tree = place.tree(false);
    let before = known(&tree, "a");
    let mut file = tree.begin(&path("a")).unwrap();
    file.add(b"ne").unwrap();
    assert_eq!(place.read("a"), "old");
    file.add(b"w").unwrap();
    file.complete(ATTRIBUTES).unwrap();
    tree.settle(std::iter::once(&file)).unwrap();
    assert_eq!(place.read("a"), "old");
    let sum = file.sum();
    file.place(before).unwrap();
    tree.end().unwrap();
    assert_eq!((place.read("a").as_str(), sum), ("new", rrsync_rs::sha256::Sum::of(b"new")));
    let m = place.at("a").metadata().unwrap();
    assert_eq!(
        (m.mode() & 0o7777, m.mtime(), m.mtime_nsec()),
        (0o640, 1_600_000_000, 123_456_789),
        "no setuid bit"
    );
    assert_eq!(origin::of(fs::File::open(place.at("a")).unwrap()).as_deref(), Some("lab.chef"));
    // It was only a copy, so nothing was kept.
    assert_eq!((place.names(), place.kept()), (vec!["a".to_owned()], vec![]));
}

#[test]
fn what_is_given_up_leaves_nothing_and_what_was_killed_is_swept() {
    let place = Place::new();
    let tree = place.tree(false);
    drop(begun(&tree, "sub/a", "half"));
    assert_eq!(place.names(), ["sub"]);
    // As a run that is killed leaves it: a file, a directory with something in it.
    std::mem::forget(begun(&tree, "sub/b", "half"));
    let hidden = tree.hidden_dir().unwrap();
    fs::write(hidden.path().join("x"), "x").unwrap();
    std::mem::forget(hidden);
    assert_eq!(place.names().len(), 4, "{:?}", place.names());
    drop(tree);
    let tree = place.tree(false);
    assert_eq!(place.names(), ["sub"]);
    put(&tree, "sub/b", "whole", None);
    assert_eq!(place.read("sub/b"), "whole");
}

#[test]
fn no_symlink_on_the_way_leads_out() {
    let place = Place::new();
    for link in ["dir", "deep"] {
        symlink("../outside", place.at(link)).unwrap();
    }
    symlink("../outside/secret", place.at("file")).unwrap();
    let tree = place.tree(false);
    assert!(tree.look(&path("dir/secret")).unwrap().is_none());
    assert!(tree.read(&path("dir/secret")).is_none() && tree.read(&path("file")).is_none());
    // What is in the way was made here, so it is kept.
    put(&tree, "dir/secret", "in the copy", None);
    tree.make_dir(&path("deep/er"), None, None).unwrap();
    put(&tree, "file", "a file", None);
    tree.remove(&path("dir/secret"), None).unwrap();
    tree.end().unwrap();
    place.unchanged_outside();
    assert_eq!(place.names(), ["deep", "deep/er", "dir", "file"]);
    let link = |name: &str, target: &str| (name.to_owned(), Reason::Conflict, format!("-> {target}"));
    let kept = place.kept();
    assert_eq!(kept[..2], [link("dir", "../outside"), link("deep", "../outside")]);
    assert_eq!(kept[2], link("file", "../outside/secret"));
    assert_eq!(kept[3], ("dir/secret".to_owned(), Reason::Conflict, "in the copy".to_owned()));
}

#[test]
fn what_was_changed_here_is_kept_and_what_is_only_a_copy_is_not() {
    let place = Place::new();
    let tree = place.tree(false);
    put(&tree, "copy", "one", None);
    put(&tree, "edited", "one", None);
    put(&tree, "gone", "one", None);
    let (copy, edited, gone) = (known(&tree, "copy"), known(&tree, "edited"), known(&tree, "gone"));
    fs::write(place.at("edited"), "by hand").unwrap();
    fs::write(place.at("gone"), "by hand").unwrap();
    put(&tree, "copy", "two", copy);
    put(&tree, "edited", "two", edited);
    tree.remove(&path("gone"), gone).unwrap();
    assert_eq!((place.read("copy").as_str(), place.read("edited").as_str()), ("two", "two"));
    let by_hand = |name: &str| (name.to_owned(), Reason::Conflict, "by hand".to_owned());
    assert_eq!(place.kept(), [by_hand("edited"), by_hand("gone")]);

    let place = Place::new();
    let tree = place.tree(true);
    put(&tree, "a", "one", None);
    put(&tree, "a", "two", known(&tree, "a"));
    tree.remove(&path("a"), known(&tree, "a")).unwrap();
    let version = |reason, content: &str| ("a".to_owned(), reason, content.to_owned());
    assert_eq!(place.kept(), [version(Reason::Overwritten, "one"), version(Reason::Removed, "two")]);
}

#[test]
fn one_kind_of_thing_makes_way_for_another() {
    let place = Place::new();
    let tree = place.tree(false);
    fs::create_dir_all(place.at("dir/deep")).unwrap();
    fs::write(place.at("dir/deep/own"), "own").unwrap();
    put(&tree, "dir", "now a file", None);
    assert_eq!(place.read("dir"), "now a file");
    put(&tree, "dir/inner", "below what was a file", known(&tree, "dir"));
    assert_eq!(place.read("dir/inner"), "below what was a file");
    assert_eq!(place.names(), ["dir", "dir/inner"]);
    let conflict = |name: &str, content: &str| (name.to_owned(), Reason::Conflict, content.to_owned());
    assert_eq!(place.kept(), [conflict("dir/deep/own", "own"), conflict("dir", "now a file")]);
}

#[test]
fn symlinks_are_made_as_they_are_if_they_stay_inside() {
    let place = Place::new();
    let tree = place.tree(false);
    for (at, target, stays) in [
        ("l1", "a", true),
        ("l2", "a/b/../c", false),
        ("d/l3", "../a", true),
        ("d/l4", "../../a", false),
        ("l5", "/etc/passwd", false),
        ("l6", "..", false),
        ("d/l7", "..", true),
    ] {
        let made = tree.make_link(&path(at), target.as_bytes(), Symlinks::Skip, None).unwrap();
        assert_eq!(made, stays, "{at}");
        assert_eq!(fs::read_link(place.at(at)).ok(), stays.then(|| target.into()), "{at}");
        let refused = tree.make_link(&path(at), target.as_bytes(), Symlinks::Refuse, None);
        assert_eq!(refused.is_ok(), stays, "{at}");
        assert!(tree.make_link(&path(at), target.as_bytes(), Symlinks::Keep, None).unwrap());
        assert_eq!(fs::read_link(place.at(at)).unwrap(), PathBuf::from(target), "{at}");
    }
    assert!(!place.names().iter().any(|name| name.contains(".akeys")));
}

#[test]
fn what_is_moved_takes_the_place_of_a_file_and_of_no_directory() {
    let place = Place::new();
    let tree = place.tree(false);
    put(&tree, "a/f", "f", None);
    put(&tree, "g", "g", None);
    put(&tree, "d/x", "x", None);
    assert!(tree.shift(&path("a"), &path("b/c"), None).unwrap());
    assert!(tree.shift(&path("b/c/f"), &path("g"), known(&tree, "g")).unwrap());
    assert_eq!(place.read("g"), "f");
    assert!(!tree.shift(&path("g"), &path("d"), None).unwrap());
    assert!(!tree.shift(&path("nothing"), &path("n"), None).unwrap());
    assert!(!tree.shift(&path("b"), &path("b/c/inside"), None).unwrap());
    symlink("../g", place.at("d/link")).unwrap();
    assert!(!tree.shift(&path("d/link"), &path("link"), None).unwrap(), "it would lead out from there");
    assert!(tree.shift(&path("d/link"), &path("b/link"), None).unwrap());
    assert_eq!(place.names(), ["b", "b/c", "b/link", "d", "d/x", "g"]);
    assert_eq!(place.kept(), []);
}

#[test]
fn a_directory_goes_when_nothing_is_in_it_and_a_locked_one_is_filled() {
    let place = Place::new();
    let tree = place.tree(false);
    put(&tree, "d/x", "x", None);
    assert!(!tree.remove_dir(&path("d")).unwrap());
    fs::set_permissions(place.at("d"), fs::Permissions::from_mode(0o500)).unwrap();
    put(&tree, "d/y", "y", None);
    tree.remove(&path("d/x"), known(&tree, "d/x")).unwrap();
    tree.end().unwrap();
    assert_eq!(place.at("d").metadata().unwrap().mode() & 0o7777, 0o500);
    tree.remove(&path("d/y"), known(&tree, "d/y")).unwrap();
    assert!(tree.remove_dir(&path("d")).unwrap() && tree.remove_dir(&path("d")).unwrap());
    tree.end().unwrap();
    assert!(place.names().is_empty());
}

#[test]
fn what_was_staged_is_taken_over_if_it_is_a_plain_file() {
    let place = Place::new();
    let tree = place.tree(false);
    let stage = tree.stage().unwrap();
    fs::create_dir(stage.real().join("d")).unwrap();
    fs::write(stage.real().join("d/f"), "staged").unwrap();
    fs::set_permissions(stage.real().join("d/f"), fs::Permissions::from_mode(0o4444)).unwrap();
    fs::hard_link(place.scratch.path().join("outside/secret"), stage.real().join("linked")).unwrap();
    symlink(place.scratch.path().join("outside"), stage.real().join("way")).unwrap();
    symlink("d/f", stage.real().join("link")).unwrap();
    for other in ["linked", "way/secret", "link", "d", "nothing"] {
        assert!(tree.adopt(stage.at(), &path(other)).unwrap().is_none(), "{other}");
    }
    let file = tree.adopt(stage.at(), &path("d/f")).unwrap().unwrap();
    assert_eq!(file.sum(), rrsync_rs::sha256::Sum::of(b"staged"));
    file.place(None).unwrap();
    stage.clear().unwrap();
    assert_eq!(place.read("d/f"), "staged");
    assert_eq!(place.at("d/f").metadata().unwrap().mode() & 0o7777, 0o444);
    assert_eq!(place.names(), ["d", "d/f"]);
    place.unchanged_outside();
}

#[test]
fn a_name_that_is_too_long_concerns_nobody_else() {
    let place = Place::new();
    let tree = place.tree(false);
    let error = tree.begin(&path(&format!("{}/x", "n".repeat(300)))).unwrap_err();
    assert!(!error.is_everyones(), "{error}");
    for (errno, everyones) in [(Errno::ENOSPC, true), (Errno::EROFS, true), (Errno::EACCES, false)] {
        assert_eq!(ReceiveError::at(Path::new("x"))(errno).is_everyones(), everyones);
    }
    let kind = tree.look(&path("x")).unwrap().map(|stat| SFlag::from_bits_truncate(stat.st_mode));
    assert_eq!(kind, None);
}
