//! What the rules of a workspace say about a place beneath its root.
//!
//! Every question is about the place that a path resolved to, never about the path: a symlink from a writable
//! sub-path to a read-only one is judged by where it ends.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;

use super::delivery::{Delivery, Standing};
use super::hidden::is_hidden;
use super::ours::Ours;
use super::place::Spot;
use super::{Fault, Mount, Rule};
use crate::beneath::Held;
use crate::grant::{Access, Symlinks};

/// What is to get a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum New {
    File,
    Directory,
    Symlink,
    /// A second name of a file.
    Link,
    /// What had another name before.
    Moved {
        directory: bool,
    },
}

impl Mount {
    /// Content and names at `at` may be read.
    pub(super) fn reading(&self, at: &Path) -> Result<(), Fault> {
        match self.rules.access_to(at) {
            access if access.may_read() => Ok(()),
            Access::None => Err(Fault::Refused(Rule::NotExposed)),
            _ => Err(Fault::Refused(Rule::WriteOnly)),
        }
    }

    /// Something at `at` may be written, as far as the access says.
    pub(super) fn writing(&self, at: &Path) -> Result<(), Fault> {
        match self.rules.access_to(at) {
            access if access.may_write() => Ok(()),
            Access::None => Err(Fault::Refused(Rule::NotExposed)),
            _ => Err(Fault::Refused(Rule::ReadOnly)),
        }
    }

    /// Something new may get the name of `spot`. In a delivery of the key's own, says which.
    pub(super) fn making(&self, spot: &Spot, new: New) -> Result<Option<Rc<Delivery>>, Fault> {
        self.writing(&spot.at)?;
        let name = spot.name.as_bytes();
        let directory = matches!(new, New::Directory | New::Moved { directory: true });
        if self.hides(name) || !self.rules.files.names.allows(name, directory) {
            return Err(Fault::Refused(Rule::Name));
        }
        if new == New::Symlink && self.rules.files.symlinks == Symlinks::None {
            return Err(Fault::Refused(Rule::NoSymlinks));
        }
        match (self.standing(&spot.at), new) {
            (Standing::Elsewhere, _)
            | (Standing::Foreign { direct: true }, New::File | New::Moved { .. }) => Ok(None),
            // Either name could change what the other has published.
            (_, New::Link) => Err(Fault::Refused(Rule::Delivery)),
            (Standing::Own(delivery), _) => Ok(Some(delivery)),
            (Standing::Foreign { direct: true }, New::Directory) if name.starts_with(b".") => Ok(None),
            (Standing::Foreign { direct: true }, _) => Err(Fault::Refused(Rule::Delivery)),
            (Standing::Foreign { direct: false }, _) => Err(Fault::Refused(Rule::NoOverwrite)),
            (Standing::Drop, _) => Err(Fault::Refused(Rule::FixedRoot)),
        }
    }

    /// What is there may be given other content or attributes.
    pub(super) fn changing(&self, held: &Held, ours: &Ours) -> Result<(), Fault> {
        self.writing(&held.at)?;
        match self.standing(&held.at) {
            Standing::Own(_) => Ok(()),
            Standing::Foreign { .. } => Err(Errno::ENOENT.into()),
            Standing::Elsewhere if self.rules.overwrite || ours.made(&held.fd) => Ok(()),
            Standing::Elsewhere | Standing::Drop => Err(Fault::Refused(Rule::NoOverwrite)),
        }
    }

    /// What is there may lose its name, by removal or by a rename.
    pub(super) fn removing(&self, held: &Held, ours: &Ours) -> Result<(), Fault> {
        self.writing(&held.at)?;
        match self.standing(&held.at) {
            Standing::Own(_) => Ok(()),
            Standing::Foreign { .. } => Err(Errno::ENOENT.into()),
            Standing::Elsewhere if self.may_delete() || ours.made(&held.fd) => Ok(()),
            Standing::Elsewhere | Standing::Drop => Err(Fault::Refused(Rule::NoDelete)),
        }
    }

    /// Whether all attributes of what is there may be seen, and not only that it is there.
    ///
    /// # Errors
    /// `ENOENT` for what others have put into a drop.
    pub(super) fn showing(&self, held: &Held, ours: &Ours) -> Result<bool, Fault> {
        match self.standing(&held.at) {
            Standing::Own(_) => Ok(true),
            Standing::Foreign { .. } => Err(Errno::ENOENT.into()),
            Standing::Drop => Ok(false),
            Standing::Elsewhere => Ok(self.reading(&held.at).is_ok() || ours.filled(&held.fd)),
        }
    }

    /// Whether `name` is not there for this key.
    pub(super) fn hides(&self, name: &[u8]) -> bool {
        is_hidden(name) || self.rules.files.names.hides(name)
    }

    /// Whether what is at `path` is not there for this key: by a name, or because nothing at it or below it is exposed.
    pub(super) fn hides_at(&self, path: &Path) -> bool {
        path.components().any(|part| self.hides(part.as_os_str().as_bytes()))
            || self.rules.access_to(path) == Access::None && !self.leads_to_exposed(path)
    }

    /// Whether there are places or names that this key does not see.
    pub(super) fn has_secrets(&self) -> bool {
        let unseen = |access| matches!(access, Access::Drop | Access::None);
        !self.rules.files.names.hide.is_empty() || self.rules.places().any(|(_, access)| unseen(access))
    }

    /// Whether some sub-path at or below `at` is exposed.
    pub(super) fn leads_to_exposed(&self, at: &Path) -> bool {
        self.rules.paths.iter().any(|(place, access)| *access != Access::None && place.starts_with(at))
    }

    /// Whether removal is allowed at all: `overwrite = false` implies that it is not.
    pub(super) fn may_delete(&self) -> bool {
        self.rules.delete && self.rules.overwrite
    }

    /// Whether what a session makes here must be remembered for the questions above.
    pub(super) fn remembers(&self, at: &Path) -> bool {
        !self.may_delete() || !self.rules.access_to(at).may_read()
    }

    /// Whether a file is replaced as a whole when it gets other content.
    pub(super) fn replaces_whole(&self) -> bool {
        self.rules.files.atomic || self.rules.files.versions
    }

    /// Whether some entry of `paths` lies at or below `at`. A directory above one cannot be moved: the entry names a
    /// place, and what is behind it would fall under another rule.
    fn has_rules_below(&self, at: &Path) -> bool {
        self.rules.paths.keys().any(|place| place.starts_with(at))
    }
}

/// Content at `from` may get the place `to`, as another name or instead of the old one.
///
/// Both places must be writable: a second, writable name for a read-only file would be a way to write it. And what may
/// not be read must not become readable. A directory takes what is in it along, so it must not meet rules below.
pub(super) fn moving(from: (&Mount, &Held), to: (&Mount, &Path)) -> Result<(), Fault> {
    from.0.writing(&from.1.at)?;
    to.0.writing(to.1)?;
    let disclosed = to.0.reading(to.1).is_ok() && from.0.reading(&from.1.at).is_err();
    let rules_below = from.1.is_dir() && (from.0.has_rules_below(&from.1.at) || to.0.has_rules_below(to.1));
    if disclosed || rules_below {
        return Err(Fault::Refused(Rule::MixedAccess));
    }
    if std::ptr::eq(from.0, to.0) {
        return Ok(());
    }
    // Another workspace's rules do not keep what this one promises, and its count does not know what is in a directory.
    // A client then copies instead.
    let promises = |mount: &Mount| mount.replaces_whole() || mount.room.counts();
    if promises(from.0) || promises(to.0) { Err(Errno::EXDEV.into()) } else { Ok(()) }
}
