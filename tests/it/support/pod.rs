//! A pod: a home with a key of a federation, a card, and afiles.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::outcome::{Outcome, Run, run};
use super::programs::{find_program, our_program};
use super::sandbox::{Sandbox, built_environment};
use super::talk::Talk;

/// A pod of the federation `lab`, which the account of the sandbox has let in and given a card.
pub(crate) struct Pod<'s> {
    sandbox: &'s Sandbox,
    name: String,
    home: PathBuf,
    /// What its commands are run with: a namespace, say.
    with: Vec<String>,
}

impl<'s> Pod<'s> {
    /// Pod `name`, with a home of its own. `install` are the words behind `akeys install` that say what is granted; `route` is a
    /// line or more of `ssh_config` that say how the host is reached.
    #[track_caller]
    pub(super) fn new(
        sandbox: &'s Sandbox,
        name: &str,
        address: &str,
        route: &str,
        install: &[&str],
    ) -> Self {
        let home = sandbox.path(name);
        fs::create_dir_all(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        let pod = Self { sandbox, name: name.to_owned(), home, with: Vec::new() };
        pod.akeys(&["federation", "new", "lab", "--pod", name, "--tools", "rsync,sftp,watch"]).succeeds();
        pod.meet(sandbox, address, install);
        pod.reach(route);
        pod
    }

    /// Meets the account of `sandbox`, which is at `address` and grants what `install` says.
    #[track_caller]
    pub(crate) fn meet(&self, sandbox: &Sandbox, address: &str, install: &[&str]) {
        sandbox.awatch();
        let bundle = self.akeys(&["federation", "export", "lab"]).succeeds().stdout;
        let bundle_file = format!("{}.toml", self.name);
        sandbox.write(&bundle_file, bundle);
        let known = fs::read_to_string(sandbox.path("etc/known_hosts")).unwrap();
        sandbox.write("host.pub", known.strip_prefix("sandbox ").unwrap());
        let words = ["--address", address, "--host-key", "host.pub"];
        sandbox.akeys(&[&["install", "--bundle", &bundle_file], install, &words].concat()).succeeds();
        let card = sandbox.home().join(format!(".config/akeys/issued/lab.{}.toml", self.name));
        self.akeys(&["federation", "meet", card.to_str().unwrap()]).succeeds();
    }

    /// From now on its commands are run by these words: in a namespace, or on a terminal.
    pub(crate) fn with(&mut self, words: &[&str]) {
        self.with = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// Says how the host is reached from now on.
    pub(crate) fn reach(&self, route: &str) {
        let config = self.home.join(".ssh/akeys/lab.ssh_config");
        fs::write(&config, format!("Host *\nIdentityAgent none\n{route}\n")).unwrap();
    }

    /// The home.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// A path in the home.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.home.join(relative)
    }

    /// Runs `afiles` in the home.
    #[track_caller]
    pub(crate) fn afiles<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome {
        run(&mut self.command(args), &Run::default())
    }

    /// `afiles ARGS…`, to be run in the home.
    #[track_caller]
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let afiles = our_program("afiles");
        let mut command = match self.with.split_first() {
            None => Command::new(afiles),
            Some((first, rest)) => {
                let mut command = Command::new(find_program(first));
                command.args(rest).arg(afiles);
                command
            }
        };
        command.args(args);
        self.at_home(&mut command);
        command
    }

    /// Starts `afiles follow --json ARGS…` in the home.
    #[track_caller]
    pub(crate) fn follow<S: AsRef<OsStr>>(&self, args: &[S]) -> Following {
        let mut command = self.command(&["follow", "--json"]);
        Following(Talk::start(command.args(args)))
    }

    /// Runs `akeys` in the home.
    #[track_caller]
    pub(crate) fn akeys(&self, args: &[&str]) -> Outcome {
        self.sandbox.akeys_in(&self.home, args)
    }

    /// The sockets of the connections that are held.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path(".local/state/akeys/ssh")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_none()).collect()
    }

    /// Kills what holds the connections, as a network that is gone would, only at once.
    #[track_caller]
    pub(crate) fn cut(&self) {
        let mut cut = 0;
        for socket in self.sockets() {
            let mut ssh = Command::new(find_program("ssh"));
            ssh.arg("-F").arg("none").arg("-S").arg(&socket).args(["-O", "check", "host"]);
            let said = String::from_utf8(ssh.output().unwrap().stderr).unwrap();
            let Some(pid) = said.split("pid=").nth(1).and_then(|rest| rest.split(')').next()) else {
                continue;
            };
            kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
            cut += 1;
        }
        assert!(cut > 0, "no connection is held");
    }

    fn at_home(&self, command: &mut Command) {
        built_environment(command, &self.home);
        command.current_dir(&self.home);
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        // A held connection would stay for a minute.
        for socket in self.sockets() {
            let mut ssh = Command::new(find_program("ssh"));
            ssh.arg("-F").arg("none").arg("-S").arg(socket).args(["-O", "exit", "host"]);
            drop(ssh.output());
        }
    }
}

/// `afiles follow`, running.
pub(crate) struct Following(Talk);

impl Following {
    /// The next thing that it tells.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Value {
        let line = self.0.line();
        // Shown when the test fails.
        eprintln!("{line}");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Waits until it is in sync, and answers with what it has told until then: type and path, or state.
    #[track_caller]
    pub(crate) fn in_sync(&mut self) -> Vec<(String, String)> {
        self.until(|kind, what| kind == "state" && what == "in-sync")
    }

    /// Waits until it tells of something, and answers with all that it has told until then.
    #[track_caller]
    pub(crate) fn until(&mut self, wanted: impl Fn(&str, &str) -> bool) -> Vec<(String, String)> {
        let mut told = Vec::new();
        loop {
            let event = self.event();
            let word = |name: &str| event[name].as_str().map(str::to_owned);
            let (kind, what) = (word("type").unwrap(), word("path").or(word("state")).unwrap());
            let found = wanted(&kind, &what);
            told.push((kind, what));
            if found {
                return told;
            }
        }
    }

    /// Waits until a line has this in it; `false` when it ends before.
    #[track_caller]
    pub(crate) fn lives_until(&mut self, wanted: &str) -> bool {
        while let Some(line) = self.0.line_or_end() {
            eprintln!("{line}");
            if line.contains(wanted) {
                return true;
            }
        }
        false
    }

    /// Ends it as a power cut would, with what it has started.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.0.kill_group();
        // Until it is gone nobody else may do its work.
        while self.0.line_or_end().is_some() {}
    }
}
