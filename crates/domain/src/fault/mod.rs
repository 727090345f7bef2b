//! A fault: trouble that the workloads at a scope, and below it, are put through on purpose, so that people can see how
//! their programs bear it.
//!
//! It is a resource like any other, of a provider of keycard's own, and ends with what it is set on. What it does to a
//! request is decided here; who counts the requests is the host side.

pub mod replication;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use time::{Duration, UtcDateTime};

use crate::ids::TenantId;
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::RbacScope;
use crate::records::{Record, Versioned};
use crate::resources::{ScopeMissing, rely_on_scope, require_place};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// How a server is in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outage {
    /// It fails.
    Internal,
    /// What it asks gives no good answer.
    BadGateway,
    /// It takes no requests now.
    Unavailable,
    /// What it asks gives no answer.
    GatewayTimeout,
}

/// When a connection is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DropMoment {
    /// Once the request was read; no byte of an answer is sent.
    BeforeAnswer,
    /// In the middle of the answer's body.
    MidAnswer,
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultEffect {
    /// Requests are refused for their number, whatever it is.
    TooManyRequests {
        /// When the client is told to come again.
        retry_after_seconds: u32,
    },
    /// The endpoint says that it is being updated.
    Updating,
    /// The endpoint says that it is in trouble.
    ServerError(Outage),
    /// Answers come late.
    SlowAnswer {
        /// How late.
        delay_milliseconds: u32,
    },
    /// Connections break.
    ConnectionDropped(DropMoment),
    /// Each workload may ask so often, as on Azure.
    Throttle {
        /// Requests per second.
        requests_per_second: u32,
        /// Requests at the same time.
        concurrent_requests: u32,
    },
    /// A new service principal is seen in the directory only after some time.
    ReplicationDelay {
        /// After how long.
        delay_seconds: u32,
    },
}

/// What an endpoint is made to say. Each face has words of its own for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointFault {
    /// Too many requests.
    #[error("too many requests")]
    TooManyRequests {
        /// When to try again.
        retry_after_seconds: u32,
    },
    /// It is being updated.
    #[error("the endpoint is being updated")]
    Updating,
    /// It is in trouble.
    #[error("the endpoint is in trouble")]
    ServerError(Outage),
}

/// A fault at a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Where it is set: a subscription, a resource group or a resource.
    pub scope: RbacScope,
    /// Its name, in the case of creation.
    pub name: String,
    /// What it does.
    pub effect: FaultEffect,
    /// How many requests it disturbs; all of them when absent.
    pub requests_max: Option<u32>,
    /// Unix seconds: since when it holds.
    pub set_at: i64,
    /// How long it holds; until it is cleared when absent.
    pub duration_seconds: Option<u32>,
}

impl Record for Fault {
    const KIND: &'static str = "faults";

    fn record_id(&self) -> String {
        self.scope.record_id(&self.name)
    }
}

impl Fault {
    /// When it ends by itself, Unix seconds.
    pub fn ends_at(&self) -> Option<i64> {
        self.duration_seconds.map(|seconds| self.set_at.saturating_add(i64::from(seconds)))
    }

    /// Whether it has not ended by itself.
    pub fn holds_at(&self, now: UtcDateTime) -> bool {
        self.ends_at().is_none_or(|end| now.unix_timestamp() < end)
    }
}

/// Whether any fault is set anywhere. One load for whoever is in a hurry: without faults nothing else is looked at.
#[derive(Clone, Debug, Default)]
pub struct FaultSwitch(Arc<AtomicBool>);

impl FaultSwitch {
    /// Whether there is any.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn turn(&self, is_on: bool) {
        self.0.store(is_on, Ordering::Relaxed);
    }
}

/// Why a fault is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The name breaks the rules.
    #[error("`{0}` is no name of a fault")]
    NameInvalid(String),
    /// A number is out of its range.
    #[error("{property} is not between {min} and {max}")]
    OutOfRange {
        /// Which one, as it is written.
        property: &'static str,
        /// The least.
        min: u32,
        /// The greatest.
        max: u32,
    },
    /// Faults are set on what is in a subscription.
    #[error("{0} cannot have faults")]
    ScopeUnsupported(RbacScope),
    /// What the scope names does not exist.
    #[error(transparent)]
    ScopeMissing(#[from] ScopeMissing),
    /// The scope has as many faults as it may.
    #[error("{0} has too many faults")]
    TooMany(RbacScope),
    /// There is no such fault.
    #[error("fault {0} does not exist")]
    NotFound(String),
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Sets a fault, or sets it anew: it begins, and counts, from the start. Whether its name is new.
pub async fn put(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    fault: &Fault,
) -> Result<(Fault, bool), FaultError> {
    check_form(fault)?;
    state
        .transact(operation, |snapshot, changes| {
            let unsupported = || FaultError::ScopeUnsupported(fault.scope.clone());
            require_place(snapshot, tenant, &fault.scope)?.ok_or_else(unsupported)?;
            let existing = snapshot.faults.get(&fault.record_id());
            let (held, over): (Vec<_>, Vec<_>) = snapshot
                .faults
                .at_scope(fault.scope.key())
                .partition(|it| it.holds_at(operation.now));
            if existing.is_none() && held.len() >= limits::FAULTS_PER_SCOPE_MAX {
                return Err(FaultError::TooMany(fault.scope.clone()));
            }
            let (scope, name) = match existing {
                Some(existing) => (existing.scope.clone(), existing.name.clone()),
                None => (fault.scope.clone(), fault.name.clone()),
            };
            let fault = Fault { scope, name, ..fault.clone() };
            rely_on_scope(snapshot, changes, &fault.scope);
            if held.len() + over.len() >= limits::FAULTS_PER_SCOPE_MAX {
                for gone in over.iter().filter(|it| it.record_id() != fault.record_id()) {
                    changes.delete(snapshot, gone.record.as_ref());
                }
            }
            changes.put(snapshot, &fault);
            Ok((fault, existing.is_none()))
        })
        .await
}

fn check_form(fault: &Fault) -> Result<(), FaultError> {
    let is_name = (1..=limits::FAULT_NAME_CHARS_MAX).contains(&fault.name.len())
        && fault.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !is_name {
        return Err(FaultError::NameInvalid(fault.name.clone()));
    }
    let within = |property, value: u32, min, max| {
        let is_within = (min..=max).contains(&value);
        is_within.then_some(()).ok_or(FaultError::OutOfRange { property, min, max })
    };
    match fault.effect {
        FaultEffect::TooManyRequests { retry_after_seconds } => {
            let max = limits::FAULT_RETRY_AFTER_SECONDS_MAX;
            within("retryAfterSeconds", retry_after_seconds, 0, max)?;
        }
        FaultEffect::SlowAnswer { delay_milliseconds } => {
            let max = limits::FAULT_DELAY_MILLISECONDS_MAX;
            within("delayMilliseconds", delay_milliseconds, 1, max)?;
        }
        FaultEffect::Throttle { requests_per_second, concurrent_requests } => {
            let max = limits::FAULT_RATE_MAX;
            within("requestsPerSecond", requests_per_second, 1, max)?;
            within("concurrentRequests", concurrent_requests, 1, max)?;
        }
        FaultEffect::ReplicationDelay { delay_seconds } => {
            let max = limits::FAULT_DURATION_SECONDS_MAX;
            within("delaySeconds", delay_seconds, 1, max)?;
        }
        FaultEffect::Updating | FaultEffect::ServerError(_) | FaultEffect::ConnectionDropped(_) => {
        }
    }
    if let Some(requests) = fault.requests_max {
        within("requests", requests, 1, limits::FAULT_REQUESTS_MAX)?;
    }
    if let Some(seconds) = fault.duration_seconds {
        within("durationSeconds", seconds, 1, limits::FAULT_DURATION_SECONDS_MAX)?;
    }
    Ok(())
}

/// The fault with this name at this scope.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &RbacScope,
    name: &str,
) -> Result<&'a Versioned<Fault>, FaultError> {
    let found = snapshot.faults.get(&scope.record_id(name));
    found.ok_or_else(|| FaultError::NotFound(name.to_owned()))
}

/// Clears a fault; `false` when there was none.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    scope: &RbacScope,
    name: &str,
) -> Result<bool, FaultError> {
    state
        .transact(operation, |snapshot, changes| {
            let existing = snapshot.faults.get(&scope.record_id(name));
            if let Some(existing) = existing {
                changes.delete(snapshot, existing.record.as_ref());
            }
            Ok(existing.is_some())
        })
        .await
}

/// Clears all faults: a server that is not for development and tests has none, whoever served its data before.
pub async fn clear_all(state: &State, operation: &OperationContext) -> Result<usize, WriteError> {
    state
        .transact(operation, |snapshot, changes| {
            for (_, fault) in snapshot.faults.iter() {
                changes.delete(snapshot, fault.record.as_ref());
            }
            Ok(snapshot.faults.len())
        })
        .await
}

/// Removes the faults that ended a while ago; until then a listing shows that they are over.
pub(crate) async fn prune(state: &State, operation: &OperationContext) -> Result<(), WriteError> {
    let before = operation.now - limits::FAULT_SHOWN_AFTER_END;
    if !state.snapshot().faults.iter().any(|(_, fault)| !fault.holds_at(before)) {
        return Ok(());
    }
    state
        .transact(operation, |snapshot, changes| {
            for (_, fault) in snapshot.faults.iter().filter(|(_, it)| !it.holds_at(before)) {
                changes.delete(snapshot, fault.record.as_ref());
            }
            Ok(())
        })
        .await
}

/// The faults at a scope and below it.
pub fn list(snapshot: &Snapshot, scope: &RbacScope) -> Vec<Versioned<Fault>> {
    // Below the root are those of every tenant.
    let below = scope.subscription().map(|_| snapshot.faults.below_scope(scope.key()));
    let at = snapshot.faults.at_scope(scope.key());
    at.chain(below.into_iter().flatten()).cloned().collect()
}

/// The faults that hold for a resource: set on it, or on anything above it.
pub fn holding<'a>(
    snapshot: &'a Snapshot,
    resource: &'a RbacScope,
    now: UtcDateTime,
) -> impl Iterator<Item = &'a Versioned<Fault>> {
    let above = resource.path_ancestors();
    let above = above.flat_map(|ancestor| snapshot.faults.at_scope(ancestor.text));
    above.filter(move |fault| fault.holds_at(now))
}

/// Plans that the faults of what is deleted go with it; the prefix is of the keys of what goes.
pub(crate) fn plan_delete_below(snapshot: &Snapshot, changes: &mut Changes, prefix: &str) {
    for fault in snapshot.faults.below(prefix) {
        changes.delete(snapshot, fault.record.as_ref());
    }
}

impl FaultEffect {
    /// How late an answer comes.
    pub fn delay(self) -> Option<Duration> {
        match self {
            Self::SlowAnswer { delay_milliseconds } => {
                Some(Duration::milliseconds(i64::from(delay_milliseconds)))
            }
            Self::TooManyRequests { .. }
            | Self::Updating
            | Self::ServerError(_)
            | Self::ConnectionDropped(_)
            | Self::Throttle { .. }
            | Self::ReplicationDelay { .. } => None,
        }
    }

    /// What the endpoint is made to say to each request.
    pub fn refusal(self) -> Option<EndpointFault> {
        match self {
            Self::TooManyRequests { retry_after_seconds } => {
                Some(EndpointFault::TooManyRequests { retry_after_seconds })
            }
            Self::Updating => Some(EndpointFault::Updating),
            Self::ServerError(outage) => Some(EndpointFault::ServerError(outage)),
            Self::SlowAnswer { .. }
            | Self::ConnectionDropped(_)
            | Self::Throttle { .. }
            | Self::ReplicationDelay { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/G";

    fn fault(scope: &str, name: &str, effect: FaultEffect) -> Fault {
        Fault {
            scope: RbacScope::parse(scope).unwrap(),
            name: name.to_owned(),
            effect,
            requests_max: None,
            set_at: 1000,
            duration_seconds: None,
        }
    }

    fn at_second(second: i64) -> UtcDateTime {
        UtcDateTime::from_unix_timestamp(second).unwrap()
    }

    #[test]
    fn a_fault_holds_at_its_scope_and_below_until_it_ends() {
        let mut snapshot = Snapshot::default();
        let vm = format!("{GROUP}/providers/Microsoft.Compute/virtualMachines/vm");
        let other = format!("{vm}2");
        let short =
            Fault { duration_seconds: Some(70), ..fault(&vm, "short", FaultEffect::Updating) };
        for fault in [
            short,
            fault(
                &GROUP.to_uppercase().replace("SUBSCRIPTIONS", "subscriptions"),
                "group",
                FaultEffect::Updating,
            ),
            fault(&other, "other", FaultEffect::Updating),
        ] {
            snapshot.insert_for_test(&fault);
        }
        let names = |resource: &str, second| -> Vec<String> {
            let scope = RbacScope::parse(resource).unwrap();
            let now = at_second(second);
            holding(&snapshot, &scope, now).map(|fault| fault.name.clone()).collect()
        };
        assert_eq!(names(&vm, 1069), ["group", "short"]);
        assert_eq!(names(&vm.to_uppercase(), 1070), ["group"]);
        assert_eq!(names(&other, 1000), ["group", "other"]);
        assert_eq!(names(&format!("{GROUP}2/providers/a/b/c"), 1000), [""; 0]);
    }

    #[test]
    fn numbers_out_of_range_and_foreign_names_are_refused() {
        let check = |fault: &Fault, is_good: bool| {
            assert_eq!(check_form(fault).is_ok(), is_good, "{fault:?}");
        };
        let slow = |delay_milliseconds| FaultEffect::SlowAnswer { delay_milliseconds };
        for (effect, is_good) in [
            (slow(0), false),
            (slow(1), true),
            (slow(limits::FAULT_DELAY_MILLISECONDS_MAX), true),
            (slow(limits::FAULT_DELAY_MILLISECONDS_MAX + 1), false),
            (FaultEffect::TooManyRequests { retry_after_seconds: 0 }, true),
            (FaultEffect::TooManyRequests { retry_after_seconds: u32::MAX }, false),
            (FaultEffect::Throttle { requests_per_second: 0, concurrent_requests: 1 }, false),
            (FaultEffect::Throttle { requests_per_second: 1, concurrent_requests: 0 }, false),
            (FaultEffect::ReplicationDelay { delay_seconds: 0 }, false),
        ] {
            check(&fault(GROUP, "f", effect), is_good);
        }
        for (name, is_good) in [("a-b_c.1", true), ("", false), ("a b", false), ("a|b", false)] {
            check(&fault(GROUP, name, FaultEffect::Updating), is_good);
        }
        check(&fault(GROUP, &"n".repeat(65), FaultEffect::Updating), false);
        let of = |requests_max, duration_seconds| Fault {
            requests_max,
            duration_seconds,
            ..fault(GROUP, "f", FaultEffect::Updating)
        };
        check(&of(Some(0), None), false);
        check(&of(None, Some(0)), false);
        check(&of(Some(1), Some(1)), true);
        check(&of(Some(u32::MAX), None), false);
        check(&of(None, Some(u32::MAX)), false);
    }
}
