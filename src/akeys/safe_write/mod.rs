//! Changing `authorized_keys` without ever losing it.
//!
//! The file is replaced, never written in place: the new content is complete and on disk under another name in the same
//! directory before one rename makes it the file. Interrupted anywhere, by a full disk, a signal or a power cut, the old
//! or the new file is there, whole. Mode, group, ACL and other extended attributes are carried over; a symlink inside the
//! home stays and its target is replaced; whatever else is not a plain file of the account is refused with its reason.
//!
//! Our own programs exclude each other by a [`Lock`]. An editor does not know it, so the file is read again just before
//! the rename, and when it changed, the change is made once more on what is there then. The rename itself exchanges the two
//! files: what an editor saved in between comes out under our name, is kept like any earlier content, and is told.
//!
//! What a command has worked out before the lock, so that a refusal leaves no trace, is written as it is while the file is still
//! the one that was looked at: a large file is read and judged once.
//!
//! A change is a [`Patch`], and no change is made that the [`Guard`] refuses: there is no other way to write the file.

mod attributes;
mod backup;
mod place;
mod temp;

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;

use super::guard::{Blocked, Guard};
use super::sshd::memory;
use crate::authkeys::{KeyFile, Patch};
use crate::common::lock::Lock;
use crate::common::private::PrivateError;

pub use backup::{Kept, history};

use place::{Place, Snapshot};
use temp::{Commit, Temp};

/// What is said when somebody saved between the last look and the rename.
const SAVED_MEANWHILE: &str =
    "another program saved the file at the same moment; what it wrote is kept: akeys diff, akeys undo";

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
    /// The guard refuses the change.
    #[error("{}: {blocked}", Escaped::os(path))]
    Blocked {
        /// The file.
        path: PathBuf,
        /// Why.
        blocked: Blocked,
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

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// What was done.
    pub outcome: Outcome,
    /// What the user should know about it.
    pub notes: Vec<String>,
}

/// The content of `~/.ssh/authorized_keys`; `None` when there is no such file. Creates nothing.
pub fn read(layout: &Layout) -> Result<Option<KeyFile>, WriteError> {
    Ok(snapshot(layout)?.map(|snapshot| snapshot.keys))
}

fn snapshot(layout: &Layout) -> Result<Option<Snapshot>, WriteError> {
    let Some(place) = Place::find(layout)? else { return Ok(None) };
    // A run that was killed right behind its rename has left the old content, and a command that finds nothing to do writes
    // nothing that would sweep it. Whoever holds the lock is still at work.
    if place.has_leftovers()
        && let Ok(_lock) = Lock::acquire_at_once(layout)
    {
        place.sweep();
        backup::sweep(layout, &place);
    }
    place.read()
}

/// What the guard says to a change of `file`, the content of `~/.ssh/authorized_keys`, that is not made yet.
pub fn judge(
    layout: &Layout,
    guard: &Guard<'_>,
    file: &KeyFile,
    patch: &Patch,
) -> Result<Vec<String>, WriteError> {
    let path = layout.authorized_keys();
    guard.check(file, patch).map_err(|blocked| WriteError::Blocked { path, blocked })
}

/// A change, worked out and judged for the file as it was read.
#[derive(Debug)]
pub struct Planned<T> {
    before: Option<Snapshot>,
    patch: Patch,
    /// What it comes to, for the report.
    pub what: T,
    /// What the user should know about it.
    pub notes: Vec<String>,
}

impl<T> Planned<T> {
    /// Whether nothing has to change.
    pub fn is_none(&self) -> bool {
        self.patch.is_none()
    }

    fn of<E: From<WriteError>>(
        layout: &Layout,
        guard: &Guard<'_>,
        before: Option<Snapshot>,
        change: impl FnOnce(&KeyFile) -> Result<(Patch, T), E>,
    ) -> Result<Self, E> {
        let empty = KeyFile::default();
        let keys = before.as_ref().map_or(&empty, |snapshot| &snapshot.keys);
        let (patch, what) = change(keys)?;
        let notes = if patch.is_none() { Vec::new() } else { judge(layout, guard, keys, &patch)? };
        Ok(Self { before, patch, what, notes })
    }
}

/// Works out what `change` answers with, before the lock: so a refusal leaves no trace. Creates nothing.
pub fn look<T, E: From<WriteError>>(
    layout: &Layout,
    guard: &Guard<'_>,
    change: impl FnOnce(&KeyFile) -> Result<(Patch, T), E>,
) -> Result<Planned<T>, E> {
    Planned::of(layout, guard, snapshot(layout)?, change)
}

/// Makes the change that [`look`] has worked out, as it is while the file is still that one; otherwise `change` is asked again.
/// Its answer may depend on nothing but the file, then.
pub fn make<T, E: From<WriteError>>(
    layout: &Layout,
    held: &Lock,
    guard: &Guard<'_>,
    seen: Planned<T>,
    change: impl FnMut(&KeyFile) -> Result<(Patch, T), E>,
) -> Result<Planned<T>, E> {
    write(layout, held, guard, Some(seen), change)
}

/// Makes the change that `change` answers with in `~/.ssh/authorized_keys`.
///
/// A missing file is empty, and is created 0600 in a directory 0700. `change` may be asked again when somebody else
/// changed the file meanwhile. The previous content goes to `~/.local/state/akeys/backups/`.
pub fn update<E: From<WriteError>>(
    layout: &Layout,
    held: &Lock,
    guard: &Guard<'_>,
    mut change: impl FnMut(&KeyFile) -> Result<Patch, E>,
) -> Result<Done, E> {
    let made = write(layout, held, guard, None, |file| Ok::<_, E>((change(file)?, ())))?;
    let outcome = if made.is_none() { Outcome::Unchanged } else { Outcome::Replaced };
    Ok(Done { outcome, notes: made.notes })
}

fn write<T, E: From<WriteError>>(
    layout: &Layout,
    held: &Lock,
    guard: &Guard<'_>,
    mut seen: Option<Planned<T>>,
    mut change: impl FnMut(&KeyFile) -> Result<(Patch, T), E>,
) -> Result<Planned<T>, E> {
    for _ in 0..ATTEMPTS {
        let mut place = Place::find_or_make(layout)?;
        place.sweep();
        let mut planned = match seen.take() {
            // That its bytes are the same as well is made sure of just before the rename.
            Some(seen) if place.seems(seen.before.as_ref())? => seen,
            _ => Planned::of(layout, guard, place.read()?, &mut change)?,
        };
        if planned.is_none() {
            return Ok(planned);
        }
        let before = planned.before.as_ref();
        if before.is_some_and(|snapshot| snapshot.metadata.nlink() > 1) {
            if backup::sweep(layout, &place) {
                continue;
            }
            let reason = "has another name (a hard link), which would keep the old content";
            return Err(WriteError::Refused { path: place.path.clone(), reason }.into());
        }
        let empty = KeyFile::default();
        let keys = before.map_or(&empty, |snapshot| &snapshot.keys);
        match replace(layout, held, &place, before, planned.patch.pieces(keys))? {
            Commit::Overtaken => continue,
            Commit::Done => {}
            Commit::Over(bytes) => {
                // An editor that wrote into the file itself has written into what was kept of it, too.
                for content in [keys.bytes(), &bytes] {
                    backup::keep_copy(layout, content).map_err(WriteError::Backup)?;
                }
                planned.notes.push(SAVED_MEANWHILE.to_owned());
            }
        }
        place.keep_directory();
        backup::prune(layout);
        place.sync()?;
        memory::may_be_kept();
        return Ok(planned);
    }
    Err(WriteError::Contended { path: layout.authorized_keys() }.into())
}

/// Puts a new content in the place of `before`, unless somebody else was there first.
fn replace<'a>(
    layout: &Layout,
    _held: &Lock,
    place: &Place,
    before: Option<&Snapshot>,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Commit, WriteError> {
    let temp = Temp::write(place, before, pieces)?;
    if !place.is_still(before)? {
        return Ok(Commit::Overtaken);
    }
    let Some(before) = before else { return temp.commit(None) };
    let kept = backup::keep(layout, before).map_err(WriteError::Backup)?;
    // Last of all: keeping it takes the time of a disk, and an editor may save meanwhile.
    let still =
        if kept.is_link() { place.seems_with_a_name_more(before) } else { place.is_still(Some(before)) };
    let commit =
        still.and_then(|still| if still { temp.commit(Some(before)) } else { Ok(Commit::Overtaken) });
    match commit {
        Ok(Commit::Done | Commit::Over(_)) => kept.settle(before),
        Ok(Commit::Overtaken) | Err(_) => kept.forget(),
    }
    commit
}

#[cfg(test)]
mod tests;
