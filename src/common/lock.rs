//! One lock per account for everything that the toolkit's programs change.
//!
//! The lock is `flock(2)` on `~/.local/state/akeys/lock`. That file stays: a lock file that is removed while another
//! process waits for it locks nothing. Whoever holds the lock is the only one with temporary files, so whatever temporary
//! file is found then was left by a run that was killed, and is swept.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use rrsync_rs::layout::Layout;
use rrsync_rs::trusted::{self, Distrust};

use super::private::{self, PrivateError, TEMP_PREFIX};

/// How long another program may have the lock: one that asks many accounts has it for a while.
const PATIENCE: Duration = Duration::from_mins(5);

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock of the account that `layout` describes, and not for ever: whoever has it may be hostile to whoever
    /// acts for the account, or have been stopped.
    pub fn acquire(layout: &Layout) -> Result<Self, PrivateError> {
        Self::acquire_within(layout, PATIENCE)
    }

    /// Takes the lock, unless another program has it.
    pub fn acquire_at_once(layout: &Layout) -> Result<Self, PrivateError> {
        Self::acquire_within(layout, Duration::ZERO)
    }

    fn acquire_within(layout: &Layout, patience: Duration) -> Result<Self, PrivateError> {
        let state = layout.state_dir();
        private::directory(&state)?;
        let path = state.join("lock");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(&path)
            .map_err(PrivateError::io(&path))?;
        let metadata = file.metadata().map_err(PrivateError::io(&path))?;
        let kind = if metadata.is_file() { Ok(()) } else { Err(Distrust::Kind("regular file")) };
        kind.and_then(|()| trusted::check(metadata.uid(), metadata.mode()))
            .map_err(|reason| PrivateError::Untrusted { path: path.clone(), reason })?;
        wait_for(&file, &path, patience)?;
        for dir in [
            layout.grants_dir(),
            layout.key_dir(),
            layout.next_key_dir(),
            layout.signer_dir(),
            bundles_dir(layout),
            federations_dir(layout),
            layout.issued_dir(),
            layout.state_dir().join("backups"),
            layout.state_dir().join("rotations"),
        ] {
            sweep(&dir);
        }
        // The cards of each federation, and those of each account.
        for dir in [layout.cards_dir(), layout.issued_dir()] {
            for below in fs::read_dir(dir).into_iter().flatten().flatten() {
                sweep(&below.path());
            }
        }
        Ok(Self { _file: file })
    }
}

/// Takes the lock on `file` as soon as it is free.
fn wait_for(file: &File, path: &Path, patience: Duration) -> Result<(), PrivateError> {
    let end = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(PrivateError::io(path)(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => {
                return Err(PrivateError::Busy { path: path.to_owned() });
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// `~/.config/akeys/bundles`: bundles that were imported.
pub fn bundles_dir(layout: &Layout) -> PathBuf {
    layout.config_dir().join("bundles")
}

/// `~/.config/akeys/federations`: federations whose private keys are here.
pub fn federations_dir(layout: &Layout) -> PathBuf {
    layout.config_dir().join("federations")
}

/// Removes what killed runs left in `dir`. A failure is no reason to stop: the next run sweeps again.
fn sweep(dir: &Path) {
    let stale = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let ours = entry.file_name().to_str()?.starts_with(TEMP_PREFIX);
        (ours && entry.file_type().ok()?.is_file()).then(|| entry.path())
    };
    for path in fs::read_dir(dir).into_iter().flatten().filter_map(stale) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_private_stays_and_sweeps() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::new(scratch.path()).unwrap();
        fs::create_dir_all(layout.grants_dir()).unwrap();
        fs::write(layout.grants_dir().join(".akeys-Xy12ab"), "").unwrap();
        fs::write(layout.grants_dir().join("keep.toml"), "").unwrap();
        let held = Lock::acquire(&layout).unwrap();
        let busy = Lock::acquire_within(&layout, Duration::from_millis(20)).unwrap_err().to_string();
        assert!(busy.ends_with("/lock is held by another program"), "{busy}");
        drop(held);
        let names: Vec<_> =
            fs::read_dir(layout.grants_dir()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["keep.toml"]);
        assert_eq!(layout.state_dir().join("lock").metadata().unwrap().mode() & 0o7777, 0o600);
    }
}
