//! The store kept in memory: for tests and for `keycard up` without a data directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use keycard_domain::store::{
    Change, ChangeBatch, Commit, Entry, Expectation, Page, Revision, Store, StoreError, StoreKey,
    Write,
};
use tokio::sync::watch;

use crate::{CHANGES_MAX, DELETIONS_KEPT_MAX, key_range};

/// A store that ends with the process.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    revision: watch::Sender<Revision>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_deletions_kept_max(DELETIONS_KEPT_MAX)
    }

    /// An empty store that remembers this many deleted keys for `changes`.
    pub fn with_deletions_kept_max(deletions_kept_max: usize) -> Self {
        let state = State { deletions_kept_max, ..State::default() };
        Self { state: Mutex::new(state), revision: watch::Sender::new(Revision::ZERO) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        Ok(self.state().entries.get_key_value(key).map(entry))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StoreKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let first = StoreKey::new(key_range::first(prefix, after));
        let state = self.state();
        let within = state.entries.range(first..).map(entry);
        let entries = within.take_while(|entry| entry.key.as_str().starts_with(prefix));
        Ok(Page { entries: entries.take(limit).collect(), revision: state.revision })
    }

    async fn commit(&self, commit: Commit) -> Result<Revision, StoreError> {
        let mut state = self.state();
        let revision = state.commit(commit)?;
        // Under the lock, so that the watch never goes back.
        self.revision.send_replace(revision);
        Ok(revision)
    }

    async fn changes(&self, prefix: &str, after: Revision) -> Result<ChangeBatch, StoreError> {
        let mut revision = self.revision.subscribe();
        revision
            .wait_for(|revision| *revision > after)
            .await
            .map_err(|_| StoreError::Unavailable("the store is closed".to_owned()))?;
        self.state().changes(prefix, after)
    }
}

#[derive(Debug)]
struct Kept {
    value: Arc<[u8]>,
    revision: Revision,
}

#[derive(Debug, Default)]
struct State {
    revision: Revision,
    entries: BTreeMap<StoreKey, Kept>,
    /// The last revision of every key that stands.
    entry_order: BTreeSet<(Revision, StoreKey)>,
    deletions: BTreeMap<StoreKey, Revision>,
    /// The revision of every remembered deletion.
    deletion_order: BTreeSet<(Revision, StoreKey)>,
    deletions_kept_max: usize,
    /// The latest deletion that is no longer remembered.
    compacted: Revision,
}

impl State {
    fn commit(&mut self, commit: Commit) -> Result<Revision, StoreError> {
        for expectation in &commit.expectations {
            self.check(expectation)?;
        }
        self.revision = Revision(self.revision.0 + 1);
        for write in commit.writes {
            match write {
                Write::Put(key, value) => self.put(key, value),
                Write::Delete(key) => self.delete(key),
            }
        }
        self.compact();
        Ok(self.revision)
    }

    fn check(&self, expectation: &Expectation) -> Result<(), StoreError> {
        let (key, expected) = match expectation {
            Expectation::Absent(key) => (key, None),
            Expectation::Unchanged(key, revision) => (key, Some(*revision)),
        };
        let found = self.entries.get(key).map(|kept| kept.revision);
        if found == expected { Ok(()) } else { Err(StoreError::Conflict(key.clone())) }
    }

    fn put(&mut self, key: StoreKey, value: Arc<[u8]>) {
        let revision = self.revision;
        if let Some(before) = self.entries.insert(key.clone(), Kept { value, revision }) {
            self.entry_order.remove(&(before.revision, key.clone()));
        }
        if let Some(deleted) = self.deletions.remove(&key) {
            self.deletion_order.remove(&(deleted, key.clone()));
        }
        self.entry_order.insert((revision, key));
    }

    fn delete(&mut self, key: StoreKey) {
        let Some(before) = self.entries.remove(&key) else { return };
        self.entry_order.remove(&(before.revision, key.clone()));
        self.deletions.insert(key.clone(), self.revision);
        self.deletion_order.insert((self.revision, key));
    }

    /// Forgets the oldest deletions beyond the bound.
    fn compact(&mut self) {
        while self.deletions.len() > self.deletions_kept_max {
            let Some((revision, key)) = self.deletion_order.pop_first() else { return };
            self.deletions.remove(&key);
            self.compacted = revision;
        }
    }

    fn changes(&self, prefix: &str, after: Revision) -> Result<ChangeBatch, StoreError> {
        if after < self.compacted {
            return Err(StoreError::Compacted);
        }
        let puts = following(&self.entry_order, prefix, after);
        let deletes = following(&self.deletion_order, prefix, after);
        let mut order: Vec<_> = puts.chain(deletes).take(CHANGES_MAX + 1).collect();
        if order.len() > CHANGES_MAX {
            return Err(StoreError::Compacted);
        }
        order.sort_unstable();
        let changes = order.into_iter().map(|(revision, key)| Change {
            key: key.clone(),
            value: self.entries.get(key).map(|kept| kept.value.clone()),
            revision: *revision,
        });
        Ok(ChangeBatch { changes: changes.collect(), revision: self.revision })
    }
}

fn following<'a>(
    order: &'a BTreeSet<(Revision, StoreKey)>,
    prefix: &'a str,
    after: Revision,
) -> impl Iterator<Item = &'a (Revision, StoreKey)> {
    let next = (Revision(after.0.saturating_add(1)), StoreKey::new(""));
    order.range(next..).filter(move |(_, key)| key.as_str().starts_with(prefix))
}

fn entry((key, kept): (&StoreKey, &Kept)) -> Entry {
    Entry { key: key.clone(), value: kept.value.clone(), revision: kept.revision }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_promises() {
        conformance::all(async || Arc::new(MemoryStore::new()) as Arc<dyn Store>).await;
    }

    #[tokio::test]
    async fn forgets_old_deletions() {
        conformance::compaction(&MemoryStore::with_deletions_kept_max(4), 4).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_promises_under_faults() {
        conformance::faults(async || Arc::new(MemoryStore::new()) as Arc<dyn Store>).await;
    }
}
