//! Asking a running daemon how it is: a socket in the state directory, which answers whoever of the account connects.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use rrsync_rs::layout::Layout;

use super::status::Status;
use crate::common::private;

/// Longer than any answer takes; a client that does not read is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

fn path(layout: &Layout) -> PathBuf {
    layout.watch_dir().join("socket")
}

/// The daemon's end.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Opens the socket. One that nobody listens on is left from a daemon that was killed.
    pub fn open(layout: &Layout) -> io::Result<Self> {
        private::directory(&layout.watch_dir()).map_err(io::Error::other)?;
        let path = path(layout);
        if UnixStream::connect(&path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon answers there"));
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // Nobody else can reach it: the directory is the account's own.
        let socket = UnixListener::bind(&path)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path })
    }

    /// Answers everybody who has asked.
    pub fn answer(&self, status: impl Fn() -> Vec<Status>) {
        while let Ok((mut client, _)) = self.socket.accept() {
            let Ok(text) = serde_json::to_vec(&status()) else { continue };
            let _ = client.set_nonblocking(false);
            let _ = client.set_write_timeout(Some(PATIENCE));
            let _ = client.write_all(&text);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Asks the daemon of the account that `layout` describes; `None` when there is none.
pub fn ask(layout: &Layout) -> io::Result<Option<Vec<Status>>> {
    let mut socket = match UnixStream::connect(path(layout)) {
        Ok(socket) => socket,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    socket.set_read_timeout(Some(PATIENCE * 5))?;
    let mut text = Vec::new();
    socket.read_to_end(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}
