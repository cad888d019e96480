//! The old protocol of scp, in which the client says on the command line what it wants: `scp -O`, `pscp -scp` and curl's
//! scp://, which libssh2 speaks and quotes for a shell.

use std::fs;

use super::curl::curl;
use super::putty::Putty;
use super::{HARD_NAMES, Served, installed, picture, same_contents, same_files, times_and_modes_are_kept};

/// The workspaces, for a key with the tool `scp` alone.
fn served() -> Served {
    let served = Served::new();
    let file = served.sandbox.home().join(".config/akeys/grants/lab.pod.toml");
    let policy = fs::read_to_string(&file).unwrap().replace("[\"sftp\"]", "[\"scp\"]");
    fs::write(file, policy).unwrap();
    served
}

#[test]
fn scp_copies_files_and_trees_both_ways() {
    let served = served();
    let client = served.client().hold();
    fs::create_dir(served.local("got")).unwrap();
    for args in [
        &["host:rw/big", "host:/rw/in.txt", "host:~/ro/none", "got"][..],
        &["host:rw/sub/na*", "host:rw/[s]ub/f", "host:rw/{link,none}", "got"],
        &["-rp", "host:ro/sub", "got/tree"],
        &["-r", "host:rw/sub", "host:rw/empty", "got"],
        &[r"host:rw/sub/a\ name\ with\ blanks", "got/blanks"],
        &["tree/big", "tree/in.txt", "tree/none", "host:rw/empty"],
        &["tree/in.txt", "host:rw/new"],
        &["tree/in.txt", "host:rw/link"],
        &["-rp", "tree", "host:rw"],
        &["-r", "tree/sub", "tree/empty", "host:rw/empty"],
        &["-p", "tree/sub/f", "host:~/rw/kept"],
        &["tree/sub/a name with blanks", "./tree/sub/-dash", "host:rw/empty/"],
        &["tree/in.txt", "host:'rw/a new name with blanks'"],
        &["-3", "host:ro/big", "host:rw/through"],
        &["-3", "-r", "host:ro/sub", "host:rw/through.sub"],
        &["-C", "-l", "100000", "host:rw/big", "got/slowly"],
    ] {
        client.scp(&[&["-O"], args].concat()).succeeds();
    }
    let (local, shelf) = (|path: &str| served.local(path), |path: &str| served.shelf(path));
    same_contents(&[
        (local("got/big"), shelf("ro/big")),
        (local("got/in.txt"), shelf("ro/in.txt")),
        (local("got/link"), shelf("ro/in.txt")),
        (local("got/blanks"), shelf("ro/sub/a name with blanks")),
        (local("got/slowly"), shelf("ro/big")),
        (shelf("rw/empty/big"), local("tree/big")),
        (shelf("rw/empty/-dash"), local("tree/sub/-dash")),
        (shelf("rw/new"), local("tree/in.txt")),
        (shelf("rw/a new name with blanks"), local("tree/in.txt")),
        (shelf("rw/through"), local("tree/big")),
    ]);
    for (one, other) in [
        (local("got/tree"), shelf("ro/sub")),
        (local("got/sub"), shelf("ro/sub")),
        (shelf("rw/tree/sub"), local("tree/sub")),
        (shelf("rw/empty/sub"), local("tree/sub")),
        (shelf("rw/through.sub"), shelf("ro/sub")),
    ] {
        same_files(&one, &other);
    }
    times_and_modes_are_kept(&[local("got/tree/f"), shelf("rw/tree/sub/f"), shelf("rw/kept")]);
    assert!(served.verdicts().iter().all(|(verdict, rule)| verdict == "allow" && rule == "scp"));
}

#[test]
fn scp_is_refused_what_the_workspace_does_not_allow() {
    let served = served();
    let client = served.client().hold();
    let (before, hidden) = (picture(&served.shelf("ro")), picture(&served.shelf("wo/sub")));
    let secret = format!("host:{}/outside/secret", served.sandbox.home().display());
    for (args, says) in [
        (&["tree/in.txt", "host:ro/new"][..], "read-only"),
        (&["-r", "tree", "host:ro"], "read-only"),
        (&["host:wo/in.txt", "stolen"], "write-only"),
        (&["-r", "host:wo/sub", "stolen"], "write-only"),
        (&["host:wo/*", "stolen"], "write-only"),
        (&["tree/in.txt", "host:new"], "the list of workspaces is fixed"),
        (&["tree/in.txt", "host:"], "the list of workspaces is fixed"),
        (&["-r", "host:", "stolen"], "name a workspace"),
        (&["host:rw/escape", "stolen"], "leads out of the workspace"),
        (&["host:rw/escape-dir/secret", "stolen"], "leads out of the workspace"),
        (&["tree/in.txt", "host:rw/escape"], "leads out of the workspace"),
        (&["tree/in.txt", "host:rw/escape-dir/new"], "leads out of the workspace"),
        (&[secret.as_str(), "stolen"], "No such file"),
        (&["host:/etc/passwd", "stolen"], "No such file"),
        (&["host:~root/.bashrc", "stolen"], "No such file"),
        (&["host:../../../etc/passwd", "stolen"], "No such file"),
        (&["host:rw/sub", "stolen"], "not a regular file"),
        (&["tree/in.txt", "host:rw/x;id"], "no shell runs here"),
        (&["tree/in.txt", "host:rw/$(id)"], "no shell runs here"),
        (&["tree/in.txt", "host:rw/a b"], "ambiguous target"),
    ] {
        let outcome = client.scp(&[&["-O"], args].concat()).says(says);
        assert!(!outcome.status.success(), "{outcome}");
    }
    assert!(!served.local("stolen").exists());
    client.scp(&["-O", "-rp", "tree/sub", "host:wo/new"]).succeeds();
    client.scp(&["-O", "tree/big", "tree/in.txt", "host:wo"]).succeeds();
    same_files(&served.shelf("wo/new"), &served.local("tree/sub"));
    assert!(picture(&served.shelf("ro")) == before && picture(&served.shelf("wo/sub")) == hidden);
    // The same key serves what today's scp and sftp speak; a key for sftp does not serve this.
    client.scp(&["host:ro/in.txt", "modern"]).succeeds();
    let other = Served::new();
    other.client().scp(&["-O", "host:ro/in.txt", "old"]).fails_with(1).says("may not be used with scp");
}

#[test]
fn pscp_copies_both_ways() {
    if !installed("pscp") || !installed("puttygen") {
        return;
    }
    let served = served();
    let putty = Putty::new(&served);
    for args in [
        &["-p", "host:rw/big", "big"][..],
        &["-r", "host:ro/sub", "got"],
        &["tree/big", "tree/in.txt", "host:rw/empty"],
        &["-r", "-p", "tree", "host:rw"],
        &["tree/in.txt", "host:wo/put"],
    ] {
        putty.pscp_by("-scp", args).succeeds();
    }
    same_files(&served.local("got"), &served.shelf("ro/sub"));
    same_files(&served.shelf("rw/tree/sub"), &served.local("tree/sub"));
    assert!(fs::read(served.local("big")).unwrap() == fs::read(served.shelf("rw/empty/big")).unwrap());
    for args in
        [&["tree/in.txt", "host:ro/new"][..], &["host:wo/in.txt", "stolen"], &["host:rw/escape", "stolen"]]
    {
        let outcome = putty.pscp_by("-scp", args);
        assert!(!outcome.status.success(), "{outcome}");
    }
}

#[test]
fn curl_copies_both_ways_and_quotes_every_name() {
    if !installed("curl") {
        return;
    }
    let served = served();
    let listener = served.sandbox.listen();
    let run = |args: &[&str]| curl(&served, &listener, args);
    let known = run(&["scp://rw/in.txt"]);
    if known.stderr_text().contains("not supported") {
        super::say("not tried: this curl has no scp://");
        return;
    }
    assert_eq!(known.succeeds().stdout_text(), "inside\n");
    let names = ["a%20name%20with%20blanks", "-dash", "quo%22te%27s", "na%C3%AFve%20%5B1%5D%20*"];
    for (url, name) in names.iter().zip(HARD_NAMES) {
        assert_eq!(run(&[&format!("scp://rw/sub/{url}")]).succeeds().stdout_text(), name);
        run(&["-T", "tree/in.txt", &format!("scp://rw/empty/{url}")]).succeeds();
        assert_eq!(fs::read(served.shelf("rw/empty").join(name)).unwrap(), b"inside\n", "{name}");
    }
    run(&["-T", "tree/big", "scp://rw/new"]).succeeds();
    assert!(fs::read(served.shelf("rw/new")).unwrap() == fs::read(served.local("tree/big")).unwrap());
    for args in [&["-T", "tree/in.txt", "scp://ro/new"][..], &["scp://wo/in.txt"], &["scp://rw/escape"]] {
        let outcome = run(args);
        assert!(!outcome.status.success() && outcome.stdout.is_empty(), "{outcome}");
    }
}
