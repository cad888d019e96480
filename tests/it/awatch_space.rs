//! What the system may run out of, and what is mounted: each in a namespace of its own, in which such a thing can be made.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use akeys::event::Message;

use crate::support::our_program;
use crate::support::{Daemon, Home, Stream, counts, fill, words};

fn may_unshare() -> bool {
    let tried = Command::new("unshare").args(["--user", "--mount", "--map-root-user", "true"]).output();
    let may = tried.is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("no user and mount namespace here: limits, full disks and mounts were not tried");
    }
    may
}

/// A daemon in a namespace.
struct Inside<'a> {
    home: &'a Home,
    daemon: Daemon,
}

impl<'a> Inside<'a> {
    /// Starts a daemon after the shell's `prepare`.
    fn new(home: &'a Home, prepare: &str) -> Self {
        let mut command = Command::new("unshare");
        let script = format!("set -e; {prepare}; exec \"$0\" \"$@\"");
        command.args(["--user", "--mount", "--map-root-user", "sh", "-c", &script]);
        command.arg(our_program("awatch"));
        let configured = home.at(".config/akeys/watch.toml").exists();
        command.args(if configured { &["run"][..] } else { &["run", "papers"] });
        let mut daemon = home.start(command);
        daemon.is_told("READY=1");
        Self { home, daemon }
    }

    /// What the daemon sees at a path of the home.
    fn at(&self, relative: &str) -> PathBuf {
        let path = self.home.at(relative);
        PathBuf::from(format!("/proc/{}/root", self.daemon.pid())).join(path.strip_prefix("/").unwrap())
    }

    fn write(&self, relative: &str, content: &str) {
        fs::write(self.at(relative), content).unwrap();
    }

    /// Runs a command in the namespace.
    fn shell(&self, script: &str) {
        let pid = self.daemon.pid().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--user", "--mount", "--preserve-credentials", "sh", "-c", script]);
        let output = self.home.settle(&mut command).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn stream(&self) -> Stream {
        let journal = self.at(".local/state/akeys/watch/papers/journal");
        let mut stream = self.home.stream_of(&journal);
        stream.batch();
        stream
    }
}

/// What is told until `last` is.
#[track_caller]
fn told(stream: &mut Stream, last: &str) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    while !told.iter().any(|event| event == last) {
        match stream.message() {
            Message::Event { event, .. } => told.push(words(&event)),
            Message::Resync { why, .. } => panic!("{why}"),
            Message::Hello { .. } | Message::Current { .. } => {}
        }
    }
    told
}

#[test]
fn beyond_the_limit_of_watches_it_says_what_to_do_and_goes_on_by_comparing() {
    if !may_unshare() {
        return;
    }
    let home = Home::new();
    home.write(".config/akeys/watch.toml", "[workspace.papers]\npath = \"~/papers\"\nscan = 1\n");
    for number in 0..40 {
        home.write(&format!("papers/{number}/there"), "x");
    }
    let inside = Inside::new(&home, "echo 20 > /proc/sys/user/max_inotify_watches");
    let mut stream = inside.stream();
    for number in 0..40 {
        home.write(&format!("papers/{number}/there"), "more");
        home.write(&format!("papers/{number}/new"), "x");
    }
    let mut all = Vec::new();
    while all.len() < 80 {
        match stream.message() {
            Message::Event { event, .. } => all.push(words(&event)),
            Message::Resync { why, .. } => panic!("{why}"),
            Message::Hello { .. } | Message::Current { .. } => {}
        }
    }
    assert!(counts(&all).values().all(|count| *count == 1), "{all:?}");
    home.mv("papers/39", "papers/moved");
    let last = told(&mut stream, "renamed 39 -> moved");
    assert_eq!(last, ["renamed 39 -> moved"]);
    let said = inside.daemon.stop();
    let limit = "21 directories cannot be watched and are compared every 1 s: raise fs.inotify.max_user_watches, which is ";
    assert!(said.contains(limit), "{said}");
}

#[test]
fn a_full_disk_delays_events_and_loses_none() {
    if !may_unshare() {
        return;
    }
    let home = Home::new();
    let state = ".local/state/akeys/watch";
    fs::create_dir_all(home.at(state)).unwrap();
    let inside = Inside::new(&home, &format!("mount -t tmpfs -o size=1m,mode=700 none \"$HOME/{state}\""));
    let mut stream = inside.stream();
    home.write("papers/before", "x");
    told(&mut stream, "created before");
    let filler = inside.at(&format!("{state}/filler"));
    let mut size = 1 << 20;
    while size > 0 {
        while fill(&filler.with_extension(size.to_string()), size).is_ok() && size > 1 << 12 {
            size /= 2;
        }
        size /= 2;
    }
    for number in 0..600 {
        home.write(&format!("papers/{number}"), "x");
    }
    // Until it has tried.
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        std::thread::yield_now();
    }
    for entry in fs::read_dir(inside.at(state)).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|stem| stem == "filler") {
            fs::remove_file(path).unwrap();
        }
    }
    home.write("papers/after", "x");
    let mut all = Vec::new();
    while all.len() < 601 {
        match stream.message() {
            Message::Event { event, .. } => all.push(words(&event)),
            Message::Resync { why, .. } => panic!("{why}"),
            Message::Hello { .. } | Message::Current { .. } => {}
        }
    }
    assert!(counts(&all).values().all(|count| *count == 1), "{all:?}");
    let said = inside.daemon.stop();
    assert!(
        said.contains("papers: the index: database or disk is full") || said.contains("No space left"),
        "{said}"
    );
}

#[test]
fn what_is_unmounted_is_waited_for_and_not_told_as_removed() {
    if !may_unshare() {
        return;
    }
    let home = Home::new();
    for dir in ["disk", "papers/nested", "papers/later"] {
        fs::create_dir_all(home.at(dir)).unwrap();
    }
    home.write("disk/whole/inner", "x");
    home.write("disk/part/inner", "x");
    let bind = |from: &str, to: &str| format!("mount --bind \"$HOME/{from}\" \"$HOME/{to}\"");
    let inside = Inside::new(
        &home,
        &format!(
            "mount -t tmpfs none \"$HOME/disk\"; mkdir -p \"$HOME/disk/whole/nested\" \"$HOME/disk/whole/later\" \
             \"$HOME/disk/part\"; mount -t tmpfs none \"$HOME/disk/part\"; mkdir \"$HOME/disk/part/deep\"; {}; {}",
            bind("disk/whole", "papers"),
            bind("disk/part", "papers/nested")
        ),
    );
    let mut stream = inside.stream();
    inside.write("papers/nested/deep/f", "x");
    assert_eq!(told(&mut stream, "created nested/deep/f"), ["created nested/deep/f"]);
    // What is changed on the disk while it is away is told when it is back, and only that.
    inside.shell("umount \"$HOME/papers/nested\"");
    inside.write("papers/meanwhile", "x");
    assert_eq!(told(&mut stream, "created meanwhile"), ["created meanwhile"]);
    inside.write("disk/part/deep/f", "more");
    inside.shell(&bind("disk/part", "papers/nested"));
    assert_eq!(told(&mut stream, "modified nested/deep/f"), ["modified nested/deep/f"]);
    inside.write("papers/nested/deep/g", "x");
    assert_eq!(told(&mut stream, "created nested/deep/g"), ["created nested/deep/g"]);
    // Something that is mounted for the first time is new.
    inside.shell(&format!(
        "mkdir \"$HOME/disk/third\"; mount -t tmpfs none \"$HOME/disk/third\"; {}",
        bind("disk/third", "papers/later")
    ));
    inside.write("papers/later/h", "x");
    let all = told(&mut stream, "created later/h");
    assert_eq!(all.last().unwrap(), "created later/h", "{all:?}");
    // The workspace itself.
    inside.shell("umount \"$HOME/papers/later\" \"$HOME/papers/nested\"; umount \"$HOME/papers\"");
    inside.write("disk/whole/written", "x");
    inside.shell(&format!("{}; {}", bind("disk/whole", "papers"), bind("disk/part", "papers/nested")));
    assert_eq!(told(&mut stream, "created written"), ["created written"]);
    inside.daemon.stop();
}
