//! The decision: may this principal do this, here, and which assignment says so.
//!
//! A pure function. Control-plane and data-plane actions never cover each other: Owner's `*` grants no data action.

use super::role_definition::RoleDefinition;
use super::scope::RbacScope;
use crate::ids::{PrincipalId, RoleAssignmentId};
use crate::snapshot::Snapshot;

/// Which of a role's lists an action is looked up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// `actions` and `notActions`.
    Control,
    /// `dataActions` and `notDataActions`.
    Data,
}

/// Why a decision came out as it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This assignment grants it.
    Granted(RoleAssignmentId),
    /// No assignment at the scope or above it covers the action.
    NoAssignment,
    /// Only roles with a condition cover the action; conditions are not evaluated, so they grant nothing.
    ConditionNotEvaluated(RoleAssignmentId),
}

/// Whether something is allowed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why.
    pub reason: Reason,
}

impl Decision {
    /// Whether it is allowed.
    pub const fn is_allowed(&self) -> bool {
        matches!(self.reason, Reason::Granted(_))
    }
}

/// Decides whether the principal may do the action at the scope.
pub fn decide(
    snapshot: &Snapshot,
    principal: PrincipalId,
    plane: Plane,
    action: &str,
    scope: &RbacScope,
) -> Decision {
    let action = action.to_ascii_lowercase();
    let mut reason = Reason::NoAssignment;
    for assignment in snapshot.assignments_of(principal) {
        if !assignment.scope.contains(scope) {
            continue;
        }
        let Some(role) = snapshot.role_definition(assignment.role) else { continue };
        match coverage(role, plane, &action) {
            Coverage::Full => return Decision { reason: Reason::Granted(assignment.id) },
            Coverage::Conditional => reason = Reason::ConditionNotEvaluated(assignment.id),
            Coverage::None => {}
        }
    }
    Decision { reason }
}

enum Coverage {
    None,
    Conditional,
    Full,
}

fn coverage(role: &RoleDefinition, plane: Plane, action_lowercase: &str) -> Coverage {
    let mut covering = role
        .permissions
        .iter()
        .filter(|permission| permission.covers(plane, action_lowercase))
        .peekable();
    if covering.peek().is_none() {
        Coverage::None
    } else if covering.any(|permission| permission.condition.is_none()) {
        Coverage::Full
    } else {
        Coverage::Conditional
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::{RoleAssignment, assignment::PrincipalType, built_in_roles};
    use uuid::Uuid;

    const GROUP: &str = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg1";
    const PRINCIPAL: PrincipalId = PrincipalId::new(Uuid::from_u128(7));

    fn snapshot(grants: &[(&str, &str)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (number, (role, scope)) in grants.iter().enumerate() {
            let role = built_in_roles::all().iter().find(|known| known.role_name == *role).unwrap();
            snapshot.insert_for_test(&RoleAssignment {
                id: RoleAssignmentId::new(Uuid::from_u128(number as u128)),
                scope: RbacScope::parse(scope).unwrap(),
                principal_id: PRINCIPAL,
                principal_type: PrincipalType::ServicePrincipal,
                role: role.id,
                description: None,
                created_at: 0,
                updated_at: 0,
                created_by: None,
            });
        }
        snapshot
    }

    fn check(grants: &[(&str, &str)], plane: Plane, action: &str, scope: &str, allowed: bool) {
        let scope = RbacScope::parse(scope).unwrap();
        let decision = decide(&snapshot(grants), PRINCIPAL, plane, action, &scope);
        assert_eq!(decision.is_allowed(), allowed, "{grants:?}: {action} at {scope}: {decision:?}");
    }

    #[test]
    fn roles_grant_what_they_say_and_nothing_else() {
        let vault = &format!("{GROUP}/providers/Microsoft.KeyVault/vaults/v");
        let secret = &format!("{vault}/secrets/s");
        let get = "Microsoft.KeyVault/vaults/secrets/getSecret/action";
        let set = "Microsoft.KeyVault/vaults/secrets/setSecret/action";
        check(&[("Key Vault Secrets User", vault)], Plane::Data, get, secret, true);
        check(&[("Key Vault Secrets User", vault)], Plane::Data, set, secret, false);
        check(&[("Key Vault Secrets User", vault)], Plane::Control, get, secret, false);
        check(&[("Key Vault Secrets User", secret)], Plane::Data, get, secret, true);
        check(
            &[("Key Vault Secrets User", secret)],
            Plane::Data,
            get,
            &format!("{secret}2"),
            false,
        );
        check(&[("Owner", GROUP)], Plane::Data, get, secret, false);
        check(&[("Owner", GROUP)], Plane::Control, "Microsoft.KeyVault/vaults/write", vault, true);
        check(
            &[("Owner", GROUP)],
            Plane::Control,
            "Microsoft.KeyVault/vaults/write",
            &vault.replace("rg1", "rg10"),
            false,
        );
        check(&[], Plane::Control, "Microsoft.KeyVault/vaults/read", vault, false);
    }

    #[test]
    fn not_actions_of_one_role_do_not_bind_another() {
        let write = "Microsoft.Authorization/roleAssignments/write";
        check(&[("Contributor", GROUP)], Plane::Control, write, GROUP, false);
        check(
            &[("Contributor", GROUP), ("User Access Administrator", GROUP)],
            Plane::Control,
            write,
            GROUP,
            true,
        );
    }

    #[test]
    fn a_role_with_a_condition_grants_nothing_while_conditions_are_not_evaluated() {
        check(
            &[("Key Vault Data Access Administrator", GROUP)],
            Plane::Control,
            "Microsoft.Authorization/roleAssignments/write",
            GROUP,
            false,
        );
    }
}
