//! Listing a directory, entry by entry.
//!
//! Attributes are asked of the directory's descriptor and the entry's name, not following it. `..` of a workspace's
//! root is the virtual `/`, so nothing of the host's directory shows; an entry that may not be read shows its type.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::dir::{Dir, OwningIter};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{fstat, fstatat};

use super::{Fault, Mount, Vfs, View, VirtualPath};
use crate::beneath::Last;
use crate::grant::Access;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name: one component, or `.` or `..`.
    pub name: CString,
    /// What it is; a symlink is not followed.
    pub view: View,
}

/// An open directory, listed once from beginning to end.
#[derive(Debug)]
pub struct Listing(Inner);

#[derive(Debug)]
enum Inner {
    Root { names: std::vec::IntoIter<Entry> },
    Below { entries: Box<OwningIter>, dir: OwnedFd, at: PathBuf, mount: Rc<Mount> },
}

impl Vfs {
    /// Opens a directory for listing.
    pub fn list(&self, path: &VirtualPath) -> Result<Listing, Fault> {
        let Some((mount, rest)) = self.find(path)? else { return Ok(self.list_root()) };
        let held = mount.hold(rest, Last::Follow)?;
        if !held.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        // On the way to what is exposed, what leads there is shown.
        if mount.rules.access_to(&held.at) != Access::None {
            mount.reading(&held.at)?;
        }
        let dir = mount.reopen(&held.at, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        Ok(Listing(Inner::Below {
            entries: Box::new(Dir::from_fd(dir)?.into_iter()),
            dir: held.fd,
            at: held.at,
            mount: Rc::clone(mount),
        }))
    }

    fn list_root(&self) -> Listing {
        let dots = [c".", c".."].map(|dot| Entry { name: dot.to_owned(), view: View::virtual_root() });
        let names = self.mounts().filter_map(|mount| {
            let stat = fstat(mount.root().dir()).ok()?;
            let view = View::of(&stat, mount.reading(Path::new("")).is_ok());
            Some(Entry { name: CString::new(mount.name().as_str()).ok()?, view })
        });
        let names: Vec<Entry> = dots.into_iter().chain(names).collect();
        Listing(Inner::Root { names: names.into_iter() })
    }
}

impl Iterator for Listing {
    type Item = Result<Entry, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let (entries, dir, at, mount) = match &mut self.0 {
            Inner::Root { names } => return names.next().map(Ok),
            Inner::Below { entries, dir, at, mount } => (entries, dir, at, mount),
        };
        loop {
            let entry = match entries.next()? {
                Ok(entry) => entry,
                Err(errno) => return Some(Err(errno.into())),
            };
            let name = entry.file_name();
            if mount.leaves_out(at, name) {
                continue;
            }
            // A name that is gone by now is not an error, only no entry.
            if let Some(view) = view_of(dir, at, mount, name) {
                return Some(Ok(Entry { name: name.to_owned(), view }));
            }
        }
    }
}

fn view_of(dir: &OwnedFd, at: &Path, mount: &Mount, name: &CStr) -> Option<View> {
    if name == c".." && at.as_os_str().is_empty() {
        return Some(View::virtual_root());
    }
    let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    Some(View::of(&stat, mount.shows(at, name)))
}

impl Mount {
    /// Whether the entry `name` of the directory `at` is not there for this key.
    fn leaves_out(&self, at: &Path, name: &CStr) -> bool {
        let dots = name == c"." || name == c"..";
        let plain = self.rules.paths.is_empty();
        !dots && if plain { self.hides(name.to_bytes()) } else { self.hides_at(&place(at, name)) }
    }

    /// Whether the entry `name` of the directory `at`, which may be listed, shows all its attributes.
    fn shows(&self, at: &Path, name: &CStr) -> bool {
        if self.rules.paths.is_empty() || name == c"." {
            return true;
        }
        let place =
            if name == c".." { at.parent().unwrap_or(Path::new("")).to_owned() } else { place(at, name) };
        self.reading(&place).is_ok()
    }
}

fn place(at: &Path, name: &CStr) -> PathBuf {
    at.join(OsStr::from_bytes(name.to_bytes()))
}
