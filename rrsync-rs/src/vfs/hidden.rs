//! Names that only the gate and afiles give: of what is on its way to its own name, or out of the workspace.
//!
//! They are not there for any client. A session that is killed leaves some behind; so it keeps a list of those that it
//! has, in a journal that is locked for as long as it lives, and the next session removes what is in the journals of
//! the dead.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::audit::make_private;
use crate::beneath::Root;
use crate::removal::remove_all;
use nix::fcntl::OFlag;

/// How the hidden names begin.
pub(super) const PREFIX: &str = ".akeys-upload-";

/// Sessions of one workspace at once. A further one has no journal, and what it leaves when it is killed stays.
const MOST: u32 = 1000;

/// The hidden names that a session has at the moment.
#[derive(Debug)]
pub struct Journal {
    file: File,
    open: Cell<u32>,
}

impl Journal {
    /// Takes a journal in `directory` for a workspace, after all that are nobody's any more have been worked off.
    pub fn open(directory: &Path, root: &Root) -> io::Result<Option<Self>> {
        make_private(directory)?;
        let mut own = None;
        for number in 0..MOST {
            let path = directory.join(number.to_string());
            let mut options = File::options();
            options.read(true).append(true).create(own.is_none()).mode(0o600);
            let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
            let mut file = match options.custom_flags(flags.bits()).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                opened => opened?,
            };
            if file.try_lock().is_err() {
                continue;
            }
            let mut names = Vec::new();
            file.read_to_end(&mut names)?;
            for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
                remove(root, Path::new(OsStr::from_bytes(name)));
            }
            file.set_len(0)?;
            if own.is_none() {
                own = Some(Self { file, open: Cell::new(0) });
            }
        }
        Ok(own)
    }

    /// There is something under a hidden name from now on.
    pub fn begin(&self, at: &Path) -> io::Result<()> {
        (&self.file).write_all(&[at.as_os_str().as_bytes(), b"\0"].concat())?;
        self.open.set(self.open.get() + 1);
        Ok(())
    }

    /// Keeps what is written down until what this answers with is dropped. Names that are no more do no harm.
    pub fn hold(&self) -> Holding<'_> {
        self.open.set(self.open.get() + 1);
        Holding(self)
    }

    /// One of them is no more.
    pub fn end(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        if self.open.get() == 0 {
            let _ = self.file.set_len(0);
        }
    }
}

/// Until it is dropped, nothing is forgotten.
#[derive(Debug)]
pub struct Holding<'j>(&'j Journal);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A hidden name that nothing has yet.
pub fn name() -> OsString {
    thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });
    let count = COUNT.replace(COUNT.get() + 1);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{PREFIX}{}-{:x}-{count:x}", std::process::id(), since.as_nanos()).into()
}

/// Whether `name` is one of them.
pub fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
}

/// Removes what a dead session has left at `at`.
fn remove(root: &Root, at: &Path) {
    let Some(name) = at.file_name().filter(|name| is_hidden(name.as_bytes())) else { return };
    if let Ok(dir) = root.hold_plain(at.parent().unwrap_or(Path::new(""))) {
        let _ = remove_all(&dir.fd, name);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_dead_are_cleaned_up_after_and_the_living_are_not() {
        let scratch = std::env::temp_dir().join(format!("journal-{}", std::process::id()));
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(scratch.join("w/sub")).unwrap();
        fs::create_dir_all(scratch.join("outside")).unwrap();
        let root = Root::open(&scratch.join("w")).unwrap();
        let open = || Journal::open(&scratch.join("state/j"), &root).unwrap().unwrap();
        let leave = |journal: &Journal, at: &str| {
            fs::write(root.real().join(at), "half").unwrap();
            journal.begin(Path::new(at)).unwrap();
        };
        let (dead, other_dead, alive) = (open(), open(), open());
        leave(&dead, &format!("{PREFIX}1"));
        leave(&other_dead, &format!("sub/{PREFIX}2\n"));
        leave(&alive, &format!("{PREFIX}3"));
        leave(&other_dead, "precious");
        leave(&other_dead, &format!("../outside/{PREFIX}4"));
        std::os::unix::fs::symlink("../outside", root.real().join("link")).unwrap();
        other_dead.begin(Path::new(&format!("link/{PREFIX}4"))).unwrap();
        drop((dead, other_dead));
        let next = open();
        let left = |at: &str| root.real().join(at).exists();
        assert!(!left(&format!("{PREFIX}1")) && !left(&format!("sub/{PREFIX}2\n")));
        assert!(left(&format!("{PREFIX}3")) && left("precious") && left(&format!("../outside/{PREFIX}4")));
        next.begin(Path::new("a")).unwrap();
        next.begin(Path::new("b")).unwrap();
        next.end();
        assert_eq!(next.file.metadata().unwrap().len(), 4);
        next.end();
        assert_eq!(next.file.metadata().unwrap().len(), 0);
        {
            let _held = next.hold();
            next.begin(Path::new("a")).unwrap();
            next.end();
            assert_eq!(next.file.metadata().unwrap().len(), 2);
        }
        assert_eq!(next.file.metadata().unwrap().len(), 0);
        drop(next);
        assert_eq!(fs::read_dir(scratch.join("state/j")).unwrap().count(), 3);
        let names: std::collections::HashSet<_> = (0..1000).map(|_| name()).collect();
        assert_eq!(names.len(), 1000);
        fs::remove_dir_all(scratch).unwrap();
    }
}
