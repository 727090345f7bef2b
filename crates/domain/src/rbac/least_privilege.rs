//! The least that is enough: the smallest built-in role that covers an action, at the smallest scope at which it can be
//! given; and the smallest set of assignments that covers what a run asked.
//!
//! A role is as broad as the number of known actions it covers, on both planes.

use std::sync::Arc;

use super::action::Action;
use super::built_in_roles;
use super::decision::Plane;
use super::journal::Asked;
use super::provider_operations;
use super::role_definition::RoleDefinition;
use super::scope::RbacScope;
use crate::ids::{PrincipalId, TenantId};
use crate::resources;
use crate::snapshot::Snapshot;

/// How many known actions a role covers, on both planes.
pub fn breadth(role: &RoleDefinition) -> usize {
    provider_operations::universe()
        .iter()
        .filter(|(plane, action)| covers(role, *plane, action))
        .count()
}

/// Whether the role covers the action without a condition.
fn covers(role: &RoleDefinition, plane: Plane, action: &Action<'_>) -> bool {
    role.permissions
        .iter()
        .any(|permission| permission.condition.is_none() && permission.covers(plane, action))
}

/// The roles that cover the action without a condition and can be given at the scope, the narrowest first; of equally
/// broad ones the built-in before the tenant's own.
pub fn roles_that_cover<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    plane: Plane,
    action: &str,
    scope: &RbacScope,
) -> Vec<&'a Arc<RoleDefinition>> {
    let action = Action::new(action);
    let above = super::standing::Ancestry::of(snapshot, tenant, scope);
    let custom = snapshot
        .custom_roles
        .iter()
        .filter(|(_, role)| role.tenant_id == tenant)
        .map(|(_, role)| &role.definition)
        .filter(|role| {
            above.as_ref().is_some_and(|above| {
                role.assignable_scopes.iter().any(|assignable| above.holds(assignable))
            })
        });
    let mut covering: Vec<&Arc<RoleDefinition>> = built_in_roles::all()
        .iter()
        .chain(custom)
        .filter(|role| covers(role, plane, &action))
        .collect();
    // The sort is stable, and the built-in ones come first.
    covering.sort_by_cached_key(|role| breadth(role));
    covering
}

/// A role that a principal needs at a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Who needs it.
    pub principal: PrincipalId,
    /// Which role.
    pub role: Arc<RoleDefinition>,
    /// Where.
    pub scope: RbacScope,
}

/// The role and scope that are enough for a question, and no smaller one is; `None` when no role covers the action.
pub fn needed(snapshot: &Snapshot, asked: &Asked) -> Option<Needed> {
    let scope = resources::nearest_existing(snapshot, asked.tenant, &asked.scope);
    let roles = roles_that_cover(snapshot, asked.tenant, asked.plane, &asked.action, &scope);
    let role = Arc::clone(roles.first()?);
    Some(Needed { principal: asked.principal, role, scope })
}

/// The assignments that cover what a run asked: for each question the smallest, without those that others make
/// superfluous. Questions that no role covers are returned beside them.
pub fn cover<'a>(snapshot: &Snapshot, run: &'a [Asked]) -> (Vec<Needed>, Vec<&'a Asked>) {
    let mut chosen: Vec<Needed> = Vec::new();
    let mut uncovered = Vec::new();
    for asked in run {
        match needed(snapshot, asked) {
            Some(needed) if !chosen.contains(&needed) => chosen.push(needed),
            Some(_) => {}
            None => uncovered.push(asked),
        }
    }
    // The broadest last, so that what it covers as well is dropped before it.
    chosen.sort_by_cached_key(|needed| (breadth(&needed.role), needed.scope.key().to_owned()));
    let mut index = 0;
    while index < chosen.len() {
        let mut without = chosen.clone();
        without.remove(index);
        let questions =
            run.iter().filter(|asked| !uncovered.iter().any(|it| std::ptr::eq(*it, *asked)));
        if questions.clone().all(|asked| is_covered(asked, &without)) {
            chosen = without;
        } else {
            index += 1;
        }
    }
    (chosen, uncovered)
}

fn is_covered(asked: &Asked, chosen: &[Needed]) -> bool {
    let action = Action::new(&asked.action);
    chosen.iter().any(|needed| {
        needed.principal == asked.principal
            && needed.scope.contains(&asked.scope)
            && covers(&needed.role, asked.plane, &action)
    })
}
