//! A scratch account and a real rsync client that reaches the gate as through ssh, without one.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rrsync_rs::rsync::{RsyncFeatures, program};

/// The gate under test.
pub const GATE: &str = env!("CARGO_BIN_EXE_rrsync-rs");

/// A program of `examples/`, built for the same target as the gate: cargo builds them for a run of all tests, and not for a run of one.
pub fn example(name: &str) -> PathBuf {
    static BUILT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    // `target/TARGET/PROFILE/rrsync-rs`
    let profile = Path::new(GATE).parent().unwrap();
    let program = profile.join("examples").join(name);
    // Held while it is built: others wait.
    let mut built = BUILT.lock().unwrap();
    if built.insert(program.clone()) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.arg("--target").arg(profile.parent().and_then(Path::file_name).unwrap());
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let status = cargo.status();
        // An account that may not run cargo uses what is there.
        assert!(program.exists(), "{} is not built: {status:?}", program.display());
    }
    program
}

/// The rsync that the gate runs, and that is the client too: the one that `AKEYS_RSYNC` named when the tests were built, or
/// the system's. `AKEYS_RSYNC_CLIENT` names another client when they run.
pub fn client() -> PathBuf {
    let server = || program::usual().expect("rsync is installed");
    std::env::var_os("AKEYS_RSYNC_CLIENT").filter(|path| !path.is_empty()).map_or_else(server, PathBuf::from)
}

/// What the rsync that the gate runs understands.
pub fn features() -> RsyncFeatures {
    program::find(None, None).expect("rsync is installed").features
}

/// Whether the rsync that the gate runs knows `option`.
pub fn server_knows(option: &str) -> bool {
    let mut rsync = Command::new(program::usual().expect("rsync is installed"));
    rsync.args([option, "--version"]).output().unwrap().status.success()
}

/// A scratch directory: `D` is exposed, `home` is the account's home, `outside` must never be touched or read.
pub struct Account {
    /// The scratch directory.
    pub root: PathBuf,
}

impl Account {
    /// A new one; `D` and `outside` exist, `outside/secret` holds `OUTSIDE-SECRET`.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("account-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for directory in ["D", "home", "outside/dir", "client"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("outside/secret"), "OUTSIDE-SECRET\n").unwrap();
        fs::write(root.join("outside/dir/loot"), "OUTSIDE-SECRET\n").unwrap();
        Self { root: fs::canonicalize(root).unwrap() }
    }

    /// The exposed directory, or a path in it.
    pub fn d(&self, path: &str) -> PathBuf {
        self.root.join("D").join(path)
    }

    /// Writes a file with its parents.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Reads a file as text.
    pub fn read(&self, path: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.root.join(path)).unwrap_or_default()).into_owned()
    }

    /// Writes a grant's file.
    pub fn grant(&self, name: &str, text: &str) {
        let file = self.write(&format!("home/.config/akeys/grants/{name}.toml"), text);
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A remote shell for rsync's `-e`: it runs the gate with `flags` as sshd would run a forced command.
    pub fn shell(&self, flags: &str) -> String {
        self.script(&format!(
            "SSH_ORIGINAL_COMMAND=\"$*\" SSH_CONNECTION='192.0.2.7 1 192.0.2.1 22' HOME='{}' exec '{GATE}' {flags}",
            self.root.join("home").display()
        ))
    }

    /// A remote shell that runs what the client asks for, in `D`: rsync as it is without a gate.
    pub fn plain_shell(&self) -> String {
        let rsync = program::usual().expect("rsync is installed");
        let (d, rsync) = (self.d(""), rsync.display().to_string());
        self.script(&format!("line=\"$*\"\ncd '{}' && eval \"exec '{rsync}' ${{line#rsync }}\"", d.display()))
    }

    fn script(&self, line: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = self.root.join(format!("shell-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::write(&path, format!("shift\n{line}\n")).unwrap();
        // Read by a shell rather than executed: another thread's fork may hold it open for writing.
        format!("/bin/sh '{}'", path.display())
    }

    /// Runs the rsync client in `client` with the remote shell `shell`.
    pub fn rsync_with(&self, shell: &str, args: &[&str]) -> Output {
        let mut command = Command::new(client());
        command.arg("-e").arg(shell).args(args).current_dir(self.root.join("client"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command.output().expect("rsync is installed")
    }

    /// Runs the rsync client against the gate started with `flags`, which end with the exposed directory.
    pub fn rsync(&self, flags: &str, args: &[&str]) -> Output {
        let flags = format!("{flags} '{}'", self.d("").display());
        self.rsync_with(&self.shell(&flags), args)
    }

    /// Runs the gate with `flags` for the client's command, with `input` on its standard input.
    pub fn gate(&self, flags: &[&str], command: &str, input: &[u8]) -> Output {
        let mut gate = Command::new(GATE);
        gate.args(flags).env_clear().env("HOME", self.root.join("home")).env("SSH_ORIGINAL_COMMAND", command);
        gate.current_dir(&self.root).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = gate.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// The audit records, oldest first.
    pub fn audit(&self) -> Vec<serde_json::Value> {
        self.read("home/.local/state/akeys/audit.jsonl")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// What an observer sees of a tree: one line for each entry, with type, mode, times of files, links and content.
pub fn picture(root: &Path) -> String {
    let mut lines = Vec::new();
    draw(root, root, &mut lines);
    lines.sort();
    lines.join("\n")
}

/// Names and content below a directory, without metadata.
pub fn content(at: &Path) -> Vec<String> {
    let mut lines: Vec<String> = picture(at)
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            format!("{} {}", words[0], words[words.len() - 1])
        })
        .collect();
    lines.sort();
    lines
}

fn draw(root: &Path, at: &Path, lines: &mut Vec<String>) {
    let Ok(metadata) = at.symlink_metadata() else { return };
    let name = at.strip_prefix(root).unwrap();
    let kind = metadata.file_type();
    let content = if kind.is_symlink() {
        format!("-> {}", fs::read_link(at).unwrap().display())
    } else if kind.is_file() {
        let content = fs::read(at).unwrap_or_default();
        // A time of today is the moment of the test, which no two runs share.
        let time =
            if metadata.mtime() < 1_700_000_000 { metadata.mtime().to_string() } else { "now".to_owned() };
        format!("{} {time} {:x}", content.len(), hash(&content))
    } else {
        String::new()
    };
    lines.push(format!(
        "{} {:o} {} {content}",
        name.as_os_str().as_encoded_bytes().escape_ascii(),
        metadata.mode(),
        if kind.is_file() { metadata.nlink() } else { 0 }
    ));
    if kind.is_dir() {
        for entry in fs::read_dir(at).into_iter().flatten().flatten() {
            draw(root, &entry.path(), lines);
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Everything that a process said, for a failing test.
pub fn said(output: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
