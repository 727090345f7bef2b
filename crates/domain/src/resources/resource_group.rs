//! A resource group: what shares a life. Deleting it deletes what it holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ResourceError, check_tags, generic, normalized_location, require_subscription};
use crate::compute;
use crate::deployment;
use crate::directory::user_assigned_identity::{self, Put};
use crate::ids::SubscriptionId;
use crate::key_vault;
use crate::operation::OperationContext;
use crate::rbac::{RbacScope, assignment};
use crate::records::{Record, Versioned};
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// A resource group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceGroup {
    /// The subscription it is in.
    pub subscription_id: SubscriptionId,
    /// Its name, in the case of creation.
    pub name: String,
    /// Where its metadata is kept.
    pub location: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The resource that made it for its own purposes, and takes it along when it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<ArmResourceId>,
}

impl Record for ResourceGroup {
    const KIND: &'static str = "resource-groups";

    fn record_id(&self) -> String {
        record_id(self.subscription_id, &self.name)
    }
}

pub(crate) fn record_id(subscription: SubscriptionId, name: &str) -> String {
    format!("{subscription}/{}", name.to_ascii_lowercase())
}

impl ResourceGroup {
    /// The group's path in Resource Manager.
    pub fn path(&self) -> String {
        format!("/subscriptions/{}/resourceGroups/{}", self.subscription_id, self.name)
    }

    /// What the keys of the group's resources start with.
    fn resource_key_prefix(&self) -> String {
        format!("{}/providers/", self.path()).to_ascii_lowercase()
    }
}

/// Makes the group, or replaces its tags.
pub async fn put(
    state: &State,
    operation: &OperationContext,
    group: &ResourceGroup,
) -> Result<Put<ResourceGroup>, ResourceError> {
    state
        .transact(operation, |snapshot, changes| {
            require_subscription(snapshot, group.subscription_id)?;
            check_name(&group.name)?;
            check_tags(&group.tags)?;
            let existing = snapshot.resource_groups.get(&group.record_id());
            let resource = match existing {
                Some(existing) => {
                    check_location(existing, &group.location)?;
                    ResourceGroup { tags: group.tags.clone(), ..existing.record.as_ref().clone() }
                }
                None => group.clone(),
            };
            changes.put(snapshot, &resource);
            Ok(Put { resource, is_new: existing.is_none() })
        })
        .await
}

/// Replaces the tags of the group, where any are given.
pub async fn patch(
    state: &State,
    operation: &OperationContext,
    subscription: SubscriptionId,
    name: &str,
    tags: Option<&BTreeMap<String, String>>,
) -> Result<ResourceGroup, ResourceError> {
    state
        .transact(operation, |snapshot, changes| {
            let mut group = find(snapshot, subscription, name)?.record.as_ref().clone();
            if let Some(tags) = tags {
                check_tags(tags)?;
                group.tags.clone_from(tags);
                changes.put(snapshot, &group);
            }
            Ok(group)
        })
        .await
}

fn check_location(existing: &ResourceGroup, requested: &str) -> Result<(), ResourceError> {
    if normalized_location(&existing.location) == normalized_location(requested) {
        return Ok(());
    }
    Err(ResourceError::GroupLocationImmutable {
        present: existing.location.clone(),
        requested: requested.to_owned(),
    })
}

/// The group with this name.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    subscription: SubscriptionId,
    name: &str,
) -> Result<&'a Versioned<ResourceGroup>, ResourceError> {
    require_subscription(snapshot, subscription)?;
    snapshot
        .resource_groups
        .get(&record_id(subscription, name))
        .ok_or_else(|| ResourceError::GroupNotFound(name.to_owned()))
}

/// The groups of a subscription, by name.
pub fn list(
    snapshot: &Snapshot,
    subscription: SubscriptionId,
) -> Result<Vec<Versioned<ResourceGroup>>, ResourceError> {
    require_subscription(snapshot, subscription)?;
    Ok(snapshot.resource_groups.below(&format!("{subscription}/")).cloned().collect())
}

/// Deletes the group and everything in it; `false` when there was none.
///
/// Its vaults go to the deleted state, from which they can be recovered, as when deleted one by one.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    subscription: SubscriptionId,
    name: &str,
) -> Result<bool, ResourceError> {
    state
        .transact(operation, |snapshot, changes| {
            require_subscription(snapshot, subscription)?;
            let Some(group) = snapshot.resource_groups.get(&record_id(subscription, name)) else {
                return Ok(false);
            };
            plan_delete(snapshot, changes, operation, group)?;
            Ok(true)
        })
        .await
}

/// What deleting a group writes; also part of deleting the resource that it was made for.
pub(crate) fn plan_delete(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    group: &Versioned<ResourceGroup>,
) -> Result<(), WriteError> {
    let prefix = group.resource_key_prefix();
    for resource in snapshot.compute_resources.below(&prefix) {
        compute::plan_delete(snapshot, changes, operation, resource)?;
    }
    for resource in snapshot.generic_resources.below(&prefix) {
        generic::plan_delete(snapshot, changes, operation, resource);
    }
    for identity in snapshot.user_assigned_identities.below(&prefix) {
        user_assigned_identity::plan_delete(snapshot, changes, operation, identity);
    }
    for vault in key_vault::vault::in_scope(snapshot, &group.path()) {
        key_vault::vault::plan_delete(snapshot, changes, operation, &vault);
    }
    if let Ok(scope) = RbacScope::parse(&group.path()) {
        assignment::plan_delete_below(snapshot, changes, &scope);
        for deployment in deployment::list(snapshot, &scope) {
            deployment::plan_delete(snapshot, changes, &deployment);
        }
    }
    changes.delete(snapshot, group.record.as_ref());
    Ok(())
}

/// Makes a group that is not there yet, for a resource.
pub(crate) fn plan_make(
    snapshot: &Snapshot,
    changes: &mut Changes,
    group: &ResourceGroup,
) -> Result<(), ResourceError> {
    check_name(&group.name)?;
    changes.put(snapshot, group);
    Ok(())
}

/// 1 to 90 letters, digits, `_`, `-`, `.`, `(`, `)`, not ending in `.`.
fn check_name(name: &str) -> Result<(), ResourceError> {
    let is_valid = (1..=90).contains(&name.chars().count())
        && !name.ends_with('.')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '(' | ')'));
    if is_valid {
        Ok(())
    } else {
        Err(ResourceError::NameInvalid {
            resource_type: "Microsoft.Resources/resourceGroups",
            name: name.to_owned(),
        })
    }
}
