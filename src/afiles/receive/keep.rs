//! What a path loses is kept, where somebody may want it back.
//!
//! A copy of what its owner has elsewhere need not be kept, unless the user wants that. What was changed or made here is
//! nowhere else: it is kept always.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, SFlag, fstat};
use rrsync_rs::beneath::kind;
use rrsync_rs::layout::Layout;
use rrsync_rs::versions::{Loss, Reason, Store, StoreError};

use super::{ReceiveError, Spot};

/// Where the contents go that paths lose.
#[derive(Debug)]
pub struct Keeper {
    layout: Layout,
    /// Also what is only a copy.
    everything: bool,
    store: OnceCell<Store>,
}

impl Keeper {
    /// Keeps what was changed here, and with `everything` all that is overwritten or removed.
    pub fn new(layout: &Layout, everything: bool) -> Self {
        Self { layout: layout.clone(), everything, store: OnceCell::new() }
    }

    /// Whether a content that is a copy, or is none, is to be kept.
    pub(super) fn wants(&self, is_copy: bool) -> bool {
        self.everything || !is_copy
    }

    /// Keeps what is at `spot`, a regular file or a symlink; of anything else there is nothing to keep. `at` is what its
    /// path was, `root` the tree that it is in.
    pub(super) fn keep(
        &self,
        root: &Path,
        spot: &Spot,
        at: &Path,
        reason: Reason,
        origin: &str,
    ) -> Result<(), ReceiveError> {
        let failed = |source| ReceiveError::Keep { path: at.to_owned(), source };
        let store = self.store(root).map_err(failed)?;
        let loss = Loss { path: at, reason, origin: Some(origin) };
        let Some(stat) = spot.look()? else { return Ok(()) };
        match kind(&stat) {
            SFlag::S_IFREG => {
                let file = open_same(spot, &stat)?;
                store.keep(&file, &loss).map(drop).map_err(failed)
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(&*spot.dir, spot.name.as_os_str()).map_err(ReceiveError::at(at))?;
                store.keep_link(Path::new(&target), &loss).map(drop).map_err(failed)
            }
            _ => Ok(()),
        }
    }

    fn store(&self, root: &Path) -> Result<&Store, StoreError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let opened = Store::open(&self.layout, root)?;
        Ok(self.store.get_or_init(|| opened))
    }
}

fn open_same(spot: &Spot, stat: &FileStat) -> Result<OwnedFd, ReceiveError> {
    let flags = nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let none = nix::fcntl::ResolveFlag::RESOLVE_NO_SYMLINKS;
    let open = || {
        let file = rrsync_rs::beneath::open_beneath(
            &*spot.dir,
            spot.name.as_ref(),
            flags,
            none,
            nix::sys::stat::Mode::empty(),
        )?;
        let now = fstat(&file)?;
        let same = (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino);
        if same { Ok(file) } else { Err(nix::errno::Errno::EAGAIN) }
    };
    open().map_err(ReceiveError::at(&spot.at))
}
