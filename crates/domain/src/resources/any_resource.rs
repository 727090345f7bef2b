//! A resource of whatever type keycard keeps: the one place that knows all of them. What bears identities is in
//! [`crate::directory::bearer`].

use super::generic::{self, GenericResource};
use super::tags::Tags;
use crate::compute::{ComputeKind, ComputeResource};
use crate::directory::{UserAssignedIdentity, user_assigned_identity};
use crate::key_vault::{Vault, vault};
use crate::records::Versioned;
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;
use crate::state::Changes;

/// A resource, by the noun that keeps it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AnyResource<'a> {
    Compute(&'a Versioned<ComputeResource>),
    Generic(&'a Versioned<GenericResource>),
    Identity(&'a Versioned<UserAssignedIdentity>),
    Vault(&'a Versioned<Vault>),
}

impl<'a> AnyResource<'a> {
    /// The resource with this id.
    pub(crate) fn find(snapshot: &'a Snapshot, id: &ArmResourceId) -> Option<Self> {
        let key = id.key();
        if let Some(compute) = snapshot.compute_resources.get(&key) {
            return Some(Self::Compute(compute));
        }
        if let Some(generic) = snapshot.generic_resources.get(&key) {
            return Some(Self::Generic(generic));
        }
        if let Some(identity) = snapshot.user_assigned_identities.get(&key) {
            return Some(Self::Identity(identity));
        }
        vault::find(snapshot, id).ok().map(Self::Vault)
    }

    pub(crate) fn tags(self) -> &'a Tags {
        match self {
            Self::Compute(resource) => &resource.record.tags,
            Self::Generic(resource) => &resource.record.tags,
            Self::Identity(identity) => &identity.record.tags,
            Self::Vault(vault) => &vault.record.tags,
        }
    }

    /// Makes a commit rely on the resource staying as it is.
    pub(crate) fn rely_on(self, snapshot: &Snapshot, changes: &mut Changes) {
        match self {
            Self::Compute(resource) => changes.rely_on(snapshot, resource.record.as_ref()),
            Self::Generic(resource) => changes.rely_on(snapshot, resource.record.as_ref()),
            Self::Identity(identity) => changes.rely_on(snapshot, identity.record.as_ref()),
            Self::Vault(vault) => changes.rely_on(snapshot, vault.record.as_ref()),
        };
    }
}

/// Whether resources of this type are kept, so that one that is not found is not there.
pub(super) fn is_kept_type(id: &ArmResourceId) -> bool {
    ComputeKind::of_type(&id.resource_type()).is_some()
        || id.is_of_type(user_assigned_identity::RESOURCE_TYPE)
        || id.is_of_type(vault::RESOURCE_TYPE)
        || generic::type_of(id).is_some()
}
