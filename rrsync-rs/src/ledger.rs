//! How much there is in a workspace: one number of bytes and one of files, shared by all sessions, for its quota.
//!
//! The count is a file in the owner's state directory. Whoever changes how much there is holds its lock from the look at the
//! file to the change of the count: two sessions that empty one file at once have made one room, not two. What a session is
//! about to write it takes first, so a session that dies leaves a count that is too high, never too low. What others do in the
//! workspace the count does not see; so it is made anew, by looking at every file, when there is none, after a day, and before
//! anything is refused, though not more often than every half minute.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::audit::make_private;
use crate::grant::Quota;

/// Seconds after which a count is made anew whatever it says.
const OLD: u64 = 24 * 3600;

/// Seconds before a count is made anew because something does not fit.
const FRESH: u64 = 30;

/// Room for the text of a count, which always has the same length.
const LENGTH: usize = 80;

/// Bytes of content, and files, directories and symlinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes, by the sizes of the files: a hole counts in full.
    pub bytes: u64,
    /// Files, directories and symlinks; a file with two names is one.
    pub files: u64,
}

/// A count, and when it was made, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Page {
    usage: Usage,
    counted: u64,
}

/// The count of one workspace.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    holds: Cell<u32>,
}

/// While this lives, no other session changes the count.
#[derive(Debug)]
pub struct Hold<'a>(&'a Ledger);

impl Ledger {
    /// Opens the count at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        make_private(path.parent().ok_or(io::ErrorKind::NotFound)?)?;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)?;
        Ok(Self { file, holds: Cell::new(0) })
    }

    /// Waits until no other session has it; who has it may take it again.
    pub fn hold(&self) -> Result<Hold<'_>, Errno> {
        if self.holds.get() == 0 {
            self.file.lock().map_err(errno)?;
        }
        self.holds.set(self.holds.get() + 1);
        Ok(Hold(self))
    }

    /// Takes `need`; `count` looks at every file.
    ///
    /// # Errors
    /// `EDQUOT` when that is more than there may be.
    pub fn take(
        &self,
        need: Usage,
        quota: Quota,
        count: impl Fn() -> Result<Usage, Errno>,
    ) -> Result<(), Errno> {
        let _hold = self.hold()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let anew = || count().map(|usage| Page { usage, counted: now });
        let mut page = match self.page() {
            Some(page) if page.counted <= now && now - page.counted < OLD => page,
            _ => anew()?,
        };
        if !fits(page.usage, need, quota) && now - page.counted >= FRESH {
            page = anew()?;
        }
        let fit = fits(page.usage, need, quota);
        if fit {
            page.usage.bytes = page.usage.bytes.saturating_add(need.bytes);
            page.usage.files = page.usage.files.saturating_add(need.files);
        }
        self.write(page)?;
        if fit { Ok(()) } else { Err(Errno::EDQUOT) }
    }

    /// So much is there no longer.
    pub fn give(&self, gone: Usage) -> Result<(), Errno> {
        let _hold = self.hold()?;
        let Some(Page { usage, counted }) = self.page() else { return Ok(()) };
        let bytes = usage.bytes.saturating_sub(gone.bytes);
        let files = usage.files.saturating_sub(gone.files);
        self.write(Page { usage: Usage { bytes, files }, counted })
    }

    fn page(&self) -> Option<Page> {
        let mut text = [0; LENGTH];
        self.file.read_exact_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text).ok()?.strip_suffix('\n')?;
        let mut words = text.strip_prefix("v1 ")?.split(' ').map(|word| word.parse().ok());
        let mut number = || words.next().flatten();
        Some(Page { usage: Usage { bytes: number()?, files: number()? }, counted: number()? })
    }

    /// Written at once and always of one length, so a process that is killed leaves the old count or the new one.
    fn write(&self, page: Page) -> Result<(), Errno> {
        let Page { usage: Usage { bytes, files }, counted } = page;
        let text = format!("v1 {bytes:020} {files:020} {counted:034}\n");
        self.file.write_all_at(text.as_bytes(), 0).map_err(errno)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.holds.set(self.0.holds.get().saturating_sub(1));
        if self.0.holds.get() == 0 {
            let _ = self.0.file.unlock();
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn fits(usage: Usage, need: Usage, quota: Quota) -> bool {
    let fits = |has: u64, more: u64, most: Option<u64>| {
        // What takes nothing fits even where there is too much already.
        more == 0 || most.is_none_or(|most| has.saturating_add(more) <= most)
    };
    fits(usage.bytes, need.bytes, quota.bytes) && fits(usage.files, need.files, quota.files)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("ledger-{name}-{}", std::process::id())))
        }

        fn ledger(&self) -> Ledger {
            Ledger::open(&self.0.join("a/count")).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const QUOTA: Quota = Quota { bytes: Some(1000), files: Some(10) };

    fn usage(bytes: u64, files: u64) -> Usage {
        Usage { bytes, files }
    }

    #[test]
    fn sessions_share_one_count() {
        let scratch = Scratch::new("share");
        let (one, two) = (scratch.ledger(), scratch.ledger());
        let counts = Cell::new(0);
        let count = || {
            counts.set(counts.get() + 1);
            Ok(usage(500, 2))
        };
        one.take(usage(100, 1), QUOTA, count).unwrap();
        two.take(usage(400, 7), QUOTA, count).unwrap();
        assert_eq!(one.take(usage(1, 0), QUOTA, count), Err(Errno::EDQUOT));
        assert_eq!(one.take(usage(0, 1), QUOTA, count), Err(Errno::EDQUOT));
        assert_eq!(one.take(usage(0, 0), QUOTA, count), Ok(()));
        two.give(usage(200, 1)).unwrap();
        assert_eq!(one.take(usage(200, 1), QUOTA, count), Ok(()));
        assert_eq!(counts.get(), 1);
    }

    #[test]
    fn who_holds_the_count_holds_it_until_the_last_hold_ends() {
        let scratch = Scratch::new("hold");
        let (one, two) = (scratch.ledger(), scratch.ledger());
        let outer = one.hold().unwrap();
        drop(one.hold().unwrap());
        one.give(usage(1, 0)).unwrap();
        assert!(two.file.try_lock().is_err());
        drop(outer);
        assert!(two.file.try_lock().is_ok());
    }

    #[test]
    fn a_count_that_cannot_be_right_is_made_anew() {
        let scratch = Scratch::new("anew");
        let ledger = scratch.ledger();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for (counted, full, anew) in [
            (now, false, false),
            (now - OLD - 1, false, true),
            (now + 1000, false, true),
            (now - FRESH - 1, true, true),
            (now, true, false),
        ] {
            ledger.write(Page { usage: usage(if full { 1000 } else { 0 }, 0), counted }).unwrap();
            let counts = Cell::new(0);
            let taken = ledger.take(usage(1, 0), QUOTA, || {
                counts.set(counts.get() + 1);
                Ok(usage(10, 0))
            });
            assert_eq!(counts.get() == 1, anew, "{counted} {full}");
            assert_eq!(taken.is_ok(), anew || !full, "{counted} {full}");
        }
        for damaged in ["", "v1 ", "v2", &"x".repeat(LENGTH)] {
            std::fs::write(scratch.0.join("a/count"), damaged).unwrap();
            assert_eq!(ledger.take(usage(1, 0), QUOTA, || Ok(usage(1000, 0))), Err(Errno::EDQUOT));
        }
        std::fs::write(scratch.0.join("a/count"), "").unwrap();
        let failed = ledger.take(usage(1, 0), QUOTA, || Err(Errno::EACCES));
        assert_eq!(failed, Err(Errno::EACCES), "what cannot be counted is not used up");
    }

    #[test]
    fn many_sessions_never_take_more_than_there_is() {
        let scratch = Scratch::new("many");
        let quota = Quota { bytes: Some(100_000), files: Some(300) };
        let taken: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let ledger = scratch.ledger();
                        let take = || ledger.take(usage(100, 1), quota, || Ok(usage(0, 0)));
                        (0..200).map_while(|_| take().ok()).count()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(taken, 300);
    }
}
