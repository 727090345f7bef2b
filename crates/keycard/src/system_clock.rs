//! The real clock: the one place where the time of day is read.

use keycard_domain::clock::Clock;
use time::UtcDateTime;

/// Shows the time of day.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UtcDateTime {
        UtcDateTime::now()
    }
}
