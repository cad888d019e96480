//! What the gate serves itself, confined as in earnest: the rules of a workspace, met by OpenSSH's own clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

use rrsync_rs::layout::Layout;
use rrsync_rs::origin;
use rrsync_rs::sha256::Sum;
use rrsync_rs::versions::{Kept, Store};
use support::{Account, GATE, example, said};

/// An account whose workspace `box`, the directory `D`, has these rules; `rw` unless they say another access.
fn account(head: &str, rules: &str) -> Account {
    let account = Account::new();
    account.write("D/in.txt", "inside");
    account.write("D/sub/f", "sub");
    account.write("client/new", "new content");
    account.write("client/tree/a/x", "x");
    account.write("client/tree/y", "y");
    let access = if rules.contains("access =") { "" } else { "access = \"rw\"\n" };
    let text = format!(
        "federation = \"playground\"\npod = \"chef1\"\ntools = [\"sftp\", \"scp\"]\n{head}\
         [workspace.box]\npath = \"{}\"\n{access}{rules}",
        account.d("").display()
    );
    account.grant("playground.chef1", &text);
    account
}

/// A program for `sftp -D`: the gate, asked for the SFTP subsystem.
fn subsystem(account: &Account) -> String {
    let home = account.root.join("home");
    let text = format!(
        "SSH_ORIGINAL_COMMAND=internal-sftp HOME='{}' exec '{GATE}' --grant playground.chef1\n",
        home.display()
    );
    let script = account.write("subsystem", text);
    format!("/bin/sh {}", script.display())
}

fn sftp(account: &Account, batch: &str) -> Output {
    let commands = account.write("batch", batch);
    let mut sftp = Command::new("sftp");
    sftp.arg("-b").arg(commands).arg("-D").arg(subsystem(account));
    sftp.current_dir(account.root.join("client")).output().expect("openssh-client is installed")
}

/// Runs a client whose ssh is the gate: `scp -S`, or rsync's `-e`.
fn client(account: &Account, program: &str, args: &[&str], command: Option<&str>) -> Output {
    let mut client = Command::new(program);
    client.args(args).current_dir(account.root.join("client")).stdin(std::process::Stdio::null());
    client
        .env("GATE", GATE)
        .env("GATE_HOME", account.root.join("home"))
        .env("GATE_FLAGS", "--grant playground.chef1");
    client.envs(command.map(|command| ("GATE_COMMAND", command)));
    client.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

const SSH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/ssh-to-gate");

/// The old protocol; the host is called `h`.
fn scp(account: &Account, args: &[&str]) -> Output {
    client(account, "scp", &[&["-O", "-S", SSH], args].concat(), None)
}

#[track_caller]
fn ends(output: &Output, well: bool) {
    assert_eq!(output.status.success(), well, "{}", said(output));
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn file_records(account: &Account) -> Vec<serde_json::Value> {
    account.audit().into_iter().filter(|record| !record["file"].is_null()).collect()
}

fn store(account: &Account) -> Store {
    Store::open(&Layout::new(account.root.join("home")).unwrap(), &account.d("")).unwrap()
}

#[test]
fn versions_are_kept_by_a_confined_session() {
    let account = account("record-sha256 = true\n", "versions = true\n");
    let output =
        sftp(&account, "put new box/in.txt\nput new box/in.txt\nrm box/sub/f\nrename box/in.txt box/kept\n");
    ends(&output, true);
    assert_eq!(names(&account.d("")), ["kept", "sub"]);
    let store = store(&account);
    let versions = store.list(None).unwrap().versions;
    let told: Vec<(&str, String)> = versions
        .iter()
        .map(|version| match &version.what {
            Kept::File { sha256, .. } => (
                version.path.to_str().unwrap(),
                std::io::read_to_string(store.content(*sha256).unwrap()).unwrap(),
            ),
            Kept::Symlink { .. } => panic!("{version:?}"),
        })
        .collect();
    let text = |text: &str| text.to_owned();
    assert_eq!(told, [("in.txt", text("inside")), ("in.txt", text("new content")), ("sub/f", text("sub"))]);
    let records = file_records(&account);
    assert_eq!(records[0]["sha256"], Sum::of(b"new content").to_string());
    assert_eq!(records.len(), 4, "{records:?}");
}

#[test]
fn atomic_uploads_work_in_a_confined_session() {
    for rules in ["atomic = true\n", "atomic = true\nquota = \"1G\"\n"] {
        let account = account("", rules);
        ends(
            &sftp(
                &account,
                "put new box/in.txt\nput new box/other\nput -rp tree box/\nreput new box/sub/f\n",
            ),
            true,
        );
        assert_eq!(account.read("D/in.txt") + &account.read("D/other"), "new contentnew content");
        assert_eq!(
            account.read("D/tree/a/x") + &account.read("D/sub/f"),
            "xsub content",
            "reput goes on from the size"
        );
        assert_eq!(names(&account.d("")), ["in.txt", "other", "sub", "tree"]);
        let mark = origin::of(fs::File::open(account.d("tree/a/x")).unwrap());
        assert_eq!(mark.as_deref(), Some("playground.chef1"));
    }
}

/// The whole policy for files in the manual.
fn policy_of_the_manual() -> String {
    let page = include_str!("../../man/akeys-grant.5");
    let blocks = page.split(".Bd -literal -offset indent\n").map(|block| block.split(".Ed").next().unwrap());
    blocks.filter(|block| block.contains("access = \"drop\"")).last().unwrap().to_owned()
}

#[test]
fn the_policy_in_the_manual_does_what_the_manual_says() {
    let account = account("", "");
    account.grant("playground.chef1", &policy_of_the_manual());
    for (path, content) in [
        ("inbox/theirs", "x"),
        ("log/old.log", "old"),
        ("data/old", "old"),
        ("site/index", "old"),
        ("notes/todo.txt", "old"),
        ("notes/.git/config", "secret"),
    ] {
        account.write(&format!("home/{path}"), content);
    }
    account.write("client/old.log", "old and new");
    for (batch, well) in [
        ("put new /inbox/report.pdf\nput -a old.log /log/old.log\nput new /log/new.log\n", true),
        ("put new /data/more\nput new /site/index\nput new /notes/todo.txt\nrm /notes/todo.txt\n", true),
        ("get /inbox/report.pdf\n", false),
        ("ls /inbox/report.pdf\n", false),
        ("put new /inbox/report.pdf\n", false),
        ("rm /inbox/report.pdf\n", false),
        ("put new /log/old.log\n", false),
        ("rm /log/old.log\n", false),
        ("rename /log/old.log /log/older.log\n", false),
        ("ln -s old.log /log/link\n", false),
        ("put new /data/old\n", false),
        ("rm /data/old\n", false),
        ("put new /notes/run.sh\n", false),
        ("get /notes/.git/config\n", false),
        ("mkdir /notes/.git/hooks\n", false),
    ] {
        let output = sftp(&account, batch);
        assert_eq!(output.status.success(), well, "{batch}: {}", said(&output));
    }
    ends(&scp(&account, &["new", "h:inbox/by-scp"]), true);
    let read = |path: &str| account.read(&format!("home/{path}"));
    assert_eq!(read("inbox/report.pdf") + &read("inbox/by-scp"), "new contentnew content");
    assert_eq!(read("log/old.log") + &read("data/old"), "old and newold");
    assert_eq!(read("site/index"), "new content");
    let mode = fs::metadata(account.root.join("home/site/index")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let store =
        Store::open(&Layout::new(account.root.join("home")).unwrap(), &account.root.join("home/notes"));
    let versions = store.unwrap().list(None).unwrap().versions;
    assert_eq!(versions.iter().filter(|version| version.path == Path::new("todo.txt")).count(), 2);
    let sums = file_records(&account).into_iter().filter(|record| record["sha256"].is_string()).count();
    assert!(sums >= 6, "{sums}");
}

#[test]
fn a_name_with_a_newline_makes_no_record_of_its_own() {
    let account = account("", "");
    let forged = r#"{"time":"2026-01-01T00:00:00Z","file":"read","path":"forged"}"#;
    let name = format!("x\n{forged}\n\u{1b}[2J\u{202e}");
    account.write(&format!("client/up/{name}"), "x");
    ends(&sftp(&account, "put -r up /box/\n"), true);
    assert!(account.d("up").join(&name).exists());
    let log = fs::read_to_string(account.root.join("home/.local/state/akeys/audit.jsonl")).unwrap();
    assert!(
        log.lines().all(|line| line.starts_with("{\"time\":\"") && !line.contains(['\u{1b}', '\u{202e}'])),
        "{log}"
    );
    let records = file_records(&account);
    assert!(records.iter().all(|record| record["path"] != "forged"), "{records:?}");
    assert!(records.iter().any(|record| record["path"].as_str().unwrap().contains("forged")), "{records:?}");
}

#[test]
fn a_quota_holds_across_sessions() {
    let account = account("", "quota = \"1K\"\nquota-files = 8\n");
    account.write("client/big", "x".repeat(600));
    ends(&sftp(&account, "put big box/one\n"), true);
    let output = sftp(&account, "put big box/two\n");
    ends(&output, false);
    ends(&sftp(&account, "rm box/two\nrm box/one\nput big box/two\nput new box/three\n"), true);
    let many: Vec<String> = (0..10).map(|i| format!("-mkdir box/d{i}\n")).collect();
    ends(&sftp(&account, &many.concat()), true);
    assert_eq!(names(&account.d("")).len() + names(&account.d("sub")).len(), 8);
    assert!(
        file_records(&account).iter().any(|record| record["result"] == "Quota exceeded"),
        "{:?}",
        account.audit()
    );
}

#[test]
fn a_drop_takes_batches_and_shows_nothing() {
    let account = account("", "access = \"drop\"\n");
    ends(
        &sftp(
            &account,
            "mkdir box/.7\nput -rp tree box/.7/\nput new box/.7/n\nrename box/.7 box/7\nput new box/single\n",
        ),
        true,
    );
    assert_eq!(
        account.read("D/7/tree/a/x") + &account.read("D/7/n") + &account.read("D/single"),
        "xnew contentnew content"
    );
    for batch in [
        "ls box",
        "get box/in.txt",
        "get box/7/n",
        "put new box/in.txt",
        "put new box/7/more",
        "rm box/7/n",
        "mkdir box/8",
    ] {
        ends(&sftp(&account, &format!("{batch}\n")), false);
    }
    assert_eq!(names(&account.d("")), ["7", "in.txt", "single", "sub"]);
    assert_eq!(names(&account.d("7")), ["n", "tree"]);
    // Begun in one session, finished in the next.
    ends(&sftp(&account, "mkdir box/.9\nput new box/.9/a\n"), true);
    ends(&sftp(&account, "put new box/.9/b\nrename box/.9 box/9\n"), true);
    assert_eq!(names(&account.d("9")), ["a", "b"]);
}

#[test]
fn the_old_scp_copies_in_both_directions() {
    for rules in ["", "atomic = true\n", "versions = true\n", "quota = \"1G\"\n"] {
        let account = account("record-sha256 = true\n", rules);
        let big: Vec<u8> = (0..500_000_u32).flat_map(u32::to_be_bytes).collect();
        account.write("client/big", &big);
        account.write("client/sp ace", "space");
        account.write("client/empty", "");
        for args in [
            &["big", "h:box"][..],
            &["new", "h:box/in.txt"],
            &["new", "h:/box/named"],
            &["empty", "h:~/box/"],
            &["sp ace", "h:'box/sp ace'"],
            &["sp ace", r"h:box/sp\ ace2"],
            &["-rp", "tree", "h:box/sub"],
            &["new", "tree/y", "h:box/sub"],
            &["-v", "-q", "new", "h:box/quiet"],
            &["h:box/big", "big.back"],
            &["-rp", "h:box/sub", "sub.back"],
            &["h:box/i*.txt", "h:box/{named,quiet}", "."],
            &["h:box/sp*", "."],
            &["-T", "h:'box/sp ace'", "spaced"],
        ] {
            ends(&scp(&account, args), true);
        }
        assert!(
            fs::read(account.d("big")).unwrap() == big
                && fs::read(account.root.join("client/big.back")).unwrap() == big
        );
        for (path, text) in [
            ("D/in.txt", "new content"),
            ("D/named", "new content"),
            ("D/empty", ""),
            ("D/sp ace2", "space"),
            ("D/sub/tree/a/x", "x"),
            ("D/sub/y", "y"),
            ("client/sub.back/tree/a/x", "x"),
            ("client/named", "new content"),
            ("client/spaced", "space"),
        ] {
            assert_eq!(account.read(path), text, "{rules}{path}");
        }
        let modified = |path: &str| fs::metadata(account.root.join(path)).unwrap().mtime();
        assert_eq!(modified("client/tree/a/x"), modified("D/sub/tree/a/x"));
        assert_eq!(modified("client/tree/a"), modified("D/sub/tree/a"));
        assert_eq!(modified("client/tree/a"), modified("client/sub.back/tree/a"));
        let records = file_records(&account);
        assert!(records.iter().any(|r| r["file"] == "write"
            && r["path"] == "/box/big"
            && r["sha256"] == Sum::of(&big).to_string()));
        assert!(
            records.iter().any(|r| r["file"] == "read" && r["path"] == "/box/big" && r["bytes"] == big.len())
        );
        let sessions: Vec<_> = account.audit().into_iter().filter(|record| record["rule"] == "scp").collect();
        assert!(
            sessions.len() >= 14 && sessions.iter().all(|session| session["confinement"]["seccomp"] == true)
        );
    }
}

#[test]
fn the_old_scp_is_told_what_is_refused() {
    let account = account("", "overwrite = false\n");
    std::os::unix::fs::symlink("../outside/secret", account.d("lsec")).unwrap();
    let outside = support::picture(&account.root.join("outside"));
    for (args, says) in [
        (&["h:box/lsec", "got"][..], "leads out of the workspace"),
        (&["new", "h:box/lsec"], "leads out of the workspace"),
        (&["new", "h:box/in.txt"], "may not change what is already here"),
        (&["h:../outside/secret", "got"], "No such file or directory"),
        (&["h:/etc/passwd", "got"], "No such file or directory"),
        (&["h:box/none", "got"], "No such file or directory"),
        (&["h:box/sub", "got"], "not a regular file"),
        (&["-r", "tree", "h:box/none/x"], "No such file or directory"),
        (&["new", "h:evil"], "the list of workspaces is fixed"),
        (&["new", "h:box/x;id"], "no shell runs here"),
        (&["new", "h:$(id)"], "no shell runs here"),
        (&["sp ace", "h:box/sp ace"], "ambiguous target"),
    ] {
        account.write("client/sp ace", "space");
        let output = scp(&account, args);
        ends(&output, false);
        assert!(said(&output).contains(says), "{args:?}: {}", said(&output));
    }
    assert_eq!(support::picture(&account.root.join("outside")), outside);
    assert!(!account.root.join("client/got").exists());
    // What was refused while it was served has its record, with the reason.
    assert!(
        file_records(&account)
            .iter()
            .any(|r| r["path"] == "/box/in.txt" && r["result"].as_str().unwrap().contains("already here"))
    );
}

#[test]
fn keys_are_for_their_tools_and_no_others() {
    // Which of the six kinds of request a key with these tools serves: rsync, sftp, scp, scp -O, watching, anything else.
    // What sshd passes on does not tell today's scp from sftp, so either tool serves both.
    for (tools, serves) in [
        ("\"rsync\"", [true, false, false, false, false, false]),
        ("\"sftp\"", [false, true, true, false, false, false]),
        ("\"scp\"", [false, true, true, true, false, false]),
        ("\"watch\"", [false, false, false, false, true, false]),
        ("\"rsync\", \"scp\", \"sftp\"", [true, true, true, true, false, false]),
    ] {
        let account = account("", "");
        let file = account.root.join("home/.config/akeys/grants/playground.chef1.toml");
        let text = fs::read_to_string(file).unwrap().replace("\"sftp\", \"scp\"", tools);
        account.grant("playground.chef1", &text);
        cross_uses(&account, tools, "--grant playground.chef1", serves);
    }
    // rrsync's form is for rsync alone.
    let account = account("", "");
    let flags = format!("-ro {}", account.d("").display());
    cross_uses(&account, "none", &flags, [true, false, false, false, false, false]);
}

/// What a request for the stream of changes would be told. It would not end by itself, and takes a program of another
/// package.
fn watched(account: &Account, flags: &str) -> Output {
    let mut gate = Command::new(GATE);
    gate.arg("--explain").args(flags.split(' ')).args(["--", "awatch stream box"]);
    gate.env_clear().env("HOME", account.root.join("home")).output().unwrap()
}

fn cross_uses(account: &Account, tools: &str, flags: &str, serves: [bool; 6]) {
    let with = |program: &str, args: &[&str], command: Option<&str>| {
        let mut client = Command::new(program);
        client.args(args).current_dir(account.root.join("client")).stdin(std::process::Stdio::null());
        client.env("GATE", GATE).env("GATE_HOME", account.root.join("home")).env("GATE_FLAGS", flags);
        client.envs(command.map(|command| ("GATE_COMMAND", command))).output().unwrap()
    };
    let batch = account.write("batch", "get box/in.txt got-sftp\n");
    let batch = batch.to_str().unwrap();
    let subsystem = Some("/usr/lib/openssh/sftp-server");
    let rsync_from = if flags.starts_with("--") { "h:box/in.txt" } else { "h:in.txt" };
    let outputs = [
        with("rsync", &["-e", SSH, rsync_from, "got-rsync"], None),
        with("sftp", &["-S", SSH, "-b", batch, "h"], subsystem),
        with("scp", &["-S", SSH, "h:box/in.txt", "got-scp"], subsystem),
        with("scp", &["-O", "-S", SSH, "h:box/in.txt", "got-old"], None),
        watched(account, flags),
        with("sh", &[SSH, "h", "id"], None),
    ];
    let names = ["rsync", "sftp", "scp", "old", "watch", "id"];
    for ((output, name), serves) in outputs.iter().zip(names).zip(serves) {
        let got = account.root.join(format!("client/got-{name}"));
        let text = fs::read_to_string(&got).unwrap_or_default();
        match name {
            "watch" => assert_eq!(said(output).contains("tool.watch"), !serves, "{tools}: {}", said(output)),
            "id" => assert!(
                !output.status.success() && output.stdout.is_empty(),
                "{tools} {name}: {}",
                said(output)
            ),
            _ => assert_eq!(
                (output.status.success(), text == "inside"),
                (serves, serves),
                "{tools} {name}: {}",
                said(output)
            ),
        }
    }
    let refused = account.audit().iter().filter(|record| record["verdict"] == "refuse").count();
    let served = serves.iter().filter(|serves| **serves).count() + usize::from(!serves[4]);
    assert!(refused >= 6 - served, "{tools}: {refused} refusals");
}

/// What the example says that takes a confined session's place.
fn battery(account: &Account) -> Vec<String> {
    let program = example("served-battery");
    let mut victim = Command::new("sleep").arg("1000").spawn().unwrap();
    let mut battery = Command::new(program);
    battery.arg(account.root.join("home")).arg(&account.root).arg(victim.id().to_string());
    let output = battery.output().unwrap();
    assert!(victim.try_wait().unwrap().is_none(), "the victim lives");
    victim.kill().unwrap();
    victim.wait().unwrap();
    ends(&output, true);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_taken_over_server_has_the_workspace_and_nothing_else() {
    let reading = ["list inside", "read inside"];
    let writing = ["write inside", "make a file", "remove inside"];
    for (rules, allowed) in [
        ("access = \"ro\"\n", reading.to_vec()),
        ("", [&reading[..], &writing].concat()),
        ("versions = true\n", [&reading[..], &writing].concat()),
        ("access = \"wo\"\n", [&["list inside"], &writing[..]].concat()),
        ("access = \"drop\"\n", [&["list inside"], &writing[..]].concat()),
    ] {
        let account = account("", rules);
        fs::copy("/bin/true", account.d("program")).unwrap();
        account.write("D/kept", "something to keep");
        if rules.starts_with("versions") {
            ends(&sftp(&account, "rm box/kept\n"), true);
        }
        let outside = support::picture(&account.root.join("outside"));
        let told = battery(&account);
        let found: Vec<&str> = told.iter().filter_map(|line| line.strip_suffix(" allowed")).collect();
        let expected = [allowed.as_slice(), &["write an open log"]].concat();
        assert_eq!(found, expected, "{rules}");
        let kept = if rules.starts_with("versions") { 6 } else { 0 };
        assert_eq!(told.len(), 48 + kept, "every attempt was made");
        assert_eq!(support::picture(&account.root.join("outside")), outside);
    }
}

#[test]
fn a_session_is_confined_before_its_client_has_said_anything() {
    let account = account("", "");
    for command in ["internal-sftp", "scp -t box", "scp -f box/in.txt"] {
        let mut gate = Command::new(GATE);
        gate.args(["--grant", "playground.chef1"]).env_clear().env("HOME", account.root.join("home"));
        gate.env("SSH_ORIGINAL_COMMAND", command);
        gate.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        let mut gate = gate.spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
        let status = loop {
            // Its client has sent nothing, so whatever it is by now it is before the first byte.
            let status = fs::read_to_string(format!("/proc/{}/status", gate.id())).unwrap();
            if status.contains("\nSeccomp:\t2\n") || std::time::Instant::now() > deadline {
                break status;
            }
            std::thread::yield_now();
        };
        gate.kill().unwrap();
        gate.wait().unwrap();
        assert!(
            status.contains("\nSeccomp:\t2\n") && status.contains("\nNoNewPrivs:\t1\n"),
            "{command}: {status}"
        );
    }
}

#[test]
fn what_a_session_may_do_is_explained() {
    let account =
        account("", "access = \"drop\"\nquota = \"1G\"\n[workspace.box.names]\ndeny = [\"*.exe\"]\n");
    let explain = |command: &str| {
        let mut gate = Command::new(GATE);
        gate.args(["--explain", "--grant", "playground.chef1", "--", command]).env_clear();
        let output = gate.env("HOME", account.root.join("home")).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (allowed, text) = explain("scp -r -t 'box/a b'");
    assert!(allowed, "{text}");
    for words in [
        "rule:        scp\n",
        "paths:       box/a b\n",
        &format!("may write:   {}\n", account.d("").display().to_string().trim_end_matches('/')),
        "holds in     box: at most 1 GiB\n",
        "holds in     box: nothing new is called *.exe\n",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for (command, rule) in [
        ("scp -f box/in.txt", "access.read"),
        ("scp -t $(id)", "scp.shell-syntax"),
        ("scp a b", "scp.client"),
        ("rsync --server -re.LsfxCIvu . box/", "tool.rsync"),
    ] {
        let (allowed, text) = explain(command);
        assert!(!allowed && text.contains(&format!("rule:        {rule}\n")), "{command}: {text}");
    }
    assert!(account.audit().is_empty(), "nothing has run");
}

#[test]
fn rsync_does_not_come_into_a_workspace_whose_rules_it_would_not_keep() {
    for (rules, pull, push) in [
        ("", true, true),
        ("append = true\n", true, true),
        ("versions = true\n", true, false),
        ("atomic = true\n", true, false),
        ("quota = \"1G\"\n", true, false),
        ("min-free = \"1\"\n", true, false),
        ("umask = \"027\"\n", true, false),
        ("symlinks = \"none\"\n", true, false),
        ("[workspace.box.names]\ndeny = [\"x\"]\n", true, false),
        ("[workspace.box.names]\nhide = [\"x\"]\n", true, false),
        ("access = \"drop\"\n", false, false),
    ] {
        let account = account("", rules);
        let file = account.root.join("home/.config/akeys/grants/playground.chef1.toml");
        let text = fs::read_to_string(file).unwrap().replace("\"sftp\", \"scp\"", "\"rsync\"");
        account.grant("playground.chef1", &text);
        let pulled = client(&account, "rsync", &["-e", SSH, "h:box/in.txt", "got"], None);
        assert_eq!(pulled.status.success(), pull, "{rules}: {}", said(&pulled));
        let pushed = client(&account, "rsync", &["-e", SSH, "new", "h:box/pushed"], None);
        assert_eq!(pushed.status.success(), push, "{rules}: {}", said(&pushed));
        let moved =
            client(&account, "rsync", &["--remove-source-files", "-e", SSH, "h:box/sub/f", "got"], None);
        let removed = !account.d("sub/f").exists();
        assert_eq!(
            (moved.status.success(), removed),
            (push && !rules.starts_with("append"), push && !rules.starts_with("append")),
            "{rules}: {}",
            said(&moved)
        );
    }
}
