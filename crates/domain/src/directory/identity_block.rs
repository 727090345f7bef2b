//! The `identity` block of a resource: which identities it has, and how a request changes them.
//!
//! Source: specs of `identity` in Microsoft.Compute and Microsoft.Web; PATCH merges the map, PUT replaces it, the type
//! is always replaced.

use serde::{Deserialize, Serialize};

use super::assignment_restrictions::{self, NotAssignable};
use super::bearer::Bearer;
use super::service_principal::{ServicePrincipal, ServicePrincipalKind};
use super::tenant::TenantKind;
use super::user_assigned_identity::{new_principal, remove_principal};
use crate::credential::remove_credentials_of;
use crate::ids::{ClientId, PrincipalId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::{RbacScope, linked_access};
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;
use crate::state::{Changes, State};

/// The right that attaching a user-assigned identity needs on the identity.
pub const ASSIGN_ACTION: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action";

/// The identities of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityBlock {
    /// The identity that lives and dies with the resource.
    pub system_assigned: Option<SystemAssigned>,
    /// The identities assigned to it, in the order of assignment.
    pub user_assigned: Vec<UserAssigned>,
}

/// A resource's own identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemAssigned {
    /// Its service principal.
    pub principal_id: PrincipalId,
    /// Its client id.
    pub client_id: ClientId,
}

/// A user-assigned identity on a resource. The ids are those it had when it was assigned: once the identity is
/// deleted the reference is broken, and stays so even when another one is made under the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserAssigned {
    /// The identity's resource id.
    pub identity: ArmResourceId,
    /// Its service principal when it was assigned.
    pub principal_id: PrincipalId,
    /// Its client id when it was assigned.
    pub client_id: ClientId,
    /// Unix seconds of the assignment: older tokens are not this assignment's.
    pub assigned_at: i64,
}

impl IdentityBlock {
    /// Whether the resource has no identity.
    pub const fn is_empty(&self) -> bool {
        self.system_assigned.is_none() && self.user_assigned.is_empty()
    }

    /// The reference to an identity, broken or not.
    pub fn user_assigned(&self, identity: &ArmResourceId) -> Option<&UserAssigned> {
        self.user_assigned.iter().find(|assigned| assigned.identity == *identity)
    }

    /// The principals of all identities, system-assigned first.
    pub fn principals(&self) -> impl Iterator<Item = PrincipalId> {
        let system = self.system_assigned.iter().map(|system| system.principal_id);
        system.chain(self.user_assigned.iter().map(|assigned| assigned.principal_id))
    }
}

/// The requested `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityType {
    /// No identity at all.
    None,
    /// Only the resource's own.
    SystemAssigned,
    /// Only assigned ones.
    UserAssigned,
    /// Both.
    SystemAndUserAssigned,
}

impl IdentityType {
    /// The type as requests and answers write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::SystemAssigned => "SystemAssigned",
            Self::UserAssigned => "UserAssigned",
            Self::SystemAndUserAssigned => "SystemAssigned, UserAssigned",
        }
    }

    const fn has_system(self) -> bool {
        matches!(self, Self::SystemAssigned | Self::SystemAndUserAssigned)
    }

    /// Whether there are assigned ones.
    pub const fn has_user(self) -> bool {
        matches!(self, Self::UserAssigned | Self::SystemAndUserAssigned)
    }
}

/// What the request's map says of one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapEntry {
    /// `{}`: it is to be there.
    Assign,
    /// `null`: it is to be gone.
    Remove,
}

/// The `identity` member of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRequest {
    /// The type, which always replaces the former one.
    pub identity_type: IdentityType,
    /// The map; absent or `null` says nothing about assigned identities.
    pub user_assigned: Option<Vec<(ArmResourceId, MapEntry)>>,
}

/// How a request's map meets the identities that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapRule {
    /// PATCH: unlisted ones stay.
    Merge,
    /// PUT: unlisted ones go.
    Replace,
}

/// Why the identity part of a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityBlockError {
    /// The identity to assign does not exist.
    #[error("identity {0} does not exist")]
    IdentityNotFound(ArmResourceId),
    /// No resource of this type has identities of this kind.
    #[error("a {resource_type} has no identities of the type {requested:?}")]
    TypeUnsupported {
        /// The resource's type.
        resource_type: &'static str,
        /// What the request wants.
        requested: IdentityType,
        /// What it might have wanted.
        supported: &'static [IdentityType],
    },
    /// A resource of this type has just so many assigned identities.
    #[error("{count} identities, {expected} are expected")]
    CountUnexpected {
        /// How many the request lists.
        count: usize,
        /// How many it has to.
        expected: usize,
    },
    /// The type excludes assigned identities, yet the map lists some.
    #[error("the type excludes the identities that are listed")]
    TypeExcludesMap,
    /// The type demands assigned identities, yet none would be there.
    #[error("the type demands identities, yet there are none")]
    IdentitiesRequired,
    /// More identities in one request than allowed.
    #[error("{count} identities in one request, {max} are allowed")]
    TooManyInRequest {
        /// How many the request lists.
        count: usize,
        /// How many it may.
        max: usize,
    },
    /// More identities on the resource than allowed.
    #[error("{count} identities on one resource, {max} are allowed")]
    TooManyOnResource {
        /// How many there would be.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// The directory is one for customers, which has no managed identities.
    #[error("a B2C directory has no managed identities")]
    TenantHasNone,
    /// The identity is not for such resources.
    #[error(transparent)]
    NotAssignable(#[from] NotAssignable),
    /// The caller may not assign these identities.
    #[error("assigning {0:?} is not granted")]
    AssignNotGranted(Vec<RbacScope>),
}

/// Plans what a request does to a resource's identities: the new block, and the principals that come and go.
pub fn plan(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    (bearer, tenant_id): (Bearer<'_>, TenantId),
    change: (&IdentityRequest, MapRule),
) -> Result<IdentityBlock, IdentityBlockError> {
    let (request, rule) = change;
    let current = bearer.identity;
    let listed = request.user_assigned.as_deref().unwrap_or_default();
    check_request(request, listed)?;
    let kind = snapshot.tenant(tenant_id).map(|tenant| tenant.kind);
    if kind == Some(TenantKind::B2c) && request.identity_type != IdentityType::None {
        return Err(IdentityBlockError::TenantHasNone);
    }
    check_assign_rights(state, snapshot, operation, listed)?;
    check_restrictions(snapshot, changes, bearer, listed)?;
    let user_assigned = if request.identity_type.has_user() {
        merge(snapshot, operation, current, request.user_assigned.as_deref(), rule)?
    } else {
        Vec::new()
    };
    check_counts(state, request, user_assigned.len())?;
    let system_assigned = match (&current.system_assigned, request.identity_type.has_system()) {
        (Some(existing), true) => Some(existing.clone()),
        (None, true) => {
            Some(create_system(state, snapshot, changes, operation, (bearer.id, tenant_id)))
        }
        (Some(existing), false) => {
            remove_system(snapshot, changes, operation, bearer.id, existing);
            None
        }
        (None, false) => None,
    };
    let block = IdentityBlock { system_assigned, user_assigned };
    drop_credentials_of_unassigned(snapshot, changes, bearer.id, current, &block);
    Ok(block)
}

fn check_request(
    request: &IdentityRequest,
    listed: &[(ArmResourceId, MapEntry)],
) -> Result<(), IdentityBlockError> {
    let max = limits::USER_ASSIGNED_PER_REQUEST_MAX;
    if listed.len() > max {
        return Err(IdentityBlockError::TooManyInRequest { count: listed.len(), max });
    }
    let assigns_some = listed.iter().any(|(_, entry)| *entry == MapEntry::Assign);
    if assigns_some && !request.identity_type.has_user() {
        return Err(IdentityBlockError::TypeExcludesMap);
    }
    Ok(())
}

/// Attaching needs `assign/action` on each listed identity; detaching needs nothing on it.
///
/// Checked before existence, so that who has no right learns nothing about which identities there are.
fn check_assign_rights(
    state: &State,
    snapshot: &Snapshot,
    operation: &OperationContext,
    listed: &[(ArmResourceId, MapEntry)],
) -> Result<(), IdentityBlockError> {
    let assigned = listed.iter().filter(|(_, entry)| *entry == MapEntry::Assign);
    let scopes = assigned.map(|(identity, _)| RbacScope::from(identity));
    let refused =
        linked_access::refused(&state.journal, snapshot, operation, ASSIGN_ACTION, scopes);
    if refused.is_empty() { Ok(()) } else { Err(IdentityBlockError::AssignNotGranted(refused)) }
}

/// What a request lists has to suit the resource, whether it is assigned now or was before the identity was restricted.
/// A broken reference is to an identity that is gone, with what it was restricted to.
fn check_restrictions(
    snapshot: &Snapshot,
    changes: &mut Changes,
    bearer: Bearer<'_>,
    listed: &[(ArmResourceId, MapEntry)],
) -> Result<(), IdentityBlockError> {
    let resource_type = bearer.id.resource_type();
    for (id, _) in listed.iter().filter(|(_, entry)| *entry == MapEntry::Assign) {
        let Some(identity) = snapshot.user_assigned_identities.get(&id.key()) else { continue };
        let reference = bearer.identity.user_assigned(id);
        if reference.is_none_or(|it| it.principal_id == identity.principal_id) {
            assignment_restrictions::check(identity, &resource_type, bearer.location)?;
            // Who restricts or deletes the identity in the same moment was earlier or later, not beside this.
            changes.rely_on(snapshot, identity.record.as_ref());
        }
    }
    Ok(())
}

fn merge(
    snapshot: &Snapshot,
    operation: &OperationContext,
    current: &IdentityBlock,
    listed: Option<&[(ArmResourceId, MapEntry)]>,
    rule: MapRule,
) -> Result<Vec<UserAssigned>, IdentityBlockError> {
    let listed = match (listed, rule) {
        (Some(listed), _) => listed,
        (None, MapRule::Replace) => &[],
        (None, MapRule::Merge) => return Ok(current.user_assigned.clone()),
    };
    let listing = |identity: &ArmResourceId| {
        listed.iter().rev().find(|(listed, _)| listed == identity).map(|(_, entry)| *entry)
    };
    let mut merged: Vec<UserAssigned> = current
        .user_assigned
        .iter()
        .filter(|assigned| match (listing(&assigned.identity), rule) {
            (Some(MapEntry::Assign), _) | (None, MapRule::Merge) => true,
            (Some(MapEntry::Remove), _) | (None, MapRule::Replace) => false,
        })
        .cloned()
        .collect();
    for (identity, _) in listed {
        let is_there = merged.iter().any(|assigned| assigned.identity == *identity);
        if listing(identity) == Some(MapEntry::Assign) && !is_there {
            merged.push(assign(snapshot, operation, identity)?);
        }
    }
    Ok(merged)
}

fn assign(
    snapshot: &Snapshot,
    operation: &OperationContext,
    identity: &ArmResourceId,
) -> Result<UserAssigned, IdentityBlockError> {
    let existing = snapshot
        .user_assigned_identities
        .get(&identity.key())
        .ok_or_else(|| IdentityBlockError::IdentityNotFound(identity.clone()))?;
    Ok(UserAssigned {
        identity: existing.id.clone(),
        principal_id: existing.principal_id,
        client_id: existing.client_id,
        assigned_at: operation.now.unix_timestamp(),
    })
}

fn check_counts(
    state: &State,
    request: &IdentityRequest,
    count: usize,
) -> Result<(), IdentityBlockError> {
    if request.identity_type.has_user() && count == 0 {
        return Err(IdentityBlockError::IdentitiesRequired);
    }
    match state.limits.user_assigned_per_resource_max {
        Some(max) if count > max => Err(IdentityBlockError::TooManyOnResource { count, max }),
        _ => Ok(()),
    }
}

fn create_system(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    (resource, tenant_id): (&ArmResourceId, TenantId),
) -> SystemAssigned {
    let kind = ServicePrincipalKind::SystemAssigned(resource.clone());
    let principal: ServicePrincipal =
        new_principal(state, snapshot, operation, tenant_id, resource, kind);
    changes.put(snapshot, &principal);
    SystemAssigned { principal_id: principal.id, client_id: principal.client_id }
}

/// Removes the resource's own identity; switched on again it is another one.
pub(crate) fn remove_system(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    resource: &ArmResourceId,
    existing: &SystemAssigned,
) {
    remove_principal(snapshot, changes, operation, existing.principal_id);
    changes.next_generation(snapshot, resource);
}

/// Tells the directory where the resource is now: after a move it hears of it with the resource's next update, as in Azure.
pub(crate) fn refresh_principal(
    snapshot: &Snapshot,
    changes: &mut Changes,
    resource: &ArmResourceId,
    block: &IdentityBlock,
) {
    let Some(system) = &block.system_assigned else { return };
    let Some(principal) = snapshot.service_principal(system.principal_id) else { return };
    if principal.identity_resource() != Some(resource) {
        let kind = ServicePrincipalKind::SystemAssigned(resource.clone());
        changes.put(snapshot, &ServicePrincipal { kind, ..principal.record.as_ref().clone() });
    }
}

fn drop_credentials_of_unassigned(
    snapshot: &Snapshot,
    changes: &mut Changes,
    resource: &ArmResourceId,
    before: &IdentityBlock,
    after: &IdentityBlock,
) {
    for assigned in &before.user_assigned {
        if after.user_assigned(&assigned.identity).is_none() {
            remove_credentials_of(snapshot, changes, assigned.principal_id, Some(resource));
        }
    }
}
