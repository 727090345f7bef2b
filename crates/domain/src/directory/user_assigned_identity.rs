//! A user-assigned identity: a resource of its own, with a life of its own.
//!
//! Deleting it leaves broken references on the resources it was assigned to.
//! Source: Microsoft.ManagedIdentity/userAssignedIdentities, REST API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::app_role_assignment::{self, Side};
use super::assignment_restrictions::{AllowedProviders, IsolationScope};
use super::deleted_object::{self, FormerObject};
use super::policy::links;
use super::service_principal::{ServicePrincipal, ServicePrincipalKind};
use super::tenant::TenantKind;
use super::{federated_credential, group};
use crate::credential::remove_credentials_of;
use crate::ids::{ClientId, PrincipalId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::rbac::{RbacScope, assignment};
use crate::records::{Record, Versioned};
use crate::request_rates::{RatedBy, TooManyRequests};
use crate::resource_id::ArmResourceId;
use crate::resources::{
    ResourceError, check_location, check_tags, normalized_location, require_group,
};
use crate::snapshot::Snapshot;
use crate::state::{Changes, State, WriteError};

/// The type of these resources.
pub const RESOURCE_TYPE: &str = "Microsoft.ManagedIdentity/userAssignedIdentities";

/// A user-assigned identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserAssignedIdentity {
    /// Its resource id.
    pub id: ArmResourceId,
    /// Where it was made; immutable.
    pub location: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its service principal.
    pub principal_id: PrincipalId,
    /// Its client id.
    pub client_id: ClientId,
    /// Where the resources may be that have it.
    #[serde(default, skip_serializing_if = "IsolationScope::is_none")]
    pub isolation_scope: IsolationScope,
    /// Which kinds of resources may have it.
    #[serde(default, skip_serializing_if = "AllowedProviders::is_unrestricted")]
    pub allowed_providers: AllowedProviders,
}

impl Record for UserAssignedIdentity {
    const KIND: &'static str = "user-assigned-identities";

    fn record_id(&self) -> String {
        self.id.key()
    }
}

/// Why a user-assigned identity is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserAssignedIdentityError {
    /// The name breaks the rules.
    #[error("`{0}` is no name of an identity")]
    NameInvalid(String),
    /// There is no such identity.
    #[error("{0} does not exist")]
    NotFound(ArmResourceId),
    /// The directory is one for customers, which has no managed identities.
    #[error("a B2C directory has no managed identities")]
    TenantHasNone,
    /// Too many were asked for in a short time.
    #[error(transparent)]
    TooManyRequests(#[from] TooManyRequests),
    /// What every resource can be refused for.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

impl From<WriteError> for UserAssignedIdentityError {
    fn from(error: WriteError) -> Self {
        Self::Resource(error.into())
    }
}

/// What a PUT or PATCH asks for; an absent member says nothing.
#[derive(Clone, Debug, Default)]
pub struct UserAssignedIdentityRequest {
    /// Where; required for a new one.
    pub location: Option<String>,
    /// All tags.
    pub tags: Option<BTreeMap<String, String>>,
    /// Where the resources may be that have it.
    pub isolation_scope: Option<IsolationScope>,
    /// Which kinds of resources may have it.
    pub allowed_providers: Option<AllowedProviders>,
}

/// A resource after a PUT, and whether it is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put<R> {
    /// The resource as it is now.
    pub resource: R,
    /// Whether the PUT made it.
    pub is_new: bool,
}

/// Makes the identity with its service principal, or changes what the request names. Its ids stay.
pub async fn put(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
    request: &UserAssignedIdentityRequest,
) -> Result<Put<UserAssignedIdentity>, UserAssignedIdentityError> {
    check_rates(state, operation, id, request)?;
    state
        .transact(operation, |snapshot, changes| {
            let tenant_id = require_group(snapshot, id)?.tenant_id;
            check_name(id.name())?;
            let existing = snapshot.user_assigned_identities.get(&id.key());
            let base = match existing {
                Some(existing) => existing.record.as_ref().clone(),
                None => create(state, snapshot, changes, operation, (id, tenant_id), request)?,
            };
            let resource = with_settings(base, request)?;
            changes.put(snapshot, &resource);
            Ok(Put { resource, is_new: existing.is_none() })
        })
        .await
}

/// New identities are counted by tenant and by subscription, in each region; those that are there are not.
fn check_rates(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
    request: &UserAssignedIdentityRequest,
) -> Result<(), TooManyRequests> {
    let is_there = state.snapshot().user_assigned_identities.get(&id.key()).is_some();
    let (Some(caller), false) = (operation.principal(), is_there) else { return Ok(()) };
    let region: String = normalized_location(request.location.as_deref().unwrap_or_default())
        .chars()
        .take(limits::VALUE_SHOWN_CHARS_MAX)
        .collect();
    let rates = [
        (
            state.limits.identities_of_subscription,
            RatedBy::IdentitiesOfSubscription(id.subscription(), region.clone()),
        ),
        (state.limits.identities_of_tenant, RatedBy::IdentitiesOfTenant(caller.tenant_id, region)),
    ];
    for (rate, by) in rates {
        if let Some(rate) = rate {
            state.request_rates.admit(by, rate, operation.now)?;
        }
    }
    Ok(())
}

/// What making an identity without settings writes: also part of making a resource that has one made for it.
pub(crate) fn plan_create(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    (id, tenant_id): (&ArmResourceId, TenantId),
    request: &UserAssignedIdentityRequest,
) -> Result<UserAssignedIdentity, UserAssignedIdentityError> {
    let identity = create(state, snapshot, changes, operation, (id, tenant_id), request)?;
    changes.put(snapshot, &identity);
    Ok(identity)
}

fn create(
    state: &State,
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    (id, tenant_id): (&ArmResourceId, TenantId),
    request: &UserAssignedIdentityRequest,
) -> Result<UserAssignedIdentity, UserAssignedIdentityError> {
    let location = request.location.clone().ok_or(ResourceError::LocationRequired)?;
    if snapshot.tenant(tenant_id).is_some_and(|tenant| tenant.kind == TenantKind::B2c) {
        return Err(UserAssignedIdentityError::TenantHasNone);
    }
    let principal = new_principal(
        state,
        snapshot,
        operation,
        tenant_id,
        id,
        ServicePrincipalKind::UserAssigned(id.clone()),
    );
    changes.put(snapshot, &principal);
    Ok(UserAssignedIdentity {
        id: id.clone(),
        location,
        tags: BTreeMap::new(),
        tenant_id,
        principal_id: principal.id,
        client_id: principal.client_id,
        isolation_scope: IsolationScope::None,
        allowed_providers: AllowedProviders::default(),
    })
}

/// A service principal with new ids, which hold the generation of the path.
pub(super) fn new_principal(
    state: &State,
    snapshot: &Snapshot,
    operation: &OperationContext,
    tenant_id: TenantId,
    path: &ArmResourceId,
    kind: ServicePrincipalKind,
) -> ServicePrincipal {
    let generation = snapshot.generation(path);
    let name = |what: &str| format!("{tenant_id}/{what}/{}/{generation}", path.key());
    ServicePrincipal {
        id: PrincipalId::new(state.entropy.id_for(&name("principal"))),
        client_id: ClientId::new(state.entropy.id_for(&name("client"))),
        tenant_id,
        display_name: path.name_in_group().to_owned(),
        kind,
        is_enabled: true,
        created_at: operation.now.unix_timestamp(),
        keys: Vec::new(),
        requires_assignment: false,
        tokens_valid_from: None,
    }
}

/// Resources that have the identity already keep it, whatever it is restricted to from now on: what a request lists
/// is checked when it is made.
fn with_settings(
    mut identity: UserAssignedIdentity,
    request: &UserAssignedIdentityRequest,
) -> Result<UserAssignedIdentity, UserAssignedIdentityError> {
    check_location(&identity.id, &identity.location, request.location.as_deref())?;
    if let Some(tags) = &request.tags {
        check_tags(tags)?;
        identity.tags.clone_from(tags);
    }
    identity.isolation_scope = request.isolation_scope.unwrap_or(identity.isolation_scope);
    if let Some(providers) = &request.allowed_providers {
        identity.allowed_providers.clone_from(providers);
    }
    Ok(identity)
}

/// Changes what the request names.
pub async fn patch(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
    request: &UserAssignedIdentityRequest,
) -> Result<UserAssignedIdentity, UserAssignedIdentityError> {
    state
        .transact(operation, |snapshot, changes| {
            let existing = find(snapshot, id)?;
            let identity = with_settings(existing.record.as_ref().clone(), request)?;
            changes.put(snapshot, &identity);
            Ok(identity)
        })
        .await
}

/// Ends all tokens that the identity was given: services that look refuse them, and local endpoints give them no more.
pub async fn revoke_tokens(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
) -> Result<(), UserAssignedIdentityError> {
    state
        .transact(operation, |snapshot, changes| {
            let identity = find(snapshot, id)?;
            let not_found = || UserAssignedIdentityError::NotFound(id.clone());
            let principal =
                snapshot.service_principal(identity.principal_id).ok_or_else(not_found)?;
            changes.put(snapshot, &principal.with_tokens_revoked(operation.now));
            Ok(())
        })
        .await
}

/// The identity with this id.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    id: &ArmResourceId,
) -> Result<&'a Versioned<UserAssignedIdentity>, UserAssignedIdentityError> {
    require_group(snapshot, id)?;
    snapshot
        .user_assigned_identities
        .get(&id.key())
        .ok_or_else(|| UserAssignedIdentityError::NotFound(id.clone()))
}

/// The identities at or below a path, in the order of their ids.
pub fn list(snapshot: &Snapshot, path: &str) -> Vec<Versioned<UserAssignedIdentity>> {
    let prefix = format!("{}/", path.to_ascii_lowercase());
    snapshot.user_assigned_identities.below(&prefix).cloned().collect()
}

/// Removes the identity, its service principal and its credentials; `false` when there was none.
pub async fn delete(
    state: &State,
    operation: &OperationContext,
    id: &ArmResourceId,
) -> Result<bool, UserAssignedIdentityError> {
    state
        .transact(operation, |snapshot, changes| {
            let Some(existing) = snapshot.user_assigned_identities.get(&id.key()) else {
                return Ok(false);
            };
            plan_delete(snapshot, changes, operation, existing);
            Ok(true)
        })
        .await
}

/// What deleting an identity writes; also part of deleting its resource group.
pub(crate) fn plan_delete(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    existing: &Versioned<UserAssignedIdentity>,
) {
    assignment::plan_delete_below(snapshot, changes, &RbacScope::from(&existing.id));
    changes.delete(snapshot, existing.record.as_ref());
    changes.next_generation(snapshot, &existing.id);
    remove_principal(snapshot, changes, operation, existing.principal_id);
}

/// Removes a service principal with its credentials, a managed identity's federated ones too, its memberships, app role assignments and links to
/// policies; its role assignments stay, as in Azure. What it was is kept for a while.
pub(crate) fn remove_principal(
    snapshot: &Snapshot,
    changes: &mut Changes,
    operation: &OperationContext,
    id: PrincipalId,
) {
    group::remove_memberships(snapshot, changes, id);
    if let Some(principal) = snapshot.service_principal(id) {
        let tenant = principal.tenant_id;
        app_role_assignment::remove_of(snapshot, changes, tenant, Side::Principal(id));
        if principal.kind == ServicePrincipalKind::Application {
            app_role_assignment::remove_of(snapshot, changes, tenant, Side::Resource(id));
        } else {
            // Those of an application stand at the application, which stays or can be restored.
            federated_credential::remove_credentials_of(snapshot, changes, principal.client_id);
        }
        links::remove_of_target(snapshot, changes, *id.as_uuid());
        let former = FormerObject::ServicePrincipal(principal.record.as_ref().clone());
        deleted_object::keep(snapshot, changes, operation, former);
        changes.delete(snapshot, principal.record.as_ref());
    }
    remove_credentials_of(snapshot, changes, id, None);
}

/// 3 to 128 letters, digits, `-` and `_`, the first a letter or digit.
fn check_name(name: &str) -> Result<(), UserAssignedIdentityError> {
    let is_valid = (3..=128).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_valid { Ok(()) } else { Err(UserAssignedIdentityError::NameInvalid(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_that_goes_leaves_its_groups() {
        let id = |n| PrincipalId::new(uuid::Uuid::from_u128(n));
        let mut snapshot = Snapshot::default();
        snapshot.insert_for_test(&group::GroupMember { group: id(1), member: id(2) });
        let mut changes = Changes::default();
        let operation = OperationContext::system(time::UtcDateTime::UNIX_EPOCH, uuid::Uuid::nil());
        remove_principal(&snapshot, &mut changes, &operation, id(3));
        assert!(changes.is_empty());
        remove_principal(&snapshot, &mut changes, &operation, id(2));
        assert!(!changes.is_empty());
    }

    #[test]
    fn names_follow_the_providers_rule() {
        for right in ["abc", "a_b-1", "0ab", &"x".repeat(128)] {
            assert!(check_name(right).is_ok(), "{right}");
        }
        for wrong in ["", "ab", "-ab", "_ab", "a.b", "a b", "abä", &"x".repeat(129)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
