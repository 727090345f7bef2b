//! The permission objects that a principal holds at a scope: what `permissions` lists.

use std::collections::BTreeSet;

use super::condition::Condition;
use super::role_definition::Permission;
use super::scope::RbacScope;
use super::standing::{Ancestry, with_groups};
use crate::ids::PrincipalId;
use crate::ids::TenantId;
use crate::snapshot::Snapshot;

/// The permission objects that count at the scope for a principal and its groups: those of each role once, or once for
/// each condition that it is held under. Denies are not taken out.
pub fn permissions(
    snapshot: &Snapshot,
    tenant: TenantId,
    principal: PrincipalId,
    scope: &RbacScope,
) -> Vec<Permission> {
    let Some(above) = Ancestry::of(snapshot, tenant, scope) else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let mut held = Vec::new();
    let principals = with_groups(snapshot, principal);
    let standings = principals.iter().filter_map(|principal| snapshot.standing(*principal));
    for assignment in standings
        .flat_map(|standing| above.keys().iter().flat_map(|key| standing.assignments.at(*key)))
        .filter(|assignment| assignment.tenant_id == tenant)
    {
        let condition = assignment.condition.as_ref();
        if seen.insert((assignment.role, condition.map(Condition::as_str))) {
            let role = snapshot.role_definition(tenant, assignment.role);
            let permissions = role.into_iter().flat_map(|role| &role.permissions);
            held.extend(permissions.map(|permission| under(permission, condition)));
        }
    }
    held
}

/// A permission object with the condition of the assignment that gives it.
fn under(permission: &Permission, condition: Option<&Condition>) -> Permission {
    let Some(condition) = condition else { return permission.clone() };
    let both = permission.condition.as_ref().and_then(|own| {
        Condition::parse(&format!("({}) AND ({})", own.as_str(), condition.as_str())).ok()
    });
    Permission {
        condition: Some(both.unwrap_or_else(|| condition.clone())),
        condition_version: Some("2.0".to_owned()),
        ..permission.clone()
    }
}
