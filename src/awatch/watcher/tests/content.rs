//! What about a file has changed, and who did it.

use std::fs::{self, File, FileTimes};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::{Duration, SystemTime};

use super::super::look::ORIGIN;
use super::{Options, Scene, words};

#[test]
fn a_mode_or_a_time_is_an_attribute() {
    let mut scene = Scene::new(&["f", "d/"]);
    let chmod = |name: &str, mode| {
        fs::set_permissions(scene.path(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    chmod("f", 0o600);
    scene.says(&["attributes f"]);
    let chmod = |name: &str, mode| {
        fs::set_permissions(scene.path(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    chmod("f", 0o600);
    chmod("d", 0o700);
    scene.says(&["attributes d"]);
    let hour = SystemTime::now() - Duration::from_hours(1);
    // Opened for reading, so that there is no writer to close it.
    let times = FileTimes::new().set_modified(hour).set_accessed(hour);
    File::open(scene.path("f")).unwrap().set_times(times).unwrap();
    scene.says(&["attributes f"]);
}

#[test]
fn a_file_that_was_opened_for_writing_and_left_alone_is_no_change() {
    let mut scene = Scene::new(&["f"]);
    drop(File::options().write(true).open(scene.path("f")).unwrap());
    scene.says(&[]);
    scene.write("f", "x");
    scene.says(&["modified f"]);
    drop(File::options().write(true).open(scene.path("f")).unwrap());
    scene.says(&[]);
    File::open(scene.path("f")).unwrap();
    scene.says(&[]);
}

#[test]
fn another_name_for_a_file_is_a_new_file() {
    let mut scene = Scene::new(&["f"]);
    fs::hard_link(scene.path("f"), scene.path("g")).unwrap();
    scene.says(&["created g"]);
    fs::remove_file(scene.path("f")).unwrap();
    scene.says(&["removed f"]);
    fs::hard_link(scene.path("g"), scene.path("h")).unwrap();
    fs::remove_file(scene.path("g")).unwrap();
    scene.says(&["renamed g -> h"]);
}

#[test]
fn a_file_with_two_names_changes_under_both() {
    let mut scene = Scene::new(&["d/f", "other"]);
    fs::create_dir(scene.path("e")).unwrap();
    fs::hard_link(scene.path("d/f"), scene.path("e/g")).unwrap();
    fs::hard_link(scene.path("d/f"), scene.outside("h")).unwrap();
    scene.says(&["created e", "created e/g"]);
    for _ in 0..2 {
        writeln!(File::options().append(true).open(scene.path("d/f")).unwrap(), "more").unwrap();
        scene.says_in_any_order(&["modified d/f", "modified e/g"]);
    }
    fs::set_permissions(scene.path("e/g"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    scene.says_in_any_order(&["attributes d/f", "attributes e/g"]);
}

#[test]
fn an_edit_that_leaves_size_and_time_as_they_were_is_found() {
    let mut scene = Scene::new(&["f"]);
    scene.write("f", "one");
    scene.says(&["modified f"]);
    let time = fs::metadata(scene.path("f")).unwrap().modified().unwrap();
    let file = File::options().write(true).open(scene.path("f")).unwrap();
    file.write_all_at(b"two", 0).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
    drop(file);
    scene.says(&["modified f"]);
    // The same content written once more, with the same time, is nothing new.
    let file = File::options().write(true).open(scene.path("f")).unwrap();
    file.write_all_at(b"two", 0).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
    drop(file);
    scene.says(&[]);
}

#[test]
fn a_file_that_is_written_through_memory_is_modified() {
    let mut scene = Scene::new(&[]);
    scene.write("f", &"x".repeat(8192));
    scene.says(&["created f"]);
    // A shell has no mmap; Python, where it is installed, has.
    let script = "import mmap, sys\nf = open(sys.argv[1], 'r+b')\nm = mmap.mmap(f.fileno(), 0)\nf.close()\nm[5000:5003] = b'new'\nm.close()\n";
    let python = std::process::Command::new("python3").args(["-c", script]).arg(scene.path("f")).status();
    assert!(python.expect("python3 is needed").success());
    scene.says(&["modified f"]);
}

#[test]
fn small_files_are_hashed_and_large_ones_are_not() {
    let mut scene = Scene::with(&[], Options { hash_limit: 3, ..Options::default() });
    scene.write("small", "abc");
    scene.write("large", "abcd");
    let changes = scene.changes();
    let hash =
        |name: &str| changes.iter().find(|change| change.path.as_bytes() == name.as_bytes()).unwrap().sha256;
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(rrsync_rs::hex::encode(&hash("small").unwrap()), expected);
    assert_eq!(hash("large"), None);
    // Without a hash, what may have changed has changed.
    let file = File::options().append(true).open(scene.path("large")).unwrap();
    file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH)).unwrap();
    drop(file);
    scene.says(&["modified large"]);
}

/// Marks a file as a program does.
fn sign(path: &std::path::Path, origin: &str) {
    let metadata = fs::metadata(path).unwrap();
    let nanoseconds = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    let value = format!("v1 {origin} {} {nanoseconds}", metadata.size());
    xattr::set(path, ORIGIN, value.as_bytes()).unwrap();
}

#[test]
fn a_program_that_signs_its_files_knows_them_again() {
    let mut scene = Scene::new(&["mine"]);
    let long = "x".repeat(129);
    for (origin, known) in [("afiles:chef1@pod.7", true), ("a b", false), ("", false), (long.as_str(), false)]
    {
        scene.write(".tmp", origin);
        sign(&scene.path(".tmp"), origin);
        scene.mv(".tmp", "mine");
        let changes = scene.changes();
        assert_eq!(changes.iter().map(words).collect::<Vec<_>>(), ["modified mine"]);
        assert_eq!(changes[0].origin.as_deref(), known.then_some(origin));
    }
    scene.write(".tmp", "signed");
    sign(&scene.path(".tmp"), "pod");
    scene.mv(".tmp", "mine");
    assert_eq!(scene.changes()[0].origin.as_deref(), Some("pod"));
    // Whoever changes it afterwards is somebody else.
    writeln!(File::options().append(true).open(scene.path("mine")).unwrap(), "edited").unwrap();
    let changes = scene.changes();
    assert_eq!((words(&changes[0]), changes[0].origin.as_deref()), ("modified mine".to_owned(), None));
    sign(&scene.path("mine"), "pod");
    scene.says(&[]);
    scene.mv("mine", "yours");
    let changes = scene.changes();
    assert_eq!(
        (words(&changes[0]), changes[0].origin.as_deref()),
        ("renamed mine -> yours".to_owned(), None)
    );
}
