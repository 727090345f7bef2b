//! Access policies: the vault's own list of who may do what, in force where Azure RBAC is off.
//!
//! Source: Azure Key Vault, "Assign a Key Vault access policy"; Microsoft.KeyVault/vaults, accessPolicies.

use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, PrincipalId, TenantId};

/// What one principal may do with the objects of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPolicy {
    /// The principal's tenant.
    pub tenant_id: TenantId,
    /// The principal.
    pub object_id: PrincipalId,
    /// Only when it acts through this application.
    pub application_id: Option<ClientId>,
    /// What it may do.
    pub permissions: Permissions,
}

/// Permission words by class of object, as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// On keys.
    pub keys: Vec<String>,
    /// On secrets.
    pub secrets: Vec<String>,
    /// On certificates.
    pub certificates: Vec<String>,
    /// On managed storage accounts.
    pub storage: Vec<String>,
}

impl AccessPolicy {
    /// Whether the policy lets the principal do this with secrets. `all` is every permission; case is ignored.
    pub fn grants_on_secrets(&self, principal: PrincipalId, permission: &str) -> bool {
        self.object_id == principal
            && self.application_id.is_none()
            && self.permissions.secrets.iter().any(|granted| {
                granted.eq_ignore_ascii_case("all") || granted.eq_ignore_ascii_case(permission)
            })
    }
}
