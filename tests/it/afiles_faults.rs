//! Whatever breaks, a copy mends itself, loses nothing, and says what happened.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::afiles_follow::{arrived, papers, same};
use crate::support::{Daemon, Following, Pod, Sandbox, Talk, find_program, is_root};

const PAPERS: [&str; 2] = ["--workspace", "papers"];

/// Content that no delta and no compression makes small.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(bytes)
    .collect()
}

/// A workspace with one file in it.
fn drafted() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("papers/draft", "one");
    sandbox
}

/// A pod whose copy is in sync.
fn synced(sandbox: &Sandbox) -> (Pod<'_>, Following) {
    let pod = sandbox.pod("chef", &PAPERS);
    let mut following = pod.follow(&["papers:", "copy"]);
    following.in_sync();
    (pod, following)
}

fn status(pod: &Pod<'_>) -> Value {
    let ran = pod.afiles(&["status", "--json"]);
    let all: Vec<Value> = serde_json::from_slice(&ran.stdout).unwrap();
    all.into_iter().next().unwrap()
}

/// What was left behind under hidden names.
fn hidden(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(".akeys") {
            found.push(name);
        } else if entry.file_type().unwrap().is_dir() {
            found.extend(hidden(&entry.path()));
        }
    }
    found
}

#[test]
fn a_connection_that_is_cut_comes_back() {
    let sandbox = drafted();
    let (pod, mut following) = synced(&sandbox);
    for round in 0..3 {
        pod.cut();
        following.until(|kind, what| kind == "state" && what == "lost");
        let name = format!("while-away-{round}");
        sandbox.write(&format!("papers/{name}"), "news");
        fs::remove_file(papers(&sandbox).join("draft")).ok();
        arrived(&mut following, &name);
        following.in_sync();
        same(&pod, &sandbox);
    }
    assert_eq!(status(&pod)["state"], "in-sync");
}

#[test]
fn a_host_that_goes_away_is_waited_for_and_the_status_says_so() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/draft", "one");
    let listener = sandbox.listen();
    let pod = listener.pod("chef", &PAPERS);
    let mut following = pod.follow(&["papers:", "copy"]);
    following.in_sync();
    // Nobody lets it in any more; then somebody does again.
    let keys = sandbox.authorized_keys();
    let away = keys.with_extension("away");
    fs::rename(&keys, &away).unwrap();
    listener.cut();
    // What was held may break more than once before it has to log in again.
    let now = loop {
        following.until(|kind, what| kind == "state" && what == "lost");
        let now = status(&pod);
        if now["error"].as_str().is_some_and(|error| error.contains("Permission denied")) {
            break now;
        }
    };
    assert_eq!(now["state"], "behind");
    sandbox.write("papers/draft", "two");
    fs::rename(&away, &keys).unwrap();
    arrived(&mut following, "draft");
    following.in_sync();
    same(&pod, &sandbox);
    let now = status(&pod);
    assert_eq!((&now["state"], &now["error"]), (&"in-sync".into(), &Value::Null));
}

/// The masters of the pod's connections that have no socket: about to log in, or in the background for ever.
fn without_a_socket(pod: &Pod) -> Vec<String> {
    let directory = pod.path(".local/state/akeys/ssh");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if !(words.starts_with("ssh ")
            && words.contains(" -M ")
            && words.contains(directory.to_str().unwrap()))
        {
            continue;
        }
        let open = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        let mut open = open.filter_map(|fd| fs::read_link(fd.path()).ok());
        if !open.any(|file| file.to_str().is_some_and(|file| file.starts_with("socket:"))) {
            found.push(words);
        }
    }
    found
}

/// The processes whose program is this file.
fn processes_of(program: &Path) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let own = entries.filter(|entry| fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program));
    own.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw).collect()
}

#[test]
fn an_awatch_that_dies_there_is_missed_and_another_goes_on() {
    let sandbox = drafted();
    let awatch = sandbox.awatch();
    let (pod, mut following) = synced(&sandbox);
    for round in 0..2 {
        let running = processes_of(&awatch);
        assert!(!running.is_empty());
        for process in running {
            kill(process, Signal::SIGKILL).unwrap();
        }
        sandbox.write("papers/draft", format!("while nobody watched, {round}"));
        following.until(|kind, what| kind == "state" && what == "lost");
        arrived(&mut following, "draft");
        following.in_sync();
        same(&pod, &sandbox);
    }
}

/// A daemon that watches `papers` for its owner, and does by now.
#[track_caller]
fn daemon(sandbox: &Sandbox) -> Daemon {
    let mut awatch = std::process::Command::new(sandbox.awatch());
    awatch.env_clear().env("HOME", sandbox.home()).env("PATH", "/usr/bin:/bin");
    let command = awatch.args(["run", "papers"]).current_dir(sandbox.home());
    let mut daemon = Daemon::start(command, &sandbox.path("notify"));
    daemon.is_told("READY=1");
    daemon
}

#[test]
fn where_a_daemon_watches_a_copy_goes_on_where_it_was() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/draft", "one");
    sandbox.write("papers/gone", "gone");
    let pod = sandbox.pod("chef", &PAPERS);
    let mut watching = Some(daemon(&sandbox));
    let mut following = Some(pod.follow(&["papers:", "copy"]));
    following.as_mut().unwrap().in_sync();
    sandbox.write("papers/draft", "two");
    arrived(following.as_mut().unwrap(), "draft");
    for (round, (pod_dies, daemon_dies)) in
        [(true, false), (false, true), (true, true)].into_iter().enumerate()
    {
        // Dropped, they are killed.
        following.take_if(|_| pod_dies);
        watching.take_if(|_| daemon_dies);
        let name = format!("while-away-{round}");
        sandbox.write(&format!("papers/{name}"), "news");
        fs::remove_file(papers(&sandbox).join("gone")).ok();
        watching.get_or_insert_with(|| daemon(&sandbox));
        let following = following.get_or_insert_with(|| pod.follow(&["papers:", "copy"]));
        let told = arrived(following, &name);
        assert!(!told.iter().any(|(_, what)| what == "comparing"), "{round}: {told:?}");
    }
    // A removal takes a moment longer to settle: it could have been half of a rename.
    if pod.path("copy/gone").exists() {
        following.unwrap().until(|_, what| what == "gone");
    }
    same(&pod, &sandbox);
}

#[test]
fn the_status_can_be_watched() {
    let sandbox = drafted();
    let (pod, mut following) = synced(&sandbox);
    let mut watching = Talk::start(&mut pod.command(&["status", "--follow"]));
    let until = |watching: &mut Talk, says: &str| while !watching.line().contains(says) {};
    until(&mut watching, "in sync; 1 paths");
    pod.reach("ProxyCommand false");
    pod.cut();
    following.until(|kind, what| kind == "state" && what == "lost");
    until(&mut watching, "error: ");
}

#[test]
fn clocks_that_are_wrong_change_nothing() {
    let sandbox = drafted();
    let (pod, mut following) = synced(&sandbox);
    let before = UNIX_EPOCH - Duration::new(12_345, 678_901_234);
    let years = |years: u64| UNIX_EPOCH + Duration::new(years * 365 * 86_400, 987_654_321);
    for (index, moment) in [before, UNIX_EPOCH, years(30), years(80), years(130)].into_iter().enumerate() {
        let name = format!("file-{index}");
        let path = sandbox.write("papers/hidden/x", name.as_bytes());
        fs::File::options().write(true).open(&path).unwrap().set_modified(moment).unwrap();
        fs::rename(path, papers(&sandbox).join(&name)).unwrap();
        arrived(&mut following, &name);
    }
    sandbox.write("papers/end", "end");
    arrived(&mut following, "end");
    same(&pod, &sandbox);
    drop(following);
    // A later comparison finds nothing to do either, not even for a nanosecond.
    let ran = pod.afiles(&["pull", "papers:", "copy", "--json"]).succeeds();
    assert!(!ran.stdout_text().contains("arrived"), "{ran}");
}

#[test]
fn a_pod_that_is_killed_at_any_moment_goes_on_where_it_was() {
    let sandbox = Sandbox::new();
    for index in 0..300 {
        sandbox.write(&format!("papers/d{}/{index}", index % 7), noise(index * 10));
    }
    sandbox.write("papers/large", noise(8 << 20));
    let pod = sandbox.pod("chef", &PAPERS);
    fs::create_dir(pod.path("copy")).unwrap();
    // Killed a little later each time, in all that comes before the first file, and in the middle of the files.
    for round in 0..8_u32 {
        let mut following = pod.follow(&["papers:", "copy"]);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(60) * round {
            if fs::read_dir(pod.path("copy")).unwrap().count() > 5 {
                break;
            }
            std::thread::yield_now();
        }
        if round > 5 {
            following.event();
        }
        following.kill();
        sandbox.write("papers/d1/changing", format!("round {round}"));
    }
    let mut following = pod.follow(&["papers:", "copy"]);
    following.in_sync();
    same(&pod, &sandbox);
    assert!(hidden(&pod.path("copy")).is_empty(), "{:?}", hidden(&pod.path("copy")));
    // What came in a run that was killed is known to be a copy: it goes when it goes there.
    fs::remove_dir_all(papers(&sandbox).join("d3")).unwrap();
    following.until(|kind, what| kind == "removed" && what == "d3");
    same(&pod, &sandbox);
    assert!(!pod.path(".local/state/akeys/versions").exists());
    // The logins that the killed runs had begun have ended, or can be ended.
    let deadline = Instant::now() + Duration::from_mins(1);
    while !without_a_socket(&pod).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", without_a_socket(&pod));
        std::thread::yield_now();
    }
}

#[test]
fn what_was_interrupted_goes_on_and_does_not_begin_again() {
    let sandbox = Sandbox::new();
    let content = noise(48 << 20);
    sandbox.write("papers/large", &content);
    let pod = sandbox.pod("chef", &PAPERS);
    let mut following = pod.follow(&["papers:", "copy"]);
    let partial = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy().into_owned();
        name.starts_with(".large.") || name == "large"
    };
    let stage = pod.path("copy/.akeys-upload-stage");
    let size = || {
        let entries = fs::read_dir(&stage).into_iter().flatten().flatten();
        entries
            .filter(|entry| partial(&entry.file_name()))
            .map(|entry| entry.metadata().map_or(0, |m| m.len()))
            .max()
    };
    let until = Instant::now() + Duration::from_mins(1);
    while size().unwrap_or(0) < 8 << 20 {
        assert!(Instant::now() < until, "nothing comes");
        std::thread::yield_now();
    }
    pod.cut();
    following.until(|kind, what| kind == "state" && what == "lost");
    let kept = fs::metadata(stage.join("large")).unwrap().len();
    assert!(kept >= 8 << 20, "{kept}");
    arrived(&mut following, "large");
    assert!(fs::read(pod.path("copy/large")).unwrap() == content);
}

#[test]
fn ten_pods_are_each_complete_and_the_host_works_in_proportion_to_the_changes() {
    let sandbox = Sandbox::new();
    for index in 0..200 {
        sandbox.write(&format!("papers/d{}/{index}", index % 10), index.to_string());
    }
    let pods: Vec<Pod<'_>> = (0..10).map(|number| sandbox.pod(&format!("pod{number}"), &PAPERS)).collect();
    let mut following: Vec<_> = pods.iter().map(|pod| pod.follow(&["papers:", "copy"])).collect();
    for following in &mut following {
        following.in_sync();
    }
    let before = sandbox.audit().len();
    sandbox.write("papers/d3/new", "new");
    for (pod, following) in pods.iter().zip(&mut following) {
        arrived(following, "d3/new");
        same(pod, &sandbox);
    }
    // One file was read for each pod, and nothing was compared.
    let records = sandbox.audit().split_off(before);
    let reads = records.iter().filter(|record| record["file"] == "read").count();
    assert_eq!((reads, records.len()), (10, 10), "{records:?}");
}

#[test]
fn a_file_that_keeps_changing_is_never_a_mixture() {
    let sandbox = Sandbox::new();
    let version = |letter: u8| vec![letter; 2 << 20];
    let path = sandbox.write("papers/busy", version(b'a'));
    let pod = sandbox.pod("chef", &PAPERS);
    let mut following = pod.follow(&["papers:", "copy"]);
    following.in_sync();
    // Overwritten in place, over and over, as a database would, with a rest now and then.
    let stop = AtomicBool::new(false);
    let (mut whole, mut given_up) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut letters = (b'b'..=b'z').cycle().enumerate();
            while !stop.load(Ordering::Acquire) {
                let (round, letter) = letters.next().unwrap();
                let file = fs::File::options().write(true).open(&path).unwrap();
                file.write_all_at(&version(letter), 0).unwrap();
                let rest = Duration::from_millis(if round % 40 == 0 { 400 } else { 0 });
                let until = Instant::now() + rest;
                while Instant::now() < until {
                    std::thread::yield_now();
                }
            }
        });
        for round in 0..12 {
            let name = format!("got-{round}");
            let ran = pod.afiles(&["fetch", "papers:busy", &name]);
            let got = fs::read(pod.path(&name)).ok();
            if got.is_some() {
                whole += 1;
            } else {
                given_up += 1;
            }
            for content in got.into_iter().chain(fs::read(pod.path("copy/busy"))) {
                assert!(content == version(content[0]), "a mixture; {ran}");
            }
        }
        stop.store(true, Ordering::Release);
    });
    eprintln!("{whole} times it was had whole, {given_up} times it was given up");
    let time = |path: &Path| path.metadata().unwrap().modified().unwrap();
    while time(&pod.path("copy/busy")) != time(&path) {
        following.event();
    }
    assert!(fs::read(pod.path("copy/busy")).unwrap() == fs::read(&path).unwrap());
}

/// A small file system at `path`, until it is dropped.
struct Small(std::path::PathBuf);

impl Small {
    /// `None`, and a word about it, where this account may not mount anything.
    fn at(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mount =
            |args: &[&str]| std::process::Command::new(find_program("mount")).args(args).arg(path).output();
        let options = format!("size={size},mode=755");
        let mounted = is_root().then(|| mount(&["-t", "tmpfs", "-o", &options, "tmpfs"]).unwrap());
        if mounted.is_some_and(|ran| ran.status.success()) {
            return Some(Self(path.to_owned()));
        }
        eprintln!("skipped: a small file system can be mounted by root only, and not in every container");
        None
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        let status =
            std::process::Command::new(find_program("mount")).args(["-o", &options]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(std::process::Command::new(find_program("umount")).args(["-l"]).arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_here_is_waited_for_and_the_old_content_stays() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/small", "one");
    let pod = sandbox.pod("chef", &PAPERS);
    let Some(disk) = Small::at(&pod.path("copy"), "2m") else { return };
    let mut following = pod.follow(&["papers:", "copy"]);
    following.in_sync();
    sandbox.write("papers/small", noise(3 << 20));
    following.until(|kind, what| kind == "state" && what == "lost");
    assert_eq!(fs::read_to_string(pod.path("copy/small")).unwrap(), "one");
    let now = status(&pod);
    assert!(now["error"].as_str().unwrap().contains("No space left"), "{now}");
    disk.grow("20m");
    following.until(|kind, what| kind == "arrived" && what == "small");
    following.in_sync();
    same(&pod, &sandbox);
    assert!(hidden(&pod.path("copy")).is_empty());
}

#[test]
fn a_full_disk_there_is_waited_for_and_results_come_in_the_end() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/draft", "one");
    let Some(disk) = Small::at(&papers(&sandbox).join("build"), "2m") else { return };
    let pod = sandbox.pod("chef", &["--workspace", "papers", "--writable", "papers/build"]);
    let mut following = pod.follow(&["papers:", "copy", "--push", "build=papers:build"]);
    following.in_sync();
    fs::create_dir_all(pod.path("copy/build")).unwrap();
    fs::write(pod.path("copy/build/result"), noise(3 << 20)).unwrap();
    following.until(|kind, what| kind == "state" && what == "lost");
    assert!(!papers(&sandbox).join("build/result").exists());
    disk.grow("20m");
    let result = papers(&sandbox).join("build/result");
    while fs::read(&result).ok().is_none_or(|content| content != noise(3 << 20)) {
        following.event();
    }
}
