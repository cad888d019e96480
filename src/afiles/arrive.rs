//! What has been got gets its place: directories before what is in them, files together, attributes of directories last.

use nix::sys::stat::SFlag;
use rrsync_rs::sha256::Sum;

use super::catalog::CatalogError;
use super::failures::TransferError;
use super::get::{Got, Wanted, get};
use super::receive::{Attributes, Incoming, Known, Symlinks, Tree};
use super::sftp::{Sftp, State};
use super::tell::{Deed, Teller};
use crate::event::EventPath;

/// What is known of a copy, and what becomes known.
pub trait Book {
    /// What `path` had when it was last made the same as its source.
    fn known(&self, path: &EventPath) -> Result<Option<Known>, CatalogError>;
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

    fn same(&mut self, _: &EventPath, _: Known) -> Result<(), CatalogError> {
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

/// Puts things in their places.
pub struct Arrivals<'a> {
    tree: &'a Tree,
    teller: &'a Teller,
    links: Symlinks,
    book: &'a mut dyn Book,
    /// Directories, and what they are to have when nothing changes in them any more.
    directories: Vec<(EventPath, Attributes)>,
}

impl<'a> Arrivals<'a> {
    /// Puts things in their places below `tree`.
    pub fn new(tree: &'a Tree, teller: &'a Teller, links: Symlinks, book: &'a mut dyn Book) -> Self {
        Self { tree, teller, links, book, directories: Vec::new() }
    }

    /// Gets what is wanted and puts it in its place.
    pub fn take(&mut self, sftp: &mut Sftp, wanted: &[Wanted]) -> Result<(), TransferError> {
        let mut files: Vec<(EventPath, Incoming<'a>, State)> = Vec::new();
        let tree = self.tree;
        get(sftp, tree, wanted, u64::MAX, &mut |index, got| {
            let Some(want) = wanted.get(index) else { return Ok(()) };
            match got {
                Got::File(file, state) => {
                    files.push((want.path.clone(), file, state));
                    if files.len() >= tree.group() {
                        self.place(&mut files)?
                    }
                }
                other => self.place_other(&want.path, other)?,
            }
            Ok(())
        })?;
        self.place(&mut files)
    }

    /// Everything has its place: now directories get their attributes, the deepest first, and names go to the disk. `top` is
    /// what the tree itself is to have.
    pub fn end(mut self, top: Option<&State>) -> Result<(), TransferError> {
        self.directories.sort_by(|(one, _), (other, _)| other.cmp(one));
        for (path, attributes) in &self.directories {
            self.tree.set_attributes(Some(path), *attributes, true)?;
        }
        self.tree.end()?;
        if let Some(state) = top {
            let attributes = Attributes { mode: state.mode, modified: state.modified };
            self.tree.set_attributes(None, attributes, true)?;
        }
        Ok(())
    }

    fn place(&mut self, files: &mut Vec<(EventPath, Incoming<'a>, State)>) -> Result<(), TransferError> {
        self.tree.settle(files.iter().map(|(_, file, _)| file))?;
        for (path, file, state) in files.drain(..) {
            let sum = file.sum();
            file.place(self.book.known(&path)?)?;
            let known = Known { kind: SFlag::S_IFREG, size: state.size, modified: state.modified };
            self.book.arrived(&path, &Arrived { known, sum: Some(sum) })?;
            self.teller.tell(path.as_bytes(), Deed::Arrived { bytes: state.size, sum: Some(sum) });
        }
        Ok(())
    }

    fn place_other(&mut self, path: &EventPath, got: Got<'_>) -> Result<(), TransferError> {
        let skipped = |why: &str| self.teller.tell(path.as_bytes(), Deed::Skipped { why });
        let known = |kind| Known { kind, size: 0, modified: 0 };
        match got {
            Got::Directory(state) => {
                let attributes = Attributes { mode: state.mode, modified: state.modified };
                self.tree.make_dir(path, Some(attributes), self.book.known(path)?)?;
                self.directories.push((path.clone(), attributes));
                self.book.same(path, known(SFlag::S_IFDIR))?;
            }
            Got::Link(says, _) => {
                if self.tree.make_link(path, &says, self.links, self.book.known(path)?)? {
                    self.book.arrived(path, &Arrived { known: known(SFlag::S_IFLNK), sum: None })?;
                    self.teller.tell(path.as_bytes(), Deed::Arrived { bytes: 0, sum: None });
                } else {
                    skipped("a symlink that leads out of the copy");
                }
            }
            Got::Special => skipped("neither a file nor a directory nor a symlink"),
            Got::Busy => skipped("it has not stopped changing"),
            Got::Refused(said) => skipped(&said),
            // It has gone since it was listed.
            Got::Missing | Got::Large(_) | Got::File(..) => {}
        }
        Ok(())
    }
}
