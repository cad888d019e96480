//! Recorded cases of rrsync, one a line, and the gate's answer to each.
//!
//! The columns: number, flags, tree (and DIR), circumstances, outcome, the options and paths that rrsync passed on, the
//! command. Columns behind these belong to the test that reads them.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fixtures::Fixtures;
use crate::text::{replace, unescape};

/// What differs, and why.
pub const DOCUMENT: &str = include_str!("../../../docs/differences-from-rrsync.md");

/// One recorded case.
pub struct Case<'a> {
    /// Its number.
    pub number: &'a str,
    /// What rrsync did: `run`, `probe`, `refuse` or `crash`.
    pub outcome: &'a str,
    flags: &'a str,
    tree: &'a str,
    extra: &'a str,
    options: &'a str,
    paths: &'a str,
    command: Option<Vec<u8>>,
}

impl<'a> Case<'a> {
    /// Reads a line.
    pub fn read(line: &'a str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let [number, flags, tree, extra, outcome, options, paths, command, ..] = fields.as_slice() else {
            panic!("{line}")
        };
        let command = match *command {
            "-" => None,
            "\"\"" => Some(Vec::new()),
            text => Some(unescape(text)),
        };
        Self { number, outcome, flags, tree, extra, options, paths, command }
    }

    /// Whether the case has to be run: its command line, the lock or rrsync's log matter.
    pub fn is_live(&self) -> bool {
        self.flags.starts_with("argv ") || !(self.extra == "-" || self.extra.starts_with("uid="))
    }

    /// Whether somebody has to be root to become the user of this case.
    pub fn needs_root(&self) -> bool {
        self.extra.starts_with("uid=")
    }

    /// The case for a failing test.
    pub fn shown(&self) -> String {
        let command = String::from_utf8_lossy(self.command.as_deref().unwrap_or_default());
        let command: String = command.chars().take(150).collect();
        format!("{} [{}] {} {command:?}", self.number, self.flags, self.tree)
    }
}

/// Where a case happens.
pub struct Ground {
    fix: PathBuf,
    dir: PathBuf,
    real: PathBuf,
    home: PathBuf,
}

impl Ground {
    /// Finds it in the fixtures.
    pub fn new(fixtures: &Fixtures, case: &Case<'_>) -> Self {
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

    /// The inverse of [`Ground::fill`] for text that the gate printed.
    fn emptied(&self, text: &str) -> String {
        let fix = self.fix.to_str().unwrap();
        text.replace(fix, "<FIX>").replace(&fix[1..], "<RELFIX>")
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
pub struct Answer {
    outcome: &'static str,
    rule: String,
    argv: Vec<String>,
    cwd: PathBuf,
    message: String,
}

impl Answer {
    /// The answer as one line of text: the rule of a refusal, or what would run and where.
    fn text(&self, ground: &Ground) -> String {
        match self.outcome {
            "run" => {
                let words = self.argv.iter().skip(2);
                let mut words: Vec<String> =
                    words.map(|word| squeezed(&word.replace(' ', "\\x20"))).collect();
                let mut cwd = self.cwd.clone();
                // How much of a missing path exists by chance depends on where the trees were built.
                let mirror = ground.real.join(ground.fix.strip_prefix("/").unwrap());
                if ground.real != Path::new("/") && cwd != ground.real && mirror.starts_with(&cwd) {
                    let whole = cwd.join(words.pop().unwrap());
                    words.push(whole.strip_prefix(&ground.real).unwrap().display().to_string());
                    cwd.clone_from(&ground.real);
                }
                ground.emptied(&format!("run {} in {}", words.join(" "), cwd.display()))
            }
            outcome => format!("{outcome} {}", self.rule),
        }
    }
}

/// Long runs of one character as `\{300:x}`.
fn squeezed(text: &str) -> String {
    let mut squeezed = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| c != first).unwrap_or(rest.len());
        let count = end / first.len_utf8();
        if count < 64 {
            squeezed.push_str(&rest[..end]);
        } else {
            let _ = write!(squeezed, "\\{{{count}:{first}}}");
        }
        rest = &rest[end..];
    }
    squeezed
}

/// What the gate makes of a case: as one line of text, and in what it differs from what was recorded.
pub struct Judged {
    /// `run -logDtpr… -- . f1 in <FIX>/D`, `refuse path.outside`, or `run`, `refuse` or `probe` alone.
    pub answer: String,
    /// The difference, if there is one.
    pub difference: Option<String>,
}

/// Asks the gate, or runs it where asking is not enough.
pub fn judge(case: &Case<'_>, ground: &Ground) -> Judged {
    if case.is_live() {
        let (outcome, difference) = run(case, ground);
        return Judged { answer: outcome.to_owned(), difference };
    }
    let answer = ask(case, ground);
    Judged { answer: answer.text(ground), difference: compare(case, &answer, ground) }
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
    let argv = json["argv"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let argv = argv.filter(|word| !depends_on_the_version(word, case)).map(str::to_owned).collect();
    let message = format!("{} {}", text("message"), text("detail"));
    Answer { outcome, rule: text("rule"), argv, cwd: text("cwd").into(), message }
}

/// Whether the gate adds an argument, or does not, because of what the installed rsync understands.
fn depends_on_the_version(word: &str, case: &Case<'_>) -> bool {
    // A client's own is none of these.
    let sent = String::from_utf8_lossy(case.command.as_deref().unwrap_or_default());
    word.starts_with("--confine-root=")
        || word == "--drop-D"
        || word == "--no-specials" && !sent.contains(word)
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
pub fn compare(case: &Case<'_>, answer: &Answer, ground: &Ground) -> Option<String> {
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
    // A transfer that holds the lock ends some day, also where the client asks for no timeout at all.
    let endless = |word: &String| matches!(word.as_str(), "--timeout=86400" | "--timeout=0" | "--timeout=");
    got.retain(|word| !endless(word));
    let wanted: Vec<String> =
        case.options.split(' ').map(|word| String::from_utf8(unescape(word)).unwrap()).collect();
    let mut wanted = options(&wanted);
    wanted.retain(|word| !endless(word));
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
fn run(case: &Case<'_>, ground: &Ground) -> (&'static str, Option<String>) {
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
        Err(error) => return ("lost", Some(format!("no record: {error}"))),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    if outcome != case.outcome {
        return (outcome, Some(format!("expected {}, got {outcome}: {stderr}", case.outcome)));
    }
    if outcome == "refuse" && (output.status.code() != Some(1) || stderr.trim_end().lines().count() != 1) {
        return (
            outcome,
            Some(format!("a refusal ends with 1 and one line: {:?} {stderr:?}", output.status)),
        );
    }
    let logged = size(&log) > before;
    let expected = case.extra.contains("log") && !case.tree.starts_with("logsymlink") && outcome == "run";
    if logged != expected || size(&ground.fix.join("outside/log")) != victim {
        return (outcome, Some("rrsync.log".to_owned()));
    }
    (outcome, None)
}
