//! curl's sftp://, which libssh2 speaks: lists, transfers, resumed ones, and the commands of `--quote`.

use std::fs;

use super::{HARD_NAMES, Served, installed, picture, with};
use crate::support::{Account, Listener, Outcome};

/// Runs curl; a URL is what follows the port.
#[track_caller]
pub(super) fn curl(served: &Served, listener: &Listener<'_>, args: &[&str]) -> Outcome {
    let mut command = served.command("curl");
    listener.make_known();
    command.args(["-sS", "--user", &format!("{}:", Account::current().name), "--key"]).arg(&served.key.file);
    let port = listener.port();
    let url = |arg: &&str| {
        ["sftp", "scp"].iter().fold((*arg).to_owned(), |arg, scheme| {
            arg.replace(&format!("{scheme}:/"), &format!("{scheme}://127.0.0.1:{port}/"))
        })
    };
    let args: Vec<_> = args.iter().map(url).collect();
    with(command, &args)
}

#[test]
fn files_are_listed_and_go_both_ways() {
    if !installed("curl") {
        return;
    }
    let served = Served::new();
    let listener = served.sandbox.listen();
    let run = |args: &[&str]| curl(&served, &listener, args);
    let big = fs::read(served.local("tree/big")).unwrap();
    assert_eq!(
        run(&["-l", "sftp://"]).succeeds().stdout_text().lines().filter(|l| !l.starts_with('.')).count(),
        3
    );
    let listed = run(&["sftp://rw/sub/"]).succeeds().stdout_text();
    assert!(HARD_NAMES.iter().all(|name| listed.contains(name)), "{listed}");
    assert_eq!(run(&["sftp://rw/in.txt", "sftp://ro/sub/f"]).succeeds().stdout_text(), "inside\nf");
    assert_eq!(run(&["sftp://rw/sub/a%20name%20with%20blanks"]).succeeds().stdout_text(), HARD_NAMES[0]);
    assert_eq!(run(&["-r", "2-4", "sftp://rw/in.txt"]).succeeds().stdout_text(), "sid");
    let entries = served.crowd("ro/many");
    let listed = run(&["-l", "sftp://ro/many/"]).succeeds().stdout_text();
    assert_eq!(listed.lines().filter(|line| line.starts_with('0')).count(), entries);
    fs::write(served.local("part"), &big[..500_001]).unwrap();
    fs::write(served.shelf("rw/part"), &big[..600_001]).unwrap();
    run(&["-C", "-", "-o", "part", "sftp://ro/big"]).succeeds();
    run(&["-C", "-", "-T", "tree/big", "sftp://rw/part"]).succeeds();
    run(&["-T", "tree/big", "sftp://rw/new"]).succeeds();
    run(&["-T", "tree/in.txt", "--ftp-create-dirs", "sftp://rw/made/by/curl/in.txt"]).succeeds();
    run(&["-a", "-T", "tree/in.txt", "sftp://rw/in.txt"]).succeeds();
    for path in [served.local("part"), served.shelf("rw/part"), served.shelf("rw/new")] {
        assert!(fs::read(&path).unwrap() == big, "{}", path.display());
    }
    assert_eq!(fs::read(served.shelf("rw/made/by/curl/in.txt")).unwrap(), b"inside\n");
    assert_eq!(fs::read(served.shelf("rw/in.txt")).unwrap(), b"inside\ninside\n");
    let mut quotes = vec!["-l", "sftp://rw/"];
    for quote in [
        "rename /rw/new /rw/renamed",
        "mkdir /rw/d",
        "rmdir /rw/d",
        "chmod 600 /rw/renamed",
        "ln in.txt /rw/soft",
        "rm /rw/soft",
        "pwd",
        "statvfs /rw",
    ] {
        quotes.extend(["-Q", quote]);
    }
    let listed = run(&quotes).succeeds().stdout_text();
    assert!(
        listed.contains("renamed\n") && !listed.contains("soft\n") && !listed.contains("new\n"),
        "{listed}"
    );
}

#[test]
fn access_is_kept_to() {
    if !installed("curl") {
        return;
    }
    let served = Served::new();
    let listener = served.sandbox.listen();
    let before = picture(&served.shelf("ro"));
    for args in [
        &["-T", "tree/in.txt", "sftp://ro/new"][..],
        &["-T", "tree/in.txt", "sftp://ro/in.txt"],
        &["-Q", "rm /ro/in.txt", "sftp://ro/"],
        &["-Q", "rename /ro/in.txt /rw/x", "sftp://ro/"],
        &["sftp://wo/in.txt"],
        &["sftp://wo/"],
        &["sftp://rw/escape"],
        &["sftp://rw/escape-dir/secret"],
        &["--path-as-is", "sftp://../../outside/secret"],
        &["sftp://etc/passwd"],
        &["sftp://~/../outside/secret"],
        &["-T", "tree/in.txt", "sftp://new"],
        &["-T", "tree/in.txt", "sftp://rw/escape"],
    ] {
        let outcome = curl(&served, &listener, args);
        assert!(!outcome.status.success() && outcome.stdout.is_empty(), "{outcome}");
    }
    curl(&served, &listener, &["-T", "tree/big", "sftp://wo/put"]).succeeds();
    assert!(fs::read(served.shelf("wo/put")).unwrap() == fs::read(served.local("tree/big")).unwrap());
    assert!(picture(&served.shelf("ro")) == before);
}
