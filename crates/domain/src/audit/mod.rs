//! What is recorded, and the port it is recorded through.
//!
//! Control-plane writes are recorded in the activity log, in the same commit as the change ([`activity`]).
//! Token requests and data-plane calls go to the node's hash-chained audit log, before the answer leaves.

pub mod activity;

use async_trait::async_trait;
use serde::Serialize;
use time::UtcDateTime;

use crate::operation::OperationContext;
use crate::state::State;

/// One record of the node's audit log. Its serialisation is the stored form of the log's `record` member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "category")]
pub enum AuditRecord {
    /// A managed identity's token was issued or refused.
    #[serde(rename = "ManagedIdentitySignInLogs")]
    ManagedIdentitySignIn(SignIn),
    /// An application's token was issued or refused, or an unknown client's request.
    #[serde(rename = "ServicePrincipalSignInLogs")]
    ApplicationSignIn(SignIn),
    /// A call reached a vault.
    #[serde(rename = "AuditEvent")]
    VaultAccess(VaultAccess),
}

/// A token request at the token service.
///
/// Source: azure-monitor tables `AADManagedIdentitySignInLogs` and `AADServicePrincipalSignInLogs`; the names are their
/// columns. There is no address: what a managed identity's host asks has none there either.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignIn {
    /// Unix milliseconds.
    pub time_unix_ms: i64,
    /// The record's own id: the request's, as its answer names it.
    pub id: String,
    /// Follows the request through answer and log.
    pub correlation_id: String,
    /// The tenant that was asked.
    pub tenant_id: String,
    /// The application that asked, as it named itself.
    pub app_id: String,
    /// Its service principal, when it is known.
    pub service_principal_id: Option<String>,
    /// The name of that.
    pub service_principal_name: Option<String>,
    /// The compute resource from which a managed identity asked.
    pub origin_resource_id: Option<String>,
    /// What the token is for.
    pub resource_identity: String,
    /// The name of the service or application that it is for.
    pub resource_display_name: Option<String>,
    /// The service principal of the application that it is for.
    pub resource_service_principal_id: Option<String>,
    /// `0` for success, otherwise the number of the refusal.
    pub result_type: String,
    /// The refusal in words; never a secret.
    pub result_description: Option<String>,
    /// The secret or certificate that was used.
    pub service_principal_credential_key_id: Option<String>,
    /// The certificate that was used.
    pub service_principal_credential_thumbprint: Option<String>,
    /// The federated credential that was used.
    pub federated_credential_id: Option<String>,
    /// Equals `uti` of the token.
    pub unique_token_identifier: Option<String>,
}

impl SignIn {
    /// The record of a request, before its outcome is known.
    pub fn of(operation: &OperationContext) -> Self {
        Self {
            time_unix_ms: unix_ms(operation.now),
            id: operation.request_id.to_string(),
            correlation_id: operation.correlation_id.to_string(),
            result_type: "0".to_owned(),
            ..Self::default()
        }
    }
}

/// A call to a vault's data plane.
///
/// Source: Azure Key Vault logging, category `AuditEvent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultAccess {
    /// Unix milliseconds.
    pub time_unix_ms: i64,
    /// Follows the request through answer and log.
    pub correlation_id: String,
    /// The vault's id, in upper case as Azure writes it.
    pub resource_id: String,
    /// `SecretGet`, `SecretSet`, …
    pub operation_name: String,
    /// `Success` or `Failure`.
    pub result_type: &'static str,
    /// The HTTP status of the answer.
    pub http_status_code: u16,
    /// Who called; absent when nobody could be recognised.
    pub principal_id: Option<String>,
    /// The application that called.
    pub app_id: Option<String>,
    /// The object that was asked for, without any value.
    pub object: String,
}

/// The record could not be written: what depends on it must not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written: {0}")]
pub struct AuditError(pub String);

/// The node's own hash-chained audit log.
#[async_trait]
pub trait AuditLog: std::fmt::Debug + Send + Sync + 'static {
    /// Appends one record, batched with its neighbours, and returns when it is on the log.
    async fn append(&self, record: AuditRecord) -> Result<(), AuditError>;
}

/// A moment in the unit of every record: Unix milliseconds.
pub fn unix_ms(at: UtcDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Records a call to a vault, before its answer leaves.
pub async fn record_vault_access(state: &State, access: VaultAccess) -> Result<(), AuditError> {
    state.audit.append(AuditRecord::VaultAccess(access)).await
}
