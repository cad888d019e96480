//! Making, removing, renaming and linking: everything that changes names.
//!
//! Each acts on one name in a directory that is held open, or on two; a last component that is a symlink is acted on
//! itself, never followed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, syncfs, unlinkat};

use super::delivery::moving_delivery;
use super::judge::{New, moving};
use super::links;
use super::place::Spot;
use super::{ATTEMPTS, Fault, Mount, Rule, Vfs, VirtualPath};
use crate::beneath::{Held, Last, is_same};
use crate::grant::Symlinks;
use crate::rename::{RenameFlags, renameat2};

impl Vfs {
    /// Makes a directory.
    pub fn make_dir(&self, path: &VirtualPath, mode: u32) -> Result<(), Fault> {
        let (mount, rest) = self.new_name(path)?;
        if rest.as_os_str().is_empty() {
            // Clients make every directory of a path in turn, and go on when one exists.
            return Err(Errno::EEXIST.into());
        }
        let spot = mount.spot(rest)?;
        let own = mount.making(&spot, New::Directory)?;
        let begins_delivery = own.is_none() && mount.drop_of(&spot.at).is_some();
        if begins_delivery {
            mount.room_for_delivery()?;
        }
        let modes = &mount.rules.files.modes;
        let mode = Mode::from_bits_truncate(modes.given(mode & self.options.mode_mask, true));
        mount.made(&spot, || Ok(mkdirat(&spot.dir, spot.name.as_os_str(), mode)?))?;
        if begins_delivery {
            mount.take_delivery(&spot.at, mount.reopen(&spot.at, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?)?;
        }
        if let Some(forced) = modes.directory {
            let fd = mount.reopen(&spot.at, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
            fchmod(fd, Mode::from_bits_truncate(forced))?;
        }
        self.remember(mount, &spot);
        Ok(())
    }

    /// Removes a file or a symlink, not a directory.
    pub fn remove(&self, path: &VirtualPath) -> Result<(), Fault> {
        self.unlink(path, false)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, path: &VirtualPath) -> Result<(), Fault> {
        self.unlink(path, true)
    }

    fn unlink(&self, path: &VirtualPath, directory: bool) -> Result<(), Fault> {
        let (mount, rest) = self.inside(path)?;
        let spot = mount.spot(rest)?;
        again(|| self.unlink_at(mount, &spot, directory))
    }

    fn unlink_at(&self, mount: &Mount, spot: &Spot, directory: bool) -> Result<(), Fault> {
        let held = mount.at(spot)?;
        mount.removing(&held, &self.ours)?;
        if held.is_dir() != directory {
            return Err(if directory { Errno::ENOTDIR } else { Errno::EISDIR }.into());
        }
        mount.remove_kept(spot, &held)?;
        mount.move_delivery(&spot.at, None);
        if held.stat.st_nlink <= 1 || directory {
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
        let held = from_mount.at(&source)?;
        from_mount.removing(&held, &self.ours)?;
        let into = to_mount.making(&target, New::Moved { directory: held.is_dir() })?;
        moving((from_mount, &held), (to_mount, &target.at))?;
        moving_delivery((from_mount, &source.at), (to_mount, &target.at))?;
        links::may_move(from_mount, &held, &target.at)?;
        let in_drop = into.is_none() && to_mount.drop_of(&target.at).is_some();
        let publishes = in_drop && !target.name.as_bytes().starts_with(b".");
        if publishes {
            // What is published must be whole, also after a crash.
            syncfs(from_mount.reopen(source.at.parent().unwrap_or(Path::new("")), OFlag::O_RDONLY)?)?;
        }
        again(|| self.take_name((&source, &held), (to_mount, &target), replace && !in_drop))?;
        if in_drop {
            from_mount.move_delivery(&source.at, (!publishes).then_some(target.at.as_path()));
        }
        // Meanwhile a symlink may have come into what was moved, or what it was moved into may have been moved itself.
        let settled = links::have_stayed(to_mount, &held, &target.at, &target.at)
            .and_then(|()| if held.is_symlink() { to_mount.in_place(&target) } else { Ok(()) });
        settled.inspect_err(|_| {
            let _ = rename_to_new(&target, &held, &source);
        })
    }

    /// One try to give what is held at `source` the name of `target`.
    fn take_name(
        &self,
        (source, held): (&Spot, &Held),
        (mount, target): (&Mount, &Spot),
        replace: bool,
    ) -> Result<(), Fault> {
        let Some(victim) = mount.at(target).ok().filter(|_| replace) else {
            return match mount.counted(|| rename_to_new(source, held, target)) {
                // Also where it may be replaced: what has come into being since must be judged first.
                Err(Fault::Os(Errno::EEXIST)) if replace => Err(AGAIN),
                renamed => renamed,
            };
        };
        if is_same(&victim.stat, &held.stat) {
            return Ok(());
        }
        mount.changing(&victim, &self.ours)?;
        let replaced = mount.replace_kept((&source.dir, &source.name, Some(source)), target, &victim);
        // Gone meanwhile: then there is nothing to replace.
        replaced.map_err(|fault| if fault == GONE { AGAIN } else { fault })?;
        if !self.ours.made(&victim.fd) {
            self.ours.forget(&held.fd);
        }
        Ok(())
    }

    /// Gives a file a second name.
    pub fn hard_link(&self, from: &VirtualPath, to: &VirtualPath) -> Result<(), Fault> {
        let (from_mount, from_rest) = self.inside(from)?;
        let (to_mount, to_rest) = self.new_name(to)?;
        let source = from_mount.spot(from_rest)?;
        let target = to_mount.spot(to_rest)?;
        let held = from_mount.at(&source)?;
        if held.is_dir() {
            return Err(Errno::EPERM.into());
        }
        to_mount.making(&target, New::Link)?;
        if held.is_symlink() && to_mount.rules.files.symlinks == Symlinks::None {
            return Err(Rule::NoSymlinks.into());
        }
        if from_mount.drop_of(&held.at).is_some() {
            from_mount.showing(&held, &self.ours)?;
            return Err(Rule::Delivery.into());
        }
        moving((from_mount, &held), (to_mount, &target.at))?;
        if !Rc::ptr_eq(from_mount, to_mount) {
            // Under its second name the file would be ruled by the other workspace.
            from_mount.changing(&held, &self.ours)?;
            from_mount.removing(&held, &self.ours)?;
        }
        links::may_move(from_mount, &held, &target.at)?;
        let (from_name, to_name) = (source.name.as_os_str(), target.name.as_os_str());
        // A file that has another name by now is not lost with the first.
        to_mount.counted(|| Ok(linkat(&source.dir, from_name, &target.dir, to_name, AtFlags::empty())?))?;
        if held.is_symlink() { to_mount.link_in_place(&target) } else { Ok(()) }
    }

    /// Makes a symlink at `path` that says `target`.
    ///
    /// # Errors
    /// `LinkLeaves` when `target` is absolute or could lead out of the workspace: this tree would not follow it, but
    /// the owner's programs would. Munged, it leads nowhere.
    pub fn symlink(&self, target: &[u8], path: &VirtualPath) -> Result<(), Fault> {
        if target.contains(&0) {
            return Err(Fault::Malformed);
        }
        if target.is_empty() {
            return Err(Errno::ENOENT.into());
        }
        let (mount, rest) = self.new_name(path)?;
        let spot = mount.spot(rest)?;
        mount.making(&spot, New::Symlink)?;
        // A link in a delivery must not lead into another.
        let drop = mount.drop_of(&spot.at);
        let depth = usize::from(drop.is_some());
        let within = drop.unwrap_or_default();
        let at: PathBuf =
            spot.at.strip_prefix(&within).unwrap_or(&spot.at).components().skip(depth).collect();
        if !mount.rules.munge && !links::stays(target, &at) {
            return Err(Fault::Refused(Rule::LinkLeaves));
        }
        let stored = links::stored(target, mount.rules.munge);
        mount.made(&spot, || Ok(symlinkat(OsStr::from_bytes(&stored), &spot.dir, spot.name.as_os_str())?))?;
        mount.link_in_place(&spot)?;
        self.remember(mount, &spot);
        Ok(())
    }

    fn remember(&self, mount: &Mount, made: &Spot) {
        if mount.remembers(&made.at)
            && mount.drop_of(&made.at).is_none()
            && let Ok(held) = mount.at(made)
        {
            self.ours.remember_made(&held.fd);
        }
    }
}

impl Mount {
    /// Makes something without content at `spot`, which takes a place in the quota.
    fn made(&self, spot: &Spot, make: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        self.room.write(&spot.dir, 1)?;
        self.counted(|| {
            self.grow(0, 1)?;
            make().inspect_err(|_| self.shrink(0, 1))
        })
    }

    /// Whether the directory of `spot` still is where it was.
    fn in_place(&self, spot: &Spot) -> Result<(), Fault> {
        let there = self.hold(spot.at.parent().unwrap_or(Path::new("")), Last::Keep);
        let same = is_same(&there?.stat, &fstat(&spot.dir)?);
        if same { Ok(()) } else { Err(AGAIN) }
    }

    /// A symlink has been judged by its place; in a directory that was moved meanwhile it must not stay.
    fn link_in_place(&self, made: &Spot) -> Result<(), Fault> {
        self.in_place(made).inspect_err(|_| {
            let _ = unlinkat(&made.dir, made.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        })
    }
}

const AGAIN: Fault = Fault::Os(Errno::EAGAIN);
const GONE: Fault = Fault::Os(Errno::ENOENT);

/// Tries again as long as something else comes in between.
fn again(mut change: impl FnMut() -> Result<(), Fault>) -> Result<(), Fault> {
    let mut changed = change();
    for _ in 1..ATTEMPTS {
        if changed != Err(AGAIN) {
            break;
        }
        changed = change();
    }
    changed
}

/// Renames, and fails when the target exists.
fn rename_to_new(source: &Spot, held: &Held, target: &Spot) -> Result<(), Fault> {
    let (from, to) = (source.name.as_os_str(), target.name.as_os_str());
    match renameat2(&source.dir, from, &target.dir, to, RenameFlags::NOREPLACE) {
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
