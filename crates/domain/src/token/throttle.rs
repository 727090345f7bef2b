//! The generic cell rate algorithm: a sustained rate with a burst, one number of state, the clock given.
//!
//! Source: ITU-T I.371; "Rate limiting, cells, and GCRA".

use std::sync::atomic::{AtomicI64, Ordering};

use time::UtcDateTime;

use crate::limits::Rate;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Lets events through at a rate.
#[derive(Debug, Default)]
pub struct Throttle {
    /// When the bucket will be empty again, Unix nanoseconds.
    empty_at: AtomicI64,
}

impl Throttle {
    /// Lets one event through, or says after how many whole seconds one may be.
    pub fn admit(&self, rate: Rate, now: UtcDateTime) -> Result<(), u32> {
        let now = i64::try_from(now.unix_timestamp_nanos()).unwrap_or(i64::MAX);
        let interval = NANOS_PER_SECOND / i64::from(rate.per_second.max(1));
        let tolerance = interval * i64::from(rate.burst);
        let admitted =
            self.empty_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |empty_at| {
                let next = empty_at.max(now) + interval;
                (next - now <= tolerance).then_some(next)
            });
        admitted.map(|_| ()).map_err(|empty_at| {
            let wait = empty_at + interval - tolerance - now;
            u32::try_from(wait.max(0) / NANOS_PER_SECOND + 1).unwrap_or(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn the_burst_passes_then_the_rate() {
        let rate = Rate { per_second: 10, burst: 5 };
        let throttle = Throttle::default();
        let start = UtcDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let admitted = |at| (0..100).filter(|_| throttle.admit(rate, at).is_ok()).count();
        assert_eq!(admitted(start), 5);
        assert_eq!(throttle.admit(rate, start), Err(1));
        assert_eq!(admitted(start + Duration::milliseconds(100)), 1);
        assert_eq!(admitted(start + Duration::milliseconds(400)), 3);
        assert_eq!(admitted(start + Duration::hours(1)), 5);
    }
}
