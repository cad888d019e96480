//! A real directory, a real kernel, and every change that a watcher has to get right: what happens, and what is said.

mod content;
mod copy;
mod deeds;
mod meanwhile;
mod names;
mod replay;
mod restarts;
mod trees;
mod writers;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rrsync_rs::escape::Escaped;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::dirs::Root;
use super::known::{Memory, Store};
use super::{Change, Lost, Options, Rules, Setting, Watcher};
use crate::event::{Kind, Reason};
use crate::sys::lease;

/// Nothing is left out.
pub(super) struct Everything;

impl Rules for Everything {
    fn skips(&self, _: &[u8], _: impl FnOnce() -> Vec<u8>, _: bool) -> bool {
        false
    }
}

/// A watched scratch directory, `w`, with something `outside` it.
pub(super) struct Scene {
    scratch: tempfile::TempDir,
    pub(super) watcher: Watcher<Memory, Everything>,
}

/// A wait that is longer is for somebody who has a file open.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Long enough for a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);

impl Scene {
    /// A directory in which `files` are when the watch begins; a name with a slash at its end is a directory.
    pub(super) fn new(files: &[&str]) -> Self {
        Self::with(files, Options::default())
    }

    pub(super) fn with(files: &[&str], options: Options) -> Self {
        lease::block_signal();
        let scratch = tempfile::tempdir().unwrap();
        for dir in ["w", "outside"] {
            fs::create_dir(scratch.path().join(dir)).unwrap();
        }
        let workspace = scratch.path().join("w");
        for file in files {
            let path = workspace.join(file);
            if file.ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("{file}\n")).unwrap();
            }
        }
        // What was made just before the watch began may have been made after it, as far as times tell.
        let made = Instant::now();
        while made.elapsed() < Duration::from_millis(25) {
            std::thread::yield_now();
        }
        let watcher = watch(&workspace, options);
        Self { scratch, watcher }
    }

    pub(super) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.scratch.path().join("w").join(relative)
    }

    pub(super) fn outside(&self, relative: &str) -> PathBuf {
        self.scratch.path().join("outside").join(relative)
    }

    pub(super) fn write(&self, relative: &str, content: &str) {
        fs::write(self.path(relative), content).unwrap();
    }

    pub(super) fn mv(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Everything that settles, until nothing more is to come by itself, but what somebody is still writing.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        changes(&mut self.watcher)
    }

    /// The same in words, one line each.
    #[track_caller]
    pub(super) fn says(&mut self, expected: &[&str]) {
        let told: Vec<String> = self.changes().iter().map(words).collect();
        assert_eq!(told, expected);
    }

    /// The same, in whatever order.
    #[track_caller]
    pub(super) fn says_in_any_order(&mut self, expected: &[&str]) {
        let mut told: Vec<String> = self.changes().iter().map(words).collect();
        told.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(told, expected);
    }
}

pub(super) fn watch(workspace: &Path, options: Options) -> Watcher<Memory, Everything> {
    let root = Root::Held(fs::File::open(workspace).unwrap().into());
    Watcher::begin(Setting { root, store: Memory::default(), rules: Everything, options }).unwrap()
}

/// Everything that settles, until nothing more is to come by itself, but what somebody is still writing.
pub(super) fn changes<S: Store, R: Rules>(watcher: &mut Watcher<S, R>) -> Vec<Change> {
    let until = Instant::now() + DEADLINE;
    let mut changes = Vec::new();
    loop {
        let now = Instant::now();
        assert!(now < until, "still unsettled, after {changes:?}");
        watcher.read(now).unwrap();
        changes.extend(watcher.settle(now).unwrap());
        assert_ne!(watcher.lost(), Some(Lost::Overflow));
        let next = watcher.next().map(|next| next.saturating_duration_since(Instant::now()));
        match next.filter(|wait| *wait < PATIENCE) {
            None => return changes,
            Some(next) => wait(watcher, next),
        }
    }
}

fn wait<S: Store, R: Rules>(watcher: &Watcher<S, R>, time: Duration) {
    let fd = watcher.fd();
    let time = time.min(Duration::from_secs(1));
    let time = Timespec { tv_sec: time.as_secs().try_into().unwrap(), tv_nsec: time.subsec_nanos().into() };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&time)).unwrap();
}

/// `created a/b`, `renamed a -> b`.
pub(super) fn words(change: &Change) -> String {
    let reason = match change.reason {
        Reason::Created => "created",
        Reason::Modified => "modified",
        Reason::Attributes => "attributes",
        Reason::Renamed => "renamed",
        Reason::Removed => "removed",
    };
    let path = Escaped(change.path.as_bytes());
    match &change.from {
        Some(from) => format!("{reason} {} -> {path}", Escaped(from.as_bytes())),
        None => format!("{reason} {path}"),
    }
}

pub(super) fn bytes(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}
