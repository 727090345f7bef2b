//! Which identity a workload means: the selector rules of the local endpoints.
//!
//! Source: Microsoft Learn, "How to use managed identities … to acquire an access token"; overview of managed
//! identities in App Service.

use std::sync::Arc;

use crate::compute::{ComputeResource, Workload};
use crate::ids::{ClientId, PrincipalId, TenantId};
use crate::limits;
use crate::records::Versioned;
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;
use crate::token::source::{Selector, TokenError};

use super::service_principal::ServicePrincipal;

/// What happens when no identity is named and there is no system-assigned one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultRule {
    /// The only user-assigned identity counts: the metadata endpoint of a VM.
    OnlyUserAssigned,
    /// There is no default: App Service.
    SystemAssignedOnly,
}

/// An identity that the resource has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its service principal.
    pub principal_id: PrincipalId,
    /// Its client id.
    pub client_id: ClientId,
}

/// The identity that the selector means on this resource, or on an instance of this scale set.
pub fn find(
    resource: &ComputeResource,
    selector: &Selector,
    rule: DefaultRule,
) -> Result<Found, TokenError> {
    let mut all = resource.identity.user_assigned.iter();
    let system = resource.identity.system_assigned.as_ref();
    let of_system = system.map(|s| Found { principal_id: s.principal_id, client_id: s.client_id });
    let of_user = |matches: &dyn Fn(&super::identity_block::UserAssigned) -> bool| {
        resource.identity.user_assigned.iter().find(|assigned| matches(assigned)).map(|assigned| {
            Found { principal_id: assigned.principal_id, client_id: assigned.client_id }
        })
    };
    let found = match selector {
        Selector::Default => match (of_system, rule, all.next(), all.next()) {
            (Some(system), ..) => Some(system),
            (None, DefaultRule::OnlyUserAssigned, Some(only), None) => {
                Some(Found { principal_id: only.principal_id, client_id: only.client_id })
            }
            (None, DefaultRule::OnlyUserAssigned, Some(_), Some(_)) => {
                return Err(TokenError::SeveralIdentities);
            }
            (None, ..) => None,
        },
        Selector::ClientId(id) => of_system
            .filter(|system| system.client_id == *id)
            .or_else(|| of_user(&|assigned| assigned.client_id == *id)),
        Selector::PrincipalId(id) => of_system
            .filter(|system| system.principal_id == *id)
            .or_else(|| of_user(&|assigned| assigned.principal_id == *id)),
        Selector::ResourceId(id) => of_system
            .filter(|_| resource.id == *id)
            .or_else(|| of_user(&|assigned| assigned.identity == *id)),
    };
    found.ok_or(TokenError::IdentityNotFound)
}

/// The live service principal behind an identity; a broken reference has none.
pub fn live_principal(
    snapshot: &Snapshot,
    found: Found,
) -> Result<&Versioned<ServicePrincipal>, TokenError> {
    snapshot
        .service_principal(found.principal_id)
        .filter(|principal| principal.is_enabled)
        .ok_or(TokenError::IdentityNotFound)
}

/// Why a text names no principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nobody is called so.
    #[error("no identity, resource or group is called `{0}`")]
    Unknown(String),
    /// Several are.
    #[error("several principals are called `{0}`: use an object id, client id or resource id")]
    Ambiguous(String),
}

/// The principal that an administrator means: by object id, client id, the id of an identity or of the resource that has
/// it, or a name where it is unique.
pub fn principal_named(
    snapshot: &Snapshot,
    tenant: TenantId,
    text: &str,
) -> Result<PrincipalId, NameError> {
    let of_tenant = |id: &PrincipalId| {
        snapshot.service_principal(*id).is_some_and(|principal| principal.tenant_id == tenant)
    };
    if let Ok(id) = text.parse::<PrincipalId>() {
        let of_client = snapshot.service_principal_of_client(ClientId::new(*id.as_uuid()));
        // A principal that is gone, or that the directory never saw, can still hold roles.
        return Ok(of_client.map(|known| known.id).filter(of_tenant).unwrap_or(id));
    }
    let found = match text.parse::<ArmResourceId>() {
        Ok(id) => principal_of_resource(snapshot, &id).filter(of_tenant),
        Err(_) => {
            let mut called = principals_called(snapshot, tenant, text);
            let first = called.next();
            if called.next().is_some() {
                return Err(NameError::Ambiguous(text.to_owned()));
            }
            first
        }
    };
    let shown = || text.chars().take(limits::AUDITED_CHARS_MAX).collect();
    found.ok_or_else(|| NameError::Unknown(shown()))
}

/// The identity that a resource acts as when it names none, or the user-assigned identity itself.
fn principal_of_resource(snapshot: &Snapshot, id: &ArmResourceId) -> Option<PrincipalId> {
    let key = id.key();
    let bearer = snapshot.compute_resources.get(&key).map(|resource| Arc::clone(&resource.record));
    let bearer = bearer.or_else(|| Workload::find(snapshot, id).map(|workload| workload.bearer));
    let of_compute = bearer.and_then(|resource| {
        find(&resource, &Selector::Default, DefaultRule::OnlyUserAssigned).ok()
    });
    let of_identity =
        || snapshot.user_assigned_identities.get(&key).map(|identity| identity.principal_id);
    of_compute.map(|found| found.principal_id).or_else(of_identity)
}

fn principals_called<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    name: &'a str,
) -> impl Iterator<Item = PrincipalId> + 'a {
    let principals = snapshot
        .service_principals
        .iter()
        .filter(move |(_, it)| it.tenant_id == tenant && it.display_name.eq_ignore_ascii_case(name))
        .map(|(_, it)| it.id);
    let groups = snapshot
        .groups
        .iter()
        .filter(move |(_, it)| it.tenant_id == tenant && it.display_name.eq_ignore_ascii_case(name))
        .map(|(_, it)| it.id);
    principals.chain(groups)
}
