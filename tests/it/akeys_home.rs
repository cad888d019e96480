//! A scratch home in which `akeys` runs: nothing of the tester's own account is seen or touched.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::our_program;

/// An ed25519 key that belongs to nobody here.
pub(crate) const FOREIGN: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEf3nULCwzQ7Y2TMVwXcFZ7Bvg1Eig6IPvwX1J2rSU5";

/// Another one.
pub(crate) const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEl6ZPlW4lzaXAVlzbxVev8C0lLTWq9/xDwuq24HTwJH";

/// A home directory, and a stand-in for the gate.
pub(crate) struct Home {
    dir: tempfile::TempDir,
}

/// What a run of `akeys` did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; -1 when a signal ended it.
    pub(crate) code: i32,
    /// stdout.
    pub(crate) out: String,
    /// stderr.
    pub(crate) err: String,
}

impl Ran {
    /// The result of a finished process.
    pub(crate) fn from(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, after making sure that it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// The same, after making sure that it failed with this code and says this.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(says), "{says:?} is not in {self:?}");
        self
    }
}

impl Home {
    /// An empty home.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Self { dir };
        fs::create_dir(home.path()).unwrap();
        fs::create_dir(home.dir.path().join("bin")).unwrap();
        fs::write(home.gate(), "#!/bin/sh\n").unwrap();
        fs::set_permissions(home.gate(), Permissions::from_mode(0o755)).unwrap();
        home
    }

    /// A home with the imported federation `playground` of pod `chef1` and a directory `papers`.
    pub(crate) fn with_federation() -> Self {
        let home = Self::new();
        home.federation("playground", "chef1");
        home.make("papers");
        home
    }

    /// Another home with the same in it. Nothing in it may name this one.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self { dir: tempfile::tempdir().unwrap() };
        let status = Command::new("cp").arg("-a").arg(self.around().join(".")).arg(copy.around()).status();
        assert!(status.unwrap().success());
        copy
    }

    /// Makes a federation on the pod's side and imports its bundle on the user's.
    pub(crate) fn federation(&self, name: &str, pod: &str) {
        self.akeys(&["federation", "new", name, "--pod", pod]).ok();
        let bundle = self.akeys(&["federation", "export", name]).ok().out;
        self.write(&format!("{name}.toml"), &bundle);
        self.akeys(&["federation", "import", &self.at(&format!("{name}.toml"))]).ok();
    }

    /// The home directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The directory around the home.
    pub(crate) fn around(&self) -> &Path {
        self.dir.path()
    }

    /// Something in the home, as an argument.
    pub(crate) fn at(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().to_owned()
    }

    /// The stand-in for the gate.
    pub(crate) fn gate(&self) -> PathBuf {
        self.dir.path().join("bin/rrsync-rs")
    }

    /// Makes a directory in the home.
    pub(crate) fn make(&self, name: &str) {
        fs::create_dir_all(self.path().join(name)).unwrap();
    }

    /// Writes a file in the home.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Reads a file in the home.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// `authorized_keys`, empty when it is missing.
    pub(crate) fn keys(&self) -> String {
        fs::read_to_string(self.path().join(".ssh/authorized_keys")).unwrap_or_default()
    }

    /// The names in a directory of the home, sorted; none when it is missing.
    pub(crate) fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path().join(dir)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Every path below the home with its content, to see that nothing changed.
    pub(crate) fn everything(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut dirs = vec![self.path()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if let Ok(target) = fs::read_link(&path) {
                    found.push((path, target.into_os_string().into_encoded_bytes()));
                } else if path.is_dir() {
                    dirs.push(path.clone());
                    found.push((path, Vec::new()));
                } else {
                    // Nobody is on the other end of a FIFO.
                    let content = if path.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                    found.push((path, content));
                }
            }
        }
        found.sort();
        found
    }

    /// `akeys` with these arguments, ready to be started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(our_program("akeys"));
        self.settle(&mut command).args(args);
        command
    }

    /// Gives a command the environment of this home, and nothing else.
    pub(crate) fn settle<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env_clear().env("HOME", self.path()).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command.current_dir(self.path())
    }

    /// Runs `akeys`.
    pub(crate) fn akeys(&self, args: &[&str]) -> Ran {
        Ran::from(&self.command(args).output().unwrap())
    }

    /// Runs `akeys install` with the stand-in gate.
    pub(crate) fn install(&self, args: &[&str]) -> Ran {
        Ran::from(&self.install_command(args).output().unwrap())
    }

    /// `akeys install` with the stand-in gate, ready to be started.
    pub(crate) fn install_command(&self, args: &[&str]) -> Command {
        let mut command = self.command(&["install"]);
        command.args(args).arg("--gate").arg(self.gate());
        command
    }

    /// Runs `akeys install` for the federation `playground` and the directory `papers`.
    pub(crate) fn install_papers(&self) -> Ran {
        self.install(&["--federation", "playground", "--workspace", &self.at("papers")])
    }
}
