//! restic, which keeps its repository over SFTP: the whole life of one, and one that may only be read.

use std::fs;

use super::{Served, installed, picture, same_files, with};
use crate::support::{Client, Outcome};

#[track_caller]
fn restic(served: &Served, client: &Client<'_>, repository: &str, args: &[&str]) -> Outcome {
    let mut command = served.command("restic");
    command.env("RESTIC_PASSWORD", "secret").env("RESTIC_CACHE_DIR", served.local("cache"));
    command.arg("-o").arg(format!("sftp.command={} host -s sftp", client.ssh_line()));
    command.arg("-r").arg(format!("sftp:host:{repository}"));
    with(command, args)
}

#[test]
fn a_repository_is_made_filled_checked_and_restored() {
    if !installed("restic") {
        return;
    }
    let served = Served::new();
    let client = served.client().hold();
    let run = |args: &[&str]| restic(&served, &client, "rw/backup/repository", args);
    run(&["init"]).succeeds();
    run(&["backup", "tree"]).succeeds();
    fs::write(served.local("tree/sub/f"), "another").unwrap();
    run(&["backup", "tree"]).succeeds();
    run(&["forget", "--keep-last", "1", "--prune"]).succeeds();
    run(&["check", "--read-data"]).succeeds();
    let locks = fs::read_dir(served.shelf("rw/backup/repository/locks")).unwrap();
    assert_eq!(locks.count(), 0, "each was removed");

    // Where it may not write, restic asks again and again for minutes, except when it makes a repository.
    fs::rename(served.shelf("rw/backup"), served.shelf("ro/backup")).unwrap();
    let before = picture(&served.shelf("ro"));
    let run = |args: &[&str]| restic(&served, &client, "ro/backup/repository", args);
    run(&["restore", "latest", "--target", "restored", "--no-lock"]).succeeds();
    same_files(&served.local("restored/tree"), &served.local("tree"));
    for repository in ["ro/new", "wo/backup/../../new", "new"] {
        let outcome = restic(&served, &client, repository, &["init"]);
        assert!(!outcome.status.success(), "{outcome}");
    }
    assert!(picture(&served.shelf("ro")) == before);
}
