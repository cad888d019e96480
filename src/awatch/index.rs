//! The index: what is known about a workspace, kept in `SQLite` from one run to the next.
//!
//! What a batch of changes makes of the index and the events that tell of it are one transaction: whatever kills the
//! process, either both are there or neither. The events wait in the outbox until they stand in the journal, under the names
//! that they were given once.

use std::cell::Cell;
use std::collections::HashSet;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Params, Row, params};
use uuid::Uuid;

use super::watcher::dirs::{DirId, Name};
use super::watcher::known::{Detail, Known, Store, StoreError};
use super::watcher::listing::Listing;
use super::watcher::look::{Identity, Stat};
use crate::event::Kind;

/// The form of the file; one of another form is made anew.
const VERSION: i64 = 2;

const SCHEMA: &str = "
    CREATE TABLE entry (
        parent INTEGER NOT NULL, name BLOB NOT NULL, kind INTEGER NOT NULL, dir INTEGER, inode INTEGER NOT NULL,
        device INTEGER, born INTEGER, size INTEGER, modified INTEGER, changed INTEGER, mode INTEGER, user INTEGER,
        team INTEGER, links INTEGER, sha256 BLOB,
        PRIMARY KEY (parent, name)
    ) WITHOUT ROWID;
    CREATE TABLE outbox (sequence INTEGER PRIMARY KEY, line BLOB NOT NULL);
    CREATE TABLE state (
        one INTEGER PRIMARY KEY CHECK (one = 1), journal BLOB NOT NULL, sequence INTEGER NOT NULL,
        begun INTEGER NOT NULL, seen INTEGER NOT NULL, dirs INTEGER NOT NULL, device INTEGER NOT NULL,
        inode INTEGER NOT NULL, born INTEGER NOT NULL, boot TEXT NOT NULL, place_inode INTEGER NOT NULL,
        place_born INTEGER NOT NULL
    );
";

/// What is kept beyond the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The journal.
    pub journal: Uuid,
    /// The number of its last event.
    pub sequence: u64,
    /// When the names were listed, in nanoseconds since 1970.
    pub begun: i64,
    /// When something was looked at for the last time.
    pub seen: i64,
    /// The highest number of a directory so far.
    pub dirs: u32,
    /// Which directory this is the index of.
    pub root: Identity,
    /// Since which start of the system it has been written.
    pub boot: String,
    /// Which directory the journal is in, by inode and birth: a copy of it is in another.
    pub place: (u64, i64),
}

/// An open index.
pub struct Index {
    db: Connection,
    /// Whether there is something to commit.
    changed: Cell<bool>,
    /// The device of the workspace, which stands as 0 in the file: the number may be another when the system comes up again.
    device: u64,
}

#[allow(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn failed(error: rusqlite::Error) -> StoreError {
    let lost =
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
    StoreError { what: format!("the index: {error}"), lost }
}

impl Index {
    /// Opens the index at `path`, or makes an empty one, for a workspace on `device`. Nobody else can open it at the same time.
    pub fn open(path: &Path, device: u64) -> Result<Self, StoreError> {
        let db = Connection::open(path).map_err(failed)?;
        let set = |pragma: &str| db.execute_batch(&format!("PRAGMA {pragma}")).map_err(failed);
        // Whoever is alone needs no shared memory. A commit is in the file, if not on the disk: what the disk has lost when
        // the system comes up again is found by comparing.
        // A new file has nothing yet to be lost, so nobody waits for the disk until it is one with a log.
        for pragma in
            ["locking_mode = EXCLUSIVE", "synchronous = OFF", "journal_mode = WAL", "synchronous = NORMAL"]
        {
            set(pragma)?;
        }
        for pragma in ["temp_store = MEMORY", "cache_size = -8000", "wal_autocheckpoint = 4000"] {
            set(pragma)?;
        }
        let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
        if version == 0 {
            db.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT"))
                .map_err(failed)?;
        } else if version != VERSION {
            let what = format!("the index has the form {version}, of another version of awatch");
            return Err(StoreError { what, lost: true });
        }
        Ok(Self { db, changed: Cell::new(false), device })
    }

    fn run(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        if !self.changed.replace(true) {
            self.db.execute_batch("BEGIN").map_err(failed)?;
        }
        self.db.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).map_err(failed)
    }

    /// What is kept beyond the names; `None` in a new index.
    pub fn state(&self) -> Result<Option<State>, StoreError> {
        let read = |row: &Row<'_>| {
            Ok(State {
                journal: Uuid::from_slice(&row.get::<_, Vec<u8>>(0)?).unwrap_or_default(),
                sequence: row.get::<_, i64>(1)?.cast_unsigned(),
                begun: row.get(2)?,
                seen: row.get(3)?,
                dirs: row.get(4)?,
                root: Identity {
                    device: row.get::<_, i64>(5)?.cast_unsigned(),
                    inode: row.get::<_, i64>(6)?.cast_unsigned(),
                    born: row.get(7)?,
                },
                boot: row.get(8)?,
                place: (row.get::<_, i64>(9)?.cast_unsigned(), row.get(10)?),
            })
        };
        let sql = "SELECT journal, sequence, begun, seen, dirs, device, inode, born, boot, place_inode, place_born FROM state";
        self.db.query_row(sql, [], read).optional().map_err(failed)
    }

    /// Takes the state in, to be committed with everything else.
    pub fn set_state(&self, state: &State) -> Result<(), StoreError> {
        let State { journal, sequence, begun, seen, dirs, root, boot, place } = state;
        let (sequence, device, inode) =
            (sequence.cast_signed(), root.device.cast_signed(), root.inode.cast_signed());
        let sql = "INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let bytes = &journal.as_bytes()[..];
        let place_inode = place.0.cast_signed();
        let values =
            params![bytes, sequence, begun, seen, dirs, device, inode, root.born, boot, place_inode, place.1];
        self.run(sql, values).map(drop)
    }

    /// Puts an event into the outbox.
    pub fn post(&self, sequence: u64, line: &[u8]) -> Result<(), StoreError> {
        self.run("INSERT INTO outbox VALUES (?, ?)", params![sequence.cast_signed(), line]).map(drop)
    }

    /// What is in the outbox, in order.
    pub fn outbox(&self) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let mut statement =
            self.db.prepare_cached("SELECT sequence, line FROM outbox ORDER BY sequence").map_err(failed)?;
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?));
        statement.query_map([], read).and_then(Iterator::collect).map_err(failed)
    }

    /// Empties the outbox, with the next commit: what is in the journal need not be put there again.
    pub fn posted(&self) -> Result<(), StoreError> {
        self.run("DELETE FROM outbox", []).map(drop)
    }

    /// Makes everything since the last commit last, at once.
    pub fn commit(&self) -> Result<(), StoreError> {
        if self.changed.replace(false) { self.db.execute_batch("COMMIT").map_err(failed) } else { Ok(()) }
    }

    /// Whether no name is known.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        let some = self.db.query_row("SELECT 1 FROM entry LIMIT 1", [], |_| Ok(())).optional();
        some.map(|some| some.is_none()).map_err(failed)
    }

    /// Makes what was committed survive a power cut.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)
    }
}

fn kind_number(kind: Kind) -> i64 {
    match kind {
        Kind::File => 0,
        Kind::Directory => 1,
        Kind::Symlink => 2,
        Kind::Other => 3,
    }
}

fn kind(number: i64) -> Kind {
    match number {
        0 => Kind::File,
        1 => Kind::Directory,
        2 => Kind::Symlink,
        _ => Kind::Other,
    }
}

/// What follows the name in each row.
const COLUMNS: &str =
    "kind, dir, inode, device, born, size, modified, changed, mode, user, team, links, sha256";

impl Index {
    /// Reads a row from the column `at` on.
    fn known(&self, row: &Row<'_>, at: usize) -> rusqlite::Result<Known> {
        let kind = kind(row.get(at)?);
        let dir = row.get::<_, Option<u32>>(at + 1)?.map(DirId);
        let inode = row.get::<_, i64>(at + 2)?.cast_unsigned();
        let Some(device) = row.get::<_, Option<i64>>(at + 3)? else {
            return Ok(Known { kind, dir, inode, detail: None });
        };
        let device = if device == 0 { self.device } else { device.cast_unsigned() };
        let stat = Stat {
            kind,
            identity: Identity { device, inode, born: row.get(at + 4)? },
            size: row.get::<_, i64>(at + 5)?.cast_unsigned(),
            modified: row.get(at + 6)?,
            changed: row.get(at + 7)?,
            mode: row.get(at + 8)?,
            owner: (row.get(at + 9)?, row.get(at + 10)?),
            links: row.get(at + 11)?,
        };
        let sha256 = row.get::<_, Option<[u8; 32]>>(at + 12)?;
        Ok(Known { kind, dir, inode, detail: Some(Detail { stat, sha256 }) })
    }
}

impl Store for Index {
    fn get(&self, dir: DirId, name: &[u8]) -> Result<Option<Known>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM entry WHERE parent = ? AND name = ?");
        let mut statement = self.db.prepare_cached(&sql).map_err(failed)?;
        statement.query_row(params![dir.0, name], |row| self.known(row, 0)).optional().map_err(failed)
    }

    fn put(&mut self, dir: DirId, name: &[u8], known: &Known) -> Result<(), StoreError> {
        let Known { kind, dir: id, inode, detail } = known;
        let (kind, id, inode) = (kind_number(*kind), id.map(|id| id.0), inode.cast_signed());
        let Some(Detail { stat, sha256 }) = detail else {
            let sql = "INSERT OR REPLACE INTO entry (parent, name, kind, dir, inode) VALUES (?, ?, ?, ?, ?)";
            return self.run(sql, params![dir.0, name, kind, id, inode]).map(drop);
        };
        let sql = "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            dir.0,
            name,
            kind,
            id,
            inode,
            if stat.identity.device == self.device { 0 } else { stat.identity.device.cast_signed() },
            stat.identity.born,
            stat.size.cast_signed(),
            stat.modified,
            stat.changed,
            stat.mode,
            stat.owner.0,
            stat.owner.1,
            stat.links,
            sha256.as_ref().map(|digest| &digest[..]),
        ];
        self.run(sql, values).map(drop)
    }

    fn remove(&mut self, dir: DirId, name: &[u8]) -> Result<(), StoreError> {
        self.run("DELETE FROM entry WHERE parent = ? AND name = ?", params![dir.0, name]).map(drop)
    }

    fn clear(&mut self, dir: DirId) -> Result<Vec<DirId>, StoreError> {
        let sql = "SELECT dir FROM entry WHERE parent = ? AND dir IS NOT NULL";
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        let dirs: rusqlite::Result<Vec<u32>> =
            statement.query_map([dir.0], |row| row.get(0)).and_then(Iterator::collect);
        let dirs = dirs.map_err(failed)?;
        drop(statement);
        self.run("DELETE FROM entry WHERE parent = ?", [dir.0])?;
        Ok(dirs.into_iter().map(DirId).collect())
    }

    fn names(&self, dir: DirId) -> Result<Vec<(Name, Known)>, StoreError> {
        let sql = format!("SELECT name, {COLUMNS} FROM entry WHERE parent = ?");
        let mut statement = self.db.prepare_cached(&sql).map_err(failed)?;
        let read = |row: &Row<'_>| Ok((Name::from(row.get_ref(0)?.as_blob()?), self.known(row, 1)?));
        statement.query_map([dir.0], read).and_then(Iterator::collect).map_err(failed)
    }

    fn linked(&self, inodes: &HashSet<u64>) -> Result<Vec<(DirId, Option<Name>)>, StoreError> {
        let numbers: Vec<String> = inodes.iter().map(|inode| inode.cast_signed().to_string()).collect();
        let file = kind_number(Kind::File);
        let sql = format!(
            "SELECT parent, name FROM entry WHERE kind = {file} AND inode IN ({})",
            numbers.join(", ")
        );
        let mut statement = self.db.prepare(&sql).map_err(failed)?;
        let read = |row: &Row<'_>| Ok((DirId(row.get(0)?), Some(Name::from(row.get_ref(1)?.as_blob()?))));
        statement.query_map([], read).and_then(Iterator::collect).map_err(failed)
    }

    fn list(&mut self, dir: DirId, listing: &Listing) -> Result<(), StoreError> {
        for entry in listing.iter() {
            let known = Known { kind: entry.kind, dir: entry.dir, inode: entry.inode, detail: None };
            self.put(dir, entry.name, &known)?;
        }
        Ok(())
    }
}
