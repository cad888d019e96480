//! Making a copy the same as its source: compare, bring what differs, put it in its place, remove what is gone.
//!
//! rsync compares, to the nanosecond, and brings. It reads a file at the source while its owner may be writing it; so after each
//! group another comparison asks whether what has come is what is there, and what is not is brought again.
//!
//! Only what came from the source is ever removed here. What was made here by others stays, and what was changed here is kept
//! in the version store before it is overwritten.

use std::collections::{HashMap, HashSet};
use std::io;

use nix::sys::stat::SFlag;

use super::arrive::{Arrived, Book};
use super::catalog::CopyBook;
use super::failures::TransferError;
use super::receive::{Attributes, Incoming, Known, Stage, Symlinks, Tree};
use super::rsync::{Change, Item, Look, Rsync, There};
use super::tell::{Deed, Teller};
use crate::event::EventPath;

/// How many files, and how many bytes, are brought before they get their places.
const FILES: usize = 10_000;
const BYTES: u64 = 1 << 30;

/// How often a file that keeps changing is brought again.
const ATTEMPTS: u32 = 5;

/// How a copy differs from its source.
#[derive(Debug, Default)]
pub struct Differences {
    /// What is other there, or not here.
    pub there: Vec<There>,
    /// What is here and not there.
    pub extra: Vec<EventPath>,
}

/// A copy, and the way to its source.
pub struct Reconcile<'a, 'c> {
    /// The copy.
    pub tree: &'a Tree,
    /// The source.
    pub rsync: Rsync<'a>,
    /// What is known of the copy.
    pub book: &'a mut CopyBook<'c>,
    /// Who is told.
    pub teller: &'a Teller,
    /// What becomes of symlinks that lead out.
    pub links: Symlinks,
    /// Whether directories get their times, too.
    pub directory_times: bool,
}

impl Reconcile<'_, '_> {
    /// Makes the copy the same. What could not be brought is told of, and is brought next time.
    pub fn run(&mut self) -> Result<(), TransferError> {
        let differences = self.compare()?;
        let Differences { there, extra } = &differences;
        let files: Vec<&There> = of(there, |it| it.kind == SFlag::S_IFREG && it.change == Change::Content);
        self.teller.expect(files.len() as u64);
        self.clear_ways(there)?;
        for directory in of(there, |it| it.kind == SFlag::S_IFDIR && it.change == Change::Content) {
            self.make_dir(directory)?;
        }
        if !files.is_empty() {
            let stage = self.tree.stage()?;
            for group in groups(&files) {
                self.bring(&stage, group)?;
            }
            stage.clear()?;
        }
        for link in of(there, |it| it.kind == SFlag::S_IFLNK && it.change == Change::Content) {
            self.make_link(link)?;
        }
        self.remove(extra)?;
        self.set_attributes(there)?;
        self.tree.end()?;
        self.book.write(None)?;
        Ok(())
    }

    /// Compares, and writes down what is the same.
    fn compare(&mut self) -> Result<Differences, TransferError> {
        let mut differences = Differences::default();
        let mut failed = None;
        let (tree, teller, book) = (self.tree, self.teller, &mut *self.book);
        let look = Look { directory_times: self.directory_times, equal: true };
        self.rsync
            .compare(tree.real(), look, &mut |item| {
                match item {
                    Item::There(there) if there.change == Change::Content => differences.there.push(there),
                    Item::There(there) => {
                        let same = tree.look(&there.path).map_err(TransferError::from).and_then(|found| {
                            found.map_or(Ok(()), |stat| Ok(book.same(&there.path, Known::of(&stat))?))
                        });
                        if let Err(error) = same {
                            failed = Some(error);
                            return Err(io::ErrorKind::Other.into());
                        }
                        if there.change == Change::Attributes {
                            differences.there.push(there);
                        }
                    }
                    Item::Extra(path) => differences.extra.push(path),
                    Item::Special(path) => {
                        let why = "neither a file nor a directory nor a symlink";
                        teller.tell(path.as_bytes(), Deed::Skipped { why });
                    }
                    Item::Top(_) => {}
                }
                Ok(())
            })
            .map_err(|error| failed.take().unwrap_or_else(|| error.into()))?;
        differences.there.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(differences)
    }

    /// Where a directory makes way for something else, what is known to be only a copy goes first.
    fn clear_ways(&mut self, there: &[There]) -> Result<(), TransferError> {
        for it in of(there, |it| it.kind != SFlag::S_IFDIR && it.change == Change::Content) {
            let in_the_way =
                self.tree.look(&it.path)?.is_some_and(|stat| Known::of(&stat).kind == SFlag::S_IFDIR);
            if in_the_way {
                let below: Vec<EventPath> =
                    self.book.below(Some(&it.path))?.into_iter().map(|(path, _)| path).collect();
                self.remove(&below)?;
                self.book.unknown(&it.path)?;
            }
        }
        Ok(())
    }

    fn make_dir(&mut self, there: &There) -> Result<(), TransferError> {
        let known = self.book.known(&there.path)?;
        self.tree.make_dir(&there.path, Some(attributes(there)), known)?;
        Ok(self.book.same(&there.path, Known { kind: SFlag::S_IFDIR, size: 0, modified: 0 })?)
    }

    fn make_link(&mut self, there: &There) -> Result<(), TransferError> {
        let known = self.book.known(&there.path)?;
        if self.tree.make_link(&there.path, &there.says, self.links, known)? {
            let known = Known { kind: SFlag::S_IFLNK, size: 0, modified: 0 };
            self.book.arrived(&there.path, &Arrived { known, sum: None })?;
            self.teller.tell(there.path.as_bytes(), Deed::Arrived { bytes: 0, sum: None });
        } else {
            self.skip(&there.path, "a symlink that leads out of the copy");
        }
        Ok(())
    }

    /// Brings a group of files, and puts them in their places.
    fn bring(&mut self, stage: &Stage<'_>, group: &[&There]) -> Result<(), TransferError> {
        let mut left: Vec<&EventPath> = group.iter().map(|there| &there.path).collect();
        for _ in 0..ATTEMPTS {
            self.rsync.stage(&left, &stage.real(), self.tree.real(), false, &mut |_| Ok(()))?;
            let mut fate: HashMap<EventPath, bool> = HashMap::with_capacity(left.len());
            self.rsync.stage(&left, &stage.real(), self.tree.real(), true, &mut |item| {
                if let Item::There(there) = item
                    && there.kind == SFlag::S_IFREG
                {
                    fate.insert(there.path, there.change == Change::Equal);
                }
                Ok(())
            })?;
            let same: Vec<&EventPath> =
                left.iter().copied().filter(|path| fate.get(path) == Some(&true)).collect();
            self.place(stage, &same)?;
            // What was not spoken of is gone, or is no file any more; the next comparison will say.
            left.retain(|path| fate.get(path) == Some(&false));
            if left.is_empty() {
                return Ok(());
            }
        }
        left.iter().for_each(|path| self.skip(path, "it has not stopped changing"));
        Ok(())
    }

    fn place(&mut self, stage: &Stage<'_>, paths: &[&EventPath]) -> Result<(), TransferError> {
        for group in paths.chunks(self.tree.group()) {
            let mut files: Vec<(&EventPath, Incoming<'_>, Known)> = Vec::with_capacity(group.len());
            for path in group {
                let Some(stat) = stage.look(path)? else { continue };
                if let Some(file) = self.tree.adopt(stage.at(), path)? {
                    files.push((path, file, Known::of(&stat)));
                }
            }
            self.tree.settle(files.iter().map(|(_, file, _)| file))?;
            for (path, file, known) in files {
                let sum = file.sum();
                file.place(self.book.known(path)?)?;
                self.book.arrived(path, &Arrived { known, sum: Some(sum) })?;
                self.teller.tell(path.as_bytes(), Deed::Arrived { bytes: known.size, sum: Some(sum) });
            }
        }
        self.book.write(None)?;
        Ok(())
    }

    /// Removes what is gone at the source, the deepest first, as far as it came from there and is what came.
    fn remove(&mut self, extra: &[EventPath]) -> Result<(), TransferError> {
        let mut gone: Vec<&EventPath> = extra.iter().collect();
        gone.sort_by(|one, other| other.cmp(one));
        let mut kept: HashSet<&[u8]> = HashSet::new();
        for path in gone {
            let Some(known) = self.book.known(path)? else { continue };
            let Some(stat) = self.tree.look(path)? else {
                self.book.unknown(path)?;
                continue;
            };
            if known.kind == SFlag::S_IFDIR && known.still(&stat) {
                if self.tree.remove_dir(path)? {
                    self.book.removed(path)?;
                    self.teller.tell(path.as_bytes(), Deed::Removed);
                } else {
                    self.book.unknown(path)?;
                    kept.insert(path.as_bytes());
                }
            } else if known.still(&stat) {
                self.tree.remove(path, Some(known))?;
                self.book.removed(path)?;
                self.teller.tell(path.as_bytes(), Deed::Removed);
            } else {
                self.book.unknown(path)?;
                self.skip(path, "it is gone at the source, but was changed here");
            }
        }
        Ok(())
    }

    /// Modes of files, modes and times of directories, the deepest first.
    fn set_attributes(&mut self, there: &[There]) -> Result<(), TransferError> {
        for file in of(there, |it| it.kind == SFlag::S_IFREG && it.change == Change::Attributes) {
            self.tree.set_attributes(Some(&file.path), attributes(file), false)?;
        }
        let directories: Vec<&There> = of(there, |it| it.kind == SFlag::S_IFDIR);
        if directories.is_empty() {
            return Ok(());
        }
        let mut exact: HashMap<&EventPath, Attributes> = HashMap::new();
        if self.directory_times {
            let stage = self.tree.stage()?;
            let paths: Vec<&EventPath> = directories.iter().map(|there| &there.path).collect();
            // A basis would leave out what is right already, and the stage has no other.
            self.rsync.stage(&paths, &stage.real(), &stage.real(), false, &mut |_| Ok(()))?;
            for path in paths {
                if let Some(stat) = stage.look(path)? {
                    exact
                        .insert(path, Attributes { mode: stat.st_mode, modified: Known::of(&stat).modified });
                }
            }
            stage.clear()?;
        }
        for there in directories.iter().rev() {
            let attributes = exact.get(&there.path).copied().unwrap_or_else(|| attributes(there));
            self.tree.set_attributes(Some(&there.path), attributes, exact.contains_key(&there.path))?;
        }
        Ok(())
    }

    fn skip(&self, path: &EventPath, why: &str) {
        self.teller.tell(path.as_bytes(), Deed::Skipped { why });
    }
}

/// What an item says of permissions; its time is not known exactly.
fn attributes(there: &There) -> Attributes {
    Attributes { mode: there.mode, modified: 0 }
}

fn of(there: &[There], which: impl Fn(&There) -> bool) -> Vec<&There> {
    there.iter().filter(|it| which(it)).collect()
}

/// Cuts files into groups that are neither too many nor too large.
fn groups<'f, 't>(files: &'f [&'t There]) -> Vec<&'f [&'t There]> {
    let mut groups = Vec::new();
    let (mut begin, mut bytes) = (0, 0_u64);
    for (index, file) in files.iter().enumerate() {
        if index > begin && (index - begin >= FILES || bytes.saturating_add(file.size) > BYTES) {
            groups.extend(files.get(begin..index));
            (begin, bytes) = (index, 0);
        }
        bytes = bytes.saturating_add(file.size);
    }
    groups.extend(files.get(begin..).filter(|rest| !rest.is_empty()));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_bounded_by_number_and_size() {
        let file = |size| There {
            path: EventPath::new(b"a".to_vec()).unwrap(),
            kind: SFlag::S_IFREG,
            size,
            mode: 0o644,
            says: Vec::new(),
            change: Change::Content,
        };
        let sizes = |all: &[There]| -> Vec<usize> {
            groups(&all.iter().collect::<Vec<_>>()).iter().map(|group| group.len()).collect()
        };
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&vec![file(1); FILES + 1]), [FILES, 1]);
        assert_eq!(
            sizes(&[file(BYTES * 5), file(1), file(BYTES), file(u64::MAX), file(u64::MAX)]),
            [1, 1, 1, 1, 1]
        );
        assert_eq!(sizes(&[file(BYTES), file(0)]), [2]);
    }
}
