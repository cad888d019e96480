//! A copy of a tree that is kept up to date by making every change that is told of, and nothing else.
//!
//! The unit tests of the watcher and the end-to-end tests use the same one.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Kind, Reason};

/// A copy that is kept up to date, as a reader of a stream keeps it.
pub(crate) struct Copy {
    source: PathBuf,
    place: PathBuf,
    /// Files that were not there any more when they were to be fetched.
    owed: BTreeSet<PathBuf>,
}

impl Copy {
    pub(crate) fn new(source: PathBuf, place: PathBuf) -> Self {
        Self { source, place, owed: BTreeSet::new() }
    }

    /// Makes one change. Each has to be possible after the one before. With the sum of the content and the mode,
    /// where they are told.
    pub(crate) fn make(
        &mut self,
        reason: Reason,
        kind: Kind,
        path: &Path,
        from: Option<&Path>,
        (sha256, mode): (Option<[u8; 32]>, Option<u32>),
    ) {
        let change = (reason, path, from);
        let here = self.place.join(path);
        let parent = here.parent().unwrap();
        assert!(parent.is_dir() && !parent.is_symlink(), "{change:?} in a directory that is not there");
        match (reason, kind) {
            (Reason::Created, Kind::Directory) => {
                assert!(here.symlink_metadata().is_err(), "{change:?} where something is");
                fs::create_dir(&here).unwrap();
            }
            (Reason::Created | Reason::Modified, _) => {
                assert!(!here.is_dir() || here.is_symlink(), "{change:?} over a directory");
                self.fetch(path);
            }
            (Reason::Attributes, _) => self.take_mode(path, mode),
            (Reason::Renamed, _) => {
                let from = from.unwrap();
                if !self.owed.contains(from) {
                    fs::rename(self.place.join(from), &here)
                        .unwrap_or_else(|error| panic!("{change:?}: {error}"));
                } else if here.symlink_metadata().is_ok() {
                    fs::remove_file(&here).unwrap();
                }
                self.owed.remove(path);
                let moved: Vec<PathBuf> =
                    self.owed.iter().filter(|owed| owed.starts_with(from)).cloned().collect();
                for owed in moved {
                    self.owed.remove(&owed);
                    let rest = owed.strip_prefix(from).unwrap();
                    let now = if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) };
                    self.fetch(&now);
                }
                // What was fetched under the old name may have been what came after it.
                let is = |sum| {
                    fs::read(&here).is_ok_and(|content| <[u8; 32]>::from(Sha256::digest(content)) == sum)
                };
                if sha256.is_some_and(|sum| here.is_file() && !is(sum)) {
                    self.fetch(path);
                }
                self.take_mode(path, mode);
            }
            (Reason::Removed, _) => {
                let owed = self.owed.contains(path);
                let removed = fs::remove_file(&here).or_else(|_| fs::remove_dir_all(&here));
                assert!(removed.is_ok() || owed, "{change:?} of nothing");
                self.owed.retain(|owed| !owed.starts_with(path));
            }
        }
    }

    /// Fetches a file or a symlink as it is by now; what is not there is owed.
    fn fetch(&mut self, path: &Path) {
        let (there, here) = (self.source.join(path), self.place.join(path));
        let _ = fs::remove_file(&here);
        self.owed.remove(path);
        let Ok(kind) = there.symlink_metadata().map(|metadata| metadata.file_type()) else {
            self.owed.insert(path.to_owned());
            return;
        };
        if kind.is_symlink() {
            match fs::read_link(&there).and_then(|to| symlink(to, &here)) {
                Ok(()) => {}
                Err(_) => drop(self.owed.insert(path.to_owned())),
            }
        } else if !kind.is_file() || fs::copy(&there, &here).is_err() {
            let _ = fs::remove_file(&here);
            self.owed.insert(path.to_owned());
        }
    }

    fn take_mode(&self, path: &Path, mode: Option<u32>) {
        let here = self.place.join(path);
        if let Some(mode) = mode
            && here.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
        {
            fs::set_permissions(here, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// Whether both trees are the same, and if not, how they differ.
    pub(crate) fn difference(&self) -> Option<String> {
        let (source, copy) = (picture(&self.source), picture(&self.place));
        (source != copy).then(|| format!("--- tree\n{source}\n--- copy\n{copy}\n--- owed {:?}", self.owed))
    }
}

/// One line for each name: what it is, and what is in it.
fn picture(root: &Path) -> String {
    let mut lines = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(root.join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let path = dir.join(entry.file_name());
            let metadata = entry.metadata().unwrap();
            let what = if metadata.is_dir() {
                dirs.push(path.clone());
                "/".to_owned()
            } else if metadata.is_symlink() {
                format!("-> {}", fs::read_link(entry.path()).unwrap().display())
            } else {
                let content = fs::read(entry.path()).unwrap();
                let mut sum = DefaultHasher::new();
                content.hash(&mut sum);
                let mode = metadata.permissions().mode() & 0o777;
                format!("{mode:o} {} {:?} {:x}", content.len(), content.first(), sum.finish())
            };
            lines.push(format!("{} {what}", path.as_os_str().as_bytes().escape_ascii()));
        }
    }
    lines.sort();
    lines.join("\n")
}
