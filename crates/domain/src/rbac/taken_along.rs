//! What a deletion or a move takes along: a deny assignment that keeps the caller from deleting something stops it, though
//! its own scope is free.
//!
//! Only denies are looked for, and they count whether a role grants anything there or not: who may delete a whole may
//! delete its parts, as a cluster's writer may the group of its nodes.
//! Source: Azure, "Understand Azure deny assignments".

use std::sync::Arc;

use super::condition::Attributes;
use super::decision::{Question, denied_by};
use super::deny_assignment::DenyAssignment;
use super::{Plane, RbacScope};
use crate::ids::{ClientId, PrincipalId};
use crate::key_vault::vault;
use crate::operation::OperationContext;
use crate::resource_id::ArmResourceId;
use crate::resources::lock::{self, Effect};
use crate::snapshot::Snapshot;

/// A deny assignment is in the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} is denied at {scope}")]
pub struct Denied {
    /// Who was denied: the client id.
    pub client: ClientId,
    /// The same: the object id.
    pub object: PrincipalId,
    /// What was to be done.
    pub action: String,
    /// To what.
    pub scope: RbacScope,
    /// What forbids it.
    pub deny: Arc<DenyAssignment>,
}

/// Refuses an operation that deletes its scope while something below may not be deleted by its caller.
pub(crate) fn guard(snapshot: &Snapshot, operation: &OperationContext) -> Result<(), Denied> {
    match lock::target(operation) {
        Some((Effect::Delete, scope)) => check_below(snapshot, operation, &scope),
        Some((Effect::Write | Effect::DeleteParts, _)) | None => Ok(()),
    }
}

/// Refuses when something below the scope may not be deleted by the caller.
pub(crate) fn check_below(
    snapshot: &Snapshot,
    operation: &OperationContext,
    scope: &RbacScope,
) -> Result<(), Denied> {
    if snapshot.deny_assignments.is_empty() {
        return Ok(());
    }
    held_below(snapshot, scope).iter().try_for_each(|id| check(snapshot, operation, id))
}

/// Refuses when the caller is denied to delete the resource.
pub(crate) fn check(
    snapshot: &Snapshot,
    operation: &OperationContext,
    id: &ArmResourceId,
) -> Result<(), Denied> {
    let Some(caller) = operation.principal() else { return Ok(()) };
    if snapshot.deny_assignments.is_empty() {
        return Ok(());
    }
    let (action, scope) = (format!("{}/delete", id.resource_type()), RbacScope::from(id));
    let question = Question {
        tenant: caller.tenant_id,
        principal: caller.principal_id,
        plane: Plane::Control,
        action: &action,
        scope: &scope,
        sub_operation: None,
        attributes: &Attributes::of_environment(operation.now),
    };
    let Some(deny) = denied_by(snapshot, &question) else { return Ok(()) };
    let (client, object) = (caller.client_id, caller.principal_id);
    Err(Denied { client, object, action, scope, deny })
}

/// The resources below a scope, parts included, and what denies are about that has no record of its own.
fn held_below(snapshot: &Snapshot, scope: &RbacScope) -> Vec<ArmResourceId> {
    let prefix = format!("{}/", scope.key());
    let compute = snapshot.compute_resources.below(&prefix).map(|it| it.id.clone());
    let generic = snapshot.generic_resources.below(&prefix).map(|it| it.id.clone());
    let identities = snapshot.user_assigned_identities.below(&prefix).map(|it| it.id.clone());
    let vaults = vault::in_scope(snapshot, scope.as_str());
    let vaults = vaults.iter().map(|it| it.id.clone());
    let denies = snapshot.deny_assignments.below(&prefix).filter_map(|it| it.scope.resource());
    compute.chain(generic).chain(identities).chain(vaults).chain(denies).collect()
}
