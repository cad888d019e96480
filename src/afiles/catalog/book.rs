//! What becomes known while a copy is being made the same as its source, and is written down together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nix::sys::stat::SFlag;
use rusqlite::params;

use super::history::{Deed, Transfer, insert};
use super::{Catalog, CatalogError, Copy, now};
use crate::afiles::receive::Known;
use crate::afiles::receiver::{Arrived, Book};
use crate::afiles::words::Remote;
use crate::event::{Cursor, EventPath};

/// How many paths are gathered before they are written down.
const GATHERED: usize = 4096;

/// The book of one copy.
#[derive(Debug)]
pub struct CopyBook<'c> {
    catalog: &'c Catalog,
    copy: Copy,
    /// What the copy is of.
    remote: Remote,
    /// Who this pod is there.
    who: String,
    /// Paths that are known anew, or known no longer.
    news: BTreeMap<EventPath, Option<Known>>,
    transfers: Vec<Transfer>,
    /// Who has changed what, where an event said so.
    authors: HashMap<EventPath, String>,
}

impl<'c> CopyBook<'c> {
    /// The book of `copy`, which is of `remote` and is kept by the pod that is `who` there.
    pub fn new(catalog: &'c Catalog, copy: Copy, remote: Remote, who: String) -> Self {
        let (news, authors) = (BTreeMap::new(), HashMap::new());
        Self { catalog, copy, remote, who, news, transfers: Vec::new(), authors }
    }

    /// Says who has changed `path`.
    pub fn authored(&mut self, path: EventPath, author: String) {
        self.authors.insert(path, author);
    }

    /// What is known of everything below `path`, of all for `None`.
    pub fn entries(&mut self, path: Option<&EventPath>) -> Result<Vec<(EventPath, Known)>, CatalogError> {
        self.write(None)?;
        self.catalog.below(self.copy.id, path)
    }

    /// A directory has another name, and everything below it with it.
    pub fn moved(&mut self, from: &EventPath, to: &EventPath) -> Result<(), CatalogError> {
        let mut entries = self.entries(Some(from))?;
        if let Some(known) = self.known(from)? {
            entries.push((from.clone(), known));
        }
        for (path, known) in entries {
            let rest = path.as_bytes().get(from.as_bytes().len()..).unwrap_or_default();
            if let Ok(new) = EventPath::new([to.as_bytes(), rest].concat()) {
                self.news.insert(new, Some(known));
            }
            self.news.insert(path, None);
        }
        Ok(())
    }

    /// Something was sent there.
    pub fn sent(&mut self, path: &EventPath, arrived: &Arrived) {
        self.news.insert(path.clone(), Some(arrived.known));
        self.note(path, Deed::Sent, Some(arrived));
    }

    /// Something was removed there.
    pub fn removed_there(&mut self, path: &EventPath) {
        self.news.insert(path.clone(), None);
        self.note(path, Deed::RemovedThere, None);
    }

    /// Writes everything down, with how far the copy has come.
    pub fn write(&mut self, cursor: Option<&Cursor>) -> Result<(), CatalogError> {
        if self.news.is_empty() && self.transfers.is_empty() && cursor.is_none() {
            return Ok(());
        }
        let database = &self.catalog.database;
        let id = self.copy.id;
        let write = || {
            let transaction = database.unchecked_transaction()?;
            let mut known = transaction.prepare_cached(
                "INSERT INTO entry (copy, path, kind, size, modified) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (copy, path) DO UPDATE SET kind = ?3, size = ?4, modified = ?5",
            )?;
            let mut unknown =
                transaction.prepare_cached("DELETE FROM entry WHERE copy = ?1 AND path = ?2")?;
            for (path, news) in &self.news {
                match news {
                    Some(it) => known.execute(params![
                        id,
                        path.as_bytes(),
                        it.kind.bits(),
                        i64::try_from(it.size).unwrap_or(i64::MAX),
                        it.modified
                    ])?,
                    None => unknown.execute(params![id, path.as_bytes()])?,
                };
            }
            self.transfers.iter().try_for_each(|transfer| insert(&transaction, transfer))?;
            if let Some(last) = self.transfers.last() {
                transaction
                    .execute("UPDATE copy SET transferred_at = ?2 WHERE id = ?1", params![id, last.time])?;
            }
            if let Some(cursor) = cursor {
                let mut moved = transaction.prepare_cached("UPDATE copy SET cursor = ?2 WHERE id = ?1")?;
                moved.execute(params![id, cursor.to_string()])?;
            }
            drop((known, unknown));
            transaction.commit()
        };
        write().map_err(|error| self.catalog.failed(error))?;
        self.news.clear();
        self.transfers.clear();
        self.authors.clear();
        Ok(())
    }

    /// From now on the copy follows on from nothing: everything is to be compared.
    pub fn forget_cursor(&self) -> Result<(), CatalogError> {
        let forgotten =
            self.catalog.database.execute("UPDATE copy SET cursor = NULL WHERE id = ?1", [self.copy.id]);
        forgotten.map(drop).map_err(|error| self.catalog.failed(error))
    }

    fn note(&mut self, path: &EventPath, deed: Deed, arrived: Option<&Arrived>) {
        let remote = Remote { path: self.remote.join(path), ..self.remote.clone() };
        self.transfers.push(Transfer {
            time: now(),
            path: self.copy.directory.join(path.as_path()),
            remote: remote.to_string(),
            deed,
            who: self.who.clone(),
            author: self.authors.get(path).cloned(),
            bytes: arrived.and_then(|arrived| arrived.sum.map(|_| arrived.known.size)),
            sum: arrived.and_then(|arrived| arrived.sum),
        });
    }
}

impl Book for CopyBook<'_> {
    fn known(&self, path: &EventPath) -> Result<Option<Known>, CatalogError> {
        match self.news.get(path) {
            Some(news) => Ok(*news),
            None => self.catalog.known(self.copy.id, path),
        }
    }

    fn below(&mut self, path: &EventPath) -> Result<Vec<EventPath>, CatalogError> {
        // A file has nothing below it, and nothing is written down for the sake of the question.
        if self.known(path)?.is_some_and(|known| known.kind != SFlag::S_IFDIR) {
            return Ok(Vec::new());
        }
        let written = self.catalog.below(self.copy.id, Some(path))?;
        let mut below: BTreeSet<EventPath> = written.into_iter().map(|(path, _)| path).collect();
        for (path, news) in path.below(&self.news) {
            if news.is_some() {
                below.insert(path.clone())
            } else {
                below.remove(path)
            };
        }
        Ok(below.into_iter().collect())
    }

    fn links(&self) -> Result<BTreeSet<EventPath>, CatalogError> {
        let mut links: BTreeSet<EventPath> = self.catalog.links(self.copy.id)?.into_iter().collect();
        for (path, news) in &self.news {
            if news.is_some_and(|known| known.kind == SFlag::S_IFLNK) {
                links.insert(path.clone());
            } else {
                links.remove(path);
            }
        }
        Ok(links)
    }

    fn same(&mut self, path: &EventPath, known: Known) -> Result<(), CatalogError> {
        if self.known(path)? != Some(known) {
            self.news.insert(path.clone(), Some(known));
        }
        if self.news.len() >= GATHERED { self.write(None) } else { Ok(()) }
    }

    fn arrived(&mut self, path: &EventPath, arrived: &Arrived) -> Result<(), CatalogError> {
        self.news.insert(path.clone(), Some(arrived.known));
        self.note(path, Deed::Received, Some(arrived));
        if self.news.len() >= GATHERED { self.write(None) } else { Ok(()) }
    }

    fn removed(&mut self, path: &EventPath) -> Result<(), CatalogError> {
        self.news.insert(path.clone(), None);
        self.note(path, Deed::Removed, None);
        Ok(())
    }

    fn unknown(&mut self, path: &EventPath) -> Result<(), CatalogError> {
        self.news.insert(path.clone(), None);
        Ok(())
    }
}
