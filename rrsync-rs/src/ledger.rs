//! How much there is in a workspace: one number of bytes and one of files, shared by all sessions, for its quota.
//!
//! The count is a file in the owner's state directory, changed under its lock. What a session is about to write it takes
//! first, so a session that dies leaves a count that is too high, never too low. What others do in the workspace the
//! count does not see; so it is made anew, by looking at every file, when there is none, after a day, and before anything
//! is refused, though not more often than every half minute.

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

/// What a session may use up before it asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Bytes, at least those that were asked for.
    pub bytes: u64,
    /// Which count they were taken from.
    pub counted: u64,
}

/// The count of one workspace.
#[derive(Debug)]
pub struct Ledger(File);

impl Ledger {
    /// Opens the count at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        make_private(path.parent().ok_or(io::ErrorKind::NotFound)?)?;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)?;
        Ok(Self(file))
    }

    /// Takes `need`, and up to `ahead` bytes more; `count` looks at every file.
    ///
    /// # Errors
    /// `EDQUOT` when that is more than there may be.
    pub fn take(
        &self,
        need: Usage,
        ahead: u64,
        quota: Quota,
        count: impl Fn() -> Result<Usage, Errno>,
    ) -> Result<Taken, Errno> {
        self.locked(|now| {
            let anew = || count().map(|usage| Page { usage, counted: now });
            let mut page = match self.page() {
                Some(page) if page.counted <= now && now - page.counted < OLD => page,
                _ => anew()?,
            };
            if !fits(page.usage, need, quota) && now - page.counted >= FRESH {
                page = anew()?;
            }
            let kept = fits(page.usage, need, quota).then(|| {
                let left = quota.bytes.unwrap_or(u64::MAX).saturating_sub(page.usage.bytes);
                let bytes = need.bytes.saturating_add(ahead).min(left);
                page.usage.bytes = page.usage.bytes.saturating_add(bytes);
                page.usage.files = page.usage.files.saturating_add(need.files);
                Taken { bytes, counted: page.counted }
            });
            self.write(page)?;
            kept.ok_or(Errno::EDQUOT)
        })
    }

    /// So much is there no longer.
    pub fn give(&self, gone: Usage) -> Result<(), Errno> {
        self.lower(gone, |_| true)
    }

    /// Gives back what was taken and not used. A count made since then has never known of it.
    pub fn give_back(&self, unused: Taken) -> Result<(), Errno> {
        self.lower(Usage { bytes: unused.bytes, files: 0 }, |counted| counted == unused.counted)
    }

    fn lower(&self, by: Usage, concerns: impl FnOnce(u64) -> bool) -> Result<(), Errno> {
        self.locked(|_| match self.page() {
            Some(Page { usage, counted }) if concerns(counted) => {
                let bytes = usage.bytes.saturating_sub(by.bytes);
                let files = usage.files.saturating_sub(by.files);
                self.write(Page { usage: Usage { bytes, files }, counted })
            }
            _ => Ok(()),
        })
    }

    fn locked<T>(&self, change: impl FnOnce(u64) -> Result<T, Errno>) -> Result<T, Errno> {
        let errno = |error: io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        self.0.lock().map_err(errno)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let changed = change(now);
        self.0.unlock().map_err(errno)?;
        changed
    }

    fn page(&self) -> Option<Page> {
        let mut text = [0; LENGTH];
        self.0.read_exact_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text).ok()?.strip_suffix('\n')?;
        let mut words = text.strip_prefix("v1 ")?.split(' ').map(|word| word.parse().ok());
        let mut number = || words.next().flatten();
        Some(Page { usage: Usage { bytes: number()?, files: number()? }, counted: number()? })
    }

    /// Written at once and always of one length, so a process that is killed leaves the old count or the new one.
    fn write(&self, page: Page) -> Result<(), Errno> {
        let Page { usage: Usage { bytes, files }, counted } = page;
        let text = format!("v1 {bytes:020} {files:020} {counted:034}\n");
        self.0
            .write_all_at(text.as_bytes(), 0)
            .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }
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
        let taken = one.take(usage(100, 1), 50, QUOTA, count).unwrap();
        assert_eq!(taken.bytes, 150);
        assert_eq!(two.take(usage(300, 7), 500, QUOTA, count).unwrap().bytes, 350, "no more than is left");
        assert_eq!(one.take(usage(1, 0), 0, QUOTA, count), Err(Errno::EDQUOT));
        assert_eq!(one.take(usage(0, 1), 0, QUOTA, count), Err(Errno::EDQUOT));
        assert_eq!(one.take(usage(0, 0), 0, QUOTA, count).map(|taken| taken.bytes), Ok(0));
        two.give(usage(200, 1)).unwrap();
        assert_eq!(one.take(usage(200, 1), 0, QUOTA, count).map(|taken| taken.bytes), Ok(200));
        two.give_back(Taken { bytes: 900, counted: taken.counted - 1 }).unwrap();
        assert_eq!(one.take(usage(1, 0), 0, QUOTA, count), Err(Errno::EDQUOT), "of another count");
        two.give_back(Taken { bytes: 10, ..taken }).unwrap();
        assert_eq!(one.take(usage(10, 0), 0, QUOTA, count).map(|taken| taken.bytes), Ok(10));
        assert_eq!(counts.get(), 1);
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
            let taken = ledger.take(usage(1, 0), 0, QUOTA, || {
                counts.set(counts.get() + 1);
                Ok(usage(10, 0))
            });
            assert_eq!(counts.get() == 1, anew, "{counted} {full}");
            assert_eq!(taken.is_ok(), anew || !full, "{counted} {full}");
        }
        for damaged in ["", "v1 ", "v2", &"x".repeat(LENGTH)] {
            std::fs::write(scratch.0.join("a/count"), damaged).unwrap();
            assert_eq!(ledger.take(usage(1, 0), 0, QUOTA, || Ok(usage(1000, 0))), Err(Errno::EDQUOT));
        }
        std::fs::write(scratch.0.join("a/count"), "").unwrap();
        let failed = ledger.take(usage(1, 0), 0, QUOTA, || Err(Errno::EACCES));
        assert_eq!(failed, Err(Errno::EACCES), "what cannot be counted is not used up");
    }

    #[test]
    fn many_sessions_never_take_more_than_there_is() {
        let scratch = Scratch::new("many");
        let quota = Quota { bytes: Some(100_000), files: Some(300) };
        let sum: u64 = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let ledger = scratch.ledger();
                        let taken = (0..200)
                            .map_while(|_| ledger.take(usage(100, 1), 7, quota, || Ok(usage(0, 0))).ok());
                        taken.map(|taken| taken.bytes).sum::<u64>()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert!((30_000..=33_000).contains(&sum), "{sum}: 300 files with 100 to 107 bytes each");
    }
}
