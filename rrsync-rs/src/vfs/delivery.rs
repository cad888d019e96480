//! Drops: `access = "drop"`, where a key delivers and cannot take back.
//!
//! Directly in a drop, a name that begins with a dot is on its way, and any other is published: the owner's, for good.
//! What a key has made under a hidden name is its own until it renames it; an attribute on it says whose it is, so that
//! a later session of the same key can go on. One session at a time has it, by a lock. Nothing else that is in a drop is
//! there for the key.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};

use super::{Fault, Mount, Rule};
use crate::beneath::{Held, is_same};
use crate::grant::Access;

/// The attribute that says whose a delivery is: the name of a grant.
const OWNER: &str = "user.akeys.drop";

/// Deliveries that a session has under way at once. Each is held open.
const MOST: usize = 64;

/// Something of the key's own that is not published yet.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Open, and locked.
    file: File,
    published: Cell<bool>,
}

/// The deliveries of this session, by their places.
#[derive(Debug, Default)]
pub(super) struct Deliveries(RefCell<HashMap<PathBuf, Rc<Delivery>>>);

/// What a place is to a drop.
#[derive(Debug)]
pub(super) enum Standing {
    /// In none.
    Elsewhere,
    /// The drop itself.
    Drop,
    /// A delivery of the key's own, or in one.
    Own(Rc<Delivery>),
    /// Anything else in a drop, whether something is there or not.
    Foreign {
        /// Directly in it, where something can be made.
        direct: bool,
    },
}

impl Delivery {
    /// Whether it still is the key's own.
    pub(super) fn is_open(&self) -> bool {
        !self.published.get()
    }
}

impl Mount {
    /// What `at` is to a drop.
    pub(super) fn standing(&self, at: &Path) -> Standing {
        let Some(drop) = self.drop_of(at) else { return Standing::Elsewhere };
        let mut below = at.strip_prefix(&drop).unwrap_or(at).components();
        let Some(first) = below.next() else { return Standing::Drop };
        let direct = below.next().is_none();
        if !first.as_os_str().as_bytes().starts_with(b".") {
            return Standing::Foreign { direct };
        }
        self.own_delivery(&drop.join(first)).map_or(Standing::Foreign { direct }, Standing::Own)
    }

    /// Whether a name directly in a drop, under which something is to be made, is somebody else's already.
    pub(super) fn is_taken(&self, at: &Path) -> bool {
        matches!(self.standing(at), Standing::Foreign { direct: true }) && self.root().hold_plain(at).is_ok()
    }

    /// The drop that `at` is in, or is.
    pub(super) fn drop_of(&self, at: &Path) -> Option<PathBuf> {
        let rule = at.ancestors().find(|at| self.rules.paths.contains_key(*at)).unwrap_or(Path::new(""));
        (self.rules.access_to(at) == Access::Drop).then(|| rule.to_owned())
    }

    /// What this session has just made at `at`, directly in a drop, is its own. `fd` is the file, or the directory.
    pub(super) fn take_delivery(&self, at: &Path, fd: OwnedFd) -> Result<Rc<Delivery>, Fault> {
        if let Some(origin) = &self.origin {
            // Where the file system has no attributes, only this session can go on.
            let _ = fsetxattr(&fd, OWNER, origin.as_bytes(), XattrFlags::empty());
        }
        let file = File::from(fd);
        file.try_lock().map_err(|_| Errno::EAGAIN)?;
        Ok(self.remember_delivery(at, file))
    }

    /// Whether another delivery can be begun.
    pub(super) fn room_for_delivery(&self) -> Result<(), Fault> {
        if self.deliveries.0.borrow().len() < MOST { Ok(()) } else { Err(Errno::EMFILE.into()) }
    }

    /// The delivery at `from` is at `to` now; `None` once it is published, or gone.
    pub(super) fn move_delivery(&self, from: &Path, to: Option<&Path>) {
        let mut deliveries = self.deliveries.0.borrow_mut();
        if let Some(delivery) = deliveries.remove(from) {
            match to {
                Some(to) => {
                    deliveries.insert(to.to_owned(), delivery);
                }
                None => delivery.published.set(true),
            }
        }
    }

    fn own_delivery(&self, entry: &Path) -> Option<Rc<Delivery>> {
        let held = self.root().hold_plain(entry).ok()?;
        let known = self.deliveries.0.borrow().get(entry).cloned();
        if let Some(known) = known {
            return is_file(&held, &known.file).then_some(known);
        }
        let origin = self.origin.as_deref()?;
        // A file is not opened for reading: the kernel does not let this session read it.
        let flags = if held.is_dir() { OFlag::O_RDONLY } else { OFlag::O_WRONLY };
        let file = File::from(self.reopen(entry, flags).ok()?);
        let mut owner = [0; 256];
        let length = fgetxattr(&file, OWNER, &mut owner).ok()?;
        let own = owner.get(..length)? == origin.as_bytes() && is_file(&held, &file);
        let free = own && self.room_for_delivery().is_ok() && file.try_lock().is_ok();
        free.then(|| self.remember_delivery(entry, file))
    }

    fn remember_delivery(&self, at: &Path, file: File) -> Rc<Delivery> {
        let delivery = Rc::new(Delivery { file, published: Cell::new(false) });
        self.deliveries.0.borrow_mut().insert(at.to_owned(), Rc::clone(&delivery));
        delivery
    }
}

/// What is at `from` may be moved to `to`, as far as drops are concerned: within one delivery, or a whole delivery to
/// another name beside it. Whatever else is open may be written to still, and what is published must not be.
pub(super) fn moving_delivery(from: (&Mount, &Path), to: (&Mount, &Path)) -> Result<(), Fault> {
    let beside = std::ptr::eq(from.0, to.0) && from.1.parent() == to.1.parent();
    match (from.0.standing(from.1), to.0.standing(to.1)) {
        (Standing::Elsewhere, Standing::Elsewhere) => Ok(()),
        (Standing::Own(one), Standing::Own(two)) if Rc::ptr_eq(&one, &two) => Ok(()),
        (Standing::Own(_), Standing::Foreign { direct: true }) if beside => Ok(()),
        _ => Err(Fault::Refused(Rule::Delivery)),
    }
}

fn is_file(held: &Held, file: &File) -> bool {
    fstat(file.as_fd()).is_ok_and(|stat| is_same(&stat, &held.stat))
}
