//! `akeys audit`: findings with their place, for people, programs and SARIF, and what can be mended.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::akeys_home::{FOREIGN, Home, OTHER, Ran};
use crate::support::{is_root, our_program};

const CLEAN: &str = "restrict,from=\"10.1.0.0/16\",expiry-time=\"20991231Z\",command=\"/bin/true\"";

/// Runs `akeys audit` with `text` on its standard input: nothing of the machine plays a part.
fn piped(home: &Home, text: &str, more: &[&str]) -> Ran {
    let args = [&["audit", "--file", "-", "--target", "openssh-9.2"], more].concat();
    let mut child = home
        .command(&args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Ran::from(&child.wait_with_output().unwrap())
}

#[test]
fn a_finding_has_a_place_a_code_and_advice() {
    let home = Home::new();
    let text = format!("{CLEAN} {FOREIGN} a\nrestrict,comand=\"x\" {FOREIGN} \x1b[31m\n");
    let ran = piped(&home, &text, &[]);
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(
        ran.out.contains(
            "-:2:10: high dead-options: unknown option \"comand\"\n  hint: did you mean \"command\"?\n"
        ),
        "{ran:?}"
    );
    assert!(ran.out.contains("low control-bytes") && !ran.out.contains('\x1b'), "{ran:?}");
    assert!(ran.err.contains("2 findings: 1 high, 1 low"), "{ran:?}");
    let high = piped(&home, &text, &["--severity", "high"]);
    assert!(!high.out.contains("control-bytes") && high.out.contains("dead-options"), "{high:?}");
}

#[test]
fn a_clean_file_ends_with_0() {
    let home = Home::new();
    let ran = piped(&home, &format!("# mine\n{CLEAN} {FOREIGN} a\n"), &["--severity", "info"]).ok();
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", "akeys: no findings\n"));
    piped(&home, "", &[]).ok();
}

#[test]
fn json_and_sarif_say_the_same() {
    let home = Home::new();
    let text = format!("\u{fc} {FOREIGN} a\n{CLEAN} {FOREIGN} a");
    let read = |more: &[&str]| -> Value {
        let ran = piped(&home, &text, more);
        assert_eq!(ran.code, 5, "{ran:?}");
        assert!(ran.out.is_ascii());
        serde_json::from_str(&ran.out).unwrap()
    };
    let json = read(&["--json"]);
    let codes: Vec<&str> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["dead-options", "no-final-newline"]);
    assert_eq!(
        (&json["findings"][0]["line"], &json["findings"][1]["fix"]),
        (&1.into(), &"ends the last line".into())
    );
    let sarif = read(&["--sarif"]);
    let run = &sarif["runs"][0];
    assert_eq!((&sarif["version"], &run["tool"]["driver"]["name"]), (&"2.1.0".into(), &"akeys audit".into()));
    for (index, code) in codes.iter().enumerate() {
        let result = &run["results"][index];
        assert_eq!(result["ruleId"], *code);
        let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], *code);
        assert_eq!(
            result["locations"][0]["physicalLocation"]["region"]["startLine"],
            json["findings"][index]["line"]
        );
    }
}

#[test]
fn modes_and_the_second_file_are_seen() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{CLEAN} {FOREIGN} a\n"));
    home.write(".ssh/authorized_keys2", "");
    home.write(".ssh/authorized_keys.bak", "");
    let mode =
        |name: &str, mode| fs::set_permissions(home.path().join(name), Permissions::from_mode(mode)).unwrap();
    mode(".ssh", 0o700);
    mode(".ssh/authorized_keys", 0o666);
    let ran = home.akeys(&["audit", "--severity", "info"]);
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(
        ran.out.contains(
            "~/.ssh/authorized_keys: high strict-mode: ~/.ssh/authorized_keys can be written by everybody"
        ),
        "{ran:?}"
    );
    assert!(ran.out.contains("hint: chmod go-w ~/.ssh/authorized_keys"), "{ran:?}");
    assert!(ran.out.contains("~/.ssh/authorized_keys2: info second-file"), "{ran:?}");
    assert!(ran.out.contains("~/.ssh/authorized_keys.bak: medium unread-file"), "{ran:?}");
}

/// A file with a flag of chattr(1), which goes again.
struct Flagged<'a>(&'a Path);

impl<'a> Flagged<'a> {
    fn new(path: &'a Path, flag: &str) -> Option<Self> {
        let set = Command::new("chattr").arg(flag).arg(path).output();
        set.is_ok_and(|set| set.status.success()).then_some(Self(path))
    }
}

impl Drop for Flagged<'_> {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-ia").arg(self.0).output();
    }
}

#[test]
fn a_file_that_nobody_can_change_is_seen_and_why() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{CLEAN} {FOREIGN} a\n"));
    let mut read_only = Command::new("unshare");
    let user: &[&str] = if is_root() { &[] } else { &["--user", "--map-root-user"] };
    let script = "mount --bind .ssh .ssh; mount -o remount,bind,ro .ssh; echo mounted; exec \"$0\" audit";
    home.settle(&mut read_only).args(user).args(["--mount", "sh", "-euc", script]);
    let ran = Ran::from(&read_only.arg(our_program("akeys")).output().unwrap());
    if ran.out.starts_with("mounted\n") {
        let says = "~/.ssh/authorized_keys: medium read-only-fs: the file system is read-only";
        assert!(ran.code == 5 && ran.out.contains(says), "{ran:?}");
    } else {
        eprintln!("a read-only file system was not tried: {}", ran.err.trim());
    }

    let path = home.path().join(".ssh/authorized_keys");
    for set in ["+i", "+a"] {
        let Some(flagged) = Flagged::new(&path, set) else {
            eprintln!("chattr {set} was not tried: it takes root, and a file system that knows it");
            return;
        };
        let (audit, add) = (home.akeys(&["audit"]), home.akeys(&["add", OTHER]));
        drop(flagged);
        let says = "~/.ssh/authorized_keys: medium immutable: the file has the flag i (immutable) or a (append only)";
        assert!(audit.code == 5 && audit.out.contains(says), "{set}: {audit:?}");
        assert!(audit.out.contains("hint: chattr -ia ~/.ssh/authorized_keys"), "{set}: {audit:?}");
        assert!(add.code == 1 && add.err.contains("chattr -ia"), "{set}: {add:?}");
        assert_eq!(home.keys(), format!("{CLEAN} {FOREIGN} a\n"), "{set}");
        assert_eq!(home.names(".ssh"), ["authorized_keys"], "{set}");
    }
    home.akeys(&["audit"]).ok();
}

/// The label is an attribute like any other where SELinux is not at work.
#[test]
fn a_label_that_sshd_may_not_read_is_seen_and_a_change_keeps_it() {
    let home = Home::new();
    home.write(".ssh/authorized_keys", &format!("{CLEAN} {FOREIGN} a\n"));
    let path = home.path().join(".ssh/authorized_keys");
    let label = b"system_u:object_r:tmp_t:s0";
    if let Err(error) = xattr::set(&path, "security.selinux", label) {
        eprintln!("not tried, as it takes root: {error}");
        return;
    }
    let ran = home.akeys(&["audit"]);
    let says = "~/.ssh/authorized_keys: medium selinux-type: its SELinux type is tmp_t";
    assert!(ran.code == 5 && ran.out.contains(says), "{ran:?}");
    assert!(ran.out.contains("hint: restorecon ~/.ssh/authorized_keys"), "{ran:?}");
    home.akeys(&["add", OTHER, "--restrict"]).ok();
    assert_eq!(xattr::get(&path, "security.selinux").unwrap().as_deref(), Some(&label[..]));
    xattr::set(&path, "security.selinux", b"system_u:object_r:ssh_home_t:s0").unwrap();
    assert!(!home.akeys(&["audit"]).out.contains("selinux"));
}

#[test]
fn fix_shows_first_and_mends_only_when_told() {
    let home = Home::new();
    let before = format!(
        "# mine\nrestrict,,command=\"/bin/true\" {FOREIGN} a\nrestrict,command=\"/bin/true\" {FOREIGN} b\nexpiry-time=\"20200101Z\",{CLEAN} {FOREIGN} c\ncomand=\"x\" {FOREIGN}"
    );
    let before = before.replace(",expiry-time=\"20991231Z\"", "");
    home.write(".ssh/authorized_keys", &before);
    let preview = home.akeys(&["audit", "--fix"]);
    assert_eq!(preview.code, 5, "{preview:?}");
    assert!(
        preview
            .out
            .contains("~/.ssh/authorized_keys:2: trailing-comma: takes the comma out\n- restrict,,command"),
        "{preview:?}"
    );
    assert!(preview.err.contains("--yes changes it"), "{preview:?}");
    assert_eq!(home.keys(), before);
    home.akeys(&["audit", "--fix", "--yes"]).ok();
    let expired =
        format!("expiry-time=\"20200101Z\",{CLEAN} {FOREIGN} c").replace(",expiry-time=\"20991231Z\"", "");
    let after = format!(
        "# mine\nrestrict,command=\"/bin/true\" {FOREIGN} a\n# akeys-disabled: {expired}\ncomand=\"x\" {FOREIGN}\n"
    );
    assert_eq!(home.keys(), after);
    let again = home.akeys(&["audit", "--fix", "--yes"]).ok();
    assert!(again.err.contains("nothing can be mended"), "{again:?}");
    assert_eq!(home.keys(), after);
    home.akeys(&["audit", "--yes"]).fails(2, "--fix");
    home.akeys(&["audit", "--fix", "--file", "x"]).fails(2, "cannot be used with");
}

#[test]
fn the_codes_are_listed() {
    let home = Home::new();
    let text = home.akeys(&["audit", "--codes"]).ok().out;
    assert!(text.lines().any(|line| line.starts_with("dead-options ") && line.contains(" high ")), "{text}");
    assert!(!text.contains("no-expiry"));
    let all: Value =
        serde_json::from_str(&home.akeys(&["audit", "--codes", "--severity", "info", "--json"]).ok().out)
            .unwrap();
    assert!(all.as_array().unwrap().len() > 100);
}

#[test]
fn a_missing_or_strange_file_is_an_error() {
    let home = Home::new();
    home.akeys(&["audit", "--file", "nothing"]).fails(4, "nothing: No such file");
    home.make(".ssh/authorized_keys");
    let ran = home.akeys(&["audit"]);
    assert!(ran.out.contains("high not-a-file") && ran.code == 5, "{ran:?}");
    fs::remove_dir(home.path().join(".ssh/authorized_keys")).unwrap();
    let ran = home.akeys(&["audit", "--fix"]).ok();
    assert!(ran.err.contains("nothing can be mended"), "{ran:?}");
    home.akeys(&["audit", "--file", "."]).fails(1, "Is a directory");
}
