//! What listings across types show of a resource, whatever noun keeps it.
//!
//! Source: Azure Resource Manager REST API, resources - list.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::compute::ComputeResource;
use crate::directory::UserAssignedIdentity;
use crate::directory::identity_block::IdentityBlock;
use crate::key_vault::{Vault, vault};
use crate::resource_id::ArmResourceId;
use crate::resources::generic::GenericResource;
use crate::snapshot::Snapshot;

/// What every resource shows of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceSummary {
    /// Its resource id.
    pub id: ArmResourceId,
    /// Where it is; a global one may be nowhere.
    pub location: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its identities, where its type has any.
    pub identity: IdentityBlock,
    /// Further top-level members, such as `kind` and `sku`.
    pub other: Map<String, Value>,
}

impl From<&ComputeResource> for ResourceSummary {
    fn from(resource: &ComputeResource) -> Self {
        Self {
            id: resource.id.clone(),
            location: Some(resource.location.clone()),
            tags: resource.tags.clone(),
            identity: resource.identity.clone(),
            other: resource.other.clone(),
        }
    }
}

impl From<&GenericResource> for ResourceSummary {
    fn from(resource: &GenericResource) -> Self {
        Self {
            id: resource.id.clone(),
            location: resource.location.clone(),
            tags: resource.tags.clone(),
            identity: resource.identity.clone(),
            other: resource.other.clone(),
        }
    }
}

impl From<&UserAssignedIdentity> for ResourceSummary {
    fn from(identity: &UserAssignedIdentity) -> Self {
        Self {
            id: identity.id.clone(),
            location: Some(identity.location.clone()),
            tags: identity.tags.clone(),
            identity: IdentityBlock::default(),
            other: Map::new(),
        }
    }
}

impl From<&Vault> for ResourceSummary {
    fn from(vault: &Vault) -> Self {
        Self {
            id: vault.id.clone(),
            location: Some(vault.location.clone()),
            tags: vault.tags.clone(),
            identity: IdentityBlock::default(),
            other: Map::new(),
        }
    }
}

/// The resources at and below a subscription or resource group, by id; parts of resources are not among them.
pub fn below(snapshot: &Snapshot, path: &str) -> Vec<ResourceSummary> {
    let prefix = format!("{}/", path.to_ascii_lowercase());
    let compute = snapshot.compute_resources.below(&prefix).map(|it| it.record.as_ref().into());
    let generic = snapshot.generic_resources.below(&prefix).map(|it| it.record.as_ref().into());
    let identities = snapshot.user_assigned_identities.below(&prefix);
    let identities = identities.map(|it| it.record.as_ref().into());
    let vaults = vault::in_scope(snapshot, path);
    let vaults = vaults.iter().map(|it| it.record.as_ref().into());
    let all = compute.chain(generic).chain(identities).chain(vaults);
    let mut resources: Vec<ResourceSummary> =
        all.filter(|resource: &ResourceSummary| resource.id.parent().is_none()).collect();
    resources.sort_by_cached_key(|resource| resource.id.key());
    resources
}
