//! A service principal: what a role is given to, and what a token speaks for.

use serde::{Deserialize, Serialize};

use super::application::KeyCredential;
use crate::ids::{ClientId, PrincipalId, TenantId};
use crate::records::{Record, Versioned};
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;

/// What a service principal stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServicePrincipalKind {
    /// The system-assigned identity of this resource.
    SystemAssigned(ArmResourceId),
    /// The user-assigned identity with this id.
    UserAssigned(ArmResourceId),
    /// An application that holds credentials of its own.
    Application,
}

/// A principal in exactly one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePrincipal {
    /// The claim `oid`.
    pub id: PrincipalId,
    /// The claim `appid`.
    pub client_id: ClientId,
    /// The tenant it belongs to.
    pub tenant_id: TenantId,
    /// The name of the identity, host resource or application.
    pub display_name: String,
    /// What it stands for.
    pub kind: ServicePrincipalKind,
    /// Whether it may be given tokens, and its tokens count.
    pub is_enabled: bool,
    /// Unix seconds.
    pub created_at: i64,
    /// Certificates that an administrator brought, besides the credentials that its hosts have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyCredential>,
    /// Whether only those who were given one of its app roles get tokens for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requires_assignment: bool,
    /// Unix seconds: tokens that were issued before count no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_valid_from: Option<i64>,
}

impl Record for ServicePrincipal {
    const KIND: &'static str = "service-principals";

    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

impl ServicePrincipal {
    /// The managed identity's own resource id: the host's for a system-assigned one.
    pub fn identity_resource(&self) -> Option<&ArmResourceId> {
        match &self.kind {
            ServicePrincipalKind::SystemAssigned(id) | ServicePrincipalKind::UserAssigned(id) => {
                Some(id)
            }
            ServicePrincipalKind::Application => None,
        }
    }
}

/// The directory's service principal with this id.
pub fn find(
    snapshot: &Snapshot,
    tenant: TenantId,
    id: PrincipalId,
) -> Option<&Versioned<ServicePrincipal>> {
    snapshot.service_principal(id).filter(|principal| principal.tenant_id == tenant)
}

/// The service principals of a directory.
pub fn list(
    snapshot: &Snapshot,
    tenant: TenantId,
) -> impl Iterator<Item = &Versioned<ServicePrincipal>> {
    let all = snapshot.service_principals.iter().map(|(_, principal)| principal);
    all.filter(move |principal| principal.tenant_id == tenant)
}

/// How often the resource at a path was deleted: what makes a thing made anew another thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The path, in lower case.
    pub path: String,
    /// Deletions so far.
    pub deletions: u64,
}

impl Record for Generation {
    const KIND: &'static str = "generations";

    fn record_id(&self) -> String {
        self.path.clone()
    }
}
