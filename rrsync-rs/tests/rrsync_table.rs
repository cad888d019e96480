//! rrsync's own behaviour as a table: what rrsync 3.5.0 did with each command line, and that the gate does the same.
//!
//! `data/rrsync-cases.tsv` has one recorded case a line: number, flags, tree (and DIR), circumstances, outcome, the
//! options and paths that rrsync passed on, the command. Differences are deliberate, and each is listed below with its
//! reason; a difference that is not listed, or a listed one that is none, fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod fixtures;
mod text;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use fixtures::Fixtures;
use text::{replace, unescape};

const TABLE: &str = include_str!("data/rrsync-cases.tsv");

/// Where the gate differs on purpose: the number of the case, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("0461", CLIMBS),
    ("0511", CLIMBS),
    ("1065", MAX_ALLOC),
    ("1069", MAX_ALLOC),
    ("1071", MAX_ALLOC),
    ("4086", ENTERED),
    ("4095", ENTERED),
    ("4317", NO_OVERWRITE),
    ("4367", NO_DIRECTORIES),
    ("4318", NO_OVERWRITE),
    ("0247", NO_OVERWRITE),
    ("4600", DESTINATIONS),
    ("4610", DESTINATIONS),
];

const CLIMBS: &str = "a receiver's relative option path is looked up from the destination, where rsync looks, and may climb \
    to a directory that exists inside the root";
const MAX_ALLOC: &str =
    "--max-alloc=0 lifts the limit on what a peer can make rsync allocate (CVE-2026-53794)";
const ENTERED: &str = "a directory that may be entered and written, but not listed, is a destination for rsync and so for the gate";
const NO_OVERWRITE: &str = "what is deleted can be uploaded anew, so -no-overwrite implies -no-del";
const NO_DIRECTORIES: &str =
    "ACLs and extended attributes of directories that exist are not for a key that may only add";
const DESTINATIONS: &str = "a push has one destination; rsync takes the first of several for a source";

struct Case<'a> {
    number: &'a str,
    flags: &'a str,
    tree: &'a str,
    extra: &'a str,
    outcome: &'a str,
    options: &'a str,
    paths: &'a str,
    command: Option<Vec<u8>>,
}

impl<'a> Case<'a> {
    fn read(line: &'a str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let [number, flags, tree, extra, outcome, options, paths, command] = fields.as_slice() else {
            panic!("{line}")
        };
        let command = match *command {
            "-" => None,
            "\"\"" => Some(Vec::new()),
            text => Some(unescape(text)),
        };
        Self { number, flags, tree, extra, outcome, options, paths, command }
    }
}

/// Where a case happens.
struct Ground {
    fix: PathBuf,
    dir: PathBuf,
    real: PathBuf,
    home: PathBuf,
}

impl Ground {
    fn new(fixtures: &Fixtures, case: &Case<'_>) -> Self {
        let (name, dir) = case.tree.split_once(' ').unwrap_or((case.tree, ""));
        let fix = fixtures.tree(name);
        let dir = match dir {
            "" => fix.join(match name {
                "globdir" => "data[1]",
                "spacedir" => "my data ünï",
                _ => "D",
            }),
            "." => PathBuf::new(),
            dir => dir.replace("<FIX>", fix.to_str().unwrap()).into(),
        };
        let real = fix.join(&dir).canonicalize().unwrap_or_else(|_| fix.join(&dir));
        let home = fixtures.tree("home");
        Self { fix, dir, real, home }
    }

    fn fill(&self, bytes: &[u8]) -> Vec<u8> {
        let fix = self.fix.as_os_str().as_bytes();
        let filled = replace(bytes, b"<RELFIX>", &fix[1..]);
        let filled = replace(&filled, b"<DIR>", &[fix, b"/D"].concat());
        replace(&filled, b"<FIX>", fix)
    }

    /// An expected path: `<DIR>` is the restricted directory, whatever it is called.
    fn expected(&self, text: &str) -> PathBuf {
        let bytes = unescape(text);
        let real = self.real.as_os_str().as_bytes();
        let filled = replace(&bytes, b"<DIR><DIR>", &[real, self.fix.as_os_str().as_bytes(), b"/D"].concat());
        let filled = replace(&filled, b"<DIR>", real);
        let filled = PathBuf::from(OsString::from_vec(self.fill(&filled)));
        if filled.is_absolute() { filled } else { self.real.join(filled) }
    }
}

/// Without `.`, doubled and trailing slashes; `..` removes the component before it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// A path with the symlinks of its directory resolved, and its own too where a slash asks for that.
fn settled(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let whole = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    let path = plain(path);
    let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
    match (whole.then(|| path.canonicalize().ok()).flatten(), parent, path.file_name()) {
        (Some(real), ..) => real,
        (None, Some(parent), Some(name)) => parent.join(name),
        _ => path,
    }
}

/// What the gate says of a case.
struct Answer {
    outcome: &'static str,
    argv: Vec<String>,
    cwd: PathBuf,
    message: String,
}

fn ask(case: &Case<'_>, ground: &Ground) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rrsync-rs"));
    command.args(["--explain", "--json"]);
    if case.flags != "-" {
        command.args(case.flags.split(' '));
    }
    command.arg(&ground.dir).arg("--");
    if let Some(sent) = &case.command {
        command.arg(OsString::from_vec(ground.fill(sent)));
    }
    command.current_dir(&ground.fix).env_clear().env("HOME", &ground.home);
    if let Some(uid) = case.extra.strip_prefix("uid=") {
        let uid = uid.parse().unwrap();
        command.uid(uid).gid(uid);
    }
    let output = command.output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{}: {error}: {}", case.number, String::from_utf8_lossy(&output.stderr));
    });
    let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
    let outcome = match (json["allowed"].as_bool().unwrap(), text("rule").as_str()) {
        (true, "probe") => "probe",
        (true, _) => "run",
        (false, _) => "refuse",
    };
    assert_eq!(output.status.success(), outcome != "refuse", "{}", case.number);
    let argv =
        json["argv"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect();
    let message = format!("{} {}", text("message"), text("detail"));
    Answer { outcome, argv, cwd: text("cwd").into(), message }
}

/// Options that name a path which only a receiver looks at.
const RECEIVERS: &[&str] =
    &["--backup-dir", "--partial-dir", "--temp-dir", "--link-dest", "--copy-dest", "--compare-dest"];

/// The options as both pass them on, apart from paths: those that take a value in one word, in order.
fn options(words: &[String]) -> Vec<String> {
    let mut plain = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None if RECEIVERS.contains(&word.as_str())
                || matches!(word.as_str(), "--files-from" | "--log-file" | "--suffix" | "--log-format") =>
            {
                (word.as_str(), words.next().cloned())
            }
            None => (word.as_str(), None),
        };
        let path = RECEIVERS.contains(&name) || matches!(name, "--files-from" | "--log-file");
        match (name, value) {
            ("--confine-root" | "--drop-D", _) => {}
            // Said twice, it means the same.
            ("--sender", None) if plain.contains(&"--sender".to_owned()) => {}
            (name, Some(value)) if path && value != "-" => {
                plain.extend((!RECEIVERS.contains(&name)).then(|| name.to_owned()));
            }
            ("--only-write-batch", _) => plain.push("--only-write-batch=X".to_owned()),
            (name, Some(value)) => plain.push(format!("{name}={value}")),
            (name, None) => plain.push(name.to_owned()),
        }
    }
    plain
}

/// Says what is different, or nothing.
fn compare(case: &Case<'_>, ground: &Ground) -> Option<String> {
    let answer = ask(case, ground);
    if answer.outcome != case.outcome {
        return Some(format!("expected {}, got {}: {}", case.outcome, answer.outcome, answer.message));
    }
    if case.outcome != "run" {
        return None;
    }
    let split = answer.argv.iter().position(|word| word == "--").unwrap();
    let mut got = options(&answer.argv[1..split]);
    if case.flags.contains("-wo") && got.pop().as_deref() != Some("-W") {
        return Some("a write-only directory sends block checksums".to_owned());
    }
    let wanted: Vec<String> =
        case.options.split(' ').map(|word| String::from_utf8(unescape(word)).unwrap()).collect();
    let mut wanted = options(&wanted);
    if case.flags.contains("-no-overwrite") && !wanted.contains(&"--sender".to_owned()) {
        // Modes and times of directories that exist are left alone.
        if got.pop().as_deref() != Some("-O") {
            return Some("changes directories".to_owned());
        }
        for word in wanted.iter_mut().filter(|word| word.starts_with('-') && !word.starts_with("--")) {
            let end = word.find('e').unwrap_or(word.len());
            *word = word[..end].replace('p', "") + &word[end..];
        }
        wanted.retain(|word| word != "-" && word != "--perms");
    }
    if got != wanted {
        return Some(format!("options: expected {wanted:?}, got {got:?}"));
    }
    let paths = &answer.argv[split + 2..];
    if let Some(count) = case.paths.strip_prefix('*') {
        return (count.parse() != Ok(paths.len())).then(|| format!("{} paths", paths.len()));
    }
    let mut got: Vec<PathBuf> =
        paths.iter().map(|path| settled(&answer.cwd.join(OsString::from_vec(unescape(path))))).collect();
    let mut wanted: Vec<PathBuf> = match case.paths {
        "-" => vec![ground.real.clone()],
        paths => paths.split(' ').map(|path| settled(&ground.expected(path))).collect(),
    };
    got.sort();
    wanted.sort();
    (got != wanted).then(|| format!("paths: expected {wanted:?}, got {got:?}"))
}

/// Runs a case for real: its command line, the lock or rrsync's log matter. rsync finds its input closed and ends.
fn run(case: &Case<'_>, ground: &Ground) -> Option<String> {
    let held = case.extra.contains("lock").then(|| {
        let directory = File::open(&ground.real).unwrap();
        directory.lock().unwrap();
        directory
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_rrsync-rs"));
    if let Some(argv) = case.flags.strip_prefix("argv ") {
        let argv: Vec<String> = serde_json::from_str(argv).unwrap();
        command.args(argv.iter().map(|arg| OsString::from_vec(ground.fill(arg.as_bytes()))));
    } else {
        command.args(case.flags.split(' ').filter(|flag| *flag != "-")).arg(&ground.dir);
    }
    command.current_dir(&ground.fix).env_clear().env("HOME", &ground.home).stdin(Stdio::null());
    if let Some(sent) = &case.command {
        command.env("SSH_ORIGINAL_COMMAND", OsString::from_vec(ground.fill(sent)));
    }
    let connection = case.extra.split_once("conn=").map(|(_, connection)| connection);
    if let Some(connection) = connection {
        command.env("SSH_CONNECTION", connection);
    }
    let log = ground.fix.join("rrsync.log");
    let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let (before, victim) = (size(&log), size(&ground.fix.join("outside/log")));
    let audit = ground.home.join(".local/state/akeys/audit.jsonl");
    let _ = std::fs::remove_file(&audit);
    let output = command.output().unwrap();
    drop(held);
    let record = std::fs::read_to_string(&audit).unwrap_or_default();
    let outcome = match serde_json::from_str::<serde_json::Value>(&record) {
        Ok(record) if record["rule"] == "probe" => "probe",
        Ok(record) if record["verdict"] == "allow" => "run",
        Ok(_) => "refuse",
        // A command line that means nothing is no session.
        Err(_) if output.status.code() == Some(1) => "refuse",
        Err(error) => return Some(format!("no record: {error}")),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    if outcome != case.outcome {
        return Some(format!("expected {}, got {outcome}: {stderr}", case.outcome));
    }
    if outcome == "refuse" && (output.status.code() != Some(1) || stderr.trim_end().lines().count() != 1) {
        return Some(format!("a refusal ends with 1 and one line: {:?} {stderr:?}", output.status));
    }
    let logged = size(&log) > before;
    let expected = case.extra.contains("log") && !case.tree.starts_with("logsymlink") && outcome == "run";
    if logged != expected || size(&ground.fix.join("outside/log")) != victim {
        return Some("rrsync.log".to_owned());
    }
    None
}

#[test]
fn the_gate_does_what_rrsync_does() {
    let fixtures = Fixtures::build("rrsync-table");
    let root = nix::unistd::geteuid().is_root();
    let differences: BTreeMap<&str, &str> = DIFFERENCES.iter().copied().collect();
    let (mut compared, mut wrong) = (0, Vec::new());
    for case in TABLE.lines().map(Case::read) {
        if case.extra.starts_with("uid=") && !root {
            continue;
        }
        compared += 1;
        let ground = Ground::new(&fixtures, &case);
        let live = case.flags.starts_with("argv ") || !(case.extra == "-" || case.extra.starts_with("uid="));
        let found = if live { run(&case, &ground) } else { compare(&case, &ground) };
        match (found, differences.get(case.number)) {
            (None, None) | (Some(_), Some(_)) => {}
            (Some(found), None) => {
                let command = String::from_utf8_lossy(case.command.as_deref().unwrap_or_default());
                let command: String = command.chars().take(150).collect();
                wrong.push(format!("{} [{}] {} {command:?}: {found}", case.number, case.flags, case.tree));
            }
            (None, Some(reason)) => {
                wrong.push(format!("{} is listed as different ({reason}), and is not", case.number));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}
