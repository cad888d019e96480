//! The form of the database.

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// The version of the form, in `PRAGMA user_version`.
const VERSION: i64 = 3;

/// Paths are bytes. Moments are nanoseconds since 1970. Sums are 32 bytes.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS copy (
    id INTEGER PRIMARY KEY,
    directory BLOB NOT NULL UNIQUE,
    source TEXT NOT NULL,
    cursor TEXT,
    same_at INTEGER,
    behind_since INTEGER,
    behind_by INTEGER NOT NULL DEFAULT 0,
    transferred_at INTEGER,
    error TEXT,
    sent INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS entry (
    copy INTEGER NOT NULL REFERENCES copy (id) ON DELETE CASCADE,
    path BLOB NOT NULL,
    kind INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    PRIMARY KEY (copy, path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_link ON entry (copy, path) WHERE kind = 40960;
CREATE TABLE IF NOT EXISTS transfer (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    path BLOB NOT NULL,
    remote TEXT NOT NULL,
    deed TEXT NOT NULL,
    who TEXT NOT NULL,
    author TEXT,
    bytes INTEGER,
    sha256 BLOB
);
CREATE INDEX IF NOT EXISTS transfer_of ON transfer (path, id);
";

/// Makes what is missing; `false` when a newer program has been here.
pub(super) fn prepare(database: &Connection) -> rusqlite::Result<bool> {
    // A crash of this program loses nothing that was committed. A crash of the machine may lose the last commits, which were
    // made after the files were there: what is done twice is done once.
    database.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -1024;",
    )?;
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > VERSION {
        return Ok(false);
    }
    if version < VERSION {
        let change = Transaction::new_unchecked(database, TransactionBehavior::Immediate)?;
        change.execute_batch(TABLES)?;
        if !change.column_exists(None, c"copy", c"sent")? {
            change.execute_batch("ALTER TABLE copy ADD COLUMN sent INTEGER NOT NULL DEFAULT 0")?;
        }
        change.pragma_update(None, "user_version", VERSION)?;
        change.commit()?;
    }
    Ok(true)
}
