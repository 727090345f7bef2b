//! The node's hash-chained audit log: JSON lines in segment files, and a bounded one in memory.
//!
//! Each line holds the SHA-256 of the line before it, so that nothing can be changed, removed or moved unseen.
//! The end of the log is only as safe as the last hash that was noted elsewhere ([`Verified::last_hash`]).

mod segment;
mod verify;
mod writer;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use keycard_domain::audit::{AuditError, AuditLog, AuditRecord};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::OpenError;
use crate::data_directory::DataDirectory;
pub use verify::{Verified, VerifyError, VerifyFault, verify};
use writer::{Append, Writer};

const LOCK_NAME: &str = "audit.lock";

/// Records that wait for the disk; one more is refused at once.
const APPENDS_WAITING_MAX: usize = 4096;

/// The audit log in a directory of this node. Dropping it waits for the appends under way.
#[derive(Debug)]
pub struct FileAuditLog {
    /// `None` only while the log is being dropped.
    appends: Option<mpsc::Sender<Append>>,
    writer: Option<JoinHandle<()>>,
    /// Dropped last: the directory is free again only when the writer has ended.
    _directory: Arc<DataDirectory>,
}

impl FileAuditLog {
    /// Opens the log of a directory, made if absent, and continues its chain.
    ///
    /// A last line without an end was never acknowledged (a crash cut it) and is removed. A segment that has
    /// reached `segment_bytes_max` is left for the next; the record that fills it is not split.
    pub fn open(directory: &Path, segment_bytes_max: u64) -> Result<Self, OpenError> {
        let directory = Arc::new(DataDirectory::lock(directory, LOCK_NAME)?);
        let writer = Writer::open(directory.clone(), segment_bytes_max)?;
        let (appends, waiting) = mpsc::channel(APPENDS_WAITING_MAX);
        let writer = thread::Builder::new()
            .name("audit-writer".to_owned())
            .spawn(move || writer.run(waiting))
            .map_err(OpenError::io(directory.path()))?;
        Ok(Self { appends: Some(appends), writer: Some(writer), _directory: directory })
    }
}

impl Drop for FileAuditLog {
    fn drop(&mut self) {
        drop(self.appends.take());
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has been printed already.
            drop(writer.join());
        }
    }
}

#[async_trait]
impl AuditLog for FileAuditLog {
    async fn append(&self, record: AuditRecord) -> Result<(), AuditError> {
        let record =
            serde_json::to_string(&record).map_err(|error| AuditError(error.to_string()))?;
        if record.len() > segment::RECORD_BYTES_MAX {
            return Err(AuditError(format!("a record of {} bytes is too long", record.len())));
        }
        let (answer, answered) = oneshot::channel();
        let appends = self.appends.as_ref().ok_or_else(writer_stopped)?;
        appends.try_send(Append { record, answer }).map_err(|refusal| match refusal {
            TrySendError::Full(_) => {
                AuditError(format!("{APPENDS_WAITING_MAX} records wait for the disk already"))
            }
            TrySendError::Closed(_) => writer_stopped(),
        })?;
        answered.await.map_err(|_| writer_stopped())?
    }
}

fn writer_stopped() -> AuditError {
    AuditError("its writer has stopped".to_owned())
}

/// An audit log that ends with the process and keeps the latest records.
#[derive(Debug)]
pub struct MemoryAuditLog {
    records_max: usize,
    records: Mutex<VecDeque<AuditRecord>>,
}

impl MemoryAuditLog {
    /// An empty log that forgets its oldest record beyond this many.
    pub fn new(records_max: usize) -> Self {
        Self { records_max, records: Mutex::default() }
    }

    /// What is kept, oldest first.
    pub fn records(&self) -> Vec<AuditRecord> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<AuditRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AuditLog for MemoryAuditLog {
    async fn append(&self, record: AuditRecord) -> Result<(), AuditError> {
        let mut records = self.lock();
        records.push_back(record);
        if records.len() > self.records_max {
            records.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
