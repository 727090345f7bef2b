//! The store port kept in memory and in SQLite, and the node's hash-chained audit log.
//!
//! Nothing else in keycard knows a database or a log file. What every backend promises is written as tests in
//! `conformance` (feature of that name); `faulty` (feature `test-support`) breaks a store on purpose.

pub mod audit_log;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod data_directory;
#[cfg(any(test, feature = "test-support"))]
pub mod faulty;
mod key_range;
pub mod memory;
pub mod sqlite;

pub use data_directory::OpenError;

/// Deleted keys a backend remembers for `changes`; the oldest beyond are compacted away.
///
/// At about 200 bytes each this stays near 20 MB, and a reader that is further behind is better served by a listing.
pub const DELETIONS_KEPT_MAX: usize = 100_000;

/// Changes in one batch. A reader that is further behind is told `Compacted`: a listing comes in pages, a batch of
/// whole commits does not.
pub const CHANGES_MAX: usize = 100_000;
