//! The tool `watch` through a real sshd: what a pod learns of a workspace, and what it does not.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use akeys::event::{Event, Message, Reason};
use nix::sys::signal::Signal;

use crate::support::{Key, Sandbox, Talk};

/// A sandbox with a grant for `tools`: papers readable but for what `paths` says, and an inbox that is write-only.
fn sandbox(tools: &str, paths: &str) -> (Sandbox, Key) {
    let sandbox = Sandbox::new();
    let key = sandbox.new_key("chef1");
    sandbox.write("papers/draft", "draft\n");
    sandbox.write("inbox/there", "x\n");
    let policy = format!(
        "federation = \"lab\"\npod = \"chef1\"\ntools = [{tools}]\n\
         [workspace.papers]\npath = \"~/papers\"\naccess = \"ro\"\n[workspace.papers.paths]\n{paths}\n\
         [workspace.inbox]\npath = \"~/inbox\"\naccess = \"wo\"\n"
    );
    sandbox.write(".config/akeys/grants/lab.chef1.toml", policy);
    sandbox.authorize(&format!(r#"restrict,command="{} --grant lab.chef1""#, sandbox.gate().display()), &key);
    sandbox.awatch();
    (sandbox, key)
}

#[track_caller]
fn message(talk: &mut Talk) -> Message {
    let line = talk.line();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The next event, past whatever else is said.
#[track_caller]
fn event(talk: &mut Talk) -> Event {
    loop {
        if let Message::Event { event, .. } = message(talk) {
            return *event;
        }
    }
}

#[track_caller]
fn is_current(talk: &mut Talk) {
    while !matches!(message(talk), Message::Current { .. }) {}
}

#[test]
fn a_pod_sees_a_file_appear() {
    let (sandbox, key) = sandbox("\"watch\"", "");
    let client = sandbox.client(&key);
    let mut stream = client.ssh_talk(&["awatch", "stream", "papers"]);
    let Message::Hello { workspace, author, .. } = message(&mut stream) else { panic!("no hello") };
    assert_eq!(workspace.as_str(), "papers");
    assert!(author.contains('@'), "{author}");
    let Message::Resync { why, .. } = message(&mut stream) else { panic!("no resync") };
    assert_eq!(why, "the stream begins here");
    is_current(&mut stream);

    sandbox.write("papers/fig/new", "new\n");
    let (directory, file) = (event(&mut stream), event(&mut stream));
    assert_eq!((directory.reason, directory.path.as_path()), (Reason::Created, Path::new("fig")));
    assert_eq!(
        (file.reason, file.path.as_path(), file.size),
        (Reason::Created, Path::new("fig/new"), Some(4))
    );
    assert_eq!(file.author, author);

    let records = sandbox.audit();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((&record["verdict"], &record["rule"]), (&"allow".into(), &"watch".into()));
    assert_eq!(record["argv"][0], "awatch");
    assert!(record["confinement"]["landlock"].as_u64().unwrap() > 0, "{record}");
    assert_eq!(record["confinement"]["seccomp"], true);
}

#[test]
fn what_a_key_may_not_read_is_never_named() {
    let (sandbox, key) = sandbox("\"watch\"", "secret = \"none\"\nin = \"wo\"\n\"in/out\" = \"ro\"");
    for dir in ["secret/sub", "in/out"] {
        fs::create_dir_all(sandbox.home().join("papers").join(dir)).unwrap();
    }
    sandbox.write("papers/secret/sub/s", "s");
    let client = sandbox.client(&key);
    let mut stream = client.ssh_talk(&["awatch", "stream", "papers"]);
    is_current(&mut stream);
    let papers = sandbox.home().join("papers");
    sandbox.write("papers/secret/diary", "diary");
    sandbox.write("papers/in/letter", "letter");
    fs::rename(papers.join("secret/diary"), papers.join("secret/diary2")).unwrap();
    fs::rename(papers.join("secret/sub"), papers.join("in/sub")).unwrap();
    sandbox.write("papers/in/out/answer", "answer");
    fs::rename(papers.join("draft"), papers.join("secret/draft")).unwrap();
    sandbox.write("papers/last", "last");
    let mut told = Vec::new();
    loop {
        let event = event(&mut stream);
        let path = event.path.as_path().to_str().unwrap().to_owned();
        assert_eq!(event.from, None);
        told.push((event.reason, path));
        if told.len() == 3 {
            break;
        }
    }
    told.sort_by(|one, other| one.1.cmp(&other.1));
    let expected =
        [(Reason::Removed, "draft"), (Reason::Created, "in/out/answer"), (Reason::Created, "last")];
    assert_eq!(told, expected.map(|(reason, path)| (reason, path.to_owned())));
}

#[test]
fn a_stream_is_refused_where_nothing_may_be_read() {
    let (sandbox, key) = sandbox("\"watch\"", "");
    let client = sandbox.client(&key).hold();
    for (workspace, says) in [
        ("inbox", "rrsync-rs: reading from inbox is not allowed: it is write-only"),
        ("other", "rrsync-rs: there is no workspace \"other\"; there are: inbox, papers"),
        ("..", "rrsync-rs: name a workspace: inbox, papers"),
    ] {
        client.ssh(&["awatch", "stream", workspace]).fails_with(1).says(says);
    }
    for command in ["awatch run papers", "awatch stream papers --dir /", "awatch stream papers;id", "awatch"]
    {
        client.ssh(&[command]).fails_with(1).says("rrsync-rs: ");
    }
    assert!(sandbox.audit().iter().all(|record| record["verdict"] == "refuse"));
}

#[test]
fn a_key_without_the_tool_gets_no_stream() {
    let (sandbox, key) = sandbox("\"rsync\"", "");
    let refused = sandbox.client(&key).ssh(&["awatch", "stream", "papers"]).fails_with(1);
    refused.says("rrsync-rs: this key may not be used with awatch");
    assert_eq!(sandbox.audit()[0]["rule"], "tool.watch");
}

#[test]
fn an_awatch_that_others_could_have_written_does_not_run() {
    let (sandbox, key) = sandbox("\"watch\"", "");
    let awatch = sandbox.awatch();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o775);
    fs::set_permissions(&awatch, mode).unwrap();
    let client = sandbox.client(&key).hold();
    let says = "rrsync-rs: awatch cannot be run on this server";
    client.ssh(&["awatch", "stream", "papers"]).fails_with(1).says(says);
    fs::remove_file(&awatch).unwrap();
    client.ssh(&["awatch", "stream", "papers"]).fails_with(1).says(says);
    let reasons: Vec<_> = sandbox.audit().iter().map(|record| record["reason"].to_string()).collect();
    assert!(reasons[0].contains("can be written by group or others"), "{reasons:?}");
    assert!(reasons[1].contains("No such file"), "{reasons:?}");
}

#[test]
fn a_stream_ends_when_its_client_has_gone_although_nothing_happens() {
    let (sandbox, key) = sandbox("\"watch\"", "");
    let client = sandbox.client(&key);
    let mut stream = client.ssh_talk(&["awatch", "stream", "papers"]);
    is_current(&mut stream);
    let running = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok())
            .any(|cwd| cwd.starts_with(sandbox.home().join("papers")))
    };
    assert!(running());
    drop(stream);
    let until = Instant::now() + Duration::from_secs(10);
    while running() {
        assert!(Instant::now() < until, "awatch is still running");
        std::thread::yield_now();
    }
}

#[test]
fn with_a_daemon_a_pod_goes_on_where_it_was() {
    let (sandbox, key) = sandbox("\"watch\"", "secret = \"none\"");
    sandbox.write("papers/secret/diary", "x");
    let start = |path: &Path| {
        let mut command = Command::new(sandbox.awatch());
        // The daemon may know the directory by another name.
        command.args(["run", "--name", "mine", "--project", "thesis"]).arg(path);
        command.env_clear().env("HOME", sandbox.home());
        Talk::start(&mut command)
    };
    let papers = sandbox.home().join("papers");
    let journal = sandbox.home().join(".local/state/akeys/watch/mine/journal");
    let is_there = || journal.join("head.json").exists();
    let mut daemon = start(&papers);
    wait_for("the daemon watches", is_there);
    let client = sandbox.client(&key).hold();
    let mut stream = client.ssh_talk(&["awatch", "stream", "papers"]);
    let Message::Hello { workspace, project, .. } = message(&mut stream) else { panic!("no hello") };
    assert_eq!((workspace.as_str(), project.unwrap().as_str()), ("papers", "thesis"));
    let Message::Resync { cursor, .. } = message(&mut stream) else { panic!("no resync") };
    sandbox.write("papers/seen", "x");
    assert_eq!(event(&mut stream).path.as_path(), Path::new("seen"));
    drop(stream);
    // It is away, and so is the daemon for a while.
    sandbox.write("papers/missed", "x");
    sandbox.write("papers/secret/diary", "more");
    let has = |name: &str| {
        let name = name.to_owned();
        move |journal: &Path| {
            let texts = fs::read_dir(journal).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
            texts.into_iter().any(|text| String::from_utf8_lossy(&text).contains(&name))
        }
    };
    let missed = has("secret/diary");
    wait_for("the daemon knows", || missed(&journal));
    daemon.signal(Signal::SIGKILL);
    daemon.end();
    sandbox.write("papers/down", "x");
    let _daemon = start(&papers);
    wait_for("the daemon is back", || rrsync_rs::watch::is_written(&journal));
    let since = cursor.to_string();
    let mut stream = client.ssh_talk(&["awatch", "stream", "papers", "--since", &since]);
    assert!(matches!(message(&mut stream), Message::Hello { .. }));
    for (name, number) in [("seen", 1), ("missed", 2), ("down", 4)] {
        let line = loop {
            match message(&mut stream) {
                Message::Event { cursor, event } => break (cursor.sequence, event),
                Message::Current { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            (line.1.path.as_path(), line.0, line.1.workspace.as_str()),
            (Path::new(name), number, "papers")
        );
    }
    // A cursor of another journal is told to compare.
    let other = format!("{}.7", "0".repeat(32));
    let mut stream = client.ssh_talk(&["awatch", "stream", "papers", "--since", &other]);
    assert!(matches!(message(&mut stream), Message::Hello { .. }));
    assert!(matches!(message(&mut stream), Message::Resync { .. }));
    let records = sandbox.audit();
    assert!(records.iter().all(|record| record["confinement"]["seccomp"] == true), "{records:?}");
}

#[track_caller]
fn wait_for(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_mins(1);
    while !is() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}
