//! `awatch run`: nothing is missed while nobody watches or reads, and nothing is told twice.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::support::{Follower, Home, counts, is_root, words};

fn sorted(mut told: Vec<String>) -> Vec<String> {
    told.sort();
    told
}

#[test]
fn a_reader_that_was_away_gets_every_change_since_its_cursor() {
    let home = Home::new();
    home.write("papers/old", "old");
    let daemon = home.run();
    let mut reader = Follower::new(&home);
    reader.catch_up(&home);
    assert_eq!(reader.resyncs, ["the stream begins here"]);
    for number in 0..5 {
        home.write(&format!("papers/new{number}"), "new");
        home.wait_for(|status| status["last"].to_string().contains(&format!("new{number}")));
    }
    reader.catch_up(&home);
    assert_eq!(reader.told(), (0..5).map(|number| format!("created new{number}")).collect::<Vec<_>>());
    // And while there is another daemon.
    home.mv("papers/old", "papers/older");
    home.wait_for(|status| status["last"].to_string().contains("older"));
    daemon.stop();
    let daemon = home.run();
    reader.catch_up(&home);
    assert_eq!(reader.told(), ["renamed old -> older"]);
    assert_eq!(reader.resyncs.len(), 1, "{:?}", reader.resyncs);
    // A reader that stays hears of the next daemon's events as well.
    let mut stream = home.stream(reader.cursor);
    reader.read(&mut stream);
    daemon.stop();
    home.write("papers/while", "nobody watched");
    let _daemon = home.run();
    reader.read(&mut stream);
    assert_eq!(reader.told(), ["created while"]);
}

#[test]
fn what_happened_while_nobody_watched_is_found_by_the_next_daemon() {
    let home = Home::new();
    for file in ["same", "longer", "touched", "mode", "moved", "gone", "left alone", "dir/a", "dir/sub/b"] {
        home.write(&format!("papers/{file}"), "four");
    }
    home.write("papers/linked/one", "1");
    fs::hard_link(home.at("papers/linked/one"), home.at("papers/linked/two")).unwrap();
    for number in 0..500 {
        home.write(&format!("papers/large/{number}"), "x");
    }
    // What is known of a file that was told of, and of one that was only listed: the second round is of the same files.
    let mut reader = Follower::new(&home);
    let mut daemon = home.run();
    reader.catch_up(&home);
    for round in ["1", "2"] {
        daemon.stop();
        let time = fs::metadata(home.at("papers/same")).unwrap().modified().unwrap();
        let same = File::options().write(true).open(home.at("papers/same")).unwrap();
        same.write_all_at(format!("fou{round}").as_bytes(), 0).unwrap();
        same.set_times(FileTimes::new().set_modified(time)).unwrap();
        drop(same);
        File::options().append(true).open(home.at("papers/longer")).unwrap().write_all(b"more").unwrap();
        let hour = SystemTime::now() - Duration::from_hours(1);
        File::open(home.at("papers/touched")).unwrap().set_modified(hour).unwrap();
        let mode = if round == "1" { 0o600 } else { 0o640 };
        fs::set_permissions(home.at("papers/mode"), Permissions::from_mode(mode)).unwrap();
        fs::set_permissions(home.at("papers/dir"), Permissions::from_mode(mode | 0o111)).unwrap();
        fs::write(home.at("papers/linked/one"), round).unwrap();
        home.write(&format!("papers/new{round}/full"), "f");
        if round == "1" {
            home.mv("papers/moved", "papers/moved away");
            home.mv("papers/large", "papers/huge");
            fs::remove_file(home.at("papers/gone")).unwrap();
        } else {
            home.mv("papers/moved away", "papers/moved");
            home.mv("papers/huge", "papers/dir/huge");
            fs::remove_dir_all(home.at("papers/dir/sub")).unwrap();
        }
        daemon = home.run();
        reader.catch_up(&home);
        // What was never read may have another content now, as far as times tell.
        let attributes = if round == "1" { "modified" } else { "attributes" };
        let mut expected: Vec<String> = ["modified same", "modified longer", "attributes dir"]
            .into_iter()
            .chain(["modified linked/one", "modified linked/two"])
            .map(str::to_owned)
            .chain(["touched", "mode"].map(|name| format!("{attributes} {name}")))
            .chain([format!("created new{round}"), format!("created new{round}/full")])
            .collect();
        expected.extend(
            if round == "1" {
                ["renamed moved -> moved away", "renamed large -> huge", "removed gone"]
            } else {
                ["renamed moved away -> moved", "renamed huge -> dir/huge", "removed dir/sub"]
            }
            .map(str::to_owned),
        );
        assert_eq!(sorted(reader.told()), sorted(expected), "round {round}");
    }
    daemon.stop();
    // And nothing is found where nothing has happened.
    home.run().stop();
    let _daemon = home.run();
    reader.catch_up(&home);
    assert_eq!(reader.told(), [""; 0]);
    assert_eq!(reader.resyncs.len(), 1, "{:?}", reader.resyncs);
}

#[test]
fn a_daemon_that_was_stopped_for_so_long_that_the_kernel_lost_reports_finds_everything() {
    let home = Home::new();
    home.write("papers/large/first", "x");
    let daemon = home.run();
    let mut reader = Follower::new(&home);
    reader.catch_up(&home);
    daemon.signal(Signal::SIGSTOP);
    // Three reports each; by default the kernel keeps 16384.
    for number in 0..7000 {
        home.write(&format!("papers/large/{number}"), "x");
    }
    home.mv("papers/large", "papers/huge");
    daemon.signal(Signal::SIGCONT);
    let mut stream = home.stream(reader.cursor);
    reader.read(&mut stream);
    let told = reader.told();
    assert_eq!(told.len(), 7001);
    assert!(counts(&told).values().all(|count| *count == 1));
    assert!(told.contains(&"renamed large -> huge".to_owned()));
    assert_eq!(reader.resyncs.len(), 1);
    assert!(daemon.stop().contains("papers: the kernel had more to report than was read: comparing"));
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let home = Home::new();
    let daemon = home.run();
    let second = home.awatch(&["run", "papers"]).fails_with(3);
    second.says("awatch: another awatch watches papers already\nhint: awatch status\n");
    home.write("papers/f", "f");
    home.wait_for(|status| status["last"][0]["path"] == "f");
    daemon.stop();
}

/// What the reader is told, and what was done to what is kept.
type Damage<'a> = (&'a str, &'a dyn Fn());

#[test]
fn what_cannot_be_gone_on_with_is_begun_anew_and_the_reader_is_told_why() {
    let home = Home::new();
    home.write("papers/f", "f");
    let mut reader = Follower::new(&home);
    home.write("papers/g", "g");
    let daemon = home.run();
    reader.catch_up(&home);
    home.write("papers/h", "h");
    home.wait_for(|status| status["last"].to_string().contains("\"h\""));
    daemon.stop();
    let state = home.journal().parent().unwrap().to_owned();
    let segment = || {
        let mut names: Vec<_> =
            fs::read_dir(home.journal()).unwrap().map(|name| name.unwrap().path()).collect();
        names.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
        names.pop().unwrap()
    };
    let cases: [Damage<'_>; 7] = [
        ("the index: file is not a database", &|| fs::write(state.join("index.db"), [7; 8192]).unwrap()),
        ("the workspace is watched for the first time", &|| fs::remove_file(state.join("index.db")).unwrap()),
        ("the journal was damaged: ", &|| {
            File::options().append(true).open(segment()).unwrap().write_all(b"{}\n").unwrap();
        }),
        ("the journal was lost", &|| fs::remove_file(segment()).unwrap()),
        ("the journal was lost", &|| File::create(segment()).map(drop).unwrap()),
        ("the workspace is watched for the first time", &|| fs::remove_dir_all(&state).unwrap()),
        ("what was kept was put back from a copy", &|| {
            let copied =
                Command::new("cp").arg("-a").arg(&state).arg(home.beside("backup")).status().unwrap();
            assert!(copied.success());
            fs::remove_dir_all(&state).unwrap();
            fs::rename(home.beside("backup"), &state).unwrap();
        }),
    ];
    for (round, (why, damage)) in cases.into_iter().enumerate() {
        damage();
        let daemon = home.run();
        reader.catch_up(&home);
        let told = reader.resyncs.pop().unwrap();
        assert!(told.starts_with(why), "{told}, not {why}");
        // And it goes on from there.
        home.write(&format!("papers/{round}"), "more");
        home.wait_for(|status| status["last"].to_string().contains(&format!("\"{round}\"")));
        daemon.stop();
        let daemon = home.run();
        reader.catch_up(&home);
        assert_eq!(reader.told(), [format!("created {round}")], "{why}");
        assert_eq!(reader.resyncs.len(), 1, "{:?}", reader.resyncs);
        daemon.stop();
    }
}

#[test]
fn a_damaged_line_is_told_as_a_resync_and_not_as_silence() {
    let home = Home::new();
    let daemon = home.run();
    let mut reader = Follower::new(&home);
    reader.catch_up(&home);
    for name in ["a", "b", "c"] {
        home.write(&format!("papers/{name}"), name);
        home.wait_for(|status| status["last"].to_string().contains(&format!("\"{name}\"")));
    }
    let names = fs::read_dir(home.journal()).unwrap().map(|name| name.unwrap().path());
    let segment = names.into_iter().find(|path| path.extension().is_some_and(|end| end == "jsonl")).unwrap();
    let file = File::options().write(true).open(segment).unwrap();
    file.write_all_at(b"junk", 3).unwrap();
    reader.catch_up(&home);
    assert_eq!(reader.resyncs, ["the stream begins here", "a line of the journal is damaged"]);
    home.write("papers/d", "d");
    reader.catch_up(&home);
    assert_eq!(reader.told(), ["created d"]);
    daemon.stop();
}

#[test]
fn a_reload_takes_in_what_is_new_and_loses_nothing() {
    let home = Home::new();
    fs::create_dir_all(home.at("notes")).unwrap();
    let file = ".config/akeys/watch.toml";
    let papers = "[workspace.papers]\npath = \"~/papers\"\nproject = \"thesis\"\n";
    home.write(file, papers);
    let mut daemon = home.run_with(&["run"]);
    let mut reader = Follower::new(&home);
    reader.catch_up(&home);
    let names = |home: &Home| -> Vec<String> {
        let status = home.status();
        let all = status["workspaces"].as_array().unwrap();
        all.iter().map(|status| status["workspace"].as_str().unwrap().to_owned()).collect()
    };
    // Changes go on while the configuration is read again, a workspace comes, and what is passed over changes.
    let both = format!("{papers}ignore = [\"*.o\"]\n[workspace.notes]\npath = \"~/notes\"\n");
    for (round, text) in [both.as_str(), papers, "[workspace.papers]\n", papers].into_iter().enumerate() {
        home.write(file, text);
        for number in 0..100 {
            home.write(&format!("papers/{round}.{number}"), "x");
            if number == 50 {
                daemon.signal(Signal::SIGHUP);
            }
        }
        daemon.is_told("READY=1");
        reader.catch_up(&home);
        let told = reader.told();
        assert_eq!(told.len(), 100, "{told:?}");
        assert!(counts(&told).values().all(|count| *count == 1), "{told:?}");
        let expected: &[&str] = if round == 0 { &["notes", "papers"] } else { &["papers"] };
        assert_eq!(names(&home), expected);
    }
    // The file that holds for every workspace is read again as well.
    home.write(".config/akeys/ignore", "*.tmp\n");
    daemon.signal(Signal::SIGHUP);
    daemon.is_told("READY=1");
    let said_again = |status: &serde_json::Value| {
        home.write("papers/passed.tmp", "x");
        home.write("papers/told", status["cursor"].to_string());
        !status["last"].to_string().contains("passed.tmp")
    };
    home.wait_for(said_again);
    assert_eq!(reader.resyncs.len(), 1);
    let said = daemon.stop();
    assert!(said.contains("watch.toml:1:1: missing field `path`; everything stays as it was"), "{said}");
    assert!(said.contains("notes: not watched any more"), "{said}");
}

#[test]
fn what_is_passed_over_later_is_forgotten_and_what_is_not_any_more_is_new() {
    let home = Home::new();
    home.write("papers/build/out/x.o", "x");
    home.write("papers/src/main.c", "x");
    home.write("papers/src/main.o", "x");
    home.write(".config/akeys/ignore", "*.o\n");
    let daemon = home.run();
    let mut stream = home.stream(None);
    stream.batch();
    let mut told = |home: &Home, end: &str| {
        home.write(&format!("papers/{end}"), "end");
        let mut told = Vec::new();
        while !told.contains(&format!("created {end}")) {
            for message in stream.batch() {
                if let akeys::event::Message::Event { event, .. } = message {
                    told.push(words(&event));
                }
            }
        }
        told.retain(|event| event != &format!("created {end}"));
        sorted(told)
    };
    home.write("papers/src/other.o", "x");
    home.write("papers/build/out/log", "x");
    assert_eq!(told(&home, "1"), ["created build/out/log"]);
    // What is passed over from now on is no news, also when it goes.
    home.write("papers/.akeysignore", "/build/\n");
    home.wait_for(|status| status["last"].to_string().contains(".akeysignore"));
    assert_eq!(told(&home, "2"), ["created .akeysignore"]);
    home.write("papers/build/out/log", "more");
    home.write("papers/build/new", "x");
    assert_eq!(told(&home, "3"), [""; 0]);
    fs::remove_dir_all(home.at("papers/build/out")).unwrap();
    home.write("papers/.akeysignore", "# nothing\n!main.o\n");
    home.wait_for(|status| status["last"].to_string().contains("main.o"));
    assert_eq!(
        told(&home, "4"),
        ["created build", "created build/new", "created src/main.o", "modified .akeysignore"]
    );
    // A rule about a place holds for what comes to that place with the directory above it.
    home.write("papers/.akeysignore", "/other/deep/\n");
    home.write("papers/place/deep/f", "f");
    home.wait_for(|status| status["last"].to_string().contains("place/deep/f"));
    told(&home, "5");
    home.mv("papers/place", "papers/other");
    home.wait_for(|status| status["last"].to_string().contains("\"other\""));
    assert_eq!(told(&home, "6"), ["renamed place -> other"]);
    home.write("papers/other/deep/g", "g");
    assert_eq!(told(&home, "7"), [""; 0]);
    home.mv("papers/other", "papers/third");
    home.wait_for(|status| status["last"].to_string().contains("third/deep/g"));
    assert_eq!(
        told(&home, "8"),
        ["created third/deep", "created third/deep/f", "created third/deep/g", "renamed other -> third"]
    );
    daemon.stop();
}

#[test]
fn people_and_the_service_manager_hear_how_it_is() {
    let home = Home::new();
    home.awatch(&["status"]).fails_with(4).says("awatch: no awatch is running for this account\n");
    home.awatch(&["run"]).fails_with(4).says("~/.config/akeys/watch.toml");
    home.awatch(&["run", "papers", "--name", "a/b"]).fails_with(2);
    let mut daemon = home.run_with(&["run", "papers", "--project", "thesis", "--log", "debug"]);
    home.write("papers/draft", "x");
    home.wait_for(|status| status["last"][0]["path"] == "draft");
    let open = File::create(home.at("papers/open")).unwrap();
    let status = home.wait_for(|status| status["unsettled"] == 1);
    assert!(status["unsettled_since"].is_string(), "{status}");
    let shown = home.awatch(&["status", "papers"]).succeeds().stdout_text();
    assert!(
        shown.starts_with("papers of thesis: watching ~/papers\n  1 directories; 1 names unsettled"),
        "{shown}"
    );
    assert!(shown.contains("created draft\n") && shown.contains("\n  cursor "), "{shown}");
    drop(open);
    home.wait_for(|status| status["unsettled"] == 0 && status["last"][1]["path"] == "open");
    home.awatch(&["status", "other"]).fails_with(4).says("awatch: no workspace other is watched\n");
    fs::rename(home.at("papers"), home.at("away")).unwrap();
    home.wait_for(|status| status["doing"] == "waiting");
    home.awatch(&["status"]).fails_with(5);
    fs::rename(home.at("away"), home.at("papers")).unwrap();
    home.wait_for(|status| status["doing"] == "watching");
    daemon.signal(Signal::SIGTERM);
    daemon.is_told("STOPPING=1");
    let (status, said) = daemon.end();
    assert!(status.success() && said.contains("awatch: papers: created draft\n"), "{status} {said}");
}

#[test]
fn under_a_service_manager_each_line_begins_with_its_level() {
    let home = Home::new();
    let daemon = home.run_in_journal(&["run", "papers", "--log", "debug"]);
    home.write("papers/new\nline", "x");
    home.wait_for(|status| status["last"][0]["path"] == "new\nline");
    let said = daemon.stop();
    assert!(said.contains("<7>papers: created new\\nline\n"), "{said}");
    assert!(said.contains("<5>papers: watching 1 directories"), "{said}");
}

#[test]
fn an_empty_directory_in_the_place_of_a_full_one_is_waited_out() {
    let home = Home::new();
    home.write("papers/draft", "x");
    let daemon = home.run();
    let mut reader = Follower::new(&home);
    reader.catch_up(&home);
    daemon.stop();
    fs::rename(home.at("papers"), home.at("disk")).unwrap();
    fs::create_dir(home.at("papers")).unwrap();
    let daemon = home.run();
    let status = home.wait_for(|status| status["doing"] == "waiting");
    let why = status["why"].as_str().unwrap();
    assert_eq!(why, "it is empty, and not the directory that it was: what belongs there may not be mounted");
    fs::remove_dir(home.at("papers")).unwrap();
    fs::rename(home.at("disk"), home.at("papers")).unwrap();
    home.write("papers/more", "x");
    home.wait_for(|status| status["doing"] == "watching");
    reader.catch_up(&home);
    assert_eq!(reader.told(), ["created more"]);
    daemon.stop();
}

#[test]
fn a_symlink_to_another_directory_is_followed_at_a_reload() {
    let home = Home::new();
    home.write("one/same", "x");
    home.write("two/same", "x");
    home.write("two/more", "x");
    fs::remove_dir(home.at("papers")).unwrap();
    symlink(home.at("one"), home.at("papers")).unwrap();
    let daemon = home.run();
    fs::remove_file(home.at("papers")).unwrap();
    symlink(home.at("two"), home.at("papers")).unwrap();
    daemon.signal(Signal::SIGHUP);
    let told = |path: &str| home.wait_for(|status| status["last"].to_string().contains(path));
    told("more");
    home.write("two/later", "x");
    told("later");
    daemon.stop();
}

#[test]
fn a_journal_that_may_not_be_read_is_said_and_not_watched_around() {
    if is_root() {
        eprintln!("root may read everything: tried as an ordinary user only");
        return;
    }
    let home = Home::new();
    let daemon = home.run();
    let mode = |mode| fs::set_permissions(home.journal(), Permissions::from_mode(mode)).unwrap();
    mode(0o000);
    home.write("papers/new", "x");
    let outcome = home.awatch(&["stream", "papers"]);
    mode(0o700);
    outcome.fails_with(1).says("papers/journal: Permission denied");
    let mut reader = Follower::new(&home);
    reader.catch_up(&home);
    daemon.stop();
}

#[test]
fn a_configuration_that_cannot_be_read_is_said_by_a_stream() {
    let home = Home::new();
    home.write(".config/akeys/watch.toml", "[workspace.papers]\npath = \"papers\"\n");
    home.awatch(&["stream", "papers"]).fails_with(2).says("watch.toml:2:8: path \"papers\" must be absolute");
}
