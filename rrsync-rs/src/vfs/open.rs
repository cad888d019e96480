//! Opening a file for reading or writing, and making one.
//!
//! What exists is held first, judged by its place, and then opened there; only regular files are. What does not exist
//! is made with `O_EXCL`, so it is certain that this session made it, and that no dangling symlink was followed.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};

use super::attributes::size_of;
use super::delivery::{Delivery, Standing};
use super::file::End;
use super::judge::New;
use super::place::Spot;
use super::sums::Run;
use super::upload::Upload;
use super::{ATTEMPTS, Fault, Mount, OpenFile, Rule, Vfs, VirtualPath};
use crate::beneath::{Held, Last, kind, open_beneath};

/// What a client wants to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenHow {
    /// Read its content. A request for neither reading nor writing is one for reading.
    pub read: bool,
    /// Write its content.
    pub write: bool,
    /// Every write goes to the end, wherever the client says.
    pub append: bool,
    /// Make it if it does not exist.
    pub create: bool,
    /// Fail if it exists; means something only with `create`.
    pub exclusive: bool,
    /// Empty it first.
    pub truncate: bool,
    /// The permission bits of a file that is made, before the umask.
    pub mode: u32,
}

impl OpenHow {
    pub(super) fn reads(&self) -> bool {
        self.read || !self.write
    }

    fn changes(&self) -> bool {
        self.write || self.truncate || self.append
    }

    fn end(&self, grows_only: bool) -> End {
        match (self.append, grows_only) {
            (true, _) => End::Always,
            (false, true) => End::Only,
            (false, false) => End::Anywhere,
        }
    }

    fn flags(&self) -> OFlag {
        let mut flags = match (self.read, self.write) {
            (true, true) => OFlag::O_RDWR,
            (false, true) => OFlag::O_WRONLY,
            (_, false) => OFlag::O_RDONLY,
        };
        flags.set(OFlag::O_APPEND, self.append);
        flags
    }
}

impl Vfs {
    /// Opens a regular file.
    ///
    /// # Errors
    /// `EEXIST` for `exclusive`, and for a dangling symlink where a file is to be made; `EISDIR` for a directory;
    /// `SpecialFile` for a FIFO, socket or device, which is never opened.
    pub fn open(&self, path: &VirtualPath, how: &OpenHow) -> Result<OpenFile, Fault> {
        let (mount, rest) = if how.create { self.new_name(path) } else { self.inside(path) }?;
        if path.names_directory() {
            return Err(Errno::EISDIR.into());
        }
        // Somebody else may make the file between the look and the creation, but not again and again.
        for _ in 0..ATTEMPTS {
            match mount.hold(rest, Last::Follow) {
                Ok(_) if how.create && how.exclusive => break,
                Err(_) if how.create && mount.is_taken(rest) => {
                    return Err(Fault::Refused(Rule::NoOverwrite));
                }
                Ok(held) => return self.open_existing(mount, &held, how),
                Err(Fault::Os(Errno::ENOENT)) if how.create => {}
                Err(fault) => return Err(fault),
            }
            match self.make(mount, rest, how) {
                Err(Fault::Os(Errno::EEXIST)) if !how.exclusive => {}
                made => return made,
            }
        }
        Err(Errno::EEXIST.into())
    }

    pub(super) fn open_existing(
        &self,
        mount: &Rc<Mount>,
        held: &Held,
        how: &OpenHow,
    ) -> Result<OpenFile, Fault> {
        match kind(&held.stat) {
            SFlag::S_IFREG => {}
            SFlag::S_IFDIR => return Err(Errno::EISDIR.into()),
            _ => return Err(Fault::Refused(Rule::SpecialFile)),
        }
        let delivery = match mount.standing(&held.at) {
            Standing::Foreign { .. } => return Err(Errno::ENOENT.into()),
            Standing::Own(delivery) => Some(delivery),
            Standing::Elsewhere | Standing::Drop => None,
        };
        if how.reads() {
            mount.reading(&held.at)?;
        }
        let grows_only = how.changes() && self.grows_only(mount, held, how)?;
        let own = how.truncate || how.changes() && is_marked(mount, held);
        let end = how.end(grows_only);
        if how.changes() && mount.replaces_whole() && !grows_only && delivery.is_none() {
            let (upload, fd) = Upload::replacing(mount, held, how, self.reads_itself(how))?;
            // The file that takes the place of another is the session's own only if the other was.
            if self.ours.made(&held.fd) {
                self.ours.remember_made(&fd);
            } else if how.truncate && mount.remembers(&held.at) {
                self.ours.remember_filled(&fd);
            }
            let size = size_of(&fd)?;
            let opened =
                Opened { upload: Some(upload), delivery, size, end, grows_only, changed: how.truncate, own };
            return Ok(self.opened(mount, &held.at, fd, how, opened));
        }
        let mut flags = how.flags();
        flags.set(OFlag::O_APPEND, end != End::Anywhere);
        if how.truncate && !how.write {
            flags = (flags - OFlag::O_ACCMODE) | OFlag::O_RDWR;
        }
        let fd = self.reopen_for_sum(mount, &held.at, flags)?;
        let stat = fstat(&fd)?;
        if kind(&stat) != SFlag::S_IFREG {
            return Err(Fault::Refused(Rule::SpecialFile));
        }
        if how.truncate {
            mount.empty(&fd)?;
            if mount.remembers(&held.at) {
                self.ours.remember_filled(&fd);
            }
        }
        let size = size_of(&fd)?;
        let opened = Opened { upload: None, delivery, size, end, grows_only, changed: how.truncate, own };
        Ok(self.opened(mount, &held.at, fd, how, opened))
    }

    /// Whether what is there may be given more content at its end only.
    ///
    /// # Errors
    /// When it may not be given what `how` asks for.
    fn grows_only(&self, mount: &Mount, held: &Held, how: &OpenHow) -> Result<bool, Fault> {
        let Err(fault) = mount.changing(held, &self.ours) else { return Ok(false) };
        mount.writing(&held.at)?;
        match mount.rules.files.append {
            true if how.write && !how.truncate => Ok(true),
            true => Err(Rule::AppendOnly.into()),
            false => Err(fault),
        }
    }

    /// Whether the descriptor must be able to read, for the client or for the record.
    fn reads_itself(&self, how: &OpenHow) -> bool {
        how.reads() || self.options.sums
    }

    /// Opens a file that is there; where sums are recorded also for reading, if that is possible.
    fn reopen_for_sum(&self, mount: &Mount, at: &Path, flags: OFlag) -> Result<OwnedFd, Fault> {
        let only_writes = flags & OFlag::O_ACCMODE == OFlag::O_WRONLY;
        let both = (flags - OFlag::O_ACCMODE) | OFlag::O_RDWR;
        if self.options.sums
            && only_writes
            && let Ok(fd) = mount.reopen(at, both)
        {
            return Ok(fd);
        }
        mount.reopen(at, flags)
    }

    fn make(&self, mount: &Rc<Mount>, rest: &Path, how: &OpenHow) -> Result<OpenFile, Fault> {
        let spot = mount.spot(rest)?;
        let delivery = mount.making(&spot, New::File)?;
        if how.reads() {
            mount.reading(&spot.at)?;
        }
        mount.room.write(&spot.dir, 1)?;
        let modes = &mount.rules.files.modes;
        let mode = Mode::from_bits_truncate(modes.given(how.mode & self.options.mode_mask, false));
        let at = spot.at.clone();
        let in_drop = mount.drop_of(&at).is_some();
        let begins_delivery = in_drop && delivery.is_none() && spot.name.as_bytes().starts_with(b".");
        let published = in_drop && delivery.is_none() && !begins_delivery;
        let whole = how.write && mount.replaces_whole() && !in_drop;
        let (fd, upload, delivery) = if whole || published {
            let replace = mount.rules.overwrite && !how.exclusive && !published;
            let (upload, fd) = Upload::new(mount, spot, (mode, self.reads_itself(how)), replace)?;
            (fd, Some(upload), delivery)
        } else if begins_delivery {
            mount.room_for_delivery()?;
            let fd = self.make_in_place(mount, &spot, how, mode)?;
            let own = fd.try_clone().map_err(|_| Errno::EMFILE)?;
            let delivery = mount.take_delivery(&spot.at, own)?;
            (fd, None, Some(delivery))
        } else {
            (self.make_in_place(mount, &spot, how, mode)?, None, delivery)
        };
        if let Some(forced) = modes.file {
            fchmod(&fd, Mode::from_bits_truncate(forced))?;
        }
        if mount.remembers(&at) && !in_drop {
            self.ours.remember_made(&fd);
        }
        let end = how.end(false);
        let opened = Opened { upload, delivery, size: 0, end, grows_only: false, changed: true, own: true };
        Ok(self.opened(mount, &at, fd, how, opened))
    }

    /// Makes a file under its own name.
    fn make_in_place(&self, mount: &Mount, spot: &Spot, how: &OpenHow, mode: Mode) -> Result<OwnedFd, Fault> {
        let mut flags = how.flags() | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        if self.options.sums && how.write {
            flags = (flags - OFlag::O_ACCMODE) | OFlag::O_RDWR;
        }
        let name = Path::new(&spot.name);
        let make = || open_beneath(&spot.dir, name, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, mode);
        mount.counted(|| {
            mount.grow(0, 1)?;
            make().map_err(Fault::resolving).inspect_err(|_| mount.shrink(0, 1))
        })
    }

    fn opened(&self, mount: &Rc<Mount>, at: &Path, fd: OwnedFd, how: &OpenHow, opened: Opened) -> OpenFile {
        let Opened { upload, delivery, size, end, grows_only, changed, own } = opened;
        // A handle for writing was judged already; one for reading may still be used to set attributes.
        let changing = if grows_only {
            Err(Rule::AppendOnly)
        } else if how.write || delivery.is_some() {
            Ok(())
        } else if mount.writing(at).is_err() {
            Err(Rule::ReadOnly)
        } else if mount.rules.overwrite || self.ours.made(&fd) {
            Ok(())
        } else {
            Err(Rule::NoOverwrite)
        };
        let published = upload.is_some() && mount.drop_of(at).is_some();
        let visible = delivery.is_some() || published || mount.reading(at).is_ok() || self.ours.filled(&fd);
        OpenFile {
            mount: Rc::clone(mount),
            options: self.options,
            reads: how.reads(),
            writes: how.write,
            end,
            upload,
            delivery,
            changing,
            visible,
            size: Cell::new(size),
            changed: Cell::new(changed),
            own,
            read: Run::default(),
            written: Run::default(),
            fd,
        }
    }
}

/// What is known about a file that has just been opened.
struct Opened {
    upload: Option<Upload>,
    delivery: Option<Rc<Delivery>>,
    size: u64,
    end: End,
    /// Whether it was there before, and may only get more at its end.
    grows_only: bool,
    /// Whether opening it has changed it already.
    changed: bool,
    /// Whether all that is in it is this key's.
    own: bool,
}

/// Whether what is there is marked as this key's, and nobody else has changed it since.
fn is_marked(mount: &Mount, held: &Held) -> bool {
    let opened =
        mount.reopen_same(held, OFlag::O_RDONLY).or_else(|_| mount.reopen_same(held, OFlag::O_WRONLY));
    opened.is_ok_and(|file| mount.has_marked(&file))
}
