//! May this principal do this in this vault: by Azure RBAC, or by the vault's access policies, never by both.

use super::vault::Vault;
use crate::operation::Principal;
use crate::rbac::{self, Decision, Plane, RbacScope};
use crate::snapshot::Snapshot;

/// A data-plane operation on secrets: its data action for RBAC, and its word in access policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretPermission {
    /// Such as `Microsoft.KeyVault/vaults/secrets/getSecret/action`.
    pub data_action: &'static str,
    /// Such as `get`.
    pub policy_word: &'static str,
}

/// Why an operation is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No role assignment covers it.
    ByRbac(Decision),
    /// No access policy covers it.
    ByPolicy,
}

/// Decides about an operation on a secret, or on the vault where no secret is named.
pub fn authorize(
    snapshot: &Snapshot,
    vault: &Vault,
    principal: &Principal,
    permission: SecretPermission,
    secret: Option<&str>,
) -> Result<(), Denied> {
    if !vault.uses_rbac {
        let is_granted = vault
            .access_policies
            .iter()
            .any(|policy| policy.grants_on_secrets(principal.principal_id, permission.policy_word));
        return if is_granted { Ok(()) } else { Err(Denied::ByPolicy) };
    }
    let decision = rbac::decide(
        snapshot,
        principal.principal_id,
        Plane::Data,
        permission.data_action,
        &scope(vault, secret),
    );
    if decision.is_allowed() { Ok(()) } else { Err(Denied::ByRbac(decision)) }
}

/// A secret is a scope below its vault. A name that makes no path names no secret: the vault itself is asked about.
fn scope(vault: &Vault, secret: Option<&str>) -> RbacScope {
    secret
        .and_then(|name| RbacScope::parse(&format!("{}/secrets/{name}", vault.id)).ok())
        .unwrap_or_else(|| vault.scope())
}
