//! scp(1) as it is today, over SFTP: both directions, through this machine, trees, globs and names with blanks.

use std::fs;

use super::{HARD_NAMES, Served, picture, same_contents, same_files, times_and_modes_are_kept};

#[test]
fn files_and_trees_go_both_ways() {
    let served = Served::new();
    let client = served.client().hold();
    fs::create_dir(served.local("got")).unwrap();
    for args in [
        &["host:rw/big", "host:/rw/in.txt", "host:~/ro/none", "got"][..],
        &["host:rw/sub/na*", "host:rw/[s]ub/f", "got"],
        &["-rp", "host:ro/sub", "got/tree"],
        &["-r", "host:rw/sub", "host:rw/empty", "got"],
        &["host:rw/sub/a name with blanks", "got/blanks"],
        &["host:rw/sub/quo\"te's", "got/quotes"],
        &["tree/big", "tree/in.txt", "tree/none", "host:rw/empty"],
        &["tree/in.txt", "host:rw/new"],
        &["tree/in.txt", "host:rw/link"],
        &["-rp", "tree", "host:rw"],
        &["-r", "tree/sub", "tree/empty", "host:rw/empty"],
        &["-p", "tree/sub/f", "host:~/rw/kept"],
        &["tree/sub/a name with blanks", "./tree/sub/-dash", "host:rw/empty/"],
        &["tree/in.txt", "host:rw/a new name with blanks"],
        &["host:ro/big", "host:rw/by-default"],
        &["-3", "host:ro/big", "host:rw/through"],
        &["-3", "-r", "host:ro/sub", "host:rw/through.sub"],
        &["-C", "-l", "100000", "host:rw/big", "got/slowly"],
        &["-X", "nrequests=1", "-X", "buffer=4096", "host:rw/in.txt", "got/in.small"],
        &["-X", "nrequests=500", "-X", "buffer=261120", "tree/big", "host:rw/big.large"],
    ] {
        client.scp(args).succeeds();
    }
    let (local, shelf) = (|path: &str| served.local(path), |path: &str| served.shelf(path));
    same_contents(&[
        (local("got/big"), shelf("ro/big")),
        (local("got/in.txt"), shelf("ro/in.txt")),
        (local("got/blanks"), shelf("ro/sub/a name with blanks")),
        (local("got/quotes"), shelf("ro/sub/quo\"te's")),
        (local("got/slowly"), shelf("ro/big")),
        (local("got/in.small"), shelf("ro/in.txt")),
        (shelf("rw/empty/big"), local("tree/big")),
        (shelf("rw/empty/-dash"), local("tree/sub/-dash")),
        (shelf("rw/new"), local("tree/in.txt")),
        (shelf("rw/a new name with blanks"), local("tree/in.txt")),
        (shelf("rw/by-default"), local("tree/big")),
        (shelf("rw/through"), local("tree/big")),
        (shelf("rw/big.large"), local("tree/big")),
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
    assert!(
        HARD_NAMES.iter().filter(|name| name.starts_with("na")).all(|name| local("got").join(name).exists())
    );
}

#[test]
fn what_the_workspace_does_not_allow_is_refused() {
    let served = Served::new();
    let client = served.client().hold();
    let before = picture(&served.shelf("ro"));
    let hidden = picture(&served.shelf("wo/sub"));
    let secret = format!("host:{}/outside/secret", served.sandbox.home().display());
    for args in [
        &["tree/in.txt", "host:ro/new"][..],
        &["tree/in.txt", "host:ro/in.txt"],
        &["-r", "tree", "host:ro"],
        &["host:wo/in.txt", "stolen"],
        &["-r", "host:wo/sub", "stolen"],
        &["host:wo/*", "stolen"],
        &["-3", "host:wo/in.txt", "host:rw/stolen"],
        &["tree/in.txt", "host:new"],
        &["tree/in.txt", "host:"],
        &["host:rw/escape", "stolen"],
        &["host:rw/escape-dir/secret", "stolen"],
        &["tree/in.txt", "host:rw/escape"],
        &["tree/in.txt", "host:rw/escape-dir/new"],
        &[secret.as_str(), "stolen"],
        &["host:/etc/passwd", "stolen"],
        &["host:~root/.bashrc", "stolen"],
        &["host:../../../etc/passwd", "stolen"],
    ] {
        let outcome = client.scp(args);
        assert!(!outcome.status.success(), "{outcome}");
    }
    assert!(fs::metadata(served.local("stolen")).map_or(true, |stolen| stolen.is_dir() || stolen.len() == 0));
    for args in [
        &["tree/big", "tree/in.txt", "host:wo"][..],
        &["-rp", "tree/sub", "host:wo/new"],
        &["tree/in.txt", "host:wo/link"],
        &["host:ro/in.txt", "host:wo/copied"],
    ] {
        client.scp(args).succeeds();
    }
    same_files(&served.shelf("wo/new"), &served.local("tree/sub"));
    assert!(picture(&served.shelf("ro")) == before && picture(&served.shelf("wo/sub")) == hidden);
}
