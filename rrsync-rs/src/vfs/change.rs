//! Making, removing, renaming and linking: everything that changes names.
//!
//! Each acts on one name in a directory that is held open, or on two; a last component that is a symlink is acted on
//! itself, never followed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, RenameFlags, renameat, renameat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use super::judge::moving;
use super::links;
use super::place::Spot;
use super::{Fault, Mount, Rule, Vfs, VirtualPath};
use crate::beneath::Held;

impl Vfs {
    /// Makes a directory.
    pub fn make_dir(&self, path: &VirtualPath, mode: u32) -> Result<(), Fault> {
        let (mount, rest) = self.new_name(path)?;
        if rest.as_os_str().is_empty() {
            // Clients make every directory of a path in turn, and go on when one exists.
            return Err(Errno::EEXIST.into());
        }
        let spot = mount.spot(rest)?;
        mount.writing(&spot.at)?;
        self.space().take(&spot.dir, 1)?;
        mkdirat(&spot.dir, spot.name.as_os_str(), Mode::from_bits_truncate(mode & self.options.mode_mask))?;
        self.remember(mount, &spot);
        Ok(())
    }

    /// Removes a file or a symlink, not a directory.
    pub fn remove(&self, path: &VirtualPath) -> Result<(), Fault> {
        self.unlink(path, UnlinkatFlags::NoRemoveDir)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, path: &VirtualPath) -> Result<(), Fault> {
        self.unlink(path, UnlinkatFlags::RemoveDir)
    }

    fn unlink(&self, path: &VirtualPath, what: UnlinkatFlags) -> Result<(), Fault> {
        let (mount, rest) = self.inside(path)?;
        let spot = mount.spot(rest)?;
        let held = spot.hold()?;
        mount.removing(&held, &self.ours)?;
        unlinkat(&spot.dir, spot.name.as_os_str(), what)?;
        if held.stat.st_nlink <= 1 || held.is_dir() {
            self.ours.forget(&held.fd);
        }
        Ok(())
    }

    /// Renames; with `replace` over what is there (`rename(2)`), without it never.
    ///
    /// # Errors
    /// `EEXIST` without `replace` when something is there; `FixedRoot` for a workspace itself; `MixedAccess` when the
    /// content would get another access.
    pub fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<(), Fault> {
        let (from_mount, from_rest) = self.inside(from)?;
        let (to_mount, to_rest) = self.new_name(to)?;
        let source = from_mount.spot(from_rest)?;
        let target = to_mount.spot(to_rest)?;
        let held = source.hold()?;
        moving((from_mount, &held), (to_mount, &target.at))?;
        from_mount.removing(&held, &self.ours)?;
        link_may_be_at(&held, &target)?;
        let victim = match target.hold() {
            Ok(victim) if replace => {
                to_mount.changing(&victim, &self.ours)?;
                Some(victim)
            }
            _ => None,
        };
        let (from_name, to_name) = (source.name.as_os_str(), target.name.as_os_str());
        match victim {
            Some(victim) => {
                renameat(&source.dir, from_name, &target.dir, to_name)?;
                if !self.ours.made(&victim.fd) {
                    self.ours.forget(&held.fd);
                }
            }
            // Also where `replace` would allow it: what has come into being since must be judged first.
            None => rename_to_new(&source, &held, &target)?,
        }
        Ok(())
    }

    /// Gives a file a second name.
    pub fn hard_link(&self, from: &VirtualPath, to: &VirtualPath) -> Result<(), Fault> {
        let (from_mount, from_rest) = self.inside(from)?;
        let (to_mount, to_rest) = self.new_name(to)?;
        let source = from_mount.spot(from_rest)?;
        let target = to_mount.spot(to_rest)?;
        let held = source.hold()?;
        if held.is_dir() {
            return Err(Errno::EPERM.into());
        }
        moving((from_mount, &held), (to_mount, &target.at))?;
        if !std::ptr::eq(from_mount, to_mount) {
            // Under its second name the file would be ruled by the other workspace.
            from_mount.changing(&held, &self.ours)?;
            from_mount.removing(&held, &self.ours)?;
        }
        link_may_be_at(&held, &target)?;
        let (from_name, to_name) = (source.name.as_os_str(), target.name.as_os_str());
        Ok(linkat(&source.dir, from_name, &target.dir, to_name, AtFlags::empty())?)
    }

    /// Makes a symlink at `path` that says `target`.
    ///
    /// # Errors
    /// `LinkLeaves` when `target` is absolute or could lead out of the workspace: this tree would not follow it, but
    /// the owner's programs would.
    pub fn symlink(&self, target: &[u8], path: &VirtualPath) -> Result<(), Fault> {
        if target.contains(&0) || target.is_empty() {
            return Err(Fault::Malformed);
        }
        let (mount, rest) = self.new_name(path)?;
        let spot = mount.spot(rest)?;
        mount.writing(&spot.at)?;
        if !links::stays(target, &spot.at) {
            return Err(Fault::Refused(Rule::LinkLeaves));
        }
        self.space().take(&spot.dir, 1)?;
        let stored = links::stored(target, mount.rules.munge);
        symlinkat(OsStr::from_bytes(&stored), &spot.dir, spot.name.as_os_str())?;
        self.remember(mount, &spot);
        Ok(())
    }

    fn remember(&self, mount: &Mount, made: &Spot) {
        if mount.remembers(&made.at)
            && let Ok(held) = made.hold()
        {
            self.ours.remember_made(&held.fd);
        }
    }
}

/// Renames, and fails when the target exists.
fn rename_to_new(source: &Spot, held: &Held, target: &Spot) -> Result<(), Fault> {
    let (from, to) = (source.name.as_os_str(), target.name.as_os_str());
    match renameat2(&source.dir, from, &target.dir, to, RenameFlags::RENAME_NOREPLACE) {
        // The file system has no such rename. A link cannot replace either; sftp-server.c `process_rename` does the
        // same. Directories cannot be linked, but also never replace anything that is not an empty directory.
        Err(Errno::EINVAL) if held.is_dir() => Ok(renameat(&source.dir, from, &target.dir, to)?),
        Err(Errno::EINVAL) => {
            linkat(&source.dir, from, &target.dir, to, AtFlags::empty())?;
            Ok(unlinkat(&source.dir, from, UnlinkatFlags::NoRemoveDir)?)
        }
        renamed => Ok(renamed?),
    }
}

/// A symlink that leads somewhere inside from its old place must not lead out from its new one.
fn link_may_be_at(held: &Held, target: &Spot) -> Result<(), Fault> {
    if !held.is_symlink() {
        return Ok(());
    }
    let text = links::text_of(held)?;
    let stayed = links::stays(text.as_bytes(), &held.at);
    let stays = links::stays(text.as_bytes(), &target.at);
    if stayed && !stays { Err(Fault::Refused(Rule::LinkLeaves)) } else { Ok(()) }
}
