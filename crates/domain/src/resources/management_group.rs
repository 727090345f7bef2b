//! Management groups: a tree above the subscriptions of a tenant, whose root bears the tenant's id.
//!
//! Source: Azure management groups, "What are Azure management groups?"; Microsoft.Management REST API.

use serde::{Deserialize, Serialize};

use super::management_group_tree::Tree;
use crate::directory::tenant::Subscription;
use crate::ids::{PrincipalId, SubscriptionId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::{RbacScope, assignment, linked_access};
use crate::records::{Record, Versioned};
use crate::resources::{ResourceError, require_subscription};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// A management group below the tenant's root group. The root group itself is always there and has no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagementGroup {
    /// The directory that it belongs to.
    pub tenant_id: TenantId,
    /// Its id, as it was written; unique whatever the case.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// The group above, in lower case; `None` for the tenant's root group.
    pub parent: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
    /// Who changed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<PrincipalId>,
}

impl Record for ManagementGroup {
    const KIND: &'static str = "management-groups";

    fn record_id(&self) -> String {
        self.name.to_ascii_lowercase()
    }
}

/// The path of the management group with this name.
pub fn path(name: &str) -> String {
    format!("/providers/Microsoft.Management/managementGroups/{name}")
}

/// The groups from a group's parent up to the tenant's root group, which comes first. A parent that is missing, or of
/// another tenant, or a line longer than allowed, ends at the root group.
pub fn scopes_above(snapshot: &Snapshot, tenant: TenantId, parent: Option<&str>) -> Vec<RbacScope> {
    let mut above = Vec::new();
    let mut next = parent;
    while let Some(name) = next.filter(|_| above.len() < limits::MANAGEMENT_GROUP_DEPTH_MAX) {
        let group = snapshot.management_groups.get(name);
        let Some(group) = group.filter(|group| group.tenant_id == tenant) else { break };
        above.extend(scope(&group.name));
        next = group.parent.as_deref();
    }
    above.extend(scope(&tenant.to_string()));
    above.reverse();
    above
}

/// Whether the name is the tenant's root group.
pub fn is_root(tenant: TenantId, name: &str) -> bool {
    name.eq_ignore_ascii_case(&tenant.to_string())
}

/// The scope of a management group.
pub fn scope(name: &str) -> Option<RbacScope> {
    RbacScope::parse(&path(name)).ok()
}

/// Making, changing or moving a group takes this on it, or on the group that it is made in.
pub const WRITE_ACTION: &str = "Microsoft.Management/managementGroups/write";
/// Moving a subscription or a group changes who may do what in it: it takes what giving and taking roles there takes.
const ROLE_ACTIONS: [&str; 2] = [
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.Authorization/roleAssignments/delete",
];

/// Why something is refused at a management group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManagementGroupError {
    /// The caller may not write the group, or make one in its parent.
    #[error("the right to write the management group is missing")]
    NotGranted,
    /// The request concerns other scopes, where the caller has not the right that it takes.
    #[error("{action} is not granted at {scopes:?}")]
    LinkedNotGranted {
        /// Which right.
        action: &'static str,
        /// Where it is missing.
        scopes: Vec<RbacScope>,
    },
    /// There is no such group in this tenant.
    #[error("management group {0} does not exist")]
    NotFound(String),
    /// The group that shall be above does not exist in this tenant.
    #[error("parent management group {0} does not exist")]
    ParentNotFound(String),
    /// The name breaks the rules.
    #[error("`{0}` is no name of a management group")]
    NameInvalid(String),
    /// The display name is empty or too long.
    #[error("the display name is empty or too long")]
    DisplayNameInvalid,
    /// The name belongs to somebody else.
    #[error("the name {0} is taken")]
    NameTaken(String),
    /// The tenant's root group cannot be changed, moved or deleted.
    #[error("the root management group cannot be changed")]
    RootFixed,
    /// The group would stand below itself.
    #[error("{group} cannot be moved below {parent}, which is itself or below it")]
    Cycle {
        /// What was to be moved.
        group: String,
        /// Where to.
        parent: String,
    },
    /// The tree would be deeper than allowed.
    #[error("the tree of management groups would be too deep")]
    TooDeep,
    /// The tenant has as many groups as it may.
    #[error("no more management groups can be created")]
    LimitReached,
    /// The group still holds groups or subscriptions.
    #[error("{0} has children")]
    HasChildren(String),
    /// More role and deny assignments stand at the group than go with it.
    #[error("{0} has too many role or deny assignments")]
    HasAssignments(String),
    /// The subscription is not directly below the group.
    #[error("subscription {subscription} is not below management group {group}")]
    SubscriptionElsewhere {
        /// Which subscription.
        subscription: SubscriptionId,
        /// Which group.
        group: String,
    },
    /// There is no such subscription.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The write could not be done.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What an administrator asks for; what is absent stays as it is.
#[derive(Clone, Debug)]
pub struct NewManagementGroup {
    /// The directory that it is to belong to.
    pub tenant_id: TenantId,
    /// Its id.
    pub name: String,
    /// What people call it; a new group's is its name.
    pub display_name: Option<String>,
    /// The name of the group above; a new group's is the tenant's root group.
    pub parent: Option<String>,
}

/// Makes a group, or changes and moves the one of this name.
///
// Differs from Azure: there everybody may make groups unless the tenant says otherwise, and becomes their Owner; here it
// takes the right to write the parent, and gives nothing.
pub async fn put(
    state: &State,
    operation: &OperationContext,
    new: &NewManagementGroup,
) -> Result<(), ManagementGroupError> {
    write(state, operation, new, |plan, changes| plan.create(changes, new)).await
}

/// Changes and moves a group that exists.
pub async fn update(
    state: &State,
    operation: &OperationContext,
    new: &NewManagementGroup,
) -> Result<(), ManagementGroupError> {
    let missing =
        |_: &Plan<'_>, _: &mut Changes| Err(ManagementGroupError::NotFound(new.name.clone()));
    write(state, operation, new, missing).await
}

/// Changes the group of this name; does the other thing where there is none.
async fn write(
    state: &State,
    operation: &OperationContext,
    new: &NewManagementGroup,
    where_missing: impl Fn(&Plan<'_>, &mut Changes) -> Result<(), ManagementGroupError>,
) -> Result<(), ManagementGroupError> {
    state
        .transact(operation, |snapshot, changes| {
            let plan = Plan { state, snapshot, operation, tenant: new.tenant_id };
            if is_root(new.tenant_id, &new.name) {
                return plan.refuse_root(&new.name);
            }
            match own(snapshot, new.tenant_id, &new.name) {
                Some(existing) => plan.update(changes, existing, new),
                None => where_missing(&plan, changes),
            }
        })
        .await
}

/// Deletes a group without children, with the role and deny assignments at it; `false` when there was none.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    name: &str,
) -> Result<bool, ManagementGroupError> {
    if is_root(tenant, name) {
        return Err(ManagementGroupError::RootFixed);
    }
    state
        .transact(operation, |snapshot, changes| {
            let Some(group) = own(snapshot, tenant, name) else { return Ok(false) };
            if Tree::of(snapshot, tenant).has_children(&group.record_id()) {
                return Err(ManagementGroupError::HasChildren(group.name.clone()));
            }
            remove_assignments(snapshot, changes, &group.name)?;
            changes.delete(snapshot, group.record.as_ref());
            Ok(true)
        })
        .await
}

/// Hangs a subscription directly below a group.
pub async fn place_subscription(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    name: &str,
    subscription: SubscriptionId,
) -> Result<(), ManagementGroupError> {
    state
        .transact(operation, |snapshot, changes| {
            Plan { state, snapshot, operation, tenant }.place(changes, name, subscription)
        })
        .await
}

/// Takes a subscription from the group that it is directly below to the tenant's root group.
pub async fn take_subscription(
    state: &State,
    operation: &OperationContext,
    tenant: TenantId,
    name: &str,
    subscription: SubscriptionId,
) -> Result<(), ManagementGroupError> {
    state
        .transact(operation, |snapshot, changes| {
            let root = tenant.to_string();
            let plan = Plan { state, snapshot, operation, tenant };
            plan.check_subscription(subscription, &root)?;
            require_below(snapshot, tenant, name, subscription)?;
            plan.place(changes, &root, subscription)
        })
        .await
}

/// The subscription, which has to be directly below the group.
pub fn require_below<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    name: &str,
    subscription: SubscriptionId,
) -> Result<&'a Versioned<Subscription>, ManagementGroupError> {
    let key = key_in(snapshot, tenant, name)
        .ok_or_else(|| ManagementGroupError::NotFound(name.to_owned()))?;
    let found = require_subscription(snapshot, subscription).ok();
    found.filter(|found| found.tenant_id == tenant && found.management_group == key).ok_or_else(
        || ManagementGroupError::SubscriptionElsewhere { subscription, group: name.to_owned() },
    )
}

/// Relies on the management group that a scope is or lies in being as the snapshot shows it, so that nothing is put at
/// a group that is being deleted.
pub fn rely_on_group_of(snapshot: &Snapshot, changes: &mut Changes, scope: &RbacScope) {
    let group = scope.management_group().and_then(|name| snapshot.management_groups.get(name));
    if let Some(group) = group {
        changes.rely_on(snapshot, group.record.as_ref());
    }
}

/// The tenant's own group of this name; the root group has no record.
pub(super) fn own<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    name: &str,
) -> Option<&'a Versioned<ManagementGroup>> {
    let found = snapshot.management_groups.get(&name.to_ascii_lowercase());
    found.filter(|group| group.tenant_id == tenant)
}

/// How records name the group: `Some(None)` for the root group, `None` when the tenant has no such group.
fn key_in(snapshot: &Snapshot, tenant: TenantId, name: &str) -> Option<Option<String>> {
    if is_root(tenant, name) {
        return Some(None);
    }
    own(snapshot, tenant, name).map(|group| Some(group.record_id()))
}

/// Deletes the role and deny assignments at a group that goes, or that comes anew under a name that was used before.
fn remove_assignments(
    snapshot: &Snapshot,
    changes: &mut Changes,
    name: &str,
) -> Result<(), ManagementGroupError> {
    let key = path(name).to_ascii_lowercase();
    let max = limits::ASSIGNMENTS_DELETED_WITH_MANAGEMENT_GROUP_MAX;
    let prefixes = [format!("{key}|"), format!("{key}/")];
    let roles = || prefixes.iter().flat_map(|prefix| snapshot.role_assignments.below(prefix));
    let denies = || prefixes.iter().flat_map(|prefix| snapshot.deny_assignments.below(prefix));
    if roles().take(max + 1).count() + denies().take(max + 1).count() > max {
        return Err(ManagementGroupError::HasAssignments(name.to_owned()));
    }
    if let Some(scope) = scope(name) {
        assignment::plan_delete_below(snapshot, changes, &scope);
    }
    Ok(())
}

/// One attempt at a write, with what every check of it asks.
struct Plan<'a> {
    state: &'a State,
    snapshot: &'a Snapshot,
    operation: &'a OperationContext,
    tenant: TenantId,
}

impl Plan<'_> {
    fn refused(&self, action: &'static str, scope: Option<RbacScope>) -> Vec<RbacScope> {
        let (journal, snapshot) = (&self.state.journal, self.snapshot);
        linked_access::refused(journal, snapshot, self.operation, action, scope)
    }

    /// The right that the request itself takes.
    fn check_own(&self, group: &str) -> Result<(), ManagementGroupError> {
        if self.refused(WRITE_ACTION, scope(group)).is_empty() {
            Ok(())
        } else {
            Err(ManagementGroupError::NotGranted)
        }
    }

    /// A right that the request takes elsewhere.
    fn check_linked(
        &self,
        action: &'static str,
        scope: Option<RbacScope>,
    ) -> Result<(), ManagementGroupError> {
        let scopes = self.refused(action, scope);
        if scopes.is_empty() {
            Ok(())
        } else {
            Err(ManagementGroupError::LinkedNotGranted { action, scopes })
        }
    }

    /// Moving takes the right to write where it goes, and where it comes from. What counts at the root group goes on
    /// counting wherever a thing is moved, so leaving it takes no right there.
    // Differs from Azure: there moving to the root group takes no right on it either.
    fn check_move(&self, from: Option<&str>, to: &str) -> Result<(), ManagementGroupError> {
        self.check_linked(WRITE_ACTION, scope(to))?;
        match from {
            Some(from) => self.check_linked(WRITE_ACTION, scope(from)),
            None => Ok(()),
        }
    }

    fn refuse_root(&self, name: &str) -> Result<(), ManagementGroupError> {
        self.check_own(name)?;
        Err(ManagementGroupError::RootFixed)
    }

    fn create(
        &self,
        changes: &mut Changes,
        new: &NewManagementGroup,
    ) -> Result<(), ManagementGroupError> {
        let root = self.tenant.to_string();
        let parent = new.parent.as_deref().unwrap_or(&root);
        self.check_own(parent)?;
        check_name(&new.name)?;
        // Differs from Azure: there names are unique within a tenant, here in the whole keycard.
        let key = new.name.to_ascii_lowercase();
        if self.snapshot.management_groups.get(&key).is_some()
            || self.snapshot.tenants.get(&key).is_some()
        {
            return Err(ManagementGroupError::NameTaken(new.name.clone()));
        }
        let all = self.snapshot.management_groups.iter();
        let count = all.filter(|(_, group)| group.tenant_id == self.tenant).count();
        if count >= limits::MANAGEMENT_GROUPS_MAX {
            return Err(ManagementGroupError::LimitReached);
        }
        remove_assignments(self.snapshot, changes, &new.name)?;
        let now = self.operation.now.unix_timestamp();
        let group = ManagementGroup {
            tenant_id: self.tenant,
            name: new.name.clone(),
            display_name: new.name.clone(),
            parent: self.hang(changes, &key, parent)?,
            created_at: now,
            updated_at: now,
            updated_by: None,
        };
        self.write(changes, group, new)
    }

    fn update(
        &self,
        changes: &mut Changes,
        existing: &ManagementGroup,
        new: &NewManagementGroup,
    ) -> Result<(), ManagementGroupError> {
        self.check_own(&existing.name)?;
        let mut group = existing.clone();
        let root = self.tenant.to_string();
        let present = existing.parent.as_deref();
        let wanted = new.parent.as_deref();
        if let Some(parent) = wanted
            && !parent.eq_ignore_ascii_case(present.unwrap_or(&root))
        {
            // What hangs below gets other administrators, and loses those it had.
            for action in ROLE_ACTIONS {
                self.check_linked(action, scope(&existing.name))?;
            }
            self.check_move(present, parent)?;
            group.parent = self.hang(changes, &existing.record_id(), parent)?;
        }
        self.write(changes, group, new)
    }

    fn write(
        &self,
        changes: &mut Changes,
        group: ManagementGroup,
        new: &NewManagementGroup,
    ) -> Result<(), ManagementGroupError> {
        let display_name = new.display_name.clone().unwrap_or_else(|| group.display_name.clone());
        let chars = display_name.chars().count();
        if display_name.trim().is_empty() || chars > limits::MANAGEMENT_GROUP_DISPLAY_NAME_CHARS_MAX
        {
            return Err(ManagementGroupError::DisplayNameInvalid);
        }
        let updated_at = self.operation.now.unix_timestamp();
        let updated_by = self.operation.principal().map(|principal| principal.principal_id);
        let group = ManagementGroup { display_name, updated_at, updated_by, ..group };
        changes.put(self.snapshot, &group);
        Ok(())
    }

    /// Finds the place of a group below another, and relies on all that makes it right: the whole line above, so that
    /// no two moves close a circle, and all groups below, so that none grows too deep meanwhile.
    fn hang(
        &self,
        changes: &mut Changes,
        key: &str,
        parent: &str,
    ) -> Result<Option<String>, ManagementGroupError> {
        let parent_key = key_in(self.snapshot, self.tenant, parent)
            .ok_or_else(|| ManagementGroupError::ParentNotFound(parent.to_owned()))?;
        let tree = Tree::of(self.snapshot, self.tenant);
        let line = tree.line(parent_key.as_deref());
        if line.iter().any(|above| above.record_id() == key) {
            return Err(ManagementGroupError::Cycle {
                group: key.to_owned(),
                parent: parent.to_owned(),
            });
        }
        let below = tree.groups_below(Some(key));
        let height = below.iter().map(|(depth, _)| *depth).max().unwrap_or(0);
        if line.len() + 1 + height > limits::MANAGEMENT_GROUP_DEPTH_MAX {
            return Err(ManagementGroupError::TooDeep);
        }
        for group in line.iter().chain(below.iter().map(|(_, group)| group)) {
            changes.rely_on(self.snapshot, group.record.as_ref());
        }
        self.keep(changes, parent_key.as_deref());
        Ok(parent_key)
    }

    /// Writes a group as it is: whoever deletes it at the same time finds it changed, and sees that it has a child.
    fn keep(&self, changes: &mut Changes, key: Option<&str>) {
        if let Some(group) = key.and_then(|key| self.snapshot.management_groups.get(key)) {
            changes.put(self.snapshot, group.record.as_ref());
        }
    }

    /// The rights on a subscription that is moved, and on the groups that it comes from and goes to.
    fn check_subscription(
        &self,
        subscription: SubscriptionId,
        to: &str,
    ) -> Result<(), ManagementGroupError> {
        let found = self.snapshot.subscription(subscription);
        let found = found.filter(|found| found.tenant_id == self.tenant);
        let from = found.and_then(|found| found.management_group.as_deref());
        for action in ROLE_ACTIONS {
            let scope = RbacScope::parse(&format!("/subscriptions/{subscription}")).ok();
            self.check_linked(action, scope)?;
        }
        self.check_move(from, to)
    }

    fn place(
        &self,
        changes: &mut Changes,
        name: &str,
        subscription: SubscriptionId,
    ) -> Result<(), ManagementGroupError> {
        self.check_subscription(subscription, name)?;
        let key = key_in(self.snapshot, self.tenant, name)
            .ok_or_else(|| ManagementGroupError::NotFound(name.to_owned()))?;
        let found = require_subscription(self.snapshot, subscription)?;
        if found.tenant_id != self.tenant {
            return Err(ResourceError::SubscriptionNotFound(subscription).into());
        }
        if found.management_group == key {
            return Ok(());
        }
        self.keep(changes, key.as_deref());
        let moved = Subscription { management_group: key, ..found.record.as_ref().clone() };
        changes.put(self.snapshot, &moved);
        Ok(())
    }
}

/// 1 to 90 ASCII letters, digits, `-`, `_`, `(`, `)`, `.`, not ending in `.`.
fn check_name(name: &str) -> Result<(), ManagementGroupError> {
    let is_valid = (1..=90).contains(&name.len())
        && !name.ends_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '(' | ')' | '.'));
    if is_valid { Ok(()) } else { Err(ManagementGroupError::NameInvalid(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        for (name, valid) in [
            ("a", true),
            ("A-b_(c).d", true),
            (&*"x".repeat(90), true),
            (&*"x".repeat(91), false),
            ("", false),
            ("a.", false),
            ("..", false),
            ("a b", false),
            ("a/b", false),
            ("a|b", false),
            ("é", false),
        ] {
            assert_eq!(check_name(name).is_ok(), valid, "{name}");
        }
    }
}
