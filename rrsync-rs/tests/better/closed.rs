//! What rrsync lets through: reading back, deleting, overwriting, planted links, special files, lost locks.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::ends;
use crate::support::{self, Account, picture, said};

#[test]
fn a_refused_request_leaves_nothing_behind_and_neither_does_a_dry_run() {
    let account = Account::new();
    account.write("client/src/f", "x");
    let before = picture(&account.d(""));
    for args in [
        ["-ab", "--backup-dir=new\u{a0}x", "src/", "h:../out/"],
        ["-ab", "--backup-dir=new/../y", "src/", "h:in/"],
        ["-an", "--delete", "src/", "h:in/deep/"],
        ["-ab", "--copy-links", "src/", "h:in/"],
    ] {
        account.rsync("-wo -no-overwrite", &args);
    }
    ends(&account.rsync("", &["-an", "src/", "h:in/"]), 0);
    assert_eq!(picture(&account.d("")), before);
}

#[test]
fn a_write_only_directory_gives_nothing_back() {
    let account = Account::new();
    account.write("D/victim", "0123456789 the content of a file that nobody may read");
    let victim = "victim";
    account.write("client/victim", "another");
    // rrsync lets the client ask for one checksum a byte, which is the file.
    let oracle = account.rsync("-wo", &["-I", "--no-whole-file", "-B1", "--debug=deltasum3", victim, "h:./"]);
    ends(&oracle, 12);
    let plain = account.rsync("-wo", &["-I", "--debug=deltasum3", victim, "h:./"]);
    ends(&plain, 0);
    assert!(!said(&plain).contains("sum1="), "{}", said(&plain));
    for refused in ["--append", "--append-verify", "--files-from=:names"] {
        ends(&account.rsync("-wo", &["-a", refused, victim, "h:./"]), 12);
    }
    ends(&account.rsync("-wo", &["-a", "h:victim", "got/"]), 12);
    ends(&account.rsync("-wo", &["--list-only", "h:"]), 12);
}

#[test]
fn a_write_only_directory_does_not_tell_what_it_holds() {
    let account = Account::new();
    account.write("D/secret-name", "x");
    fs::create_dir_all(account.root.join("client/empty")).unwrap();
    for options in ["-rni", "-rnv", "-rvvvn"] {
        let output = account.rsync("-wo", &[options, "--delete", "empty/", "h:"]);
        assert!(!said(&output).contains("secret-name"), "{options}: {}", said(&output));
    }
}

#[test]
fn nothing_is_deleted_where_deleting_is_forbidden() {
    let account = Account::new();
    account.write("D/dir/kept", "x");
    account.write("client/src/dir", "a file where a directory is");
    for option in [
        "--force",
        "--delete",
        "--delete-before",
        "--delete-excluded",
        "--delete-missing-args",
        "--remove-source-files",
    ] {
        account.rsync("-wo -no-del", &["-a", option, "src/", "h:"]);
        assert_eq!(account.read("D/dir/kept"), "x", "{option}");
    }
    account.rsync("-no-overwrite", &["-a", "--delete", "src/", "h:"]);
    account.rsync("-no-overwrite", &["-a", "--force", "src/", "h:"]);
    assert_eq!(account.read("D/dir/kept"), "x");
}

#[test]
fn a_directory_for_partial_files_is_no_way_to_delete() {
    for (options, kept) in [("-no-lock -no-del", true), ("-no-lock", false)] {
        let account = Account::new();
        account.write("D/precious/f", "x");
        account.write("D/sub/precious/f", "x");
        account.write("client/src/f", "y");
        account.write("client/src/sub/f", "y");
        for directory in ["precious", "/precious", "sub/../precious", "./precious"] {
            let output = account.rsync(options, &["-r", &format!("--partial-dir={directory}"), "src/", "h:"]);
            assert!(matches!(output.status.code(), Some(0 | 12)), "{}", said(&output));
            account.write("client/src/f", directory);
        }
        for path in ["precious/f", "sub/precious/f"] {
            assert_eq!(account.d(path).exists(), kept, "{options} {path}");
        }
        assert!(!account.d(".rsync-partial").exists());
    }
}

#[test]
fn a_directory_for_partial_files_is_gone_afterwards_also_where_nothing_is_deleted() {
    for flags in ["-no-del", "-wo -no-del", ""] {
        let account = Account::new();
        account.write("client/src/f", "content");
        account.write("client/src/sub/f", "content");
        for option in ["--delay-updates", "--partial-dir=part"] {
            let to = format!("h:{}/", &option[2..5]);
            ends(&account.rsync(flags, &["-a", option, "src/", &to]), 0);
            let there = picture(&account.d(&option[2..5]));
            let names: Vec<&str> = there.lines().filter_map(|line| line.split(' ').next()).collect();
            assert_eq!(names, ["", "f", "sub", "sub/f"], "{flags} {option}");
        }
    }
}

#[test]
fn no_existing_file_is_replaced_or_changed_under_no_overwrite() {
    let account = Account::new();
    account.write("D/v", "POLICY");
    account.write("D/protected/v", "POLICY");
    account.write("D/.~tmp~/v", "POLICY");
    fs::set_permissions(account.d("protected"), fs::Permissions::from_mode(0o750)).unwrap();
    let before = picture(&account.d(""));
    account.write("client/src/v", "other");
    account.write("client/src/protected/v", "other");
    for options in [
        vec!["-a"],
        vec!["-aI"],
        vec!["-a", "--inplace"],
        vec!["-a", "--append"],
        vec!["-ab"],
        vec!["-ab", "--suffix=.x"],
        vec!["-ab", "--backup-dir=protected"],
        vec!["-a", "--partial-dir=protected"],
        vec!["-a", "--delay-updates"],
        vec!["-a", "--log-file=protected/v"],
        vec!["-a", "--remote-option=--log-file=protected/v"],
        vec!["-a", "--existing"],
        vec!["-a", "--ignore-times", "--size-only"],
        vec!["-a", "--delete", "--force"],
    ] {
        account.rsync("-wo -no-overwrite", &[options.as_slice(), &["src/", "h:"]].concat());
        assert_eq!(picture(&account.d("")), before, "{options:?}");
    }
    account.write("client/src/fresh", "new");
    ends(&account.rsync("-wo -no-overwrite", &["-a", "src/", "h:"]), 0);
    assert_eq!(account.read("D/fresh"), "new");
}

#[test]
fn a_merge_file_is_read_inside_and_nowhere_else() {
    let account = Account::new();
    account.write("D/keep.c", "x");
    account.write("D/drop.o", "x");
    account.write("D/.rsync-filter", "- *.o\n");
    account.write("outside/rules", "- keep.c\n");
    ends(&account.rsync("-ro", &["-aFF", "h:", "got/"]), 0);
    assert!(
        account.root.join("client/got/keep.c").exists() && !account.root.join("client/got/drop.o").exists()
    );
    let output = account.rsync("-ro", &["-r", "--filter=:-s ../outside/rules", "h:", "all/"]);
    ends(&output, 0);
    assert!(account.root.join("client/all/keep.c").exists(), "{}", said(&output));
}

#[test]
fn links_planted_by_a_push_lead_no_later_push_outside() {
    let mut metadata = Vec::new();
    for how in ["-namespace auto", "-namespace required", "-namespace off"] {
        for mode in ["-wo", "-no-lock"] {
            metadata.extend(planted(&format!("{mode} {how}")));
        }
    }
    assert_eq!(metadata, [""; 0]);
}

/// Plants links to the outside, and pushes through each of them; the pushes that changed metadata there.
fn planted(flags: &str) -> Vec<String> {
    let account = Account::new();
    let outside = account.root.join("outside");
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_300_000_000);
    let set_back = || {
        for name in ["secret", "dir/loot"] {
            fs::set_permissions(outside.join(name), fs::Permissions::from_mode(0o640)).unwrap();
            let file = fs::File::options().write(true).open(outside.join(name)).unwrap();
            file.set_modified(long_ago).unwrap();
        }
        fs::set_permissions(outside.join("dir"), fs::Permissions::from_mode(0o750)).unwrap();
    };
    set_back();
    let (before, content) = (picture(&outside), support::content(&outside));
    fs::create_dir_all(account.root.join("client/links")).unwrap();
    symlink("../outside", account.root.join("client/links/a")).unwrap();
    symlink("../outside/secret", account.root.join("client/links/s")).unwrap();
    symlink("../outside/dir", account.root.join("client/links/d")).unwrap();
    ends(&account.rsync(flags, &["-a", "links/", "h:"]), 0);
    for path in ["secret", "a/secret", "a/dir/loot", "d/loot", "d/new"] {
        account.write(&format!("client/src/{path}"), "replaced");
    }
    let mut changed = Vec::new();
    for options in [
        vec!["-a", "src/secret", "h:a/"],
        vec!["-a", "src/secret", "h:s"],
        vec!["-a", "src/", "h:"],
        vec!["-aK", "src/", "h:"],
        vec!["-abI", "--backup-dir=a", "src/", "h:"],
        vec!["-a", "--copy-dest=a", "src/", "h:new/"],
        vec!["-a", "--inplace", "src/", "h:"],
        vec!["-a", "--partial-dir=a", "src/", "h:"],
        vec!["-a", "--temp-dir=a", "src/", "h:"],
        vec!["-a", "--link-dest=/a", "src/", "h:n2/"],
        vec!["-a", "--remote-option=--log-file=a/log", "src/", "h:n3/"],
        vec!["-aR", "src/./a/secret", "h:"],
        vec!["-aR", "--no-implied-dirs", "src/./a/secret", "h:"],
        vec!["-aR", "--no-implied-dirs", "src/./a/dir", "h:"],
        vec!["-aR", "--no-implied-dirs", "--existing", "src/./d/loot", "h:"],
        vec!["-aR", "--no-implied-dirs", "--size-only", "src/./d/loot", "h:"],
    ] {
        // The links that earlier pushes have replaced.
        account.rsync(flags, &["-a", "--delete", "links/", "h:"]);
        account.rsync(flags, &options);
        assert_eq!(support::content(&outside), content, "{flags} {options:?}");
        if picture(&outside) != before {
            changed.push(format!("{flags} {options:?}"));
            set_back();
        }
    }
    let output = account.rsync("", &["-a", "--compare-dest=/a", "--copy-dest=/a", "h:", "got/"]);
    assert!(!said(&output).contains("OUTSIDE"));
    changed
}

#[test]
fn links_that_are_stored_munged_lead_nowhere_and_come_back_as_they_were() {
    let account = Account::new();
    fs::create_dir_all(account.root.join("client/links")).unwrap();
    for (name, to) in [("out", "../../outside/secret"), ("far", "/etc/passwd"), ("in", "sub/f")] {
        symlink(to, account.root.join("client/links").join(name)).unwrap();
    }
    ends(&account.rsync("-munge", &["-a", "links/", "h:in/"]), 0);
    for name in ["out", "far", "in"] {
        let stored = fs::read_link(account.d("in").join(name)).unwrap();
        assert!(stored.starts_with("/rsyncd-munged"), "{stored:?}");
    }
    ends(&account.rsync("-munge -ro", &["-a", "h:in/", "got/"]), 0);
    assert_eq!(
        fs::read_link(account.root.join("client/got/out")).unwrap().to_str(),
        Some("../../outside/secret")
    );
}

#[test]
fn special_files_are_left_out_and_the_rest_comes() {
    let account = Account::new();
    account.write("client/src/f", "x");
    let fifo = account.root.join("client/src/pipe");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    ends(&account.rsync("", &["-a", "src/", "h:in/"]), 0);
    assert_eq!(account.read("D/in/f"), "x");
    assert!(!account.d("in/pipe").exists());
    // An rsync that cannot be told to drop them is told to keep none, which only protocol 31 bears. For an older client the
    // kernel refuses to make each, and rsync reports that; one that was made to speak protocol 30 is at odds with it.
    let drops = support::features().drop_d;
    for (protocol, code) in [("29", 23), ("30", 12), ("31", 0)] {
        let to = format!("h:protocol-{protocol}/");
        let output = account.rsync("", &["-a", &format!("--protocol={protocol}"), "src/", &to]);
        ends(&output, if drops { 0 } else { code });
        let made = account.d(&format!("protocol-{protocol}"));
        assert!(!made.join("pipe").exists());
        assert!(output.status.code() == Some(12) || made.join("f").exists());
    }
    // Nor does one become a file that stands for it.
    ends(&account.rsync("", &["-a", "-M--fake-super", "src/", "h:fake/"]), 0);
    assert!(!account.d("fake/pipe").exists());
    // Named as a source, a FIFO is sent as what it is, and nobody waits for a writer.
    nix::unistd::mkfifo(&account.d("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    ends(&account.rsync("-ro", &["-a", "--timeout=10", "h:pipe", "got/"]), 0);
    assert!(account.root.join("client/got/pipe").symlink_metadata().is_ok());
    // Only a push is led elsewhere by this option.
    ends(&account.rsync("-ro -namespace off", &["-aR", "--no-implied-dirs", "h:in/f", "got/"]), 0);
}

#[test]
fn a_lock_lasts_as_long_as_the_transfer() {
    let account = Account::new();
    account.write("client/f", "x");
    let held = fs::File::open(account.d("")).unwrap();
    held.lock().unwrap();
    ends(&account.rsync("", &["-a", "f", "h:"]), 12);
    ends(&account.rsync("-no-lock", &["-a", "f", "h:"]), 0);
    ends(&account.rsync("-ro", &["-a", "h:f", "got/"]), 0);
    drop(held);
    ends(&account.rsync("", &["-a", "f", "h:"]), 0);
}

#[test]
fn a_probe_is_answered_while_a_transfer_holds_the_lock() {
    let account = Account::new();
    let held = fs::File::open(account.d("")).unwrap();
    held.lock().unwrap();
    let directory = account.d("").display().to_string();
    assert!(account.gate(&[&directory], "true", b"").status.success());
    assert_eq!(account.audit().last().unwrap()["rule"], "probe");
}

#[test]
fn the_record_comes_first_and_says_everything() {
    let account = Account::new();
    account.write("D/f", "x");
    ends(&account.rsync("-ro", &["-a", "h:f", "got/"]), 0);
    account.rsync("-ro", &["-a", "h:f\u{1b}[31m\n\u{202e}", "got/"]);
    let audit = account.audit();
    let last = &audit[0];
    assert_eq!(last["client"], "192.0.2.7");
    assert_eq!((&last["verdict"], &last["rule"]), (&"allow".into(), &"rsync.pull".into()));
    assert_eq!(last["argv"][0], "rsync");
    assert!(last["confinement"]["landlock"].as_u64() > Some(0) && last["confinement"]["seccomp"] == true);
    let request = audit[1]["request"].as_str().unwrap();
    assert!(
        request.contains(r"\x1b") && request.contains(r"\u{202e}") && !request.contains('\n'),
        "{request}"
    );
}

#[test]
fn root_keeps_owners_by_name() {
    if !nix::unistd::geteuid().is_root() {
        // For anybody else the numbers do.
        return;
    }
    let account = Account::new();
    account.write("client/f", "x");
    ends(&account.rsync("", &["-a", "--usermap=root:daemon", "f", "h:"]), 0);
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(account.d("f")).unwrap());
    let daemon = fs::read_to_string("/etc/passwd").unwrap();
    assert!(
        daemon.lines().any(|line| line.starts_with("daemon:") && line.contains(&format!(":{owner}:"))),
        "{owner}"
    );
}
