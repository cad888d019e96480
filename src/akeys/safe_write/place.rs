//! Where `authorized_keys` really is: an open directory and a name in it, nothing to be resolved again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, ResolveFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use rrsync_rs::beneath::{Held, Last, Root, kind, open_beneath, split_last};
use rrsync_rs::layout::Layout;

use super::WriteError;
use crate::authkeys::KeyFile;
use crate::common::private;

/// How many symlinks are followed (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

const LEADS_OUT: &str = "is a symlink that leads out of the home directory";
const LEADS_NOWHERE: &str = "is a symlink that leads nowhere";

/// A directory of the account and the name of the key file in it, every symlink resolved beneath the home.
#[derive(Debug)]
pub(super) struct Place {
    /// The directory, open for reading, so that it can be synced.
    pub(super) dir: OwnedFd,
    /// The file's name in it.
    pub(super) name: OsString,
    /// The whole path, for messages.
    pub(super) path: PathBuf,
    /// The home, while a `.ssh` that this run made is still empty.
    made_in: Option<OwnedFd>,
}

/// The file as it was read: what it is, and what it says.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The open file, to carry its attributes over.
    pub(super) file: File,
    /// Its metadata when it was read.
    pub(super) metadata: fs::Metadata,
    /// Its content.
    pub(super) keys: KeyFile,
}

/// What changes when a file does, but for the number of its names.
fn own_state(m: &fs::Metadata) -> impl PartialEq + use<> {
    (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.mode(), m.uid(), m.gid())
}

/// The same with its names. The change time also covers an ACL and a content that was put back; on older kernels it stands still for
/// some milliseconds.
fn state(m: &fs::Metadata) -> impl PartialEq + use<> {
    (own_state(m), m.ctime(), m.ctime_nsec(), m.nlink())
}

impl Place {
    /// The place, if `~/.ssh` is there.
    pub(super) fn find(layout: &Layout) -> Result<Option<Self>, WriteError> {
        let (ssh, keys) = (layout.ssh_dir(), layout.authorized_keys());
        let root = Root::open(layout.home()).map_err(WriteError::io(layout.home()))?;
        let refused = |path: &Path, reason| WriteError::Refused { path: path.to_owned(), reason };
        let ssh_dir = match root.hold(Path::new(".ssh"), Last::Follow) {
            Ok(held) if held.is_dir() => held,
            Ok(_) => return Err(refused(&ssh, "is not a directory")),
            Err(Errno::EXDEV) => return Err(refused(&ssh, LEADS_OUT)),
            Err(Errno::ENOENT) if ssh.is_symlink() => return Err(refused(&ssh, LEADS_NOWHERE)),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(WriteError::io(&ssh)(errno.into())),
        };
        // Of a link that leads out, nothing else is told: not even whether something is there.
        let outside =
            || root.hold(Path::new(".ssh/authorized_keys"), Last::Follow).err() == Some(Errno::EXDEV);
        let (parent, name) = match follow(&root, ssh_dir) {
            Ok(found) => found,
            Err(errno) if errno == Errno::EXDEV || outside() => return Err(refused(&keys, LEADS_OUT)),
            Err(Errno::ENOENT) => return Err(refused(&keys, LEADS_NOWHERE)),
            Err(errno) => return Err(WriteError::io(&keys)(errno.into())),
        };
        let path = layout.home().join(&parent).join(&name);
        // From here on nothing is resolved again: the path has no symlink left, and one that appears is refused.
        let dir = open_beneath(
            root.dir(),
            &parent,
            OFlag::O_RDONLY | OFlag::O_DIRECTORY,
            ResolveFlag::RESOLVE_NO_SYMLINKS,
            Mode::empty(),
        )
        .map_err(|errno| WriteError::io(&layout.home().join(&parent))(errno.into()))?;
        let stat = nix::sys::stat::fstat(&dir).map_err(|errno| WriteError::io(&path)(errno.into()))?;
        if stat.st_uid != nix::unistd::geteuid().as_raw() {
            return Err(refused(&layout.home().join(&parent), "is owned by somebody else"));
        }
        Ok(Some(Self { dir, name, path, made_in: None }))
    }

    /// The place; `~/.ssh` is made, 0700, when it is missing.
    pub(super) fn find_or_make(layout: &Layout) -> Result<Self, WriteError> {
        if let Some(place) = Self::find(layout)? {
            return Ok(place);
        }
        let home = File::open(layout.home()).map_err(WriteError::io(layout.home()))?;
        let io = |errno: Errno| WriteError::io(&layout.ssh_dir())(errno.into());
        mkdirat(&home, ".ssh", Mode::S_IRWXU).map_err(io)?;
        home.sync_all().map_err(WriteError::io(layout.home()))?;
        let mut place = Self::find(layout)?.ok_or(Errno::ENOENT).map_err(io)?;
        place.made_in = Some(home.into());
        Ok(place)
    }

    /// Makes what was renamed in the directory survive a power cut.
    pub(super) fn sync(&self) -> Result<(), WriteError> {
        nix::unistd::fsync(&self.dir).map_err(|errno| WriteError::io(&self.path)(errno.into()))
    }

    /// Keeps a directory that was made for the file: it holds the file now.
    pub(super) fn keep_directory(&mut self) {
        self.made_in = None;
    }

    /// Reads the file through one descriptor, which is checked before a byte of it is used.
    pub(super) fn read(&self) -> Result<Option<Snapshot>, WriteError> {
        let Some((mut file, metadata)) = self.open()? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.size()).unwrap_or(0) + 1);
        file.read_to_end(&mut bytes).map_err(WriteError::io(&self.path))?;
        Ok(Some(Snapshot { file, metadata, keys: KeyFile::parse(bytes) }))
    }

    /// Whether the file is what it was, content included.
    pub(super) fn is_still(&self, before: Option<&Snapshot>) -> Result<bool, WriteError> {
        self.is_as(before, |file, before| {
            private::holds(file, before.keys.bytes()).map_err(WriteError::io(&self.path))
        })
    }

    /// Whether the file is what it was, as far as can be told without reading it.
    pub(super) fn seems(&self, before: Option<&Snapshot>) -> Result<bool, WriteError> {
        self.is_as(before, |_, _| Ok(true))
    }

    /// The same while one of our own gives it a second name.
    pub(super) fn seems_with_a_name_more(&self, before: &Snapshot) -> Result<bool, WriteError> {
        let same = |now: &fs::Metadata| {
            own_state(now) == own_state(&before.metadata) && now.nlink() == before.metadata.nlink() + 1
        };
        Ok(self.open()?.is_some_and(|(_, now)| same(&now)))
    }

    fn is_as(
        &self,
        before: Option<&Snapshot>,
        content: impl FnOnce(&File, &Snapshot) -> Result<bool, WriteError>,
    ) -> Result<bool, WriteError> {
        match (before, self.open()?) {
            (None, None) => Ok(true),
            (Some(before), Some((file, metadata))) if state(&before.metadata) == state(&metadata) => {
                content(&file, before)
            }
            _ => Ok(false),
        }
    }

    /// Which file it is, if there is one: its device and inode.
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        let stat = nix::sys::stat::fstatat(&self.dir, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        stat.ok().map(|stat| (stat.st_dev, stat.st_ino))
    }

    fn open(&self) -> Result<Option<(File, fs::Metadata)>, WriteError> {
        let refused = |reason| Err(WriteError::Refused { path: self.path.clone(), reason });
        // O_NONBLOCK: opening a FIFO must not wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.dir, self.name.as_os_str(), flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            // A socket, or a device without a driver.
            Err(Errno::ENXIO) => return refused("is not a regular file"),
            Err(errno) => return Err(WriteError::io(&self.path)(errno.into())),
        };
        let metadata = file.metadata().map_err(WriteError::io(&self.path))?;
        if kind_of(&file)? != SFlag::S_IFREG {
            return refused("is not a regular file");
        }
        if metadata.uid() != nix::unistd::geteuid().as_raw() {
            return refused("is owned by somebody else");
        }
        Ok(Some((file, metadata)))
    }

    /// Removes the temporary files of killed runs. The caller holds the lock, so none of them is in use.
    pub(super) fn sweep(&self) {
        for name in self.leftovers() {
            let _ = unlinkat(&self.dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }

    /// Whether there are temporary files, of killed runs or of one that is at work.
    pub(super) fn has_leftovers(&self) -> bool {
        self.leftovers().next().is_some()
    }

    fn leftovers(&self) -> impl Iterator<Item = OsString> {
        let prefix = self.temp_prefix();
        let listing = fs::read_dir(format!("/proc/self/fd/{}", self.dir.as_raw_fd()));
        let names = listing.into_iter().flatten().filter_map(Result::ok).map(|entry| entry.file_name());
        names.filter(move |name| name.as_bytes().starts_with(prefix.as_bytes()))
    }

    /// How the names of our temporary files start: hidden, and of no use to sshd.
    pub(super) fn temp_prefix(&self) -> OsString {
        let mut prefix = OsString::from(".");
        prefix.push(&self.name);
        prefix.push(crate::common::private::TEMP_PREFIX);
        prefix
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(home) = self.made_in.take() {
            // It is removed only while it is empty, so a failed run leaves nothing behind and takes nothing away.
            let _ = unlinkat(&home, ".ssh", UnlinkatFlags::RemoveDir);
        }
    }
}

/// The directory beneath `root` and the name in it that `authorized_keys` stands for, every symlink followed by what it says, outside as
/// well: only where the last one leads counts.
///
/// Which name the kernel knows for a file that is open would be another one while it is renamed: by an editor that keeps the old
/// one, or in exchange for its successor by one of our own.
fn follow(root: &Root, ssh: Held) -> Result<(PathBuf, OsString), Errno> {
    let mut dir = ssh.fd;
    let mut name = OsString::from("authorized_keys");
    for followed in 0..MOST_LINKS {
        let target = match readlinkat(&dir, name.as_os_str()) {
            Err(Errno::EINVAL) => return Ok((root.place_of(&dir)?, name)),
            Err(Errno::ENOENT) if followed == 0 => return Ok((root.place_of(&dir)?, name)),
            target => PathBuf::from(target?),
        };
        if target.as_os_str().as_bytes().ends_with(b"/") {
            return Err(Errno::ENOTDIR);
        }
        let (above, Some(last)) = split_last(&target) else { return Err(Errno::EISDIR) };
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { &above };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        dir = openat(&dir, above, flags, Mode::empty())?;
        name = last;
    }
    Err(Errno::ELOOP)
}

fn kind_of(file: &File) -> Result<SFlag, WriteError> {
    let stat = nix::sys::stat::fstat(file)
        .map_err(|errno| WriteError::io(Path::new("fstat"))(io::Error::from(errno)))?;
    Ok(kind(&stat))
}
