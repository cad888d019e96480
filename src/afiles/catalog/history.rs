//! What was ever transferred: only added to.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rrsync_rs::sha256::Sum;
use rusqlite::params;

use super::{Catalog, CatalogError};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    /// It came here.
    Received,
    /// It was sent there.
    Sent,
    /// It was removed here, because it was gone there.
    Removed,
    /// It was removed there, because it was gone here.
    RemovedThere,
}

impl Deed {
    /// As it is stored, and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
            Self::Removed => "removed",
            Self::RemovedThere => "removed-there",
        }
    }

    fn read(word: &str) -> Option<Self> {
        [Self::Received, Self::Sent, Self::Removed, Self::RemovedThere]
            .into_iter()
            .find(|deed| deed.word() == word)
    }
}

/// One transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// When, in nanoseconds since 1970.
    pub time: i64,
    /// The path here.
    pub path: PathBuf,
    /// The path there, as afiles writes it: `USER@HOST/WORKSPACE:PATH`.
    pub remote: String,
    /// What was done.
    pub deed: Deed,
    /// The pod that did it, as the account there knows it: the name of its grant.
    pub who: String,
    /// Who had changed it, where an event said so.
    pub author: Option<String>,
    /// Bytes of content.
    pub bytes: Option<u64>,
    /// The sum of the content, where it was seen whole.
    pub sum: Option<Sum>,
}

impl Catalog {
    /// The transfers of `path` and of everything below it, oldest first; all for `None`. The last `most` of them.
    pub fn transfers(&self, path: Option<&Path>, most: u32) -> Result<Vec<Transfer>, CatalogError> {
        let find = || {
            let mut statement = self.database.prepare(
                "SELECT time, path, remote, deed, who, author, bytes, sha256 FROM transfer
                 WHERE ?1 IS NULL OR path = ?1 OR (path >= ?2 AND path < ?3) ORDER BY id DESC LIMIT ?4",
            )?;
            let bytes = path.map(|path| path.as_os_str().as_bytes());
            let with = |end: &[u8]| bytes.map(|bytes| [bytes, end].concat());
            let rows = statement.query_map(params![bytes, with(b"/"), with(b"0"), most], transfer_of)?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        let mut found: Vec<Transfer> = find().map_err(|error| self.failed(error))?;
        found.reverse();
        Ok(found)
    }

    /// Records a transfer that belongs to no copy.
    pub fn record(&self, transfer: &Transfer) -> Result<(), CatalogError> {
        insert(&self.database, transfer).map_err(|error| self.failed(error))
    }
}

fn transfer_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Transfer> {
    let path: Vec<u8> = row.get(1)?;
    let deed: String = row.get(3)?;
    let bytes: Option<i64> = row.get(6)?;
    let sum: Option<[u8; 32]> = row.get(7)?;
    Ok(Transfer {
        time: row.get(0)?,
        path: OsStr::from_bytes(&path).into(),
        remote: row.get(2)?,
        deed: Deed::read(&deed).unwrap_or(Deed::Received),
        who: row.get(4)?,
        author: row.get(5)?,
        bytes: bytes.map(i64::unsigned_abs),
        sum: sum.map(Sum::from),
    })
}

pub(super) fn insert(database: &rusqlite::Connection, transfer: &Transfer) -> rusqlite::Result<()> {
    let mut statement = database.prepare_cached(
        "INSERT INTO transfer (time, path, remote, deed, who, author, bytes, sha256) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    statement.execute(params![
        transfer.time,
        transfer.path.as_os_str().as_bytes(),
        transfer.remote,
        transfer.deed.word(),
        transfer.who,
        transfer.author,
        transfer.bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        transfer.sum.map(<[u8; 32]>::from),
    ])?;
    Ok(())
}
