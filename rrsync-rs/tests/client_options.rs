//! The option table, held against the rsync that is installed: every option its manual lists is given to a real client,
//! alone and with others, and what the client then sends to a server must be in the table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use support::{Account, GATE};

/// What a client sends and the gate refuses by its class, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("--copy-devices", "reads devices"),
    ("--write-devices", "writes devices"),
    ("--copy-links", "follows links out of the root"),
    ("--copy-dirlinks", "follows links out of the root"),
    ("--keep-dirlinks", "follows links out of the root"),
    ("--copy-unsafe-links", "follows links out of the root"),
    ("--max-alloc", "0 lifts the limit"),
];

/// Options that never reach a server: the client keeps them, or ends at once.
const LOCAL: &[&str] = &[
    "--help",
    "--version",
    "--no-OPTION",
    "--daemon",
    "--rsh",
    "--rsync-path",
    "--remote-option",
    "--read-batch",
    "--address",
    "--port",
    "--sockopts",
    "--password-file",
    "--early-input",
    "--contimeout",
    "--no-motd",
    "--ipv4",
    "--ipv6",
    "--copy-as",
    "--protocol",
];

/// A value that the client accepts for an option.
fn values(name: &str) -> &'static [&'static str] {
    match name {
        "--info" => &["progress2", "all4"],
        "--debug" => &["none"],
        "--stderr" => &["errors", "all", "client"],
        "--checksum-choice" => &["md5", "xxh3,md4"],
        "--compress-choice" => &["zstd", "lz4", "zlibx", "zlib", "none"],
        "--compress-level" | "--compress-threads" => &["3"],
        "--chmod" => &["Du+rwx,go-w"],
        "--usermap" | "--groupmap" => &["*:0", "root:0"],
        "--chown" => &["0:0"],
        "--timeout" | "--bwlimit" | "--max-delete" | "--checksum-seed" | "--stop-after" => &["0", "7"],
        "--modify-window" => &["0", "1", "-1"],
        "--max-alloc" => &["1g", "0"],
        "--max-size" | "--min-size" => &["0", "1.5m"],
        "--block-size" => &["700"],
        "--stop-at" => &["2099-12-31T23:59"],
        "--outbuf" => &["L"],
        "--iconv" => &["utf-8,latin1", "."],
        "--skip-compress" => &["gz/z*"],
        "--suffix" => &[".old", "a b"],
        "--out-format" | "--log-file-format" => &["%i %n%L", "%o"],
        "--log-file" | "--write-batch" | "--only-write-batch" => &["scratch"],
        "--files-from" => &["-", "names", ":/names"],
        "--filter" | "--exclude" | "--include" => &["- *.o"],
        "--exclude-from" | "--include-from" => &["names"],
        "--backup-dir" | "--partial-dir" | "--temp-dir" | "--compare-dest" | "--copy-dest"
        | "--link-dest" => &["dir", "/dir", "d i'r"],
        _ => &["1"],
    }
}

/// Every option of the installed client, as argument lists.
fn options() -> Vec<(String, Vec<String>)> {
    let help = Command::new(support::client()).arg("--help").output().expect("rsync is installed");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let (_, listed) = help.split_once("\nOptions").unwrap();
    let mut options = Vec::new();
    for line in listed.lines().filter(|line| line.starts_with('-')) {
        let names = line.split("  ").next().unwrap();
        for name in names.split(", ").map(|name| name.split(' ').next().unwrap()) {
            let (name, takes) =
                name.split_once('=').map_or((name, names.contains('=')), |(name, _)| (name, true));
            if LOCAL.contains(&name) || name.len() == 2 && (takes || "hVM46e".contains(&name[1..])) {
                continue;
            }
            if takes {
                options.extend(
                    values(name).iter().map(|value| (name.to_owned(), vec![format!("{name}={value}")])),
                );
            } else {
                options.push((name.to_owned(), vec![name.to_owned()]));
            }
        }
    }
    options
}

#[test]
fn the_installed_client_sends_nothing_that_the_table_does_not_know() {
    let account = Account::new();
    let client = account.root.join("client");
    fs::write(client.join("names"), "f\n").unwrap();
    account.write("client/src/f", "x");
    for directory in ["D/dir", "D/d i'r", "D/ws/dir", "D/ws/d i'r"] {
        fs::create_dir_all(account.root.join(directory)).unwrap();
    }
    let record = account.root.join("sent");
    let script = account.root.join("record");
    fs::write(&script, format!("shift\nprintf '%s\\0' \"$*\" >> '{}'\nexit 1\n", record.display())).unwrap();
    let options = options();
    assert!(options.len() > 130, "{}", options.len());
    let bases: [&[&str]; 5] =
        [&["-a"], &["-rv"], &["-a", "-b", "--delete", "-z"], &["-aHAXSR"], &["-d", "--no-whole-file", "-i"]];
    let mut sent = BTreeSet::new();
    for (name, option) in &options {
        for base in bases {
            for paths in [["src/", "h:ws/"], ["h:ws/", "got/"]] {
                let _ = fs::remove_file(&record);
                let mut command = Command::new(support::client());
                command
                    .arg("-e")
                    .arg(format!("/bin/sh {}", script.display()))
                    .args(base)
                    .args(option)
                    .args(paths);
                command.current_dir(&client).stdin(std::process::Stdio::null());
                command.output().unwrap();
                for line in fs::read_to_string(&record).unwrap_or_default().split_terminator('\0') {
                    sent.insert((line.to_owned(), name.clone()));
                }
            }
        }
    }
    assert!(sent.len() > 300, "{}", sent.len());
    let mut wrong = Vec::new();
    for (line, option) in &sent {
        // The dot and the paths are on standard input then; the table's own tests read those.
        if line.split(' ').any(|word| word.starts_with("-s") || word.starts_with("-vs")) {
            continue;
        }
        let mut gate = Command::new(GATE);
        gate.args(["--explain", "--json"]).arg(account.d("")).arg("--").arg(line);
        let output = gate.env("HOME", account.root.join("home")).output().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let rule = answer["rule"].as_str().unwrap();
        let expected = REFUSED.iter().any(|(name, _)| name == option || line.contains(name));
        // Letters in front of the protocol part.
        let letters = line.split(' ').any(|word| {
            let cluster = word.strip_prefix('-').filter(|word| !word.starts_with('-')).unwrap_or_default();
            cluster.split('e').next().unwrap_or_default().contains(['L', 'k', 'K'])
        });
        let known = match rule {
            "rsync.pull" | "rsync.push" => true,
            "rsync.option" | "rsync.option.unknown" | "rsync.syntax" => expected || letters,
            _ => false,
        };
        if !known {
            wrong.push(format!("{option}: {line:?}: {rule} {}", answer["message"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} lines:\n{}", wrong.len(), sent.len(), wrong.join("\n"));
}
