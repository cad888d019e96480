//! What was found out at some cost, kept in the state directory for the next session.
//!
//! Such a file is a convenience. What is wrong with it, whoever may write it, and a disk that is full only mean that the next session
//! finds out once more.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::trusted::{self, Kind};

/// More than this is none of ours.
const MOST: u64 = 1 << 16;

/// What most have room in.
const USUAL: usize = 1 << 13;

/// What stands in `file`, when only this account or root can have written it.
pub fn recall<T: DeserializeOwned>(file: &Path) -> Option<T> {
    let file = trusted::open(file, Kind::File).ok()?;
    let mut text = Vec::with_capacity(USUAL);
    file.take(MOST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Puts `what` into `file`, if that can be done.
pub fn remember<T: Serialize>(file: &Path, what: &T) {
    let write = || -> io::Result<()> {
        let directory = file.parent().ok_or(io::ErrorKind::NotFound)?;
        crate::audit::make_private(directory)?;
        let mut new = file.as_os_str().to_owned();
        new.push(format!(".{}", std::process::id()));
        let text = serde_json::to_vec(what)?;
        // One of a process of this number that was killed.
        let _ = std::fs::remove_file(&new);
        let made = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&new)?;
        let written = made.write_all_at(&text, 0).and_then(|()| std::fs::rename(&new, file));
        if written.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        written
    };
    let _ = write();
}
