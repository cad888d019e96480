//! The version store: what the paths of a workspace have lost, kept for its owner.
//!
//! A store is a directory in `~/.local/state/akeys/versions/`, one for each workspace's directory:
//!
//! | in it | what it is |
//! |---|---|
//! | `workspace` | the path of the workspace's directory |
//! | `log.jsonl` | one [`Version`] a line, in the order in which they were kept; only ever added to |
//! | `content/SHA256` | a content, once however many versions have it; never changed, and gone only when its owner lets go of it |
//! | `incoming/` | copies that are being made |
//!
//! A version is kept before its path loses it: the content is in place and on the disk before its line, and the line
//! before [`Store::keep`] returns. A crash in between leaves a version too many, never one too few. Any number of
//! processes may keep versions at once.
//!
//! A content is copied, and never linked: whoever still has the file open could change it later. Where the file system can,
//! the copy shares its blocks with the file. It is read again, and its sum compared, before anything relies on it.

mod retention;

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, fsync, linkat, unlinkat};
use serde::{Deserialize, Serialize};

use crate::copying::copy_whole;
use crate::layout::Layout;
use crate::sha256::Sum;

pub use retention::Forgotten;

/// How often a copy is begun that others can come in between.
const ATTEMPTS: u32 = 16;

/// What a path had before it was overwritten or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// When it was kept.
    pub time: Timestamp,
    /// The path, relative to the workspace.
    #[serde(with = "bytes")]
    pub path: PathBuf,
    /// Why the path lost it.
    pub reason: Reason,
    /// Who did that: the name of a grant, or whatever else marks an origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// What it was.
    #[serde(flatten)]
    pub what: Kept,
}

/// Why a path has lost what it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// It has another content now.
    Overwritten,
    /// It is gone.
    Removed,
    /// Two sides had changed it, and the other one's content was taken.
    Conflict,
}

/// What a path had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Kept {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// Time of the last modification.
        mtime: Timestamp,
        /// Permission bits, `0o7777` at most.
        mode: u32,
        /// The content, and its name in the store.
        sha256: Sum,
    },
    /// A symlink.
    Symlink {
        /// What it said.
        #[serde(with = "bytes")]
        target: PathBuf,
    },
}

/// Which path is about to lose what it has, and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Loss<'a> {
    /// Relative to the workspace, without `.` and `..`.
    pub path: &'a Path,
    /// Why.
    pub reason: Reason,
    /// Who does that.
    pub origin: Option<&'a str>,
}

/// Why a version could not be kept, or not be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system said no.
    #[error("{0}: {1}")]
    Io(&'static str, #[source] io::Error),
    /// A content in the store is not what its name says.
    #[error("the kept content {0} is damaged")]
    Damaged(Sum),
    /// The path is absolute, empty, or has `.` or `..` in it.
    #[error("not a path below a workspace")]
    BadPath,
}

/// The versions of a workspace, as a log has them.
#[derive(Debug, Default)]
pub struct History {
    /// Oldest first.
    pub versions: Vec<Version>,
    /// Lines that could not be read: a machine that lost power may have left a part of one.
    pub unreadable: usize,
}

/// The open store of one workspace. Only what is open is used, so a session that is confined by now can go on keeping.
#[derive(Debug)]
pub struct Store {
    log: File,
    content: OwnedFd,
    incoming: OwnedFd,
    real: PathBuf,
}

impl Store {
    /// Opens the store of the workspace in the directory `workspace`, and makes one if there is none.
    pub fn open(layout: &Layout, workspace: &Path) -> Result<Self, StoreError> {
        let real = fs::canonicalize(workspace).map_err(failed("find the workspace"))?;
        let store = layout.versions_of(&real);
        let (content, incoming) = (store.join("content"), store.join("incoming"));
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        for directory in [&content, &incoming] {
            private.create(directory).map_err(failed("make a version store"))?;
        }
        let named = store.join("workspace");
        if !named.exists() {
            fs::write(named, real.as_os_str().as_bytes()).map_err(failed("make a version store"))?;
        }
        let log = File::options()
            .append(true)
            .read(true)
            .create(true)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(store.join("log.jsonl"))
            .map_err(failed("open the log of versions"))?;
        let directory = |path: &Path| {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            nix::fcntl::open(path, flags, Mode::empty()).map_err(refused("open the version store"))
        };
        let opened =
            Self { log, content: directory(&content)?, incoming: directory(&incoming)?, real: store };
        opened.sweep();
        Ok(opened)
    }

    /// The workspaces of this account that have a store, by their directories' paths.
    pub fn workspaces(layout: &Layout) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        match fs::read_dir(layout.versions_dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(stores) => {
                for store in stores {
                    let path = fs::read(store?.path().join("workspace"))?;
                    found.push(PathBuf::from(std::ffi::OsString::from_vec(path)));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The directories that a confined session has to reach: where contents are kept, and where copies are made.
    pub fn directories(&self) -> [(&OwnedFd, PathBuf); 2] {
        [(&self.content, self.real.join("content")), (&self.incoming, self.real.join("incoming"))]
    }

    /// Keeps what a regular file has. `file` is open for reading, and is what `loss.path` names.
    ///
    /// # Errors
    /// Whatever they are, what was to be kept is not: the path must not lose it.
    pub fn keep(&self, file: impl AsFd, loss: &Loss<'_>) -> Result<Version, StoreError> {
        let stat = fstat(file.as_fd()).map_err(refused("look at a file"))?;
        let (sha256, size) = self.copy(file.as_fd())?;
        let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or_default();
        let mtime = Timestamp::new(stat.st_mtime, nanoseconds).unwrap_or_default();
        let what = Kept::File { size, mtime, mode: stat.st_mode & 0o7777, sha256 };
        let version = self.log(loss, what)?;
        // Until the line was there, somebody could let go of the content as one that only old versions have.
        if !self.is_kept(sha256) && self.copy(file)?.0 != sha256 {
            return Err(StoreError::Damaged(sha256));
        }
        Ok(version)
    }

    /// Keeps what a symlink says.
    pub fn keep_link(&self, target: &Path, loss: &Loss<'_>) -> Result<Version, StoreError> {
        self.log(loss, Kept::Symlink { target: target.to_owned() })
    }

    /// What was kept, of one path or of all.
    pub fn list(&self, path: Option<&Path>) -> Result<History, StoreError> {
        let unread = || failed("read the log of versions");
        let mut log = &self.log;
        log.seek(SeekFrom::Start(0)).map_err(unread())?;
        let mut history = History::default();
        for line in BufReader::new(log).split(b'\n') {
            match serde_json::from_slice::<Version>(&line.map_err(unread())?) {
                Ok(version) if !is_below(&version.path) => history.unreadable += 1,
                Ok(version) if path.is_none_or(|path| version.path == path) => {
                    history.versions.push(version);
                }
                Ok(_) => {}
                Err(_) => history.unreadable += 1,
            }
        }
        Ok(history)
    }

    /// Opens a kept content for reading.
    ///
    /// # Errors
    /// `Damaged` when it is not what it was.
    pub fn content(&self, sha256: Sum) -> Result<File, StoreError> {
        let file = self.stored(sha256).map_err(refused("open a kept content"))?;
        let (found, _) = Sum::of_file(&file).map_err(failed("read a kept content"))?;
        if found == sha256 { Ok(file) } else { Err(StoreError::Damaged(sha256)) }
    }

    fn stored(&self, sha256: Sum) -> Result<File, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        open_in(&self.content, &sha256.to_string(), flags)
    }

    /// Whether the store has this content already.
    fn has(&self, sha256: Sum) -> Result<bool, StoreError> {
        match self.stored(sha256) {
            Err(Errno::ENOENT) => Ok(false),
            _ => self.content(sha256).map(|_| true),
        }
    }

    /// Copies the file into the store.
    fn copy(&self, file: impl AsFd) -> Result<(Sum, u64), StoreError> {
        let (name, into) = self.begin_copy()?;
        let kept = fill(file, &into).and_then(|(sha256, size)| {
            if !self.has(sha256)? {
                self.name(&name, sha256)?;
            }
            Ok((sha256, size))
        });
        let _ = unlinkat(&self.incoming, name.as_str(), UnlinkatFlags::NoRemoveDir);
        kept
    }

    /// An empty file for a copy. Its lock says that this process is still there.
    fn begin_copy(&self) -> Result<(String, File), StoreError> {
        let unmade = || refused("make a copy for the version store");
        for _ in 0..ATTEMPTS {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let name = format!("{}-{:x}", std::process::id(), since.as_nanos());
            let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
            let into = match open_in(&self.incoming, &name, flags) {
                Err(Errno::EEXIST) => continue,
                made => made.map_err(unmade())?,
            };
            into.lock().map_err(failed("lock a copy"))?;
            // Before it was locked, it was nobody's, and may have been swept.
            if fstat(&into).map_err(unmade())?.st_nlink > 0 {
                return Ok((name, into));
            }
        }
        Err(unmade()(Errno::EAGAIN))
    }

    /// Gives the copy its name as a content.
    fn name(&self, copy: &str, sha256: Sum) -> Result<(), StoreError> {
        let content = sha256.to_string();
        match linkat(&self.incoming, copy, &self.content, content.as_str(), AtFlags::empty()) {
            Ok(()) => fsync(&self.content).map_err(refused("sync the version store")),
            // Another session has just kept the same.
            Err(Errno::EEXIST) => self.content(sha256).map(drop),
            Err(errno) => Err(refused("keep a content")(errno)),
        }
    }

    /// Adds one line, whole, and waits until it is on the disk.
    fn log(&self, loss: &Loss<'_>, what: Kept) -> Result<Version, StoreError> {
        if !is_below(loss.path) {
            return Err(StoreError::BadPath);
        }
        let version = Version {
            time: Timestamp::now(),
            path: loss.path.to_owned(),
            reason: loss.reason,
            origin: loss.origin.map(str::to_owned),
            what,
        };
        let unwritten = || failed("write the log of versions");
        self.log.lock().map_err(unwritten())?;
        let added = self.add(&version).map_err(unwritten());
        self.log.unlock().map_err(unwritten())?;
        added.map(|()| version)
    }

    fn add(&self, version: &Version) -> io::Result<()> {
        let mut log = &self.log;
        let mut line = serde_json::to_vec(version)?;
        line.push(b'\n');
        let mut last = [b'\n'];
        if log.seek(SeekFrom::End(0))? > 0 {
            log.seek(SeekFrom::End(-1))?;
            log.read_exact(&mut last)?;
        }
        if last != [b'\n'] {
            // A part of a line, from a full disk or a crash, must not take this one with it.
            line.insert(0, b'\n');
        }
        log.write_all(&line).and_then(|()| log.sync_data())
    }

    /// Removes the copies of processes that are no more.
    fn sweep(&self) {
        let incoming = self.real.join("incoming");
        for entry in fs::read_dir(incoming).into_iter().flatten().flatten() {
            if let Ok(file) = File::open(entry.path())
                && file.try_lock().is_ok()
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn fill(file: impl AsFd, into: &File) -> Result<(Sum, u64), StoreError> {
    copy_whole(file.as_fd(), into.as_fd())
        .and_then(|()| fsync(into.as_fd()))
        .map_err(refused("copy a file into the version store"))?;
    Sum::of_file(into).map_err(failed("read a copy"))
}

fn open_in(directory: &OwnedFd, name: &str, flags: OFlag) -> Result<File, Errno> {
    // openat2(2) takes no mode for a file that it does not make.
    let made = flags.contains(OFlag::O_CREAT);
    let mode = if made { Mode::S_IRUSR | Mode::S_IWUSR } else { Mode::empty() };
    let resolve = nix::fcntl::ResolveFlag::RESOLVE_NO_SYMLINKS;
    crate::beneath::open_beneath(directory, Path::new(name), flags, resolve, mode).map(File::from)
}

/// Whether `path` names something below a workspace and nothing else.
fn is_below(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    plain && !bytes.is_empty() && !bytes.contains(&0)
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    move |error| StoreError::Io(what, error)
}

fn refused(what: &'static str) -> impl FnOnce(Errno) -> StoreError {
    move |errno| StoreError::Io(what, errno.into())
}

/// Bytes in JSON: a string where they are UTF-8, otherwise `{"hex": "…"}`.
mod bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize as _, Serializer, de::Error as _};

    use crate::hex;

    #[derive(serde::Serialize, Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Bytes { hex: String },
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        let form = match path.to_str() {
            Some(text) => Form::Text(text.to_owned()),
            None => Form::Bytes { hex: hex::encode(path.as_os_str().as_bytes()) },
        };
        form.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(text.into()),
            Form::Bytes { hex: digits } => hex::decode(&digits)
                .map(|bytes| OsString::from_vec(bytes).into())
                .ok_or_else(|| D::Error::custom("not hexadecimal digits")),
        }
    }
}

#[cfg(test)]
mod tests;
