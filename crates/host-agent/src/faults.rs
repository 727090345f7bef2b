//! The faults of this host's workloads: which ones a request meets, and how many requests each has disturbed.
//!
//! What is set stands in the directory; what is counted is this host's, and begins anew when a fault is set anew or the
//! host starts anew. Without faults a request costs one look at a switch.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration as RealDuration;

use keycard_domain::clock::Clock;
use keycard_domain::fault::{DropMoment, EndpointFault, Fault, FaultEffect, FaultSwitch};
use keycard_domain::limits::{self, Rate};
use keycard_domain::records::{Record, Versioned};
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::store::Revision;
use keycard_domain::token::throttle::Throttle;
use time::{Duration, UtcDateTime};

/// What a host knows of the faults that are set.
pub trait FaultView: std::fmt::Debug + Send + Sync + 'static {
    /// The faults that hold for a workload at this moment, in the order of scope and name.
    fn faults(&self, workload: &ArmResourceId, now: UtcDateTime) -> Vec<Versioned<Fault>>;

    /// The revision in which a fault stands, if it is still set.
    fn revision(&self, record_id: &str) -> Option<Revision>;
}

/// The view of a host on which no fault is ever set.
#[derive(Debug)]
struct NothingSet;

impl FaultView for NothingSet {
    fn faults(&self, _: &ArmResourceId, _: UtcDateTime) -> Vec<Versioned<Fault>> {
        Vec::new()
    }

    fn revision(&self, _: &str) -> Option<Revision> {
        None
    }
}

/// The faults of this host's workloads.
#[derive(Debug)]
pub struct Faults {
    switch: FaultSwitch,
    view: Arc<dyn FaultView>,
    clock: Arc<dyn Clock>,
    tallies: Mutex<HashMap<String, Tally>>,
}

/// What was counted of a fault since it was set.
#[derive(Debug)]
struct Tally {
    revision: Revision,
    disturbed: u32,
    /// Of a throttle: one gate for each workload.
    gates: HashMap<ArmResourceId, Arc<Gate>>,
}

/// How much a workload asks for.
#[derive(Debug, Default)]
struct Gate {
    throttle: Throttle,
    under_way: AtomicU32,
}

/// A request that a gate let through; it is under way until this is dropped.
#[derive(Debug)]
struct Passage(Arc<Gate>);

impl Drop for Passage {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a request is disturbed that is answered all the same. To be held until the answer is made.
#[derive(Debug, Default)]
pub struct Disturbance {
    delay: Duration,
    passages: Vec<Passage>,
}

/// How often somebody who waits looks at the clock, which may be turned.
const CLOCK_GLANCE: RealDuration = RealDuration::from_millis(10);

impl Faults {
    /// The faults that this view shows while the switch is on.
    pub fn new(switch: FaultSwitch, view: Arc<dyn FaultView>, clock: Arc<dyn Clock>) -> Self {
        Self { switch, view, clock, tallies: Mutex::default() }
    }

    /// None, now and later.
    pub fn none(clock: Arc<dyn Clock>) -> Self {
        Self::new(FaultSwitch::default(), Arc::new(NothingSet), clock)
    }

    /// Whether any fault is set anywhere.
    pub fn are_set(&self) -> bool {
        self.switch.is_on()
    }

    /// Takes a token request through the faults of its workload: it is refused, or goes on disturbed.
    pub fn meet(
        &self,
        workload: &ArmResourceId,
        now: UtcDateTime,
    ) -> Result<Disturbance, EndpointFault> {
        let mut disturbance = Disturbance::default();
        for fault in self.view.faults(workload, now) {
            if let FaultEffect::Throttle { requests_per_second, concurrent_requests } = fault.effect
            {
                let gate = self.gate(&fault, workload);
                let rate = Rate { per_second: requests_per_second, burst: requests_per_second };
                disturbance.passages.push(pass(gate, rate, concurrent_requests, now)?);
            }
            let refusal = fault.effect.refusal();
            let delay = fault.effect.delay();
            if (refusal.is_some() || delay.is_some()) && self.count(&fault) {
                disturbance.delay = disturbance.delay.max(delay.unwrap_or_default());
                if let Some(refusal) = refusal {
                    return Err(refusal);
                }
            }
        }
        Ok(disturbance)
    }

    /// Whether, and when, the connection of a workload's request is dropped.
    pub fn drop_of(&self, workload: &ArmResourceId) -> Option<DropMoment> {
        let faults = self.view.faults(workload, self.clock.now());
        faults.iter().find_map(|fault| match fault.effect {
            FaultEffect::ConnectionDropped(moment) => self.count(fault).then_some(moment),
            FaultEffect::TooManyRequests { .. }
            | FaultEffect::Updating
            | FaultEffect::ServerError(_)
            | FaultEffect::SlowAnswer { .. }
            | FaultEffect::Throttle { .. }
            | FaultEffect::ReplicationDelay { .. } => None,
        })
    }

    /// Waits as long as a disturbed request has to, by the clock that may be turned; the moment when that is over.
    pub async fn wait(&self, disturbance: &Disturbance) -> UtcDateTime {
        let until = self.clock.now() + disturbance.delay;
        let waited = async {
            while self.clock.now() < until {
                tokio::time::sleep(CLOCK_GLANCE).await;
            }
        };
        let longest = RealDuration::from_millis(limits::FAULT_DELAY_MILLISECONDS_MAX.into());
        // A clock that stands still does not hold a connection for ever.
        let _ = tokio::time::timeout(longest, waited).await;
        self.clock.now()
    }

    /// Counts a request; whether the fault still disturbs as many.
    fn count(&self, fault: &Versioned<Fault>) -> bool {
        self.tally(fault, |tally| {
            let is_disturbed = fault.requests_max.is_none_or(|max| tally.disturbed < max);
            tally.disturbed = tally.disturbed.saturating_add(u32::from(is_disturbed));
            is_disturbed
        })
    }

    fn gate(&self, fault: &Versioned<Fault>, workload: &ArmResourceId) -> Arc<Gate> {
        self.tally(fault, |tally| Arc::clone(tally.gates.entry(workload.clone()).or_default()))
    }

    fn tally<T>(&self, fault: &Versioned<Fault>, read: impl FnOnce(&mut Tally) -> T) -> T {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        if tallies.len() >= limits::FAULTS_COUNTED_MAX {
            tallies.retain(|id, tally| self.view.revision(id) == Some(tally.revision));
        }
        let revision = fault.revision;
        let fresh = || Tally { revision, disturbed: 0, gates: HashMap::new() };
        let tally = tallies.entry(fault.record_id()).or_insert_with(fresh);
        if tally.revision != revision {
            *tally = fresh();
        }
        read(tally)
    }
}

/// Lets a request through a workload's gate.
fn pass(
    gate: Arc<Gate>,
    rate: Rate,
    concurrent_max: u32,
    now: UtcDateTime,
) -> Result<Passage, EndpointFault> {
    let before = gate.under_way.fetch_add(1, Ordering::Relaxed);
    let passage = Passage(gate);
    if before >= concurrent_max {
        return Err(EndpointFault::TooManyRequests { retry_after_seconds: 1 });
    }
    let admitted = passage.0.throttle.admit(rate, now);
    admitted.map_err(|seconds| EndpointFault::TooManyRequests { retry_after_seconds: seconds })?;
    Ok(passage)
}
