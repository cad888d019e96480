//! Looking at one name: what is there, and what its content is.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Statx, StatxFlags, StatxTimestamp, makedev, openat, statx,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::event::Kind;
use crate::sys::lease;

/// What a name leads to, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The file system, as stat(2) numbers it.
    pub device: u64,
    /// Its number there, which another one gets when it is gone.
    pub inode: u64,
    /// When it was made, in nanoseconds; 0 where the file system does not know. Tells those two apart.
    pub born: i64,
}

/// What the system says about a file. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Which one it is.
    pub identity: Identity,
    /// Bytes.
    pub size: u64,
    /// When its content was modified, as far as programs say.
    pub modified: i64,
    /// When anything about it was changed, which no program can say otherwise.
    pub changed: i64,
    /// Permission bits.
    pub mode: u32,
    /// Its owner.
    pub owner: (u32, u32),
    /// How many names it has.
    pub links: u32,
}

impl Stat {
    fn of(stat: &Statx) -> Self {
        let kind = match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        };
        let born = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        let stat = Self {
            kind,
            identity: Identity {
                device: makedev(stat.stx_dev_major, stat.stx_dev_minor),
                inode: stat.stx_ino,
                born: if born { nanoseconds(stat.stx_btime) } else { 0 },
            },
            size: stat.stx_size,
            modified: nanoseconds(stat.stx_mtime),
            changed: nanoseconds(stat.stx_ctime),
            mode: u32::from(stat.stx_mode) & 0o7777,
            owner: (stat.stx_uid, stat.stx_gid),
            links: stat.stx_nlink,
        };
        #[cfg(test)]
        let stat = if COARSE.get() { stat.coarse() } else { stat };
        stat
    }

    #[cfg(test)]
    fn coarse(self) -> Self {
        let whole = |time: i64| time - time % 1_000_000_000;
        let identity = Identity { born: 0, ..self.identity };
        Self { identity, modified: whole(self.modified), changed: whole(self.changed), ..self }
    }

    /// The last moment at which it may have been changed, as far as its time tells.
    pub fn changed_by(&self) -> i64 {
        latest(self.changed)
    }

    /// Whether it may have been changed since without another time.
    pub fn is_coarse(&self) -> bool {
        self.changed_by() != self.changed
    }

    /// Whether both are the same file, as its content and metadata may have changed in between.
    pub fn is(&self, other: &Self) -> bool {
        self.kind == other.kind && self.identity == other.identity
    }
}

#[cfg(test)]
thread_local! {
    /// Whether this thread sees a file system that tells no birth and counts whole seconds.
    pub(super) static COARSE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// A time that does not fit, which only a forged one is, counts as the last that does.
fn nanoseconds(time: StatxTimestamp) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec.into())
}

/// The last moment that is written as `time`: some file systems count whole seconds, or every second one.
pub fn latest(time: i64) -> i64 {
    if time % 1_000_000_000 == 0 { time.saturating_add(1_999_999_999) } else { time }
}

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// What is at `name` in `dir`; a symlink is not followed. `None` when nothing is there.
pub fn at(dir: impl AsFd, name: &[u8]) -> io::Result<Option<Stat>> {
    match statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, WANTED) {
        Ok(stat) => Ok(Some(Stat::of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What is open.
pub fn open(file: impl AsFd) -> io::Result<Stat> {
    Ok(Stat::of(&statx(file, "", AtFlags::EMPTY_PATH, WANTED)?))
}

/// Opens the directory `name` in `dir`, not through a symlink.
pub fn open_directory(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?)
}

/// A regular file that was looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// What the open file is.
    pub stat: Stat,
    /// Whether somebody has it open for writing; `None` where that cannot be known.
    pub being_written: Option<bool>,
    /// Who wrote it, as long as nobody else has since.
    pub origin: Option<String>,
    /// Of its content, when it is small enough to be read.
    pub sha256: Option<[u8; 32]>,
}

/// Looks into the regular file `name` in `dir`. Its content is read when it is no larger than `limit`.
///
/// # Errors
/// `EAGAIN` when it changed while it was read; otherwise what the system says.
pub fn into(dir: impl AsFd, name: &[u8], limit: u64) -> io::Result<Content> {
    // Opening a FIFO that has taken the file's place must not wait for anybody.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(openat(dir, name, flags, Mode::empty())?);
    let stat = open(&file)?;
    if stat.kind != Kind::File {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let being_written = lease::is_being_written(&file);
    let read = being_written != Some(true) && stat.size <= limit;
    let sha256 = if read { Some(hash(&file, limit)?) } else { None };
    if read && open(&file)? != stat {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(Content { stat, being_written, origin: origin(&file, &stat), sha256 })
}

fn hash(file: &File, limit: u64) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = [0; 1 << 14];
    // One that grows while it is read is found out afterwards.
    let mut rest = file.take(limit.saturating_add(1));
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The extended attribute in which a program says that it wrote a file: `v1 ORIGIN SIZE MTIME_NS`.
pub const ORIGIN: &str = "user.akeys.origin";

/// Who wrote the file. The attribute counts only while size and time are still what it says: a later edit is nobody's.
fn origin(file: &File, stat: &Stat) -> Option<String> {
    let mut value = [0; 256];
    let length = rustix::fs::fgetxattr(file, ORIGIN, &mut value[..]).ok()?;
    let mut words = std::str::from_utf8(value.get(..length)?).ok()?.split(' ');
    let (version, origin, size, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
    let fits = version == "v1"
        && (1..=128).contains(&origin.len())
        && origin.bytes().all(plain)
        && words.next().is_none()
        && size.parse() == Ok(stat.size)
        && time.parse() == Ok(stat.modified);
    fits.then(|| origin.to_owned())
}
