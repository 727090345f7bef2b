//! Reads: each sees one committed state, on one of a few connections, off the async threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keycard_domain::store::{Change, ChangeBatch, Entry, Page, Revision, StoreError, StoreKey};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, Transaction};
use tokio::sync::Semaphore;
use tokio::task;

use super::schema;
use super::unavailable;
use crate::{CHANGES_MAX, key_range};

/// Reads at the same time; they come from memory mostly, so a few threads are enough.
const CONNECTIONS_MAX: usize = 4;

/// A bounded number of read connections, opened when first needed.
#[derive(Debug)]
pub(super) struct Readers {
    pool: Arc<Pool>,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        let pool = Pool { path, idle: Mutex::default() };
        Self { pool: Arc::new(pool), permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }

    /// Runs a read on a connection of its own, with all its statements seeing the same state.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped = |why: String| StoreError::Unavailable(format!("a read was stopped: {why}"));
        let permits = self.permits.clone();
        let permit = permits.acquire_owned().await.map_err(|error| stopped(error.to_string()))?;
        let pool = self.pool.clone();
        let work = move || {
            let answer = pool.run(read);
            drop(permit);
            answer
        };
        task::spawn_blocking(work).await.map_err(|error| stopped(error.to_string()))?
    }

    /// Closes the connections that no read is using.
    pub(super) fn close_idle(&self) {
        self.pool.idle().clear();
    }
}

impl Pool {
    fn run<T>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => schema::open_to_read(&self.path).map_err(unavailable)?,
        };
        let transaction = connection.transaction().map_err(unavailable)?;
        let answer = read(&transaction);
        // A connection that cannot end its transaction is closed, not kept.
        transaction.finish().map_err(unavailable)?;
        self.idle().push(connection);
        answer
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of a listing, as SQL parameters.
pub(super) struct KeyRange {
    first: String,
    end: Value,
}

impl KeyRange {
    pub(super) fn new(prefix: &str, after: Option<&StoreKey>) -> Self {
        let end = match key_range::end(prefix) {
            Some(end) => Value::Text(end),
            // SQLite orders every text before every blob, so this bound leaves nothing out.
            None => Value::Blob(Vec::new()),
        };
        Self { first: key_range::first(prefix, after), end }
    }
}

pub(super) fn get(connection: &Connection, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
    let select = "SELECT key, value, revision FROM entries WHERE key = ?1";
    let found = || connection.prepare_cached(select)?.query_row([key.as_str()], entry).optional();
    found().map_err(unavailable)
}

pub(super) fn list(
    connection: &Connection,
    keys: &KeyRange,
    limit: usize,
) -> Result<Page, StoreError> {
    let select = "SELECT key, value, revision FROM entries
        WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";
    let read = || {
        // SQLite counts in signed numbers; no listing gets that far.
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = connection.prepare_cached(select)?;
        let rows = statement.query_map((&keys.first, &keys.end, limit), entry)?;
        let entries = rows.collect::<Result<_, _>>()?;
        Ok(Page { entries, revision: schema::meta_revision(connection, "revision")? })
    };
    read().map_err(unavailable)
}

pub(super) fn changes(
    connection: &Connection,
    keys: &KeyRange,
    after: Revision,
) -> Result<ChangeBatch, StoreError> {
    if after < schema::meta_revision(connection, "compacted").map_err(unavailable)? {
        return Err(StoreError::Compacted);
    }
    let batch = read_changes(connection, keys, after).map_err(unavailable)?;
    if batch.changes.len() > CHANGES_MAX {
        return Err(StoreError::Compacted);
    }
    Ok(batch)
}

/// One change more than a batch may hold shows that there are too many.
fn read_changes(
    connection: &Connection,
    keys: &KeyRange,
    after: Revision,
) -> rusqlite::Result<ChangeBatch> {
    // Without statistics SQLite would guess that the key range is the narrower one: it seldom is.
    let select = "
        SELECT key, value, revision FROM entries INDEXED BY entries_by_revision
            WHERE revision > ?1 AND key >= ?2 AND key < ?3
        UNION ALL
        SELECT key, NULL, revision FROM deletions INDEXED BY deletions_by_revision
            WHERE revision > ?1 AND key >= ?2 AND key < ?3
        ORDER BY revision, key LIMIT ?4";
    let mut statement = connection.prepare_cached(select)?;
    let parameters = (after.0, &keys.first, &keys.end, CHANGES_MAX + 1);
    let changes = statement.query_map(parameters, change)?.collect::<Result<_, _>>()?;
    Ok(ChangeBatch { changes, revision: schema::meta_revision(connection, "revision")? })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry { key: key(row)?, value: row.get_ref(1)?.as_blob()?.into(), revision: revision(row)? })
}

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    let value = row.get_ref(1)?.as_blob_or_null()?.map(Into::into);
    Ok(Change { key: key(row)?, value, revision: revision(row)? })
}

fn key(row: &Row<'_>) -> rusqlite::Result<StoreKey> {
    Ok(StoreKey::new(row.get_ref(0)?.as_str()?))
}

fn revision(row: &Row<'_>) -> rusqlite::Result<Revision> {
    row.get(2).map(Revision)
}
