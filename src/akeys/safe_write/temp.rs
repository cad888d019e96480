//! The successor of the file, complete and on disk under another name.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use ssh_key::rand_core::{OsRng, RngCore as _};

use super::place::{Place, Snapshot};
use super::{WriteError, attributes};

/// A complete file that is not yet the file. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Temp<'a> {
    place: &'a Place,
    name: OsString,
}

/// How a [`Temp::commit`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    /// It is the file now.
    Done,
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

    /// Makes it the file: over the old one by a rename, or, where there was none, by a link that cannot overwrite.
    pub(super) fn commit(self, over: bool) -> Result<Commit, WriteError> {
        let Place { dir, name, path, .. } = self.place;
        let io = |errno: Errno| WriteError::io(path)(errno.into());
        if over {
            renameat(dir, self.name.as_os_str(), dir, name.as_os_str()).map_err(io)?;
        } else {
            match linkat(dir, self.name.as_os_str(), dir, name.as_os_str(), AtFlags::empty()) {
                Err(Errno::EEXIST) => return Ok(Commit::Overtaken),
                other => other.map_err(io)?,
            }
        }
        Ok(Commit::Done)
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(&self.place.dir, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
}
