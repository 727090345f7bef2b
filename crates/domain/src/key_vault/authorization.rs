//! May this principal do this in this vault: by Azure RBAC, or by the vault's access policies, never by both.

use time::UtcDateTime;
use uuid::Uuid;

use super::vault::Vault;
use crate::operation::Principal;
use crate::rbac::condition::AttributeValues;
use crate::rbac::{AttributeSource, Attributes, Decision, Plane, Question, RbacScope};
use crate::state::State;

/// A data-plane operation on secrets: its data action for RBAC, and its word in access policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretPermission {
    /// Such as `Microsoft.KeyVault/vaults/secrets/getSecret/action`.
    pub data_action: &'static str,
    /// Such as `get`.
    pub policy_word: &'static str,
}

/// The word that access policies have for a data action on secrets; empty where they have none.
pub fn policy_word(data_action: &str) -> &'static str {
    let action = data_action.to_ascii_lowercase();
    match action.strip_prefix("microsoft.keyvault/vaults/secrets/").unwrap_or_default() {
        "getsecret/action" => "get",
        "setsecret/action" | "update/action" => "set",
        "readmetadata/action" => "list",
        "delete" => "delete",
        "recover/action" => "recover",
        "purge/action" => "purge",
        "backup/action" => "backup",
        "restore/action" => "restore",
        _ => "",
    }
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
    state: &State,
    request_id: Uuid,
    vault: &Vault,
    principal: &Principal,
    permission: SecretPermission,
    secret: Option<&str>,
) -> Result<(), Denied> {
    let attributes = attributes(vault, secret, state.clock.now());
    let question = Question {
        tenant: principal.tenant_id,
        principal: principal.principal_id,
        plane: Plane::Data,
        action: permission.data_action,
        scope: &scope(vault, secret),
        sub_operation: None,
        attributes: &attributes,
    };
    if vault.uses_rbac {
        let decision = state.authorize(request_id, &question);
        return if decision.is_allowed() { Ok(()) } else { Err(Denied::ByRbac(decision)) };
    }
    let is_granted = vault
        .access_policies
        .iter()
        .any(|policy| policy.grants_on_secrets(principal.principal_id, permission.policy_word));
    state.journal.note(request_id, &question, is_granted);
    if is_granted { Ok(()) } else { Err(Denied::ByPolicy) }
}

/// A secret is a scope below its vault. A name that makes no path names no secret: the vault itself is asked about.
fn scope(vault: &Vault, secret: Option<&str>) -> RbacScope {
    secret
        .and_then(|name| RbacScope::parse(&format!("{}/secrets/{name}", vault.id)).ok())
        .unwrap_or_else(|| vault.scope())
}

/// What conditions may ask. Where no secret is named, as in a listing, its name is missing, and what asks for it refuses.
/// Source: Azure Key Vault, "Azure attribute-based access control" attributes.
fn attributes(vault: &Vault, secret: Option<&str>, now: UtcDateTime) -> Attributes {
    let name = |text: &str| AttributeValues::name(text);
    let vault_name = name(vault.id.name());
    let mut attributes = Attributes::of_environment(now).with(
        AttributeSource::Resource,
        "Microsoft.KeyVault/vaults:name",
        vault_name,
    );
    if let Some(secret) = secret {
        for source in [AttributeSource::Resource, AttributeSource::Request] {
            attributes.set(source, "Microsoft.KeyVault/vaults/secrets:name", name(secret));
        }
    }
    attributes
}
