//! Kills at system calls: whatever ends the daemon, the next one goes on as if nothing had happened.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::our_program;
use crate::support::{DEADLINE, Daemon, Follower, Home, counts};

/// System calls that change what is kept, and at which of them the kill comes: while a daemon starts, while it records, and while it
/// stops.
const KILLS: [(&str, &[u32]); 8] = [
    ("pwrite64", &[1, 2, 3, 5, 8, 11, 14, 17, 20, 23, 26, 29]),
    ("write", &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ("/^f(data)?sync", &[1, 2, 3]),
    ("/^rename", &[1]),
    ("ftruncate", &[1, 2]),
    ("openat", &[8, 12, 16, 20, 30]),
    ("statx", &[3, 9, 20, 40]),
    ("inotify_add_watch", &[1, 3]),
];

fn may_trace() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let may = traced.is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("strace is missing or may not trace: kills at system calls were not tried");
    }
    may
}

/// What happens in each round, and what has to be told of it, each once. The last comes last.
fn step(home: &Home, round: usize) -> Vec<String> {
    home.write(&format!("papers/f{round}"), "new");
    let mut shared = File::options().append(true).open(home.at("papers/shared")).unwrap();
    writeln!(shared, "{round}").unwrap();
    drop(shared);
    home.write(&format!("papers/d{round}/sub/full"), "f");
    home.mv(&format!("papers/d{}", round - 1), &format!("papers/e{}", round - 1));
    fs::remove_file(home.at(&format!("papers/f{}", round - 1))).unwrap();
    home.write(&format!("papers/end{round}"), "end");
    [
        format!("created f{round}"),
        "modified shared".to_owned(),
        format!("created d{round}"),
        format!("created d{round}/sub"),
        format!("created d{round}/sub/full"),
        format!("renamed d{} -> e{}", round - 1, round - 1),
        format!("removed f{}", round - 1),
        format!("created end{round}"),
    ]
    .into()
}

/// Whether the journal names a path.
fn names(home: &Home, path: &str) -> bool {
    let Ok(entries) = fs::read_dir(home.journal()) else { return false };
    let text = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    text.into_iter().any(|text| text.contains(&format!(r#""path":"{path}""#)))
}

/// Waits until a daemon has been killed, or has told of everything; `true` when it was killed.
fn outcome(daemon: &mut Daemon, home: &Home, last: &str) -> bool {
    let until = Instant::now() + DEADLINE;
    loop {
        if daemon.has_ended() {
            return true;
        }
        if names(home, last) {
            return false;
        }
        assert!(Instant::now() < until, "neither killed nor done");
        std::thread::yield_now();
    }
}

#[test]
fn killed_at_any_system_call_it_loses_nothing_and_tells_nothing_twice() {
    if !may_trace() {
        return;
    }
    let home = Home::new();
    for file in ["f0", "shared", "d0/sub/full"] {
        home.write(&format!("papers/{file}"), "first");
    }
    home.run().stop();
    let daemon = home.run();
    let mut reader = Follower::new(&home);
    reader.catch_up(&home);
    daemon.stop();
    let (mut round, mut kills) = (0, 0);
    for (call, whens) in KILLS {
        for when in whens {
            round += 1;
            let at = format!("{call} {when}");
            let mut command = Command::new("strace");
            command.args(["-f", "-o", "/dev/null", "-e", &format!("inject={call}:signal=KILL:when={when}")]);
            command.arg(our_program("awatch")).args(["run", "papers"]);
            let mut daemon = home.start(command);
            // In every other round, what happens is found by comparing.
            if round % 2 == 0 {
                daemon.is_ready_or_dead();
            }
            let expected = step(&home, round);
            if outcome(&mut daemon, &home, &format!("end{round}")) {
                kills += 1;
            } else {
                daemon.signal_group(if round % 3 == 0 { Signal::SIGTERM } else { Signal::SIGKILL });
            }
            daemon.wait_until_gone(&home);
            let daemon = home.run();
            reader.catch_up(&home);
            daemon.stop();
            let mut told = reader.told();
            let twice = told.iter().filter(|event| *event == "modified shared").count();
            assert!(twice <= 2, "{at}: {told:?}");
            told.sort();
            told.dedup_by(|one, other| one == other && one == "modified shared");
            let mut expected = expected;
            expected.sort();
            assert_eq!(told, expected, "{at}: {:?}", counts(&told));
            assert_eq!(reader.resyncs.len(), 1, "{at}: {:?}", reader.resyncs);
        }
    }
    assert!(kills > 20, "only {kills} of {round} were killed");
}
