//! Tags of whatever has some: subscriptions, resource groups and resources, each kept in its own record.
//!
//! Source: Azure Resource Manager, "Use tags to organize your Azure resources"; Microsoft.Resources/tags.

use std::collections::BTreeMap;

use crate::key_vault::vault;
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;

/// A resource's tags; `None` when there is no such resource.
pub fn of_resource<'a>(
    snapshot: &'a Snapshot,
    id: &ArmResourceId,
) -> Option<&'a BTreeMap<String, String>> {
    let key = id.key();
    if let Some(compute) = snapshot.compute_resources.get(&key) {
        return Some(&compute.tags);
    }
    if let Some(identity) = snapshot.user_assigned_identities.get(&key) {
        return Some(&identity.tags);
    }
    vault::find(snapshot, id).ok().map(|vault| &vault.record.tags)
}
