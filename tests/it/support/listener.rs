//! A private sshd on a loopback port.
//!
//! The test process itself listens and starts one `sshd -i` per connection with the socket as its input and output, as
//! inetd would. So the port is bound before anybody is told of it, there is nothing to wait for, and sshd still sees
//! a real peer address.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::client::Client;
use super::pod::Pod;
use super::programs::find_program;
use super::sandbox::{Key, Sandbox, write_private};

/// An sshd on a loopback port, until it is dropped.
pub(crate) struct Listener<'s> {
    sandbox: &'s Sandbox,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    children: Arc<Mutex<Vec<Child>>>,
    thread: Option<JoinHandle<()>>,
}

impl<'s> Listener<'s> {
    #[track_caller]
    pub(super) fn start(sandbox: &'s Sandbox) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let children = Arc::new(Mutex::new(Vec::new()));
        let (sshd, config, log) = (find_program("sshd"), sandbox.sshd_config(), sandbox.sshd_log());
        let thread = thread::spawn({
            let (stop, children) = (Arc::clone(&stop), Arc::clone(&children));
            move || {
                for peer in socket.incoming() {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    let peer = OwnedFd::from(peer.unwrap());
                    let mut command = Command::new(&sshd);
                    command.arg("-i").arg("-f").arg(&config).arg("-E").arg(&log);
                    command
                        .stdin(peer.try_clone().unwrap())
                        .stdout(peer)
                        .stderr(Stdio::null())
                        .process_group(0);
                    children.lock().unwrap().push(command.spawn().unwrap());
                }
            }
        });
        Self { sandbox, address, stop, children, thread: Some(thread) }
    }

    /// The port, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Tells clients that read `~/.ssh/known_hosts` in the client's home about the host key at this port; answers with
    /// that file.
    pub(crate) fn make_known(&self) -> PathBuf {
        let keys = std::fs::read_to_string(self.sandbox.path("etc/known_hosts")).unwrap();
        let file = self.sandbox.client_home().join(".ssh/known_hosts");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        write_private(&file, keys.replace("sandbox ", &format!("[127.0.0.1]:{} ", self.port())).as_bytes());
        file
    }

    /// Ends every sshd that serves somebody, as a restart of the host would.
    pub(crate) fn cut(&self) {
        if let Ok(mut children) = self.children.lock() {
            children.drain(..).for_each(end);
        }
    }

    /// A pod that logs in through the port.
    #[track_caller]
    pub(crate) fn pod(&self, name: &str, install: &[&str]) -> Pod<'s> {
        self.sandbox.pod_at(name, &format!("127.0.0.1:{}", self.port()), install)
    }

    /// A client that logs in through the port.
    pub(crate) fn client(&self, key: &Key) -> Client<'s> {
        Client::new(self.sandbox, key, &format!("HostName 127.0.0.1\nPort {}", self.port()))
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // One last connection wakes the thread out of accept().
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        self.cut();
    }
}

/// Ends an sshd that has not been waited for, so that its number is nobody else's. For an ordinary user it is two processes,
/// of which the one that was started does not have the connection.
fn end(mut sshd: Child) {
    killpg(Pid::from_raw(sshd.id().cast_signed()), Signal::SIGKILL).ok();
    sshd.wait().ok();
}
