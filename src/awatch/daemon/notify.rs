//! Telling systemd how the daemon is, `sd_notify(3)`: datagrams to the socket that it names.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl Manager {
    /// The one that `NOTIFY_SOCKET` names.
    pub fn from_env() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let address = match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&name),
            };
            Some((UnixDatagram::unbound().ok()?, address.ok()?))
        });
        Self { socket }
    }

    /// Sends assignments, one a line: `READY=1`, `STATUS=…`.
    pub fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.socket {
            // A manager that does not listen is not waited for.
            let _ = socket.set_nonblocking(true);
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }

    /// The configuration is being read again. `READY=1` follows.
    pub fn reloading(&self) {
        // sd_notify(3) asks for the time by this clock, to tell two reloads apart.
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
        let micros = now.map_or(0, |now| Duration::from(now).as_micros());
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }
}

/// How often the manager wants to hear that the daemon is alive: half of `WATCHDOG_USEC`, if that is meant for this process.
pub fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|_| meant).map(|micros| Duration::from_micros(micros / 2))
}
