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
                Ok(held) if how.create && matches!(mount.standing(&held.at), Standing::Foreign { .. }) => {
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
        let mut end = if how.append { End::Always } else { End::Anywhere };
        let mut grows_only = false;
        if how.changes()
            && let Err(fault) = mount.changing(held, &self.ours)
        {
            mount.writing(&held.at)?;
            if !mount.rules.files.append {
                return Err(fault);
            }
            if how.truncate || !how.write {
                return Err(Rule::AppendOnly.into());
            }
            grows_only = true;
            end = if how.append { End::Always } else { End::Only };
        }
        if how.changes() && mount.replaces_whole() && !grows_only && delivery.is_none() {
            let (upload, fd) = Upload::replacing(mount, held, how, how.reads() || self.options.sums)?;
            // The file that takes the place of another is the session's own only if the other was.
            if self.ours.made(&held.fd) {
                self.ours.remember_made(&fd);
            } else if how.truncate && mount.remembers(&held.at) {
                self.ours.remember_filled(&fd);
            }
            let size = size_of(&fd)?;
            let opened = Opened { upload: Some(upload), delivery, size, end, grows_only };
            return Ok(self.opened(mount, &held.at, fd, how, opened));
        }
        let mut flags = how.flags();
        flags.set(OFlag::O_APPEND, end != End::Anywhere);
        flags.set(OFlag::O_TRUNC, how.truncate);
        let fd = self.reopen_for_sum(mount, &held.at, flags)?;
        let stat = fstat(&fd)?;
        if kind(&stat) != SFlag::S_IFREG {
            return Err(Fault::Refused(Rule::SpecialFile));
        }
        if how.truncate {
            mount.shrink(u64::try_from(held.stat.st_size).unwrap_or(0), 0);
            if mount.remembers(&held.at) {
                self.ours.remember_filled(&fd);
            }
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(self.opened(mount, &held.at, fd, how, Opened { upload: None, delivery, size, end, grows_only }))
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
        let mut delivery = mount.making(&spot, New::File)?;
        if how.reads() {
            mount.reading(&spot.at)?;
        }
        mount.room.write(&spot.dir, 1)?;
        let asked = how.mode & self.options.mode_mask;
        let modes = &mount.rules.files.modes;
        let mode = Mode::from_bits_truncate(modes.given(asked, false));
        let at = spot.at.clone();
        let begins_delivery = delivery.is_none() && mount.drop_of(&at).is_some();
        let published = begins_delivery && !spot.name.as_bytes().starts_with(b".");
        let whole = how.write && mount.replaces_whole() && delivery.is_none() && !begins_delivery;
        let (fd, upload) = if whole || published {
            let replace = mount.rules.overwrite && !how.exclusive && !published;
            let (upload, fd) = Upload::new(mount, spot, (mode, how.reads() || self.options.sums), replace)?;
            (fd, Some(upload))
        } else {
            if begins_delivery {
                mount.room_for_delivery()?;
            }
            mount.grow(0, 1)?;
            let mut flags = how.flags();
            if self.options.sums && how.write {
                flags = (flags - OFlag::O_ACCMODE) | OFlag::O_RDWR;
            }
            let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
            let name = Path::new(&spot.name);
            let fd = open_beneath(&spot.dir, name, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, mode)
                .map_err(Fault::resolving)
                .inspect_err(|_| mount.shrink(0, 1))?;
            if begins_delivery {
                let own = fd.try_clone().map_err(|_| Errno::EMFILE)?;
                delivery = Some(mount.take_delivery(&spot.at, own)?);
            }
            (fd, None)
        };
        if let Some(forced) = modes.file {
            fchmod(&fd, Mode::from_bits_truncate(forced))?;
        }
        if mount.remembers(&at) && !begins_delivery {
            self.ours.remember_made(&fd);
        }
        let end = if how.append { End::Always } else { End::Anywhere };
        Ok(self.opened(mount, &at, fd, how, Opened { upload, delivery, size: 0, end, grows_only: false }))
    }

    fn opened(&self, mount: &Rc<Mount>, at: &Path, fd: OwnedFd, how: &OpenHow, opened: Opened) -> OpenFile {
        let Opened { upload, delivery, size, end, grows_only } = opened;
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
            changed: Cell::new(how.truncate || how.create),
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
}
