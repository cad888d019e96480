//! Names: of any bytes, other names for the same thing, and what a name leads to.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use super::super::dirs::ROOT;
use super::{Scene, bytes, words};
use crate::event::Kind;

#[test]
fn a_renamed_file_is_renamed() {
    let mut scene = Scene::new(&["a", "d/f", "e/"]);
    scene.mv("a", "b");
    scene.says(&["renamed a -> b"]);
    // Known in detail by now.
    scene.mv("b", "d/b");
    scene.says(&["renamed b -> d/b"]);
    scene.mv("d/f", "e/g");
    scene.says(&["renamed d/f -> e/g"]);
    // Over another one.
    scene.mv("d/b", "e/g");
    scene.says(&["renamed d/b -> e/g"]);
    assert_eq!(fs::read_to_string(scene.path("e/g")).unwrap(), "a\n");
}

#[test]
fn a_new_file_with_the_inode_of_one_that_was_removed_was_told_as_its_rename() {
    let mut scene = Scene::new(&["old", "kept"]);
    fs::remove_file(scene.path("old")).unwrap();
    scene.write("new", "other");
    let inode = fs::metadata(scene.path("new")).unwrap().ino();
    scene.watcher.store.renumber(ROOT, b"old", inode);
    scene.says_in_any_order(&["created new", "removed old"]);
    scene.mv("kept", "moved");
    scene.says(&["renamed kept -> moved"]);
}

#[test]
fn a_chain_of_renames_is_one() {
    let mut scene = Scene::new(&["a"]);
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "d")] {
        scene.mv(from, to);
    }
    scene.says(&["renamed a -> d"]);
    scene.mv("d", "e");
    scene.mv("e", "d");
    scene.says(&[]);
}

#[test]
fn a_file_that_is_renamed_and_written_is_both() {
    let mut scene = Scene::new(&["a", "x"]);
    scene.mv("a", "b");
    scene.write("b", "more than before");
    scene.says(&["renamed a -> b", "modified b"]);
    scene.mv("b", "a");
    scene.write("a", "even more than before");
    scene.says(&["renamed b -> a", "modified a"]);
}

#[test]
fn names_that_change_places_are_told_so_that_each_step_can_be_made() {
    let mut scene = Scene::new(&["a", "b", "one/f", "two/g"]);
    let exchange = |one: &str, other: &str| {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        let cwd = rustix::fs::CWD;
        rustix::fs::renameat_with(cwd, scene.path(one), cwd, scene.path(other), flags).unwrap();
    };
    exchange("a", "b");
    exchange("one", "two");
    let told: Vec<String> = scene.changes().iter().map(words).collect();
    let (mut files, dirs): (Vec<_>, Vec<_>) = told.into_iter().partition(|line| line.starts_with("modified"));
    files.sort();
    assert_eq!(files, ["modified a", "modified b"]);
    let circle = [
        ["removed two", "renamed one -> two", "created one", "created one/g"],
        ["removed one", "renamed two -> one", "created two", "created two/f"],
    ];
    assert!(circle.iter().any(|steps| dirs == steps), "{dirs:?}");
    // Three in a circle, by way of a fourth name.
    let mut scene = Scene::new(&["a/1", "b/2", "c/3"]);
    for (from, to) in [("a", "x"), ("c", "a"), ("b", "c"), ("x", "b")] {
        scene.mv(from, to);
    }
    let told: Vec<String> = scene.changes().iter().map(words).collect();
    assert_eq!(told.iter().filter(|line| line.starts_with("renamed")).count(), 2, "{told:?}");
    assert_eq!(told.len(), 5, "{told:?}");
}

#[test]
fn a_case_only_rename_is_a_rename() {
    let mut scene = Scene::new(&["Readme", "Docs/x"]);
    scene.mv("Readme", "README");
    scene.says(&["renamed Readme -> README"]);
    scene.mv("Docs", "docs");
    scene.says(&["renamed Docs -> docs"]);
}

#[test]
fn what_leaves_the_tree_is_removed_and_what_comes_into_it_is_new() {
    let mut scene = Scene::new(&["f", "d/e/g"]);
    for name in ["f", "d"] {
        fs::rename(scene.path(name), scene.outside(name)).unwrap();
    }
    scene.says_in_any_order(&["removed f", "removed d"]);
    // What goes on outside is nobody's concern.
    fs::write(scene.outside("d/e/g"), "elsewhere").unwrap();
    scene.says(&[]);
    for name in ["f", "d"] {
        fs::rename(scene.outside(name), scene.path(name)).unwrap();
    }
    scene.says_in_any_order(&["created f", "created d", "created d/e", "created d/e/g"]);
    scene.write("d/e/g", "here again");
    scene.says(&["modified d/e/g"]);
}

#[test]
fn names_may_be_any_bytes() {
    let mut scene = Scene::new(&[]);
    for name in
        [&b"a b"[..], b"new\nline", b"\xff\xfe", b"-rf", b"\x1b[31m", "ü\u{202e}".as_bytes(), b"\\", b"~"]
    {
        fs::write(scene.path(bytes(name)), "x").unwrap();
        let changes = scene.changes();
        assert_eq!(changes.len(), 1, "{name:?}");
        assert_eq!(changes[0].path.as_bytes(), name);
    }
    let long = "x".repeat(255);
    let mut path = String::new();
    let mut expected = Vec::new();
    // Deeper than a path that can be opened at once: made step by step, and renamed to the front.
    for _ in 0..20 {
        path.push_str(&long);
        expected.push(format!("created {path}"));
        path.push('/');
    }
    let mut at = fs::File::open(scene.path("")).unwrap();
    for _ in 0..20 {
        rustix::fs::mkdirat(&at, &*long, rustix::fs::Mode::from(0o755)).unwrap();
        at = rustix::fs::openat(&at, &*long, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())
            .unwrap()
            .into();
    }
    let told: Vec<String> = scene.changes().iter().map(words).collect();
    assert_eq!(told, expected);
    rustix::fs::openat(
        &at,
        "f",
        rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY,
        rustix::fs::Mode::from(0o644),
    )
    .unwrap();
    scene.says(&[&format!("created {path}f")]);
}

#[test]
fn a_symlink_is_told_of_and_never_followed() {
    let mut scene = Scene::new(&["target", "dir/f"]);
    fs::create_dir(scene.outside("d")).unwrap();
    symlink("target", scene.path("link")).unwrap();
    symlink("dir", scene.path("to-dir")).unwrap();
    symlink(scene.outside("d"), scene.path("out")).unwrap();
    symlink(".", scene.path("loop")).unwrap();
    let changes = scene.changes();
    assert_eq!(changes.len(), 4);
    assert!(changes.iter().all(|change| change.kind == Kind::Symlink));
    fs::write(scene.outside("d/secret"), "x").unwrap();
    scene.says(&[]);
    scene.write("dir/f", "through no link");
    scene.says(&["modified dir/f"]);
    // Another target.
    symlink("dir", scene.path("link.new")).unwrap();
    scene.mv("link.new", "link");
    scene.says(&["modified link"]);
    scene.mv("link", "renamed");
    scene.says(&["renamed link -> renamed"]);
    fs::remove_file(scene.path("out")).unwrap();
    scene.says(&["removed out"]);
}

#[test]
fn another_kind_of_thing_under_the_same_name_is_a_removal_and_a_creation() {
    let mut scene = Scene::new(&["x", "d/f"]);
    fs::remove_file(scene.path("x")).unwrap();
    fs::create_dir(scene.path("x")).unwrap();
    scene.write("x/in", "in");
    scene.says(&["removed x", "created x", "created x/in"]);
    fs::remove_dir_all(scene.path("d")).unwrap();
    symlink("x", scene.path("d")).unwrap();
    scene.says(&["removed d", "created d"]);
    fs::remove_file(scene.path("d")).unwrap();
    scene.write("d", "a file");
    scene.says(&["removed d", "created d"]);
}

#[test]
fn special_files_are_told_of_and_not_opened() {
    let mut scene = Scene::new(&[]);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        scene.path("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from(0o644),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(scene.path("socket")).unwrap();
    let changes = scene.changes();
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(|change| change.kind == Kind::Other));
}
