//! The rate of new tokens: how many a tenant may have, shared fairly between its clients.
//!
//! The generic cell rate algorithm (a sustained rate with a burst, one number of state, the clock given) counts for the
//! tenant. The upper half of its burst is kept for clients within their share of the rate, so that whoever asks without end
//! is held back before the others are.
//! Source: ITU-T I.371; "Rate limiting, cells, and GCRA".

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use time::UtcDateTime;

use crate::ids::ClientId;
use crate::limits::{self, Rate};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Lets events through at a rate.
#[derive(Debug, Default)]
pub struct Throttle {
    /// When the bucket will be empty again, Unix nanoseconds.
    empty_at: AtomicI64,
}

fn unix_nanos(at: UtcDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}

impl Throttle {
    /// Lets one event through, or says after how many whole seconds one may be.
    pub fn admit(&self, rate: Rate, now: UtcDateTime) -> Result<(), u32> {
        let now = unix_nanos(now);
        let interval = NANOS_PER_SECOND / i64::from(rate.per_second.max(1));
        let tolerance = interval * i64::from(rate.burst);
        let admitted =
            self.empty_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |empty_at| {
                let next = empty_at.max(now) + interval;
                (next - now <= tolerance).then_some(next)
            });
        admitted.map(|_| ()).map_err(|empty_at| {
            let wait = empty_at + interval - tolerance - now;
            let seconds = (wait.max(1) + NANOS_PER_SECOND - 1) / NANOS_PER_SECOND;
            u32::try_from(seconds).unwrap_or(1)
        })
    }
}

impl Throttle {
    /// Whether it would let as many events through as one that never saw any.
    pub fn is_idle(&self, now: UtcDateTime) -> bool {
        self.empty_at.load(Ordering::Relaxed) <= unix_nanos(now)
    }
}

/// Lets the clients of a tenant through at its rate, so that none can starve the others.
#[derive(Debug, Default)]
pub struct FairThrottle {
    tenant: Throttle,
    clients: Mutex<ActiveClients>,
}

/// What each client got in the present second, and how many asked in the one before.
#[derive(Debug, Default)]
struct ActiveClients {
    second: i64,
    admitted: HashMap<ClientId, u32>,
    former: usize,
}

impl ActiveClients {
    /// What a client that asks got in this second, and how much is its share; `None` beyond the bound on clients.
    fn of(&mut self, client: ClientId, rate: Rate, now: UtcDateTime) -> Option<(&mut u32, u32)> {
        let second = now.unix_timestamp();
        if second != self.second {
            let is_next = second == self.second.saturating_add(1);
            self.former = if is_next { self.admitted.len() } else { 0 };
            self.admitted.clear();
            self.second = second;
        }
        let has_room = self.admitted.len() < limits::ACTIVE_CLIENTS_MAX;
        if !has_room && !self.admitted.contains_key(&client) {
            return None;
        }
        self.admitted.entry(client).or_default();
        let sharing = u32::try_from(self.admitted.len().max(self.former)).unwrap_or(u32::MAX);
        let share = (rate.per_second / sharing.max(1)).max(1);
        self.admitted.get_mut(&client).map(|admitted| (admitted, share))
    }
}

impl FairThrottle {
    /// Lets one request of a client through, or says after how many whole seconds one may be.
    pub fn admit(&self, client: ClientId, rate: Rate, now: UtcDateTime) -> Result<(), u32> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((admitted, share)) = clients.of(client, rate, now) else {
            return self.tenant.admit(rate, now);
        };
        let burst = if *admitted < share { rate.burst } else { (rate.burst / 2).max(1) };
        self.tenant.admit(Rate { burst, ..rate }, now)?;
        *admitted += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use uuid::Uuid;

    fn start() -> UtcDateTime {
        UtcDateTime::from_unix_timestamp(1_800_000_000).unwrap()
    }

    #[test]
    fn the_burst_passes_then_the_rate() {
        let rate = Rate { per_second: 10, burst: 5 };
        let throttle = Throttle::default();
        let admitted = |at| (0..100).filter(|_| throttle.admit(rate, at).is_ok()).count();
        assert_eq!(admitted(start()), 5);
        assert_eq!(throttle.admit(rate, start()), Err(1));
        assert_eq!(admitted(start() + Duration::milliseconds(100)), 1);
        assert_eq!(admitted(start() + Duration::milliseconds(400)), 3);
        assert_eq!(admitted(start() + Duration::hours(1)), 5);
    }

    /// Ten seconds in steps of ten milliseconds, in each of which each client asks so often; who got how many.
    fn run(throttles: &[FairThrottle], rate: Rate, asks_per_step: &[usize]) -> Vec<usize> {
        let mut admitted = vec![0; asks_per_step.len()];
        for step in 0..1000 {
            let now = start() + Duration::milliseconds(step * 10);
            for (client, asks) in asks_per_step.iter().enumerate() {
                let id = ClientId::new(Uuid::from_u128(client as u128));
                for ask in 0..*asks {
                    let throttle = &throttles[ask % throttles.len()];
                    admitted[client] += usize::from(throttle.admit(id, rate, now).is_ok());
                }
            }
        }
        admitted
    }

    #[test]
    fn one_client_alone_has_the_whole_rate() {
        let rate = Rate { per_second: 2000, burst: 2000 };
        let admitted = run(&[FairThrottle::default()], rate, &[100]);
        assert!((20_000..=22_000).contains(&admitted[0]), "{admitted:?}");
    }

    #[test]
    fn a_client_that_asks_without_end_does_not_starve_the_others() {
        let rate = Rate { per_second: 2000, burst: 2000 };
        // One asks 50,000 times a second; four ask 100 times, well within their share of 400.
        let admitted = run(&[FairThrottle::default()], rate, &[500, 1, 1, 1, 1]);
        assert_eq!(admitted[1..], [1000; 4], "nobody else is refused: {admitted:?}");
        assert!((15_500..=18_100).contains(&admitted[0]), "it has what is left: {admitted:?}");
    }

    #[test]
    fn clients_that_all_want_too_much_get_about_the_same() {
        let rate = Rate { per_second: 2000, burst: 2000 };
        let admitted = run(&[FairThrottle::default()], rate, &[50, 50, 50, 50]);
        let (least, most) = (*admitted.iter().min().unwrap(), *admitted.iter().max().unwrap());
        assert!(least * 2 > most, "{admitted:?}");
        assert!(admitted.iter().sum::<usize>() <= 22_000, "{admitted:?}");
    }

    #[test]
    fn on_several_nodes_the_sum_is_that_of_one() {
        let rate = Rate { per_second: 2000, burst: 2000 };
        for nodes in [1, 2, 3, 5] {
            let throttles: Vec<_> = (0..nodes).map(|_| FairThrottle::default()).collect();
            let share = rate.shared_by(u32::try_from(nodes).unwrap());
            let sum: usize = run(&throttles, share, &[60, 60]).iter().sum();
            assert!((19_800..=22_200).contains(&sum), "{nodes} nodes: {sum}");
        }
    }
}
