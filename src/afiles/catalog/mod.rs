//! What this account knows of its copies: where each comes from, what is in it, how far it has come; and what was ever
//! transferred. One file of `SQLite`, `~/.local/state/akeys/afiles.db`.
//!
//! What is known of a path is what it had when it was last made the same as its source. It says what may be removed here when it is
//! gone there, and what has been changed here since. It is written after the files are, so a crash leaves a copy that knows
//! too little and never one that knows too much: what is not known is treated as somebody's own.

mod book;
mod history;
mod schema;

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::SFlag;
use rrsync_rs::escape::Escaped;
use rrsync_rs::layout::Layout;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::receive::Known;
use crate::common::private::{self, PrivateError};
use crate::event::{Cursor, EventPath};

pub use book::CopyBook;
pub use history::{Deed, Transfer};

/// How long one program waits for another to finish writing.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] PrivateError),
    /// The database says no.
    #[error("{}: {source}", Escaped::os(path))]
    Database {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// A later version of this program has written it.
    #[error("{} was written by a newer afiles", Escaped::os(path))]
    Newer {
        /// The file.
        path: PathBuf,
    },
}

/// The open file.
#[derive(Debug)]
pub struct Catalog {
    database: Connection,
    path: PathBuf,
}

/// A copy: which directory it is, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Its number.
    pub id: i64,
    /// The directory here.
    pub directory: PathBuf,
    /// What it is a copy of, as afiles writes it: `USER@HOST/WORKSPACE:PATH`.
    pub source: String,
    /// What it follows on from.
    pub cursor: Option<Cursor>,
    /// Which way it goes.
    pub way: Way,
    /// How it stands.
    pub standing: Standing,
}

/// Which way the content of a copy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From there to here.
    Fetched,
    /// From here to there.
    Sent,
}

/// How a copy stands, for people and for monitors. Moments are nanoseconds since 1970, by this machine's clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// When it was last known to be the same as its source.
    pub same_at: Option<i64>,
    /// Since when it has not been, or since when nobody knows.
    pub behind_since: Option<i64>,
    /// How many changes are known and not made yet.
    pub behind_by: u64,
    /// When something was last transferred.
    pub transferred_at: Option<i64>,
    /// What goes wrong, while it does.
    pub error: Option<String>,
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

impl Catalog {
    /// Opens the catalog, and makes it if there is none.
    pub fn open(layout: &Layout) -> Result<Self, CatalogError> {
        private::directory(&layout.state_dir())?;
        let path = layout.catalog();
        let failed = |source| CatalogError::Database { path: path.clone(), source };
        let database = Connection::open(&path).map_err(failed)?;
        database.busy_timeout(PATIENCE).map_err(failed)?;
        // While another program makes a new database, SQLite itself does not wait.
        let end = Instant::now() + PATIENCE;
        let prepared = loop {
            match schema::prepare(&database) {
                Err(error) if is_busy(&error) && Instant::now() < end => {
                    thread::sleep(Duration::from_millis(5));
                }
                prepared => break prepared.map_err(failed)?,
            }
        };
        if !prepared {
            return Err(CatalogError::Newer { path });
        }
        Ok(Self { database, path })
    }

    /// The copy in `directory`, a real path, if there is one.
    pub fn copy_in(&self, directory: &Path) -> Result<Option<Copy>, CatalogError> {
        let find = || {
            let mut statement = self.database.prepare_cached(&select_copies("WHERE directory = ?1"))?;
            statement.query_row([directory.as_os_str().as_bytes()], copy_of).optional()
        };
        find().map_err(|error| self.failed(error))
    }

    /// All copies, by their directories.
    pub fn copies(&self) -> Result<Vec<Copy>, CatalogError> {
        let find = || {
            let mut statement = self.database.prepare(&select_copies("ORDER BY directory"))?;
            statement.query_map([], copy_of)?.collect::<Result<Vec<_>, _>>()
        };
        find().map_err(|error| self.failed(error))
    }

    /// Makes `directory` a copy of `source`. What was known of it as a copy of something else is forgotten.
    pub fn adopt(&self, directory: &Path, source: &str, way: Way) -> Result<Copy, CatalogError> {
        let adopt = || {
            let directory = directory.as_os_str().as_bytes();
            self.database.execute(
                "DELETE FROM copy WHERE directory = ?1 AND source <> ?2",
                params![directory, source],
            )?;
            self.database.execute(
                "INSERT INTO copy (directory, source, sent) VALUES (?1, ?2, ?3)
                 ON CONFLICT (directory) DO UPDATE SET sent = ?3 WHERE sent <> ?3",
                params![directory, source, way == Way::Sent],
            )?;
            self.database.query_row(&select_copies("WHERE directory = ?1"), [directory], copy_of)
        };
        adopt().map_err(|error| self.failed(error))
    }

    /// Writes down how a copy stands. When something was last transferred is written with the transfer.
    pub fn stand(&self, copy: i64, standing: &Standing) -> Result<(), CatalogError> {
        let write = || {
            let mut statement = self.database.prepare_cached(
                "UPDATE copy SET same_at = ?2, behind_since = ?3, behind_by = ?4, error = ?5 WHERE id = ?1",
            )?;
            statement.execute(params![
                copy,
                standing.same_at,
                standing.behind_since,
                i64::try_from(standing.behind_by).unwrap_or(i64::MAX),
                standing.error,
            ])
        };
        write().map(drop).map_err(|error| self.failed(error))
    }

    /// What is known of a path of a copy.
    pub fn known(&self, copy: i64, path: &EventPath) -> Result<Option<Known>, CatalogError> {
        let find = || {
            let mut statement = self
                .database
                .prepare_cached("SELECT kind, size, modified FROM entry WHERE copy = ?1 AND path = ?2")?;
            statement.query_row(params![copy, path.as_bytes()], known_of).optional()
        };
        find().map_err(|error| self.failed(error))
    }

    /// What is known of everything below a path of a copy, in the order of names; of everything for `None`.
    pub fn below(
        &self,
        copy: i64,
        path: Option<&EventPath>,
    ) -> Result<Vec<(EventPath, Known)>, CatalogError> {
        let find = || {
            let mut statement = self.database.prepare_cached(
                "SELECT kind, size, modified, path FROM entry
                 WHERE copy = ?1 AND (?2 IS NULL OR (path >= ?2 AND path < ?3)) ORDER BY path",
            )?;
            // All that begins with the path and a slash; '0' is what comes behind the slash.
            let with = |end: &[u8]| path.map(|path| [path.as_bytes(), end].concat());
            let rows = statement.query_map(params![copy, with(b"/"), with(b"0")], |row| {
                let path: Vec<u8> = row.get(3)?;
                Ok((path, known_of(row)?))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        let rows = find().map_err(|error| self.failed(error))?;
        Ok(rows.into_iter().filter_map(|(path, known)| Some((EventPath::new(path).ok()?, known))).collect())
    }

    /// The symlinks of a copy that are known.
    pub fn links(&self, copy: i64) -> Result<Vec<EventPath>, CatalogError> {
        let find = || {
            // The number is that of `S_IFLNK`, as in the index of them.
            let mut statement =
                self.database.prepare_cached("SELECT path FROM entry WHERE copy = ?1 AND kind = 40960")?;
            let rows = statement.query_map([copy], |row| row.get(0))?;
            rows.collect::<Result<Vec<Vec<u8>>, _>>()
        };
        let rows = find().map_err(|error| self.failed(error))?;
        Ok(rows.into_iter().filter_map(|path| EventPath::new(path).ok()).collect())
    }

    /// How many paths of a copy are known.
    pub fn count(&self, copy: i64) -> Result<u64, CatalogError> {
        let found =
            self.database.query_row("SELECT count(*) FROM entry WHERE copy = ?1", [copy], |row| row.get(0));
        found.map(|count: i64| count.unsigned_abs()).map_err(|error| self.failed(error))
    }

    fn failed(&self, source: rusqlite::Error) -> CatalogError {
        CatalogError::Database { path: self.path.clone(), source }
    }
}

/// This moment, in nanoseconds since 1970.
pub fn now() -> i64 {
    let now = jiff::Timestamp::now().as_nanosecond();
    i64::try_from(now).unwrap_or(i64::MAX)
}

fn select_copies(which: &str) -> String {
    format!(
        "SELECT id, directory, source, cursor, same_at, behind_since, behind_by, transferred_at, error, sent FROM copy {which}"
    )
}

fn copy_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Copy> {
    let directory: Vec<u8> = row.get(1)?;
    let cursor: Option<String> = row.get(3)?;
    let behind_by: i64 = row.get(6)?;
    Ok(Copy {
        id: row.get(0)?,
        directory: std::ffi::OsStr::from_bytes(&directory).into(),
        source: row.get(2)?,
        // A cursor that cannot be read is none: everything is compared.
        cursor: cursor.and_then(|cursor| cursor.parse().ok()),
        way: if row.get(9)? { Way::Sent } else { Way::Fetched },
        standing: Standing {
            same_at: row.get(4)?,
            behind_since: row.get(5)?,
            behind_by: behind_by.unsigned_abs(),
            transferred_at: row.get(7)?,
            error: row.get(8)?,
        },
    })
}

fn known_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Known> {
    let kind: u32 = row.get(0)?;
    let size: i64 = row.get(1)?;
    Ok(Known { kind: SFlag::from_bits_truncate(kind), size: size.unsigned_abs(), modified: row.get(2)? })
}

#[cfg(test)]
mod tests;
