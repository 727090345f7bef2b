//! Links between policies and what they are in force for.
//!
//! Source: Microsoft Graph, "Assign tokenLifetimePolicies", "List appliesTo".

use uuid::Uuid;

use super::management::{PolicyError, find};
use super::{PolicyKind, PolicyLink, linked};
use crate::directory::application::Application;
use crate::directory::application::registration;
use crate::directory::service_principal::{self, ServicePrincipal};
use crate::ids::{ApplicationId, PolicyId, PrincipalId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::records::{Record, Versioned};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State};

/// What a policy can be in force for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An application.
    Application(ApplicationId),
    /// A service principal.
    ServicePrincipal(PrincipalId),
}

impl Target {
    /// The object's id.
    pub const fn id(&self) -> Uuid {
        match self {
            Self::Application(id) => *id.as_uuid(),
            Self::ServicePrincipal(id) => *id.as_uuid(),
        }
    }
}

/// An object that a policy is in force for.
#[derive(Clone, Copy, Debug)]
pub enum LinkedObject<'a> {
    /// An application.
    Application(&'a Versioned<Application>),
    /// A service principal.
    ServicePrincipal(&'a Versioned<ServicePrincipal>),
}

/// The directory's object that is meant.
pub fn target(
    snapshot: &Snapshot,
    tenant: TenantId,
    target: Target,
) -> Result<LinkedObject<'_>, PolicyError> {
    let not_found = PolicyError::TargetNotFound(target.id());
    match target {
        Target::Application(id) => registration::find(snapshot, tenant, id)
            .map(LinkedObject::Application)
            .map_err(|_| not_found),
        Target::ServicePrincipal(id) => service_principal::find(snapshot, tenant, id)
            .map(LinkedObject::ServicePrincipal)
            .ok_or(not_found),
    }
}

/// Puts a policy into force for an object, which may have one of each kind.
pub async fn create(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    to: Target,
    (kind, policy_id): (PolicyKind, PolicyId),
) -> Result<(), PolicyError> {
    state
        .transact(operation, |snapshot, changes| {
            let object = target(snapshot, tenant, to)?;
            let policy = find(snapshot, tenant, kind, policy_id)?;
            match linked(snapshot, tenant, to.id(), kind) {
                Some(present) if present.id == policy_id => {
                    return Err(PolicyError::AlreadyLinked(policy_id));
                }
                Some(present) => return Err(PolicyError::OtherLinked(present.id)),
                None => {}
            }
            if of_policy(snapshot, policy_id).count() >= limits::POLICY_LINKS_MAX {
                return Err(PolicyError::TooManyLinks(policy_id));
            }
            // Both are written as they are: whoever deletes one of them at the same time, or links another policy, plans
            // anew and sees this link.
            match object {
                LinkedObject::Application(it) => changes.put(snapshot, it.record.as_ref()),
                LinkedObject::ServicePrincipal(it) => changes.put(snapshot, it.record.as_ref()),
            }
            changes.put(snapshot, policy.record.as_ref());
            changes.put(snapshot, &PolicyLink { target: to.id(), policy_id });
            Ok(())
        })
        .await
}

/// Takes a policy from an object.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    from: Target,
    (kind, policy_id): (PolicyKind, PolicyId),
) -> Result<(), PolicyError> {
    state
        .transact(operation, |snapshot, changes| {
            target(snapshot, tenant, from)?;
            find(snapshot, tenant, kind, policy_id)?;
            let link = PolicyLink { target: from.id(), policy_id };
            if snapshot.policy_links.get(&link.record_id()).is_none() {
                return Err(PolicyError::NotFound(policy_id));
            }
            changes.delete(snapshot, &link);
            Ok(())
        })
        .await
}

/// What a policy is in force for, besides the whole organization.
pub fn applies_to(
    snapshot: &Snapshot,
    tenant: TenantId,
    policy: PolicyId,
) -> Vec<LinkedObject<'_>> {
    let objects = of_policy(snapshot, policy).filter_map(|link| {
        let application = Target::Application(ApplicationId::new(link.target));
        let principal = Target::ServicePrincipal(PrincipalId::new(link.target));
        target(snapshot, tenant, application).or_else(|_| target(snapshot, tenant, principal)).ok()
    });
    objects.collect()
}

fn of_policy(
    snapshot: &Snapshot,
    policy: PolicyId,
) -> impl Iterator<Item = &Versioned<PolicyLink>> {
    let all = snapshot.policy_links.iter().map(|(_, link)| link);
    all.filter(move |link| link.policy_id == policy)
}

/// Removes the links of a policy that goes.
pub(super) fn remove_of_policy(snapshot: &Snapshot, changes: &mut Changes, policy: PolicyId) {
    for link in of_policy(snapshot, policy) {
        changes.delete(snapshot, link.record.as_ref());
    }
}

/// Removes the links of an object that goes.
pub(in crate::directory) fn remove_of_target(
    snapshot: &Snapshot,
    changes: &mut Changes,
    target: Uuid,
) {
    for link in snapshot.policy_links.below(&format!("{target}/")) {
        changes.delete(snapshot, link.record.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_go_with_their_policy_and_with_their_object() {
        let (target, policy_id) = (Uuid::from_u128(1), PolicyId::new(Uuid::from_u128(2)));
        let mut snapshot = Snapshot::default();
        snapshot.insert_for_test(&PolicyLink { target, policy_id });
        let check = |remove: &dyn Fn(&mut Changes), expected: bool| {
            let mut changes = Changes::default();
            remove(&mut changes);
            assert_eq!(!changes.is_empty(), expected);
        };
        let other = PolicyId::new(Uuid::nil());
        check(&|changes| remove_of_policy(&snapshot, changes, policy_id), true);
        check(&|changes| remove_of_policy(&snapshot, changes, other), false);
        check(&|changes| remove_of_target(&snapshot, changes, target), true);
        check(&|changes| remove_of_target(&snapshot, changes, Uuid::nil()), false);
    }
}
