//! What was tried against rssh, scponly, lshell, rush, authprogs, gitolite, git-shell, rsync and scp over the years, tried
//! against the gate.
//!
//! `data/attacks.tsv` has one attack a line: name, tool, what must happen, circumstances, the command. A denied one ends
//! with 1, one line on standard error and a record, and nothing has run. A confined one may run: nothing outside changes,
//! not even a mode or a time, and no secret comes out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod attack;
mod support;
mod text;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::process::{Command, Stdio};

use attack::{Attack, TABLE, lay_out};
use support::{Account, GATE, picture, said};

#[test]
fn what_must_be_denied_is_denied_and_recorded() {
    let account = lay_out();
    let before = (picture(&account.d("")), picture(&account.root.join("outside")));
    let mut wrong = Vec::new();
    let mut tried = 0;
    for attack in TABLE.lines().map(Attack::read) {
        // Another tool's attack is this one's too: a key for rsync denies it, whatever that tool would do with it.
        if attack.expect != "deny" && matches!(attack.tool, "rsync" | "command") {
            continue;
        }
        tried += 1;
        let mut gate = Command::new(GATE);
        gate.args(attack.flags()).arg(account.d("")).env_clear().env("HOME", account.root.join("home"));
        gate.current_dir(account.root.join("home")).stdin(Stdio::null());
        if let Some(sent) = attack.sent(&account) {
            gate.env("SSH_ORIGINAL_COMMAND", OsString::from_vec(sent));
        }
        let records = account.audit().len();
        let output = gate.output().unwrap();
        let record = account.audit().split_off(records);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let refused = output.status.code() == Some(1)
            && output.stdout.is_empty()
            && stderr.trim_end().lines().count() == 1
            && !stderr.contains(&account.root.display().to_string())
            && record.len() == 1
            && record[0]["verdict"] == "refuse"
            && record[0]["argv"].is_null();
        if !refused {
            wrong.push(format!("{} {:?}: {}{record:?}", attack.name, attack.command, said(&output)));
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} are not denied:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 200, "{tried}");
    assert!(!account.root.join("PWN").exists());
    assert_eq!(before, (picture(&account.d("")), picture(&account.root.join("outside"))));
}

/// A remote shell that runs `command` whatever the client asks for, and keeps what comes back.
fn hijacked(account: &Account, attack: &Attack<'_>, command: &[u8]) -> String {
    let script = account.root.join(format!("attack-{}", attack.name));
    let mut text = b"set -f\nSSH_ORIGINAL_COMMAND=$(cat <<'END'\n".to_vec();
    text.extend_from_slice(command);
    let home = account.root.join("home").display().to_string();
    let flags = attack.flags().join(" ");
    let rest = format!(
        "\nEND\n)\nexport SSH_ORIGINAL_COMMAND\nHOME='{home}' '{GATE}' {flags} -no-lock '{}' | tee -a '{}'\n",
        account.d("").display(),
        account.root.join("heard").display()
    );
    text.extend_from_slice(rest.as_bytes());
    fs::write(&script, text).unwrap();
    format!("/bin/sh '{}'", script.display())
}

#[test]
fn what_must_be_confined_is_confined() {
    let mut wrong = Vec::new();
    let mut tried = 0;
    for attack in TABLE.lines().map(Attack::read) {
        if attack.expect != "confine" || attack.tool != "rsync" {
            continue;
        }
        tried += 1;
        let account = lay_out();
        account.write("client/src/x", "from the client\n");
        account.write("client/src/d/x", "from the client\n");
        account.write("client/names", "../outside/secret\nin.txt\n");
        account.write("client/src/ldir/new", "from the client\n");
        account.write("client/src/dang", "from the client\n");
        nix::unistd::mkfifo(
            &account.root.join("client/src/pipe"),
            nix::sys::stat::Mode::from_bits_truncate(0o644),
        )
        .unwrap();
        let outside = account.root.join("outside");
        let before = picture(&outside);
        let sent = attack.sent(&account).unwrap();
        let shell = hijacked(&account, &attack, &sent);
        let text = String::from_utf8_lossy(&sent).into_owned();
        let mut options = vec!["-a", "--timeout=10"];
        for (part, option) in [
            ("--files-from", "--files-from=names"),
            ("--remove-source-files", "--remove-source-files"),
            ("-slog", "-s"),
            ("pRe", "-R"),
        ] {
            if text.contains(part) {
                options.push(option);
            }
        }
        if attack.fixture.contains("merge") {
            options.push("--filter=:-s ../outside/secret");
        }
        let target = if attack.fixture.contains("stdin carries") {
            // The real arguments, as this client would send them with the option in front.
            options.push("--remote-option=--log-file=../outside/log");
            "h:in"
        } else {
            "h:in.txt"
        };
        let output = if text.contains("--sender") {
            account.rsync_with(&shell, &[options.as_slice(), &[target, "dst/"]].concat())
        } else {
            account.rsync_with(&shell, &[options.as_slice(), &["src/", target]].concat())
        };
        let heard = fs::read(account.root.join("heard")).unwrap_or_default();
        let leaked = heard.windows(14).any(|bytes| bytes == b"OUTSIDE-SECRET");
        let passwd = heard.windows(6).any(|bytes| bytes == b"root:x");
        let pwned = account.root.join("PWN").exists();
        if leaked || passwd || pwned || picture(&outside) != before || account.audit().is_empty() {
            wrong.push(format!(
                "{} {:?} [{}]: leaked {leaked} {passwd}, ran {pwned}, changed {}: {}",
                attack.name,
                attack.command,
                attack.fixture,
                picture(&outside) != before,
                said(&output)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} got out:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried >= 24, "{tried}");
}
