//! What has come gets its place, whatever brought it: ways are cleared first, directories come before what is in them, files
//! of a group together, what is gone goes last, and directories get their attributes when nothing changes in them any more.
//!
//! Only what came from the source is ever removed. What was made here by others stays, and what was changed here is kept in the
//! version store before it is overwritten. A path that cannot get its place does not stop the others: it is left out, and said so.

use std::collections::{BTreeSet, HashMap, HashSet};

use nix::sys::stat::SFlag;
use rrsync_rs::sha256::Sum;

use super::catalog::CatalogError;
use super::failures::TransferError;
use super::get::{Got, Wanted, get};
use super::receive::{Attributes, Incoming, Known, ReceiveError, Stage, Symlinks, Tree};
use super::rsync::{Change, Item, Rsync};
use super::sftp::{Sftp, State};
use super::tell::{Deed, Teller};
use crate::event::EventPath;

/// How often a file that keeps changing is brought again.
const ATTEMPTS: u32 = 5;

/// What is known of a copy, and what becomes known.
pub trait Book {
    /// What `path` had when it was last made the same as its source.
    fn known(&self, path: &EventPath) -> Result<Option<Known>, CatalogError>;
    /// The paths below `path` of which something is known.
    fn below(&mut self, path: &EventPath) -> Result<Vec<EventPath>, CatalogError>;
    /// The symlinks that are known.
    fn links(&self) -> Result<BTreeSet<EventPath>, CatalogError>;
    /// `path` was found to be the same as its source.
    fn same(&mut self, path: &EventPath, known: Known) -> Result<(), CatalogError>;
    /// `path` is the same as its source from now on.
    fn arrived(&mut self, path: &EventPath, arrived: &Arrived) -> Result<(), CatalogError>;
    /// `path` was removed, as it was at its source.
    fn removed(&mut self, path: &EventPath) -> Result<(), CatalogError>;
    /// Nothing is known of `path` any more: it is somebody's own.
    fn unknown(&mut self, path: &EventPath) -> Result<(), CatalogError>;
}

/// What has got its place.
#[derive(Debug, Clone, Copy)]
pub struct Arrived {
    /// What it is now.
    pub known: Known,
    /// The sum of a file's content.
    pub sum: Option<Sum>,
}

/// The book of a directory that is new: nothing was known, and what becomes known is kept until somebody wants it.
#[derive(Debug, Default)]
pub struct NewBook(pub Vec<(EventPath, Arrived)>);

impl Book for NewBook {
    fn known(&self, _: &EventPath) -> Result<Option<Known>, CatalogError> {
        Ok(None)
    }

    fn below(&mut self, _: &EventPath) -> Result<Vec<EventPath>, CatalogError> {
        Ok(Vec::new())
    }

    fn links(&self) -> Result<BTreeSet<EventPath>, CatalogError> {
        Ok(BTreeSet::new())
    }

    fn same(&mut self, path: &EventPath, known: Known) -> Result<(), CatalogError> {
        self.0.push((path.clone(), Arrived { known, sum: None }));
        Ok(())
    }

    fn arrived(&mut self, path: &EventPath, arrived: &Arrived) -> Result<(), CatalogError> {
        self.0.push((path.clone(), *arrived));
        Ok(())
    }

    fn removed(&mut self, _: &EventPath) -> Result<(), CatalogError> {
        Ok(())
    }

    fn unknown(&mut self, _: &EventPath) -> Result<(), CatalogError> {
        Ok(())
    }
}

/// What becomes of a path that has not got its place.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is other than it was.
    pub changed: Vec<EventPath>,
    /// What could not be brought or placed, and might be later.
    pub left: Vec<(EventPath, String)>,
    /// What the source had no more when it was asked for.
    pub missing: Vec<EventPath>,
    /// What is too large to come over SFTP.
    pub large: Vec<EventPath>,
    /// Symlinks that lead somewhere else by now than when they were told of.
    pub newer: Vec<EventPath>,
    /// Of what the source says something else than what was told.
    pub doubtful: Vec<EventPath>,
}

/// Puts things in their places.
pub struct Receiver<'a> {
    /// Where.
    pub tree: &'a Tree,
    /// What is known of it.
    pub book: &'a mut dyn Book,
    /// Who is told.
    pub teller: &'a Teller,
    /// What becomes of symlinks that lead out.
    pub links: Symlinks,
    /// What has become of it all.
    pub outcome: Outcome,
    directories: Vec<Later>,
    /// Directories that were made.
    made: HashSet<EventPath>,
}

/// What a directory is to have at the end.
struct Later {
    path: EventPath,
    attributes: Attributes,
    /// Whether the time is to be set.
    timed: bool,
}

/// Nothing but its kind is known of it.
fn bare(kind: SFlag) -> Known {
    Known { kind, size: 0, modified: 0 }
}

impl<'a> Receiver<'a> {
    /// Puts things in their places below `tree`.
    pub fn new(tree: &'a Tree, book: &'a mut dyn Book, teller: &'a Teller, links: Symlinks) -> Self {
        Self {
            tree,
            book,
            teller,
            links,
            outcome: Outcome::default(),
            directories: Vec::new(),
            made: HashSet::new(),
        }
    }

    /// Gets what is wanted over SFTP, up to a size, and puts it in its place.
    pub fn take(&mut self, sftp: &mut Sftp, wanted: &[Wanted], largest: u64) -> Result<(), TransferError> {
        let mut files: Vec<(&EventPath, Incoming<'a>, Known)> = Vec::new();
        let mut links: Vec<(&EventPath, Vec<u8>)> = Vec::new();
        let tree = self.tree;
        get(sftp, tree, self.teller, wanted, largest, &mut |index, got| {
            let Some(want) = wanted.get(index) else { return Ok(()) };
            let path = &want.path;
            if want.as_of.is_some_and(|told| !matches!(&got, Got::File(_, state) if state.modified == told)) {
                self.outcome.doubtful.push(path.clone());
            }
            match got {
                Got::File(file, state) => {
                    let known = Known { kind: SFlag::S_IFREG, size: state.size, modified: state.modified };
                    files.push((path, file, known));
                    if files.len() >= tree.group() { self.place(&mut files) } else { Ok(()) }
                }
                Got::Directory(state) => self.directory(path, attributes(&state), true),
                // After what it may lead to.
                Got::Link(says, _) => {
                    links.push((path, says));
                    Ok(())
                }
                Got::Special => {
                    self.skip(path, "neither a file nor a directory nor a symlink");
                    Ok(())
                }
                Got::Busy => {
                    self.leave(path, "it has not stopped changing");
                    Ok(())
                }
                Got::Refused(said) => {
                    self.leave(path, &said);
                    Ok(())
                }
                Got::Failed(error) => self.failed(path, error),
                Got::Missing => {
                    self.outcome.missing.push(path.clone());
                    Ok(())
                }
                Got::Large => {
                    self.outcome.large.push(path.clone());
                    Ok(())
                }
            }
        })?;
        self.place(&mut files)?;
        links.into_iter().try_for_each(|(path, says)| self.link(path, &says))
    }

    /// What symlinks say. One that was made anew since it was told of, or is something else by now, is left for when that is told.
    pub fn read_links(
        &mut self,
        sftp: &mut Sftp,
        wanted: &[Wanted],
    ) -> Result<Vec<(EventPath, Vec<u8>)>, TransferError> {
        let mut links = Vec::new();
        get(sftp, self.tree, self.teller, wanted, 0, &mut |index, got| {
            let Some(Wanted { path, as_of, .. }) = wanted.get(index) else { return Ok(()) };
            match got {
                Got::Link(says, state) if as_of.is_none_or(|time| time == state.modified) => {
                    links.push((path.clone(), says));
                }
                Got::Refused(said) => self.leave(path, &said),
                Got::Missing => self.outcome.missing.push(path.clone()),
                _ => self.outcome.newer.push(path.clone()),
            }
            Ok(())
        })?;
        Ok(links)
    }

    /// Brings files by rsync, and puts them in their places. While that goes on their owner may write them, so another
    /// comparison asks whether what has come is what is there; what is not is brought again.
    pub fn bring(
        &mut self,
        rsync: &Rsync<'_>,
        stage: &Stage<'_>,
        paths: &[&EventPath],
    ) -> Result<(), TransferError> {
        let mut left = paths.to_vec();
        for _ in 0..ATTEMPTS {
            let teller = self.teller;
            rsync.stage(&left, &stage.real(), self.tree.real(), false, &mut |item| {
                if let Item::Moved(bytes) = item {
                    teller.moving(bytes);
                }
                Ok(())
            })?;
            let mut fate: HashMap<EventPath, bool> = HashMap::with_capacity(left.len());
            rsync.stage(&left, &stage.real(), self.tree.real(), true, &mut |item| {
                if let Item::There(there) = item
                    && there.kind == SFlag::S_IFREG
                {
                    fate.insert(there.path, there.change == Change::Equal);
                }
                Ok(())
            })?;
            let same: Vec<&EventPath> =
                left.iter().copied().filter(|path| fate.get(path) == Some(&true)).collect();
            self.place_staged(stage, &same)?;
            // What was not spoken of is gone, or is no file any more.
            let gone = left.iter().filter(|path| !fate.contains_key(path));
            self.outcome.missing.extend(gone.map(|path| (*path).clone()));
            left.retain(|path| fate.get(path) == Some(&false));
            if left.is_empty() {
                return Ok(());
            }
        }
        for path in left {
            self.leave(path, "it has not stopped changing");
        }
        Ok(())
    }

    /// Makes a directory; it gets its attributes, and its time where `timed`, at the end.
    pub fn directory(
        &mut self,
        path: &EventPath,
        attributes: Attributes,
        timed: bool,
    ) -> Result<(), TransferError> {
        let known = self.book.known(path)?;
        if let Err(error) = self.tree.make_dir(path, Some(attributes), known) {
            return self.failed(path, error);
        }
        if known.is_none_or(|known| known.kind != SFlag::S_IFDIR) {
            self.outcome.changed.push(path.clone());
            self.book.same(path, bare(SFlag::S_IFDIR))?;
            self.teller.tell(path.as_bytes(), Deed::Made);
            self.made.insert(path.clone());
        }
        self.directory_later(path, attributes, timed);
        Ok(())
    }

    /// A directory gets these attributes at the end.
    pub fn directory_later(&mut self, path: &EventPath, attributes: Attributes, timed: bool) {
        self.directories.push(Later { path: path.clone(), attributes, timed });
    }

    /// Makes a symlink.
    pub fn link(&mut self, path: &EventPath, says: &[u8]) -> Result<(), TransferError> {
        self.clear_way(path)?;
        let known = self.book.known(path)?;
        match self.tree.make_link(path, says, self.links, known) {
            Ok(true) => {
                self.book.arrived(path, &Arrived { known: bare(SFlag::S_IFLNK), sum: None })?;
                self.outcome.changed.push(path.clone());
                self.teller.tell(path.as_bytes(), Deed::Arrived { bytes: 0, sum: None });
            }
            Ok(false) => self.skip(path, "a symlink that leads out of the copy"),
            Err(error) => return self.failed(path, error),
        }
        Ok(())
    }

    /// Sets the mode of a file that is otherwise the same as its source.
    pub fn mode(&mut self, path: &EventPath, mode: u32) -> Result<(), TransferError> {
        match self.tree.set_attributes(Some(path), Attributes { mode, modified: 0 }, false) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.outcome.changed.push(path.clone());
                self.teller.tell(path.as_bytes(), Deed::Attributes);
                Ok(())
            }
            Err(error) => self.failed(path, error),
        }
    }

    /// Removes what is gone at the source, the deepest first, as far as it came from there and is what came.
    pub fn remove(&mut self, mut gone: Vec<EventPath>) -> Result<(), TransferError> {
        gone.sort_by(|one, other| other.cmp(one));
        let _remembered = self.tree.remember();
        for path in &gone {
            let Some(known) = self.book.known(path)? else { continue };
            let Some(stat) = self.tree.look(path)? else {
                self.book.unknown(path)?;
                continue;
            };
            if !known.still(&stat) {
                self.book.unknown(path)?;
                self.skip(path, "it is gone at the source, but was changed here");
                continue;
            }
            let removed = if known.kind == SFlag::S_IFDIR {
                self.tree.remove_dir(path)
            } else {
                self.tree.remove(path, Some(known)).map(|()| true)
            };
            match removed {
                Ok(true) => {
                    self.book.removed(path)?;
                    self.outcome.changed.push(path.clone());
                    self.teller.tell(path.as_bytes(), Deed::Removed);
                }
                // Something is in it that nobody else has.
                Ok(false) => self.book.unknown(path)?,
                Err(error) => self.failed(path, error)?,
            }
        }
        Ok(())
    }

    /// Removes what is gone at the source, with everything below it.
    pub fn remove_below(&mut self, path: &EventPath) -> Result<(), TransferError> {
        let mut gone = self.book.below(path)?;
        gone.push(path.clone());
        self.remove(gone)
    }

    /// Where a directory makes way for something else, what is known to be only a copy goes first.
    pub fn clear_way(&mut self, path: &EventPath) -> Result<(), TransferError> {
        let in_the_way = self.tree.look(path)?.is_some_and(|stat| Known::of(&stat).kind == SFlag::S_IFDIR);
        if in_the_way {
            let below = self.book.below(path)?;
            self.remove(below)?;
            self.book.unknown(path)?;
        }
        Ok(())
    }

    /// Everything has its place: directories get their attributes, the deepest first, and names go to the disk.
    pub fn end(mut self) -> Result<Outcome, TransferError> {
        let mut directories = std::mem::take(&mut self.directories);
        directories.sort_by(|one, other| other.path.cmp(&one.path));
        for Later { path, attributes, timed } in &directories {
            match self.tree.set_attributes(Some(path), *attributes, *timed) {
                Ok(true) if !self.made.contains(path) => self.teller.tell(path.as_bytes(), Deed::Attributes),
                Ok(_) => {}
                Err(error) => self.failed(path, error)?,
            }
        }
        self.tree.end()?;
        Ok(self.outcome)
    }

    /// A path that is not to be here, and will not be.
    pub fn skip(&self, path: &EventPath, why: &str) {
        self.teller.tell(path.as_bytes(), Deed::Skipped { why });
    }

    /// A path that is to be here, and is not yet.
    fn leave(&mut self, path: &EventPath, why: &str) {
        self.skip(path, why);
        self.outcome.left.push((path.clone(), why.to_owned()));
    }

    /// What concerns one path leaves it out; what concerns all of them ends it.
    fn failed(&mut self, path: &EventPath, error: ReceiveError) -> Result<(), TransferError> {
        if error.is_everyones() {
            return Err(error.into());
        }
        self.leave(path, &error.to_string());
        Ok(())
    }

    fn place_staged(&mut self, stage: &Stage<'_>, paths: &[&EventPath]) -> Result<(), TransferError> {
        for group in paths.chunks(self.tree.group()) {
            let mut files: Vec<(&EventPath, Incoming<'a>, Known)> = Vec::with_capacity(group.len());
            for path in group {
                let Some(stat) = stage.look(path)? else { continue };
                match self.tree.adopt(stage.at(), path) {
                    Ok(Some(file)) => files.push((path, file, Known::of(&stat))),
                    Ok(None) => self.skip(path, "what has come is no plain file"),
                    Err(error) => self.failed(path, error)?,
                }
            }
            self.place(&mut files)?;
        }
        Ok(())
    }

    fn place(&mut self, files: &mut Vec<(&EventPath, Incoming<'a>, Known)>) -> Result<(), TransferError> {
        self.tree.settle(files.iter().map(|(_, file, _)| file))?;
        for (path, file, known) in files.drain(..) {
            let sum = file.sum();
            self.clear_way(path)?;
            let before = self.book.known(path)?;
            if let Err(error) = file.place(before) {
                self.failed(path, error)?;
                continue;
            }
            self.book.arrived(path, &Arrived { known, sum: Some(sum) })?;
            self.outcome.changed.push(path.clone());
            self.teller.tell(path.as_bytes(), Deed::Arrived { bytes: known.size, sum: Some(sum) });
        }
        Ok(())
    }
}

fn attributes(state: &State) -> Attributes {
    Attributes { mode: state.mode, modified: state.modified }
}
