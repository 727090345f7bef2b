//! The rules, as plainly as they can be said: loops over lists, nothing looked up, nothing kept.
//!
//! Source: Microsoft Learn, "How Azure RBAC determines if a user has access to a resource", "Understand Azure role
//! definitions", "Understand Azure deny assignments", "What are Azure management groups?".

use std::collections::BTreeSet;

use super::condition::Condition;
use super::worlds::{Ask, Deny, Grants, MANAGEMENT_GROUPS, Role, World, tenant_name};
use crate::rbac::Plane;

/// All that the rules find for a question: the numbers of assignments and denies.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Grant it; no condition has a say.
    pub(super) granting: BTreeSet<usize>,
    /// Grant it under a condition that is true.
    pub(super) granting_by_condition: BTreeSet<usize>,
    /// Would grant it under a condition that is false.
    pub(super) not_met: BTreeSet<usize>,
    /// Would grant it under a condition that hangs on what is not known.
    pub(super) missing: BTreeSet<usize>,
    /// Forbid it.
    pub(super) denying: BTreeSet<usize>,
}

impl Verdict {
    pub(super) fn grants(&self) -> bool {
        !self.granting.is_empty() || !self.granting_by_condition.is_empty()
    }

    pub(super) fn is_allowed(&self) -> bool {
        self.grants() && self.denying.is_empty()
    }
}

pub(super) fn evaluate(world: &World, ask: &Ask) -> Verdict {
    let mut verdict = Verdict::default();
    let scope = segments(&ask.scope);
    if is_foreign(world, &scope, ask.tenant) {
        return verdict;
    }
    let ancestors = ancestors(world, &scope);
    let principals = principal_set(world, ask.principal);
    for (number, assignment) in world.assignments.iter().enumerate() {
        let counts = assignment.tenant == ask.tenant
            && ancestors.contains(&segments(&assignment.scope))
            && principals.contains(&assignment.principal);
        // A custom role is the tenant's own.
        let is_meant = |role: &&Role| {
            role.id == assignment.role && (role.is_built_in || role.tenant == assignment.tenant)
        };
        let Some(role) = world.roles.iter().find(is_meant) else {
            continue;
        };
        for grants in role.permissions.iter().filter(|it| counts && matches(it, ask)) {
            let conditions: Vec<&Condition> =
                grants.condition.iter().chain(&assignment.condition).collect();
            let truths = conditions.iter().map(|it| it.truth(ask)).collect::<Vec<_>>();
            let list = match () {
                () if truths.is_empty() => &mut verdict.granting,
                () if truths.contains(&Some(false)) => &mut verdict.not_met,
                () if truths.contains(&None) => &mut verdict.missing,
                () => &mut verdict.granting_by_condition,
            };
            list.insert(number);
        }
    }
    for (number, deny) in world.denies.iter().enumerate() {
        let at = segments(&deny.scope);
        let counts = deny.tenant == ask.tenant
            && ancestors.contains(&at)
            && (!deny.excludes_child_scopes || at == scope);
        if counts && binds(deny, &principals) && deny.permissions.iter().any(|it| denies(it, ask)) {
            verdict.denying.insert(number);
        }
    }
    verdict
}

/// A deny that nobody can tell to be off is on.
fn denies(grants: &Grants, ask: &Ask) -> bool {
    matches(grants, ask)
        && grants.condition.as_ref().is_none_or(|condition| condition.truth(ask) != Some(false))
}

fn binds(deny: &Deny, principals: &BTreeSet<u128>) -> bool {
    deny.principals.iter().any(|it| *it == 0 || principals.contains(it))
        && !deny.excluded.iter().any(|it| principals.contains(it))
}

fn matches(grants: &Grants, ask: &Ask) -> bool {
    let (granted, withheld) = match ask.plane {
        Plane::Control => (&grants.actions, &grants.not_actions),
        Plane::Data => (&grants.data_actions, &grants.not_data_actions),
    };
    granted.iter().any(|pattern| covers(pattern, &ask.action))
        && !withheld.iter().any(|pattern| covers(pattern, &ask.action))
}

/// `*` is any run of characters; `/*/` may also be one `/`. Case is ignored.
pub(super) fn covers(pattern: &str, action: &str) -> bool {
    fits(pattern.as_bytes(), action.as_bytes())
        || pattern.match_indices("*/").any(|(star, _)| {
            let (before, rest) = pattern.split_at(star);
            let after = rest.split_at(2).1;
            before.ends_with('/') && covers(&format!("{before}{after}"), action)
        })
}

fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|start| fits(rest, &text[start..])),
        [wanted, rest @ ..] => text
            .split_first()
            .is_some_and(|(found, tail)| wanted.eq_ignore_ascii_case(found) && fits(rest, tail)),
    }
}

/// A path's segments, in lower case; the root has none.
pub(super) fn segments(path: &str) -> Vec<String> {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.map(str::to_ascii_lowercase).collect()
}

/// The scope itself and all that hold it: by path, and by the tree of management groups.
fn ancestors(world: &World, scope: &[String]) -> Vec<Vec<String>> {
    let mut found = (0..=scope.len()).map(|end| scope[..end].to_vec()).collect::<Vec<_>>();
    let Some((tenant, mut parent)) = place(world, scope) else { return found };
    // The line ends at the tenant's root group, also where the group above is gone or another tenant's.
    for _ in 0..world.management_groups.len() {
        let above = world.management_groups.iter().find(|group| {
            group.tenant == tenant
                && parent.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(group.name))
        });
        let Some(group) = above else { break };
        found.push(segments(&format!("{MANAGEMENT_GROUPS}/{}", group.name)));
        parent = group.parent.clone();
    }
    found.push(segments(&format!("{MANAGEMENT_GROUPS}/{}", tenant_name(tenant))));
    found
}

/// Whose the subscription or management group is that the scope is or lies in, and what it hangs below.
fn place(world: &World, scope: &[String]) -> Option<(u128, Option<String>)> {
    let words = scope.iter().map(String::as_str).collect::<Vec<_>>();
    match words.as_slice() {
        ["subscriptions", id, ..] => {
            let found = world.subscriptions.iter().find(|it| it.name() == *id)?;
            Some((found.tenant, found.parent.clone()))
        }
        ["providers", "microsoft.management", "managementgroups", name, ..] => {
            if let Some(tenant) = world.tenants.iter().find(|it| tenant_name(**it) == *name) {
                return Some((*tenant, None));
            }
            let mut groups = world.management_groups.iter();
            let found = groups.find(|group| group.name.eq_ignore_ascii_case(name))?;
            Some((found.tenant, found.parent.clone()))
        }
        _ => None,
    }
}

/// Whether the scope is, or lies in, a subscription or management group of another tenant. The root and what nobody has
/// made yet are nobody's: only assignments that hold them by path count there.
fn is_foreign(world: &World, scope: &[String], tenant: u128) -> bool {
    place(world, scope).is_some_and(|(owner, _)| owner != tenant)
}

/// The principal, its groups, their groups, and so on.
pub(super) fn principal_set(world: &World, principal: u128) -> BTreeSet<u128> {
    let mut found = BTreeSet::from([principal]);
    loop {
        let before = found.len();
        for (group, member) in &world.members {
            if found.contains(member) {
                found.insert(*group);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}
