//! The clock port: time is given, never taken.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::{Duration, UtcDateTime};

use crate::records::{Record, UnreadableRecord, decode, encode, payload_key};
use crate::state::{Changes, State, WriteError};
use crate::store::{StoreError, Write};

/// Tells the time. Read once at a face; the whole operation sees that `now`.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> UtcDateTime;

    /// The present moment in whole Unix seconds, where nothing else of it is asked for.
    fn unix_seconds(&self) -> i64 {
        self.now().unix_timestamp()
    }
}

/// Turns a server's clock forward and does what falls due on the way; only servers for development and tests have one.
#[async_trait]
pub trait ClockControl: fmt::Debug + Send + Sync + 'static {
    /// Turns the clock forward; returns the moment it shows then.
    async fn advance(&self, by: Duration) -> Result<UtcDateTime, ClockError>;
}

/// Why a clock is not turned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Clocks are turned forward, and by years at most.
    #[error("a clock is turned forward, up to {max} days at once", max = crate::limits::CLOCK_ADVANCE_MAX.whole_days())]
    OutOfRange,
    /// What fell due could not be done.
    #[error("what fell due on the way could not be done: {0}")]
    Unavailable(String),
}

/// How far a server's clock was turned: kept, since everything else that is kept was made by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// Ahead of real time.
    pub milliseconds: i64,
}

impl Record for ClockOffset {
    const KIND: &'static str = "clock";

    fn record_id(&self) -> String {
        "offset".to_owned()
    }
}

/// Why the kept offset cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its form is not known.
    #[error(transparent)]
    Unreadable(#[from] UnreadableRecord),
}

impl ClockOffset {
    /// The offset that was kept last; none when the clock was never turned.
    pub async fn load(state: &State) -> Result<Option<Self>, OffsetError> {
        let entry = state.store.get(&payload_key::<Self>("offset")).await?;
        Ok(entry.map(|entry| decode(&entry.value)).transpose()?)
    }

    /// Keeps the offset.
    pub async fn keep(self, state: &State) -> Result<(), WriteError> {
        let mut changes = Changes::default();
        changes.write(Write::Put(payload_key::<Self>(&self.record_id()), encode(&self)), None);
        state.commit(changes).await
    }
}

/// A clock that stands still until it is moved; for tests.
#[cfg(any(test, feature = "test-support"))]
#[derive(Debug)]
pub struct ManualClock(std::sync::Mutex<UtcDateTime>);

#[cfg(any(test, feature = "test-support"))]
impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: UtcDateTime) -> Self {
        Self(std::sync::Mutex::new(now))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now += by;
    }
}

#[cfg(any(test, feature = "test-support"))]
impl Clock for ManualClock {
    fn now(&self) -> UtcDateTime {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
