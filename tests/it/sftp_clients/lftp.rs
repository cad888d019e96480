//! lftp, which runs an ssh of its own choice: mirror both ways, resumed transfers, and what it says when refused.

use std::fs;

use super::{Served, installed, picture, same_files, with};
use crate::support::{Account, Client, Outcome};

/// Runs a script of lftp's commands, each of which must go well.
#[track_caller]
fn lftp(served: &Served, client: &Client<'_>, script: &str) -> Outcome {
    let script = format!(
        "set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 30; set xfer:clobber yes;\n\
         set sftp:connect-program \"{} -a -x\";\n\
         open sftp://{}:@host/;\n{script}\n",
        client.ssh_line(),
        Account::current().name,
    );
    with(served.command("lftp"), &["-c", &script])
}

#[test]
fn trees_are_mirrored_both_ways() {
    if !installed("lftp") {
        return;
    }
    let served = Served::new();
    let client = served.client().hold();
    fs::write(served.local("part"), &fs::read(served.local("tree/big")).unwrap()[..600_000]).unwrap();
    fs::copy(served.local("part"), served.shelf("rw/part")).unwrap();
    lftp(&served, &client, "mirror ro/sub got\nmirror -R tree/sub rw/up\ncls -l rw\nfind rw/sub\ndu rw/sub")
        .succeeds();
    same_files(&served.shelf("ro/sub"), &served.local("got"));
    same_files(&served.local("tree/sub"), &served.shelf("rw/up"));
    let entries = served.crowd("rw/many");
    let listed = lftp(&served, &client, "cls -1 rw/many").succeeds().stdout_text();
    assert_eq!(listed.lines().count(), entries);
    fs::write(served.shelf("rw/sub/f"), "another").unwrap();
    fs::remove_file(served.local("tree/sub/deep/y")).unwrap();
    lftp(
        &served,
        &client,
        "mirror --delete rw/sub got\nmirror -R --delete --parallel=3 tree/sub rw/up\n\
         get -c ro/big -o part\ncd rw\nput -c tree/big -o part\nmput -d tree/in.txt\nmget -O got i*.txt\n\
         pget -n 3 big -o pieces\nmkdir -p d/e\nrmdir d/e\nmv one d/../two || mv in.txt d/moved\nchmod 600 d/moved\n\
         rm -r d\nln -s sub/f soft\ncat sub/f",
    )
    .succeeds();
    assert_eq!(fs::read(served.local("got/f")).unwrap(), b"another");
    same_files(&served.local("tree/sub"), &served.shelf("rw/up"));
    for path in [served.local("part"), served.shelf("rw/part"), served.local("pieces")] {
        assert!(
            fs::read(&path).unwrap() == fs::read(served.local("tree/big")).unwrap(),
            "{}",
            path.display()
        );
    }
    assert!(!served.shelf("rw/d").exists() && !served.shelf("rw/in.txt").exists());
}

#[test]
fn access_is_kept_to() {
    if !installed("lftp") {
        return;
    }
    let served = Served::new();
    let client = served.client().hold();
    let before = picture(&served.shelf("ro"));
    for script in [
        "put tree/in.txt -o ro/new",
        "mirror -R tree ro/sub",
        "rm ro/in.txt",
        "mkdir ro/d",
        "mv ro/in.txt ro/x",
        "chmod 777 ro/in.txt",
        "get wo/in.txt -o stolen",
        "mirror wo/sub stolen.sub",
        "get rw/escape -o stolen",
        "get rw/escape-dir/secret -o stolen",
        "get /etc/passwd -o stolen",
        "put tree/in.txt -o new",
        "put tree/in.txt -o rw/escape",
        "ln -s /etc/passwd rw/soft",
    ] {
        let outcome = lftp(&served, &client, script);
        assert!(!outcome.status.success(), "{outcome}");
    }
    assert!(picture(&served.shelf("ro")) == before);
    assert!(fs::metadata(served.local("stolen")).map_or(true, |stolen| stolen.len() == 0));
    lftp(&served, &client, "put tree/big -o wo/put").succeeds();
    assert!(fs::read(served.shelf("wo/put")).unwrap() == fs::read(served.local("tree/big")).unwrap());
}
