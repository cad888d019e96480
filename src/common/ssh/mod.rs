//! One held connection for each host, account and key: OpenSSH's own ssh carries everything.
//!
//! ssh(1) is run, so the user's configuration, agents and jump hosts keep working; what decides about trust is said on its
//! command line, where it counts before any file: the key, the one file of pinned host keys, no questions, no forwarding.
//! The connection is a master in the background whose socket only this account can reach (ControlMaster in
//! ssh_config(5)). Whatever is asked of the host is a channel on it, which costs a tenth of a login. It ends by itself
//! when nobody has used it for a while.
//!
//! Host and user are checked types: no option, no pattern and no token that ssh would expand can be hidden in them.

mod failure;
mod words;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rrsync_rs::layout::Layout;
use rrsync_rs::name::Label;
use rrsync_rs::sha256::Sum;

use super::private::{self, PrivateError};
use crate::card::{HostPublicKey, Pins, Place, User};
pub use failure::SshError;

/// How long the master waits, in seconds, for somebody to use it again.
const PERSIST: u32 = 60;

/// A dead connection is noticed after three of these, in seconds.
const ALIVE_INTERVAL: u32 = 15;

/// The longest path of a socket that ssh can bind: `sun_path` of unix(7), less its NUL and the 17 bytes that ssh puts behind
/// the name while it makes the socket.
const LONGEST_SOCKET: usize = 107 - 17;

/// Which account on which host, with which key, and which host keys it is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The account to log in to.
    pub user: User,
    /// The host and its port.
    pub place: Place,
    /// The private key.
    pub key: PathBuf,
    /// Whose pinned host keys count.
    pub federation: Label,
}

/// A held connection.
#[derive(Debug)]
pub struct Connection {
    route: Route,
    options: Vec<OsString>,
    socket: PathBuf,
    /// The keys that the host is known by, for messages.
    pins: Vec<String>,
}

impl Connection {
    /// Makes sure that there is a held connection: finds it, or logs in.
    ///
    /// # Errors
    /// `HostKey` with both fingerprints when the host shows a key that is not pinned; `Login` with what ssh said otherwise.
    pub fn hold(route: &Route, layout: &Layout) -> Result<Self, SshError> {
        let directory = layout.connections_dir();
        private::directory(&directory)?;
        let known_hosts = layout.known_hosts(&route.federation);
        let pins = Pins::load(layout, &route.federation)?.of(&route.place);
        let connection = Self {
            options: words::options(route, &known_hosts)?,
            socket: socket(&directory, route)?,
            pins: pins.iter().map(HostPublicKey::shown).collect(),
            route: route.clone(),
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
        format!("{}@{}", self.route.user, self.route.place)
    }

    /// ssh, running `command` on the host.
    pub fn run(&self, command: &str) -> Command {
        let mut ssh = self.channel();
        ssh.arg("--").arg(self.route.place.host.as_str()).arg(command);
        ssh
    }

    /// ssh, as a pipe to a subsystem of the host.
    pub fn subsystem(&self, name: &str) -> Command {
        let mut ssh = self.channel();
        ssh.args(["-s", "--", self.route.place.host.as_str(), name]);
        ssh
    }

    /// The words with which rsync(1) reaches the host: the value of `-e`, and what stands before the colon of a remote path.
    pub fn for_rsync(&self) -> (OsString, String) {
        let channel = self.channel();
        let words = std::iter::once(channel.get_program()).chain(channel.get_args());
        let host = &self.route.place.host;
        let host = if host.is_ipv6() { format!("[{host}]") } else { host.to_string() };
        (words::for_rsync(words), host)
    }

    /// What went wrong with a channel that ended early, from what ssh said meanwhile.
    pub fn failure(&self, said: &[u8]) -> SshError {
        SshError::channel(self.account(), said)
    }

    /// Ends the connection, with all its channels.
    pub fn end(&self) {
        let mut ssh = self.channel();
        ssh.args(["-O", "exit", "--", self.route.place.host.as_str()]);
        let quiet = ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Without a connection there is nothing to end.
        drop(quiet.status());
    }

    fn channel(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-S").arg(words::expanded(self.socket.as_os_str())).args(["-o", "ControlMaster=no"]);
        ssh.args(&self.options);
        ssh
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
        // A socket that nobody answers at is in the way of a new one.
        match fs::remove_file(&self.socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(PrivateError::io(&self.socket)(error).into());
            }
            _ => {}
        }
        let (status, said) = self.talk(&["-f", "-N", "-M", "-o", &format!("ControlPersist={PERSIST}")])?;
        if status {
            return Ok(());
        }
        if SshError::is_about_host_key(&said) {
            // Only a talkative ssh says which key the host has shown.
            let (_, said) = self.talk(&["-v", "-N"])?;
            return Err(SshError::host_key(&self.route.place, &self.pins, &said));
        }
        Err(SshError::login(self.account(), &said))
    }

    /// Runs ssh with `args` to its end, or until it goes to the background: whether it succeeded, and what it said.
    fn talk(&self, args: &[&str]) -> Result<(bool, Vec<u8>), SshError> {
        // A file and no pipe: the master would hold the pipe open.
        let mut said = tempfile::tempfile().map_err(SshError::Start)?;
        let mut ssh = Command::new("ssh");
        ssh.arg("-S").arg(words::expanded(self.socket.as_os_str())).args(args).args(&self.options);
        ssh.args(["--", self.route.place.host.as_str()]);
        ssh.stdin(Stdio::null()).stdout(Stdio::null());
        ssh.stderr(said.try_clone().map_err(SshError::Start)?);
        let status = ssh.status().map_err(SshError::Start)?;
        let mut text = Vec::new();
        said.rewind().and_then(|()| said.take(1 << 16).read_to_end(&mut text)).map_err(SshError::Start)?;
        Ok((status.success(), text))
    }
}

/// Where the socket of `route` is: a short name of its own, because the path of a socket must be short.
fn socket(directory: &Path, route: &Route) -> Result<PathBuf, SshError> {
    let what = [
        route.user.to_string().as_bytes(),
        route.place.to_string().as_bytes(),
        route.key.as_os_str().as_bytes(),
        route.federation.as_str().as_bytes(),
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

    fn route(place: &str) -> Route {
        Route {
            user: "anna".parse().unwrap(),
            place: place.parse().unwrap(),
            key: "/home/u/.ssh/akeys/lab.pc".into(),
            federation: "lab".parse().unwrap(),
        }
    }

    #[test]
    fn every_route_has_a_socket_of_its_own() {
        let one = socket(Path::new("/d"), &route("h")).unwrap();
        assert_eq!(one, socket(Path::new("/d"), &route("H")).unwrap());
        let other = Route { key: "/home/u/.ssh/akeys/lab.pc.sftp".into(), ..route("h") };
        for route in [route("h:2222"), route("h2"), other] {
            assert_ne!(socket(Path::new("/d"), &route).unwrap(), one);
        }
        let long = format!("/{}", "d".repeat(80));
        assert!(matches!(socket(Path::new(&long), &route("h")), Err(SshError::LongPath(_))));
    }

    #[test]
    fn a_channel_names_everything_that_decides_about_trust() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::new(scratch.path()).unwrap();
        let route = route("[2001:db8::1]:2222");
        let connection = Connection {
            options: words::options(&route, &layout.known_hosts(&route.federation)).unwrap(),
            socket: "/run/a%b".into(),
            pins: Vec::new(),
            route,
        };
        let words = |command: &Command| -> Vec<String> {
            command.get_args().map(|word| word.to_str().unwrap().to_owned()).collect()
        };
        let sftp = words(&connection.subsystem("sftp"));
        assert_eq!(sftp[..2], ["-S", "/run/a%%b"]);
        assert_eq!(sftp[sftp.len() - 4..], ["-s", "--", "2001:db8::1", "sftp"]);
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=none",
            "HostKeyAlias=[2001:db8::1]:2222",
            "ClearAllForwardings=yes",
        ] {
            assert!(sftp.iter().any(|word| word == option), "{option}: {sftp:?}");
        }
        let (shell, host) = connection.for_rsync();
        assert_eq!(host, "[2001:db8::1]");
        assert!(shell.to_str().unwrap().starts_with("'env' 'HOME="), "{shell:?}");
    }
}
