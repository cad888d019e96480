//! The kernel's side: watches on directories, and what it reports.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::dirs::Name;

/// What is asked for. A file that was removed while it is open is nobody's concern any more.
const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);

/// What is asked for about the root as well: every other directory is a name in one that is watched.
const ITSELF: WatchFlags = WatchFlags::DELETE_SELF.union(WatchFlags::MOVE_SELF);

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Which watch.
    pub watch: i32,
    /// What.
    pub flags: ReadFlags,
    /// The same for both halves of a rename.
    pub cookie: u32,
    /// The name in the directory; `None` for the directory itself.
    pub name: Option<Name>,
}

/// A queue of reports.
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
    buffer: Vec<MaybeUninit<u8>>,
    alone: bool,
}

/// Why a directory cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The account has as many watches as it may have.
    #[error("the limit of watches is reached")]
    Limit,
    /// The system said no.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Inotify {
    /// A new queue. `alone`: nobody else needs the working directory, so it may be used.
    pub fn new(alone: bool) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { fd, buffer: vec![MaybeUninit::uninit(); 1 << 16], alone })
    }

    /// What becomes readable when there is something to report.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Watches an open directory, which may be the root.
    pub fn watch(&self, dir: &OwnedFd, root: bool) -> Result<i32, WatchError> {
        let events = if root { EVENTS | ITSELF } else { EVENTS };
        // Only a path can be watched. These two mean the open directory, whatever is at its own path by now; the first is
        // found in a third of the time, and is there without /proc.
        let added = if self.alone {
            rustix::process::fchdir(dir).and_then(|()| inotify::add_watch(&self.fd, ".", events))
        } else {
            inotify::add_watch(&self.fd, format!("/proc/self/fd/{}", dir.as_raw_fd()), events)
        };
        added.map_err(
            |errno| if errno == Errno::NOSPC { WatchError::Limit } else { WatchError::Io(errno.into()) },
        )
    }

    /// Goes back to `root`, or to where nothing is ever unmounted, so that no other directory is kept from it.
    pub fn return_to(&self, root: Option<&OwnedFd>) {
        if self.alone {
            // Where that fails, the root has gone as well.
            let _ = root.map_or_else(|| rustix::process::chdir("/"), rustix::process::fchdir);
        }
    }

    /// Takes a watch away. It may have gone already.
    pub fn unwatch(&self, watch: i32) {
        let _ = inotify::remove_watch(&self.fd, watch);
    }

    /// Reads all that is reported so far.
    pub fn drain(&mut self, mut each: impl FnMut(Notice)) -> io::Result<()> {
        let mut reader = Reader::new(&self.fd, &mut self.buffer);
        loop {
            match reader.next() {
                Ok(event) => each(Notice {
                    watch: event.wd(),
                    flags: event.events(),
                    cookie: event.cookie(),
                    name: event.file_name().map(|name| Name::from(name.to_bytes())),
                }),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
