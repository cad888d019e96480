//! `afiles`, killed before a system call: every file is its old or its new self, and the next run makes the rest.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::afiles_follow::{papers, same};
use crate::afiles_loops::contents;
use crate::support::{Sandbox, find_program};

/// The two states between which the workspace goes, with something of every kind that is other in the two.
fn put(papers: &Path, state: usize) {
    let letter = ["a", "b"][state];
    for entry in fs::read_dir(papers).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
            .unwrap();
    }
    let write = |path: String, content: String| {
        let path = papers.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write("kept".to_owned(), letter.repeat(5000));
    write(format!("only-{letter}/deep/file"), letter.to_owned());
    // So many that they come over SFTP when they are new.
    for number in 0..80 * state {
        write(format!("many/{number}"), number.to_string());
    }
    // A file in one state, a directory in the other.
    write(["both", "both/inner"][state].to_owned(), letter.to_owned());
    symlink(["kept", "many"][state], papers.join("link")).unwrap();
}

/// Files and symlinks below a directory, by what they have.
fn files(dir: &Path) -> BTreeMap<String, String> {
    contents(dir).into_iter().filter(|(_, content)| !content.is_empty()).collect()
}

#[track_caller]
fn old_or_new(copy: &Path, before: &BTreeMap<String, String>, papers: &Path) {
    let after = files(papers);
    for (path, content) in files(copy) {
        let known = [before, &after].map(|state| state.get(&path));
        assert!(known.contains(&Some(&content)), "{path} is half there: {content}");
    }
}

#[track_caller]
fn nothing_hidden(copy: &Path) {
    let mut names = fs::read_dir(copy).unwrap().flatten().map(|entry| entry.file_name());
    assert!(!names.any(|name| name.as_encoded_bytes().starts_with(b".akeys")));
}

#[test]
fn a_pull_that_is_killed_leaves_every_file_old_or_new_and_the_next_makes_the_rest() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(papers(&sandbox)).unwrap();
    put(&papers(&sandbox), 0);
    let pod = sandbox.pod("chef", &["--workspace", "papers"]);
    pod.afiles(&["pull", "papers:", "copy"]).succeeds();
    let (mut state, mut killed) = (0, 0);
    for call in ["renameat2", "unlinkat", "mkdirat", "symlinkat", "fsetxattr"] {
        for when in [1, 4, 60] {
            let before = files(&pod.path("copy"));
            state = 1 - state;
            put(&papers(&sandbox), state);
            let pull = pod.command(&["pull", "papers:", "copy"]);
            let mut traced = Command::new(find_program("strace"));
            traced.args(["-o", "/dev/null", "-e", &format!("inject={call}:signal=KILL:when={when}")]);
            traced.arg(pull.get_program()).args(pull.get_args()).env_clear();
            traced.envs(pull.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let traced = traced.current_dir(pod.home()).stdout(Stdio::null()).stderr(Stdio::null());
            killed += u32::from(traced.status().unwrap().signal().is_some());

            old_or_new(&pod.path("copy"), &before, &papers(&sandbox));
            pod.afiles(&["pull", "papers:", "copy"]).succeeds();
            same(&pod, &sandbox);
            nothing_hidden(&pod.path("copy"));
        }
    }
    assert!(killed > 7, "{killed}");
    assert!(
        !pod.path(".local/state/akeys/versions").exists(),
        "what is only a copy was kept as if it were not"
    );
}

#[test]
fn a_follow_that_is_killed_leaves_every_file_old_or_new_and_the_next_makes_the_rest() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(papers(&sandbox)).unwrap();
    put(&papers(&sandbox), 0);
    let mut pod = sandbox.pod("chef", &["--workspace", "papers", "--tools", "rsync,sftp,watch"]);
    pod.afiles(&["pull", "papers:", "copy"]).succeeds();
    let (mut state, mut killed) = (0, 0);
    for (call, when) in [
        // Every other time there are many files.
        ("renameat2", 10),
        ("renameat2", 1),
        ("fsetxattr", 20),
        ("mkdirat", 1),
        ("pwrite64", 12),
        ("symlinkat", 1),
        ("fsync", 3),
        ("unlinkat", 2),
    ] {
        let before = files(&pod.path("copy"));
        let inject = format!("inject={call}:signal=KILL:when={when}");
        pod.with(&["strace", "-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
        let mut following = pod.follow(&["papers:", "copy"]);
        pod.with(&[]);
        let lives = following.lives_until("in-sync");
        state = 1 - state;
        put(&papers(&sandbox), state);
        let end = format!("end-{call}-{when}");
        sandbox.write(&format!("papers/{end}"), "end");
        let lives = lives && following.lives_until(&end);
        killed += u32::from(!lives);
        eprintln!("{call} {when}: lives {lives}");
        following.kill();

        old_or_new(&pod.path("copy"), &before, &papers(&sandbox));
        let mut again = pod.follow(&["papers:", "copy"]);
        again.in_sync();
        same(&pod, &sandbox);
        again.kill();
        nothing_hidden(&pod.path("copy"));
    }
    assert!(killed > 4, "{killed}");
}
