//! The tables, and how a connection is set up.

use std::path::Path;

use keycard_domain::store::Revision;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::OpenError;

/// Raised by every change to the tables; an older one is migrated, a newer one refused.
const SCHEMA_VERSION: i64 = 1;

/// `entries` holds what stands, `deletions` the keys that no longer do, each with the revision of its last commit.
const TABLES: &str = "
    CREATE TABLE entries (
        key TEXT NOT NULL PRIMARY KEY,
        value BLOB NOT NULL,
        revision INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX entries_by_revision ON entries (revision);
    CREATE TABLE deletions (
        key TEXT NOT NULL PRIMARY KEY,
        revision INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX deletions_by_revision ON deletions (revision);
    CREATE TABLE meta (
        name TEXT NOT NULL PRIMARY KEY,
        value INTEGER NOT NULL
    ) WITHOUT ROWID;
    INSERT INTO meta VALUES ('revision', 0), ('compacted', 0);
";

/// The write-ahead log is cut back to this after a checkpoint, 64 MiB, so one large commit does not keep the disk.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA journal_size_limit = 67108864;
";

/// The one connection that writes, with the tables in place.
pub(super) fn open_to_write(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| database_error(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.execute_batch(SETTINGS).map_err(failed)?;
    let found = prepare_tables(&mut connection).map_err(failed)?;
    if found > SCHEMA_VERSION {
        let path = path.to_owned();
        return Err(OpenError::NewerSchema { path, found, known: SCHEMA_VERSION });
    }
    Ok(connection)
}

/// A connection that sees committed data and cannot write.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
}

pub(super) fn database_error(path: &Path, source: rusqlite::Error) -> OpenError {
    OpenError::Database { path: path.to_owned(), source: Box::new(source) }
}

/// A number of the `meta` table as a revision.
pub(super) fn meta_revision(connection: &Connection, name: &str) -> rusqlite::Result<Revision> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).map(Revision)
}

/// Sets a number of the `meta` table.
pub(super) fn set_meta_revision(
    connection: &Connection,
    name: &str,
    revision: Revision,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1")?;
    statement.execute((name, revision.0)).map(drop)
}

/// Makes the tables of an empty database; answers the schema version that stands.
fn prepare_tables(connection: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !transaction.table_exists(None, "meta")? {
        transaction.execute_batch(TABLES)?;
        let insert = "INSERT INTO meta VALUES ('schema_version', ?1)";
        transaction.execute(insert, [SCHEMA_VERSION])?;
    }
    let select = "SELECT value FROM meta WHERE name = 'schema_version'";
    let version = transaction.query_row(select, [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(version)
}
