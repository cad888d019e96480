//! Grants, with the real client: named workspaces, sub-paths with another access, and every way not to have a grant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod protocol;
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Output;

use support::{Account, picture, said};

/// An account with two workspaces: `papers`, read-only with a writable `build` and a hidden `drafts`, and `inbox`.
fn account() -> Account {
    let account = Account::new();
    for (path, content) in [
        ("D/papers/one", "1"),
        ("D/papers/fig/two", "2"),
        ("D/papers/build/old", "old"),
        ("D/papers-secret/key", "OUTSIDE-SECRET"),
        ("D/notes/n", "n"),
        ("D/inbox/there", "x"),
        ("client/src/new", "new"),
    ] {
        account.write(path, content);
    }
    let d = account.d("").display().to_string();
    account.grant(
        "playground.chef1",
        &format!(
            "federation = \"playground\"\npod = \"chef1\"\ntools = [\"rsync\"]\n\
             [workspace.papers]\npath = \"{d}papers\"\naccess = \"ro\"\n[workspace.papers.paths]\nbuild = \"rw\"\n\
             [workspace.notes]\npath = \"{d}notes\"\naccess = \"rw\"\ndelete = false\n[workspace.notes.paths]\nlocked = \"ro\"\n\
             [workspace.inbox]\npath = \"{d}inbox\"\naccess = \"wo\"\noverwrite = false\n"
        ),
    );
    account
}

fn rsync(account: &Account, args: &[&str]) -> Output {
    account.rsync_with(&account.shell("--grant playground.chef1"), args)
}

#[track_caller]
fn ends(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
}

#[track_caller]
fn refused(account: &Account, args: &[&str], rule: &str) {
    let before = picture(&account.d(""));
    let output = rsync(account, args);
    assert_eq!(output.status.code(), Some(12), "{}", said(&output));
    let record = account.audit().pop().unwrap();
    assert_eq!((&record["verdict"], &record["rule"]), (&"refuse".into(), &rule.into()), "{args:?}: {record}");
    assert!(!said(&output).contains(&account.root.display().to_string()), "{}", said(&output));
    assert_eq!(picture(&account.d("")), before);
}

#[test]
fn a_workspace_is_pulled_by_name() {
    let account = account();
    ends(&rsync(&account, &["-a", "h:papers/", "got/"]), 0);
    assert_eq!(
        picture(&account.d("papers")).lines().count(),
        picture(&account.root.join("client/got")).lines().count()
    );
    ends(
        &rsync(
            &account,
            &["-a", "h:/papers/fig/two", "h:~/papers/one", "some/"]
                .map(|a| a.replace("h:~", ":~"))
                .each_ref()
                .map(String::as_str),
        ),
        0,
    );
    assert_eq!(account.read("client/some/two"), "2");
    // The name alone is the directory of that name.
    ends(&rsync(&account, &["-a", "h:papers", ":notes", "whole/"]), 0);
    assert_eq!(account.read("client/whole/papers/one") + &account.read("client/whole/notes/n"), "1n");
    ends(&rsync(&account, &["-aR", "h:papers/fig/two", ":notes/n", "relative/"]), 0);
    assert_eq!(
        account.read("client/relative/papers/fig/two") + &account.read("client/relative/notes/n"),
        "2n"
    );
    ends(&rsync(&account, &["-aR", "h:papers/./fig/two", "dotted/"]), 0);
    assert_eq!(account.read("client/dotted/fig/two"), "2");
    // From two workspaces at once.
    ends(&rsync(&account, &["-a", "h:papers/one", ":notes/n", "both/"]), 0);
    assert_eq!(account.read("client/both/one") + &account.read("client/both/n"), "1n");
    ends(&rsync(&account, &["-a", "h:papers/fi*/t*", ":notes/?", "globbed/"]), 0);
    assert_eq!(account.read("client/globbed/two") + &account.read("client/globbed/n"), "2n");
}

#[test]
fn a_workspace_under_another_name_is_pulled_with_a_slash() {
    let account = account();
    let d = account.d("").display().to_string();
    let text = format!(
        "federation = \"playground\"\npod = \"chef1\"\ntools = [\"rsync\"]\n\
         [workspace.articles]\npath = \"{d}papers\"\naccess = \"ro\"\n"
    );
    account.grant("playground.chef1", &text);
    ends(&rsync(&account, &["-a", "h:articles/", "got/"]), 0);
    assert_eq!(account.read("client/got/one"), "1");
    ends(&rsync(&account, &["-aR", "h:articles/./fig/two", "dotted/"]), 0);
    assert_eq!(account.read("client/dotted/fig/two"), "2");
    refused(&account, &["-a", "h:articles", "got/"], "path.alias");
    refused(&account, &["-aR", "h:articles/fig", "got/"], "path.alias");
}

#[test]
fn a_host_without_a_path_lists_the_names() {
    let account = account();
    let output = rsync(&account, &["h:"]);
    ends(&output, 0);
    let text = said(&output);
    let named = ["papers", "notes", "inbox"].iter().all(|name| text.lines().any(|line| line.ends_with(name)));
    assert!(named && !text.contains("secret"), "{text}");
    refused(&account, &["-a", "h:", "got/"], "path.workspace");
    refused(&account, &["-a", "h:nothing/x", "got/"], "path.workspace");
}

#[test]
fn what_may_be_written_is_written_and_nothing_else() {
    let account = account();
    ends(&rsync(&account, &["-a", "--delete", "src/", "h:papers/build/"]), 0);
    assert_eq!(account.read("D/papers/build/new"), "new");
    assert!(!account.d("papers/build/old").exists());
    ends(&rsync(&account, &["-a", "src/", "h:papers/build/deeper/"]), 0);
    refused(&account, &["-a", "src/", "h:papers/"], "access.write");
    refused(&account, &["-a", "src/", "h:papers/fig/"], "access.write");
    refused(&account, &["-a", "src/", "h:papers/builder/"], "access.write");
    refused(&account, &["-a", "src/", "h:papers/build/../"], "path.dotdot");
    refused(&account, &["-a", "src/", "h:papers-secret/"], "path.workspace");
    refused(&account, &["-a", "h:papers-secret/", "got/"], "path.workspace");
    refused(&account, &["-a", "h:papers/../papers-secret/", "got/"], "path.dotdot");
    refused(&account, &["-a", "--backup-dir=/papers/fig", "-b", "src/", "h:papers/build/"], "access.write");
    refused(&account, &["-a", "--backup-dir=/papers/..", "-b", "src/", "h:papers/build/"], "path.dotdot");
    ends(&rsync(&account, &["-a", "--link-dest=/papers/fig", "src/", "h:papers/build/linked/"]), 0);
}

#[test]
fn the_kernel_writes_nothing_outside_the_writable_sub_path() {
    let account = account();
    symlink("../one", account.d("papers/build/up")).unwrap();
    symlink("../fig", account.d("papers/build/dir")).unwrap();
    account.write("client/src/up", "replaced");
    let before = (account.read("D/papers/one"), picture(&account.d("papers/fig")));
    // rsync replaces the link; through it, nothing can be written.
    ends(&rsync(&account, &["-a", "src/up", "h:papers/build/up"]), 0);
    refused(&account, &["-a", "src/new", "h:papers/build/dir/"], "access.write");
    assert_eq!(before, (account.read("D/papers/one"), picture(&account.d("papers/fig"))));
}

#[test]
fn a_directory_with_a_part_that_may_not_be_written_is_a_destination_but_for_that() {
    let account = account();
    // What is not there could be made, and cannot be kept apart.
    refused(&account, &["-a", "src/", "h:notes/"], "path.mixed");
    fs::create_dir(account.d("notes/locked")).unwrap();
    ends(&rsync(&account, &["-a", "src/", "h:notes/"]), 0);
    assert_eq!(account.read("D/notes/new"), "new");
    refused(&account, &["-a", "src/", "h:notes/locked/"], "access.write");
    fs::create_dir(account.d("notes/open")).unwrap();
    ends(&rsync(&account, &["-a", "src/", "h:notes/open/"]), 0);
    refused(&account, &["-a", "--delete", "src/", "h:notes/open/"], "rsync.option");
}

#[test]
fn a_drop_takes_what_is_new_and_gives_nothing() {
    let account = account();
    ends(&rsync(&account, &["-a", "src/", "h:inbox/"]), 0);
    account.write("client/src/there", "replaced");
    ends(&rsync(&account, &["-a", "src/", "h:inbox/"]), 0);
    assert_eq!(account.read("D/inbox/there"), "x");
    refused(&account, &["-a", "h:inbox/there", "got/"], "access.read");
    refused(&account, &["--list-only", "h:inbox/"], "access.read");
    refused(&account, &["-a", "-B700", "src/", "h:inbox/"], "rsync.option");
}

#[test]
fn a_grant_that_others_could_write_is_no_grant() {
    let account = account();
    let file = account.root.join("home/.config/akeys/grants/playground.chef1.toml");
    let directory = file.parent().unwrap();
    let pull = ["-a", "h:papers/one", "got/"];
    for (path, mode, good) in
        [(file.as_path(), 0o666, 0o600), (file.as_path(), 0o620, 0o600), (directory, 0o777, 0o755)]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        refused(&account, &pull, "grant.invalid");
        fs::set_permissions(path, fs::Permissions::from_mode(good)).unwrap();
    }
    let elsewhere = account.root.join("client/grant.toml");
    fs::rename(&file, &elsewhere).unwrap();
    refused(&account, &pull, "grant.missing");
    symlink(&elsewhere, &file).unwrap();
    refused(&account, &pull, "grant.invalid");
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    refused(&account, &pull, "grant.invalid");
    fs::remove_file(&file).unwrap();
    let good = fs::read_to_string(&elsewhere).unwrap();
    for (from, to, rule) in [
        ("pod = ", "colour = \"red\"\npod = ", "grant.invalid"),
        ("\"ro\"", "\"read\"", "grant.invalid"),
        ("tools = [\"rsync\"]", "tools = [\"rsync\"]\nexpires = 2020-01-01T00:00:00Z", "grant.expired"),
        ("tools = [\"rsync\"]", "tools = [\"sftp\"]", "tool.rsync"),
        ("/papers\"", "/gone\"", "workspace.missing"),
    ] {
        account.grant("playground.chef1", &good.replacen(from, to, 1));
        refused(&account, &pull, rule);
    }
    account.grant("playground.chef1", &good);
    ends(&rsync(&account, &pull), 0);
}

#[test]
fn a_workspace_that_has_gone_takes_nothing_from_the_others() {
    let account = account();
    fs::rename(account.d("notes"), account.d("elsewhere")).unwrap();
    ends(&rsync(&account, &["-a", "h:papers/one", "got/"]), 0);
    assert!(
        account.audit().pop().unwrap()["warnings"][0]
            .as_str()
            .unwrap()
            .contains("workspace notes is left out")
    );
    refused(&account, &["-a", "h:notes/n", "got/"], "workspace.missing");
}

#[test]
fn a_workspace_that_hands_over_the_account_is_refused_at_every_session() {
    let account = account();
    let home = account.root.join("home");
    fs::create_dir_all(home.join("dotfiles")).unwrap();
    for path in ["~", "~/.ssh", "~/.config", "~/.local", "~/.."] {
        let path = if path == "~/.." { account.root.display().to_string() } else { path.to_owned() };
        fs::create_dir_all(home.join(".ssh")).unwrap();
        account.grant(
            "playground.chef1",
            &format!("federation = \"playground\"\npod = \"chef1\"\ntools = [\"rsync\"]\n[workspace.papers]\npath = \"{path}\"\naccess = \"ro\"\n"),
        );
        refused(&account, &["-a", "h:papers/", "got/"], "workspace.exposure");
    }
    account.grant(
        "playground.chef1",
        "federation = \"playground\"\npod = \"chef1\"\ntools = [\"rsync\"]\n[workspace.papers]\npath = \"~/dotfiles\"\naccess = \"rw\"\n",
    );
    ends(&rsync(&account, &["-a", "src/", "h:papers/"]), 0);
    symlink("dotfiles/bashrc", home.join(".bashrc")).unwrap();
    refused(&account, &["-a", "src/", "h:papers/"], "workspace.exposure");
}

#[test]
fn a_session_that_cannot_be_recorded_is_refused() {
    let account = account();
    let state = account.root.join("home/.local/state");
    fs::create_dir_all(&state).unwrap();
    account.write("home/.local/state/akeys", "a file where the directory belongs");
    if std::path::Path::new("/dev/log").exists() {
        // syslog takes the record instead.
        return;
    }
    let output = rsync(&account, &["-a", "h:papers/one", "got/"]);
    ends(&output, 12);
    assert!(said(&output).contains("cannot be recorded"), "{}", said(&output));
}

/// The account's grant with `rules` in front of the workspaces.
fn with_rules(rules: &str) -> Account {
    let account = account();
    let file = account.root.join("home/.config/akeys/grants/playground.chef1.toml");
    let text = fs::read_to_string(file).unwrap().replacen(
        "[workspace.papers]",
        &format!("{rules}\n[workspace.papers]"),
        1,
    );
    account.grant("playground.chef1", &text);
    account
}

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

/// A program for `sftp -D` and `scp -D`: the gate with the grant, asked for the SFTP subsystem.
fn subsystem(account: &Account, line: &str) -> String {
    let script = account.root.join("subsystem");
    let home = account.root.join("home");
    let text = format!(
        "#!/bin/sh\nSSH_ORIGINAL_COMMAND='{line}' HOME='{}' exec '{}' --grant playground.chef1\n",
        home.display(),
        support::GATE
    );
    fs::write(&script, text).unwrap();
    format!("/bin/sh {}", script.display())
}

fn sftp(account: &Account, batch: &str) -> Output {
    let commands = account.write("batch", batch);
    let mut sftp = std::process::Command::new("sftp");
    sftp.arg("-b").arg(commands).arg("-D").arg(subsystem(account, "/usr/lib/openssh/sftp-server -l INFO"));
    sftp.current_dir(account.root.join("client")).output().expect("openssh-client is installed")
}

#[test]
fn sftp_sees_the_workspaces_and_nothing_else() {
    let account = account();
    let file = account.root.join("home/.config/akeys/grants/playground.chef1.toml");
    let text = fs::read_to_string(file).unwrap().replace("\"rsync\"", "\"sftp\"");
    account.grant("playground.chef1", &text);
    symlink("../papers-secret/key", account.d("papers/outer")).unwrap();
    let outside = picture(&account.d("papers-secret"));
    let output = sftp(
        &account,
        "ls -1\nget papers/fig/two\nput src/new papers/build/new\nrename papers/build/old papers/build/kept\n",
    );
    ends(&output, 0);
    let text = said(&output);
    assert!(
        ["papers", "notes", "inbox"].iter().all(|name| text.contains(name)) && !text.contains("secret"),
        "{text}"
    );
    assert_eq!(
        account.read("client/two")
            + &account.read("D/papers/build/new")
            + &account.read("D/papers/build/kept"),
        "2newold"
    );
    for batch in [
        "put src/new papers/fig/new",
        "get papers/../papers-secret/key",
        "get /etc/passwd",
        "get papers/outer",
        "rm papers/one",
        "chmod 777 papers/one",
        "get inbox/there",
        "ls inbox",
        "rename papers/one papers/build/one",
        "ln papers/one papers/build/one",
        "ls ../..",
        "mkdir papers-secret/x",
    ] {
        let output = sftp(&account, &format!("{batch}\n"));
        if batch != "ls ../.." {
            ends(&output, 1);
        }
        assert!(
            !said(&output).contains("OUTSIDE") && !said(&output).contains("root:"),
            "{batch}: {}",
            said(&output)
        );
    }
    assert_eq!(picture(&account.d("papers-secret")), outside);
    assert!(account.d("papers/one").exists() && !account.d("papers/build/one").exists());
    let audit = account.audit();
    let session = audit.iter().find(|record| record["rule"] == "sftp").unwrap();
    assert_eq!(session["confinement"]["seccomp"], true);
    let read = audit.iter().find(|record| record["file"] == "read").unwrap();
    assert_eq!(
        (&read["path"], &read["bytes"], &read["result"]),
        (&"/papers/fig/two".into(), &1.into(), &"done".into())
    );
    assert!(audit.iter().any(|record| record["file"] == "rename" && record["to"] == "/papers/build/kept"));
}

#[test]
fn a_key_for_one_tool_is_no_key_for_another() {
    let account = account();
    let file = account.root.join("home/.config/akeys/grants/playground.chef1.toml");
    let text = fs::read_to_string(file).unwrap();
    for (tools, rsync_code, sftp_code) in
        [("\"rsync\"", 0, 255), ("\"sftp\"", 12, 0), ("\"scp\"", 12, 0), ("\"watch\"", 12, 255)]
    {
        account.grant("playground.chef1", &text.replace("\"rsync\"", tools));
        ends(&rsync(&account, &["-a", "h:papers/one", "got/"]), rsync_code);
        ends(&sftp(&account, "ls papers\n"), sftp_code);
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

/// An account with one workspace `mix`: readable and writable, with the write-only `drop` in it.
fn mixed() -> Account {
    let account = Account::new();
    for (path, content) in
        [("D/mix/drop/f.txt", "MIX-SECRET"), ("D/mix/pub/x", "x"), ("client/src/f.txt", "new")]
    {
        account.write(path, content);
    }
    let d = account.d("mix").display().to_string();
    account.grant(
        "playground.chef1",
        &format!(
            "federation = \"playground\"\npod = \"chef1\"\ntools = [\"rsync\", \"sftp\"]\n\
             [workspace.mix]\npath = \"{d}\"\naccess = \"rw\"\n[workspace.mix.paths]\ndrop = \"wo\"\n"
        ),
    );
    account
}

#[test]
fn what_may_not_be_read_is_not_carried_to_where_it_may() {
    let account = mixed();
    refused(&account, &["-b", "--backup-dir=/mix/pub", "src/f.txt", "h:mix/drop/"], "path.mixed");
    refused(&account, &["-b", "--backup-dir=../pub", "src/f.txt", "h:mix/drop/"], "path.mixed");
    refused(&account, &["-ab", "src/", "h:mix/"], "path.mixed");
    refused(&account, &["-rnv", "--delete", "src/", "h:mix/"], "path.mixed");
    refused(&account, &["-a", "-M--copy-dest=/mix/drop", "src/", "h:mix/pub/"], "path.mixed");
    ends(&rsync(&account, &["-a", "src/f.txt", "h:mix/drop/g.txt"]), 0);
    ends(&rsync(&account, &["-ab", "--backup-dir=old", "src/", "h:mix/pub/"]), 0);
}

#[test]
fn a_pattern_tells_no_names_of_a_write_only_path() {
    let account = mixed();
    for pattern in ["f*", "z*", "?.txt"] {
        let output = rsync(&account, &["-a", &format!("h:mix/drop/{pattern}"), "got/"]);
        let text = said(&output).replace(pattern, "PATTERN");
        assert!(text.contains("reading from mix/drop/PATTERN is not allowed"), "{text}");
        // As a destination it is a name like any other, so nothing can be told from what becomes of it.
        ends(&rsync(&account, &["-an", "src/f.txt", &format!("h:mix/drop/{pattern}")]), 0);
    }
}

#[test]
fn a_rule_for_the_owners_link_holds_where_it_leads() {
    let account = mixed();
    fs::create_dir_all(account.d("mix/release/keep")).unwrap();
    symlink("release", account.d("mix/current")).unwrap();
    let file = account.root.join("home/.config/akeys/grants/playground.chef1.toml");
    let text = fs::read_to_string(file).unwrap().replace("drop = \"wo\"", "\"current/keep\" = \"ro\"");
    account.grant("playground.chef1", &text);
    refused(&account, &["-a", "src/", "h:mix/release/keep/"], "access.write");
    refused(&account, &["-a", "src/", "h:mix/current/keep/"], "access.write");
    ends(&rsync(&account, &["-a", "src/", "h:mix/pub/"]), 0);
}

#[test]
fn a_short_request_does_not_cost_a_long_answer() {
    let account = mixed();
    let words = "mix/{x,x}{x,x}{x,x}{x,x}{x,x}{x,x}{x,x}{x,x}{x,x}{x,x}{x,x}{x,x} ".repeat(900);
    let output = account.gate(
        &["--grant", "playground.chef1"],
        &format!("rsync --server --sender -re.LsfxCIvu . {words}"),
        b"",
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(account.audit().pop().unwrap()["rule"], "rsync.expansion");
}

#[test]
fn a_second_name_elsewhere_is_no_way_to_overwrite() {
    let account = Account::new();
    account.write("D/keep/file", "kept");
    account.write("D/work/x", "x");
    account.write("client/other", "other");
    let d = account.d("").display().to_string();
    account.grant(
        "playground.chef1",
        &format!(
            "federation = \"playground\"\npod = \"chef1\"\ntools = [\"sftp\"]\n\
             [workspace.keep]\npath = \"{d}keep\"\naccess = \"rw\"\noverwrite = false\n\
             [workspace.work]\npath = \"{d}work\"\naccess = \"rw\"\n"
        ),
    );
    ends(&sftp(&account, "ln keep/file work/k\n"), 1);
    ends(&sftp(&account, "ln work/x work/y\nput other work/z\n"), 0);
    assert!(!account.d("work/k").exists());
    assert_eq!(account.read("D/keep/file"), "kept");
}

#[test]
fn another_workspace_is_written_by_its_own_rules() {
    for confine in ["required", "off"] {
        let account = Account::new();
        for path in ["D/added/bak/f", "D/kept/part/f", "D/versioned/bak/f", "D/work/f"] {
            account.write(path, "there");
        }
        account.write("client/src/f", "sent");
        let d = account.d("").display().to_string();
        account.grant(
            "playground.chef1",
            &format!(
                "federation = \"playground\"\npod = \"chef1\"\ntools = [\"rsync\"]\nconfine = \"{confine}\"\n\
                 [workspace.added]\npath = \"{d}added\"\naccess = \"rw\"\noverwrite = false\n\
                 [workspace.kept]\npath = \"{d}kept\"\naccess = \"rw\"\ndelete = false\n\
                 [workspace.versioned]\npath = \"{d}versioned\"\naccess = \"rw\"\nversions = true\n\
                 [workspace.work]\npath = \"{d}work\"\naccess = \"rw\"\n"
            ),
        );
        for option in ["--backup-dir=/added/bak", "--partial-dir=/added/bak", "--temp-dir=/added/bak"] {
            refused(&account, &["-ab", option, "src/", "h:work/"], "access.write");
        }
        refused(&account, &["-a", "-M--log-file=/added/bak/f", "src/", "h:work/"], "access.write");
        // Nor is what rsync would replace there kept as a version.
        for option in
            ["--backup-dir=/versioned/bak", "--partial-dir=/versioned/bak", "--temp-dir=/versioned/bak"]
        {
            refused(&account, &["-ab", option, "src/", "h:work/"], "access.rules");
        }
        refused(&account, &["-a", "-M--log-file=/versioned/bak/f", "src/", "h:work/"], "access.rules");
        for options in [["-a"].as_slice(), &["-a", "--inplace"], &["-a", "--delete"], &["-ab"], &["-an"]] {
            refused(&account, &[options, &["src/", "h:versioned/bak/"]].concat(), "access.rules");
        }
        ends(&rsync(&account, &["-a", "--link-dest=/versioned/bak", "src/", "h:work/"]), 0);
        ends(&rsync(&account, &["-a", "--partial-dir=/kept/part", "src/", "h:work/"]), 0);
        assert_eq!(
            ["added/bak/f", "kept/part/f", "versioned/bak/f"].map(|path| account.read(&format!("D/{path}"))),
            ["there", "there", "there"]
        );
        assert_eq!(account.read("D/work/f"), "sent");
    }
}

/// A workspace with a part that is not exposed, one that is read-only, and one that may only be written.
fn parted(how: &str) -> Account {
    let account = Account::new();
    for path in ["one", "sub/two", "private/secret", "sub/pri*[v]ate/secret", "final/done", "key"] {
        account.write(
            &format!("D/ws/{path}"),
            if path.contains("secret") || path == "key" { "SECRET" } else { "x" },
        );
    }
    account.grant(
        "playground.chef1",
        &format!(
            "federation = \"playground\"\npod = \"chef1\"\ntools = [\"rsync\"]\nnamespace = \"{how}\"\nprobes = true\n\
             [workspace.ws]\npath = \"{}\"\naccess = \"rw\"\n[workspace.ws.paths]\n\
             private = \"none\"\n\"sub/pri*[v]ate\" = \"none\"\nfinal = \"ro\"\nkey = \"none\"\nabsent = \"none\"\n",
            account.d("ws").display()
        ),
    );
    account
}

#[test]
fn a_part_that_is_not_exposed_is_not_there() {
    for how in ["auto", "required"] {
        let account = parted(how);
        let everything = ["one", "sub/two", "final/done"];
        for options in [
            ["-a"].as_slice(),
            &["-aR"],
            &["-a", "-s"],
            &["-a", "--exclude=nothing", "-F"],
            &["-a", "--filter=!"],
        ] {
            for (source, below) in
                [("h:ws/", ""), ("h:ws", "ws"), ("h:ws/*", ""), ("h:ws/./", ""), ("h:ws/sub", "")]
            {
                let _ = fs::remove_dir_all(account.root.join("client/got"));
                let output = rsync(&account, &[options, &[source, "got/"]].concat());
                ends(&output, 0);
                let got = picture(&account.root.join("client/got"));
                for hidden in ["private", "pri*", "key", "secret"] {
                    assert!(!got.contains(hidden), "{options:?} {source}: {got}");
                }
                if !source.ends_with("sub") && !options.contains(&"-aR") {
                    for path in everything {
                        let got = account.read(&format!("client/got/{below}/{path}"));
                        assert_eq!(got, "x", "{options:?} {source}");
                    }
                }
            }
        }
        // A client of its own kind can have the gate's filters forgotten, and finds an empty directory.
        for filters in [["!"].as_slice(), &["!", "+ *"], &["+ private/***", "+ key"]] {
            let heard = protocol::listing(
                &account,
                &["--grant", "playground.chef1"],
                "rsync --server --sender -r . ws/",
                filters,
            );
            let heard = String::from_utf8_lossy(&heard).into_owned();
            assert!(heard.contains("two") && heard.contains("final"), "{heard:?}");
            assert!(!heard.contains("secret") && !heard.contains("SECRET"), "{heard:?}");
            assert_eq!(heard.contains("private"), filters[0] == "!", "{heard:?}");
        }
        for path in ["private", "private/secret", "private/nothing", "key", "absent", "sub/pri\\*\\[v\\]ate/"]
        {
            refused(&account, &["-a", &format!("h:ws/{path}"), "got/"], "access.read");
            refused(&account, &["-a", "src/", &format!("h:ws/{path}")], "access.write");
        }
    }
}

#[test]
fn a_push_around_a_part_that_it_may_not_change_leaves_it_as_it_is() {
    let account = parted("auto");
    // What is not there could be made, and not be kept apart.
    refused(&account, &["-a", "src/", "h:ws/"], "path.mixed");
    fs::create_dir(account.d("ws/absent")).unwrap();
    let kept = || {
        ["private", "sub/pri*[v]ate", "final", "key", "absent"]
            .map(|part| picture(&account.d("ws").join(part)))
    };
    let before = kept();
    account.write("client/src/new", "new");
    account.write("client/src/sub/two", "changed");
    ends(&rsync(&account, &["-a", "src/", "h:ws/"]), 0);
    assert_eq!((account.read("D/ws/new"), account.read("D/ws/sub/two")), ("new".into(), "changed".into()));
    ends(&rsync(&account, &["-a", "--delete", "src/", "h:ws/"]), 0);
    assert!(!account.d("ws/one").exists());
    for path in ["private/secret", "private/new", "final/done", "final/new", "key", "absent/new"] {
        account.write(&format!("client/src/{path}"), "forced");
    }
    for options in
        ["-a", "-aI --inplace", "-a --delete --filter=!", "-a --delete-before --force --filter=!", "-ab"]
    {
        let options: Vec<&str> = options.split(' ').collect();
        ends(&rsync(&account, &[&options[..], &["src/", "h:ws/"]].concat()), 23);
        assert_eq!(kept(), before, "{options:?}");
    }
}

#[test]
fn parts_that_only_a_namespace_keeps_apart_need_one() {
    let account = parted("off");
    refused(&account, &["-a", "h:ws/", "got/"], "path.mixed");
    refused(&account, &["-a", "src/", "h:ws/"], "path.mixed");
    ends(&rsync(&account, &["-a", "h:ws/one", "h:ws/final", "got/"]), 0);
}

#[test]
fn a_snapshot_that_may_only_be_read_is_a_basis_and_stays_what_it_is() {
    use std::os::unix::fs::MetadataExt as _;
    for confine in ["required", "off"] {
        for namespace in ["auto", "off"] {
            let account = Account::new();
            account.write("D/snapshots/day1/f", "the same content");
            account.write("D/added/day1/f", "the same content");
            account.write("D/work/day1/f", "the same content");
            account.write("client/src/f", "the same content");
            let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_400_000_000);
            for path in ["D/snapshots/day1/f", "D/added/day1/f", "D/work/day1/f", "client/src/f"] {
                let file = fs::File::options().write(true).open(account.root.join(path)).unwrap();
                file.set_modified(long_ago).unwrap();
            }
            let d = account.d("").display().to_string();
            account.grant(
                "playground.chef1",
                &format!(
                    "federation = \"playground\"\npod = \"chef1\"\ntools = [\"rsync\"]\n\
                     confine = \"{confine}\"\nnamespace = \"{namespace}\"\n\
                     [workspace.snapshots]\npath = \"{d}snapshots\"\naccess = \"ro\"\n\
                     [workspace.added]\npath = \"{d}added\"\naccess = \"rw\"\noverwrite = false\n\
                     [workspace.work]\npath = \"{d}work\"\naccess = \"rw\"\n"
                ),
            );
            let inode = |path: &str| fs::metadata(account.d(path)).unwrap().ino();
            for (option, basis, linked) in [
                ("--link-dest", "snapshots", false),
                ("--link-dest", "added", false),
                ("--link-dest", "work", true),
                ("--copy-dest", "snapshots", false),
            ] {
                let before = picture(&account.d(basis).join("day1"));
                let to = format!("h:work/{basis}{option}/");
                let option = format!("{option}=/{basis}/day1");
                let output = rsync(&account, &["-a", "--stats", &option, "src/", &to]);
                ends(&output, 0);
                assert!(said(&output).contains("files transferred: 0"), "{option}: {}", said(&output));
                let copy = format!("{}f", to.strip_prefix("h:").unwrap());
                assert_eq!(account.read(&format!("D/{copy}")), "the same content");
                assert_eq!(
                    inode(&copy) == inode(&format!("{basis}/day1/f")),
                    linked,
                    "{confine} {namespace} {option}"
                );
                if !linked {
                    // A second name would be a way to write it.
                    account.write("client/src2/f", "other content of another length");
                    ends(&rsync(&account, &["-a", "--inplace", "src2/", &to]), 0);
                    assert_eq!(
                        picture(&account.d(basis).join("day1")),
                        before,
                        "{confine} {namespace} {option}"
                    );
                }
            }
        }
    }
}
