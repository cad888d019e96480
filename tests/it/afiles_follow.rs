//! A copy follows its source: every change arrives, whole, and nothing is moved that need not be.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use crate::afiles_fetch::everything;
use crate::support::{Following, Pod, Sandbox};

fn pod(sandbox: &Sandbox) -> Pod<'_> {
    sandbox.pod("chef", &["--workspace", "papers", "--writable", "papers/build"])
}

pub(crate) fn papers(sandbox: &Sandbox) -> std::path::PathBuf {
    sandbox.home().join("papers")
}

/// Everything below a directory, but for the times of directories, which a live copy does not follow.
fn untimed(dir: &Path) -> Vec<(String, String)> {
    let without = |(name, what): (String, String)| {
        let parts: Vec<&str> = what.splitn(3, ' ').collect();
        let directory = parts[0].starts_with("40");
        (name, if directory { parts[0].to_owned() } else { what })
    };
    everything(dir).into_iter().map(without).collect()
}

/// The copy is the same as its source.
#[track_caller]
pub(crate) fn same(pod: &Pod<'_>, sandbox: &Sandbox) {
    assert_eq!(untimed(&pod.path("copy")), untimed(&papers(sandbox)));
}

/// Waits for the news that `path` has come: from there, or, where it had settled under another name before, by a move.
#[track_caller]
pub(crate) fn arrived(following: &mut Following, path: &str) -> Vec<(String, String)> {
    following.until(|kind, what| matches!(kind, "arrived" | "moved") && what == path)
}

#[test]
fn every_kind_of_change_arrives() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/draft", "one");
    sandbox.write("papers/dir/sub/file", "file");
    sandbox.write("papers/dir/other", "other");
    let pod = pod(&sandbox);
    let mut following = pod.follow(&["papers:", "copy"]);
    following.in_sync();
    same(&pod, &sandbox);

    sandbox.write("papers/draft", "two");
    arrived(&mut following, "draft");
    same(&pod, &sandbox);

    sandbox.write("papers/new/deep/\u{e9} and\nmore", "new");
    arrived(&mut following, "new/deep/\u{e9} and\nmore");
    symlink("draft", papers(&sandbox).join("link")).unwrap();
    arrived(&mut following, "link");
    same(&pod, &sandbox);

    // A moved directory moves here, and nothing of it travels.
    let inode = pod.path("copy/dir/sub/file").metadata().unwrap().ino();
    fs::rename(papers(&sandbox).join("dir"), papers(&sandbox).join("moved")).unwrap();
    let told = following.until(|kind, what| kind == "moved" && what == "moved");
    assert!(!told.iter().any(|(kind, _)| kind == "arrived"), "{told:?}");
    same(&pod, &sandbox);
    assert_eq!(pod.path("copy/moved/sub/file").metadata().unwrap().ino(), inode);

    fs::set_permissions(papers(&sandbox).join("draft"), Permissions::from_mode(0o600)).unwrap();
    let told = following.until(|kind, what| kind == "attributes" && what == "draft");
    assert!(!told.iter().any(|(kind, _)| kind == "arrived"), "{told:?}");
    same(&pod, &sandbox);

    fs::remove_dir_all(papers(&sandbox).join("moved")).unwrap();
    following.until(|kind, what| kind == "removed" && what == "moved");
    same(&pod, &sandbox);

    // As most editors save: a new file takes the place of the old one.
    fs::write(papers(&sandbox).join(".draft.swp"), "three").unwrap();
    fs::rename(papers(&sandbox).join(".draft.swp"), papers(&sandbox).join("draft")).unwrap();
    arrived(&mut following, "draft");
    same(&pod, &sandbox);

    // Nothing of all that was only here, so nothing had to be kept.
    assert!(!pod.path(".local/state/akeys/versions").exists());
}

#[test]
fn a_file_with_two_names_is_two_files_that_change_together() {
    let sandbox = Sandbox::new();
    let one = sandbox.write("papers/one", "before");
    fs::create_dir(papers(&sandbox).join("dir")).unwrap();
    fs::hard_link(&one, papers(&sandbox).join("dir/other")).unwrap();
    let pod = pod(&sandbox);
    let mut following = pod.follow(&["papers:", "copy"]);
    following.in_sync();
    same(&pod, &sandbox);
    assert_eq!(pod.path("copy/one").metadata().unwrap().nlink(), 1);
    fs::write(&one, "after").unwrap();
    let both = |told: &[(String, String)]| {
        ["one", "dir/other"].iter().all(|name| told.iter().any(|(_, what)| what == name))
    };
    let mut told = Vec::new();
    while !both(&told) {
        told.extend(following.until(|kind, _| kind == "arrived"));
    }
    same(&pod, &sandbox);
    fs::hard_link(&one, papers(&sandbox).join("third")).unwrap();
    arrived(&mut following, "third");
    fs::remove_file(&one).unwrap();
    following.until(|kind, what| kind == "removed" && what == "one");
    same(&pod, &sandbox);
}

#[test]
fn a_large_file_comes_by_rsync_with_what_is_here_as_its_basis() {
    let sandbox = Sandbox::new();
    let mut content = vec![7_u8; 6 << 20];
    sandbox.write("papers/large", &content);
    let pod = pod(&sandbox);
    let mut following = pod.follow(&["papers:", "copy"]);
    following.in_sync();
    content[3 << 20] = 8;
    sandbox.write("papers/large", &content);
    arrived(&mut following, "large");
    assert!(fs::read(pod.path("copy/large")).unwrap() == content);
    sandbox.write("papers/larger", vec![9; 5 << 20]);
    arrived(&mut following, "larger");
    same(&pod, &sandbox);
}

#[test]
fn thousands_of_files_at_once_all_arrive() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/first", "first");
    let pod = pod(&sandbox);
    let mut following = pod.follow(&["papers:", "copy"]);
    following.in_sync();
    for index in 0..2000 {
        sandbox.write(&format!("papers/d{}/{index}", index % 50), index.to_string());
    }
    let mut left = 2000;
    while left > 0 {
        let told = following.until(|kind, _| kind == "arrived");
        left -= told.iter().filter(|(kind, _)| kind == "arrived").count();
    }
    same(&pod, &sandbox);
}

#[test]
fn results_go_back_and_are_no_news() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/draft", "draft");
    sandbox.write("papers/build/old", "from before");
    let pod = pod(&sandbox);
    let command = "mkdir -p build && tr a-z A-Z < draft > build/new && cp build/new build/pdf";
    let words = ["papers:", "copy", "--on-change", command, "--push", "build/=papers:build"];
    let mut following = pod.follow(&words);
    following.until(|kind, what| kind == "sent" && what == "pdf");
    let build = |name: &str| fs::read_to_string(papers(&sandbox).join("build").join(name)).ok();
    following.until(|kind, what| kind == "state" && what == "in-sync");
    assert_eq!((build("new"), build("pdf")), (Some("DRAFT".to_owned()), Some("DRAFT".to_owned())));
    assert_eq!(build("old").as_deref(), Some("from before"), "only what this pod has sent is removed");
    assert!(!pod.path("copy/build/old").exists());

    sandbox.write("papers/draft", "more");
    let told = following.until(|kind, what| kind == "sent" && what == "pdf");
    assert!(told.contains(&("arrived".to_owned(), "draft".to_owned())), "{told:?}");
    // What was sent comes back as news of it, and is no news.
    assert!(!told.iter().any(|(kind, what)| kind == "arrived" && what.starts_with("build")), "{told:?}");

    fs::create_dir(pod.path("copy/build/deep")).unwrap();
    fs::write(pod.path("copy/build/deep/log"), "log").unwrap();
    following.until(|kind, what| kind == "sent" && what == "deep/log");
    fs::remove_dir_all(pod.path("copy/build/deep")).unwrap();
    following.until(|kind, what| kind == "removed" && what == "deep");
    assert!(!papers(&sandbox).join("build/deep").exists());

    let status = pod.afiles(&["status", "--json"]).succeeds().stdout_text();
    let status: Vec<serde_json::Value> = serde_json::from_str(&status).unwrap();
    assert_eq!(status.len(), 2, "{status:?}");
    assert_eq!(status.iter().filter(|copy| copy["sent"] == true).count(), 1, "{status:?}");
    let text = pod.afiles(&["status"]).succeeds().stdout_text();
    assert_eq!((text.matches(" <- ").count(), text.matches(" -> ").count()), (1, 1), "{text}");
    assert!(status.iter().all(|copy| copy["error"].is_null()), "{status:?}");
}

#[test]
fn the_configuration_says_what_is_followed() {
    let sandbox = Sandbox::new();
    sandbox.write("papers/sub/a", "a");
    let pod = pod(&sandbox);
    pod.afiles(&["follow"]).fails_with(4).says("nothing is named to be followed");
    let config = pod.path(".config/akeys/afiles.toml");
    fs::write(&config, "[follow.one]\nsource = \"papers:\"\ntarget = \"~/one\"\nsorce = 1\n").unwrap();
    fs::set_permissions(&config, Permissions::from_mode(0o600)).unwrap();
    pod.afiles(&["follow"]).fails_with(2).says("afiles.toml:4:1: unknown field `sorce`");
    let text = "[follow.one]\nsource = \"papers:\"\ntarget = \"~/one\"\n\
                [follow.two]\nsource = \"papers:sub\"\ntarget = \"~/two\"\n";
    fs::write(&config, text).unwrap();
    pod.afiles(&["follow", "--only", "three"]).fails_with(4).says("has no [follow.three]");
    let mut following = pod.follow(&[] as &[&str]);
    following.in_sync();
    following.in_sync();
    sandbox.write("papers/sub/b", "b");
    let mut places =
        [following.until(|_, what| what.ends_with('b')), following.until(|_, what| what.ends_with('b'))]
            .map(|told| told.last().unwrap().1.clone());
    places.sort();
    assert_eq!(places, ["b", "sub/b"]);
    assert_eq!(fs::read_to_string(pod.path("two/b")).unwrap(), "b");
    pod.afiles(&["follow", "--only", "two"]).fails_with(3).says("another afiles is at work in ");
    let text = pod.afiles(&["status"]).succeeds().stdout_text();
    assert_eq!(text.matches("  in sync; ").count(), 2, "{text}");
}
