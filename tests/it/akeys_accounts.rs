//! `--account` and `--all-users`: what root does for other accounts, and what their owners can make of it.
//!
//! The machine is made up: in a mount namespace of its own it has other accounts and another sshd configuration. Only root can
//! make one; what an ordinary user is told is at the end.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::akeys_home::{FOREIGN, Home, OTHER, Ran};
use crate::support::{copy_program, is_root, our_program};

/// Numbers that no account has on Debian.
const ANNA: u32 = 59_201;
const BOB: u32 = 59_202;

const ED_SHA: &str = "SHA256:25s8WBSp0KhPUopvzg0T/22n63+E867cDq2mYuqOuH4";
const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDhSoEWnOKUDShyRtVbnig6MQwFoNdHRK99tGhMc4vf";

/// Root, `anna` and `bob`, with homes of their own.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// `None` where this cannot be tried, and then it says why.
    fn new(sshd_config: &str) -> Option<Self> {
        let may = is_root()
            && Command::new("unshare")
                .args(["--mount", "true"])
                .status()
                .is_ok_and(|status| status.success());
        if !may {
            eprintln!("not tried: only root can make a machine with other accounts, in a mount namespace");
            return None;
        }
        let machine = Self { dir: tempfile::Builder::new().prefix("akeys-machine-").tempdir().unwrap() };
        machine.mode("", 0o755);
        let at = |name: &str| machine.at(name).display().to_string();
        let passwd = format!(
            "root:x:0:0::{}:/bin/sh\nsshd:x:59200:65534::/run/sshd:/usr/sbin/nologin\n\
             anna:x:{ANNA}:{ANNA}::{}:/bin/bash\nbob:x:{BOB}:{BOB}::{}:/bin/sh\n",
            at("root"),
            at("anna"),
            at("bob")
        );
        machine.write("passwd", &passwd, 0);
        machine.write("shadow", "root:*:20000::::::\nanna:*:20000::::::\nbob:!:20000::::::\n", 0);
        machine.write("sshd_config", sshd_config, 0);
        fs::create_dir(machine.at("bin")).unwrap();
        copy_program(&our_program("akeys"), &machine.at("bin/akeys"));
        machine.mode("bin", 0o755);
        for (home, uid) in [("root", 0), ("anna", ANNA), ("bob", BOB)] {
            fs::create_dir(machine.at(home)).unwrap();
            machine.give(home, uid);
            machine.mode(home, 0o755);
        }
        Some(machine)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), Permissions::from_mode(mode)).unwrap();
    }

    fn give(&self, name: &str, uid: u32) {
        chown(self.at(name), Some(uid), Some(uid)).unwrap();
    }

    /// A file of `uid`, and its directory too.
    fn write(&self, name: &str, text: &str, uid: u32) {
        let path = self.at(name);
        let dir = path.parent().unwrap();
        if !dir.exists() {
            fs::create_dir_all(dir).unwrap();
            chown(dir, Some(uid), Some(uid)).unwrap();
        }
        fs::write(&path, text).unwrap();
        chown(&path, Some(uid), Some(uid)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    /// A command in the machine, as root.
    fn command(&self, program: &Path, args: &[&str]) -> Command {
        let script = "for file in passwd shadow; do mount --bind \"$0/$file\" /etc/$file; done\n\
             mount --bind \"$0/sshd_config\" /etc/ssh/sshd_config && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", script]);
        command.arg(self.dir.path()).arg(program).args(args);
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", self.at("root"));
        command.current_dir(self.dir.path());
        command
    }

    fn akeys(&self, args: &[&str]) -> Ran {
        Ran::from(&self.command(&self.at("bin/akeys"), args).output().unwrap())
    }
}

/// The account `name` of a report.
fn account<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["accounts"].as_array().unwrap().iter().find(|one| one["account"] == name).unwrap()
}

#[test]
fn every_account_is_shown_with_what_sshd_reads_in_its_order() {
    let config = "AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2 /etc/ssh/no-such/%u\n\
         Match User bob\n  AuthorizedKeysFile %h/keys-%U\n  AuthorizedKeysCommand /bin/true\n  AuthorizedKeysCommandUser nobody\n";
    let Some(machine) = Machine::new(config) else { return };
    machine.write("root/.ssh/authorized_keys", &format!("restrict {ED} shared\n"), 0);
    machine.write("anna/.ssh/authorized_keys", &format!("from=\"10.0.0.0/8\" {FOREIGN} a\n"), ANNA);
    machine.write("anna/.ssh/authorized_keys2", &format!("{FOREIGN} a again\n{OTHER} o\nbroken\n"), ANNA);
    machine.write(&format!("bob/keys-{BOB}"), &format!("{OTHER} o\n{ED} shared\n"), BOB);
    machine.write("bob/.ssh/authorized_keys", &format!("{FOREIGN} not read\n"), BOB);
    let log = format!(
        "2026-11-20T12:00:00Z host sshd[1]: Accepted publickey for bob from 192.0.2.7 port 1 ssh2: ED25519 {ED_SHA}\n"
    );
    machine.write("log", &log, 0);

    let log = machine.at("log").display().to_string();
    let text = machine.akeys(&["list", "--all-users", "--last-used", "--log", &log]).ok().out;
    let anna = text.find("anna (59201").unwrap();
    let order: Vec<usize> = [
        "1. /akeys/anna/.ssh/authorized_keys: 1 key",
        "2. /akeys/anna/.ssh/authorized_keys2: 2 keys, 2 with the whole account",
        "DEAD at column 1",
        "3. /etc/ssh/no-such/anna: not there",
        "bob (59202",
        "! the account has a locked password",
        "1. /akeys/bob/keys-59202: 2 keys",
        "last used 2026-11-20 from 192.0.2.7",
        "2. AuthorizedKeysCommand /bin/true, as nobody: not looked at",
    ]
    .iter()
    .map(|part| {
        let part = part.replace("/akeys/", &format!("{}/", machine.dir.path().display()));
        anna + text[anna..].find(&part).unwrap_or_else(|| panic!("{part:?} is not in {text}"))
    })
    .collect();
    assert!(order.is_sorted(), "{order:?} {text}");
    assert!(!text.contains("not read"), "{text}");

    let json: Value =
        serde_json::from_str(&machine.akeys(&["list", "--all-users", "--json"]).ok().out).unwrap();
    let lines = &account(&json, "anna")["files"][1]["lines"];
    assert_eq!((&lines[0]["kind"], &lines[2]["kind"]), (&"key".into(), &"dead".into()));
    assert_eq!((&lines[1]["type"], &lines[1]["unrestricted"]), (&"ssh-ed25519".into(), &true.into()));

    let audit = machine.akeys(&["audit", "--all-users", "--unused", "3", "--log", &log]);
    assert_eq!(audit.code, 5, "{audit:?}");
    for part in [
        "/root/.ssh/authorized_keys:1:1: high root-key-elsewhere: this key opens bob as well",
        "/anna/.ssh/authorized_keys2:1:1: high fallthrough: lets this key in where line 1 of ",
        "/anna/.ssh/authorized_keys2:2:1: medium key-of-several-accounts: this key opens bob as well",
        "/bob: medium closed-account: the account has a locked password, and 2 keys are still there",
        "sshd: medium server-keys-command: AuthorizedKeysCommand /bin/true",
        "/bob/.ssh/authorized_keys: medium unread-file",
        "medium unused: last used on 2026-11-20",
    ] {
        assert!(audit.out.contains(part), "{part:?} is not in {audit:?}");
    }
    for form in ["--json", "--sarif"] {
        let ran = machine.akeys(&["audit", "--all-users", form]);
        let value: Value = serde_json::from_str(&ran.out).unwrap();
        assert!(ran.code == 5 && ran.out.contains("root-key-elsewhere") && value.is_object(), "{ran:?}");
    }
    let least = machine.akeys(&["audit", "--all-users", "--severity", "high"]);
    assert!(!least.out.contains(" medium ") && least.out.contains(" high "), "{least:?}");
}

#[test]
fn a_file_of_another_account_that_cannot_be_read_had_no_findings() {
    let Some(machine) = Machine::new("") else { return };
    machine.write("anna/.ssh/authorized_keys", &format!("{FOREIGN} a\n"), ANNA);
    machine.write("bob/.ssh/authorized_keys", &format!("{OTHER} o\n"), BOB);
    machine.write("root/secret", &format!("{OTHER} o\n"), 0);
    fs::set_permissions(machine.at("root/secret"), Permissions::from_mode(0o600)).unwrap();
    symlink(machine.at("root/secret"), machine.at("anna/.ssh/authorized_keys2")).unwrap();
    symlink("gone", machine.at("bob/.ssh/authorized_keys2")).unwrap();
    let audit = machine.akeys(&["audit", "--all-users"]);
    for part in [
        "anna/.ssh/authorized_keys2: medium unreadable: anna cannot read it",
        "anna/.ssh/authorized_keys2: high symlink-outside: ",
        "bob/.ssh/authorized_keys2: high not-a-file: ",
    ] {
        assert!(audit.out.contains(part), "{part:?} is not in {audit:?}");
    }
}

#[test]
fn root_changes_another_account_with_its_rights_and_leaves_its_own_alone() {
    let Some(machine) = Machine::new("") else { return };
    machine.akeys(&["--account", "anna", "add", &format!("{OTHER} desk"), "--restrict"]).ok();
    machine.akeys(&["add", "--account", "anna", &format!("{FOREIGN} lab")]).ok();
    assert_eq!(machine.read("anna/.ssh/authorized_keys"), format!("restrict {OTHER} desk\n{FOREIGN} lab\n"));
    for name in ["anna/.ssh", "anna/.ssh/authorized_keys", "anna/.local/state/akeys/backups"] {
        let metadata = fs::metadata(machine.at(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o077), (ANNA, 0), "{name}");
    }
    let listed = machine.akeys(&["--account", "anna", "list"]).ok().out;
    assert!(listed.contains("2 keys, 2 UNRESTRICTED"), "{listed}");
    machine.akeys(&["--account", "anna", "disable", "--line", "1"]).ok();
    machine.akeys(&["--account", "anna", "undo"]).ok();
    assert_eq!(machine.read("anna/.ssh/authorized_keys").lines().count(), 2);
    assert_eq!(fs::read_dir(machine.at("root")).unwrap().count(), 0);

    machine.akeys(&["--account", "nobody-here", "list"]).fails(4, "there is no account nobody-here");
    for args in
        [&["doctor"][..], &["users"], &["list", "--all-users"], &["rotate", "1", "--prove-login", "x"]]
    {
        machine.akeys(&[&["--account", "anna"], args].concat()).fails(2, "cannot be done with --account");
    }
}

/// What the owner of a home can put where the key file is looked for, and what root must not do to it.
#[test]
fn a_hostile_home_leads_root_nowhere() {
    let Some(machine) = Machine::new("") else { return };
    let secret = format!("{FOREIGN} the-secret\n");
    machine.write("vault/authorized_keys", &secret, 0);
    machine.write("open/authorized_keys", &secret, 0);
    machine.mode("vault", 0o700);
    machine.mode("open", 0o755);
    machine.mode("open/authorized_keys", 0o644);
    let ssh = machine.at("anna/.ssh");
    let file = ssh.join("authorized_keys");
    let fresh = || {
        let _ = fs::remove_dir_all(&ssh);
        let _ = fs::remove_file(&ssh);
        fs::create_dir(&ssh).unwrap();
        chown(&ssh, Some(ANNA), Some(ANNA)).unwrap();
    };
    let refused = |says: &str, seen: bool| {
        for args in [&["add", OTHER][..], &["remove", "--line", "1"], &["format"]] {
            let ran = machine.akeys(&[&["--account", "anna"], args].concat());
            assert!(ran.code != 0 && ran.err.contains(says), "{says:?}: {ran:?}");
        }
        let ran = machine.akeys(&["report", "--json", "--all-users", "--no-last-used"]).ok();
        assert_eq!(ran.out.contains("the-secret"), seen, "{ran:?}");
        assert_eq!(machine.read("vault/authorized_keys"), secret);
        assert_eq!(machine.read("open/authorized_keys"), secret);
        for dir in ["vault", "open"] {
            assert_eq!(fs::read_dir(machine.at(dir)).unwrap().count(), 1, "{dir}");
        }
    };

    fresh();
    symlink(machine.at("vault/authorized_keys"), &file).unwrap();
    refused("leads out of the home directory", false);
    fresh();
    fs::remove_dir(&ssh).unwrap();
    symlink(machine.at("vault"), &ssh).unwrap();
    refused("leads out of the home directory", false);
    // What everybody may read, the account may show; but it is not the account's to write.
    fs::remove_file(&ssh).unwrap();
    symlink(machine.at("open"), &ssh).unwrap();
    refused("leads out of the home directory", true);
    fresh();
    fs::hard_link(machine.at("open/authorized_keys"), &file).unwrap();
    refused("owned by somebody else", true);
    fresh();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    chown(&file, Some(ANNA), Some(ANNA)).unwrap();
    refused("not a regular file", false);
    fresh();
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    chown(&file, Some(ANNA), Some(ANNA)).unwrap();
    let ran = machine.akeys(&["list", "--all-users"]).ok();
    assert!(ran.out.contains("cannot be read: is larger than"), "{ran:?}");

    // The places beside the key file: backups, the lock, policies.
    fresh();
    machine.write("anna/.ssh/authorized_keys", &format!("{FOREIGN} a\n"), ANNA);
    symlink(machine.at("open"), machine.at("anna/.local")).unwrap();
    let ran = machine.akeys(&["--account", "anna", "add", OTHER]);
    assert!(ran.code != 0, "{ran:?}");
    assert_eq!(fs::read_dir(machine.at("open")).unwrap().count(), 1);
    assert_eq!(machine.read("anna/.ssh/authorized_keys"), format!("{FOREIGN} a\n"));
}

/// ssh would run with the account's number, its configuration and root's terminal.
#[test]
fn what_starts_programs_is_refused_for_another_account() {
    let Some(machine) = Machine::new("") else { return };
    for args in [
        &["federation", "update", "playground", "--host", "anna@host"][..],
        &["federation", "rotate", "playground"],
        &["install", "--federation", "playground", "--host", "anna@host"],
        &["doctor"],
        &["users"],
        &["list", "--all-users"],
    ] {
        let ran = machine.akeys(&[&["--account", "anna"], args].concat());
        ran.fails(2, "this cannot be done with --account");
    }
}

/// A program that ran with the account's number could be traced by the account, on root's terminal.
#[test]
fn no_program_is_started_once_roots_rights_are_gone() {
    let Some(machine) = Machine::new("") else { return };
    machine.write("anna/.ssh/authorized_keys", &format!("{FOREIGN} a\n"), ANNA);
    let trace = machine.at("trace").display().to_string();
    let akeys = machine.at("bin/akeys").display().to_string();
    for args in [
        &["report", "--json"][..],
        &["list", "--last-used"],
        &["audit"],
        &["add", OTHER],
        &["rotate", "1", ED],
    ] {
        let traced = ["-f", "-e", "trace=execve,setresuid", "-o", &trace, &akeys, "--account", "anna"];
        let status = machine.command(Path::new("strace"), &[&traced, args].concat()).output();
        if !status.is_ok_and(|output| output.status.code().is_some_and(|code| matches!(code, 0 | 5))) {
            eprintln!("strace is missing or may not trace: not tried");
            return;
        }
        let trace = machine.read("trace");
        let calls: Vec<&str> = trace.lines().filter(|line| line.contains("= 0")).collect();
        let given_up = calls.iter().position(|line| line.contains(&format!("setresuid({ANNA}"))).unwrap();
        assert!(calls[..given_up].iter().any(|line| line.contains("execve")), "{trace}");
        assert!(!calls[given_up..].iter().any(|line| line.contains("execve")), "{args:?}: {trace}");
    }
}

#[test]
fn an_ordinary_user_is_told_that_only_root_can() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{FOREIGN} me\n"));
    let program = home.around().join("bin/akeys");
    copy_program(&our_program("akeys"), &program);
    let run = |args: &[&str]| {
        let mut command = Command::new(&program);
        home.settle(&mut command).args(args);
        if is_root() {
            use std::os::unix::process::CommandExt as _;
            fs::set_permissions(home.around(), Permissions::from_mode(0o755)).unwrap();
            command.uid(65534).gid(65534);
        }
        Ran::from(&command.output().unwrap())
    };
    run(&["--account", "root", "list"]).fails(1, "only root can act for root");
    let told = "other accounts were not looked at: root can";
    let ran = run(&["list", "--all-users"]).ok();
    assert!(ran.err.contains(told), "{ran:?}");
    let ran = run(&["report", "--json", "--all-users"]).ok();
    assert!(ran.out.contains(told), "{ran:?}");
    let ran = run(&["audit", "--all-users"]);
    assert!(ran.err.contains(told), "{ran:?}");
}
