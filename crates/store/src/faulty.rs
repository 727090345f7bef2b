//! A store that fails on purpose, by a plan that a seed decides: the same seed and calls give the same faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use keycard_domain::store::{
    ChangeBatch, Commit, Entry, Page, Revision, Store, StoreError, StoreKey,
};

/// How often a [`FaultyStore`] fails, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct FaultPlan {
    /// Decides which calls are hit.
    pub seed: u64,
    /// Calls of a hundred that fail before anything is done.
    pub fail_percent: u8,
    /// Calls of a hundred that are done but answered [`StoreError::Unavailable`].
    pub lose_reply_percent: u8,
}

/// Hands calls to another store, except those its plan lets fail.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: FaultPlan,
    calls: AtomicU64,
}

#[derive(Clone, Copy)]
enum Fate {
    Pass,
    Fail,
    LoseReply,
}

impl FaultyStore {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn Store>, plan: FaultPlan) -> Self {
        Self { inner, plan, calls: AtomicU64::new(0) }
    }

    /// Runs one call as the plan wants it.
    async fn meet<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.next_fate() {
            Fate::Pass => call.await,
            Fate::Fail => Err(StoreError::Unavailable("planned failure".to_owned())),
            Fate::LoseReply => {
                // A refusal is lost like any other answer.
                drop(call.await);
                Err(StoreError::Unavailable("planned loss of the reply".to_owned()))
            }
        }
    }

    fn next_fate(&self) -> Fate {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let roll = scramble(self.plan.seed, call) % 100;
        let fail = u64::from(self.plan.fail_percent);
        if roll < fail {
            Fate::Fail
        } else if roll < fail + u64::from(self.plan.lose_reply_percent) {
            Fate::LoseReply
        } else {
            Fate::Pass
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        self.meet(self.inner.get(key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StoreKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.meet(self.inner.list(prefix, after, limit)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Revision, StoreError> {
        self.meet(self.inner.commit(commit)).await
    }

    async fn changes(&self, prefix: &str, after: Revision) -> Result<ChangeBatch, StoreError> {
        self.meet(self.inner.changes(prefix, after)).await
    }
}

/// Number `call` of the sequence that `seed` begins (`SplitMix64`).
fn scramble(seed: u64, call: u64) -> u64 {
    let mut z = seed.wrapping_add(call.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    async fn answers(seed: u64) -> Vec<bool> {
        let plan = FaultPlan { seed, fail_percent: 20, lose_reply_percent: 20 };
        let store = FaultyStore::new(Arc::new(MemoryStore::new()), plan);
        let mut answers = Vec::new();
        for _ in 0..200 {
            answers.push(store.commit(Commit::default()).await.is_ok());
        }
        answers
    }

    #[tokio::test]
    async fn the_seed_decides_which_calls_fail() {
        let first = answers(1).await;
        assert_eq!(first, answers(1).await);
        assert_ne!(first, answers(2).await);
        assert!((40..=120).contains(&first.iter().filter(|ok| !**ok).count()));
    }
}
