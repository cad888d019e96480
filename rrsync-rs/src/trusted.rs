//! Files whose content the gate believes: opened first, then checked by descriptor.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

/// Why a file or directory is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// It could not be opened.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is of another kind than it has to be.
    #[error("is not a {0}")]
    Kind(&'static str),
    /// Its owner is neither this account nor root.
    #[error("is owned by somebody else")]
    Owner,
    /// Somebody but the owner may write it.
    #[error("can be written by group or others")]
    Mode,
}

/// What has to stand at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// Opens `path` for reading when it is of `kind` and [`check`] passes; a symlink as the last component is refused.
pub fn open(path: &Path, kind: Kind) -> Result<File, Distrust> {
    // O_NONBLOCK: a FIFO in a file's place must not hang the session before its type is checked.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
    let metadata = file.metadata()?;
    match kind {
        Kind::File if !metadata.is_file() => return Err(Distrust::Kind("regular file")),
        Kind::Directory if !metadata.is_dir() => return Err(Distrust::Kind("directory")),
        Kind::File | Kind::Directory => {}
    }
    check(metadata.uid(), metadata.mode())?;
    Ok(file)
}

/// sshd's `StrictModes` rule (`safe_path()` in misc.c): owned by the user or root, not writable by group or others.
pub fn check(owner: u32, mode: u32) -> Result<(), Distrust> {
    if owner != nix::unistd::geteuid().as_raw() && owner != 0 {
        return Err(Distrust::Owner);
    }
    if mode & 0o022 != 0 {
        return Err(Distrust::Mode);
    }
    Ok(())
}
