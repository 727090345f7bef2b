//! How often operations on the control plane may be asked for, where a profile limits them: a bucket for each rate and
//! whom it counts for. Each node counts by itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use time::UtcDateTime;

use crate::ids::{SubscriptionId, TenantId};
use crate::limits::{self, Rate};
use crate::token::throttle::Throttle;

/// What is counted, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RatedBy {
    /// Listings of the resources that an identity is assigned to, of a tenant.
    AssociatedResources(TenantId),
    /// User-assigned identities that a tenant makes in a region.
    IdentitiesOfTenant(TenantId, String),
    /// Those of a subscription.
    IdentitiesOfSubscription(SubscriptionId, String),
}

/// Too many requests came in a short time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests: one may come again after {retry_after_seconds} seconds")]
pub struct TooManyRequests {
    /// After how many seconds one may come again.
    pub retry_after_seconds: u32,
}

/// The buckets in use.
#[derive(Debug, Default)]
pub struct RequestRates(Mutex<BTreeMap<RatedBy, Throttle>>);

impl RequestRates {
    /// Lets one request through, or says when one may come again.
    pub fn admit(&self, by: RatedBy, rate: Rate, now: UtcDateTime) -> Result<(), TooManyRequests> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= limits::REQUEST_RATES_KEPT_MAX && !buckets.contains_key(&by) {
            // An empty bucket counts nothing that a new one would not.
            buckets.retain(|_, bucket| !bucket.is_idle(now));
            if buckets.len() >= limits::REQUEST_RATES_KEPT_MAX {
                return Err(TooManyRequests { retry_after_seconds: 1 });
            }
        }
        let bucket = buckets.entry(by).or_default();
        bucket
            .admit(rate, now)
            .map_err(|retry_after_seconds| TooManyRequests { retry_after_seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use uuid::Uuid;

    fn tenant(number: usize) -> RatedBy {
        let number = u128::try_from(number).unwrap();
        RatedBy::AssociatedResources(TenantId::new(Uuid::from_u128(number)))
    }

    #[test]
    fn each_tenant_has_a_rate_of_its_own_and_full_buckets_have_a_bound() {
        let start = UtcDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let rates = RequestRates::default();
        let once = Rate { per_second: 1, burst: 1 };
        let refused = Err(TooManyRequests { retry_after_seconds: 1 });
        for number in 0..limits::REQUEST_RATES_KEPT_MAX {
            assert_eq!(rates.admit(tenant(number), once, start), Ok(()));
        }
        assert_eq!(rates.admit(tenant(0), once, start), refused);
        assert_eq!(rates.admit(tenant(usize::MAX), once, start), refused, "there is no room");
        let later = start + Duration::seconds(1);
        assert_eq!(rates.admit(tenant(usize::MAX), once, later), Ok(()));
        assert_eq!(rates.admit(tenant(0), once, later), Ok(()));
    }
}
