//! Every pattern of every built-in role, asked for by a holder of the role.
//!
//! Conditions of built-in roles have few forms: a list of roles that may be given or taken away, a flag, a level.

use uuid::Uuid;

use super::Counts;
use super::evaluator::covers;
use super::generator::TENANTS;
use super::worlds::{Assignment, PRINCIPAL, SubscriptionOf, World};
use crate::ids::{PrincipalId, TenantId};
use crate::rbac::condition::AttributeValues;
use crate::rbac::{
    AttributeSource, Attributes, Permission, Plane, Question, RbacScope, Reason, RoleDefinition,
    built_in_roles, decide,
};
use crate::snapshot::Snapshot;

const SUBSCRIPTION: u128 = 0xdddd_0001;
const ROLE_NAMED: &str = "Microsoft.Authorization/roleAssignments:RoleDefinitionId";

/// A world in which each built-in role is held by one principal, whose number is the role's.
fn holders() -> World {
    let roles = built_in_roles::all().iter();
    let subscription = SubscriptionOf { id: SUBSCRIPTION, tenant: TENANTS[0], parent: None };
    let assignments = roles.zip(PRINCIPAL..).map(|(role, principal)| Assignment {
        tenant: TENANTS[0],
        scope: scope(),
        principal,
        role: role.id.as_uuid().as_u128(),
        condition: None,
    });
    World {
        tenants: TENANTS.to_vec(),
        subscriptions: vec![subscription],
        assignments: assignments.collect(),
        ..World::default()
    }
}

fn scope() -> String {
    format!("/subscriptions/{}", Uuid::from_u128(SUBSCRIPTION))
}

fn reason(
    snapshot: &Snapshot,
    principal: u128,
    plane: Plane,
    action: &str,
    attributes: &Attributes,
) -> Reason {
    let question = Question {
        tenant: TenantId::new(Uuid::from_u128(TENANTS[0])),
        principal: PrincipalId::new(Uuid::from_u128(principal)),
        plane,
        action,
        scope: &RbacScope::parse(&format!("{}/resourceGroups/rg", scope())).unwrap(),
        sub_operation: None,
        attributes,
    };
    decide(snapshot, &question).reason
}

/// The patterns that a permission object grants and those that it withholds.
fn lists(permission: &Permission, plane: Plane) -> [Vec<&str>; 2] {
    let texts = permission.lists().map(|(_, list)| list.iter().map(|it| it.as_str()).collect());
    let [actions, not_actions, data_actions, not_data_actions] = texts;
    match plane {
        Plane::Control => [actions, not_actions],
        Plane::Data => [data_actions, not_data_actions],
    }
}

/// The permission objects of a role that cover an action.
fn covering<'a>(role: &'a RoleDefinition, plane: Plane, action: &str) -> Vec<&'a Permission> {
    let any = |patterns: &[&str]| patterns.iter().any(|pattern| covers(pattern, action));
    let is_covering = |permission: &&Permission| {
        let [granted, withheld] = lists(permission, plane);
        any(&granted) && !any(&withheld)
    };
    role.permissions.iter().filter(is_covering).collect()
}

/// Actions that fit a pattern: one word in place of each `*`, several, and, where that is possible, none.
fn examples(pattern: &str) -> Vec<String> {
    if !pattern.contains('*') {
        return vec![pattern.to_owned(), pattern.to_uppercase()];
    }
    vec![
        pattern.replace('*', "x"),
        pattern.replace('*', "x/y"),
        pattern.replace("/*/", "/").replace('*', ""),
    ]
}

#[test]
fn every_pattern_of_every_built_in_role_is_granted_on_its_plane() {
    let snapshot = holders().snapshot();
    let nothing = Attributes::default();
    let mut counts = Counts::default();
    let mut literals = 0;
    for (role, principal) in built_in_roles::all().iter().zip(PRINCIPAL..) {
        for permission in &role.permissions {
            for plane in [Plane::Control, Plane::Data] {
                let [granted, withheld] = lists(permission, plane);
                for (pattern, action) in
                    granted.iter().flat_map(|it| examples(it).into_iter().map(move |a| (it, a)))
                {
                    let is_withheld = withheld.iter().any(|it| covers(it, &action));
                    let found = covering(role, plane, &action);
                    assert!(is_withheld || !found.is_empty(), "{pattern} for {action}");
                    literals += u32::from(!pattern.contains('*'));
                    for plane in [Plane::Control, Plane::Data] {
                        let found = covering(role, plane, &action);
                        let reason = reason(&snapshot, principal, plane, &action, &nothing);
                        check(role, &found, &action, &reason);
                        counts.count(&reason);
                    }
                }
            }
        }
    }
    println!("{} patterns of built-in roles asked, {literals} literal: {counts:?}", counts.asked());
    assert!(literals > 10_000 && counts.granted > 10_000 && counts.no_assignment > 10_000);
}

/// Without attributes: granted where an object covers the action without a condition; else by what the condition says
/// of the action alone.
fn check(role: &RoleDefinition, covering: &[&Permission], action: &str, reason: &Reason) {
    let conditions = covering.iter().map(|it| it.condition.as_ref().map(|it| it.as_str()));
    let conditions = conditions.collect::<Option<Vec<_>>>();
    let is_expected = match (reason, &conditions) {
        (Reason::NoAssignment, _) => covering.is_empty(),
        (Reason::Granted(_), None) => true,
        (Reason::GrantedByCondition(_), Some(texts)) => {
            texts.iter().any(|text| !is_about(text, action))
        }
        (Reason::AttributeMissing(_), Some(texts)) => {
            texts.iter().all(|text| is_about(text, action))
        }
        _ => false,
    };
    assert!(is_expected, "{}: {action}: {reason:?}", role.role_name);
}

/// Whether the condition has a say about the action: it names it, or no action at all.
fn is_about(condition: &str, action: &str) -> bool {
    let condition = condition.to_lowercase();
    !condition.contains("actionmatches{")
        || condition.contains(&format!("actionmatches{{'{}'}}", action.to_lowercase()))
}

/// The first role that the condition lists for this source.
fn first_listed(condition: &str, source: &str) -> Option<Uuid> {
    let (_, rest) = condition.split_once(&format!("@{source}[{ROLE_NAMED}]"))?;
    let (_, rest) = rest.split_once('{')?;
    let (first, _) = rest.split_once([',', '}'])?;
    Some(Uuid::parse_str(first.trim()).unwrap())
}

/// What meets the condition, or what does not.
fn circumstances(condition: &str, meets: bool) -> Attributes {
    use AttributeSource::{Request, Resource};
    let mut known = Attributes::default();
    for (source, name) in [(Request, "Request"), (Resource, "Resource")] {
        let listed = first_listed(condition, name).filter(|_| meets);
        let id = listed.unwrap_or_else(|| Uuid::from_u128(7));
        known.set(source, ROLE_NAMED, AttributeValues::guid(id));
        let kind = AttributeValues::string("ServicePrincipal");
        known.set(source, "Microsoft.Authorization/roleAssignments:PrincipalType", kind);
    }
    known.set(Resource, "HasObotoken", AttributeValues::boolean(meets));
    let level = AttributeValues::string(if meets { "General" } else { "Secret" });
    for table in ["OperationalInsights/workspaces/tables", "Insights/logs/tables"] {
        known.set(Resource, format!("Microsoft.{table}:protectionLevel"), level.clone());
    }
    known
}

#[test]
fn every_condition_of_a_built_in_role_lets_pass_what_it_lists_and_nothing_else() {
    let snapshot = holders().snapshot();
    let mut conditions = 0;
    for (role, principal) in built_in_roles::all().iter().zip(PRINCIPAL..) {
        for permission in &role.permissions {
            let Some(condition) = permission.condition.as_ref().map(|it| it.as_str()) else {
                continue;
            };
            conditions += 1;
            for plane in [Plane::Control, Plane::Data] {
                let [granted, _] = lists(permission, plane);
                let actions = granted.iter().flat_map(|it| examples(it));
                for action in actions.filter(|it| is_about(condition, it)) {
                    if covering(role, plane, &action) != [permission] {
                        continue;
                    }
                    let answer = |meets| {
                        let known = circumstances(condition, meets);
                        reason(&snapshot, principal, plane, &action, &known)
                    };
                    let (met, unmet) = (answer(true), answer(false));
                    let is_right = matches!(met, Reason::GrantedByCondition(_))
                        && matches!(unmet, Reason::ConditionNotMet(_));
                    assert!(is_right, "{}: {action}: {met:?}, {unmet:?}", role.role_name);
                }
            }
        }
    }
    assert!(conditions > 30, "{conditions}");
}
