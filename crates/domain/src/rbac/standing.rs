//! What the engine finds at a principal: its groups, the assignments that name it, the denies that bind it. And what it
//! finds above a scope: the path's ancestors and the management groups.

use std::sync::Arc;

use super::assignment::RoleAssignment;
use super::deny_assignment::DenyAssignment;
use super::scope::{RbacScope, ScopeKey};
use crate::ids::{PrincipalId, TenantId};
use crate::snapshot::Snapshot;

/// Something that counts at a scope.
pub trait Scoped {
    /// Where it counts.
    fn scope(&self) -> &RbacScope;
}

impl Scoped for RoleAssignment {
    fn scope(&self) -> &RbacScope {
        &self.scope
    }
}

impl Scoped for DenyAssignment {
    fn scope(&self) -> &RbacScope {
        &self.scope
    }
}

/// Things that count at scopes, ordered by the hash of the scope: finding those of one scope costs a binary search,
/// however many a principal has.
#[derive(Debug)]
pub struct ByScope<T>(Vec<(u64, Arc<T>)>);

impl<T> Clone for ByScope<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for ByScope<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Scoped> ByScope<T> {
    /// Those at exactly this scope.
    pub fn at<'a>(&'a self, scope: ScopeKey<'a>) -> impl Iterator<Item = &'a Arc<T>> {
        let first = self.0.partition_point(|(hash, _)| *hash < scope.hash);
        self.0
            .iter()
            .skip(first)
            .take_while(move |(hash, _)| *hash == scope.hash)
            .map(|(_, item)| item)
            .filter(move |item| item.scope().key() == scope.text)
    }

    /// All of them, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.0.iter().map(|(_, item)| item)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn insert(&mut self, item: Arc<T>) {
        let hash = item.scope().scope_key().hash;
        let place = self.0.partition_point(|(other, _)| *other <= hash);
        self.0.insert(place, (hash, item));
    }

    pub(crate) fn remove(&mut self, is_meant: impl Fn(&T) -> bool) {
        self.0.retain(|(_, item)| !is_meant(item));
    }
}

/// What is known of a principal that an assignment, a deny or a group names.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The groups it is directly in.
    pub groups: Vec<PrincipalId>,
    /// The assignments that name it.
    pub assignments: ByScope<RoleAssignment>,
    /// The denies that name it.
    pub denies: ByScope<DenyAssignment>,
}

impl Standing {
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.assignments.is_empty() && self.denies.is_empty()
    }
}

/// A principal with all groups that it is in, however deep. Itself first.
pub fn with_groups(snapshot: &Snapshot, principal: PrincipalId) -> Vec<PrincipalId> {
    standings(snapshot, principal).into_iter().map(|(id, _)| id).collect()
}

/// The same, each with what is known of it.
pub(super) fn standings(
    snapshot: &Snapshot,
    principal: PrincipalId,
) -> Vec<(PrincipalId, Option<&Standing>)> {
    let mut all = vec![(principal, snapshot.standing(principal))];
    let mut next = 0;
    while let Some((_, member)) = all.get(next) {
        next += 1;
        for group in member.map_or(&[][..], |member| &member.groups) {
            if !all.iter().any(|(known, _)| known == group) {
                all.push((*group, snapshot.standing(*group)));
            }
        }
    }
    all
}

/// What stands above a subscription or management group in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The tenant that the tree belongs to.
    pub tenant: TenantId,
    /// The management groups above, the tenant's root group first.
    pub above: Vec<RbacScope>,
}

/// As many scopes as usually hold one: those of a container's blob, below six management groups.
const ANCESTORS_USUAL: usize = 24;

/// The scopes that hold a scope, from the root to itself: by path, and by the tree of management groups.
#[derive(Debug)]
pub struct Ancestry<'a> {
    keys: Vec<ScopeKey<'a>>,
}

impl<'a> Ancestry<'a> {
    /// The scopes above one; `None` when the scope lies in another tenant, in which nothing counts.
    pub fn of(snapshot: &'a Snapshot, tenant: TenantId, scope: &'a RbacScope) -> Option<Self> {
        let lineage = snapshot.lineage(scope);
        if lineage.is_some_and(|lineage| lineage.tenant != tenant) {
            return None;
        }
        let above = lineage.map_or(&[][..], |lineage| &lineage.above);
        let mut keys = Vec::with_capacity(ANCESTORS_USUAL);
        keys.extend(scope.path_ancestors());
        keys.extend(above.iter().map(RbacScope::scope_key));
        Some(Self { keys })
    }

    /// The scopes with their keys.
    pub fn keys(&self) -> &[ScopeKey<'a>] {
        &self.keys
    }

    /// Whether a scope is one of them.
    pub fn holds(&self, scope: &RbacScope) -> bool {
        self.keys.iter().any(|key| key.text == scope.key())
    }
}

/// Whether the scope belongs to the tenant: it is the root, or a management group or subscription of its own, or lies in
/// one.
pub fn is_of_tenant(snapshot: &Snapshot, scope: &RbacScope, tenant: TenantId) -> bool {
    scope.key().is_empty()
        || snapshot.lineage(scope).is_some_and(|lineage| lineage.tenant == tenant)
}
