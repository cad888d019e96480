//! A scratch home with a private sshd: what one test owns.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::account::Account;
use super::client::Client;
use super::listener::Listener;
use super::outcome::{Outcome, Run, run};
use super::pod::Pod;
use super::programs::{copy_program, find_program, gate, our_program};

/// Which program answers an SFTP client that reaches the subsystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SftpServer {
    /// sshd itself.
    Internal,
    /// OpenSSH's separate program, at Debian's path.
    External,
}

impl SftpServer {
    /// The subsystem's command line, which is also what `SSH_ORIGINAL_COMMAND` says to a forced command.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Internal => "internal-sftp",
            Self::External => "/usr/lib/openssh/sftp-server",
        }
    }
}

/// A client's key pair.
pub(crate) struct Key {
    /// The private key's file.
    pub(crate) file: PathBuf,
    /// The public key as it stands in `authorized_keys`: type, blob, comment.
    pub(crate) public: String,
}

/// A scratch home that a private sshd serves. Dropping it removes everything, and tells what happened if the test
/// is failing.
pub(crate) struct Sandbox {
    dir: TempDir,
    sftp: SftpServer,
}

impl Sandbox {
    /// A new home, empty but for `.ssh`, with `internal-sftp` as its sshd's subsystem.
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self::with_sftp(SftpServer::Internal)
    }

    /// A new home whose sshd has this SFTP subsystem.
    #[track_caller]
    pub(crate) fn with_sftp(sftp: SftpServer) -> Self {
        let dir = tempfile::Builder::new().prefix("akeys-").tempdir().unwrap();
        let sandbox = Self { dir, sftp };
        private_dir(&sandbox.home());
        private_dir(&sandbox.client_home());
        private_dir(&sandbox.home().join(".ssh"));
        private_dir(&sandbox.path("etc"));
        let (private, public) = host_key();
        write_private(&sandbox.path("etc/host_key"), private);
        write_private(&sandbox.path("etc/known_hosts"), format!("sandbox {public}\n").as_bytes());
        write_private(&sandbox.sshd_config(), sandbox.sshd_config_text().as_bytes());
        sandbox
    }

    /// The home of the account that clients log in to.
    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// The home, and the working directory, of the clients.
    pub(crate) fn client_home(&self) -> PathBuf {
        self.path("client")
    }

    /// A path in the sandbox, outside both homes.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// Writes a file below the home, with its parents.
    pub(crate) fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.home().join(relative);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        file
    }

    /// A new ed25519 key pair for a client.
    pub(crate) fn new_key(&self, name: &str) -> Key {
        let file = self.path("etc").join(format!("key_{name}"));
        let public = generate(&file, name);
        Key { file, public }
    }

    /// The key pair whose private half is `file`, for instance one that `akeys federation new` made.
    pub(crate) fn key_at(file: impl Into<PathBuf>) -> Key {
        let file = file.into();
        let output =
            Command::new(find_program("ssh-keygen")).arg("-y").arg("-f").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
        Key { file, public: String::from_utf8(output.stdout).unwrap().trim_end().to_owned() }
    }

    /// `~/.ssh/authorized_keys`.
    pub(crate) fn authorized_keys(&self) -> PathBuf {
        self.home().join(".ssh/authorized_keys")
    }

    /// Appends one line to `authorized_keys`: `options` (which may be empty), then the key.
    pub(crate) fn authorize(&self, options: &str, key: &Key) {
        let line = format!("{options} {}\n", key.public);
        let mut file =
            fs::File::options().append(true).create(true).mode(0o600).open(self.authorized_keys()).unwrap();
        file.write_all(line.trim_start().as_bytes()).unwrap();
    }

    /// A client that logs in with `key` over a pipe to an sshd of its own: no port, no daemon.
    pub(crate) fn client(&self, key: &Key) -> Client<'_> {
        Client::new(self, key, &self.pipe())
    }

    /// A pod that was let in with these words behind `akeys install`. It reaches the host over a pipe.
    #[track_caller]
    pub(crate) fn pod(&self, name: &str, install: &[&str]) -> Pod<'_> {
        Pod::new(self, name, "laptop", &self.pipe(), install)
    }

    /// A pod that reaches the host at an address.
    #[track_caller]
    pub(crate) fn pod_at(&self, name: &str, address: &str, install: &[&str]) -> Pod<'_> {
        Pod::new(self, name, address, "", install)
    }

    /// How `ssh_config` says that a host is an sshd of its own at the other end of a pipe.
    pub(crate) fn pipe(&self) -> String {
        format!("ProxyCommand {}", self.proxy())
    }

    /// The command that is such an sshd, as `ProxyCommand` takes it.
    pub(crate) fn proxy(&self) -> String {
        let sshd = find_program("sshd");
        let quoted = |path: &Path| format!("'{}'", path.to_str().unwrap().replace('%', "%%"));
        format!("{} -i -f {} -E {}", quoted(&sshd), quoted(&self.sshd_config()), quoted(&self.sshd_log()))
    }

    /// An sshd on a loopback port, for what a pipe cannot show: the client's address and port forwarding.
    #[track_caller]
    pub(crate) fn listen(&self) -> Listener<'_> {
        Listener::start(self)
    }

    /// Installs our programs in `~/.local/bin` and answers with the gate's path, fit for a forced command.
    #[track_caller]
    pub(crate) fn gate(&self) -> PathBuf {
        self.installed("rrsync-rs", &gate())
    }

    /// Installs awatch beside the gate, which runs it from there.
    #[track_caller]
    pub(crate) fn awatch(&self) -> PathBuf {
        self.installed("awatch", &our_program("awatch"))
    }

    /// Runs `akeys` as the owner of the home would.
    #[track_caller]
    pub(crate) fn akeys(&self, args: &[&str]) -> Outcome {
        self.akeys_in(&self.home(), args)
    }

    /// Runs `akeys` with another home, for instance as the pod's owner.
    #[track_caller]
    pub(crate) fn akeys_in(&self, home: &Path, args: &[&str]) -> Outcome {
        self.gate();
        let akeys = self.installed("akeys", &our_program("akeys"));
        let mut command = Command::new(akeys);
        command.args(args).current_dir(home);
        built_environment(&mut command, home);
        run(&mut command, &Run::default())
    }

    /// The gate's audit records, oldest first; none when there is no audit file.
    #[track_caller]
    pub(crate) fn audit(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.audit_file()).unwrap_or_default();
        text.lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("audit line {line}: {error}"))
            })
            .collect()
    }

    /// `~/.local/state/akeys/audit.jsonl`.
    pub(crate) fn audit_file(&self) -> PathBuf {
        self.home().join(".local/state/akeys/audit.jsonl")
    }

    /// What sshd has logged so far.
    pub(crate) fn sshd_log_text(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.sshd_log()).unwrap_or_default()).into_owned()
    }

    pub(crate) fn sshd_config(&self) -> PathBuf {
        self.path("etc/sshd_config")
    }

    pub(super) fn sshd_log(&self) -> PathBuf {
        self.path("etc/sshd.log")
    }

    fn installed(&self, name: &str, built: &Path) -> PathBuf {
        let bin = self.home().join(".local/bin");
        let target = bin.join(name);
        if !target.exists() {
            fs::create_dir_all(&bin).unwrap();
            copy_program(built, &target);
        }
        target
    }

    fn sshd_config_text(&self) -> String {
        let shown = |path: PathBuf| path.to_str().unwrap().to_owned();
        format!(
            "HostKey \"{host_key}\"\n\
             AuthorizedKeysFile \"{authorized_keys}\"\n\
             UsePAM {pam}\n\
             PidFile none\n\
             # The scratch home lies below a world-writable directory, which StrictModes would refuse.\n\
             StrictModes no\n\
             SetEnv \"HOME={home}\"\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\n\
             # Many parallel logins come from one address; none may be dropped.\n\
             MaxStartups 1000\n\
             MaxSessions 1000\n\
             LogLevel DEBUG2\n\
             Subsystem sftp {sftp}\n",
            host_key = shown(self.path("etc/host_key")),
            authorized_keys = shown(self.authorized_keys()),
            pam = if Account::current().needs_pam { "yes" } else { "no" },
            home = shown(self.home()),
            sftp = self.sftp.command(),
        )
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.sshd_log_text();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- sshd log, last 80 lines of {}", lines.len());
            for line in &lines[lines.len().saturating_sub(80)..] {
                eprintln!("{line}");
            }
            eprintln!("--- authorized_keys\n{}", text_of(&self.authorized_keys()));
            eprintln!("--- audit file\n{}", text_of(&self.audit_file()));
        }
    }
}

/// A built environment: nothing of the developer's own (agents, locales, rsync options) reaches a test.
pub(super) fn built_environment(command: &mut Command, home: &Path) {
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("LANG", "C.UTF-8")
        .env("USER", &Account::current().name);
}

fn text_of(file: &Path) -> String {
    fs::read(file).map_or_else(|e| format!("({e})"), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The host key of every sandbox of this process: private and public text.
fn host_key() -> &'static (Vec<u8>, String) {
    static HOST_KEY: OnceLock<(Vec<u8>, String)> = OnceLock::new();
    HOST_KEY.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let public = generate(&file, "sandbox");
        (fs::read(&file).unwrap(), public)
    })
}

fn generate(file: &Path, comment: &str) -> String {
    let output = Command::new(find_program("ssh-keygen"))
        .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(file.with_extension("pub")).unwrap().trim_end().to_owned()
}

fn private_dir(path: &Path) {
    fs::DirBuilder::new().mode(0o700).create(path).unwrap();
    // The umask can only take bits away; a directory that others may write would be refused later on.
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

pub(super) fn write_private(path: &Path, content: &[u8]) {
    let mut file =
        fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(content).unwrap();
}
