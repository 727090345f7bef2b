//! The least that is enough: the smallest built-in role that covers an action, at the smallest scope at which it can be
//! given; and the smallest set of assignments that covers what a run asked.
//!
//! A role is as broad as the number of known actions it covers, on both planes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, OnceLock};

use super::action::{Action, ActionPattern};
use super::built_in_roles;
use super::condition::{Attributes, Condition, Outcome};
use super::decision::Plane;
use super::explanation::Insight;
use super::journal::Asked;
use super::provider_operations;
use super::role_definition::{RoleDefinition, RoleType};
use super::scope::RbacScope;
use crate::ids::{PrincipalId, RoleDefinitionId, TenantId};
use crate::resources;
use crate::snapshot::Snapshot;

/// What was counted of the built-in roles: they do not change, and strangers may ask about themselves.
static BREADTHS: LazyLock<HashMap<RoleDefinitionId, OnceLock<usize>>> =
    LazyLock::new(|| built_in_roles::all().iter().map(|role| (role.id, OnceLock::new())).collect());

/// How many known actions a role covers, on both planes, its conditions apart.
pub fn breadth(role: &RoleDefinition) -> usize {
    match BREADTHS.get(&role.id) {
        Some(counted) => *counted.get_or_init(|| count(role)),
        None => count(role),
    }
}

fn count(role: &RoleDefinition) -> usize {
    let mut covered = BTreeSet::new();
    for permission in &role.permissions {
        for (plane, granted, withheld) in [
            (Plane::Control, &permission.actions, &permission.not_actions),
            (Plane::Data, &permission.data_actions, &permission.not_data_actions),
        ] {
            let known = granted.iter().flat_map(|pattern| known_actions(plane, pattern));
            covered.extend(
                known.filter(|action| !withheld.cover(action)).map(|it| (plane, it.as_str())),
            );
        }
    }
    covered.len()
}

/// The known actions that a pattern covers: all begin with what stands before its first `*`.
fn known_actions(
    plane: Plane,
    pattern: &ActionPattern,
) -> impl Iterator<Item = &'static Action<'static>> {
    let universe = provider_operations::universe();
    let start = pattern.literal_start();
    let first = universe.partition_point(|(of, action)| (*of, action.as_str()) < (plane, &start));
    universe
        .iter()
        .skip(first)
        .take_while(move |(of, action)| *of == plane && action.as_str().starts_with(&start))
        .map(|(_, action)| action)
        .filter(move |action| pattern.covers(action.as_str()))
}

/// Whether the role covers the question, whatever conditions may ask about that is not known.
fn covers(role: &RoleDefinition, plane: Plane, action: &Action<'_>) -> bool {
    let is_met = |condition: &Condition| {
        condition.evaluate(action.as_str(), None, &Attributes::default()) == Outcome::Met
    };
    role.permissions.iter().any(|permission| {
        permission.covers(plane, action) && permission.condition.as_ref().is_none_or(is_met)
    })
}

/// The roles that cover the action whatever conditions ask, and can be given at the scope, the narrowest first; of equally
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

/// The role and scope that are enough for a question, and no smaller one is that can be given; `None` when no role covers
/// the action.
///
/// A role that the principal holds at that very scope cannot be given again: there it stands under a condition.
pub fn needed(snapshot: &Snapshot, asked: &Asked, insight: Insight) -> Option<Needed> {
    let scope = match insight {
        Insight::Full => resources::nearest_existing(snapshot, asked.tenant, &asked.scope),
        Insight::Own => asked.scope.clone(),
    };
    let mut roles = roles_that_cover(snapshot, asked.tenant, asked.plane, &asked.action, &scope);
    roles.retain(|role| insight == Insight::Full || role.role_type == RoleType::BuiltInRole);
    let is_held = |role: &RoleDefinition| {
        let standing = snapshot.standing(asked.principal);
        standing
            .is_some_and(|it| it.assignments.at(scope.scope_key()).any(|held| held.role == role.id))
    };
    let role = Arc::clone(roles.into_iter().find(|role| !is_held(role))?);
    Some(Needed { principal: asked.principal, role, scope })
}

/// The assignments that cover what a run asked: for each question the smallest, without those that others make
/// superfluous. Questions that no role covers are returned beside them.
pub fn cover<'a>(snapshot: &Snapshot, run: &'a [Asked]) -> (Vec<Needed>, Vec<&'a Asked>) {
    let mut chosen: Vec<Needed> = Vec::new();
    let mut uncovered = Vec::new();
    for asked in run {
        match needed(snapshot, asked, Insight::Full) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::tenant::Subscription;
    use crate::ids::{RoleAssignmentId, SubscriptionId};
    use crate::rbac::assignment::{PrincipalType, RoleAssignment};
    use crate::rbac::{Attributes, decide};
    use crate::resources::resource_group::ResourceGroup;
    use uuid::Uuid;

    const TENANT: TenantId = TenantId::new(Uuid::from_u128(1));
    const PRINCIPAL: PrincipalId = PrincipalId::new(Uuid::from_u128(2));
    const SUBSCRIPTION: SubscriptionId = SubscriptionId::new(Uuid::from_u128(3));

    fn group() -> String {
        format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg")
    }

    fn world() -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.insert_for_test(&Subscription {
            id: SUBSCRIPTION,
            tenant_id: TENANT,
            display_name: "s".into(),
            management_group: None,
            alias: None,
            tags: std::collections::BTreeMap::new(),
        });
        snapshot.insert_for_test(&ResourceGroup {
            subscription_id: SUBSCRIPTION,
            name: "rg".into(),
            location: "l".into(),
            tags: std::collections::BTreeMap::new(),
            managed_by: None,
        });
        snapshot
    }

    fn asked(plane: Plane, action: &str, scope: &str) -> Asked {
        Asked {
            tenant: TENANT,
            principal: PRINCIPAL,
            plane,
            action: action.into(),
            scope: RbacScope::parse(scope).unwrap(),
            sub_operation: None,
            attributes: Attributes::default(),
        }
    }

    fn is_enough(asked: &Asked, role: &RoleDefinition, scope: &RbacScope) -> bool {
        let mut snapshot = world();
        snapshot.insert_for_test(&RoleAssignment {
            id: RoleAssignmentId::new(Uuid::from_u128(4)),
            tenant_id: TENANT,
            scope: scope.clone(),
            principal_id: PRINCIPAL,
            principal_type: PrincipalType::ServicePrincipal,
            role: role.id,
            condition: None,
            description: None,
            created_at: 0,
            updated_at: 0,
            created_by: None,
            updated_by: None,
        });
        decide(&snapshot, &asked.question()).is_allowed()
    }

    #[test]
    fn the_role_that_is_advised_is_enough_and_no_smaller_one_is() {
        let vault = format!("{}/providers/Contoso.Vaults/vaults/v", group());
        for (plane, action) in [
            (Plane::Data, "Microsoft.KeyVault/vaults/secrets/getSecret/action"),
            (Plane::Data, "Microsoft.KeyVault/vaults/secrets/setSecret/action"),
            (Plane::Data, "Microsoft.KeyVault/vaults/secrets/readMetadata/action"),
            (Plane::Control, "Microsoft.KeyVault/vaults/delete"),
            (Plane::Control, "Microsoft.Compute/virtualMachines/write"),
            (Plane::Control, "Microsoft.Compute/virtualMachines/read"),
            (Plane::Control, "Microsoft.Authorization/roleAssignments/write"),
            (Plane::Control, "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"),
            (Plane::Control, "Microsoft.Resources/subscriptions/resourceGroups/write"),
            (Plane::Data, "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"),
        ] {
            let asked = asked(plane, action, &vault);
            let needed = needed(&world(), &asked, Insight::Full).unwrap();
            assert!(is_enough(&asked, &needed.role, &needed.scope), "{action}");
            let breadth_of_advised = breadth(&needed.role);
            for role in built_in_roles::all() {
                let is_smaller = breadth(role) < breadth_of_advised;
                let is_enough = is_smaller && is_enough(&asked, role, &needed.scope);
                assert!(
                    !is_enough,
                    "{action}: {} is smaller than {}",
                    role.role_name, needed.role.role_name
                );
            }
        }
    }

    #[test]
    fn breadth_counts_the_known_actions_that_a_role_covers() {
        for role in built_in_roles::all().iter().step_by(40) {
            let naive = provider_operations::universe().iter().filter(|(plane, action)| {
                role.permissions.iter().any(|permission| permission.covers(*plane, action))
            });
            assert_eq!(breadth(role), naive.count(), "{}", role.role_name);
        }
    }

    #[test]
    fn the_scope_that_is_advised_exists() {
        let vm = format!("{}/providers/Microsoft.Compute/virtualMachines/new", group());
        let scope_of = |action: &str, scope: &str| {
            needed(&world(), &asked(Plane::Control, action, scope), Insight::Full)
                .unwrap()
                .scope
                .to_string()
        };
        assert_eq!(scope_of("Microsoft.Compute/virtualMachines/write", &vm), group());
        let missing = vm.replace("/rg/", "/none/");
        let subscription = format!("/subscriptions/{SUBSCRIPTION}");
        assert_eq!(scope_of("Microsoft.Compute/virtualMachines/write", &missing), subscription);
        let own = format!("{}/providers/Contoso.Orders/shops/s1", group());
        assert_eq!(scope_of("Microsoft.Resources/subscriptions/resourceGroups/read", &own), own);
    }

    #[test]
    fn a_run_is_covered_without_what_others_cover() {
        let vault = format!("{}/providers/Contoso.Vaults/vaults/v", group());
        let (get, list) = (
            "Microsoft.KeyVault/vaults/secrets/getSecret/action",
            "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
        );
        let run = [
            asked(Plane::Data, get, &format!("{vault}/secrets/a")),
            asked(Plane::Data, get, &format!("{vault}/secrets/a")),
            asked(Plane::Data, get, &vault),
            asked(Plane::Data, list, &vault),
            asked(Plane::Data, "Contoso.Orders/orders/read", &vault),
        ];
        let (needed, uncovered) = cover(&world(), &run);
        let shown: Vec<(&str, &str)> =
            needed.iter().map(|it| (it.role.role_name.as_str(), it.scope.as_str())).collect();
        assert_eq!(shown, [("Key Vault Secrets User", vault.as_str())]);
        assert_eq!(uncovered.len(), 1);
    }
}
