//! Which identity a workload means: the selector rules of the local endpoints.
//!
//! Source: Microsoft Learn, "How to use managed identities … to acquire an access token"; overview of managed
//! identities in App Service.

use crate::compute::ComputeResource;
use crate::ids::{ClientId, PrincipalId};
use crate::records::Versioned;
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

/// The identity that the selector means on this resource.
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
