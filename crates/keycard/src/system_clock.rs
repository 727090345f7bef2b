//! The real clock: the one place where the time of day is read. And the clock of `up`, which is the real one turned
//! forward.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use keycard_domain::clock::{Clock, ClockOffset};
use time::{Duration, UtcDateTime};

/// Shows the time of day.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UtcDateTime {
        UtcDateTime::now()
    }
}

/// Shows the time of day, and how far it was turned beyond it.
#[derive(Debug, Default)]
pub struct TurnableClock {
    ahead_milliseconds: AtomicI64,
}

impl TurnableClock {
    /// How far it is ahead of the time of day.
    pub fn offset(&self) -> ClockOffset {
        ClockOffset { milliseconds: self.ahead_milliseconds.load(Ordering::Acquire) }
    }

    /// Puts it as far ahead of the time of day as it was before.
    pub fn restore(&self, offset: ClockOffset) {
        self.ahead_milliseconds.store(offset.milliseconds, Ordering::Release);
    }

    /// Turns it forward.
    pub fn turn(&self, by: Duration) {
        let milliseconds = i64::try_from(by.whole_milliseconds()).unwrap_or(0).max(0);
        self.ahead_milliseconds.fetch_add(milliseconds, Ordering::AcqRel);
    }
}

impl Clock for TurnableClock {
    fn now(&self) -> UtcDateTime {
        SystemClock.now() + Duration::milliseconds(self.offset().milliseconds)
    }

    /// Answers from the cache ask for this and nothing else: a calendar would cost more than the rest of their check.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place where the time of day is read"
    )]
    fn unix_seconds(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let milliseconds = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        milliseconds.saturating_add(self.offset().milliseconds).div_euclid(1000)
    }
}
