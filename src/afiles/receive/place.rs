//! Taking a place, making a directory or a symlink, moving and removing: everything that changes what names mean.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fstat, mkdirat, utimensat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};
use rrsync_rs::beneath::kind;
use rrsync_rs::removal::remove_all;
use rrsync_rs::rename::{RenameFlags, renameat2};
use rrsync_rs::versions::Reason;
use rrsync_rs::vfs::stays;

use super::{Attributes, Incoming, ReceiveError, Spot, Symlinks, Tree, set_mode};
use crate::event::EventPath;

/// What a path had when it was last made the same as its source; what it has since been changed to is nobody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The kind, as in `st_mode`.
    pub kind: SFlag,
    /// Bytes.
    pub size: u64,
    /// Time of the last modification, in nanoseconds since 1970.
    pub modified: i64,
}

impl Known {
    /// What something is now.
    pub fn of(stat: &FileStat) -> Self {
        let modified = stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec);
        Self { kind: kind(stat), size: stat.st_size.unsigned_abs(), modified }
    }

    /// Whether `stat` is still that. Of symlinks and directories only the kind is known.
    pub fn still(&self, stat: &FileStat) -> bool {
        if self.kind == SFlag::S_IFREG { *self == Self::of(stat) } else { self.kind == kind(stat) }
    }
}

impl Incoming<'_> {
    /// Takes its place in one step. What had it is kept or removed; `known` says what of it is only a copy.
    pub fn place(mut self, known: Option<Known>) -> Result<(), ReceiveError> {
        self.tree.replace(&self.hidden, &self.target, known)?;
        self.placed = true;
        Ok(())
    }

    /// Takes its place where nothing is.
    ///
    /// # Errors
    /// `EEXIST` when something is.
    pub fn place_new(mut self) -> Result<(), ReceiveError> {
        rename_new(&self.hidden, &self.target).map_err(ReceiveError::at(&self.target.at))?;
        self.placed = true;
        Ok(())
    }
}

/// Renames where nothing is.
fn rename_new(from: &Spot, to: &Spot) -> Result<(), Errno> {
    let flags = RenameFlags::NOREPLACE;
    match renameat2(&*from.dir, from.name.as_os_str(), &*to.dir, to.name.as_os_str(), flags) {
        // No such rename on this file system; what could come in between is as new as this is.
        Err(Errno::EINVAL) => match super::look(&to.dir, &to.name)? {
            Some(_) => Err(Errno::EEXIST),
            None => renameat(&*from.dir, from.name.as_os_str(), &*to.dir, to.name.as_os_str()),
        },
        renamed => renamed,
    }
}

/// A directory under a hidden name. Dropped, it is gone with everything in it.
#[derive(Debug)]
pub struct HiddenDir<'t> {
    tree: &'t Tree,
    spot: Spot,
    published: bool,
}

impl HiddenDir<'_> {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.tree.real().join(&self.spot.at)
    }

    /// Gives it its name, where nothing is.
    ///
    /// # Errors
    /// `EEXIST` when something is.
    pub fn publish(mut self, path: &EventPath) -> Result<(), ReceiveError> {
        let target = self.tree.spot(path)?;
        rename_new(&self.spot, &target).map_err(ReceiveError::at(&target.at))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for HiddenDir<'_> {
    fn drop(&mut self) {
        if !self.published {
            let _ = remove_all(&*self.spot.dir, &self.spot.name);
        }
        self.tree.forget_note();
    }
}

impl Tree {
    /// Makes a directory that nobody sees, at the top of the tree.
    pub fn hidden_dir(&self) -> Result<HiddenDir<'_>, ReceiveError> {
        let path = EventPath::new(rrsync_rs::vfs::hidden::name().into_encoded_bytes());
        let spot = self.spot(&path.map_err(|_| ReceiveError::at(Path::new(""))(Errno::EINVAL))?)?;
        self.change(&spot)?;
        self.note(&spot)?;
        let hidden = HiddenDir { tree: self, spot, published: false };
        mkdirat(&*hidden.spot.dir, hidden.spot.name.as_os_str(), Mode::S_IRWXU)
            .map_err(ReceiveError::at(&hidden.spot.at))?;
        Ok(hidden)
    }

    /// Makes a directory, where there is none. One that is there stays; anything else makes way. Without attributes it is
    /// one on the way to something, which gets its own later. `known` says whether what makes way is only a copy.
    pub fn make_dir(
        &self,
        path: &EventPath,
        attributes: Option<Attributes>,
        known: Option<Known>,
    ) -> Result<(), ReceiveError> {
        let spot = self.spot(path)?;
        match spot.look()? {
            Some(stat) if kind(&stat) == SFlag::S_IFDIR => Ok(()),
            found => {
                self.change(&spot)?;
                let mode = attributes.map_or(Mode::from_bits_truncate(0o755), Attributes::permissions);
                // Whatever the umask is, the owner can go on.
                let mode = mode | Mode::S_IRWXU;
                if found.is_none() {
                    return match mkdirat(&*spot.dir, spot.name.as_os_str(), mode) {
                        Ok(()) | Err(Errno::EEXIST) => Ok(()),
                        Err(errno) => Err(ReceiveError::at(&spot.at)(errno)),
                    };
                }
                let hidden = spot.beside();
                self.note(&hidden)?;
                let made = mkdirat(&*hidden.dir, hidden.name.as_os_str(), mode)
                    .map_err(ReceiveError::at(&spot.at))
                    .and_then(|()| self.replace(&hidden, &spot, known));
                self.forget_note();
                made
            }
        }
    }

    /// Makes a symlink, or makes one say something else; `false` when it leads out and is left out.
    pub fn make_link(
        &self,
        path: &EventPath,
        target: &[u8],
        outside: Symlinks,
        known: Option<Known>,
    ) -> Result<bool, ReceiveError> {
        if !stays(target, path.as_path()) {
            match outside {
                Symlinks::Skip => return Ok(false),
                Symlinks::Refuse => return Err(ReceiveError::LinkLeaves(path.as_path().to_owned())),
                Symlinks::Keep => {}
            }
        }
        let spot = self.spot(path)?;
        if readlinkat(&*spot.dir, spot.name.as_os_str()).is_ok_and(|says| says.as_bytes() == target) {
            return Ok(true);
        }
        self.change(&spot)?;
        let hidden = spot.beside();
        self.note(&hidden)?;
        let made = symlinkat(OsStr::from_bytes(target), &*hidden.dir, hidden.name.as_os_str())
            .map_err(ReceiveError::at(&spot.at))
            .and_then(|()| self.replace(&hidden, &spot, known));
        if made.is_err() {
            let _ = unlinkat(&*hidden.dir, hidden.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
        self.forget_note();
        made.map(|()| true)
    }

    /// Moves what is at `from` to `to` in one step; `false` when that cannot be. A file or symlink that is at `to` makes way;
    /// `known` says whether it is only a copy.
    pub fn shift(
        &self,
        from: &EventPath,
        to: &EventPath,
        known: Option<Known>,
    ) -> Result<bool, ReceiveError> {
        let (one, other) = (self.spot(from)?, self.spot(to)?);
        let Some(stat) = one.look()? else { return Ok(false) };
        self.change(&one)?;
        self.change(&other)?;
        if kind(&stat) == SFlag::S_IFLNK {
            let says = readlinkat(&*one.dir, one.name.as_os_str()).map_err(ReceiveError::at(&one.at))?;
            if !stays(says.as_bytes(), &other.at) {
                return Ok(false);
            }
        }
        self.forget_parent();
        if let Some(old) = other.look()? {
            if kind(&stat) == SFlag::S_IFDIR || kind(&old) == SFlag::S_IFDIR {
                return Ok(false);
            }
            return self.replace(&one, &other, known).map(|()| true);
        }
        match rename_new(&one, &other) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST | Errno::ENOENT | Errno::EINVAL | Errno::EXDEV | Errno::ENOTEMPTY) => Ok(false),
            Err(errno) => Err(ReceiveError::at(&other.at)(errno)),
        }
    }

    /// Sets mode and, with `times`, time of what is at `path` and is neither a symlink nor anything special; of the tree itself
    /// for `None`. Says whether something was other before.
    pub fn set_attributes(
        &self,
        path: Option<&EventPath>,
        attributes: Attributes,
        times: bool,
    ) -> Result<bool, ReceiveError> {
        let path = path.map_or(Path::new(""), EventPath::as_path);
        self.unlocked.borrow_mut().retain(|(unlocked, _)| unlocked != path);
        self.set(path, attributes, times).map_err(ReceiveError::at(path))
    }

    fn set(&self, path: &Path, attributes: Attributes, times: bool) -> Result<bool, Errno> {
        let fd = match self.open_beneath(path, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(false),
            fd => fd?,
        };
        let stat = fstat(&fd)?;
        if !matches!(kind(&stat), SFlag::S_IFREG | SFlag::S_IFDIR) {
            return Ok(false);
        }
        let mode = attributes.permissions().bits();
        let other_mode = stat.st_mode & 0o7777 != mode;
        if other_mode {
            set_mode(&fd, mode)?;
        }
        let other_time = times && Known::of(&stat).modified != attributes.modified;
        if other_time {
            let (accessed, modified) = attributes.times();
            // As for the mode: there is no such call on a descriptor that was opened with O_PATH.
            let own = format!("/proc/self/fd/{}", fd.as_raw_fd());
            utimensat(AT_FDCWD, own.as_str(), &accessed, &modified, UtimensatFlags::FollowSymlink)?;
        }
        Ok(other_mode || other_time)
    }

    /// Removes the file or symlink at `path`; `known` says whether it is only a copy. Nothing there is no error.
    pub fn remove(&self, path: &EventPath, known: Option<Known>) -> Result<(), ReceiveError> {
        let spot = self.spot(path)?;
        if spot.look()?.is_none_or(|stat| kind(&stat) == SFlag::S_IFDIR) {
            return Ok(());
        }
        self.change(&spot)?;
        let hidden = spot.beside();
        self.note(&hidden)?;
        let gone = match renameat(&*spot.dir, spot.name.as_os_str(), &*hidden.dir, hidden.name.as_os_str()) {
            Ok(()) => self.let_go(&hidden, &spot, known, Reason::Removed),
            Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(ReceiveError::at(&spot.at)(errno)),
        };
        self.forget_note();
        gone
    }

    /// Removes the directory at `path` if nothing is in it; `false` when it stays.
    pub fn remove_dir(&self, path: &EventPath) -> Result<bool, ReceiveError> {
        let spot = self.spot(path)?;
        if spot.look()?.is_none_or(|stat| kind(&stat) != SFlag::S_IFDIR) {
            return Ok(true);
        }
        self.change(&spot)?;
        self.forget_parent();
        match unlinkat(&*spot.dir, spot.name.as_os_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EBUSY) => Ok(false),
            Err(errno) => Err(ReceiveError::at(&spot.at)(errno)),
        }
    }

    /// Puts what is at `hidden` where `target` is. What was there makes way in the same step.
    fn replace(&self, hidden: &Spot, target: &Spot, known: Option<Known>) -> Result<(), ReceiveError> {
        let at = |errno| ReceiveError::System { path: target.at.clone(), errno };
        let (from, to) = (hidden.name.as_os_str(), target.name.as_os_str());
        for _ in 0..16 {
            let Some(old) = target.look()? else {
                match rename_new(hidden, target) {
                    Err(Errno::EEXIST) => continue,
                    renamed => return renamed.map_err(at),
                }
            };
            let directory = kind(&old) == SFlag::S_IFDIR;
            let is_copy = known.is_some_and(|known| known.still(&old));
            if self.keeper.wants(is_copy) && !directory {
                let reason = if is_copy { Reason::Overwritten } else { Reason::Conflict };
                self.keeper.keep(self.real(), target, &target.at, reason, &self.origin)?;
            }
            if self.exchanges.get() || directory {
                match renameat2(&*hidden.dir, from, &*target.dir, to, RenameFlags::EXCHANGE) {
                    Err(Errno::ENOENT) => continue,
                    Err(Errno::EINVAL | Errno::ENOSYS) if !directory => self.exchanges.set(false),
                    exchanged => {
                        exchanged.map_err(at)?;
                        self.forget_parent();
                        let same = hidden.look()?.is_some_and(|now| same_content(&now, &old));
                        let known = if same { Some(Known::of(&old)) } else { None };
                        return self.let_go(hidden, target, known, Reason::Conflict);
                    }
                }
            }
            return renameat(&*hidden.dir, from, &*target.dir, to).map_err(at);
        }
        Err(at(Errno::EBUSY))
    }

    /// Removes what was moved aside from `was` to `hidden`. What is in it and is no copy is kept first.
    fn let_go(
        &self,
        hidden: &Spot,
        was: &Spot,
        known: Option<Known>,
        reason: Reason,
    ) -> Result<(), ReceiveError> {
        let Some(now) = hidden.look()? else { return Ok(()) };
        if kind(&now) == SFlag::S_IFDIR {
            self.keep_below(hidden, was)?;
        } else {
            let is_copy = known.is_some_and(|known| known.still(&now));
            let asked = reason == Reason::Removed && self.keeper.wants(is_copy);
            if asked || !is_copy {
                let reason = if is_copy { reason } else { Reason::Conflict };
                self.keeper.keep(self.real(), hidden, &was.at, reason, &self.origin)?;
            }
        }
        remove_all(&*hidden.dir, &hidden.name).map_err(ReceiveError::at(&was.at))
    }

    /// Keeps every file and symlink in a directory that makes way; what of them is a copy is not asked.
    fn keep_below(&self, hidden: &Spot, was: &Spot) -> Result<(), ReceiveError> {
        let mut directories = vec![(hidden.at.clone(), was.at.clone())];
        while let Some((path, was)) = directories.pop() {
            let opened = self
                .open_beneath(&path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
                .map_err(ReceiveError::at(&was))?;
            for name in names(&opened).map_err(ReceiveError::at(&was))? {
                let spot = Spot {
                    dir: std::rc::Rc::new(
                        opened.try_clone().map_err(|_| ReceiveError::at(&was)(Errno::EMFILE))?,
                    ),
                    at: path.join(OsStr::from_bytes(&name)),
                    name: OsStr::from_bytes(&name).to_owned(),
                };
                let inner_was = was.join(&spot.name);
                match spot.look()? {
                    Some(stat) if kind(&stat) == SFlag::S_IFDIR => directories.push((spot.at, inner_was)),
                    Some(_) => {
                        self.keeper.keep(self.real(), &spot, &inner_was, Reason::Conflict, &self.origin)?;
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }
}

/// Whether a file that was moved aside has what it had when it was looked at. Being moved changes its last time only.
fn same_content(now: &FileStat, old: &FileStat) -> bool {
    let what = |stat: &FileStat| (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    what(now) == what(old)
}

/// The names in a directory.
fn names(dir: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let listed = dir.try_clone().map_err(|_| Errno::EMFILE)?;
    let mut names = Vec::new();
    for entry in Dir::from_fd(listed)?.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

impl Tree {
    /// The names in the directory at `path`, the tree itself for `None`. Hidden ones are not there.
    pub fn names(&self, path: Option<&EventPath>) -> Result<Vec<Vec<u8>>, ReceiveError> {
        let path = path.map_or(Path::new(""), EventPath::as_path);
        let opened =
            self.open_beneath(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY).map_err(ReceiveError::at(path))?;
        let mut names = names(&opened).map_err(ReceiveError::at(path))?;
        names.retain(|name| !rrsync_rs::vfs::hidden::is_hidden(name));
        Ok(names)
    }
}
