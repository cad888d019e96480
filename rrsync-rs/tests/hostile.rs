//! A taken-over rsync: what arbitrary code can do in its place.
//!
//! The gate runs `examples/stand_in`, which makes the system calls themselves. Nothing depends on what was asked for:
//! the kernel alone answers. Everything is denied, with what the manual admits as the only exception: without a mount
//! namespace, files outside can be seen to be there, and a push may change the metadata of the account's own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod stand_in;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::libc::{EACCES, EBADF, ENOENT, ENOSYS, EPERM, EROFS, ETXTBSY, EXDEV};
use support::{Account, content, picture, said};

/// A process of the same account that must be left alone, and a socket that must not be reached.
struct Victim {
    process: Child,
    _socket: UnixDatagram,
}

impl Victim {
    fn new() -> Self {
        let process = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let name = format!("akeys-{}", process.id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        Self { process, _socket: UnixDatagram::bind_addr(&address).unwrap() }
    }

    /// Its state in `/proc/PID/stat`: sleeping, as long as nobody has stopped or killed it.
    fn state(&self) -> String {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap_or_default();
        stat.rsplit_once(") ").map(|(_, rest)| rest[..1].to_owned()).unwrap_or_default()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An account with everything that any attack needs to succeed.
fn lay_out() -> Account {
    let account = Account::new();
    for name in ["in", "in2", "truncate", "unlink", "rename"] {
        account.write(&format!("D/{name}"), "inside\n");
        account.write(&format!("outside/{name}"), "OUTSIDE-SECRET\n");
    }
    for name in ["exchange", "moved-in"] {
        account.write(&format!("outside/{name}"), "OUTSIDE-SECRET\n");
    }
    account.write("D/sub/x", "inside\n");
    account.write("D-sibling/secret", "OUTSIDE-SECRET\n");
    account.write("home/.ssh/authorized_keys", "OUTSIDE-SECRET\n");
    fs::create_dir(account.root.join("outside/empty")).unwrap();
    symlink("secret", account.root.join("outside/link")).unwrap();
    assert!(Command::new("cp").arg("/bin/true").arg(account.d("program")).status().unwrap().success());
    fs::set_permissions(account.d("program"), fs::Permissions::from_mode(0o755)).unwrap();
    account
}

/// What became of each attack: `None` for allowed, or what denied it.
type Outcome = BTreeMap<String, Option<String>>;

/// Runs the battery through the gate: `mode` says which part of it.
fn battery(
    account: &Account,
    victim: &Victim,
    flags: &str,
    mode: &str,
    options: &str,
    path: &str,
) -> Outcome {
    let rsync = stand_in::install(account);
    let flags = format!("{rsync} {flags}");
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let scene = format!("{},{}", account.root.display(), victim.process.id());
    let command = format!("rsync --server {options} --log-format={mode},{scene} . {path}");
    let output = account.gate(&flags, &command, b"");
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| match line.split(' ').collect::<Vec<_>>().as_slice() {
            [name, "allowed"] => ((*name).to_owned(), None),
            [name, "denied", by] => ((*name).to_owned(), Some((*by).to_owned())),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Filter {
    Reader,
    Writer,
    /// A writer that may not read what is there.
    Blind,
}

/// What must happen to an attack, by the table that it stands in: `true` for allowed.
fn allowed(name: &str, filter: Filter, namespace: bool) -> bool {
    let root = nix::unistd::geteuid().is_root();
    match name.split_once('-') {
        // Root keeps owners by name.
        Some(("read", "passwd")) => root,
        Some(("read", "proc-root")) => root && !namespace,
        Some(("look", _)) => !namespace,
        Some(("metadata", _)) => filter != Filter::Reader && !namespace,
        Some(("inside", "read" | "list")) => filter != Filter::Blind,
        // A descriptor of a file that may not be read.
        Some(("inside", "fchmod" | "futimens" | "fsetxattr" | "open-to-truncate")) => {
            filter == Filter::Writer
        }
        Some(("inside", _)) => filter != Filter::Reader,
        _ => false,
    }
}

/// What is denied for a reason of its own, which the filter would give too if it came to it.
fn denied_by(name: &str, errno: &str, namespace: bool) -> bool {
    if errno.starts_with("signal-") {
        // The filter ends whoever makes the calls of another architecture.
        return name.starts_with("i386-");
    }
    let errno: i32 = errno.parse().unwrap();
    match errno {
        EPERM | ENOSYS => true,
        EACCES => !name.starts_with("metadata-"),
        // Landlock's word for a link or a move between what has different rights.
        EXDEV => name.contains("link") || name.contains("rename"),
        // No number is left through which a program could be executed; no directory was inherited.
        EBADF => name.starts_with("execveat-") || name.contains("-inherited"),
        // The program that runs cannot be opened for writing, whatever the rules say.
        ETXTBSY => matches!(name, "self-exe" | "write-own-program"),
        ENOENT | EROFS => namespace,
        _ => false,
    }
}

fn check(outcome: &Outcome, filter: Filter, namespace: bool) {
    let wrong: Vec<String> = outcome
        .iter()
        .filter(|(name, denied)| match denied {
            None => !allowed(name, filter, namespace),
            Some(errno) => allowed(name, filter, namespace) || !denied_by(name, errno, namespace),
        })
        .map(|(name, denied)| format!("{name}: {}", denied.as_deref().unwrap_or("allowed")))
        .collect();
    assert!(wrong.is_empty(), "{} of {} attacks:\n{}", wrong.len(), outcome.len(), wrong.join("\n"));
    assert!(outcome.len() > 180, "{}", outcome.len());
}

/// Everything that no session may touch, without the metadata that a push may change.
fn untouchable(account: &Account) -> Vec<Vec<String>> {
    ["outside", "home/.ssh", "D-sibling"].iter().map(|part| content(&account.root.join(part))).collect()
}

/// One session of each kind: flags, direction's options, path.
const PULL: (&str, &str) = ("--sender -re.iLsfxCIvu", "in");
const PUSH: (&str, &str) = ("-re.iLsfxCIvu", ".");

/// Tries everything in a pull, and holds what happened against the tables.
fn pull(flags: &str, path: &str, namespace: bool) {
    let (account, victim) = (lay_out(), Victim::new());
    let before = picture(&account.root);
    let flags = prepare(&account, flags, namespace);
    let outcome = battery(&account, &victim, &flags, "battery", PULL.0, path);
    check(&outcome, Filter::Reader, namespace);
    for part in ["D", "outside", "home/.ssh", "D-sibling"] {
        let lines = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.starts_with(part)).map(str::to_owned).collect()
        };
        assert_eq!(lines(&picture(&account.root)), lines(&before), "{part}");
    }
    assert_eq!(victim.state(), "S");
}

/// Tries everything in a push.
fn push(flags: &str, path: &str, namespace: bool) {
    let (account, victim) = (lay_out(), Victim::new());
    let (all, before) = (picture(&account.root.join("outside")), untouchable(&account));
    let flags = prepare(&account, flags, namespace);
    let outcome = battery(&account, &victim, &flags, "battery", PUSH.0, path);
    let filter = if flags.contains("-wo") { Filter::Blind } else { Filter::Writer };
    check(&outcome, filter, namespace);
    assert_eq!(untouchable(&account), before);
    assert!(!namespace || picture(&account.root.join("outside")) == all);
    assert_eq!(victim.state(), "S");
}

/// The gate's flags for a session: a grant is written, a drop-in's directory added.
fn prepare(account: &Account, flags: &str, namespace: bool) -> String {
    let (d, how) = (account.d(""), if namespace { "required" } else { "off" });
    if !flags.contains("--grant") {
        return format!("{flags} -namespace {how} {}", d.display());
    }
    let text = format!(
        "federation = \"f\"\npod = \"p\"\ntools = [\"rsync\"]\nnamespace = \"{how}\"\n\
         [limits]\nsessions = 2\n\
         [workspace.w]\npath = \"{}\"\naccess = \"rw\"\n",
        d.display()
    );
    account.grant("f.p", &text);
    flags.to_owned()
}

#[test]
fn a_pull_that_was_taken_over_can_do_nothing() {
    pull("-ro", PULL.1, false);
    pull("--grant f.p", "w/in", false);
}

#[test]
fn a_pull_in_a_namespace_sees_nothing() {
    pull("-ro", PULL.1, true);
    pull("--grant f.p", "w/in", true);
}

#[test]
fn a_push_that_was_taken_over_can_do_what_the_manual_admits() {
    push("-no-lock", PUSH.1, false);
    push("-wo", PUSH.1, false);
    push("--grant f.p", "w/", false);
}

#[test]
fn a_push_in_a_namespace_sees_nothing() {
    push("-no-lock", PUSH.1, true);
    push("-wo", PUSH.1, true);
    push("--grant f.p", "w/", true);
}

/// What a session has, seen from outside: its status, its descriptors and its mounts.
fn from_outside(flags: &str, options: &str) -> (String, Vec<String>, Vec<String>) {
    let account = lay_out();
    let flags = format!("{} {flags}", stand_in::install(&account));
    let command = format!("rsync --server {options} --log-format=stop . .");
    let mut child = stand_in::start_stopped(&account, &flags, &command).unwrap();
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let status = fs::read_to_string(proc.join("status")).unwrap();
    let short = |path: PathBuf| path.to_string_lossy().replace(account.root.to_str().unwrap(), "");
    let descriptors = fs::read_dir(proc.join("fd")).unwrap().flatten();
    let mut descriptors: Vec<String> = descriptors
        .filter(|entry| !matches!(entry.file_name().to_str(), Some("0" | "1" | "2")))
        .map(|entry| short(fs::read_link(entry.path()).unwrap()))
        // Without numbers that are others each time.
        .map(|path| path.trim_end_matches(|c: char| c.is_ascii_hexdigit() || "-[]".contains(c)).to_owned())
        .collect();
    descriptors.sort();
    let mounts = fs::read_to_string(proc.join("mountinfo")).unwrap();
    let mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mounts = mounts.map(|words| format!("{} {}", short(words[4].into()), &words[5][..2])).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    (status, descriptors, mounts)
}

#[test]
fn a_session_has_no_capability_no_descriptor_and_no_mount_that_it_does_not_need() {
    let root = nix::unistd::geteuid().is_root();
    for (flags, options, lock, access) in [
        ("-ro -namespace off", PULL.0, false, ""),
        ("-wo -namespace off", PUSH.0, true, ""),
        ("-ro -namespace required", PULL.0, false, "ro"),
        ("-wo -namespace required", PUSH.0, true, "rw"),
    ] {
        let (status, descriptors, mounts) = from_outside(flags, options);
        let field = |name: &str| -> String {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".into(), "2".into()), "{flags}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert!(root || field(set).bytes().all(|b| b == b'0'), "{flags}: {set} {}", field(set));
        }
        let expected: &[&str] = if lock { &["/", "/D/.akeys-staging", "pipe:"] } else { &[] };
        assert_eq!(descriptors, expected, "{flags}");
        if !access.is_empty() {
            let mut expected = vec!["/ ro".to_owned(), format!("/D {access}")];
            if root {
                let names = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];
                let there = names.iter().filter(|name| Path::new(name).exists());
                expected.extend(there.map(|name| format!("{name} ro")));
            }
            assert_eq!(mounts, expected, "{flags}");
        }
    }
}

#[test]
fn a_host_without_namespaces_refuses_only_who_demands_one() {
    for (how, served) in [("auto", true), ("off", true), ("required", false)] {
        let account = lay_out();
        // Root without the capability for it; an ordinary user is root in a namespace first, and then the same.
        let ordinary = !nix::unistd::geteuid().is_root();
        let mut gate = Command::new(if ordinary { "unshare" } else { "setpriv" });
        if ordinary {
            gate.args(["--user", "--map-root-user", "setpriv"]);
        }
        let rsync = stand_in::install(&account);
        gate.arg("--bounding-set=-sys_admin").arg(support::GATE).args(rsync.split(' '));
        gate.args(["-wo", "-namespace", how]).arg(account.d("")).env("HOME", account.root.join("home"));
        let scene = format!("{},{}", account.root.display(), std::process::id());
        let command = format!("rsync --server -re.iLsfxCIvu --log-format=files,{scene} . .");
        let output = gate.env("SSH_ORIGINAL_COMMAND", command).stdin(Stdio::null()).output().unwrap();
        let record = account.audit().pop().unwrap();
        assert_eq!(output.status.success(), served, "{how}: {}{record}", said(&output));
        if served {
            assert_eq!(record["confinement"]["namespace"], false, "{how}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("read-secret denied"));
        } else {
            let reason = record["reason"].as_str().unwrap();
            assert!(reason.starts_with("mount namespace: cannot unshare: "), "{reason}");
        }
    }
}

#[test]
fn without_confinement_the_attacks_succeed() {
    let (account, victim) = (lay_out(), Victim::new());
    let flags = format!("-confine off -wo {}", account.d("").display());
    let outcome = battery(&account, &victim, &flags, "files", PUSH.0, PUSH.1);
    let failed: Vec<String> = outcome
        .iter()
        // What this account, or this machine without a terminal, does not have.
        .filter(|(name, _)| !matches!(name.as_str(), "read-kmsg" | "read-shadow" | "read-tty"))
        .filter(|(name, _)| !matches!(name.as_str(), "write-own-program" | "write-inherited-file"))
        .filter_map(|(name, denied)| denied.as_ref().map(|errno| format!("{name}: {errno}")))
        .collect();
    assert_eq!(failed, [""; 0]);
}
