//! rclone's sftp backend, which speaks ssh itself: sync and check both ways, with and without asking for a shell.

use std::fs;

use super::{Served, installed, picture, same_files, with};
use crate::support::{Account, Listener, Outcome};

struct Rclone<'s> {
    served: &'s Served,
    listener: Listener<'s>,
}

impl<'s> Rclone<'s> {
    fn new(served: &'s Served) -> Self {
        Self { served, listener: served.sandbox.listen() }
    }

    /// Runs rclone; the remote is called `:sftp:`, as everything about it is said by options.
    #[track_caller]
    fn run(&self, shell_type: &str, args: &[&str]) -> Outcome {
        let mut command = self.served.command("rclone");
        command.env("RCLONE_CONFIG", "/dev/null");
        command.args(["--sftp-host", "127.0.0.1", "--sftp-port", &self.listener.port().to_string()]);
        command.args(["--sftp-user", &Account::current().name, "--sftp-shell-type", shell_type]);
        command.arg("--sftp-key-file").arg(&self.served.key.file);
        command.arg("--sftp-known-hosts-file").arg(self.listener.make_known());
        command.args(["--checkers", "2", "--transfers", "2", "--retries", "1", "--low-level-retries", "1"]);
        with(command, args)
    }
}

#[test]
fn trees_are_synchronised_both_ways_and_checked() {
    if !installed("rclone") {
        return;
    }
    let served = Served::new();
    let rclone = Rclone::new(&served);
    for name in ["escape", "escape-dir"] {
        fs::remove_file(served.shelf("rw").join(name)).unwrap();
    }
    let run = |args: &[&str]| rclone.run("none", args);
    let listed = run(&["lsf", "-R", ":sftp:rw"]).succeeds().stdout_text();
    assert!(listed.contains("sub/deep/y\n") && listed.contains("empty/\n"), "{listed}");
    assert_eq!(run(&["lsf", ":sftp:"]).succeeds().stdout_text(), "ro/\nrw/\nwo/\n");
    let entries = served.crowd("rw/many");
    assert_eq!(run(&["lsf", ":sftp:rw/many"]).succeeds().stdout_text().lines().count(), entries);
    fs::remove_dir_all(served.shelf("rw/many")).unwrap();
    // Down, and again with a change and a removal on the server.
    run(&["sync", ":sftp:rw/sub", "got"]).succeeds();
    same_files(&served.shelf("rw/sub"), &served.local("got"));
    fs::write(served.shelf("rw/sub/f"), "another").unwrap();
    fs::remove_file(served.shelf("rw/sub/deep/y")).unwrap();
    run(&["sync", ":sftp:rw/sub", "got"]).succeeds();
    same_files(&served.shelf("rw/sub"), &served.local("got"));
    run(&["check", ":sftp:rw/sub", "got"]).succeeds();
    // Up, and again.
    run(&["sync", "tree", ":sftp:rw/up", "--create-empty-src-dirs"]).succeeds();
    same_files(&served.local("tree/sub"), &served.shelf("rw/up/sub"));
    fs::write(served.local("tree/sub/f"), "changed").unwrap();
    fs::remove_dir_all(served.local("tree/sub/deep")).unwrap();
    fs::rename(served.local("tree/big"), served.local("tree/moved")).unwrap();
    run(&["sync", "tree", ":sftp:rw/up", "--create-empty-src-dirs"]).succeeds();
    same_files(&served.local("tree/sub"), &served.shelf("rw/up/sub"));
    assert!(!served.shelf("rw/up/big").exists() && served.shelf("rw/up/moved").exists());
    run(&["check", "tree", ":sftp:rw/up", "--download"]).succeeds();
    // The times are as they were, so nothing is sent a second time.
    let again = run(&["sync", "tree", ":sftp:rw/up", "-v"]).succeeds();
    assert!(!again.stderr_text().contains("Copied"), "{again}");
    fs::write(served.shelf("rw/up/moved"), "damaged").unwrap();
    run(&["check", "tree", ":sftp:rw/up"]).fails_with(1).says("1 differences found");
    // Moves, removal, space, single files.
    run(&["moveto", ":sftp:rw/up/moved", ":sftp:rw/up/renamed"]).succeeds();
    run(&["copyto", "tree/in.txt", ":sftp:rw/one"]).succeeds();
    assert_eq!(run(&["cat", ":sftp:rw/one"]).succeeds().stdout_text(), "inside\n");
    run(&["about", ":sftp:rw"]).succeeds();
    run(&["mkdir", ":sftp:rw/made"]).succeeds();
    run(&["rmdir", ":sftp:rw/made"]).succeeds();
    run(&["purge", ":sftp:rw/up"]).succeeds();
    assert!(!served.shelf("rw/up").exists() && !served.shelf("rw/made").exists());
}

#[test]
fn asking_for_a_shell_and_for_hashes_is_refused_and_does_no_harm() {
    if !installed("rclone") {
        return;
    }
    let served = Served::new();
    let rclone = Rclone::new(&served);
    // `unix` runs `md5sum` and the like; an empty type asks for one by running `echo`.
    for shell_type in ["unix", ""] {
        let target = format!(":sftp:rw/up{shell_type}");
        rclone.run(shell_type, &["sync", "tree/sub", &target]).succeeds();
        rclone.run(shell_type, &["check", "tree/sub", &target]).succeeds();
        same_files(&served.local("tree/sub"), &served.shelf(&format!("rw/up{shell_type}")));
    }
    let refused = served.verdicts().into_iter().filter(|(verdict, _)| verdict == "refuse").count();
    assert!(refused > 0, "{:?}", served.verdicts());
}

#[test]
fn access_is_kept_to() {
    if !installed("rclone") {
        return;
    }
    let served = Served::new();
    let rclone = Rclone::new(&served);
    let before = picture(&served.shelf("ro"));
    let run = |args: &[&str]| rclone.run("none", args);
    run(&["copy", ":sftp:ro/sub", "got"]).succeeds();
    same_files(&served.shelf("ro/sub"), &served.local("got"));
    run(&["check", ":sftp:ro/sub", "got"]).succeeds();
    for args in [
        &["copy", "tree/big", ":sftp:ro/new"][..],
        &["sync", "tree", ":sftp:ro/sub"],
        &["deletefile", ":sftp:ro/in.txt"],
        &["purge", ":sftp:ro/sub"],
        &["copy", ":sftp:wo/sub", "stolen"],
        &["copyto", ":sftp:wo/in.txt", "stolen"],
        &["copyto", ":sftp:rw/escape", "stolen"],
        &["copyto", "tree/in.txt", ":sftp:new"],
    ] {
        let outcome = run(args);
        assert!(!outcome.status.success(), "{outcome}");
    }
    assert!(picture(&served.shelf("ro")) == before);
    assert!(!served.local("stolen").is_file());
    // What was put there may be looked at by the session that did it, which is how rclone makes sure.
    run(&["copyto", "tree/big", ":sftp:wo/put", "--no-check-dest"]).succeeds();
    assert_eq!(fs::read(served.shelf("wo/put")).unwrap(), fs::read(served.local("tree/big")).unwrap());
}
