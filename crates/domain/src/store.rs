//! The store port: an ordered map with one revision counter, the least that SQLite and etcd both do well.
//!
//! Backends live in the `store` crate and keep the promises of its conformance suite.
//! Typed records are written once on top, in [`crate::records`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

/// A key of the store: UTF-8, segments separated by `/`, at most [`StoreKey::LENGTH_MAX`] bytes.
///
/// Keys are ordered by their bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey(Arc<str>);

impl StoreKey {
    /// Bytes; etcd and SQLite both take far more, listings stay cheap below this.
    pub const LENGTH_MAX: usize = 2048;

    /// A key from its text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The store's counter: every commit takes the next value. Zero is the empty store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first commit.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value with the revision of the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub key: StoreKey,
    /// What was written.
    pub value: Arc<[u8]>,
    /// The commit that wrote it.
    pub revision: Revision,
}

/// A page of a listing, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most as many entries as asked for; fewer only at the end of the listing.
    pub entries: Vec<Entry>,
    /// The store's revision when the page was read.
    pub revision: Revision,
}

/// What a commit relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing stands at the key.
    Absent(StoreKey),
    /// The key was last written at this revision.
    Unchanged(StoreKey, Revision),
}

/// One write of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Puts a value at a key.
    Put(StoreKey, Arc<[u8]>),
    /// Removes a key; removing an absent one is no fault.
    Delete(StoreKey),
}

/// Expectations and writes that take effect together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// All must hold.
    pub expectations: Vec<Expectation>,
    /// All take effect at one revision; a key is written at most once.
    pub writes: Vec<Write>,
}

/// One key that changed; `value` is `None` when it was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key that changed.
    pub key: StoreKey,
    /// Its new value, or `None` when it was deleted.
    pub value: Option<Arc<[u8]>>,
    /// The commit that changed it.
    pub revision: Revision,
}

/// Changes in revision order, of whole commits only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeBatch {
    /// A key written several times since the asked-for revision may appear only with its last value.
    pub changes: Vec<Change>,
    /// Everything up to and including this revision is in this batch or an earlier one.
    pub revision: Revision,
}

/// Why the store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// An expectation did not hold; nothing was written.
    #[error("{0} was changed by someone else")]
    Conflict(StoreKey),
    /// The revision asked for has been compacted away: list again.
    #[error("changes after this revision are no longer kept")]
    Compacted,
    /// The store cannot be reached or cannot write. It is not known whether a commit took effect.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}

/// An ordered map with revisions.
///
/// Promises, checked by `keycard_store::conformance`:
/// - a commit takes effect whole, at one revision, or not at all;
/// - what was acknowledged survives the end of the process (durable backends);
/// - revisions only grow, and `changes` shows commits in their order without gaps.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The entry at a key, if there is one.
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError>;

    /// Up to `limit` entries whose key starts with `prefix` and comes after `after`, in key order.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&StoreKey>,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// Writes all or nothing, and answers when the write is durable.
    async fn commit(&self, commit: Commit) -> Result<Revision, StoreError>;

    /// The changes after a revision to keys that start with `prefix`.
    ///
    /// Waits until the store's revision is past `after`; the batch may be empty when the commits in between touched
    /// other keys. Answers [`StoreError::Compacted`] when `after` is too old.
    async fn changes(&self, prefix: &str, after: Revision) -> Result<ChangeBatch, StoreError>;
}
