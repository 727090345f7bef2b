//! Directories and files that only this keycard may read, and the lock that keeps a second one out.

use std::error::Error;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why a store or an audit log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, has it open.
    #[error("{} is in use by another keycard", .0.display())]
    InUse(PathBuf),
    /// It was written by a later release.
    #[error(
        "{} has schema version {found}, this keycard knows up to {known}: use a newer release",
        .path.display()
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// What it says.
        found: i64,
        /// What this release writes.
        known: i64,
    },
    /// What stands there cannot be continued.
    #[error("{} is damaged: {what}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system refused a file or a thread.
    #[error("cannot open {}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// The database library refused the file.
    #[error("cannot open the database {}: {source}", .path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// The refusal.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl OpenError {
    /// Names the path an operating system error is about.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// A directory held by this process until the value is dropped.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Makes the directory (mode 0700) unless it stands, and takes `lock_name` in it.
    ///
    /// A directory that stands keeps its mode: it may be the operator's own.
    pub(crate) fn lock(path: &Path, lock_name: &str) -> Result<Self, OpenError> {
        let at = OpenError::io;
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
        let lock_path = path.join(lock_name);
        let lock = open_private(&lock_path).map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(OpenError::Io { path: lock_path, source }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file of the directory, made if absent, so that its name outlasts a power cut.
    pub(crate) fn open_durable(&self, name: &str) -> io::Result<File> {
        let file = open_private(&self.path.join(name))?;
        File::open(&self.path)?.sync_all()?;
        Ok(file)
    }
}

/// A file to read and append, mode 0600 whether new or old.
fn open_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}
