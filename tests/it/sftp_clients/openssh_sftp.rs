//! sftp(1): each of its commands where it is allowed, and what it says where it is not.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::{HARD_NAMES, LONG_AGO, SECRET, Served, noise, picture, same_files};
use crate::support::{Client, Run, run};

/// Runs a batch on a connection that is held, after changing to `start`; returns whether all went well, and what was
/// said.
fn batch(client: &Client<'_>, start: &str, options: &[&str], lines: &str) -> (bool, String) {
    let stdin = format!("cd {start}\n{lines}\n");
    let mut command = client.command("sftp");
    command.args(options).args(["-b", "-", "host"]);
    let outcome = run(&mut command, &Run { stdin: stdin.as_bytes(), ..Run::default() });
    (outcome.status.success(), outcome.stdout_text() + &outcome.stderr_text())
}

#[track_caller]
fn does(client: &Client<'_>, start: &str, lines: &str, says: &[&str]) {
    let (ok, text) = batch(client, start, &[], lines);
    assert!(ok, "{lines}\n{text}");
    for part in says {
        assert!(text.contains(part), "{lines}\nshould have said {part:?}\n{text}");
    }
}

#[test]
fn every_command_works_in_a_writable_workspace() {
    let served = Served::new();
    let client = served.client().hold();
    fs::write(served.local("part"), &noise(1_300_000)[..500_000]).unwrap();
    fs::write(served.shelf("rw/part"), &noise(1_300_000)[..700_001]).unwrap();
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let (uid, gid) = (uid.to_string(), gid.to_string());
    // A symlink has no descriptor to change its owner on, and by name the confined server has no call for it.
    let owned = format!(
        "chown {uid} in.txt\nchgrp {gid} in.txt\nchown -h {uid} in.txt\n-chown -h {uid} link\nls -ln in.txt"
    );
    for (lines, says) in [
        ("version", &["SFTP protocol version 3"][..]),
        (
            "pwd\ncd\npwd\ncd rw/sub\npwd\ncd ..\npwd\ncd /..\npwd",
            &[
                "Remote working directory: /rw\n",
                "Remote working directory: /\n",
                "Remote working directory: /rw/sub\n",
            ],
        ),
        ("ls", &["big", "empty", "escape", "in.txt", "sub"]),
        ("ls -1 sub", &["sub/-dash\n", "sub/a name with blanks\n", "sub/deep\n", "sub/naïve [1] *\n"]),
        ("ls -la", &[" .\n", " ..\n", "lrwxrwxrwx", " 1300000 ", " in.txt\n"]),
        ("ls -lh big", &["1.2M", "rw-r--r--"]),
        ("ls -ln sub/f", &["-rw-r-----", " Sep  9  2001 sub/f\n"]),
        ("ls -1S\nls -1t\nls -1r\nls -1f\nls -lS sub\nls -lt", &["big\n", "sub\n"]),
        ("ls -1 sub/na*\nls -1 */f\nls -1 i?.txt\nls -1 [b]ig", &["sub/na", "sub/f\n", "in.txt\n", "big\n"]),
        ("ls -1 /", &["/ro\n", "/rw\n", "/wo\n"]),
        ("df\ndf -h\ndf -i sub\ndf -hi /ro", &["Avail", "%Capacity", "Inodes"]),
        (
            "lcd tree\nlpwd\nlls -a\nlmkdir new\nlcd ..\n!true\nlumask 022\nprogress",
            &["/client/tree", "in.txt"],
        ),
        ("get big\nget sub/f f.back\nget -p sub/f f.kept\nget -f in.txt synced\nget none", &[]),
        ("get -r sub sub.back\nget -Rp sub sub.kept\nget -r . whole", &[]),
        ("get sub/na* glob.back\nget \"sub/a name with blanks\"\nget ./sub/-dash", &[]),
        ("get -a part part\nreget big part2\n", &[]),
        ("put tree/big big.new\nput -p tree/sub/f f.kept\nput -f tree/in.txt synced\nput tree/none", &[]),
        ("put -r tree up\nput -Rp tree up.kept\nmkdir globbed\nput tree/*.txt globbed", &[]),
        (
            "put \"tree/sub/a name with blanks\"\nput tree/sub/-dash ./-dash\nput \"tree/sub/quo\\\"te's\"",
            &[],
        ),
        ("put tree/in.txt link\nput tree/in.txt big.new", &[]),
        ("reput tree/big part\nput tree/none part2\nput -a tree/big part2", &[]),
        ("rename synced renamed\nrename -l f.kept f.moved\nrename renamed big.new", &[]),
        ("ln in.txt hard\nln -s in.txt soft\nsymlink sub/f soft2\nls -l", &[" soft\n", " hard\n"]),
        ("cp big big.copy\ncopy in.txt in.copy", &[]),
        ("chmod 600 in.copy\nchmod 4755 big.copy\nls -l in.copy", &["-rw-------"]),
        ("-chmod -h 600 soft", &["Failure"]),
        (&owned, &[&uid, &gid, "remote lsetstat \"/rw/link\": Permission denied"]),
        ("mkdir d\nmkdir d/e\nrmdir d/e\nrmdir d\nrm hard\nrm soft*\nrm globbed/*\nrmdir globbed", &[]),
        ("help\n?", &["Available commands"]),
        ("bye\nget nothing", &[]),
    ] {
        does(&client, "rw", lines, says);
    }

    let entries = served.crowd("rw/many");
    let (_, listed) = batch(&client, "rw", &[], "ls -1 many");
    assert_eq!(listed.matches("many/0").count(), entries);

    let (local, shelf) = (|path: &str| served.local(path), |path: &str| served.shelf(path));
    let read = |path| fs::read(path).unwrap();
    for (one, other) in [
        (local("big"), shelf("rw/big")),
        (local("part2"), shelf("rw/big")),
        (shelf("rw/part2"), shelf("rw/big")),
        (local("f.back"), shelf("rw/sub/f")),
        (local("synced"), shelf("rw/in.txt")),
        (shelf("rw/part"), shelf("rw/big")),
        (shelf("rw/big.copy"), shelf("rw/big")),
        (shelf("rw/in.copy"), shelf("rw/in.txt")),
        (shelf("rw/big.new"), shelf("rw/in.txt")),
        (shelf("rw/quo\"te's"), shelf("rw/sub/quo\"te's")),
    ] {
        assert!(read(one.clone()) == read(other.clone()), "{} {}", one.display(), other.display());
    }
    assert!(read(local("part")) == noise(1_300_000)[..700_001]);
    for (one, other) in [
        (local("sub.back"), shelf("rw/sub")),
        (local("sub.kept"), shelf("rw/sub")),
        (shelf("rw/up"), local("tree")),
        (shelf("rw/up.kept"), local("tree")),
        (local("whole/sub"), shelf("rw/sub")),
    ] {
        same_files(&one, &other);
    }
    for kept in [local("f.kept"), local("sub.kept/f"), shelf("rw/f.moved"), shelf("rw/up.kept/sub/f")] {
        let metadata = fs::metadata(&kept).unwrap();
        assert_eq!(
            (metadata.mtime().cast_unsigned(), metadata.mode() & 0o777),
            (LONG_AGO, 0o640),
            "{kept:?}"
        );
    }
    assert_eq!(
        fs::metadata(shelf("rw/big.copy")).unwrap().permissions().mode() & 0o7777,
        0o755,
        "setuid is cut"
    );
    assert!(fs::symlink_metadata(shelf("rw/link")).unwrap().is_symlink(), "put follows it");
    for gone in ["rw/hard", "rw/soft", "rw/d", "rw/globbed", "rw/renamed"] {
        assert!(!shelf(gone).exists(), "{gone}");
    }
}

#[test]
fn requests_of_any_size_and_number_at_once_give_the_same_file() {
    let served = Served::new();
    let client = served.client().hold();
    for options in [
        &["-R", "1"][..],
        &["-R", "256"],
        &["-B", "512"],
        &["-B", "261120", "-R", "512"],
        &["-p"],
        &["-f"],
        &["-C"],
    ] {
        let (ok, text) = batch(&client, "rw", options, "get big got\nput got back\n");
        assert!(ok, "{options:?} {text}");
        assert!(fs::read(served.shelf("rw/back")).unwrap() == noise(1_300_000), "{options:?}");
        fs::remove_file(served.local("got")).unwrap();
        fs::remove_file(served.shelf("rw/back")).unwrap();
    }
}

#[test]
fn reading_is_all_that_a_read_only_workspace_allows() {
    let served = Served::new();
    let client = served.client().hold();
    let before = picture(&served.shelf("ro"));
    does(&client, "ro", "ls -la\ndf\nget -r . got\nget -p sub/f\nget link\ncd sub\nls -l f", &["-rw-r-----"]);
    same_files(&served.local("got/sub"), &served.shelf("ro/sub"));
    assert_eq!(fs::read(served.local("link")).unwrap(), b"inside\n");
    fs::write(served.shelf("rw/short"), "i").unwrap();
    for line in [
        "put tree/in.txt",
        "put tree/in.txt in.txt",
        "put -r tree",
        "reput tree/big in.txt",
        "rename in.txt x",
        "rename in.txt /rw/x",
        "rename /rw/in.txt x",
        "ln in.txt x",
        "ln in.txt /rw/x",
        "ln -s in.txt x",
        "rm in.txt",
        "rm link",
        "rmdir empty",
        "mkdir d",
        "chmod 777 in.txt",
        "chmod -h 777 link",
        "chown 1 in.txt",
        "chgrp 1 in.txt",
        "cp in.txt x",
    ] {
        let (ok, text) = batch(&client, "ro", &[], line);
        // For a directory the client says only that it is not there after all.
        assert!(!ok && (text.contains("ermission denied") || line == "put -r tree"), "{line}\n{text}");
    }
    // Copying out of it is reading.
    does(&client, "ro", "cp in.txt /rw/copied", &[]);
    assert_eq!(fs::read(served.shelf("rw/copied")).unwrap(), b"inside\n");
    assert!(picture(&served.shelf("ro")) == before);
}

#[test]
fn a_write_only_workspace_takes_and_gives_nothing_back() {
    let served = Served::new();
    let client = served.client().hold();
    let (ok, text) = batch(
        &client,
        "wo",
        &[],
        "put tree/big\nput -p tree/sub/f f.kept\nput -r tree/sub up\nmkdir d\nrename f.kept d/f\nchmod 600 d/f\n\
         put tree/in.txt in.txt\nrm none\nrmdir empty\ndf",
    );
    assert!(ok, "{text}");
    same_files(&served.shelf("wo/up"), &served.local("tree/sub"));
    assert_eq!(fs::read(served.shelf("wo/d/f")).unwrap(), b"f");
    assert!(!served.shelf("wo/none").exists() && !served.shelf("wo/empty").exists());
    for line in [
        "get in.txt",
        "get -r sub",
        "ls",
        "ls -l sub",
        "cp in.txt x",
        "cp in.txt /rw/x",
        "rename in.txt /rw/x",
    ] {
        let (ok, text) = batch(&client, "wo", &[], line);
        // A listing that fails is no failure of the batch.
        assert!((!ok || line.starts_with("ls")) && text.contains("ermission denied"), "{line}\n{text}");
    }
    assert!(!served.local("in.txt").exists() && !served.local("sub/f").exists());
}

#[test]
fn nothing_leads_outside() {
    let served = Served::new();
    let client = served.client().hold();
    symlink("escape-dir", served.shelf("rw/chain")).unwrap();
    let secret = served.sandbox.home().join("outside/secret");
    let absolute = format!("get {}", secret.display());
    for line in [
        "get escape",
        "get escape-dir/secret",
        "get chain/secret",
        "get ../../outside/secret",
        "get /../../../outside/secret",
        absolute.as_str(),
        "get /etc/passwd",
        "get ~root/.bashrc",
        "get /proc/self/environ",
        "put tree/in.txt escape",
        "put tree/in.txt escape-dir/new",
        "put tree/in.txt /new",
        "put tree/in.txt ../new",
        "reput tree/big escape",
        "chmod 777 escape",
        "chmod 777 escape-dir/secret",
        "rename escape-dir/secret x",
        "ln escape-dir/secret x",
        "rm escape-dir/secret",
        "mkdir escape-dir/d",
        "mkdir /d",
        "rmdir escape-dir",
        "ls escape-dir",
        "cd escape-dir",
        "cd /etc",
        "ln -s /etc/passwd x",
        "ln -s ../../outside/secret x",
        "ln -s ../rw/in.txt x",
        "rename /rw /rx",
        "rm /rw",
        "rmdir /ro",
        "cp escape x",
        "df escape-dir",
    ] {
        let (ok, text) = batch(&client, "rw", &[], line);
        assert!(!ok || line.starts_with("ls"), "{line}\n{text}");
        let home = served.sandbox.home();
        let told = text.replace(secret.to_str().unwrap(), "");
        assert!(!told.contains(home.to_str().unwrap()), "a path of the host: {line}\n{text}");
    }
    // A recursive download leaves out what it cannot follow, and says so.
    let (_, text) = batch(&client, "rw", &[], "get -r . whole");
    assert!(text.contains("escape"), "{text}");
    assert!(
        !fs::read_dir(served.local("whole")).unwrap().any(|entry| entry.unwrap().file_name() == "secret")
    );
    assert_eq!(fs::read(secret).unwrap(), SECRET);
}

#[test]
fn hard_names_go_both_ways() {
    let served = Served::new();
    let client = served.client().hold();
    for name in HARD_NAMES {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        does(
            &client,
            "rw",
            &format!(
                "get \"./sub/{quoted}\" got\nput \"tree/sub/{quoted}\" \"./{quoted}\"\nrename \"./{quoted}\" back\n"
            ),
            &[],
        );
        assert_eq!(fs::read(served.local("got")).unwrap(), name.as_bytes());
        assert_eq!(fs::read(served.shelf("rw/back")).unwrap(), name.as_bytes());
        fs::remove_file(served.shelf("rw/back")).unwrap();
    }
}
