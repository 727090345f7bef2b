//! Parameters that are given as a vault's secret: who deploys needs a right on the vault, and the vault has to allow it.
//!
//! Source: Azure Resource Manager, "Use Azure Key Vault to pass secure parameter value during deployment".

use keycard_crypto::secret::Secret;
use serde_json::{Map, Value};

use super::DeploymentError;
use super::error::{TemplateError, TemplateViolation};
use super::function::member;
use super::parameter::{Parameter, ValueType};
use super::template::Template;
use crate::audit::{VaultAccess, record_vault_access, unix_ms};
use crate::key_vault::secret::{SecretError, SecretName, Secrets};
use crate::key_vault::vault::{self, RESOURCE_TYPE};
use crate::operation::OperationContext;
use crate::rbac::{RbacScope, linked_access};
use crate::resource_id::ArmResourceId;
use crate::state::{State, WriteError};

/// The right on the vault that it takes to deploy with its secrets.
const DEPLOY_ACTION: &str = "Microsoft.KeyVault/vaults/deploy/action";
/// The vault's setting that allows it.
const ENABLED: &str = "enabledForTemplateDeployment";

/// A secret that a parameter's value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultReference {
    /// The parameter.
    pub parameter: String,
    vault: ArmResourceId,
    secret: SecretName,
    version: Option<String>,
}

/// Why a secret does not become a parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultParameterError {
    /// Who deploys has no right to deploy with the vault's secrets.
    #[error("{object} may not deploy with the secrets of {vault}")]
    NotGranted {
        /// The application.
        client: String,
        /// The principal.
        object: String,
        /// The vault.
        vault: ArmResourceId,
    },
    /// There is no such vault.
    #[error("there is no vault {0}")]
    VaultMissing(ArmResourceId),
    /// The vault does not allow it.
    #[error("the vault {vault} is not enabled for the deployment of templates")]
    NotEnabled {
        /// The parameter.
        parameter: String,
        /// The vault.
        vault: ArmResourceId,
    },
    /// The secret cannot be read.
    #[error("the secret of the parameter {parameter} cannot be read: {error}")]
    Secret {
        /// The parameter.
        parameter: String,
        /// The vault.
        vault: ArmResourceId,
        /// The secret, with its version where one was asked for.
        secret: String,
        /// Why.
        error: SecretError,
    },
}

impl VaultParameterError {
    /// What a vault would have answered.
    const fn status(&self) -> u16 {
        match self {
            Self::NotGranted { .. }
            | Self::NotEnabled { .. }
            | Self::Secret { error: SecretError::Disabled, .. } => 403,
            Self::VaultMissing(_) | Self::Secret { error: SecretError::NotFound(_), .. } => 404,
            Self::Secret { .. } => 503,
        }
    }
}

impl Template {
    /// The secrets that the given parameters refer to.
    pub fn vault_references(
        &self,
        given: &Map<String, Value>,
    ) -> Result<Vec<VaultReference>, TemplateViolation> {
        let reference = |parameter: &Parameter| {
            let reference = member(given, &parameter.name)?.as_object()?.get("reference")?;
            let read = read(parameter, reference).map_err(|what| {
                let path = format!("parameters.{}", parameter.name);
                TemplateViolation::at(path, TemplateError::Malformed(what))
            });
            Some(read)
        };
        self.parameters.iter().filter_map(reference).collect()
    }
}

fn read(parameter: &Parameter, reference: &Value) -> Result<VaultReference, &'static str> {
    // The value of any other type would be shown.
    if parameter.value_type != ValueType::SecureString {
        return Err("a parameter that refers to a vault's secret is of the type securestring");
    }
    let text = |pointer: &str| reference.pointer(pointer).and_then(Value::as_str);
    let vault = text("/keyVault/id").and_then(|id| id.parse::<ArmResourceId>().ok());
    let secret = text("/secretName").and_then(|name| name.parse::<SecretName>().ok());
    Ok(VaultReference {
        parameter: parameter.name.clone(),
        vault: vault
            .filter(|id| id.is_of_type(RESOURCE_TYPE))
            .ok_or("the reference of a parameter names a vault by its id, in 'keyVault.id'")?,
        secret: secret.ok_or("the reference of a parameter has a 'secretName'")?,
        version: text("/secretVersion").filter(|it| !it.is_empty()).map(str::to_owned),
    })
}

/// Reads a secret for a parameter. The right is looked at before anything else, and the read is on the audit log before
/// the value leaves.
pub async fn secret_of(
    state: &State,
    operation: &OperationContext,
    reference: &VaultReference,
) -> Result<Secret, DeploymentError> {
    let outcome = read_secret(state, operation, reference).await;
    let caller = operation.principal();
    let access = VaultAccess {
        time_unix_ms: unix_ms(operation.now),
        correlation_id: operation.correlation_id.to_string(),
        resource_id: reference.vault.as_str().to_uppercase(),
        operation_name: "SecretGet".to_owned(),
        result_type: if outcome.is_ok() { "Success" } else { "Failure" },
        http_status_code: outcome.as_ref().map_or_else(VaultParameterError::status, |_| 200),
        principal_id: caller.map(|caller| caller.principal_id.to_string()),
        app_id: caller.map(|caller| caller.client_id.to_string()),
        object: format!("/secrets/{}", shown(reference)),
    };
    let unavailable = |error: String| DeploymentError::from(WriteError::Unavailable(error));
    record_vault_access(state, access).await.map_err(|error| unavailable(error.to_string()))?;
    outcome.map_err(|error| DeploymentError::VaultParameter(Box::new(error)))
}

fn shown(reference: &VaultReference) -> String {
    match &reference.version {
        // Only what looks like a version is repeated.
        Some(version) if version.len() <= 32 => format!("{}/{version}", reference.secret),
        Some(_) | None => reference.secret.to_string(),
    }
}

async fn read_secret(
    state: &State,
    operation: &OperationContext,
    reference: &VaultReference,
) -> Result<Secret, VaultParameterError> {
    let (parameter, vault_id) = (reference.parameter.clone(), reference.vault.clone());
    let snapshot = state.snapshot_to_keep();
    let scope = [RbacScope::from(&vault_id)];
    let refused =
        linked_access::refused(&state.journal, &snapshot, operation, DEPLOY_ACTION, scope);
    if !refused.is_empty() {
        let caller = operation.principal();
        return Err(VaultParameterError::NotGranted {
            client: caller.map(|it| it.client_id.to_string()).unwrap_or_default(),
            object: caller.map(|it| it.principal_id.to_string()).unwrap_or_default(),
            vault: vault_id,
        });
    }
    let missing = || VaultParameterError::VaultMissing(vault_id.clone());
    let found = vault::find(&snapshot, &vault_id).map_err(|_| missing())?;
    if found.other.get(ENABLED) != Some(&Value::Bool(true)) {
        return Err(VaultParameterError::NotEnabled { parameter, vault: vault_id });
    }
    let secrets = Secrets::of(state, operation, found);
    let read = secrets.get(&reference.secret, reference.version.as_deref()).await;
    read.map(|bundle| bundle.value).map_err(|error| VaultParameterError::Secret {
        parameter,
        vault: vault_id,
        secret: shown(reference),
        error,
    })
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::needless_pass_by_value,
        reason = "tables of cases read best without ceremony"
    )]

    use serde_json::json;

    use super::*;

    fn check(value_type: &str, reference: Value, expected: Result<usize, &str>) {
        let template = json!({ "parameters": { "p": { "type": value_type } }, "resources": [] });
        let template = Template::parse(&template).unwrap();
        let given = json!({ "P": { "reference": reference } });
        let found = template.vault_references(given.as_object().unwrap());
        let found = found.map(|found| found.len()).map_err(|it| it.reason.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{value_type} {reference}");
    }

    #[test]
    fn a_reference_names_a_secret_of_a_vault_for_a_secure_parameter() {
        let id = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv-1";
        let reference = |id: &str| json!({ "keyVault": { "id": id }, "secretName": "door" });
        check("securestring", reference(id), Ok(1));
        let secure = "a parameter that refers to a vault's secret is of the type securestring";
        check("string", reference(id), Err(secure));
        check("secureObject", reference(id), Err(secure));
        let by_id = "the reference of a parameter names a vault by its id, in 'keyVault.id'";
        check("securestring", reference("kv-1"), Err(by_id));
        check("securestring", reference(&id.replace("vaults", "keys")), Err(by_id));
        check("securestring", json!(7), Err(by_id));
        check(
            "securestring",
            json!({ "keyVault": { "id": id }, "secretName": "a/b" }),
            Err("the reference of a parameter has a 'secretName'"),
        );
    }
}
