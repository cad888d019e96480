//! The pipe to the server: packets out, packets in, on one thread.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::SftpError;
use super::wire::LONGEST_PACKET;

/// From this many bytes on requests are written before more are taken.
const FULL: usize = 64 * 1024;

/// How much is read at once.
const CHUNK: usize = 128 * 1024;

/// A server that says nothing for so long has hung. A dead connection ends earlier, by ssh's own doing.
const SILENCE: Duration = Duration::from_mins(2);

/// How much of what ssh says is kept.
const SAID: usize = 4096;

/// The pipe, and what is on its way in both directions.
#[derive(Debug)]
pub(super) struct Channel {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
    errors: ChildStderr,
    /// Requests that are not written yet, from `written` on.
    out: Vec<u8>,
    written: usize,
    /// Bytes that are not a whole packet yet, from `read` on.
    input: Vec<u8>,
    read: usize,
    /// The requests that are not answered, or whose answer has not been taken.
    under_way: HashMap<u32, Option<(u8, Vec<u8>)>>,
    next: u32,
    said: Vec<u8>,
}

impl Channel {
    pub(super) fn start(mut ssh: Command) -> Result<Self, SftpError> {
        let pipes = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().map_err(SftpError::Start)?;
        let (Some(to), Some(from), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(SftpError::Start(io::ErrorKind::BrokenPipe.into()));
        };
        for fd in [to.as_fd(), from.as_fd(), errors.as_fd()] {
            let flags = fcntl_getfl(fd).map_err(|error| SftpError::Start(error.into()))?;
            fcntl_setfl(fd, flags | OFlags::NONBLOCK).map_err(|error| SftpError::Start(error.into()))?;
        }
        Ok(Self {
            child,
            to,
            from,
            errors,
            out: Vec::new(),
            written: 0,
            input: Vec::new(),
            read: 0,
            under_way: HashMap::new(),
            next: 0,
            said: Vec::new(),
        })
    }

    /// Where a request is written.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The number of the next request, which is under way from now on.
    pub(super) fn next_id(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.under_way.insert(self.next, None);
        self.next
    }

    /// A request was written to `out`: sends what there is, if it is enough to be worth it.
    pub(super) fn push(&mut self) -> Result<(), SftpError> {
        let mut since = Instant::now();
        while self.out.len() - self.written >= FULL {
            self.turn(&mut since)?;
        }
        Ok(())
    }

    /// The reply that opens the session: its type, and all behind it.
    pub(super) fn first(&mut self) -> Result<(u8, Vec<u8>), SftpError> {
        let mut since = Instant::now();
        loop {
            if let Some(packet) = self.packet()? {
                let (kind, body) = packet.split_first().ok_or(SftpError::Protocol("an empty packet"))?;
                return Ok((*kind, body.to_owned()));
            }
            self.turn(&mut since)?;
        }
    }

    /// The reply to request `id`: its type, and what is behind its number.
    pub(super) fn reply(&mut self, id: u32) -> Result<(u8, Vec<u8>), SftpError> {
        let mut since = Instant::now();
        loop {
            match self.under_way.remove(&id) {
                Some(Some(reply)) => return Ok(reply),
                Some(None) => drop(self.under_way.insert(id, None)),
                None => return Err(SftpError::Protocol("a reply is taken twice")),
            }
            let mut came = false;
            while let Some(packet) = self.packet()? {
                came = true;
                let (kind, rest) = packet.split_first().ok_or(SftpError::Protocol("an empty packet"))?;
                let (number, body) =
                    rest.split_first_chunk().ok_or(SftpError::Protocol("a packet without a number"))?;
                let reply = (*kind, body.to_owned());
                match self.under_way.get_mut(&u32::from_be_bytes(*number)) {
                    Some(place @ None) => *place = Some(reply),
                    _ => return Err(SftpError::Protocol("a reply that nobody asked for")),
                }
            }
            if !came {
                self.turn(&mut since)?;
            }
        }
    }

    /// The next whole packet that has come in.
    fn packet(&mut self) -> Result<Option<Vec<u8>>, SftpError> {
        let waiting = self.input.get(self.read..).unwrap_or_default();
        let Some((length, rest)) = waiting.split_first_chunk() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > LONGEST_PACKET {
            return Err(SftpError::Protocol("a packet is too long"));
        }
        let Some(packet) = rest.get(..length) else { return Ok(None) };
        let packet = packet.to_owned();
        self.read += 4 + length;
        if self.read == self.input.len() {
            self.input.clear();
            self.read = 0;
        }
        Ok(Some(packet))
    }

    /// Waits until something can be written or has come in, and does that. `since` is when the server last said anything.
    fn turn(&mut self, since: &mut Instant) -> Result<(), SftpError> {
        let unwritten = self.out.len() > self.written;
        let mut fds = vec![
            PollFd::new(self.from.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.errors.as_fd(), PollFlags::POLLIN),
        ];
        if unwritten {
            fds.push(PollFd::new(self.to.as_fd(), PollFlags::POLLOUT));
        }
        match poll(&mut fds, PollTimeout::from(1000_u16)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(SftpError::Start(errno.into())),
        }
        let events =
            |at: usize| fds.get(at).and_then(PollFd::revents).is_some_and(|events| !events.is_empty());
        let (input, errors, output) = (events(0), events(1), events(2));
        if since.elapsed() > SILENCE {
            return Err(SftpError::Lost(b"the server says nothing any more".to_vec()));
        }
        if errors {
            self.listen();
        }
        if output {
            self.write()?;
            *since = Instant::now();
        }
        if input {
            self.fill()?;
            *since = Instant::now();
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), SftpError> {
        let unwritten = self.out.get(self.written..).unwrap_or_default();
        match nix::unistd::write(&self.to, unwritten) {
            Ok(written) => self.written += written,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => return Err(self.lost()),
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), SftpError> {
        self.input.drain(..self.read);
        self.read = 0;
        let had = self.input.len();
        self.input.resize(had + CHUNK, 0);
        let read = nix::unistd::read(&self.from, self.input.get_mut(had..).unwrap_or_default());
        self.input.truncate(had + read.unwrap_or(0));
        match read {
            Ok(1..) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Ok(0) | Err(_) => Err(self.lost()),
        }
    }

    /// Keeps the last of what ssh says; there is no end to what a hostile host can say.
    fn listen(&mut self) {
        let mut chunk = [0; SAID];
        if let Ok(read) = nix::unistd::read(&self.errors, &mut chunk) {
            self.said.extend_from_slice(chunk.get(..read).unwrap_or_default());
            let more = self.said.len().saturating_sub(SAID);
            self.said.drain(..more);
        }
    }

    /// The server has hung up: waits for ssh's last words.
    fn lost(&mut self) -> SftpError {
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until && self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let mut fds = [PollFd::new(self.errors.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(100_u16)).is_ok_and(|ready| ready > 0) {
                let before = self.said.len();
                self.listen();
                if self.said.len() == before {
                    break;
                }
            }
        }
        self.listen();
        let line = self.said.split(|byte| *byte == b'\n').rev().map(<[u8]>::trim_ascii);
        SftpError::Lost(line.into_iter().find(|line| !line.is_empty()).unwrap_or_default().to_owned())
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // ssh ends by itself when its input does; but not while it waits for a host that is gone.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }
}
