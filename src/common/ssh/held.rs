//! One held connection for each host, account and key.
//!
//! It is a master in the background whose socket only this account can reach (`ControlMaster` in `ssh_config(5)`). Whatever
//! is asked of the host is a channel on it, which costs a tenth of a login. It ends by itself when nobody has used it for a
//! while.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use rrsync_rs::layout::Layout;
use rrsync_rs::sha256::Sum;

use super::{Ssh, SshError, words};
use crate::card::{HostPublicKey, Pins};
use crate::common::private::{self, PrivateError};

/// How long the master waits, in seconds, for somebody to use it again.
const PERSIST: u32 = 60;

/// The longest path of a socket that ssh can bind: `sun_path` of unix(7), less its NUL and the 17 bytes that ssh puts behind
/// the name while it makes the socket.
const LONGEST_SOCKET: usize = 107 - 17;

/// A held connection.
#[derive(Debug)]
pub struct Connection {
    ssh: Ssh,
    socket: PathBuf,
    /// The keys that the host is known by, for messages.
    pins: Vec<String>,
}

/// Says what went wrong with a channel of an account.
#[derive(Debug, Clone)]
pub struct Failures(String);

impl Failures {
    /// From what ssh said meanwhile.
    pub fn of(&self, said: &[u8]) -> SshError {
        SshError::channel(self.0.clone(), said)
    }
}

impl Connection {
    /// Makes sure that there is a held connection: finds it, or logs in.
    ///
    /// # Errors
    /// `HostKey` with both fingerprints when the host shows a key that is not pinned; `Login` with what ssh said otherwise.
    pub fn hold(ssh: &Ssh, layout: &Layout) -> Result<Self, SshError> {
        let directory = layout.connections_dir();
        private::directory(&directory)?;
        let pins = Pins::load(layout, &ssh.card.federation)?.of(&ssh.card.place);
        let connection = Self {
            socket: socket(&directory, ssh)?,
            pins: pins.iter().map(HostPublicKey::shown).collect(),
            ssh: ssh.clone(),
        };
        if !connection.is_held() {
            connection.log_in()?;
        }
        Ok(connection)
    }

    /// Whether somebody answers at the socket.
    pub fn is_held(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }

    /// The account, `USER@HOST`, for people.
    pub fn account(&self) -> String {
        format!("{}@{}", self.ssh.card.user, self.ssh.card.place)
    }

    /// ssh, running `command` on the host.
    pub fn run(&self, command: &str) -> Command {
        let mut ssh = self.channel(&[]);
        ssh.arg(command);
        ssh
    }

    /// ssh, as a pipe to a subsystem of the host.
    pub fn subsystem(&self, name: &str) -> Command {
        let mut ssh = self.channel(&["-s"]);
        ssh.arg(name);
        ssh
    }

    /// The words with which rsync(1) reaches the host: the value of `-e`, and what stands before the colon of a remote path.
    /// rsync puts the host behind the value by itself.
    pub fn for_rsync(&self) -> (OsString, String) {
        let mut ssh = self.ssh.start(&self.multiplexed(&[]));
        ssh.arg("--");
        let host = &self.ssh.card.place.host;
        let host = if host.is_ipv6() { format!("[{host}]") } else { host.to_string() };
        (words::for_rsync(&ssh), host)
    }

    /// Who says what went wrong with a channel that has ended early.
    pub fn failures(&self) -> Failures {
        Failures(self.account())
    }

    /// Ends the connection, with all its channels.
    pub fn end(&self) {
        let mut ssh = self.channel(&["-O", "exit"]);
        let quiet = ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Without a connection there is nothing to end.
        drop(quiet.status());
    }

    fn channel(&self, options: &[&str]) -> Command {
        self.ssh.to_host(&self.multiplexed(options))
    }

    fn multiplexed(&self, options: &[&str]) -> Vec<OsString> {
        let socket = words::expanded(self.socket.as_os_str());
        let own = [OsString::from("-S"), socket, "-o".into(), "ControlMaster=no".into()];
        own.into_iter().chain(options.iter().map(OsString::from)).collect()
    }

    /// Starts the master, which goes to the background once it has logged in. Of several processes that want the same
    /// connection at once one logs in, and the others wait for it.
    fn log_in(&self) -> Result<(), SshError> {
        let path = self.socket.with_extension("lock");
        let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(PrivateError::io(&path))?;
        lock.lock().map_err(PrivateError::io(&path))?;
        if self.is_held() {
            return Ok(());
        }
        // A name that no other ssh has. Where one is in the way, ssh goes to the background without a socket, and stays there for
        // ever; and a run that was killed may have left an ssh that is still about to log in.
        let own = self.own_name();
        match fs::remove_file(&own) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(PrivateError::io(&own)(error).into());
            }
            _ => {}
        }
        let persist = format!("ControlPersist={PERSIST}");
        let (status, said) = self.talk(&own, &["-f", "-N", "-M", "-o", &persist])?;
        if status {
            // In the place of a socket that nobody answers at.
            return fs::rename(&own, &self.socket).map_err(|error| PrivateError::io(&own)(error).into());
        }
        if SshError::is_about_host_key(&said) {
            // Only a talkative ssh says which key the host has shown.
            let (_, said) = self.talk(&own, &["-v", "-N"])?;
            return Err(SshError::host_key(&self.ssh.card.place, &self.pins, &said));
        }
        Err(SshError::login(self.account(), &said))
    }

    /// Where a socket is made before it gets its place: no longer than that.
    fn own_name(&self) -> PathBuf {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed) % 256;
        self.socket.with_file_name(format!("n{:x}.{number:x}", process::id()))
    }

    /// Runs ssh with `args` to its end, or until it goes to the background: whether it succeeded, and what it said.
    fn talk(&self, socket: &Path, args: &[&str]) -> Result<(bool, Vec<u8>), SshError> {
        // A file and no pipe: the master would hold the pipe open.
        let mut said = tempfile::tempfile().map_err(SshError::Start)?;
        let socket = words::expanded(socket.as_os_str());
        let own = [OsString::from("-S"), socket].into_iter().chain(args.iter().map(OsString::from));
        let mut ssh = self.ssh.to_host(&own.collect::<Vec<_>>());
        ssh.stdin(Stdio::null()).stdout(Stdio::null());
        ssh.stderr(said.try_clone().map_err(SshError::Start)?);
        let status = ssh.status().map_err(SshError::Start)?;
        let mut text = Vec::new();
        said.rewind().and_then(|()| said.take(1 << 16).read_to_end(&mut text)).map_err(SshError::Start)?;
        Ok((status.success(), text))
    }
}

/// Where the socket for `ssh` is: a short name of its own, because the path of a socket must be short.
fn socket(directory: &Path, ssh: &Ssh) -> Result<PathBuf, SshError> {
    let what = [
        ssh.card.account().as_bytes(),
        ssh.card.place.to_string().as_bytes(),
        ssh.key.as_os_str().as_bytes(),
        ssh.card.federation.as_str().as_bytes(),
    ]
    .join(&0);
    let name = Sum::of(&what).to_string();
    let path = directory.join(name.get(..16).unwrap_or(&name));
    if path.as_os_str().len() > LONGEST_SOCKET {
        return Err(SshError::LongPath(path));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::ssh::tests::card;

    fn ssh(host: &str, key: &str) -> Ssh {
        Ssh::to(&card(host), Path::new(key), &Layout::new("/home/u").unwrap())
    }

    #[test]
    fn every_way_has_a_socket_of_its_own() {
        let one = socket(Path::new("/d"), &ssh("h", "/k")).unwrap();
        assert_eq!(one, socket(Path::new("/d"), &ssh("H", "/k")).unwrap());
        for other in [ssh("h", "/k.sftp"), ssh("h2", "/k")] {
            assert_ne!(socket(Path::new("/d"), &other).unwrap(), one);
        }
        let long = format!("/{}", "d".repeat(80));
        assert!(matches!(socket(Path::new(&long), &ssh("h", "/k")), Err(SshError::LongPath(_))));
    }

    #[test]
    fn a_channel_is_one_of_the_held_connection() {
        let connection =
            Connection { socket: "/run/a%b".into(), pins: Vec::new(), ssh: ssh("2001:db8::1", "/k") };
        let command = connection.subsystem("sftp");
        let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap()).collect();
        let at = words.iter().position(|word| *word == "-S").unwrap();
        assert_eq!(words[at..at + 5], ["-S", "/run/a%%b", "-o", "ControlMaster=no", "-s"]);
        assert_eq!(words[words.len() - 3..], ["--", "2001:db8::1", "sftp"]);
        let (shell, host) = connection.for_rsync();
        assert_eq!(host, "[2001:db8::1]");
        let shell = shell.to_str().unwrap();
        assert!(shell.starts_with("'env' '-i' 'HOME=/home/u' ") && shell.ends_with(" '--'"), "{shell}");
    }
}
