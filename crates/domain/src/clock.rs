//! The clock port: time is given, never taken.

use std::fmt;

use time::UtcDateTime;

/// Tells the time. Read once at a face; the whole operation sees that `now`.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> UtcDateTime;
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
    pub fn advance(&self, by: time::Duration) {
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
