//! Something new is brought here: whole, under a name that nobody had, and never outside.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::support::{Pod, Sandbox};

const PAPERS: [&str; 2] = ["--workspace", "papers"];

/// A workspace with something of every kind in it.
fn papers(sandbox: &Sandbox) {
    sandbox.write("papers/draft.tex", "draft\n");
    sandbox.write("papers/empty", "");
    sandbox.write("papers/fig/data.csv", "x,y\n".repeat(100_000));
    sandbox.write("papers/fig/deep/er/x", [0; 5]);
    let names: [&[u8]; 4] = [b"new\nline", b"latin1-\xe9", b"-o ProxyCommand=x", b"\\#012 '\"$(x)"];
    for name in names {
        fs::write(sandbox.home().join("papers").join(OsStr::from_bytes(name)), name).unwrap();
    }
    symlink("draft.tex", sandbox.home().join("papers/link")).unwrap();
    symlink("/etc/passwd", sandbox.home().join("papers/escape")).unwrap();
    symlink("../../secret", sandbox.home().join("papers/fig/climbs")).unwrap();
    let path = sandbox.write("papers/run.sh", "#!/bin/sh\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
    let moment = UNIX_EPOCH + Duration::new(1_600_000_000, 987_654_321);
    File::options().write(true).open(&path).unwrap().set_modified(moment).unwrap();
    fs::set_permissions(sandbox.home().join("papers/fig/deep"), fs::Permissions::from_mode(0o555)).unwrap();
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// What is below a directory: paths with kind, mode, time and content. What is only on its way is not there.
pub(crate) fn everything(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![dir.to_owned()];
    while let Some(path) = directories.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().as_bytes().starts_with(b".akeys-upload-") {
                continue;
            }
            let m = path.symlink_metadata().unwrap();
            let content = if m.is_dir() {
                directories.push(path.clone());
                String::new()
            } else if m.is_symlink() {
                shown(fs::read_link(&path).unwrap().as_os_str().as_bytes())
            } else {
                shown(&fs::read(&path).unwrap())
            };
            let at = if m.is_symlink() { 0 } else { m.mtime() * 1_000_000_000 + m.mtime_nsec() };
            let name = shown(path.strip_prefix(dir).unwrap().as_os_str().as_bytes());
            found.push((name, format!("{:o} {at} {content}", m.mode())));
        }
    }
    found.sort();
    found
}

fn pod(sandbox: &Sandbox) -> Pod<'_> {
    sandbox.pod("chef", &PAPERS)
}

#[test]
fn a_directory_comes_whole_and_as_it_is() {
    let sandbox = Sandbox::new();
    papers(&sandbox);
    let pod = pod(&sandbox);
    let ran = pod.afiles(&["fetch", "papers:", "copy"]).succeeds();
    assert!(ran.stdout_text().starts_with("copy: 10 files, 400.1 kB in "), "{ran}");
    for skipped in ["escape: left out: Permission denied: symlink", "fig/climbs: left out: a symlink"] {
        assert!(
            ran.stderr_text().contains(&format!("{skipped} that leads out"))
                || ran.stderr_text().contains(&format!("{skipped} leads out")),
            "{ran}"
        );
    }
    for escape in ["escape", "fig/climbs"] {
        fs::remove_file(sandbox.home().join("papers").join(escape)).unwrap();
    }
    let source = everything(&sandbox.home().join("papers"));
    let copy = everything(&pod.path("copy"));
    // A symlink that was taken away has changed the time of its directory.
    let untimed = |entries: &[(String, String)]| -> Vec<(String, String)> {
        entries.iter().filter(|(name, _)| name != "fig").cloned().collect()
    };
    assert_eq!(untimed(&copy), untimed(&source));
    let names = fs::read_dir(pod.home()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(
        !names.into_iter().any(|name| name.as_bytes().starts_with(b".akeys")),
        "something was left behind"
    );

    let again = pod.afiles(&["fetch", "papers:", "copy"]).fails_with(3);
    assert!(again.stderr_text().contains("copy is there already"), "{again}");
    pod.afiles(&["fetch", "papers:fig/data.csv", "data"]).succeeds();
    assert_eq!(fs::read(pod.path("data")).unwrap().len(), 400_000);
    assert_eq!(sandbox.sshd_log_text().matches("Accepted publickey").count(), 1, "one held connection");
}

#[test]
fn each_file_is_told_of_with_its_sum() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/a", "abc");
    let pod = pod(&sandbox);
    let ran = pod.afiles(&["fetch", "--json", "papers:", "copy"]).succeeds();
    let event: Value = serde_json::from_str(ran.stdout_text().trim_end()).unwrap();
    assert_eq!(
        (&event["type"], &event["path"], &event["bytes"]),
        (&"arrived".into(), &"a".into(), &3.into())
    );
    assert_eq!(event["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn what_is_not_there_or_not_granted_leaves_nothing() {
    let sandbox = Sandbox::new();
    papers(&sandbox);
    sandbox.write("secret/diary", "secret");
    let pod = pod(&sandbox);
    fs::create_dir(pod.path("here")).unwrap();
    for (source, code, says) in [
        ("papers:nothing", 4, "there is no "),
        ("papers:fig/../x", 2, "without '..'"),
        ("secret:", 4, "no account that this pod knows has secret:"),
        ("papers:escape", 1, "papers:escape: Permission denied: symlink leads out"),
        ("papers:fig/climbs", 1, "is a symlink to ../../secret"),
        ("papers:escape/x", 1, "papers:escape/x: "),
    ] {
        let ran = pod.afiles(&["fetch", source, "here/new"]).fails_with(code).says(says);
        assert!(ran.stdout.is_empty(), "{ran}");
    }
    assert_eq!(fs::read_dir(pod.path("here")).unwrap().count(), 0);
    pod.afiles(&["fetch", "papers:", "nowhere/new"]).fails_with(4);
    for protected in [".ssh/x", ".config/akeys/grants/x", ".local/bin/x"] {
        fs::create_dir_all(pod.path(protected).parent().unwrap()).unwrap();
        pod.afiles(&["fetch", "papers:", protected]).fails_with(1).says("nothing may arrive there");
    }
}

#[test]
fn a_large_file_with_holes_keeps_them() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("papers/image", "begin");
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(40 << 20).unwrap();
    file.write_all_at(b"middle", 20 << 20).unwrap();
    file.write_all_at(b"end", (40 << 20) - 3).unwrap();
    let pod = pod(&sandbox);
    pod.afiles(&["fetch", "papers:image", "image"]).succeeds();
    let copy = pod.path("image");
    assert!(fs::read(&copy).unwrap() == fs::read(&path).unwrap(), "the content differs");
    assert!(copy.metadata().unwrap().blocks() * 512 < 1 << 20, "{:?}", copy.metadata().unwrap());
}

#[test]
fn ls_shows_workspaces_and_what_is_in_them() {
    let sandbox = Sandbox::new();
    papers(&sandbox);
    let pod = pod(&sandbox);
    let all = pod.afiles(&["ls"]).succeeds().stdout_text();
    assert!(all.ends_with("@laptop/papers: (federation lab)\n"), "{all}");
    let text = pod.afiles(&["ls", "papers:"]).succeeds().stdout_text();
    let names: Vec<_> = text.lines().map(|line| line.splitn(4, ' ').last().unwrap().trim_start()).collect();
    assert!(text.contains("-rwxr-x---           10 2020-09-13T12:26:40Z run.sh\n"), "{text}");
    assert!(text.contains("new\\nline") && text.contains("latin1-\\xe9"), "{names:?}");
    let json = pod.afiles(&["ls", "--json", "papers:fig"]).succeeds().stdout_text();
    let json: Vec<Value> = serde_json::from_str(&json).unwrap();
    let kinds: Vec<_> = json.iter().map(|name| (name["name"].as_str(), name["kind"].as_str())).collect();
    assert_eq!(
        kinds,
        [
            (Some("climbs"), Some("symlink")),
            (Some("data.csv"), Some("file")),
            (Some("deep"), Some("directory"))
        ]
    );
    pod.afiles(&["ls", "papers:draft.tex"]).fails_with(4);
}

#[test]
fn another_host_key_is_refused_with_both_fingerprints() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/a", "abc");
    let pod = pod(&sandbox);
    let known = pod.path(".ssh/akeys/lab.known_hosts");
    let right = fs::read_to_string(&known).unwrap();
    let other = sandbox.new_key("other").public;
    let other: Vec<_> = other.split(' ').collect();
    for (pinned, shows) in [(format!("laptop {} {}\n", other[0], other[1]), 2), (String::new(), 1)] {
        fs::write(&known, pinned).unwrap();
        let ran =
            pod.afiles(&["ls", "papers:"]).fails_with(1).says("laptop is not the host that is pinned\n");
        let text = ran.stderr_text();
        assert_eq!(text.matches("SHA256:").count(), shows, "{text}");
        assert!(text.contains("\n  pinned: ") && text.contains("\n  shown:  SHA256:"), "{text}");
        assert!(text.contains("hint: somebody may be in between"), "{text}");
    }
    fs::write(&known, right).unwrap();
    pod.afiles(&["ls", "papers:"]).succeeds();
}
