//! Programs that write: one settled change each, and never a partial file.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::settle::Times;
use super::{Options, Scene, words};
use crate::event::Kind;

#[test]
fn a_new_file_and_an_append_are_one_change_each() {
    let mut scene = Scene::new(&["old"]);
    scene.write("new", "1\n");
    scene.says(&["created new"]);
    writeln!(File::options().append(true).open(scene.path("old")).unwrap(), "more").unwrap();
    scene.says(&["modified old"]);
    // Known in detail by now.
    writeln!(File::options().append(true).open(scene.path("old")).unwrap(), "more").unwrap();
    scene.says(&["modified old"]);
    scene.write("old", "over");
    scene.says(&["modified old"]);
}

#[test]
fn a_temporary_file_that_gets_its_name_is_a_change_of_that_name() {
    let mut scene = Scene::new(&["old"]);
    for (target, says) in [("old", "modified old"), ("new", "created new"), ("new", "modified new")] {
        scene.write(".new.Xy12ab", says);
        scene.mv(".new.Xy12ab", target);
        scene.says(&[says]);
    }
    // With the same content, only the time is another.
    scene.write(".new.Xy12ab", "modified new");
    scene.mv(".new.Xy12ab", "new");
    scene.says(&["attributes new"]);
}

#[test]
fn an_editor_that_moves_the_old_file_out_of_the_way_modifies_it() {
    // vim with 'backupcopy' off, and Kate: the old one is renamed, the new one written, the old one removed.
    let mut scene = Scene::new(&["draft"]);
    for content in ["new", "newer"] {
        scene.mv("draft", "draft~");
        let mut file = File::create(scene.path("draft")).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.sync_all().unwrap();
        drop(file);
        fs::remove_file(scene.path("draft~")).unwrap();
        scene.says(&["modified draft"]);
    }
}

#[test]
fn an_editor_that_is_slow_to_write_has_not_renamed_the_file() {
    let mut scene = Scene::new(&["draft"]);
    scene.mv("draft", "draft~");
    let mut file = File::create(scene.path("draft")).unwrap();
    file.write_all(b"half").unwrap();
    // Longer than a rename takes to settle.
    let until = Instant::now() + Duration::from_millis(250);
    while Instant::now() < until {
        let now = Instant::now();
        scene.watcher.read(now).unwrap();
        assert_eq!(scene.watcher.settle(now).unwrap(), []);
        super::wait(&scene.watcher, Duration::from_millis(10));
    }
    file.write_all(b" and half").unwrap();
    drop(file);
    fs::remove_file(scene.path("draft~")).unwrap();
    scene.says(&["modified draft"]);
}

#[test]
fn what_its_last_writer_had_open_by_a_name_that_is_not_watched_was_never_told() {
    let mut scene = Scene::new(&["draft"]);
    fs::create_dir_all(scene.outside("")).unwrap();
    fs::hard_link(scene.path("draft"), scene.outside("draft")).unwrap();
    let last = File::options().append(true).open(scene.outside("draft")).unwrap();
    scene.write("draft", "new");
    assert_eq!(scene.changes(), []);
    drop(last);
    // Nothing reports this, nor what an eager look at a file that is just being closed misses.
    let until = Instant::now() + super::DEADLINE;
    loop {
        let now = Instant::now();
        scene.watcher.read(now).unwrap();
        let told = scene.watcher.settle(now).unwrap();
        if let [change] = told.as_slice() {
            assert_eq!(super::words(change), "modified draft");
            return;
        }
        assert!(now < until && told.is_empty(), "{told:?}");
        super::wait(&scene.watcher, Duration::from_millis(50));
    }
}

#[test]
fn an_editor_that_keeps_the_old_file_makes_a_second_one() {
    // Emacs, the first time that it saves a file.
    let mut scene = Scene::new(&["draft"]);
    scene.mv("draft", "draft~");
    scene.write("draft", "new");
    scene.says_in_any_order(&["modified draft", "created draft~"]);
    // And from then on.
    scene.write("draft", "newer");
    scene.says(&["modified draft"]);
}

#[test]
fn real_programs_make_one_change() {
    let mut scene = Scene::new(&["draft"]);
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    for round in ["1", "2"] {
        run(Command::new("sed").args(["-i", &format!("s/$/{round}/")]).arg(scene.path("draft")));
        scene.says(&["modified draft"]);
        run(Command::new("cp").arg(scene.path("draft")).arg(scene.path(format!("copy{round}"))));
        scene.says(&[&format!("created copy{round}")]);
        run(Command::new("dd")
            .args(["if=/dev/urandom", "bs=1k", "count=3", "conv=notrunc", "status=none"])
            .arg(format!("of={}", scene.path("draft").display())));
        scene.says(&["modified draft"]);
    }
    run(Command::new("truncate").args(["-s", "1"]).arg(scene.path("draft")));
    scene.says(&["modified draft"]);
    run(Command::new("touch").arg(scene.path("draft")));
    scene.says(&["attributes draft"]);
    run(Command::new("tar")
        .arg("-cf")
        .arg(scene.outside("a.tar"))
        .arg("-C")
        .arg(scene.path(""))
        .arg("draft"));
    scene.says(&[]);
}

#[test]
fn a_file_that_is_still_being_written_is_not_told_of() {
    let mut scene = Scene::new(&["old"]);
    for (name, says) in [("new", "created new"), ("old", "modified old")] {
        let mut file = File::create(scene.path(name)).unwrap();
        for part in ["one", "two"] {
            file.write_all(part.as_bytes()).unwrap();
            scene.says(&[]);
        }
        // A second writer is as good a reason to wait.
        let second = File::options().append(true).open(scene.path(name)).unwrap();
        drop(file);
        scene.says(&[]);
        drop(second);
        let changes = scene.changes();
        assert_eq!(changes.iter().map(words).collect::<Vec<_>>(), [says]);
        assert_eq!(changes[0].stat.unwrap().size, 6);
    }
}

#[test]
fn a_file_that_was_being_written_when_it_was_found_is_not_told_of() {
    let mut scene = Scene::new(&[]);
    fs::create_dir(scene.outside("d")).unwrap();
    let mut file = File::create(scene.outside("d/f")).unwrap();
    file.write_all(b"half").unwrap();
    fs::rename(scene.outside("d"), scene.path("d")).unwrap();
    scene.says(&["created d"]);
    file.write_all(b" and half").unwrap();
    drop(file);
    scene.says(&["created d/f"]);
}

#[test]
fn a_writer_that_renames_its_file_before_it_closes_it_is_waited_for() {
    let mut scene = Scene::new(&["old"]);
    let mut file = File::create(scene.path("tmp")).unwrap();
    file.write_all(b"half").unwrap();
    scene.mv("tmp", "old");
    scene.says(&[]);
    file.write_all(b" and half").unwrap();
    drop(file);
    scene.says(&["modified old"]);
}

#[test]
fn a_file_that_stays_open_is_told_of_when_it_has_been_quiet() {
    let quiet = Duration::from_millis(200);
    let times = Times { quiet: Some(quiet), ..Times::default() };
    let mut scene = Scene::with(&[], Options { times, ..Options::default() });
    let mut file = File::create(scene.path("log")).unwrap();
    for (line, says) in [("one\n", "created log"), ("two\n", "modified log")] {
        file.write_all(line.as_bytes()).unwrap();
        let begin = Instant::now();
        scene.says(&[says]);
        assert!(begin.elapsed() >= quiet, "{:?}", begin.elapsed());
    }
    drop(file);
    scene.says(&[]);
}

#[test]
fn a_file_that_comes_and_goes_was_never_there() {
    let mut scene = Scene::new(&[]);
    scene.write("4913", "");
    fs::remove_file(scene.path("4913")).unwrap();
    scene.write("a", "a");
    scene.mv("a", "b");
    fs::remove_file(scene.path("b")).unwrap();
    fs::create_dir(scene.path("d")).unwrap();
    scene.write("d/f", "f");
    fs::remove_dir_all(scene.path("d")).unwrap();
    scene.says(&[]);
}

#[test]
fn a_file_that_is_removed_and_made_again_is_modified() {
    // git checkout.
    let mut scene = Scene::new(&["tracked"]);
    for branch in ["other branch", "main"] {
        fs::remove_file(scene.path("tracked")).unwrap();
        scene.write("tracked", branch);
        scene.says(&["modified tracked"]);
    }
    fs::remove_file(scene.path("tracked")).unwrap();
    scene.says(&["removed tracked"]);
    scene.write("tracked", "back");
    scene.says(&["created tracked"]);
}

#[test]
fn many_files_at_once_are_all_told_of() {
    let mut scene = Scene::new(&[]);
    for number in 0..3000 {
        scene.write(&format!("f{number}"), "x");
        if number % 500 == 0 {
            scene.watcher.read(Instant::now()).unwrap();
        }
    }
    let changes = scene.changes();
    assert_eq!(changes.len(), 3000);
    assert!(changes.iter().all(|change| change.kind == Kind::File));
}
