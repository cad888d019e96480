//! What is known about each name: what was announced last, or what was there when the watch began.
//!
//! A change is a difference between what is known and what is there. Where it is kept is another's affair: in memory for a
//! stream that begins with its reader, in a database for the daemon.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use super::dirs::{DirId, Name, Place};
use super::listing::{Entry, Listing};
use super::look::Stat;
use crate::event::Kind;

/// What is known about one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// What it is.
    pub kind: Kind,
    /// A directory's number.
    pub dir: Option<DirId>,
    /// Its inode; 0 where that is not known.
    pub inode: u64,
    /// More than a listing of its directory tells.
    pub detail: Option<Detail>,
}

/// What was seen of it when it was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detail {
    /// What the system said.
    pub stat: Stat,
    /// Its content, if that was read.
    pub sha256: Option<[u8; 32]>,
}

impl Known {
    /// What is known after a look.
    pub fn seen(stat: Stat, dir: Option<DirId>, sha256: Option<[u8; 32]>) -> Self {
        let detail = Some(Detail { stat, sha256 });
        Self { kind: stat.kind, dir, inode: stat.identity.inode, detail }
    }

    /// Whether `stat` is of the same file, as far as that is known.
    pub fn is(&self, stat: &Stat) -> bool {
        match &self.detail {
            Some(detail) => detail.stat.is(stat),
            None => self.kind == stat.kind && self.inode == stat.identity.inode,
        }
    }
}

/// Why the store does not answer.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct StoreError {
    /// What it says.
    pub what: String,
    /// Whether what is known is lost.
    pub lost: bool,
}

/// Where it is kept.
pub trait Store {
    /// What is known about a name.
    fn get(&self, dir: DirId, name: &[u8]) -> Result<Option<Known>, StoreError>;
    /// Takes in what is known now.
    fn put(&mut self, dir: DirId, name: &[u8], known: &Known) -> Result<(), StoreError>;
    /// Forgets a name.
    fn remove(&mut self, dir: DirId, name: &[u8]) -> Result<(), StoreError>;
    /// Forgets every name in a directory, and says which directories were among them.
    fn clear(&mut self, dir: DirId) -> Result<Vec<DirId>, StoreError>;
    /// Every name in a directory that is known in detail.
    fn names(&self, dir: DirId) -> Result<Vec<(Name, Known)>, StoreError>;
    /// Every name of the files with these inodes; without the name, only that there is one in that directory.
    fn linked(&self, inodes: &HashSet<u64>) -> Result<Vec<(DirId, Option<Name>)>, StoreError>;
    /// Takes in the names of a directory that is listed for the first time.
    fn list(&mut self, dir: DirId, listing: &Listing) -> Result<(), StoreError>;
}

/// In memory. A name that was only listed takes sixteen bytes: a hash stands for it. Two names of a directory with the same hash,
/// one in four thousand million, can be taken for each other until they are announced.
#[derive(Debug, Default)]
pub struct Memory {
    announced: BTreeMap<Place, Known>,
    listed: HashMap<DirId, Vec<Listed>>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Listed {
    hash: u32,
    kind: Kind,
    /// Whether it has been announced or forgotten since.
    over: bool,
    /// The inode; a directory's number, for a directory.
    number: u64,
}

impl Listed {
    fn known(self) -> Known {
        let dir = u32::try_from(self.number).ok().filter(|_| self.kind == Kind::Directory).map(DirId);
        Known { kind: self.kind, dir, inode: if dir.is_some() { 0 } else { self.number }, detail: None }
    }
}

impl Memory {
    fn hash(&self, name: &[u8]) -> u32 {
        let [a, b, c, d, ..] = self.hasher.hash_one(name).to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    }

    fn listed(&self, dir: DirId, name: &[u8]) -> Option<usize> {
        let (all, hash) = (self.listed.get(&dir)?, self.hash(name));
        let first = all.partition_point(|listed| listed.hash < hash);
        let same = all[first..].iter().take_while(|listed| listed.hash == hash);
        same.enumerate().find(|(_, listed)| !listed.over).map(|(at, _)| first + at)
    }

    /// As when the inode of a name that was only listed has been given to another file.
    #[cfg(test)]
    pub(super) fn renumber(&mut self, dir: DirId, name: &[u8], inode: u64) {
        let at = self.listed(dir, name).unwrap();
        self.listed.get_mut(&dir).unwrap()[at].number = inode;
    }

    fn unlist(&mut self, dir: DirId, name: &[u8]) {
        if let Some(at) = self.listed(dir, name)
            && let Some(listed) = self.listed.get_mut(&dir).and_then(|all| all.get_mut(at))
        {
            listed.over = true;
        }
    }
}

impl Store for Memory {
    fn get(&self, dir: DirId, name: &[u8]) -> Result<Option<Known>, StoreError> {
        if let Some(known) = self.announced.get(&(dir, Name::from(name))) {
            return Ok(Some(*known));
        }
        Ok(self.listed(dir, name).map(|at| self.listed[&dir][at].known()))
    }

    fn put(&mut self, dir: DirId, name: &[u8], known: &Known) -> Result<(), StoreError> {
        if self.announced.insert((dir, Name::from(name)), *known).is_none() {
            self.unlist(dir, name);
        }
        Ok(())
    }

    fn remove(&mut self, dir: DirId, name: &[u8]) -> Result<(), StoreError> {
        if self.announced.remove(&(dir, Name::from(name))).is_none() {
            self.unlist(dir, name);
        }
        Ok(())
    }

    fn clear(&mut self, dir: DirId) -> Result<Vec<DirId>, StoreError> {
        let listed = self.listed.remove(&dir).unwrap_or_default();
        let listed = listed.into_iter().filter(|listed| !listed.over);
        let mut dirs: Vec<DirId> = listed.filter_map(|listed| listed.known().dir).collect();
        for (name, known) in self.names(dir)? {
            dirs.extend(known.dir);
            self.announced.remove(&(dir, name));
        }
        Ok(dirs)
    }

    fn names(&self, dir: DirId) -> Result<Vec<(Name, Known)>, StoreError> {
        let first = (dir, Name::from(&b""[..]));
        let all = self.announced.range(first..).take_while(|((parent, _), _)| *parent == dir);
        Ok(all.map(|((_, name), known)| (Name::clone(name), *known)).collect())
    }

    fn linked(&self, inodes: &HashSet<u64>) -> Result<Vec<(DirId, Option<Name>)>, StoreError> {
        let is_one = |kind, inode: &u64| kind == Kind::File && inodes.contains(inode);
        let announced = self.announced.iter().filter(|(_, known)| is_one(known.kind, &known.inode));
        let announced = announced.map(|((dir, name), _)| (*dir, Some(Name::clone(name))));
        let any =
            |all: &[Listed]| all.iter().any(|listed| !listed.over && is_one(listed.kind, &listed.number));
        let listed = self.listed.iter().filter(|(_, all)| any(all)).map(|(dir, _)| (*dir, None));
        Ok(announced.chain(listed).collect())
    }

    fn list(&mut self, dir: DirId, listing: &Listing) -> Result<(), StoreError> {
        let listed = |entry: Entry<'_>| {
            let number = entry.dir.map_or(entry.inode, |dir| dir.0.into());
            Listed { hash: self.hash(entry.name), kind: entry.kind, over: false, number }
        };
        let mut all: Vec<Listed> = listing.iter().map(listed).collect();
        all.sort_unstable_by_key(|listed| listed.hash);
        self.listed.insert(dir, all);
        Ok(())
    }
}
