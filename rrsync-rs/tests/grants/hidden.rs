//! Names that are not there for a key, in a session of rsync: it leaves them out, and the kernel keeps it from what they hold.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stand_in;
use crate::support::{Account, said};
use crate::{ends, grant, granted, refused, rsync};

/// What is hidden, and how it stands in a policy.
const HIDE: &str = r#"hide = ["*.key", ".git", ".env", "a\\*b", "c\\\\d", "x**y", "+ z"]"#;

fn policy(keys: &str, workspace: &str) -> String {
    format!(
        "tools = [\"rsync\"]\n{keys}[workspace.papers]\npath = \"D/papers\"\n{workspace}\
         [workspace.papers.names]\n{HIDE}\n[workspace.desk]\npath = \"D/desk\"\naccess = \"ro\"\n"
    )
}

/// Everything that holds `SECRET` has a hidden name, or is in a directory that has one.
fn account(keys: &str, workspace: &str) -> Account {
    let account = granted(
        &[
            ("D/papers/a.txt", "VISIBLE"),
            ("D/papers/secret.key", "SECRET"),
            ("D/papers/.git/config", "SECRET"),
            ("D/papers/sub/b.txt", "VISIBLE"),
            ("D/papers/sub/deep/other.key", "SECRET"),
            ("D/papers/sub/deep/c.txt", "VISIBLE"),
            ("D/papers/sub/.env", "SECRET"),
            ("D/papers/a*b", "SECRET"),
            ("D/papers/aXb", "VISIBLE"),
            ("D/papers/c\\d", "SECRET"),
            ("D/papers/x1y", "SECRET"),
            ("D/papers/+ z", "SECRET"),
            ("D/papers/z", "VISIBLE"),
            ("D/desk/plain.key", "VISIBLE"),
            ("client/new", "new"),
        ],
        &policy(keys, workspace),
    );
    symlink(".git", account.d("papers/see")).unwrap();
    account
}

/// The paths below `client/got`, and that nothing in them is secret.
#[track_caller]
fn got(account: &Account) -> Vec<String> {
    fn walk(at: &std::path::Path, below: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(at).into_iter().flatten().flatten() {
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => walk(&entry.path(), &format!("{name}/"), found),
                kind => {
                    assert!(kind.is_symlink() || fs::read(entry.path()).unwrap() == b"VISIBLE", "{name}");
                    found.push(name);
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(&account.root.join("client/got"), "", &mut found);
    found.sort();
    fs::remove_dir_all(account.root.join("client/got")).unwrap_or_default();
    found
}

#[test]
fn a_pull_has_everything_but_what_is_hidden() {
    let account = account("probes = true\n", "access = \"ro\"\n");
    let all = ["a.txt", "aXb", "see", "sub/b.txt", "sub/deep/c.txt", "z"];
    for namespace in ["auto", "required", "off"] {
        grant(&account, &policy(&format!("namespace = \"{namespace}\"\n"), "access = \"ro\"\n"));
        let output = rsync(&account, &["-a", "h:papers/", "got/"]);
        ends(&output, 0);
        assert_eq!(got(&account), all, "{namespace}: {}", said(&output));
    }
    for (asked, found) in [
        (&["-a", "h:papers/sub", "got/"][..], &["sub/b.txt", "sub/deep/c.txt"][..]),
        (&["-a", "h:papers/sub/*", "got/"], &["b.txt", "deep/c.txt"]),
        (&["-a", "h:papers/s*", "got/"], &["see", "sub/b.txt", "sub/deep/c.txt"]),
        (&["-a", "h:papers/sub/deep/", "h:papers/z", "got/"], &["c.txt", "z"]),
        (&["-a", "--include=*.key", "--exclude=z", "h:papers/", "got/"], &all[..5]),
        (&["-a", "-f", "!", "h:papers/a.txt", "got/"], &["a.txt"]),
        (&["-a", "h:desk/", "got/"], &["plain.key"]),
    ] {
        let output = rsync(&account, asked);
        ends(&output, 0);
        assert_eq!(got(&account), found, "{asked:?}: {}", said(&output));
    }
    let listed = said(&rsync(&account, &["-r", "h:papers/"]));
    assert!(listed.contains("aXb") && !listed.contains("key") && !listed.contains(".env"), "{listed}");
    // A file of filters in each directory: rsync tells the client the words in it that it does not know.
    let output = rsync(&account, &["-a", "-f", "dir-merge .env", "h:papers/", "got/"]);
    assert!(!said(&output).contains("SECRET"), "{}", said(&output));
    assert_eq!(got(&account), all, "{}", said(&output));
    account.write("client/list", "a.txt\nsecret.key\nsub/.env\n.git/config\n");
    let output = rsync(&account, &["-a", "--files-from=list", "h:papers/", "got/"]);
    assert_eq!(got(&account), ["a.txt"], "{}", said(&output));
}

#[test]
fn what_is_hidden_cannot_be_named() {
    let account = account("", "access = \"ro\"\n");
    for asked in [
        "secret.key",
        ".git",
        ".git/",
        ".git/config",
        "see/",
        "see/config",
        "sub/.env",
        "a\\*b",
        "sub/deep/other.key",
    ] {
        refused(&account, &["-a", &format!("h:papers/{asked}"), "got/"], "access.read");
    }
    for asked in ["*.key", ".g*", "see/*", ".git/*"] {
        let output = rsync(&account, &["-a", &format!("h:papers/{asked}"), "got/"]);
        assert!(!output.status.success(), "{asked}: {}", said(&output));
        assert!(got(&account).is_empty(), "{asked}");
    }
    refused(&account, &["-a", "h:papers/a.txt", "h:desk/", "got/"], "path.mixed");
    refused(&account, &["-a", "new", "h:papers/"], "access.write");
    let probe =
        |path: &str| account.gate(&["--grant", "playground.chef1"], &format!("test -e papers/{path}"), b"");
    grant(&account, &policy("probes = true\n", "access = \"ro\"\n"));
    for (path, there) in
        [("a.txt", true), ("see", false), (".git", false), ("sub/.env", false), ("see/config", false)]
    {
        assert_eq!(probe(path).status.success(), there, "{path}");
    }
}

#[test]
fn rsync_does_not_come_where_it_would_not_keep_to_it() {
    let account = account("", "access = \"rw\"\n");
    refused(&account, &["-a", "new", "h:papers/"], "access.rules");
    refused(&account, &["-a", "--remove-source-files", "h:papers/a.txt", "got/"], "access.rules");
    ends(&rsync(&account, &["-a", "h:papers/a.txt", "got/"]), 0);
    for confine in ["best-effort", "off"] {
        grant(&account, &policy(&format!("confine = \"{confine}\"\n"), "access = \"ro\"\n"));
        refused(&account, &["-a", "h:papers/a.txt", "got/"], "access.rules");
        ends(&rsync(&account, &["-a", "h:desk/", "got/"]), 0);
    }
}

/// An rsync that was taken over knows of no filter. It also reads what has come since.
#[test]
fn a_session_that_was_taken_over_reads_nothing_hidden() {
    for namespace in ["off", "required"] {
        let account = account("", "access = \"ro\"\n");
        let rsync = stand_in::install(&account);
        grant(&account, &policy(&format!("namespace = \"{namespace}\"\n"), "access = \"ro\"\n"));
        for asked in ["papers/", "papers/sub"] {
            let command = format!("rsync --server --sender -logDtpre.iLsfxCIvu --log-format=stop . {asked}");
            let flags = format!("{rsync} --grant playground.chef1");
            let mut taken = stand_in::start_stopped_by(&account, &flags, &command).unwrap();
            account.write("D/papers/sub/late.key", "SECRET");
            account.write("D/papers/sub/late.txt", "SECRET of now");
            fs::create_dir_all(account.d("papers/late/.git")).unwrap();
            account.write("D/papers/late/.git/config", "SECRET");
            kill(Pid::from_raw(taken.id().try_into().unwrap()), Signal::SIGCONT).unwrap();
            let mut told = String::new();
            taken.stdout.take().unwrap().read_to_string(&mut told).unwrap();
            assert!(taken.wait().unwrap().success() && told.ends_with("DONE\n"), "{told}");
            assert!(told.contains("b.txt: VISIBLE") && told.contains("late.txt"), "{told}");
            assert!(!told.contains("SECRET"), "{told}");
            for late in ["sub/late.key", "sub/late.txt"] {
                fs::remove_file(account.d("papers").join(late)).unwrap();
            }
        }
    }
}
