//! Stock SFTP clients against the gate, each through a real sshd: what they can do where they may read, write or both,
//! and that none of them is led out of the workspace or hangs where it may not.
//!
//! OpenSSH's own clients are always there. A test of another one that is not installed says so in one line and is over.

mod curl;
mod lftp;
mod old_scp;
mod openssh_scp;
mod openssh_sftp;
mod paramiko;
mod putty;
mod raw;
mod rclone;
mod restic;
mod sshfs;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Client, Key, Outcome, Run, Sandbox, has_program, run};

/// The workspaces, each named like its access.
const WORKSPACES: [&str; 3] = ["ro", "wo", "rw"];

/// A home with a grant of three workspaces for SFTP, and the key that it is for.
///
/// Each workspace holds the same small tree; beside them lies something that no client may see or change. The client's
/// home holds the directory `tree` for uploads.
struct Served {
    sandbox: Sandbox,
    key: Key,
}

impl Served {
    #[track_caller]
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let key = sandbox.new_key("pod");
        let mut policy = vec!["federation = \"lab\"\npod = \"pod\"\ntools = [\"sftp\"]\n".to_owned()];
        for name in WORKSPACES {
            let root = sandbox.home().join("shelf").join(name);
            fill(&root);
            symlink("../../outside/secret", root.join("escape")).unwrap();
            symlink("../../outside", root.join("escape-dir")).unwrap();
            policy.push(format!("[workspace.{name}]\npath = \"~/shelf/{name}\"\naccess = \"{name}\"\n"));
        }
        sandbox.write("outside/secret", SECRET);
        let grants = sandbox.home().join(".config/akeys/grants");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&grants).unwrap();
        let file = sandbox.write(".config/akeys/grants/lab.pod.toml", policy.concat());
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        sandbox
            .authorize(&format!(r#"restrict,command="{} --grant lab.pod""#, sandbox.gate().display()), &key);
        fill(&sandbox.client_home().join("tree"));
        Self { sandbox, key }
    }

    fn client(&self) -> Client<'_> {
        self.sandbox.client(&self.key)
    }

    /// A path in a workspace: `rw/sub`.
    fn shelf(&self, relative: &str) -> PathBuf {
        self.sandbox.home().join("shelf").join(relative)
    }

    /// A path in the client's home, where every client starts.
    fn local(&self, relative: &str) -> PathBuf {
        self.sandbox.client_home().join(relative)
    }

    /// Fills a directory with so many long names that replies become as long as they get; answers with their number.
    fn crowd(&self, relative: &str) -> usize {
        let dir = self.shelf(relative);
        fs::create_dir(&dir).unwrap();
        for index in 0..1000 {
            fs::write(dir.join(format!("{index:0200}")), "").unwrap();
        }
        1000
    }

    /// Another client's command, in the client's home.
    fn command(&self, program: &str) -> Command {
        self.client().other(program)
    }

    /// What the gate said about the sessions so far, oldest first.
    fn verdicts(&self) -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let records = self.sandbox.audit();
        let verdicts = records.iter().filter(|record| record.get("verdict").is_some());
        verdicts.map(|record| (text(&record["verdict"]), text(&record["rule"]))).collect()
    }
}

impl Drop for Served {
    /// What must hold after every test: nothing outside has changed, nothing of it has come to the client.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let outside = picture(&self.sandbox.home().join("outside"));
        assert_eq!(outside.values().map(|entry| entry.content.as_slice()).collect::<Vec<_>>(), [b"", SECRET]);
        for (path, entry) in picture(&self.sandbox.client_home()) {
            assert!(
                !entry.content.windows(SECRET.len()).any(|part| part == SECRET),
                "leaked to {}",
                path.display()
            );
        }
    }
}

const SECRET: &[u8] = b"OUTSIDE SECRET";

/// Names that clients quote, escape or take for options; all of them valid.
const HARD_NAMES: [&str; 4] = ["a name with blanks", "-dash", "quo\"te's", "naïve [1] *"];

/// A tree with a large file, an empty one, directories, hard names and a symlink that stays inside.
fn fill(root: &Path) {
    fs::create_dir_all(root.join("sub/deep")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::write(root.join("in.txt"), "inside\n").unwrap();
    fs::write(root.join("none"), "").unwrap();
    fs::write(root.join("big"), noise(1_300_000)).unwrap();
    fs::write(root.join("sub/f"), "f").unwrap();
    fs::write(root.join("sub/deep/y"), "y").unwrap();
    for name in HARD_NAMES {
        fs::write(root.join("sub").join(name), name).unwrap();
    }
    symlink("in.txt", root.join("link")).unwrap();
    fs::set_permissions(root.join("sub/f"), fs::Permissions::from_mode(0o640)).unwrap();
    let then =
        fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(LONG_AGO));
    fs::File::options().write(true).open(root.join("sub/f")).unwrap().set_times(then).unwrap();
}

/// When `sub/f` was changed last.
const LONG_AGO: u64 = 1_000_000_000;

/// Bytes that no compression or block of zeros hides mistakes in.
fn noise(length: u32) -> Vec<u8> {
    (0..length / 4).flat_map(|word| word.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

/// What is at a path: enough to tell whether it has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mode: u32,
    modified: i64,
    content: Vec<u8>,
}

/// Everything below `root`, and `root` itself under the empty path; a symlink's content is what it says.
fn picture(root: &Path) -> BTreeMap<PathBuf, Entry> {
    fn add(root: &Path, path: &Path, found: &mut BTreeMap<PathBuf, Entry>) {
        use std::os::unix::ffi::OsStringExt as _;
        let metadata = fs::symlink_metadata(path).unwrap();
        if !metadata.is_symlink() && metadata.mode() & 0o400 == 0 {
            // A client has copied the mode of what could not be read.
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let content = if metadata.is_symlink() {
            fs::read_link(path).unwrap().into_os_string().into_vec()
        } else if metadata.is_file() {
            fs::read(path).unwrap()
        } else {
            Vec::new()
        };
        let entry = Entry { mode: metadata.mode(), modified: metadata.mtime(), content };
        found.insert(path.strip_prefix(root).unwrap().to_owned(), entry);
        if metadata.is_dir() {
            for child in fs::read_dir(path).unwrap() {
                add(root, &child.unwrap().path(), found);
            }
        }
    }
    let mut found = BTreeMap::new();
    add(root, root, &mut found);
    found
}

/// Names and contents of the regular files below `root`.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let regular = |entry: &Entry| entry.mode & 0o170_000 == 0o100_000;
    picture(root)
        .into_iter()
        .filter(|(_, entry)| regular(entry))
        .map(|(path, entry)| (path, entry.content))
        .collect()
}

/// The two trees hold the same files.
#[track_caller]
fn same_files(one: &Path, other: &Path) {
    let (one, other) = (files(one), files(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (path, content) in &one {
        assert!(*content == other[path], "{} differs", path.display());
    }
}

/// Each pair of files has the same content.
#[track_caller]
fn same_contents(pairs: &[(PathBuf, PathBuf)]) {
    for (one, other) in pairs {
        assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "{} {}", one.display(), other.display());
    }
}

/// The copies of `sub/f` have its time and its mode.
#[track_caller]
fn times_and_modes_are_kept(copies: &[PathBuf]) {
    for copy in copies {
        let metadata = fs::metadata(copy).unwrap();
        let found = (metadata.mtime().cast_unsigned(), metadata.mode() & 0o777);
        assert_eq!(found, (LONG_AGO, 0o640), "{}", copy.display());
    }
}

/// Whether the client is installed. Where it is not, one line says so.
fn installed(program: &str) -> bool {
    let found = has_program(program);
    if !found {
        say(&format!("not tried: {program} is not installed (scripts/packages.sh {program})"));
    }
    found
}

/// Says something past the test harness, which keeps back what a test prints that goes well.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Runs a command to its end.
#[track_caller]
fn ends(command: &mut Command) -> Outcome {
    run(command, &Run::default())
}

/// As [`ends`], with arguments of mixed kinds.
#[track_caller]
fn with(mut command: Command, args: &[impl AsRef<OsStr>]) -> Outcome {
    ends(command.args(args))
}
