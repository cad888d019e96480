//! Directories: born full, renamed with all that is in them, removed while things go on in them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::{Options, Scene, watch, words};

fn shell(dir: &Path, line: &str) {
    let status = Command::new("/bin/sh").arg("-ec").arg(line).current_dir(dir).status().unwrap();
    assert!(status.success(), "{line}");
}

#[test]
fn a_directory_that_is_born_full_is_told_with_all_that_is_in_it() {
    for _ in 0..20 {
        let mut scene = Scene::new(&[]);
        shell(&scene.path(""), "mkdir -p a/b/c && echo > a/b/c/f");
        scene.says(&["created a", "created a/b", "created a/b/c", "created a/b/c/f"]);
        scene.write("a/b/c/f", "again");
        scene.says(&["modified a/b/c/f"]);
    }
}

#[test]
fn a_large_directory_is_renamed_as_one() {
    let files: Vec<String> =
        (0..1000).map(|number| format!("big/{}/{}/f{number}", number % 10, number % 7)).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut scene = Scene::new(&files);
    scene.mv("big", "large");
    scene.says(&["renamed big -> large"]);
    // It is still watched, under its new name.
    scene.write("large/3/2/f0new", "x");
    scene.says(&["created large/3/2/f0new"]);
    // Into another one, which is new.
    fs::create_dir(scene.path("new")).unwrap();
    scene.mv("large", "new/large");
    scene.says(&["created new", "renamed large -> new/large"]);
    scene.write("new/large/3/2/f0new", "y");
    scene.says(&["modified new/large/3/2/f0new"]);
}

#[test]
fn a_directory_that_goes_into_a_new_one_at_once_is_renamed() {
    let mut scene = Scene::new(&["d/f", "f"]);
    shell(&scene.path(""), "mkdir new; mv d f new/; echo x > new/d/g");
    let told: Vec<String> = scene.changes().iter().map(words).collect();
    assert_eq!(told[0], "created new");
    for line in ["renamed d -> new/d", "renamed f -> new/f", "created new/d/g"] {
        assert!(told.iter().any(|told| told == line), "{told:?}");
    }
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn what_goes_on_in_a_renamed_directory_has_its_new_name() {
    let mut scene = Scene::new(&["d/f", "d/sub/g"]);
    shell(&scene.path(""), "mv d e; echo x >> e/f; echo x > e/sub/h; mv e/sub e/bus; rm e/bus/g");
    let told: Vec<String> = scene.changes().iter().map(words).collect();
    assert_eq!(told[0], "renamed d -> e", "{told:?}");
    let mut rest = told[1..].to_vec();
    rest.sort();
    // Which of two directories is looked at first is not said.
    let orders = [
        ["created e/bus/h", "modified e/f", "removed e/bus/g", "renamed e/sub -> e/bus"],
        ["created e/sub/h", "modified e/f", "removed e/bus/g", "renamed e/sub -> e/bus"],
        ["created e/sub/h", "modified e/f", "removed e/sub/g", "renamed e/sub -> e/bus"],
        ["created e/bus/h", "modified e/f", "removed e/sub/g", "renamed e/sub -> e/bus"],
    ];
    assert!(orders.iter().any(|order| rest == order), "{told:?}");
}

#[test]
fn a_parent_and_its_child_that_change_places_are_told_in_an_order_that_works() {
    let mut scene = Scene::new(&["a/b/f"]);
    shell(&scene.path(""), "mv a/b b; mv a b/a");
    scene.says(&["renamed a/b -> b", "renamed a -> b/a"]);
    scene.write("b/f", "x");
    scene.says(&["modified b/f"]);
}

#[test]
fn what_is_moved_out_of_a_directory_leaves_it_before_it_is_removed() {
    let mut scene = Scene::new(&["d/keep", "d/sub/deep", "d/lost"]);
    shell(&scene.path(""), "mv d/keep keep; mv d/sub/deep deep; rm -r d");
    let told: Vec<String> = scene.changes().iter().map(words).collect();
    assert_eq!(told.last().unwrap(), "removed d");
    let mut renames = told[..told.len() - 1].to_vec();
    renames.sort();
    assert_eq!(renames, ["renamed d/keep -> keep", "renamed d/sub/deep -> deep"]);
}

#[test]
fn a_removed_tree_is_one_removal_and_its_watches_are_gone() {
    let mut scene = Scene::new(&["d/a/1", "d/b/2", "d/b/c/3", "other/f"]);
    let (before, _) = scene.watcher.directories();
    fs::remove_dir_all(scene.path("d")).unwrap();
    scene.says(&["removed d"]);
    assert_eq!(scene.watcher.directories().0, before - 4);
    // A new one under the same name is a new one.
    shell(&scene.path(""), "mkdir -p d/a; echo > d/a/1");
    scene.says(&["created d", "created d/a", "created d/a/1"]);
}

#[test]
fn a_directory_over_an_empty_one_takes_its_place() {
    let mut scene = Scene::new(&["a/f", "b/"]);
    scene.mv("a", "b");
    scene.says(&["removed b", "renamed a -> b"]);
    scene.write("b/f", "x");
    scene.says(&["modified b/f"]);
}

#[test]
fn a_directory_keeps_its_name_and_becomes_another_one() {
    let mut scene = Scene::new(&["d/f"]);
    shell(&scene.path(""), "mv d d.old; mkdir d; echo new > d/f");
    scene.says(&["renamed d -> d.old", "created d", "created d/f"]);
    shell(&scene.path(""), "rm -r d; mkdir d; echo newer > d/g");
    scene.says(&["removed d", "created d", "created d/g"]);
}

#[test]
fn a_directory_that_may_be_read_again_is_looked_into() {
    let mut scene = Scene::new(&["d/f"]);
    let mode = |mode| {
        fs::set_permissions(scene.path("d"), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    mode(0o700);
    scene.says(&["attributes d"]);
}

#[test]
fn a_tree_is_watched_while_things_are_made_in_it() {
    // Whatever is made while the walk goes on is either there when it is listed, or reported.
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().to_owned();
    for number in 0..300 {
        fs::create_dir_all(dir.join(format!("d{number}/e"))).unwrap();
    }
    let maker = std::thread::spawn({
        let dir = dir.clone();
        move || {
            for number in 0..300 {
                fs::create_dir_all(dir.join(format!("d{number}/e/new/deep"))).unwrap();
                fs::write(dir.join(format!("d{number}/e/new/deep/f")), "x").unwrap();
            }
        }
    });
    let mut watcher = watch(&dir, Options::default());
    maker.join().unwrap();
    while let Some(next) = watcher.next() {
        super::wait(&watcher, next.saturating_duration_since(Instant::now()));
        watcher.read(Instant::now()).unwrap();
        watcher.settle(Instant::now()).unwrap();
    }
    watcher.read(Instant::now()).unwrap();
    while watcher.next().is_some() {
        watcher.settle(Instant::now()).unwrap();
    }
    assert_eq!(watcher.directories(), (1 + 4 * 300, 0));
    for number in 0..300 {
        fs::write(dir.join(format!("d{number}/e/new/deep/f")), "changed").unwrap();
    }
    let mut told = 0;
    watcher.read(Instant::now()).unwrap();
    while let Some(next) = watcher.next() {
        super::wait(&watcher, next.saturating_duration_since(Instant::now()));
        watcher.read(Instant::now()).unwrap();
        told += watcher.settle(Instant::now()).unwrap().len();
    }
    assert_eq!(told, 300);
}
