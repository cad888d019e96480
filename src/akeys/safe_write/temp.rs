//! The successor of the file, complete and on disk under another name.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use rustix::fs::{RenameFlags, renameat_with};
use ssh_key::rand_core::{OsRng, RngCore as _};

use super::place::{Place, Snapshot};
use super::{WriteError, attributes};
use crate::common::private;

/// A complete file that is not yet the file. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Temp<'a> {
    place: &'a Place,
    name: OsString,
}

/// How a [`Temp::commit`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Commit {
    /// It is the file now.
    Done,
    /// It is the file now, and this is what had taken the place of the old one in the last moment.
    Over(Vec<u8>),
    /// Somebody created the file that was missing before.
    Overtaken,
}

impl<'a> Temp<'a> {
    /// Writes and syncs the pieces of a content, with the properties of `before`, or 0600 when there was no file.
    pub(super) fn write<'p>(
        place: &'a Place,
        before: Option<&Snapshot>,
        pieces: impl Iterator<Item = &'p [u8]>,
    ) -> Result<Self, WriteError> {
        let io = WriteError::io(&place.path);
        let mut name = place.temp_prefix();
        name.push(format!("{:016x}", OsRng.next_u64()));
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = openat(&place.dir, name.as_os_str(), flags, private).map_err(|errno| io(errno.into()))?;
        let temp = Self { place, name };
        let mut file = File::from(file);
        for piece in pieces {
            file.write_all(piece).map_err(&io)?;
        }
        if let Some(before) = before {
            temp.carry_over(before, &file)?;
        } else {
            attributes::drop_inherited_acl(&file);
            file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(&io)?;
        }
        file.sync_all().map_err(&io)?;
        Ok(temp)
    }

    /// Gives the new file the group, the extended attributes (ACLs among them) and the mode of the old one. The owner is
    /// the account on both sides.
    fn carry_over(&self, before: &Snapshot, file: &File) -> Result<(), WriteError> {
        let path = &self.place.path;
        let carry = |what: &str| {
            let what = what.to_owned();
            move |source| WriteError::Carry { path: path.clone(), what, source }
        };
        let gid = before.metadata.gid();
        if file.metadata().map_err(WriteError::io(path))?.gid() != gid {
            fchown(file, None, Some(gid)).map_err(carry("group"))?;
        }
        attributes::copy(&before.file, file)
            .map_err(|(name, source)| carry(&name.to_string_lossy())(source))?;
        // After the ACL, whose mask is the group part of the mode; and after the group, which clears set-id bits.
        file.set_permissions(std::fs::Permissions::from_mode(before.metadata.mode() & 0o7777))
            .map_err(carry("mode"))
    }

    /// Makes it the file: in exchange for the old one, so that what goes can be looked at once more, or, where there was none, by
    /// a link that cannot overwrite.
    pub(super) fn commit(self, before: Option<&Snapshot>) -> Result<Commit, WriteError> {
        let Place { dir, name, path, .. } = self.place;
        let io = |errno: Errno| WriteError::io(path)(errno.into());
        let Some(before) = before else {
            return match linkat(dir, self.name.as_os_str(), dir, name.as_os_str(), AtFlags::empty()) {
                Err(Errno::EEXIST) => Ok(Commit::Overtaken),
                linked => linked.map(|()| Commit::Done).map_err(io),
            };
        };
        match renameat_with(dir, &self.name, dir, name, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(self.gone(before).map_or(Commit::Done, Commit::Over)),
            Err(rustix::io::Errno::NOENT) => Ok(Commit::Overtaken),
            // Not every file system can exchange, NFS for one.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
                renameat(dir, self.name.as_os_str(), dir, name.as_os_str()).map_err(io)?;
                Ok(Commit::Done)
            }
            Err(errno) => Err(WriteError::io(path)(errno.into())),
        }
    }

    /// What the exchange has brought under our name, if that is not the content that was read.
    fn gone(&self, before: &Snapshot) -> Option<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.place.dir, self.name.as_os_str(), flags, Mode::empty()).ok()?);
        if !file.metadata().ok()?.is_file() || private::holds(&file, before.keys.bytes()).ok()? {
            return None;
        }
        let mut bytes = Vec::new();
        file.rewind().ok()?;
        file.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(&self.place.dir, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
}
