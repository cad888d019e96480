//! `akeys install`: one line, one policy, and nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Command;

use crate::akeys_home::{FOREIGN, Home};
use crate::support::{copy_program, our_program};

#[test]
fn one_line_and_one_policy() {
    let home = Home::with_federation();
    let ran = home
        .install(&[
            "--federation",
            "playground",
            "--workspace",
            &format!("{}:docs", home.at("papers")),
            "--writable",
            "docs/build",
            "--from",
            "10.1.0.0/16,*.example.org",
            "--expires",
            "2127-12-31",
        ])
        .ok();
    let words = "playground.chef1 may: rsync; read docs, read and write docs/build; \
                 from 10.1.0.0/16,*.example.org; until 2127-12-31\n";
    assert!(ran.out.starts_with(words), "{ran:?}");
    let key = home.read(".ssh/akeys/playground.chef1.pub");
    let key = key.rsplit_once(' ').unwrap().0;
    let gate = home.gate().canonicalize().unwrap();
    assert_eq!(
        home.keys(),
        format!(
            "restrict,from=\"10.1.0.0/16,*.example.org\",expiry-time=\"21271231Z\",command=\"{} --grant \
             playground.chef1\" {key} akeys:playground.chef1\n",
            gate.display()
        )
    );
    let policy = home.read(".config/akeys/grants/playground.chef1.toml");
    assert!(policy.contains("path = \"~/papers\"\naccess = \"ro\"\n"), "{policy}");
    assert!(policy.contains("expires = 2127-12-31T00:00:00Z\n"), "{policy}");
    let mode = |name: &str| home.path().join(name).metadata().unwrap().mode() & 0o7777;
    for (name, expected) in [
        (".ssh", 0o700),
        (".ssh/authorized_keys", 0o600),
        (".config/akeys/grants", 0o700),
        (".config/akeys/grants/playground.chef1.toml", 0o600),
    ] {
        assert_eq!(mode(name), expected, "{name}");
    }
}

#[test]
fn run_again_it_changes_nothing() {
    let home = Home::with_federation();
    home.install_papers().ok();
    let before = home.everything();
    let ino = || home.path().join(".ssh/authorized_keys").metadata().unwrap().ino();
    let file = ino();
    let ran = home.install_papers().ok();
    assert!(ran.out.ends_with("installed already; nothing changed\n"), "{ran:?}");
    assert_eq!(home.everything(), before);
    assert_eq!(ino(), file);
}

#[test]
fn a_dry_run_shows_everything_and_writes_nothing() {
    let home = Home::with_federation();
    let before = home.everything();
    let args = ["--federation", "playground", "--workspace", &home.at("papers"), "--dry-run"];
    let ran = home.install(&args).ok();
    assert!(ran.out.contains("    restrict,command=\""), "{ran:?}");
    assert!(ran.out.contains("    federation = \"playground\"\n"), "{ran:?}");
    assert_eq!(home.everything(), before);
    // What it shows is what then happens.
    home.install(&args[..4]).ok();
    let line = ran.out.lines().find(|line| line.starts_with("    restrict")).unwrap();
    assert_eq!(home.keys().trim_end(), line.trim());
}

#[test]
fn foreign_lines_keep_every_byte() {
    for (before, glue) in [
        (format!("# mine\n\n{FOREIGN} alice\n"), ""),
        (FOREIGN.to_owned(), "\n"),
        (format!("{FOREIGN} a\r\n# b\r\n"), ""),
        ("garbage \"unterminated\n\x00\u{202e}\n".to_owned(), ""),
        ("\n\n\n".to_owned(), ""),
    ] {
        let home = Home::with_federation();
        home.write(".ssh/authorized_keys", &before);
        home.install_papers().ok();
        let after = home.keys();
        let added = after.strip_prefix(&format!("{before}{glue}")).unwrap_or_else(|| panic!("{after:?}"));
        assert_eq!(added.lines().count(), 1, "{after:?}");
        assert!(added.starts_with("restrict,command=\""), "{after:?}");
        assert_eq!(added.ends_with("\r\n"), before.contains("\r\n"), "{after:?}");
        home.akeys(&["remove", "--federation", "playground"]).ok();
        assert_eq!(home.keys(), format!("{before}{glue}"));
    }
}

#[test]
fn a_key_with_other_options_is_a_conflict_that_shows_both() {
    let home = Home::with_federation();
    let public = home.read(".ssh/akeys/playground.chef1.pub");
    for line in [
        public.clone(),
        format!("restrict,command=\"/bin/date\" {public}"),
        format!("comand=\"x\" {public}"),
        format!("# akeys-disabled: {public}"),
    ] {
        home.write(".ssh/authorized_keys", &format!("# first\n{line}"));
        let before = home.everything();
        let ran = home.install_papers().fails(3, "~/.ssh/authorized_keys:2: this key is there");
        assert!(
            ran.err.contains("\n  there: ") && ran.err.contains("\n  here:  restrict,command="),
            "{ran:?}"
        );
        let changed: Vec<_> = home.everything().into_iter().filter(|entry| !before.contains(entry)).collect();
        assert!(changed.is_empty(), "{changed:?}");
    }
    // A comment that merely holds the key is no key.
    home.write(".ssh/authorized_keys", &format!("# {public}"));
    home.install_papers().ok();
}

#[test]
fn a_key_that_the_next_file_lets_in_was_installed_all_the_same() {
    let home = Home::with_federation();
    home.install_papers().ok();
    let line = home.keys();
    let key: Vec<&str> = line.split(' ').rev().take(3).collect();
    home.write(".ssh/authorized_keys", "");
    home.write(".ssh/authorized_keys2", &format!("# mine\n{} {} pod\n", key[2], key[1]));
    let words = ["--federation", "playground", "--workspace", &home.at("papers"), "--from", "10.0.0.0/8"];
    let ran = home.install(&words);
    ran.fails(
        3,
        "~/.ssh/authorized_keys2:2: sshd reads this file too, and the key is there with other options",
    );
    assert_eq!(home.keys(), "");
    // What has been installed before it came is found by the audit, which names the line that undoes the other.
    home.write(".ssh/authorized_keys", &format!("from=\"10.0.0.0/8\",{line}"));
    let audit = home.akeys(&["audit"]);
    let told = "~/.ssh/authorized_keys2: high fallthrough: line 2: lets this key in where line 1 of ~/.ssh/authorized_keys refuses it";
    assert!(audit.code == 5 && audit.out.contains(told), "{audit:?}");
}

#[test]
fn another_policy_is_a_conflict_that_shows_the_difference() {
    let home = Home::with_federation();
    home.make("other");
    home.install_papers().ok();
    let before = home.everything();
    let ran = home.install(&["--federation", "playground", "--workspace", &home.at("other")]);
    let ran = ran.fails(3, "the grant playground.chef1 is there with another policy");
    assert!(
        ran.err.contains("  - path = \"~/papers\"") && ran.err.contains("  + path = \"~/other\""),
        "{ran:?}"
    );
    assert_eq!(home.everything(), before);
}

#[test]
fn a_new_key_under_an_old_name_is_a_conflict() {
    let home = Home::with_federation();
    home.install_papers().ok();
    let pod = Home::new();
    pod.akeys(&["federation", "new", "playground", "--pod", "chef1"]).ok();
    home.write("new.toml", &pod.akeys(&["federation", "export", "playground", "--unsigned"]).ok().out);
    home.akeys(&["federation", "remove", "--imported", "playground"]).ok();
    let before = home.everything();
    let ran = home.install(&["--bundle", &home.at("new.toml"), "--workspace", &home.at("papers")]);
    ran.fails(3, "the grant playground.chef1 is there for another key");
    assert_eq!(home.everything(), before);
}

#[test]
fn a_policy_without_its_line_is_completed() {
    let home = Home::with_federation();
    home.install_papers().ok();
    let keys = home.keys();
    home.write(".ssh/authorized_keys", "");
    let ran = home.install_papers().ok();
    assert!(ran.out.ends_with("the policy was there; added one line to ~/.ssh/authorized_keys\n"), "{ran:?}");
    assert_eq!(home.keys(), keys);
    fs::remove_file(home.path().join(".config/akeys/grants/playground.chef1.toml")).unwrap();
    let ran = home.install_papers().ok();
    assert!(ran.out.contains("the key line was there; wrote ~/.config/akeys/grants/playground.chef1.toml"));
    assert_eq!(home.keys(), keys);
}

#[test]
fn a_policy_that_others_can_write_is_refused() {
    let home = Home::with_federation();
    home.install_papers().ok();
    let policy = home.path().join(".config/akeys/grants/playground.chef1.toml");
    fs::set_permissions(&policy, Permissions::from_mode(0o664)).unwrap();
    home.install_papers().fails(1, "can be written by group or others");
}

#[test]
fn what_hands_over_the_account_is_no_workspace() {
    let home = Home::with_federation();
    for dir in [".config", ".local/bin", "dotfiles/bash", ".ssh/sub"] {
        home.make(dir);
    }
    symlink("dotfiles/bash/rc", home.path().join(".bashrc")).unwrap();
    symlink(home.path(), home.around().join("alias")).unwrap();
    let before = home.everything();
    let around = home.around().to_str().unwrap().to_owned();
    for (dir, says) in [
        (home.at(""), "is the home directory"),
        (format!("{around}/alias"), "is the home directory"),
        ("~".to_owned(), "is the home directory"),
        (".".to_owned(), "is the home directory"),
        (around.clone(), "/home, the home directory"),
        ("/".to_owned(), "/home, the home directory"),
        (home.at(".ssh"), "is a place which decides who may log in"),
        (home.at(".ssh/sub"), "lies inside"),
        (home.at(".config"), "contains"),
        (home.at(".local/bin"), "is a place from which"),
        (home.at("dotfiles"), ".bashrc"),
        (format!("{around}/bin"), "is a place where the gate's programs are"),
        ("/etc".to_owned(), "/etc is a system directory: it contains /etc/ssh\n"),
        ("/var".to_owned(), "/var is a system directory: it contains /var/spool/cron\n"),
        ("/usr/bin".to_owned(), "/usr/bin is a system directory\n"),
        ("/usr/lib/ssl".to_owned(), "lib, a system directory\n"),
    ] {
        let workspace = format!("{dir}:w");
        let ran = home.install(&["--federation", "playground", "--workspace", &workspace]);
        let ran = ran.fails(1, "refused as a workspace: ");
        assert!(ran.err.contains(says), "{dir}: {ran:?}");
    }
    assert_eq!(home.everything(), before);
}

#[test]
fn words_that_mean_nothing_are_usage_errors() {
    let home = Home::with_federation();
    home.write("file", "");
    let before = home.everything();
    let papers = home.at("papers");
    let rw = format!("{papers}:papers=rw");
    let access_as_name = format!("{papers}:rw");
    let named_twice = format!("{papers}:papers");
    for (args, code, says) in [
        (vec![], 2, "no workspace"),
        (vec!["--workspace", &rw, "--read-only"], 2, "--read-only was given"),
        (vec!["--workspace", &rw, "--writable", "papers/x"], 2, "is writable already"),
        (vec!["--workspace", &papers, "--workspace", &named_twice], 2, "two workspaces are named papers"),
        (vec!["--workspace", &papers, "--writable", "other/x"], 2, "which no --workspace does"),
        (vec!["--workspace", &papers, "--writable", "papers/../x"], 2, "not NAME/SUB"),
        (vec!["--workspace", &papers, "--from", "10.0.0.1/8"], 2, "is not a CIDR block"),
        (vec!["--workspace", &papers, "--from", "x\",command=\"sh"], 2, "a character other than"),
        (vec!["--workspace", &papers, "--expires", "soon"], 2, "neither a date"),
        (vec!["--workspace", &papers, "--expires", "2001-01-01"], 1, "would have ended on 2001-01-01"),
        (vec!["--workspace", &papers, "--tools", "shell"], 2, "unknown variant `shell`"),
        (vec!["--workspace", "nowhere"], 4, "No such file"),
        (
            vec!["--workspace", "papers=rw"],
            4,
            "\nhint: DIR:NAME=ACCESS, as in --workspace papers:papers=rw\n",
        ),
        (vec!["--workspace", &access_as_name], 2, "\"rw\" is an access and no name: DIR:NAME=ACCESS, as in "),
        (vec!["--workspace", "file"], 1, "is not a directory"),
        (vec!["--workspace", &papers, "--bundle", "x"], 2, "cannot be used with"),
        (vec!["--workspace", &papers, "--gate-is", "x"], 2, "unexpected argument"),
    ] {
        home.install(&[&["--federation", "playground"], args.as_slice()].concat()).fails(code, says);
    }
    home.install(&["--federation", "nobody", "--workspace", &papers]).fails(4, "no federation nobody");
    home.install(&["--bundle", "nosuch", "--workspace", &papers]).fails(4, "nosuch: No such file");
    let no_gate = ["install", "--federation", "playground", "--workspace", &papers, "--gate", "./no"];
    home.akeys(&no_gate).fails(4, "./no: No such file");
    let other = ["install", "--federation", "playground", "--workspace", &papers, "--gate", "/bin/cat"];
    home.akeys(&other)
        .fails(1, "cat is not named rrsync-rs\nhint: the gate's file name starts with rrsync-rs\n");
    assert_eq!(home.everything(), before);
}

#[test]
fn the_users_word_decides_and_differences_are_said() {
    let home = Home::new();
    let new =
        ["federation", "new", "playground", "--pod", "chef1", "--access", "rw", "--from", "10.1.0.0/16"];
    home.akeys(&[&new[..], &["--workspace", "~/papers:papers=rw"]].concat()).ok();
    home.make("papers");
    home.install(&["--federation", "playground"])
        .fails(2, "hint: the bundle suggests: --workspace ~/papers:papers=rw");
    let ran = home.install_papers().ok();
    assert!(ran.out.starts_with("playground.chef1 may: rsync; read papers; from 10.1.0.0/16\n"), "{ran:?}");
    assert!(ran.err.contains("papers is read-only; the bundle asks to write (rw)"), "{ran:?}");
    home.akeys(&["remove", "--federation", "playground"]).ok();
    let rw = format!("{}:papers=rw", home.at("papers"));
    let args =
        ["--federation", "playground", "--workspace", &rw, "--tools", "rsync,sftp", "--from", "10.2.0.1"];
    let ran = home.install(&args).ok();
    let words = "playground.chef1 may: rsync, sftp; read and write papers; from 10.2.0.1\n";
    assert!(ran.out.starts_with(words), "{ran:?}");
    assert!(ran.err.contains("the bundle does not ask for sftp"), "{ran:?}");
}

#[test]
fn a_suggested_path_is_no_shell_command() {
    let home = Home::with_federation();
    let evil = "\n[workspace.w]\npath = \"~/x; rm -rf ~\"\nwritable = [\"$(sh)\"]\n";
    let bundle = home.akeys(&["federation", "export", "playground", "--unsigned"]).ok().out;
    home.write("evil.toml", &(bundle + evil));
    home.akeys(&["federation", "remove", "--imported", "playground"]).ok();
    let ran = home
        .install(&["--bundle", &home.at("evil.toml")])
        .fails(2, "the bundle suggests: --workspace DIR:w\n");
    assert!(!ran.err.contains("rm -rf") && !ran.err.contains("$("), "{ran:?}");
}

#[test]
fn the_gate_beside_the_program_is_found_and_must_be_safe() {
    let home = Home::with_federation();
    let program = home.around().join("bin/akeys");
    copy_program(&our_program("akeys"), &program);
    let workspace = home.at("papers");
    let run = || {
        let mut command = Command::new(&program);
        home.settle(&mut command).args(["install", "--federation", "playground", "--workspace", &workspace]);
        crate::akeys_home::Ran::from(&command.output().unwrap())
    };
    let mode = |mode| fs::set_permissions(home.gate(), Permissions::from_mode(mode)).unwrap();
    let before = home.everything();
    mode(0o775);
    run().fails(1, "can be written by group or others\nhint: chmod go-w ");
    mode(0o644);
    run().fails(1, "is not executable");
    fs::rename(home.gate(), home.around().join("elsewhere")).unwrap();
    run().fails(1, "hint: install rrsync-rs beside akeys");
    assert_eq!(home.everything(), before);
    fs::rename(home.around().join("elsewhere"), home.gate()).unwrap();
    mode(0o755);
    run().ok();
    assert!(
        home.keys()
            .contains(&format!("command=\"{} --grant ", home.gate().canonicalize().unwrap().display()))
    );
}

#[test]
fn sshd_and_ssh_keygen_read_the_line() {
    let home = Home::with_federation();
    home.install_papers().ok();
    let output =
        Command::new("ssh-keygen").args(["-l", "-f", &home.at(".ssh/authorized_keys")]).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(listed.contains(" akeys:playground.chef1 (ED25519)"), "{listed}");
    let own = home.akeys(&["list"]).ok().out;
    assert!(own.contains(listed.split(' ').nth(1).unwrap()), "{own}");
}

#[test]
fn a_directory_that_others_can_write_is_mentioned() {
    let home = Home::with_federation();
    fs::set_permissions(home.path().join(".ssh"), Permissions::from_mode(0o775)).unwrap();
    let ran = home.install_papers().ok();
    assert!(
        ran.err.contains("others can write ~/.ssh, so sshd may ignore the keys: chmod go-w ~/.ssh"),
        "{ran:?}"
    );
}

#[test]
fn a_writable_directory_that_is_missing_is_made_with_the_grant() {
    let home = Home::with_federation();
    let papers = home.at("papers");
    let args = ["--federation", "playground", "--workspace", &papers, "--writable", "papers/build/out"];
    let before = home.everything();
    let ran = home.install(&[&args[..], &["--dry-run"]].concat()).ok();
    assert!(ran.out.contains("\nwould make ~/papers/build/out\n"), "{ran:?}");
    assert_eq!(home.everything(), before);
    let ran = home.install(&args).ok();
    assert!(ran.out.contains("\nmade ~/papers/build\nmade ~/papers/build/out\nadded one line"), "{ran:?}");
    assert!(home.path().join("papers/build/out").is_dir());
    let mode = |name: &str| home.path().join(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!(mode("papers/build/out"), mode("papers"), "what mkdir gives under the same umask");
    let listed = home.akeys(&["list"]).ok().out;
    assert!(!listed.contains('!'), "{listed}");
    // Gone again, it is missed, and the same words bring it back.
    fs::remove_dir_all(home.path().join("papers/build")).unwrap();
    let says = "! papers/build/out: ~/papers/build/out does not exist";
    for command in [&["list"][..], &["grant", "show", "playground.chef1"]] {
        let out = home.akeys(command).ok().out;
        assert!(out.split_whitespace().collect::<Vec<_>>().join(" ").contains(says), "{out}");
    }
    let ran = home.install(&args).ok();
    assert!(ran.out.ends_with("made ~/papers/build/out\ninstalled already; nothing changed\n"), "{ran:?}");
}

#[test]
fn a_writable_sub_path_is_a_directory_of_the_workspace_itself() {
    let home = Home::with_federation();
    home.make("elsewhere");
    home.make("papers/real");
    home.write("papers/file", "");
    symlink("../elsewhere", home.path().join("papers/out")).unwrap();
    symlink("real", home.path().join("papers/inside")).unwrap();
    let before = home.everything();
    let papers = home.at("papers");
    for (sub, says) in [
        ("papers/file", "akeys: --writable papers/file: ~/papers/file is not a directory\n"),
        ("papers/out", "~/papers/out leads out of the workspace"),
        ("papers/out/new", "~/papers/out/new leads out of the workspace"),
        ("papers/inside", "is really real in the workspace, through a symlink\nhint: name the real place"),
    ] {
        for dry in [&[][..], &["--dry-run"]] {
            let args = ["--federation", "playground", "--workspace", &papers, "--writable", sub];
            home.install(&[&args, dry].concat()).fails(1, says);
        }
    }
    assert_eq!(home.everything(), before);
    // Whatever is already there and wrong is found as well.
    let args = ["--federation", "playground", "--workspace", &papers, "--writable", "papers/build"];
    home.install(&args).ok();
    fs::remove_dir(home.path().join("papers/build")).unwrap();
    home.write("papers/build", "");
    let listed: serde_json::Value = serde_json::from_str(&home.akeys(&["list", "--json"]).ok().out).unwrap();
    assert_eq!(listed["lines"][0]["findings"][0]["code"], "sub-path", "{listed}");
}

#[test]
fn a_failed_install_takes_back_the_directory_that_it_made() {
    let home = Home::with_federation();
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} alice\n"));
    // A file in the place of the backups makes the key file impossible to change.
    home.write(".local/state/akeys/backups", "");
    let args = ["--federation", "playground", "--workspace", &home.at("papers"), "--writable", "papers/new"];
    home.install(&args).fails(1, "backups");
    assert_eq!(home.names("papers"), [""; 0]);
    assert_eq!(home.names(".config/akeys/grants"), [""; 0]);
    assert_eq!(home.keys(), format!("{FOREIGN} alice\n"));
}
