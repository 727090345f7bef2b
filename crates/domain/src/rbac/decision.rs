//! The decision: may this principal do this, here, and which assignment says so.
//!
//! A pure function. Control-plane and data-plane actions never cover each other: Owner's `*` grants no data action.
//! Source: Azure role-based access control, "How Azure RBAC determines if a user has access to a resource".

use std::sync::Arc;

use super::action::Action;
use super::assignment::RoleAssignment;
use super::condition::{Attributes, Condition, Outcome};
use super::deny_assignment::{DenyAssignment, EVERYONE};
use super::role_definition::Permission;
use super::scope::RbacScope;
use super::standing::{Ancestry, Standing, standings};
use crate::ids::{PrincipalId, TenantId};
use crate::operation::Principal;
use crate::snapshot::Snapshot;

/// Which of a role's lists an action is looked up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plane {
    /// `actions` and `notActions`.
    Control,
    /// `dataActions` and `notDataActions`.
    Data,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The tenant of the principal's token. Nothing that another tenant owns is ever granted.
    pub tenant: TenantId,
    /// Who asks.
    pub principal: PrincipalId,
    /// Which lists of a role are looked at.
    pub plane: Plane,
    /// What is to be done, such as `Microsoft.Compute/virtualMachines/write`, in any case.
    pub action: &'a str,
    /// To what.
    pub scope: &'a RbacScope,
    /// Which part of the action, such as `Blob.List`, where conditions tell parts apart.
    pub sub_operation: Option<&'a str>,
    /// What conditions may ask about the request, the resource, the principal and the environment.
    pub attributes: &'a Attributes,
}

/// Why a decision came out as it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This assignment grants it; no condition had a say.
    Granted(Arc<RoleAssignment>),
    /// This assignment grants it, and its condition, or its role's, is met.
    GrantedByCondition(Arc<RoleAssignment>),
    /// No assignment at the scope or above it covers the action.
    NoAssignment,
    /// This assignment covers the action, and its condition, or its role's, is not met.
    ConditionNotMet(Arc<RoleAssignment>),
    /// This assignment covers the action, and its condition asks for what the request does not have.
    AttributeMissing(Arc<RoleAssignment>),
    /// An assignment grants it, and a deny assignment forbids it.
    Denied {
        /// What forbids it.
        deny: Arc<DenyAssignment>,
        /// What would grant it.
        assignment: Arc<RoleAssignment>,
    },
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
        matches!(self.reason, Reason::Granted(_) | Reason::GrantedByCondition(_))
    }
}

/// Whether a principal may do something on the control plane; for what it is shown, not for what it does.
pub fn may(snapshot: &Snapshot, principal: &Principal, action: &str, scope: &RbacScope) -> bool {
    let question = Question {
        tenant: principal.tenant_id,
        principal: principal.principal_id,
        plane: Plane::Control,
        action,
        scope,
        sub_operation: None,
        attributes: &Attributes::default(),
    };
    decide(snapshot, &question).is_allowed()
}

/// Decides a question.
pub fn decide(snapshot: &Snapshot, question: &Question<'_>) -> Decision {
    let search = Search::of(snapshot, question);
    Decision { reason: search.map_or(Reason::NoAssignment, |search| search.reason()) }
}

/// The deny assignment that forbids what is asked, whether a role grants it or not.
pub fn denied_by(snapshot: &Snapshot, question: &Question<'_>) -> Option<Arc<DenyAssignment>> {
    Search::of(snapshot, question)?.deny().map(Arc::clone)
}

/// A question with what is looked up once for it.
struct Search<'a> {
    snapshot: &'a Snapshot,
    question: &'a Question<'a>,
    action: Action<'a>,
    /// The scopes at which something that counts here may stand.
    above: Ancestry<'a>,
    /// Who asks, with all its groups, and what is known of each.
    principals: Vec<(PrincipalId, Option<&'a Standing>)>,
}

impl<'a> Search<'a> {
    /// `None` where the scope is none of the directory's.
    fn of(snapshot: &'a Snapshot, question: &'a Question<'a>) -> Option<Self> {
        Some(Self {
            snapshot,
            question,
            action: Action::new(question.action),
            above: Ancestry::of(snapshot, question.tenant, question.scope)?,
            principals: standings(snapshot, question.principal),
        })
    }
}

impl Search<'_> {
    fn reason(&self) -> Reason {
        let granted = self.best_grant();
        match &granted {
            Reason::Granted(assignment) | Reason::GrantedByCondition(assignment) => {
                match self.deny() {
                    Some(deny) => Reason::Denied {
                        deny: Arc::clone(deny),
                        assignment: Arc::clone(assignment),
                    },
                    None => granted,
                }
            }
            Reason::NoAssignment
            | Reason::ConditionNotMet(_)
            | Reason::AttributeMissing(_)
            | Reason::Denied { .. } => granted,
        }
    }

    fn standings(&self) -> impl Iterator<Item = &Standing> {
        self.principals.iter().filter_map(|(_, standing)| *standing)
    }

    fn is_asked_by(&self, principal: PrincipalId) -> bool {
        self.principals.iter().any(|(id, _)| *id == principal)
    }

    /// The first grant without a condition, else one whose condition is met, else why none counts.
    fn best_grant(&self) -> Reason {
        let mut best = Reason::NoAssignment;
        for standing in self.standings() {
            for scope in self.above.keys() {
                for assignment in standing.assignments.at(*scope) {
                    match self.grant(assignment) {
                        Some(granted @ Reason::Granted(_)) => return granted,
                        Some(other) if rank(&other) > rank(&best) => best = other,
                        Some(_) | None => {}
                    }
                }
            }
        }
        best
    }

    /// What an assignment at the scope or above it says of the question; `None` when it does not cover the action.
    fn grant(&self, assignment: &Arc<RoleAssignment>) -> Option<Reason> {
        if assignment.tenant_id != self.question.tenant {
            return None;
        }
        let role = self.snapshot.role_definition(assignment.tenant_id, assignment.role)?;
        let mut best = None;
        for permission in self.covering(&role.permissions) {
            let conditions = [permission.condition.as_ref(), assignment.condition.as_ref()];
            let reason = self.under(conditions, assignment);
            if best.as_ref().is_none_or(|best| rank(&reason) > rank(best)) {
                best = Some(reason);
            }
        }
        best
    }

    fn under(
        &self,
        conditions: [Option<&Condition>; 2],
        assignment: &Arc<RoleAssignment>,
    ) -> Reason {
        let assignment = Arc::clone(assignment);
        let outcomes = || conditions.into_iter().flatten().map(|condition| self.outcome(condition));
        if outcomes().any(|outcome| outcome == Outcome::NotMet) {
            Reason::ConditionNotMet(assignment)
        } else if outcomes().any(|outcome| outcome == Outcome::AttributeMissing) {
            Reason::AttributeMissing(assignment)
        } else if outcomes().next().is_some() {
            Reason::GrantedByCondition(assignment)
        } else {
            Reason::Granted(assignment)
        }
    }

    fn outcome(&self, condition: &Condition) -> Outcome {
        let Question { sub_operation, attributes, .. } = self.question;
        condition.evaluate(self.action.as_str(), *sub_operation, attributes)
    }

    fn covering<'p>(
        &self,
        permissions: &'p [Permission],
    ) -> impl Iterator<Item = &'p Permission> + use<'p, '_> {
        permissions.iter().filter(|permission| permission.covers(self.question.plane, &self.action))
    }

    /// A deny assignment that forbids it: for one of the principals, or for everyone.
    fn deny(&self) -> Option<&Arc<DenyAssignment>> {
        self.standings()
            .chain(self.snapshot.standing(EVERYONE))
            .flat_map(|standing| {
                self.above.keys().iter().flat_map(|scope| standing.denies.at(*scope))
            })
            .find(|deny| self.is_denied_by(deny))
    }

    fn is_denied_by(&self, deny: &DenyAssignment) -> bool {
        let is_in_reach = deny.tenant_id == self.question.tenant
            && (!deny.excludes_child_scopes || deny.scope == *self.question.scope);
        is_in_reach
            && !deny.excluded_principals.iter().any(|it| self.is_asked_by(it.id))
            // What cannot be evaluated denies.
            && self.covering(&deny.permissions).any(|permission| {
                permission
                    .condition
                    .as_ref()
                    .is_none_or(|condition| self.outcome(condition) != Outcome::NotMet)
            })
    }
}

/// The more a reason says for the caller, the higher.
const fn rank(reason: &Reason) -> u8 {
    match reason {
        Reason::NoAssignment | Reason::Denied { .. } => 0,
        Reason::AttributeMissing(_) => 1,
        Reason::ConditionNotMet(_) => 2,
        Reason::GrantedByCondition(_) => 3,
        Reason::Granted(_) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::group::GroupMember;
    use crate::directory::tenant::Subscription;
    use crate::ids::{DenyAssignmentId, RoleAssignmentId, SubscriptionId};
    use crate::rbac::action::{ActionPattern, ActionPatterns};
    use crate::rbac::assignment::PrincipalType;
    use crate::rbac::built_in_roles;
    use crate::rbac::deny_assignment::{DeniedPrincipal, DeniedType};
    use crate::records::{encode, state_key};
    use crate::resources::management_group::{self, ManagementGroup};
    use crate::store::{Change, Revision};
    use uuid::Uuid;

    const SUBSCRIPTION: &str = "/subscriptions/11111111-2222-3333-4444-555555555555";
    const TENANT: TenantId = TenantId::new(Uuid::from_u128(1));
    const OTHER_TENANT: TenantId = TenantId::new(Uuid::from_u128(2));
    const PRINCIPAL: PrincipalId = PrincipalId::new(Uuid::from_u128(7));
    const TEAM: PrincipalId = PrincipalId::new(Uuid::from_u128(8));
    const DIVISION: PrincipalId = PrincipalId::new(Uuid::from_u128(9));
    const WRITE: &str = "Microsoft.KeyVault/vaults/write";
    const GET: &str = "Microsoft.KeyVault/vaults/secrets/getSecret/action";
    const SET: &str = "Microsoft.KeyVault/vaults/secrets/setSecret/action";

    fn group() -> String {
        format!("{SUBSCRIPTION}/resourceGroups/rg1")
    }

    fn vault() -> String {
        format!("{}/providers/Microsoft.KeyVault/vaults/v", group())
    }

    /// A subscription below the management groups `root` / `division` / `team`.
    fn world() -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (name, parent) in [("division", None), ("team", Some("division"))] {
            snapshot.insert_for_test(&ManagementGroup {
                tenant_id: TENANT,
                name: name.into(),
                display_name: name.into(),
                parent: parent.map(Into::into),
                created_at: 0,
                updated_at: 0,
                updated_by: None,
            });
        }
        snapshot.insert_for_test(&Subscription {
            id: SubscriptionId::new(Uuid::from_u128(0x11111111_2222_3333_4444_555555555555)),
            tenant_id: TENANT,
            display_name: "s".into(),
            management_group: Some("team".into()),
            alias: None,
            tags: std::collections::BTreeMap::new(),
        });
        snapshot
    }

    fn give(snapshot: &mut Snapshot, principal: PrincipalId, role: &str, scope: &str) {
        let role = built_in_roles::all().iter().find(|known| known.role_name == role).unwrap();
        let number = snapshot.role_assignments.len() as u128;
        snapshot.insert_for_test(&RoleAssignment {
            id: RoleAssignmentId::new(Uuid::from_u128(number)),
            tenant_id: TENANT,
            scope: RbacScope::parse(scope).unwrap(),
            principal_id: principal,
            principal_type: PrincipalType::ServicePrincipal,
            role: role.id,
            condition: None,
            description: None,
            created_at: 0,
            updated_at: 0,
            created_by: None,
            updated_by: None,
        });
    }

    fn ask(
        snapshot: &Snapshot,
        tenant: TenantId,
        plane: Plane,
        action: &str,
        scope: &str,
    ) -> Decision {
        let question = Question {
            tenant,
            principal: PRINCIPAL,
            plane,
            action,
            scope: &RbacScope::parse(scope).unwrap(),
            sub_operation: None,
            attributes: &Attributes::default(),
        };
        decide(snapshot, &question)
    }

    fn check(grants: &[(&str, &str)], plane: Plane, action: &str, scope: &str, allowed: bool) {
        let mut snapshot = world();
        for (role, scope) in grants {
            give(&mut snapshot, PRINCIPAL, role, scope);
        }
        let decision = ask(&snapshot, TENANT, plane, action, scope);
        assert_eq!(decision.is_allowed(), allowed, "{grants:?}: {action} at {scope}: {decision:?}");
        assert!(!ask(&snapshot, OTHER_TENANT, plane, action, scope).is_allowed(), "cross-tenant");
    }

    #[test]
    fn roles_grant_what_they_say_and_nothing_else() {
        let (group, vault) = (&group(), &vault());
        let secret = &format!("{vault}/secrets/s");
        check(&[("Key Vault Secrets User", vault)], Plane::Data, GET, secret, true);
        check(&[("Key Vault Secrets User", vault)], Plane::Data, SET, secret, false);
        check(&[("Key Vault Secrets User", vault)], Plane::Control, GET, secret, false);
        check(&[("Key Vault Secrets User", secret)], Plane::Data, GET, secret, true);
        let neighbour = &format!("{secret}2");
        check(&[("Key Vault Secrets User", secret)], Plane::Data, GET, neighbour, false);
        check(&[("Key Vault Secrets User", secret)], Plane::Data, GET, vault, false);
        check(&[("Owner", group)], Plane::Data, GET, secret, false);
        check(&[("Owner", group)], Plane::Control, WRITE, vault, true);
        let next_door = &vault.replace("rg1", "rg10");
        check(&[("Owner", group)], Plane::Control, WRITE, next_door, false);
        check(&[("Owner", &group.to_uppercase())], Plane::Control, WRITE, vault, true);
        check(&[], Plane::Control, "Microsoft.KeyVault/vaults/read", vault, false);
    }

    #[test]
    fn not_actions_of_one_role_do_not_bind_another() {
        let (group, write) = (&group(), "Microsoft.Authorization/roleAssignments/write");
        check(&[("Contributor", group)], Plane::Control, write, group, false);
        let both = [("Contributor", &**group), ("User Access Administrator", group)];
        check(&both, Plane::Control, write, group, true);
    }

    #[test]
    fn scopes_above_the_subscription_count_by_the_tree() {
        let vault = &vault();
        for above in ["/", "division", "team", &TENANT.to_string()] {
            let scope = if above == "/" { above.to_owned() } else { management_group::path(above) };
            check(&[("Owner", &scope)], Plane::Control, WRITE, vault, true);
        }
        let elsewhere = management_group::path("teams");
        check(&[("Owner", &elsewhere)], Plane::Control, WRITE, vault, false);
        let division = management_group::path("division");
        check(
            &[("Owner", &management_group::path("team"))],
            Plane::Control,
            WRITE,
            &division,
            false,
        );
        check(
            &[("Owner", &division)],
            Plane::Control,
            WRITE,
            &management_group::path("team"),
            true,
        );
    }

    #[test]
    fn a_management_group_that_comes_after_what_hangs_below_it_counts() {
        let mut snapshot = world();
        for name in ["division", "team"] {
            let group = snapshot.management_groups.get(name).unwrap().record.clone();
            let change = |value| Change {
                key: state_key::<ManagementGroup>(name),
                value,
                revision: Revision(1),
            };
            snapshot.apply(&change(None)).unwrap();
            snapshot.apply(&change(Some(encode(&*group)))).unwrap();
        }
        give(&mut snapshot, PRINCIPAL, "Owner", &management_group::path("division"));
        assert!(ask(&snapshot, TENANT, Plane::Control, WRITE, &vault()).is_allowed());
    }

    #[test]
    fn members_of_nested_groups_hold_the_roles_of_the_groups() {
        let mut snapshot = world();
        give(&mut snapshot, DIVISION, "Owner", &group());
        assert!(!ask(&snapshot, TENANT, Plane::Control, WRITE, &vault()).is_allowed());
        snapshot.insert_for_test(&GroupMember { group: TEAM, member: PRINCIPAL });
        snapshot.insert_for_test(&GroupMember { group: DIVISION, member: TEAM });
        // A circle harms nobody.
        snapshot.insert_for_test(&GroupMember { group: TEAM, member: DIVISION });
        assert!(ask(&snapshot, TENANT, Plane::Control, WRITE, &vault()).is_allowed());
    }

    #[test]
    fn a_deny_assignment_overrides_owner_but_for_those_it_excludes() {
        let everyone = DeniedPrincipal { id: EVERYONE, kind: DeniedType::SystemDefined };
        let team = DeniedPrincipal { id: TEAM, kind: DeniedType::Group };
        let denied = |excluded: Vec<DeniedPrincipal>, excludes_child_scopes: bool, scope: &str| {
            let mut snapshot = world();
            give(&mut snapshot, PRINCIPAL, "Owner", &group());
            snapshot.insert_for_test(&GroupMember { group: TEAM, member: PRINCIPAL });
            snapshot.insert_for_test(&DenyAssignment {
                id: DenyAssignmentId::new(Uuid::from_u128(1)),
                tenant_id: TENANT,
                scope: RbacScope::parse(scope).unwrap(),
                name: "d".into(),
                description: String::new(),
                permissions: vec![Permission {
                    actions: ActionPatterns::from(vec![ActionPattern::new("*/write")]),
                    ..Permission::default()
                }],
                excludes_child_scopes,
                principals: vec![everyone],
                excluded_principals: excluded,
                created_at: 0,
                updated_at: 0,
                created_by: None,
                updated_by: None,
            });
            matches!(
                ask(&snapshot, TENANT, Plane::Control, WRITE, &vault()).reason,
                Reason::Denied { .. }
            )
        };
        assert!(denied(vec![], false, &group()));
        assert!(denied(vec![], false, &management_group::path("division")));
        assert!(denied(vec![], true, &vault()));
        assert!(!denied(vec![], true, &group()));
        assert!(!denied(vec![team], false, &group()));
        assert!(!denied(vec![], false, &group().replace("rg1", "rg10")));
    }

    #[test]
    fn a_role_with_a_condition_grants_nothing_while_its_attributes_are_missing() {
        let mut snapshot = world();
        give(&mut snapshot, PRINCIPAL, "Key Vault Data Access Administrator", &group());
        let write = "Microsoft.Authorization/roleAssignments/write";
        let decision = ask(&snapshot, TENANT, Plane::Control, write, &group());
        assert!(matches!(decision.reason, Reason::AttributeMissing(_)), "{decision:?}");
    }
}
