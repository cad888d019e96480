//! One workspace of the daemon: its thread, from the first look at the directory to the stop.
//!
//! Whatever goes wrong, the thread begins anew from what is kept, after a pause that grows. Nothing is lost by that: what
//! happened meanwhile is found by comparing.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rrsync_rs::escape::Escaped;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::kept::{Kept, KeptError};
use super::log::{Level, Log};
use super::mounts::Mounts;
use super::status::{Doing, Shared};
use crate::awatch::index::Index;
use crate::awatch::pass_over::{self, OWN, PassOver};
use crate::awatch::record::Identity;
use crate::awatch::sight::Sight;
use crate::awatch::watcher::dirs::Root;
use crate::awatch::watcher::listing::Listing;
use crate::awatch::watcher::{Change, Lost, Options, Setting, Watcher, WatcherError, look};
use crate::event::Kind;

/// A workspace, as it was configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Whose, and which.
    pub identity: Identity,
    /// The directory.
    pub path: PathBuf,
    /// What is kept of it.
    pub state: PathBuf,
    /// How it is watched.
    pub options: Options,
    /// What is passed over, besides what the files say.
    pub ignore: Vec<String>,
    /// What is passed over in every workspace.
    pub global_ignore: Option<PathBuf>,
    /// How many bytes of events are kept.
    pub retention: u64,
}

/// What the main thread holds of a workspace's thread.
#[derive(Debug, Clone)]
pub struct Control(Arc<Signal>);

#[derive(Debug)]
struct Signal {
    stop: AtomicBool,
    /// Whether the rules for what is passed over are to be read again.
    reread: AtomicBool,
    /// Whether the main thread has asked for a sign of life, and has had no answer.
    asked: AtomicBool,
    wake: OwnedFd,
}

impl Control {
    /// A new one.
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let [stop, reread, asked] = [false; 3].map(AtomicBool::new);
        Ok(Self(Arc::new(Signal { stop, reread, asked, wake })))
    }

    /// Asks the thread to stop.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Asks the thread to read the rules for what is passed over again.
    pub fn reread(&self) {
        self.0.reread.store(true, Ordering::Release);
        self.wake();
    }

    /// Asks for a sign of life; `false` when the one before has not been given.
    pub fn ask(&self) -> bool {
        let answered = !self.0.asked.swap(true, Ordering::AcqRel);
        self.wake();
        answered
    }

    fn wake(&self) {
        // A counter that is full is readable, too.
        let _ = rustix::io::write(&self.0.wake, &1_u64.to_ne_bytes());
    }

    /// Whether to stop. Asking is the sign of life.
    pub fn stops(&self) -> bool {
        self.0.asked.store(false, Ordering::Release);
        self.0.stop.load(Ordering::Acquire)
    }

    /// Waits until something happens to one of `fds`, something is asked, or the time is over; `None` is for ever. Tells whether it
    /// happened to the last of them.
    pub fn wait(&self, fds: &[(BorrowedFd<'_>, PollFlags)], time: Option<Duration>) -> io::Result<bool> {
        let wake = self.0.wake.as_fd();
        let others = fds;
        let mut fds = vec![PollFd::new(&wake, PollFlags::IN)];
        fds.extend(others.iter().map(|(fd, flags)| PollFd::new(fd, *flags)));
        let time = time.map(|time| Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        match poll(&mut fds, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let last = fds.last().is_some_and(|fd| !fd.revents().is_empty());
        let _ = rustix::io::read(&self.0.wake, &mut [0; 8]);
        Ok(last)
    }
}

/// Why a workspace is not watched for now.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Kept(#[from] KeptError),
    #[error("{0}")]
    Watch(#[from] WatcherError),
    /// The directory is not there, which is no failure: why.
    #[error("{0}")]
    Absent(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Watch(error.into())
    }
}

/// Why a watcher is given up.
enum End {
    /// The daemon stops.
    Stop,
    /// The directory was removed, moved or unmounted.
    Gone,
    /// A symlink on the way to the directory leads to another one now.
    Elsewhere,
    /// The rules for what is passed over have changed.
    Rules,
}

/// A workspace's thread.
pub struct Workspace {
    setup: Setup,
    control: Control,
    status: Shared,
    log: Log,
    /// Whether this thread has a working directory of its own.
    alone: bool,
    /// Called once, when every later change will be noticed, or when it is known that the directory is not there.
    ready: Option<Box<dyn FnOnce() + Send>>,
    /// Called when the journal has grown.
    grown: Box<dyn Fn() + Send>,
}

/// How long to wait before the next try.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_mins(1),
];

/// How soon it is shown how much has not settled.
const SHOW: Duration = Duration::from_secs(1);

/// How long something may be learnt while nothing else happens.
const LEARN: Duration = Duration::from_millis(5);

/// How often a directory that is not there is looked for.
const ABSENT: Duration = Duration::from_secs(1);

impl Workspace {
    /// A thread's work; `ready` and `grown` are told in it.
    pub fn new(
        setup: Setup,
        control: Control,
        status: Shared,
        log: Log,
        ready: Box<dyn FnOnce() + Send>,
        grown: Box<dyn Fn() + Send>,
    ) -> Self {
        Self { setup, control, status, log, alone: false, ready: Some(ready), grown }
    }

    fn say(&self, level: Level, line: impl std::fmt::Display) {
        self.log.say(level, &self.setup.identity.workspace, line);
    }

    /// Watches until it is to stop.
    pub fn run(mut self) {
        // A working directory of this thread's own makes the walk a third faster; not every container allows it.
        self.alone = nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).is_ok();
        let mut failures = 0;
        while !self.control.stops() {
            let begun = Instant::now();
            match self.watch() {
                // It is to stop, or to look for the directory once more.
                Ok(()) => {}
                Err(Trouble::Absent(why)) => {
                    failures = 0;
                    if self.status.get().doing != Doing::Waiting {
                        self.say(Level::Warning, format_args!("waiting for the directory: {why}"));
                    }
                    self.status.doing(Doing::Waiting, Some(why));
                    self.is_ready();
                    let _ = self.control.wait(&[], Some(ABSENT));
                }
                Err(trouble) => {
                    // One that has worked for a while is not the same failure again.
                    failures = if begun.elapsed() > Duration::from_mins(2) { 0 } else { failures + 1 };
                    let pause = PAUSES[failures.min(PAUSES.len() - 1)];
                    let why = Escaped(trouble.to_string().as_bytes()).to_string();
                    self.say(Level::Error, format_args!("{why}; the next try is in {} s", pause.as_secs()));
                    self.status.doing(Doing::Failing, Some(why));
                    self.is_ready();
                    let until = Instant::now() + pause;
                    while !self.control.stops() && Instant::now() < until {
                        let _ = self.control.wait(&[], Some(until.saturating_duration_since(Instant::now())));
                    }
                }
            }
        }
    }

    fn is_ready(&mut self) {
        if let Some(ready) = self.ready.take() {
            ready();
        }
    }

    /// Opens the directory and what is kept of it, and watches until it is to stop.
    fn watch(&mut self) -> Result<(), Trouble> {
        let (path, identity, empty) = self.find_root()?;
        let setup = self.setup.clone();
        let opened = Kept::open(&setup.state, identity, empty, setup.identity, setup.retention);
        let (mut kept, mut index) = match opened {
            Err(error @ KeptError::NotMounted) => return Err(Trouble::Absent(error.to_string())),
            other => other?,
        };
        self.status.set(|status| status.cursor = Some(kept.cursor()));
        loop {
            let mut watcher = self.begin(Root::At(path.clone()), index, &mut kept)?;
            let end = self.follow(&mut watcher, &mut kept, &path);
            let memory = watcher.memory();
            index = watcher.into_store();
            match end? {
                End::Rules => {}
                End::Gone => {
                    kept.close(&index, memory)?;
                    return Err(Trouble::Absent("it was removed, moved or unmounted".to_owned()));
                }
                End::Stop | End::Elsewhere => {
                    kept.close(&index, memory)?;
                    return Ok(());
                }
            }
        }
    }

    /// Where the directory is, which one it is, and whether nothing is in it.
    fn find_root(&self) -> Result<(PathBuf, look::Identity, bool), Trouble> {
        let find = || -> io::Result<_> {
            let path = fs::canonicalize(&self.setup.path)?;
            let root: OwnedFd = File::open(&path)?.into();
            let stat = look::open(&root)?;
            if stat.kind != Kind::Directory {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let mut listing = Listing::default();
            listing.read(&root, |_, _| false)?;
            let empty = listing.iter().next().is_none();
            Ok((path, stat.identity, empty))
        };
        find().map_err(|error| Trouble::Absent(format!("{}: {error}", Escaped::os(&self.setup.path))))
    }

    /// Sets every watch, and records what has changed since there were any.
    fn begin(
        &mut self,
        root: Root,
        index: Index,
        kept: &mut Kept,
    ) -> Result<Watcher<Index, PassOver>, Trouble> {
        let begun = Instant::now();
        let setup = self.setup.clone();
        let (rules, told) = self.rules();
        for line in told {
            self.say(Level::Warning, format_args!("{line}; that rule is left out"));
        }
        let options = Options { alone: self.alone, learn: true, ..setup.options };
        let setting = Setting { root, store: index, rules, options };
        self.status.doing(Doing::Comparing, None);
        let mut count = 0;
        let watcher = if let Some(from) = kept.resume() {
            let mut watcher = Watcher::resume(setting, from)?;
            self.is_ready();
            let changes = watcher.compare(Instant::now())?;
            count = changes.len();
            self.record(&mut watcher, kept, changes)?;
            watcher
        } else {
            let mut watcher = Watcher::begin(setting)?;
            self.record(&mut watcher, kept, Vec::new())?;
            kept.announce()?;
            self.is_ready();
            watcher
        };
        let seconds = begun.elapsed().as_secs_f64();
        let (directories, unwatched) = watcher.directories();
        self.say(
            Level::Notice,
            format_args!(
                "watching {directories} directories, {count} changes since the last time; {seconds:.1} s"
            ),
        );
        if unwatched > 0 {
            self.say(Level::Error, limit(unwatched, setup.options.scan));
        }
        self.status.doing(Doing::Watching, None);
        Ok(watcher)
    }

    /// What is passed over, and what of it cannot be read.
    fn rules(&self) -> (PassOver, Vec<String>) {
        let Setup { global_ignore, ignore, path, .. } = &self.setup;
        pass_over::collect(global_ignore.as_deref(), ignore, path, Sight::default())
    }

    /// Shows how much is watched, and how much of that has not settled.
    fn show(&self, watcher: &Watcher<Index, PassOver>) {
        let (directories, unwatched) = watcher.directories();
        let unsettled = watcher.unsettled();
        let since = watcher.oldest().map(|oldest| Timestamp::now() - oldest.elapsed());
        self.status.set(|status| {
            (status.directories, status.unwatched) = (directories, unwatched);
            (status.unsettled, status.unsettled_since) = (unsettled, since);
        });
    }

    fn record(
        &self,
        watcher: &mut Watcher<Index, PassOver>,
        kept: &mut Kept,
        changes: Vec<Change>,
    ) -> Result<(), Trouble> {
        let memory = watcher.memory();
        let recorded = kept.record(watcher.store(), changes, memory, &self.status);
        self.status.set(|status| status.cursor = Some(kept.cursor()));
        self.show(watcher);
        match recorded {
            Err(KeptError::Journal(error)) if kept.is_behind() => {
                // The events are safe in the index, and go into the journal as soon as it takes them.
                self.say(Level::Error, format_args!("the journal: {error}"));
                self.status.doing(Doing::Failing, Some(format!("the journal: {error}")));
            }
            other => other?,
        }
        (self.grown)();
        Ok(())
    }

    /// Records what settles, until there is an end.
    fn follow(
        &mut self,
        watcher: &mut Watcher<Index, PassOver>,
        kept: &mut Kept,
        place: &Path,
    ) -> Result<End, Trouble> {
        let (_, mut unwatched) = watcher.directories();
        // Where there is no /proc, what is mounted later is found when it is looked at for another reason.
        let mut mounts = Mounts::below(&self.setup.path).ok();
        let mut shown = Instant::now();
        loop {
            let now = Instant::now();
            watcher.read(now)?;
            match watcher.lost() {
                None => {}
                Some(Lost::Root) => return Ok(End::Gone),
                Some(Lost::Overflow) => {
                    self.say(Level::Warning, "the kernel had more to report than was read: comparing");
                    self.status.doing(Doing::Comparing, Some("reports were lost".to_owned()));
                    let changes = watcher.compare(now)?;
                    self.record(watcher, kept, changes)?;
                    self.status.doing(Doing::Watching, None);
                }
            }
            let changes = watcher.settle(now)?;
            let rules = changes.iter().any(|change| change.path.as_bytes() == OWN.as_bytes());
            if !changes.is_empty() {
                self.log_changes(&changes);
                self.record(watcher, kept, changes)?;
            }
            let (_, cannot) = watcher.directories();
            if cannot > unwatched {
                self.say(Level::Error, limit(cannot, self.setup.options.scan));
            }
            unwatched = cannot;
            if self.control.stops() {
                return Ok(End::Stop);
            }
            let asked = self.control.0.reread.swap(false, Ordering::AcqRel);
            if asked && fs::canonicalize(&self.setup.path).is_ok_and(|now| now != place) {
                return Ok(End::Elsewhere);
            }
            let reread = rules || asked;
            if reread && !self.rules().0.is(watcher.rules()) {
                self.say(Level::Notice, "the rules for what is passed over have changed");
                return Ok(End::Rules);
            }
            if kept.is_behind() && kept.catch_up(watcher.store()).is_ok() {
                self.status.doing(Doing::Watching, None);
                (self.grown)();
            }
            let mut next = watcher.next().map(|next| next.saturating_duration_since(now));
            if kept.is_behind() {
                next = Some(next.map_or(ABSENT, |next| next.min(ABSENT)));
            }
            if watcher.unsettled() != self.status.unsettled() {
                // Looking for the oldest costs as much as there are names, so it is not done each time.
                let left = SHOW.saturating_sub(now.duration_since(shown));
                if left.is_zero() {
                    self.show(watcher);
                    shown = now;
                } else {
                    next = Some(next.map_or(left, |next| next.min(left)));
                }
            }
            if watcher.is_learning() && next.is_none_or(|next| next > LEARN) {
                watcher.learn(now + LEARN)?;
                kept.learnt(watcher.store())?;
                next = Some(Duration::ZERO);
            }
            let table = mounts.as_ref().map(|mounts| (mounts.as_fd(), PollFlags::PRI));
            let fds: Vec<_> = [(watcher.fd(), PollFlags::IN)].into_iter().chain(table).collect();
            let has_table = fds.len() == 2;
            if self.control.wait(&fds, next)?
                && has_table
                && let Some(mounts) = &mut mounts
            {
                let changed = mounts.changed(&self.setup.path)?;
                watcher.mounts_changed(&changed, Instant::now())?;
            }
        }
    }

    fn log_changes(&self, changes: &[Change]) {
        for change in changes {
            let path = Escaped(change.path.as_bytes());
            match &change.from {
                Some(from) => {
                    self.say(Level::Debug, format_args!("renamed {} to {path}", Escaped(from.as_bytes())));
                }
                None => self.say(Level::Debug, format_args!("{} {path}", change.reason)),
            }
        }
    }
}

/// What to do about the limit of watches.
fn limit(unwatched: usize, scan: Duration) -> String {
    let now = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").unwrap_or_default();
    format!(
        "{unwatched} directories cannot be watched and are compared every {} s: raise fs.inotify.max_user_watches, which is {}",
        scan.as_secs(),
        now.trim()
    )
}
