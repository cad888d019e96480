//! Changing `authorized_keys` without ever losing it.
//!
//! The file is replaced, never written in place: the new content is complete and on disk under another name in the same
//! directory before one rename makes it the file. Interrupted anywhere, by a full disk, a signal or a power cut, the old
//! or the new file is there, whole. Mode, group, ACL and other extended attributes are carried over; a symlink inside the
//! home stays and its target is replaced; whatever else is not a plain file of the account is refused with its reason.
//!
//! Our own programs exclude each other by a [`Lock`]. An editor does not know it, so the file is read again just before
//! the rename, and when it changed, the change is made once more on what is there then.

mod attributes;
mod backup;
mod place;
mod temp;

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use crate::common::lock::Lock;
use crate::common::private::PrivateError;

pub use backup::{Kept, history};

use place::Place;
use temp::{Commit, Temp};

/// How often a file that others keep changing is tried.
const ATTEMPTS: usize = 16;

/// Why `authorized_keys` could not be read or replaced. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system said no.
    #[error("{}: {source}", Escaped::os(path))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a plain file of the account, in a directory of the account.
    #[error("{} {reason}", Escaped::os(path))]
    Refused {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A property of the file could not be given to its successor.
    #[error("{}: its {what} cannot be carried over: {source}", Escaped::os(path))]
    Carry {
        /// The file.
        path: PathBuf,
        /// The group, or the name of an extended attribute.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else changed the file between every reading and writing.
    #[error("{} keeps being changed by another program", Escaped::os(path))]
    Contended {
        /// The file.
        path: PathBuf,
    },
    /// The previous content could not be kept.
    #[error("the previous content cannot be kept: {0}")]
    Backup(#[source] PrivateError),
}

impl WriteError {
    fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }
}

/// What [`update`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing had to change; not a byte was written.
    Unchanged,
    /// The file has its new content.
    Replaced,
}

/// The content of `~/.ssh/authorized_keys`; `None` when there is no such file. Creates nothing.
pub fn read(layout: &Layout) -> Result<Option<Vec<u8>>, WriteError> {
    let Some(place) = Place::find(layout)? else { return Ok(None) };
    Ok(place.read()?.map(|snapshot| snapshot.bytes))
}

/// Replaces the content of `~/.ssh/authorized_keys` by what `change` makes of it; `None` leaves it alone.
///
/// A missing file is empty, and is created 0600 in a directory 0700. `change` may be asked again when somebody else
/// changed the file meanwhile. The previous content goes to `~/.local/state/akeys/backups/`.
pub fn update<E: From<WriteError>>(
    layout: &Layout,
    _held: &Lock,
    mut change: impl FnMut(&[u8]) -> Result<Option<Vec<u8>>, E>,
) -> Result<Outcome, E> {
    for _ in 0..ATTEMPTS {
        let mut place = Place::find_or_make(layout)?;
        place.sweep();
        let before = place.read()?;
        if before.as_ref().is_some_and(|snapshot| snapshot.metadata.nlink() > 1) {
            let reason = "has another name (a hard link), which would keep the old content";
            return Err(WriteError::Refused { path: place.path.clone(), reason }.into());
        }
        let Some(after) = change(before.as_ref().map_or(&[], |snapshot| &snapshot.bytes))? else {
            return Ok(Outcome::Unchanged);
        };
        let temp = Temp::write(&place, before.as_ref(), &after)?;
        if place.read()? != before {
            continue;
        }
        let kept = before.as_ref().map(|snapshot| backup::keep(layout, &snapshot.bytes)).transpose();
        let kept = kept.map_err(WriteError::Backup)?;
        match temp.commit(before.is_some()) {
            Ok(Commit::Done) => {}
            Ok(Commit::Overtaken) => continue,
            Err(error) => {
                if let Some(kept) = kept {
                    kept.forget();
                }
                return Err(error.into());
            }
        }
        place.keep_directory();
        backup::prune(layout);
        place.sync()?;
        return Ok(Outcome::Replaced);
    }
    Err(WriteError::Contended { path: layout.authorized_keys() }.into())
}

#[cfg(test)]
mod tests;
