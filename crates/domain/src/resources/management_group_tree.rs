//! Reading the tree of management groups: what stands above a group, what below, and what of it somebody may see.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::management_group::{ManagementGroup, ManagementGroupError, is_root, own, scope};
use crate::directory::tenant::Subscription;
use crate::ids::{PrincipalId, TenantId};
use crate::limits;
use crate::operation::Principal;
use crate::rbac::may;
use crate::records::{Record, Versioned};
use crate::snapshot::Snapshot;

/// What people call the root group.
const ROOT_DISPLAY_NAME: &str = "Tenant Root Group";

/// The right to see a group.
pub const READ_ACTION: &str = "Microsoft.Management/managementGroups/read";
/// The right to see a subscription.
const SUBSCRIPTION_READ_ACTION: &str = "Microsoft.Resources/subscriptions/read";

/// A group as it is shown: one with a record, or a tenant's root group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The directory that it belongs to.
    pub tenant_id: TenantId,
    /// Its id.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// How records name it; `None` for the root group.
    pub key: Option<String>,
    /// Grows with each change.
    pub version: u64,
    /// Unix seconds; `None` for the root group.
    pub updated_at: Option<i64>,
    /// Who changed it last.
    pub updated_by: Option<PrincipalId>,
}

impl GroupView {
    fn of(group: &Versioned<ManagementGroup>) -> Self {
        Self {
            tenant_id: group.tenant_id,
            name: group.name.clone(),
            display_name: group.display_name.clone(),
            key: Some(group.record_id()),
            version: group.revision.0,
            updated_at: Some(group.updated_at),
            updated_by: group.updated_by,
        }
    }

    fn root(tenant: TenantId) -> Self {
        Self {
            tenant_id: tenant,
            name: tenant.to_string(),
            display_name: ROOT_DISPLAY_NAME.to_owned(),
            key: None,
            version: 1,
            updated_at: None,
            updated_by: None,
        }
    }
}

/// Something below a group.
#[derive(Clone, Debug)]
pub enum Child {
    /// A group.
    Group(GroupView),
    /// A subscription.
    Subscription(Arc<Subscription>),
}

/// A tenant's groups and subscriptions by what they hang below; `None` is the root group.
#[derive(Debug)]
pub struct Tree<'a> {
    snapshot: &'a Snapshot,
    tenant: TenantId,
    groups: BTreeMap<Option<&'a str>, Vec<&'a Versioned<ManagementGroup>>>,
    subscriptions: BTreeMap<Option<&'a str>, Vec<&'a Versioned<Subscription>>>,
}

impl<'a> Tree<'a> {
    /// The tree of a tenant.
    pub fn of(snapshot: &'a Snapshot, tenant: TenantId) -> Self {
        let mut tree =
            Self { snapshot, tenant, groups: BTreeMap::new(), subscriptions: BTreeMap::new() };
        let groups = snapshot.management_groups.iter().map(|(_, group)| group);
        for group in groups.filter(|group| group.tenant_id == tenant) {
            tree.groups.entry(group.parent.as_deref()).or_default().push(group);
        }
        let subscriptions = snapshot.subscriptions.iter().map(|(_, it)| it);
        for subscription in subscriptions.filter(|it| it.tenant_id == tenant) {
            let above = subscription.management_group.as_deref();
            tree.subscriptions.entry(above).or_default().push(subscription);
        }
        tree
    }

    /// The group of this name, or the root group.
    pub fn find(&self, name: &str) -> Result<GroupView, ManagementGroupError> {
        if is_root(self.tenant, name) {
            return Ok(GroupView::root(self.tenant));
        }
        let found = own(self.snapshot, self.tenant, name).map(GroupView::of);
        found.ok_or_else(|| ManagementGroupError::NotFound(name.to_owned()))
    }

    /// All groups, the root group first.
    pub fn all(&self) -> Vec<GroupView> {
        let below = self.groups_below(None);
        let below = below.into_iter().map(|(_, group)| GroupView::of(group));
        std::iter::once(GroupView::root(self.tenant)).chain(below).collect()
    }

    /// The groups above a group or subscription, the root group first.
    pub fn above(&self, child: &Child) -> Vec<GroupView> {
        let parent = match child {
            Child::Group(GroupView { key: None, .. }) => return Vec::new(),
            Child::Group(GroupView { key: Some(key), .. }) => {
                self.snapshot.management_groups.get(key).and_then(|group| group.parent.as_deref())
            }
            Child::Subscription(subscription) => subscription.management_group.as_deref(),
        };
        let line = self.line(parent).into_iter().rev().map(GroupView::of);
        std::iter::once(GroupView::root(self.tenant)).chain(line).collect()
    }

    /// A group with those above it, the root group left out, itself first.
    pub(super) fn line(&self, key: Option<&str>) -> Vec<&'a Versioned<ManagementGroup>> {
        let mut line = Vec::new();
        let mut next = key;
        while let Some(group) = next.and_then(|key| self.snapshot.management_groups.get(key)) {
            if line.len() > limits::MANAGEMENT_GROUP_DEPTH_MAX {
                break;
            }
            line.push(group);
            next = group.parent.as_deref();
        }
        line
    }

    /// All groups below one with how far below they are, nearer ones first.
    pub(super) fn groups_below(
        &self,
        key: Option<&str>,
    ) -> Vec<(usize, &'a Versioned<ManagementGroup>)> {
        let at =
            |key: Option<&str>, depth: usize| -> Vec<(usize, &'a Versioned<ManagementGroup>)> {
                self.groups.get(&key).into_iter().flatten().map(|group| (depth, *group)).collect()
            };
        let mut found = at(key, 1);
        let mut next = 0;
        while let Some((depth, group)) = found.get(next).copied() {
            next += 1;
            if depth <= limits::MANAGEMENT_GROUP_DEPTH_MAX {
                found.extend(at(Some(&group.record_id()), depth + 1));
            }
        }
        found
    }

    /// What hangs directly below a group: groups, then subscriptions.
    pub fn children(&self, key: Option<&str>) -> Vec<Child> {
        let groups = self.groups.get(&key).into_iter().flatten();
        let groups = groups.map(|group| Child::Group(GroupView::of(group)));
        groups.chain(self.subscriptions_at(key).into_iter().map(Child::Subscription)).collect()
    }

    /// The subscriptions directly below a group.
    pub fn subscriptions_at(&self, key: Option<&str>) -> Vec<Arc<Subscription>> {
        let all = self.subscriptions.get(&key).into_iter().flatten();
        all.map(|it| Arc::clone(&it.record)).collect()
    }

    /// Whether anything hangs directly below a group.
    pub(super) fn has_children(&self, key: &str) -> bool {
        self.groups.contains_key(&Some(key)) || self.subscriptions.contains_key(&Some(key))
    }

    /// Everything below a group, however far.
    pub fn descendants(&self, key: Option<&str>) -> Vec<Child> {
        let mut found = self.children(key);
        for (_, group) in self.groups_below(key) {
            found.extend(self.children(Some(&group.record_id())));
        }
        found
    }
}

/// The groups of its tenant that a principal may read.
pub fn visible_groups(snapshot: &Snapshot, principal: &Principal) -> Vec<GroupView> {
    let mut groups = Tree::of(snapshot, principal.tenant_id).all();
    groups.retain(|group| {
        scope(&group.name).is_some_and(|scope| may(snapshot, principal, READ_ACTION, &scope))
    });
    groups
}

/// The groups and subscriptions of its tenant that a principal may read.
pub fn visible_entities(snapshot: &Snapshot, principal: &Principal) -> Vec<Child> {
    let subscriptions = snapshot.subscriptions.iter().map(|(_, it)| it);
    let subscriptions = subscriptions.filter(|it| {
        it.tenant_id == principal.tenant_id
            && it
                .scope()
                .is_some_and(|own| may(snapshot, principal, SUBSCRIPTION_READ_ACTION, &own))
    });
    let groups = visible_groups(snapshot, principal).into_iter().map(Child::Group);
    groups.chain(subscriptions.map(|it| Child::Subscription(Arc::clone(&it.record)))).collect()
}
