//! What a policy says about options, limits, probes, and records.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::{self, Account, said};
use crate::{account, ends, protocol, refused, rsync, with_rules};

#[test]
fn options_are_allowed_denied_and_forced() {
    let account = with_rules(
        "[options]\nallow = [\"copy-links\"]\ndeny = [\"owner\", \"compress\"]\nforce = [\"fsync\", \"bwlimit=100000\"]",
    );
    symlink("one", account.d("papers/inner")).unwrap();
    symlink("../papers-secret/key", account.d("papers/outer")).unwrap();
    let output = rsync(&account, &["-rL", "h:papers/", "got/"]);
    ends(&output, 23);
    assert_eq!(account.read("client/got/inner"), "1");
    assert!(
        !account.root.join("client/got/outer").exists() && !said(&output).contains("OUTSIDE"),
        "{}",
        said(&output)
    );
    refused(&account, &["-a", "h:papers/", "got/"], "rsync.option");
    refused(&account, &["-rz", "h:papers/", "got/"], "rsync.option");
    refused(&account, &["-rk", "h:papers/", "got/"], "rsync.option");
    // Nor another way of what is denied.
    refused(&account, &["-rz", "--old-compress", "h:papers/", "got/"], "rsync.option");
    refused(&account, &["-r", "-M--new-compress", "h:papers/", "got/"], "rsync.option");
    ends(&rsync(&account, &["-r", "-M--max-alloc=100000000", "h:papers/one", "got/"]), 0);
    ends(&rsync(&account, &["-rlt", "h:papers/one", "got/"]), 0);
    let argv = account.audit().pop().unwrap()["argv"].to_string();
    assert!(argv.contains("\"--fsync\",\"--bwlimit=100000\""), "{argv}");
}

#[test]
fn modes_and_owners_are_what_the_policy_makes_them() {
    use std::os::unix::fs::MetadataExt as _;
    let own = nix::unistd::geteuid();
    let to = if own.is_root() { 1234 } else { own.as_raw() };
    let account = with_rules(&format!(
        "[options]\nforce = [\"chmod=Du=rwx,g=rx,o=,F640\", \"usermap=*:{to}\", \"groupmap=*:{to}\"]"
    ));
    let mode = |path: &str| fs::metadata(account.root.join(path)).unwrap().mode() & 0o7777;
    account.write("client/src/sub/f", "x");
    for (path, mode) in [("client/src/sub", 0o777), ("client/src/sub/f", 0o666), ("client/src/new", 0o755)] {
        fs::set_permissions(account.root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(account.d("papers/one"), fs::Permissions::from_mode(0o604)).unwrap();
    for options in ["-a", "-r", "-a --chmod=777", "-rp --usermap=*:5", "-a --no-o --no-g"] {
        let options: Vec<&str> = options.split(' ').collect();
        let _ = fs::remove_dir_all(account.d("papers/build/in"));
        ends(&rsync(&account, &[&options[..], &["src/", "h:papers/build/in/"]].concat()), 0);
        for (path, wanted) in [("sub", 0o750), ("sub/f", 0o640), ("new", 0o640)] {
            assert_eq!(mode(&format!("D/papers/build/in/{path}")), wanted, "{options:?} {path}");
        }
        if options == ["-a"] {
            assert_eq!(fs::metadata(account.d("papers/build/in/new")).unwrap().uid(), to);
            assert_eq!(fs::metadata(account.d("papers/build/in/sub")).unwrap().gid(), to);
        }
        ends(&rsync(&account, &[&options[..], &["-I", "h:papers/one", "got/"]].concat()), 0);
        // Owners are the receiver's: a sender is not told.
        let argv = account.audit().pop().unwrap()["argv"].to_string();
        assert!(argv.contains("--chmod=Du=rwx,g=rx,o=,F640") && !argv.contains("map="), "{argv}");
        let pulled = if options.contains(&"--chmod=777") { 0o777 } else { 0o640 };
        assert_eq!(mode("client/got/one"), pulled, "{options:?}");
    }
    // Whoever speaks the protocol by itself has no other modes.
    let grant = ["--grant", "playground.chef1"];
    let mut client = protocol::Sender::start(&account, &grant, "rsync --server -rp . papers/build/own/");
    client.list(&[("f", 0o104_777, 1)]);
    client.file(0, 0, &[protocol::Part::Bytes(b"x")], b"x");
    let said = client.end();
    assert!(account.d("papers/build/own/f").exists(), "{said}");
    assert_eq!(mode("D/papers/build/own/f"), 0o640, "{said}");
}

#[test]
fn what_a_client_asks_for_is_cut_to_the_limits() {
    let account = with_rules(
        "[limits]\nsessions = 1\ntimeout = 30\nbwlimit = 50000\ncompress-threads = 1\nmax-alloc = \"1G\"\nfile-size = \"1K\"",
    );
    account.write("client/src/large", "x".repeat(2000));
    let asked = ["-az", "--zc=zstd", "--max-alloc=8g", "--bwlimit=1g", "-M--compress-threads=50"];
    let transfer = |asked: &[&str]| rsync(&account, &[asked, &["src/", "h:papers/build/in/"]].concat());
    let output = transfer(&asked);
    // rsync has had threads for compression since 3.4.2; an older one ends, and has none.
    let threads = support::server_knows("--compress-threads=1");
    ends(&output, if threads { 0 } else { 12 });
    let argv = account.audit().pop().unwrap()["argv"].to_string();
    for part in [
        "--compress-threads=1\"",
        "--max-alloc=1073741824",
        "--bwlimit=50000",
        "--timeout=30",
        "--max-size=1024",
    ] {
        assert!(argv.contains(part), "{part}: {argv}");
    }
    ends(&if threads { output } else { transfer(&asked[..4]) }, 0);
    assert!(account.d("papers/build/in/new").exists() && !account.d("papers/build/in/large").exists());
    // One session at a time: the slot is locked for as long as rsync runs.
    let slot = account.root.join("home/.local/state/akeys/sessions/playground.chef1/0");
    let held = fs::File::open(&slot).unwrap();
    held.lock().unwrap();
    refused(&account, &["-a", "h:papers/", "got/"], "limit.sessions");
    drop(held);
    ends(&rsync(&account, &["-a", "h:papers/", "got/"]), 0);
}

#[test]
fn a_program_never_comes_to_run_as_its_owner() {
    if nix::unistd::geteuid().is_root() {
        // Root's rsync would copy file capabilities.
        refused(&account(), &["-aX", "src/", "h:papers/build/in/"], "rsync.option");
    }
    let account = account();
    let program = account.write("client/src/program", "#!/bin/sh\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let mode = |path: &str| fs::metadata(account.d(path)).map_or(0, |metadata| metadata.permissions().mode());
    for options in [["-a"].as_slice(), &["-a", "--inplace"], &["-rp"]] {
        rsync(&account, &[options, &["src/", "h:papers/build/"]].concat());
        assert_eq!(mode("papers/build/program") & 0o6000, 0, "{options:?}");
    }
    let account = with_rules("setuid = true");
    let program = account.write("client/src/program", "#!/bin/sh\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    ends(&rsync(&account, &["-a", "src/", "h:papers/build/"]), 0);
    assert_eq!(
        fs::metadata(account.d("papers/build/program")).unwrap().permissions().mode() & 0o7777,
        0o4755
    );
}

#[test]
fn probes_are_answered_where_the_policy_says_so() {
    let account = account();
    let ask = |account: &Account, command: &str| {
        account.gate(&["--grant", "playground.chef1"], command, b"").status.code()
    };
    assert_eq!(ask(&account, "test -d papers"), Some(1));
    assert_eq!(account.audit().pop().unwrap()["rule"], "request.command");
    let account = with_rules("probes = true");
    for (command, code, rule) in [
        ("true", 0, "probe"),
        ("test -d papers/fig", 0, "probe.exists"),
        ("test -d 'papers/fig'", 0, "probe.exists"),
        ("test -f papers/fig", 1, "probe.exists"),
        ("test -f papers/one", 0, "probe.exists"),
        ("test -e papers/nothing", 1, "probe.exists"),
        ("test -e inbox/there", 1, "access.read"),
        ("test -e papers/../papers-secret/key", 1, "path.dotdot"),
        ("test -d /", 1, "path.workspace"),
        ("test -d papers; id", 1, "request.command"),
        ("test -d $(id)", 1, "request.command"),
        ("test -x papers", 1, "request.command"),
    ] {
        assert_eq!(ask(&account, command), Some(code), "{command}");
        assert_eq!(account.audit().pop().unwrap()["rule"], rule, "{command}");
    }
}

#[test]
fn a_refusal_is_learned_from_and_stays_a_refusal() {
    let learned = |account: &Account| account.audit().pop().unwrap()["learn"].clone();
    let quiet = account();
    refused(&quiet, &["-a", "src/", "h:papers/fig/"], "access.write");
    assert!(learned(&quiet).is_null());
    let account = with_rules("learn = true\n[options]\ndeny = [\"compress\"]");
    for (args, rule, change) in [
        (
            &["-a", "src/", "h:papers/fig/"][..],
            "access.write",
            r#"{"access":{"workspace":"papers","path":"fig","access":"rw"}}"#,
        ),
        (
            &["-a", "h:inbox/there", "got/"],
            "access.read",
            r#"{"access":{"workspace":"inbox","path":"there","access":"rw"}}"#,
        ),
        (&["-rL", "h:papers/", "got/"], "rsync.option", r#"{"allow":"copy-links"}"#),
        (&["-rz", "h:papers/", "got/"], "rsync.option", r#"{"not-deny":"compress"}"#),
        (&["-a", "--delete", "src/", "h:notes/open/"], "rsync.option", r#"{"delete":"notes"}"#),
        (&["-ab", "src/", "h:inbox/"], "rsync.option", r#"{"overwrite":"inbox"}"#),
        (&["-a", "--delete", "src/", "h:inbox/"], "rsync.option", r#"{"overwrite":"inbox"}"#),
        (&["-a", "--append", "src/", "h:inbox/"], "rsync.option", r#"{"overwrite":"inbox"}"#),
        (
            &["-a", "--remove-source-files", "h:papers/one", "got/"],
            "rsync.option",
            r#"{"access":{"workspace":"papers","path":"","access":"rw"}}"#,
        ),
        (&["-a", "h:papers/../papers-secret/", "got/"], "path.dotdot", "null"),
        (&["-a", "-M--debug=all", "h:papers/", "got/"], "rsync.option", "null"),
    ] {
        refused(&account, args, rule);
        assert_eq!(learned(&account), serde_json::from_str::<serde_json::Value>(change).unwrap(), "{args:?}");
        refused(&account, args, rule);
    }
}

#[test]
fn the_end_of_a_session_is_recorded_for_who_asks() {
    let account = with_rules("record-end = true");
    account.write("client/src/big", "x".repeat(3_000_000));
    ends(&rsync(&account, &["-a", "src/", "h:papers/build/"]), 0);
    let audit = account.audit();
    let [begin, end] = audit.as_slice() else { panic!("{audit:?}") };
    assert_eq!((&begin["pid"], &end["end"], &end["status"]), (&end["pid"], &"done".into(), &0.into()));
    // The kernel shows the sums of an ended process to root alone.
    let root = nix::unistd::geteuid().is_root();
    let sums = end["read"].as_u64() > Some(3_000_000) && end["written"].as_u64() > Some(3_000_000);
    assert!(sums || !root && end["read"].is_null(), "{end}");
    assert!(end["seconds"].as_f64() > Some(0.0));
    // Refusals and failures end with their own code.
    assert_eq!(account.gate(&["--grant", "playground.chef1"], "bash", b"").status.code(), Some(1));
    assert_eq!(account.audit().pop().unwrap()["end"], "failed");
    ends(&rsync(&account, &["-a", "h:papers/nothing", "got/"]), 23);
    assert_eq!(account.audit().pop().unwrap()["status"], 23);
}
