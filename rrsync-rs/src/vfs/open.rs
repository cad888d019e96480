//! Opening a file for reading or writing, and making one.
//!
//! What exists is held first, judged by its place, and then opened there; only regular files are. What does not exist
//! is made with `O_EXCL`, so it is certain that this session made it, and that no dangling symlink was followed.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::upload::Upload;
use super::{Fault, Mount, OpenFile, Rule, Vfs, VirtualPath};
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
    fn reads(&self) -> bool {
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
        for _ in 0..8 {
            match mount.hold(rest, Last::Follow) {
                Ok(_) if how.create && how.exclusive => break,
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

    fn open_existing(&self, mount: &Rc<Mount>, held: &Held, how: &OpenHow) -> Result<OpenFile, Fault> {
        match kind(&held.stat) {
            SFlag::S_IFREG => {}
            SFlag::S_IFDIR => return Err(Errno::EISDIR.into()),
            _ => return Err(Fault::Refused(Rule::SpecialFile)),
        }
        if how.reads() {
            mount.reading(&held.at)?;
        }
        if how.changes() {
            mount.changing(held, &self.ours)?;
        }
        if self.options.atomic && how.write {
            let upload = Upload::replacing(mount, held, how, &self.space())?;
            let fd = upload.reopen(how.flags())?;
            // The file that takes the place of another is the session's own only if the other was.
            if self.ours.made(&held.fd) {
                self.ours.remember_made(&fd);
            } else if how.truncate && mount.remembers(&held.at) {
                self.ours.remember_filled(&fd);
            }
            return Ok(self.opened(mount, &held.at, fd, Some(upload), how));
        }
        let mut flags = how.flags();
        flags.set(OFlag::O_TRUNC, how.truncate);
        let fd = mount.reopen(&held.at, flags)?;
        if kind(&fstat(&fd)?) != SFlag::S_IFREG {
            return Err(Fault::Refused(Rule::SpecialFile));
        }
        if how.truncate && mount.remembers(&held.at) {
            self.ours.remember_filled(&fd);
        }
        Ok(self.opened(mount, &held.at, fd, None, how))
    }

    fn make(&self, mount: &Rc<Mount>, rest: &Path, how: &OpenHow) -> Result<OpenFile, Fault> {
        let spot = mount.spot(rest)?;
        mount.writing(&spot.at)?;
        if how.reads() {
            mount.reading(&spot.at)?;
        }
        self.space().take(&spot.dir, 1)?;
        let mode = Mode::from_bits_truncate(how.mode & self.options.mode_mask);
        let at = spot.at.clone();
        let (fd, upload) = if self.options.atomic && how.write {
            let upload = Upload::new(spot, mode, mount.rules.overwrite && !how.exclusive)?;
            (upload.reopen(how.flags())?, Some(upload))
        } else {
            let flags = how.flags() | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
            let name = Path::new(&spot.name);
            let fd = open_beneath(&spot.dir, name, flags, ResolveFlag::RESOLVE_NO_SYMLINKS, mode)
                .map_err(Fault::resolving)?;
            (fd, None)
        };
        if mount.remembers(&at) {
            self.ours.remember_made(&fd);
        }
        Ok(self.opened(mount, &at, fd, upload, how))
    }

    fn opened(
        &self,
        mount: &Rc<Mount>,
        at: &Path,
        fd: OwnedFd,
        upload: Option<Upload>,
        how: &OpenHow,
    ) -> OpenFile {
        // A handle for writing was judged already; one for reading may still be used to set attributes.
        let changing = if how.write {
            Ok(())
        } else if mount.writing(at).is_err() {
            Err(Rule::ReadOnly)
        } else if mount.rules.overwrite || self.ours.made(&fd) {
            Ok(())
        } else {
            Err(Rule::NoOverwrite)
        };
        let visible = mount.reading(at).is_ok() || self.ours.filled(&fd);
        OpenFile { fd, upload, changing, visible, mode_mask: self.options.mode_mask, space: self.space() }
    }
}
