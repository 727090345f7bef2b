//! The directory's replication delay: a new service principal that is not seen yet.
//!
//! Its identity works at once, as on Azure: what does not see it is the part of the directory that role assignments and
//! Microsoft Graph read. Source: Microsoft Learn, "Troubleshoot Azure RBAC", "Symptom - Assigning a role to a new
//! principal sometimes fails".

use std::sync::Arc;

use time::UtcDateTime;

use super::{Fault, FaultEffect, holding};
use crate::directory::ServicePrincipal;
use crate::ids::PrincipalId;
use crate::rbac::RbacScope;
use crate::snapshot::Snapshot;

/// Whether a principal is too new to be seen: that of a managed identity by the faults on its resource, that of an
/// application by those on a subscription of its directory.
pub fn hides(snapshot: &Snapshot, principal: &ServicePrincipal, now: UtcDateTime) -> bool {
    if snapshot.faults.is_empty() {
        return false;
    }
    let hides = |fault: &Fault| match fault.effect {
        FaultEffect::ReplicationDelay { delay_seconds } => {
            let seen_at = principal.created_at.saturating_add(i64::from(delay_seconds));
            now.unix_timestamp() < seen_at
        }
        FaultEffect::TooManyRequests { .. }
        | FaultEffect::Updating
        | FaultEffect::ServerError(_)
        | FaultEffect::SlowAnswer { .. }
        | FaultEffect::ConnectionDropped(_)
        | FaultEffect::Throttle { .. } => false,
    };
    match principal.identity_resource() {
        Some(resource) => {
            holding(snapshot, &RbacScope::from(resource), now).any(|fault| hides(fault))
        }
        None => {
            let all = snapshot.subscriptions.iter().map(|(_, subscription)| subscription);
            all.filter(|subscription| subscription.tenant_id == principal.tenant_id)
                .filter_map(|subscription| subscription.scope())
                .any(|scope| holding(snapshot, &scope, now).any(|fault| hides(fault)))
        }
    }
}

/// The directory without the principals that are hidden at this moment.
pub fn seen(snapshot: Arc<Snapshot>, now: UtcDateTime) -> Arc<Snapshot> {
    let all = snapshot.service_principals.iter().map(|(_, principal)| principal);
    let is_undisturbed = snapshot.faults.is_empty();
    let hidden: Vec<PrincipalId> = all
        .take_while(|_| !is_undisturbed)
        .filter(|principal| hides(&snapshot, principal, now))
        .map(|principal| principal.id)
        .collect();
    if hidden.is_empty() {
        return snapshot;
    }
    let mut seen = Snapshot::clone(&snapshot);
    for principal in hidden {
        seen.hide_service_principal(principal);
    }
    Arc::new(seen)
}
