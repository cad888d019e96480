//! What a directory holds: names, and what kind of thing each is.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

use super::dirs::DirId;
use super::look;
use crate::event::Kind;

/// The names of one directory, one behind the other in one piece of memory: a tree has many.
#[derive(Debug, Default)]
pub struct Listing {
    bytes: Vec<u8>,
    entries: Vec<Packed>,
}

#[derive(Debug)]
struct Packed {
    end: usize,
    kind: Kind,
    inode: u64,
    dir: Option<DirId>,
}

/// One name.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// Its inode.
    pub inode: u64,
    /// A directory's number, once it has one.
    pub dir: Option<DirId>,
}

impl Listing {
    /// Lists an open directory, but for the names that `skips`.
    pub fn read(&mut self, dir: impl AsFd, skips: impl Fn(&[u8], Kind) -> bool) -> io::Result<()> {
        self.bytes.clear();
        self.entries.clear();
        let mut buffer = [MaybeUninit::uninit(); 1 << 14];
        let mut listing = RawDir::new(dir.as_fd(), &mut buffer);
        while let Some(entry) = listing.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // It has been removed meanwhile, with all that was in it.
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error.into()),
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::RegularFile => Kind::File,
                FileType::Directory => Kind::Directory,
                FileType::Symlink => Kind::Symlink,
                // Not every file system says.
                FileType::Unknown => match look::at(&dir, name)? {
                    Some(stat) => stat.kind,
                    None => continue,
                },
                _ => Kind::Other,
            };
            if !skips(name, kind) {
                self.bytes.extend_from_slice(name);
                self.entries.push(Packed { end: self.bytes.len(), kind, inode: entry.ino(), dir: None });
            }
        }
        Ok(())
    }

    /// Gives every directory a number.
    pub fn number(&mut self, mut next: impl FnMut() -> DirId) {
        for entry in self.entries.iter_mut().filter(|entry| entry.kind == Kind::Directory) {
            entry.dir = Some(next());
        }
    }

    /// The names, in the order of the directory.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let name = &self.bytes[start..entry.end];
            start = entry.end;
            Entry { name, kind: entry.kind, inode: entry.inode, dir: entry.dir }
        })
    }
}
