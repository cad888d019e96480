//! A copy is made the same as its source, and what was made or changed here is not lost by it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::afiles_fetch::everything;
use crate::support::{Outcome, Pod, Sandbox};

fn pod(sandbox: &Sandbox) -> Pod<'_> {
    sandbox.pod("chef", &["--workspace", "papers", "--writable", "papers/build"])
}

fn pull(pod: &Pod<'_>, more: &[&str]) -> Outcome {
    pod.afiles(&[&["pull", "papers:", "copy"], more].concat()).succeeds()
}

/// What `afiles pull --json` tells: type and path.
fn told(ran: &Outcome) -> Vec<(String, String)> {
    let text = ran.stdout_text();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut told: Vec<_> = events
        .map(|event| (event["type"].as_str().unwrap().to_owned(), event["path"].as_str().unwrap().to_owned()))
        .collect();
    told.sort();
    told
}

fn set_time(path: &Path, nanoseconds: u32) {
    let moment = UNIX_EPOCH + Duration::new(1_600_000_000, nanoseconds);
    File::options().write(true).open(path).unwrap().set_modified(moment).unwrap();
}

#[test]
fn a_copy_follows_every_kind_of_change() {
    let sandbox = Sandbox::new();
    let papers = sandbox.home().join("papers");
    sandbox.write("papers/draft", "one");
    sandbox.write("papers/big", "block\n".repeat(200_000));
    sandbox.write("papers/old/deep/file", "old");
    sandbox.write("papers/becomes-dir", "file");
    sandbox.write("papers/becomes-file/inner/x", "dir");
    sandbox.write("papers/tab\tnew\nline", "bytes");
    symlink("draft", papers.join("link")).unwrap();
    let pod = pod(&sandbox);
    let ran = pull(&pod, &[]);
    assert!(ran.stdout_text().starts_with("copy: "), "{ran}");
    assert_eq!(everything(&pod.path("copy")), everything(&papers));
    assert!(told(&pull(&pod, &["--json"])).is_empty(), "nothing is left to do");

    sandbox.write("papers/draft", "two");
    // The same length, and a time that differs by a nanosecond.
    set_time(&papers.join("draft"), 1);
    pull(&pod, &[]);
    sandbox.write("papers/draft", "six");
    set_time(&papers.join("draft"), 2);
    fs::set_permissions(papers.join("big"), Permissions::from_mode(0o400)).unwrap();
    fs::remove_dir_all(papers.join("old")).unwrap();
    fs::remove_file(papers.join("becomes-dir")).unwrap();
    sandbox.write("papers/becomes-dir/x", "now a directory");
    fs::remove_dir_all(papers.join("becomes-file")).unwrap();
    sandbox.write("papers/becomes-file", "now a file");
    fs::remove_file(papers.join("link")).unwrap();
    symlink("big", papers.join("link")).unwrap();
    let ran = pull(&pod, &["--json"]);
    let arrived = |path: &str| ("arrived".to_owned(), path.to_owned());
    let removed = |path: &str| ("removed".to_owned(), path.to_owned());
    assert_eq!(
        told(&ran),
        [
            arrived("becomes-dir/x"),
            arrived("becomes-file"),
            arrived("draft"),
            arrived("link"),
            ("attributes".to_owned(), "big".to_owned()),
            ("made".to_owned(), "becomes-dir".to_owned()),
            removed("becomes-file/inner"),
            removed("becomes-file/inner/x"),
            removed("old"),
            removed("old/deep"),
            removed("old/deep/file"),
        ]
    );
    assert_eq!(everything(&pod.path("copy")), everything(&papers));
    assert!(!pod.path("copy/.akeys-upload-stage").exists());
    // Nothing of all that was only here, so nothing had to be kept.
    assert!(!pod.path(".local/state/akeys/versions").exists());
}

#[test]
fn what_was_made_here_stays_and_what_was_changed_here_is_kept() {
    let sandbox = Sandbox::new();
    for name in ["kept", "edited", "edited-and-gone", "gone", "dir/gone"] {
        sandbox.write(&format!("papers/{name}"), format!("{name} there"));
    }
    let pod = pod(&sandbox);
    pull(&pod, &[]);
    for name in ["own", "dir/own", "edited", "edited-and-gone"] {
        fs::write(pod.path("copy").join(name), format!("{name} here")).unwrap();
    }
    for name in ["edited-and-gone", "gone", "dir/gone"] {
        fs::remove_file(sandbox.home().join("papers").join(name)).unwrap();
    }
    fs::remove_dir(sandbox.home().join("papers/dir")).unwrap();
    sandbox.write("papers/own", "own there");
    let diff = pod.afiles(&["diff", "papers:", "copy"]).fails_with(5).stdout_text();
    assert_eq!(
        diff,
        "gone       dir\ngone       dir/gone\nonly-here  dir/own\nchange     edited (12 B)\n\
         gone       edited-and-gone\ngone       gone\nchange     own (9 B)\n"
    );
    let ran = pull(&pod, &[]);
    assert!(
        ran.stderr_text().contains("edited-and-gone: left out: it is gone at the source, but was changed"),
        "{ran}"
    );
    let here = |name: &str| fs::read_to_string(pod.path("copy").join(name)).ok();
    assert_eq!(here("kept").as_deref(), Some("kept there"));
    assert_eq!(here("edited").as_deref(), Some("edited there"));
    assert_eq!(here("own").as_deref(), Some("own there"));
    assert_eq!(here("dir/own").as_deref(), Some("dir/own here"));
    assert_eq!(here("edited-and-gone").as_deref(), Some("edited-and-gone here"));
    assert_eq!((here("gone"), here("dir/gone")), (None, None));
    let versions = pod.afiles(&["versions", "copy"]).succeeds().stdout_text();
    assert!(versions.contains("edited@1") && versions.contains("own@1"), "{versions}");
    pod.afiles(&["restore", "copy/edited@1", "--to", "back"]).succeeds();
    assert_eq!(fs::read_to_string(pod.path("back")).unwrap(), "edited here");
    // Everything is kept for good, unless its owner says otherwise.
    let forget = |days: &str| pod.afiles(&["forget", "copy", "--older-than", days]).succeeds().stdout_text();
    assert_eq!(forget("1"), "0 contents let go, 0 B\n");
    assert!(forget("0").starts_with("2 contents let go, "));
    let versions = pod.afiles(&["versions", "copy"]).succeeds().stdout_text();
    assert_eq!(versions.matches("; let go\n").count(), 2, "{versions}");
    pod.afiles(&["restore", "copy/edited@1", "--to", "again"]).fails_with(4).says("was let go");
}

#[test]
fn after_a_pull_or_a_fetch_the_status_said_that_a_copy_was_never_the_same() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/a", "a");
    let pod = sandbox.pod("chef", &["--workspace", "papers", "--tools", "rsync,sftp"]);
    pull(&pod, &[]);
    pod.afiles(&["fetch", "papers:", "new"]).succeeds();
    let copies: Vec<Value> =
        serde_json::from_slice(&pod.afiles(&["status", "--json"]).succeeds().stdout).unwrap();
    assert_eq!(copies.len(), 2);
    assert!(copies.iter().all(|copy| copy["same-at"].is_string() && copy["error"].is_null()), "{copies:?}");
}

#[test]
fn a_copy_of_one_thing_is_not_made_one_of_another_by_mistake() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/a", "a");
    sandbox.write("papers/sub/b", "b");
    let pod = pod(&sandbox);
    pull(&pod, &[]);
    let ran = pod.afiles(&["pull", "papers:sub", "copy"]).fails_with(3);
    assert!(
        ran.stderr_text().contains("copy is a copy of ") && ran.stderr_text().contains("--adopt"),
        "{ran}"
    );
    assert!(pod.path("copy/a").exists());
    pod.afiles(&["pull", "papers:sub", "copy", "--adopt"]).succeeds();
    assert!(
        pod.path("copy/b").exists() && pod.path("copy/a").exists(),
        "nothing is known to be a copy any more"
    );
    for protected in [".", ".ssh", "/"] {
        pod.afiles(&["pull", "papers:", protected]).fails_with(1).says("nothing may arrive there");
    }
    pod.afiles(&["pull", "papers:nothing", "new"]).fails_with(1).says("rsync has ended with status 23");
}

#[test]
fn results_go_back_where_the_grant_lets_them() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/build/old", "old");
    let pod = pod(&sandbox);
    fs::create_dir_all(pod.path("out/deep")).unwrap();
    fs::write(pod.path("out/paper.pdf"), "pdf").unwrap();
    fs::write(pod.path("out/deep/log"), "log").unwrap();
    let ran = pod.afiles(&["push", "out", "papers:build"]).succeeds();
    assert!(ran.stdout_text().contains("papers:build: 2 files, 6 B in "), "{ran}");
    let build = sandbox.home().join("papers/build");
    assert_eq!(fs::read_to_string(build.join("deep/log")).unwrap(), "log");
    assert!(build.join("old").exists());
    let ran = pod.afiles(&["push", "out", "papers:build", "--delete", "--json"]).succeeds();
    assert_eq!(told(&ran), [("removed".to_owned(), "old".to_owned())]);
    let refused = pod.afiles(&["push", "out", "papers:"]).fails_with(1);
    assert!(
        refused.stderr_text().contains("rrsync-rs: ") && refused.stderr_text().contains("read-only"),
        "{refused}"
    );

    let history = pod.afiles(&["history", "out", "--json"]).succeeds().stdout_text();
    let history: Vec<Value> = serde_json::from_str(&history).unwrap();
    let deeds: Vec<_> =
        history.iter().map(|it| (it["deed"].as_str().unwrap(), it["remote"].as_str().unwrap())).collect();
    let account = history[0]["remote"].as_str().unwrap().split('/').next().unwrap();
    let at = |path: &str| format!("{account}/papers:build/{path}");
    assert_eq!(
        deeds,
        [("sent", at("paper.pdf").as_str()), ("sent", &at("deep/log")), ("removed-there", &at("old"))]
    );
    assert_eq!(history[1]["sha256"], "836ff184e7b41b1e13cb5fd89fa1de98dbbab99e9d2918913ff43b86a5c7c213");
    assert_eq!(history[0]["who"], "lab.chef");
}

#[test]
fn a_directory_that_nobody_may_write_is_filled_all_the_same() {
    let sandbox = Sandbox::new();
    let locked = sandbox.home().join("papers/locked");
    sandbox.write("papers/locked/a", "a");
    fs::set_permissions(&locked, Permissions::from_mode(0o555)).unwrap();
    let pod = pod(&sandbox);
    pull(&pod, &[]);
    fs::set_permissions(&locked, Permissions::from_mode(0o755)).unwrap();
    sandbox.write("papers/locked/b", "b");
    fs::set_permissions(&locked, Permissions::from_mode(0o555)).unwrap();
    pull(&pod, &[]);
    assert_eq!(everything(&pod.path("copy")), everything(&sandbox.home().join("papers")));
    assert_eq!(pod.path("copy/locked").metadata().unwrap().mode() & 0o7777, 0o555);
    for path in [locked, pod.path("copy/locked")] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_bar_moves_on_a_terminal_and_nowhere_else() {
    let sandbox = Sandbox::new();
    for index in 0..1500 {
        sandbox.write(&format!("papers/d{}/{index}", index % 20), vec![b'x'; 2000]);
    }
    sandbox.write("papers/large", vec![b'x'; 30 << 20]);
    let mut pod = pod(&sandbox);
    let quiet = pod.afiles(&["pull", "papers:", "quiet"]).succeeds();
    assert!(quiet.stderr.is_empty(), "{quiet}");
    pod.with(&["sh", "-c", "exec script -qefc \"$*\" /dev/null", "sh"]);
    let shown = pod.afiles(&["pull", "papers:", "shown"]).succeeds().stdout_text();
    assert!(shown.contains("\r\u{1b}[K[#"), "{shown:?}");
    assert!(
        shown.contains("/1501 files, ") && shown.contains(" of 34.5 MB, ") && shown.contains("/s"),
        "{shown:?}"
    );
    assert!(shown.contains("shown: 1501 files, 34.5 MB in "), "{shown:?}");
    let fetched = pod.afiles(&["fetch", "papers:large", "large"]).succeeds().stdout_text();
    assert!(fetched.contains("0 files, "), "a file that is on its way is counted by its bytes: {fetched:?}");
}

#[test]
fn a_key_for_rsync_alone_is_enough_for_many_new_files() {
    let sandbox = Sandbox::new();
    for number in 0..200 {
        sandbox.write(&format!("papers/d{}/{number}", number % 3), number.to_string());
    }
    let pod = pod(&sandbox);
    sandbox.akeys(&["grant", "set", "lab.chef", "--tools", "rsync"]).succeeds();
    pull(&pod, &[]);
    assert_eq!(everything(&pod.path("copy")), everything(&sandbox.home().join("papers")));
    let ran = pod.afiles(&["status"]).succeeds();
    assert!(ran.stdout_text().contains("not followed; as its source was at 2"), "{ran}");
    // With SFTP as well they are the same, and the way they came is left behind.
    sandbox.akeys(&["grant", "set", "lab.chef", "--tools", "rsync,sftp"]).succeeds();
    pod.afiles(&["pull", "papers:", "other"]).succeeds();
    assert_eq!(everything(&pod.path("other")), everything(&sandbox.home().join("papers")));
    let hidden = |dir: &str| {
        let names = fs::read_dir(pod.path(dir)).unwrap().flatten().map(|entry| entry.file_name());
        names.into_iter().any(|name| name.as_encoded_bytes().starts_with(b".akeys"))
    };
    assert!(!hidden("copy") && !hidden("other"));
}
