//! The token service's port: a client proves itself and is granted a token.

use async_trait::async_trait;
use keycard_crypto::secret::Secret;

use super::federation::{IssuerKeysError, Mismatch};
use crate::audit::AuditError;
use crate::credential::key_binding::CertificateRefusal;
use crate::ids::{ClientId, TenantId};
use crate::operation::OperationContext;

/// How a client proves itself.
#[derive(Clone, Debug)]
pub enum ClientProof {
    /// With a client secret.
    Secret(Secret),
    /// With a JWT signed by a key that is registered for the client.
    Assertion(Secret),
    /// With a certificate (DER) whose key it proved to hold on its connection; the token is bound to it.
    Certificate(Vec<u8>),
}

/// A client credentials grant.
#[derive(Clone, Debug)]
pub struct GrantRequest {
    /// The tenant that is asked.
    pub tenant: TenantId,
    /// The client, as it names itself.
    pub client_id: String,
    /// Its proof; absent when it gave none.
    pub proof: Option<ClientProof>,
    /// What the token is for.
    pub resource: String,
    /// Client capabilities to be put into the token as `xms_cc`.
    pub capabilities: Vec<String>,
}

/// A token that was granted.
#[derive(Clone, Debug)]
pub struct GrantedToken {
    /// The JWT.
    pub token: Secret,
    /// The client it was granted to.
    pub client_id: ClientId,
    /// What it is for: the claim `aud`.
    pub resource: String,
    /// Unix seconds: the claim `nbf`.
    pub not_before: i64,
    /// Unix seconds: the claim `exp`.
    pub expires_on: i64,
    /// Whole seconds until `exp`.
    pub expires_in: i64,
    /// Whether it is bound to the certificate with which the client proved itself.
    pub is_bound: bool,
}

/// Why no token is granted. The numbers and texts a caller reads stand in the faces.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// There is no such tenant.
    #[error("tenant {0} does not exist")]
    TenantNotFound(TenantId),
    /// There is no such application in the tenant, or it is disabled.
    #[error("application {client_id} is not in tenant {tenant}")]
    ClientNotFound {
        /// As the client named itself.
        client_id: String,
        /// Where it was looked for.
        tenant: TenantId,
    },
    /// The client gave no proof.
    #[error("the client gave no secret and no assertion")]
    ProofMissing,
    /// The client secret is wrong.
    #[error("wrong client secret for {0}")]
    SecretWrong(ClientId),
    /// The client secret has expired.
    #[error("expired client secret for {0}")]
    SecretExpired(ClientId),
    /// The certificate that the client presented proves nothing for it.
    #[error("the client's certificate is refused: {0}")]
    CertificateRefused(CertificateRefusal),
    /// The assertion is no JWT.
    #[error("the assertion is malformed: {0}")]
    AssertionMalformed(&'static str),
    /// The key is not registered for the client, or the signature is not its.
    #[error("the assertion is not signed by a registered key of {0}")]
    AssertionKeyUnknown(ClientId),
    /// The assertion is outside its validity, or valid for too long.
    #[error("the assertion is not within its valid time")]
    AssertionOutsideValidity,
    /// The assertion got its token already.
    #[error("the assertion was used before")]
    AssertionReplayed,
    /// The assertion is meant for another service, or speaks of another client.
    #[error("the assertion's {0} is not as it must be")]
    AssertionClaimWrong(&'static str),
    /// No federated credential of the client takes the assertion.
    #[error("no federated credential takes the assertion: {} is `{presented}`", mismatch.as_str())]
    FederationMismatch {
        /// What does not fit.
        mismatch: Mismatch,
        /// As it stands in the assertion, cut to a length that is worth repeating.
        presented: String,
    },
    /// The assertion is not signed with RS256 by a key of its issuer.
    #[error("the assertion is not signed by a key of its issuer {issuer}")]
    FederationKeyUnknown {
        /// The issuer.
        issuer: String,
    },
    /// A token of this keycard proves nothing for this client.
    #[error("a token of {issuer} proves nothing for this client")]
    FederationForbidden {
        /// The issuer.
        issuer: String,
    },
    /// The keys of the assertion's issuer are not known.
    #[error("the keys of {issuer} are not known: {error}")]
    IssuerUnavailable {
        /// The issuer.
        issuer: String,
        /// Why.
        error: IssuerKeysError,
    },
    /// No service is known under the requested resource.
    #[error("resource {resource} is not in tenant {tenant}")]
    ResourceNotFound {
        /// As the client wrote it.
        resource: String,
        /// Where it was looked for.
        tenant: TenantId,
    },
    /// The resource gives tokens only to those who were given one of its roles.
    #[error("application {client_id} was given no role at {resource}")]
    AssignmentRequired {
        /// Who asked.
        client_id: ClientId,
        /// As the client wrote it.
        resource: String,
    },
    /// More tokens per second than the tenant may have.
    #[error("the tenant's token rate is exceeded")]
    Throttled {
        /// When to try again.
        retry_after_seconds: u32,
    },
    /// The token cannot be signed now.
    #[error("tokens cannot be signed now: {0}")]
    SigningUnavailable(&'static str),
    /// The token cannot be recorded, so it is not given out.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl GrantError {
    /// The refusal's number in the sign-in log, as Entra writes it; `1` where it has none.
    pub const fn result_type(&self) -> &'static str {
        match self {
            Self::TenantNotFound(_) => "90002",
            Self::ClientNotFound { .. } => "700016",
            Self::ProofMissing => "7000218",
            Self::SecretWrong(_) => "7000215",
            Self::SecretExpired(_) => "7000222",
            Self::CertificateRefused(_) => "50017",
            Self::AssertionMalformed(_) => "50027",
            Self::AssertionKeyUnknown(_) | Self::AssertionClaimWrong(_) => "700027",
            Self::AssertionReplayed => "70002",
            Self::AssertionOutsideValidity => "700024",
            Self::FederationMismatch { mismatch, .. } => match mismatch {
                Mismatch::Issuer => "700211",
                Mismatch::IssuerCase => "7002137",
                Mismatch::Subject => "700213",
                Mismatch::SubjectCase => "7002138",
                Mismatch::Audience => "700212",
            },
            Self::FederationKeyUnknown { .. } => "7000272",
            Self::FederationForbidden { .. } => "700222",
            Self::IssuerUnavailable { .. } => "50166",
            Self::ResourceNotFound { .. } => "500011",
            Self::AssignmentRequired { .. } => "501051",
            Self::Throttled { .. } => "90055",
            Self::SigningUnavailable(_) | Self::Audit(_) => "90033",
        }
    }
}

/// A request that was refused before anybody could be asked to grant it.
#[derive(Clone, Debug)]
pub struct RefusedRequest {
    /// The tenant that is asked, as the client names it.
    pub tenant: String,
    /// The client, as it names itself.
    pub client_id: String,
    /// What the token should have been for.
    pub resource: String,
    /// The refusal's number in the sign-in log.
    pub result_type: String,
    /// The refusal in words; never a secret.
    pub description: String,
}

/// Grants tokens to clients that prove themselves.
#[async_trait]
pub trait TokenService: std::fmt::Debug + Send + Sync + 'static {
    /// Verifies the client, signs the token, records both.
    async fn grant(
        &self,
        operation: &OperationContext,
        request: GrantRequest,
    ) -> Result<GrantedToken, GrantError>;

    /// Records a request that a face refused by itself.
    async fn note_refusal(
        &self,
        operation: &OperationContext,
        refused: RefusedRequest,
    ) -> Result<(), GrantError>;
}
