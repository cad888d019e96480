//! The attacks on scp and SFTP of `data/attacks.tsv`, against a key that may be used with both.
//!
//! A denied one ends with 1 and a record, and nothing is served. A confined one is served, once as it stands and once with
//! the workspace's name before its paths: nothing outside changes, not even a mode or a time, no secret comes out, nothing
//! hangs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod attack;
mod support;
mod text;

use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use attack::{Attack, TABLE, lay_out};
use support::{Account, GATE, picture, said};

/// Gives the key of the account what the attack's circumstances say that it has.
fn allow(account: &Account, attack: &Attack<'_>) {
    let has = |word| attack.fixture.contains(word);
    let access = if has("role=pull") {
        "ro"
    } else if has("role=push") {
        "wo"
    } else {
        "rw"
    };
    let rules = if has("nooverwrite") { "overwrite = false\n" } else { "" };
    let path = if has("box=$HOME") { account.root.join("home") } else { account.d("") };
    let text = format!(
        "federation = \"playground\"\npod = \"chef1\"\ntools = [\"sftp\", \"scp\"]\n\
         [workspace.box]\npath = \"{}\"\naccess = \"{access}\"\n{rules}",
        path.display()
    );
    account.grant("playground.chef1", &text);
}

/// Runs the gate for `command`, with `input` as all that the client sends.
fn gate(account: &Account, command: Option<Vec<u8>>, input: Vec<u8>) -> Output {
    let mut gate = Command::new(GATE);
    gate.args(["--grant", "playground.chef1"]).env_clear().env("HOME", account.root.join("home"));
    gate.current_dir(account.root.join("home"));
    gate.envs(command.map(|command| ("SSH_ORIGINAL_COMMAND", OsString::from_vec(command))));
    let mut child = gate.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sender = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output().unwrap()));
    let output = end.recv_timeout(Duration::from_mins(1)).unwrap_or_else(|_| {
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
        panic!("the gate hangs");
    });
    sender.join().unwrap();
    output
}

fn rows() -> impl Iterator<Item = Attack<'static>> {
    TABLE.lines().map(Attack::read).filter(|attack| matches!(attack.tool, "scp" | "sftp"))
}

#[test]
fn what_must_be_denied_is_denied_to_a_key_for_scp_and_sftp() {
    let account = lay_out();
    let before = (picture(&account.d("")), picture(&account.root.join("outside")));
    let mut wrong = Vec::new();
    let mut tried = 0;
    for attack in rows().filter(|attack| attack.expect == "deny") {
        tried += 1;
        allow(&account, &attack);
        let records = account.audit().len();
        let output = gate(&account, attack.sent(&account), Vec::new());
        let record = account.audit().split_off(records);
        let refused = output.status.code() == Some(1)
            // A client of scp is told in its own protocol.
            && (output.stdout.is_empty() || output.stdout.starts_with(b"\x02rrsync-rs: "))
            && output.stdout.len() + output.stderr.len() < 200
            && record.len() == 1
            && record[0]["verdict"] == "refuse";
        if !refused {
            wrong.push(format!("{} {:?}: {}{record:?}", attack.name, attack.command, said(&output)));
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} are not denied:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried >= 50, "{tried}");
    assert!(!account.root.join("PWN").exists());
    assert_eq!(before, (picture(&account.d("")), picture(&account.root.join("outside"))));
}

#[test]
fn what_must_be_confined_is_confined_by_the_gate_s_own_servers() {
    let mut wrong = Vec::new();
    let mut tried = 0;
    for attack in rows().filter(|attack| attack.expect == "confine") {
        for prefix in ["", "box/"] {
            tried += 1;
            let account = lay_out();
            allow(&account, &attack);
            let outside = picture(&account.root.join("outside"));
            let inside = picture(&account.d(""));
            let sent = attack.sent(&account).unwrap();
            let (command, input) = if attack.tool == "scp" {
                (prefixed(&sent, prefix), scp_input(attack.fixture, &sent))
            } else {
                (sent, sftp_input(attack.fixture, prefix, &account))
            };
            let swapping = attack.fixture.contains("swapped");
            let output = if swapping {
                while_swapping(&account, &command)
            } else {
                gate(&account, Some(command), input)
            };
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            // A script in the box names its directory: that is its content.
            let host = if attack.tool == "scp" { "/home/.config" } else { account.root.to_str().unwrap() };
            let secrets = ["OUTSIDE-SECRET", "root:x:", "SSH_ORIGINAL_COMMAND", host];
            let leaked = secrets.into_iter().find(|secret| told.contains(secret));
            let changed = picture(&account.root.join("outside")) != outside;
            let read_only = attack.fixture.contains("role=pull") || attack.fixture.contains("nooverwrite");
            let altered = read_only && picture(&account.d("")) != inside;
            let setuid = account
                .d("suid")
                .metadata()
                .is_ok_and(|suid| std::os::unix::fs::PermissionsExt::mode(&suid.permissions()) & 0o6000 != 0);
            if leaked.is_some() || changed || altered || setuid || account.audit().is_empty() {
                wrong.push(format!(
                    "{} {prefix:?} {:?} [{}]: leaked {leaked:?}, changed {changed} {altered} {setuid}: {}",
                    attack.name,
                    attack.command,
                    attack.fixture,
                    said(&output)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} got out:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried >= 80, "{tried}");
}

/// The command with `prefix` before its path.
fn prefixed(command: &[u8], prefix: &str) -> Vec<u8> {
    let at = command.iter().rposition(|byte| *byte == b' ').unwrap() + 1;
    [&command[..at], prefix.as_bytes(), &command[at..]].concat()
}

/// What a hostile scp client sends.
fn scp_input(fixture: &str, command: &[u8]) -> Vec<u8> {
    let line = fixture.split("stdin: ").nth(1).unwrap_or("C0644 4 new");
    let source = command.windows(2).any(|two| two == b"-f");
    if source {
        vec![0; 1000]
    } else {
        [line.as_bytes(), b"\nEVIL\0C0644 4 lsec\nEVIL\0C0644 4 dang\nEVIL\0"].concat()
    }
}

/// Sends file after file into `box/a`, which is exchanged for a symlink to the outside meanwhile.
fn while_swapping(account: &Account, command: &[u8]) -> Output {
    fs::create_dir(account.d("a")).unwrap();
    std::os::unix::fs::symlink("../outside", account.d("b")).unwrap();
    let directory = fs::File::open(account.d("")).unwrap();
    let stop = AtomicBool::new(false);
    let command = [command.strip_suffix(b".").unwrap_or(command), b"a"].concat();
    let files: Vec<u8> =
        (0..2000).flat_map(|i| format!("C0644 4 v{}\nEVIL\0", i % 10).into_bytes()).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let exchange = rrsync_rs::rename::RenameFlags::EXCHANGE;
                rrsync_rs::rename::renameat2(&directory, "a", &directory, "b", exchange).unwrap();
            }
        });
        let output = gate(account, Some(command), files);
        stop.store(true, Ordering::Relaxed);
        output
    })
}

/// The packets of the requests that the circumstances name, behind `in-band SFTP:`.
fn sftp_input(fixture: &str, prefix: &str, account: &Account) -> Vec<u8> {
    let requests = fixture.split("in-band SFTP: ").nth(1).unwrap();
    let outside = account.root.join("outside");
    let mut packets = vec![0, 0, 0, 5, 1, 0, 0, 0, 3];
    for request in requests.split("; ") {
        let words: Vec<String> = request
            .split(' ')
            .filter(|word| *word != "->")
            .map(|word| word.replace("<OUTSIDE>", outside.to_str().unwrap()))
            .collect();
        let path = |word: &str| string(format!("{prefix}{word}"));
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        let extended = |paths: &[&str]| {
            let paths = paths.iter().flat_map(|word| path(word));
            [string(word(0)), paths.collect()].concat()
        };
        let whole = |kind: u8, body: Vec<u8>| (kind, body);
        let (kind, body) = match word(0) {
            "OPEN" => {
                let flags = if words.iter().any(|word| word.starts_with("write")) { 0x1a } else { 0x01 };
                whole(3, [path(word(1)), number(flags), number(0)].concat())
            }
            "OPENDIR" => whole(11, path(word(1))),
            "SYMLINK" => whole(20, [string(word(1)), path(word(2))].concat()),
            "RENAME" => whole(18, [path(word(1)), path(word(2))].concat()),
            "REMOVE" => whole(13, path(word(1))),
            "READLINK" => whole(19, path(word(1))),
            "SETSTAT" if word(2) == "size=0" => whole(9, [path(word(1)), number(1), vec![0; 8]].concat()),
            "SETSTAT" => whole(9, [path(word(1)), number(4), number(0o666)].concat()),
            "FSETSTAT" => {
                packets.extend(packet(3, &[path("in.txt"), number(1), number(0)].concat()));
                whole(10, [FIRST_HANDLE.to_vec(), number(4), number(0o777)].concat())
            }
            "fsync@openssh.com" => {
                packets.extend(packet(3, &[path("in.txt"), number(1), number(0)].concat()));
                whole(200, [string(word(0)), FIRST_HANDLE.to_vec()].concat())
            }
            "expand-path@openssh.com" => whole(200, [string(word(0)), string(word(1))].concat()),
            "users-groups-by-id@openssh.com" => {
                let ids: Vec<u8> = (0..1000_u32).flat_map(u32::to_be_bytes).collect();
                whole(200, [string(word(0)), string(&ids), string(&ids)].concat())
            }
            name if name.contains('@') => whole(200, extended(&[word(1), word(2)])),
            other => panic!("{other} in {fixture}"),
        };
        packets.extend(packet(kind, &body));
        // Whatever has been opened is read and written.
        packets.extend(packet(5, &[FIRST_HANDLE.to_vec(), vec![0; 8], number(1000)].concat()));
        packets.extend(packet(6, &[FIRST_HANDLE.to_vec(), vec![0; 8], string("EVIL")].concat()));
        packets.extend(packet(12, &FIRST_HANDLE));
    }
    packets
}

/// The first handle that the server gives out, as a string.
const FIRST_HANDLE: [u8; 12] = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1];

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 5).unwrap();
    [&length.to_be_bytes()[..], &[kind, 0, 0, 0, 7], body].concat()
}

fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
}

fn number(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

#[test]
fn the_first_handle_is_what_these_attacks_take_it_for() {
    let account = lay_out();
    allow(&account, &rows().next().unwrap());
    let mut input = vec![0, 0, 0, 5, 1, 0, 0, 0, 3];
    input.extend(packet(3, &[string("box/in.txt"), number(1), number(0)].concat()));
    let output = gate(&account, Some(b"internal-sftp".to_vec()), input);
    let mut handle = Vec::new();
    (&output.stdout[output.stdout.len() - 12..]).read_to_end(&mut handle).unwrap();
    assert_eq!(handle, FIRST_HANDLE);
}
