//! The store kept in SQLite: one writer thread with group commit, a few read connections.
//!
//! The promises are SQLite's own: WAL with `synchronous=FULL`, so an acknowledged commit has been synced to the disk.

mod reader;
mod schema;
mod writer;

use std::path::Path;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use keycard_domain::store::{
    ChangeBatch, Commit, Entry, Page, Revision, Store, StoreError, StoreKey,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::data_directory::DataDirectory;
use crate::{DELETIONS_KEPT_MAX, OpenError};
use reader::Readers;
use writer::{Request, Writer};

const DATABASE_NAME: &str = "store.sqlite";
const LOCK_NAME: &str = "store.lock";

/// Commits that wait for the writer; more wait with their callers.
const COMMITS_WAITING_MAX: usize = 256;

/// A store in a directory of this machine. Needs a tokio runtime to be called from.
///
/// Dropping it waits for the commits under way and leaves everything in the one database file.
#[derive(Debug)]
pub struct SqliteStore {
    /// `None` only while the store is being dropped.
    commits: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    revision: watch::Receiver<Revision>,
    readers: Readers,
    /// Dropped last: the directory is free again only when the writer has ended.
    _directory: DataDirectory,
}

impl SqliteStore {
    /// Opens the store of a data directory, made if absent, and keeps other processes out of it.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Self::open_with_deletions_kept_max(directory, DELETIONS_KEPT_MAX)
    }

    /// Like [`Self::open`], with another number of deleted keys to remember for `changes`.
    pub fn open_with_deletions_kept_max(
        directory: &Path,
        deletions_kept_max: usize,
    ) -> Result<Self, OpenError> {
        let directory = DataDirectory::lock(directory, LOCK_NAME)?;
        let path = directory.path().join(DATABASE_NAME);
        // Made here and not by SQLite, whose `-wal` and `-shm` files take over its mode.
        directory.open_durable(DATABASE_NAME).map_err(OpenError::io(&path))?;
        let connection = schema::open_to_write(&path)?;
        let database_error = |source| schema::database_error(&path, source);
        let writer = Writer::new(connection, deletions_kept_max).map_err(database_error)?;

        let (commits, waiting) = mpsc::channel(COMMITS_WAITING_MAX);
        let revision = writer.subscribe();
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(waiting))
            .map_err(OpenError::io(&path))?;
        Ok(Self {
            commits: Some(commits),
            writer: Some(writer),
            revision,
            readers: Readers::new(path),
            _directory: directory,
        })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Before the writer ends: the last connection to close must be one that may move the log into the database.
        self.readers.close_idle();
        drop(self.commits.take());
        if let Some(writer) = self.writer.take() {
            // The queue holds at most what cancelled callers left. A panic of the writer has been printed already.
            drop(writer.join());
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        let key = key.clone();
        self.readers.run(move |connection| reader::get(connection, &key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StoreKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let keys = reader::KeyRange::new(prefix, after);
        self.readers.run(move |connection| reader::list(connection, &keys, limit)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Revision, StoreError> {
        let (answer, answered) = oneshot::channel();
        let commits = self.commits.as_ref().ok_or_else(writer_stopped)?;
        commits.send(Request { commit, answer }).await.map_err(|_| writer_stopped())?;
        answered.await.map_err(|_| writer_stopped())?
    }

    async fn changes(&self, prefix: &str, after: Revision) -> Result<ChangeBatch, StoreError> {
        let mut revision = self.revision.clone();
        revision.wait_for(|revision| *revision > after).await.map_err(|_| writer_stopped())?;
        let keys = reader::KeyRange::new(prefix, None);
        self.readers.run(move |connection| reader::changes(connection, &keys, after)).await
    }
}

fn writer_stopped() -> StoreError {
    StoreError::Unavailable("the writer of the database has stopped".to_owned())
}

/// A fault of the database, in the words of the port.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands errors over by value")]
fn unavailable(error: rusqlite::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests;
