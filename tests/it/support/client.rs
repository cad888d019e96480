//! A client machine: OpenSSH's and rsync's own clients, with one key and one way to the sandbox.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::account::Account;
use super::outcome::{Outcome, Run, run};
use super::programs::find_program;
use super::sandbox::{Key, Sandbox, built_environment, write_private};
use super::talk::Talk;

/// Somebody with a private key. The host is called `host` on every command line; commands start in the client's home.
pub(crate) struct Client<'s> {
    sandbox: &'s Sandbox,
    config: PathBuf,
    held: Option<Held>,
}

/// A connection that further sessions share. Closing its standard input is not enough; it is ended by its pid.
struct Held {
    master: Child,
    _stdin: ChildStdin,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.master.kill().ok();
        self.master.wait().ok();
    }
}

impl<'s> Client<'s> {
    /// A client that reaches the host as `route` says, which is a line or more of `ssh_config`.
    pub(super) fn new(sandbox: &'s Sandbox, key: &Key, route: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let config = sandbox.path("etc").join(format!("ssh_config_{number}"));
        let control = sandbox.path("etc").join(format!("held_{number}"));
        let text = format!(
            "Host *\n\
             User {user}\n\
             HostKeyAlias sandbox\n\
             UserKnownHostsFile \"{known_hosts}\"\n\
             GlobalKnownHostsFile none\n\
             StrictHostKeyChecking yes\n\
             IdentityFile \"{key}\"\n\
             IdentitiesOnly yes\n\
             IdentityAgent none\n\
             BatchMode yes\n\
             LogLevel INFO\n\
             ControlPath \"{control}\"\n\
             {route}\n",
            user = Account::current().name,
            known_hosts = sandbox.path("etc/known_hosts").to_str().unwrap(),
            key = key.file.to_str().unwrap(),
            control = control.to_str().unwrap(),
        );
        write_private(&config, text.as_bytes());
        Self { sandbox, config, held: None }
    }

    /// Logs in once; every later command of this client is a channel on that connection, which costs a tenth of a
    /// login.
    #[track_caller]
    pub(crate) fn hold(mut self) -> Self {
        // LocalCommand runs once the connection is authenticated and its control socket accepts.
        let mut command = self.command("ssh");
        command
            .args(["-M", "-N", "-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo held", "host"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut master = command.spawn().unwrap();
        let stdout = master.stdout.take().unwrap();
        let stderr = master.stderr.take().unwrap();
        let held = Held { _stdin: master.stdin.take().unwrap(), master };
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).ok();
            sender.send(line).ok();
        });
        let line = receiver.recv_timeout(Duration::from_mins(1)).expect("a login within a minute");
        if line != "held\n" {
            drop(held);
            let said = std::io::read_to_string(stderr).unwrap_or_default();
            panic!("the login failed: {said}");
        }
        self.held = Some(held);
        self
    }

    /// A directory with a program `ssh` that is OpenSSH's with this client's configuration, as a user's own would be.
    pub(crate) fn as_ssh(&self) -> PathBuf {
        let dir = self.config.with_extension("bin");
        fs::create_dir_all(&dir).unwrap();
        let script =
            format!("#!/bin/sh\nexec '{}' -F '{}' \"$@\"\n", utf8(&find_program("ssh")), utf8(&self.config));
        write_private(&dir.join("ssh"), script.as_bytes());
        fs::set_permissions(dir.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
        dir
    }

    /// `ssh host ARGS…`.
    #[track_caller]
    pub(crate) fn ssh<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome {
        self.ssh_with(&[] as &[&str], args, &Run::default())
    }

    /// `ssh OPTIONS… host ARGS…`, with an input and a deadline.
    #[track_caller]
    pub(crate) fn ssh_with<O, S>(&self, options: &[O], args: &[S], how: &Run<'_>) -> Outcome
    where
        O: AsRef<OsStr>,
        S: AsRef<OsStr>,
    {
        run(self.command("ssh").args(options).arg("host").args(args), how)
    }

    /// `ssh host ARGS…`, which goes on while the test does.
    #[track_caller]
    pub(crate) fn ssh_talk<S: AsRef<OsStr>>(&self, args: &[S]) -> Talk {
        Talk::start(self.command("ssh").arg("host").args(args))
    }

    /// `rsync ARGS…` with this client's ssh; remote paths are written `host:PATH`.
    #[track_caller]
    pub(crate) fn rsync<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome {
        let mut command = Command::new(rrsync_rs::rsync::program::usual().expect("rsync is installed"));
        // rsync splits -e at blanks and understands single quotes.
        let shell = format!("'{}' -F '{}'", utf8(&find_program("ssh")), utf8(&self.config));
        self.at_home(&mut command);
        run(command.arg("-e").arg(shell).args(args), &Run::default())
    }

    /// `scp ARGS…`.
    #[track_caller]
    pub(crate) fn scp<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome {
        run(self.command("scp").args(args), &Run::default())
    }

    /// `sftp -b - host`, with `batch` as its commands.
    #[track_caller]
    pub(crate) fn sftp(&self, batch: &str) -> Outcome {
        let how = Run { stdin: batch.as_bytes(), ..Run::default() };
        run(self.command("sftp").args(["-b", "-", "host"]), &how)
    }

    /// Another program than OpenSSH's, in this client's home and environment.
    pub(crate) fn other(&self, program: &str) -> Command {
        let mut command = Command::new(find_program(program));
        self.at_home(&mut command);
        command
    }

    /// The command line of an ssh that reaches the host, for clients that run one.
    pub(crate) fn ssh_line(&self) -> String {
        format!("{} -F {}", utf8(&find_program("ssh")), utf8(&self.config))
    }

    /// One of OpenSSH's clients, with nothing but its configuration.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(find_program(program));
        command.arg("-F").arg(&self.config);
        self.at_home(&mut command);
        command
    }

    fn at_home(&self, command: &mut Command) {
        let home = self.sandbox.client_home();
        built_environment(command, &home);
        command.current_dir(home);
    }
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}
