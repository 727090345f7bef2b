//! What the token service answers to a refusal: number, status, `error`, text.
//!
//! Source: Microsoft identity platform, "Microsoft Entra authentication and authorization error codes".

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use keycard_domain::ids::TenantId;
use keycard_domain::operation::OperationContext;
use keycard_domain::token::federation::{IssuerKeysError, Mismatch};
use keycard_domain::token::grant::GrantError;
use serde::Serialize;
use time::macros::format_description;

use crate::host_names::HostNames;
use crate::request::BodyError;

/// Why the face refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntraError {
    /// The grant was refused.
    Grant(GrantError),
    /// The tenant's name is no known tenant's.
    TenantUnknown(String),
    /// The tenant is not named, but all of them.
    TenantMissing,
    /// A required parameter is missing.
    ParameterMissing(&'static str),
    /// The request contradicts itself: a parameter or a proof stands twice.
    RequestMalformed(&'static str),
    /// The grant type is not offered.
    GrantTypeUnsupported(String),
    /// The scope names no resource.
    ScopeInvalid(String),
    /// The scope does not end in `/.default`.
    ScopeNotDefault(String),
    /// The authority that instance discovery asks about is not one.
    InstanceInvalid,
    /// The body is no form, or not whole.
    Body(BodyError),
    /// The body is of another type.
    ContentTypeWrong,
    /// There is nothing at the path.
    PathUnknown,
    /// The path has other methods.
    MethodNotAllowed,
}

/// A row of the table.
struct Answer {
    number: u32,
    status: StatusCode,
    error: &'static str,
    text: String,
    retry_after_seconds: Option<u32>,
}

fn row(number: u32, status: StatusCode, error: &'static str, text: impl Into<String>) -> Answer {
    Answer { number, status, error, text: text.into(), retry_after_seconds: None }
}

/// Whether a text can name a tenant: a GUID, or a domain.
fn is_tenant_name(text: &str) -> bool {
    let is_domain = text.contains('.')
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
    is_domain || text.parse::<TenantId>().is_ok()
}

impl EntraError {
    /// Number and words for the sign-in log.
    pub(super) fn for_the_log(&self) -> (u32, String) {
        let answer = self.answer();
        (answer.number, answer.text)
    }

    fn answer(&self) -> Answer {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        match self {
            Self::Grant(error) => grant(error),
            Self::TenantUnknown(name) if !is_tenant_name(name) => row(
                900_023,
                BAD,
                "invalid_request",
                format!(
                    "Specified tenant identifier '{}' is neither a valid DNS name, nor a valid external domain.",
                    shown(name)
                ),
            ),
            Self::TenantMissing => row(
                50059,
                BAD,
                "invalid_request",
                "No tenant-identifying information found in either the request or implied by any provided credentials.",
            ),
            Self::TenantUnknown(name) => row(
                90002,
                BAD,
                "invalid_request",
                format!(
                    "Tenant '{}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.",
                    shown(name)
                ),
            ),
            Self::ParameterMissing(name) => row(
                900_144,
                BAD,
                "invalid_request",
                format!("The request body must contain the following parameter: '{name}'."),
            ),
            Self::RequestMalformed(why) => row(
                9_002_313,
                BAD,
                "invalid_request",
                format!("Invalid request. Request is malformed or invalid: {why}."),
            ),
            Self::GrantTypeUnsupported(name) => row(
                70003,
                BAD,
                "unsupported_grant_type",
                format!("The app requested an unsupported grant type '{}'.", shown(name)),
            ),
            Self::ScopeInvalid(scope) => row(
                70011,
                BAD,
                "invalid_scope",
                format!(
                    "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope {} is not valid.",
                    shown(scope)
                ),
            ),
            Self::ScopeNotDefault(scope) => row(
                1_002_012,
                BAD,
                "invalid_scope",
                format!(
                    "The provided value for scope {} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).",
                    shown(scope)
                ),
            ),
            Self::InstanceInvalid => {
                row(50049, BAD, "invalid_instance", "Unknown or invalid instance.")
            }
            Self::Body(BodyError::TooLarge) => row(
                900_144,
                StatusCode::PAYLOAD_TOO_LARGE,
                "invalid_request",
                "The request body is too large.",
            ),
            Self::Body(BodyError::TooSlow) => row(
                900_144,
                StatusCode::REQUEST_TIMEOUT,
                "invalid_request",
                "The request body did not arrive in time.",
            ),
            Self::Body(BodyError::Incomplete) => {
                row(900_144, BAD, "invalid_request", "The request body is incomplete.")
            }
            Self::ContentTypeWrong => row(
                900_144,
                BAD,
                "invalid_request",
                "The request body must be application/x-www-form-urlencoded.",
            ),
            Self::PathUnknown => row(
                90011,
                StatusCode::NOT_FOUND,
                "invalid_request",
                "There is no endpoint of the token service at this path.",
            ),
            Self::MethodNotAllowed => row(
                900_561,
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                "The endpoint does not accept this method.",
            ),
        }
    }
}

fn grant(error: &GrantError) -> Answer {
    const BAD: StatusCode = StatusCode::BAD_REQUEST;
    const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
    match error {
        GrantError::TenantNotFound(tenant) => {
            EntraError::TenantUnknown(tenant.to_string()).answer()
        }
        GrantError::ClientNotFound { client_id, tenant } => row(
            700_016,
            BAD,
            "unauthorized_client",
            format!(
                "Application with identifier '{}' was not found in the directory '{tenant}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.",
                shown(client_id)
            ),
        ),
        GrantError::ProofMissing => row(
            7_000_218,
            UNAUTHORIZED,
            "invalid_client",
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        ),
        GrantError::CertificateRefused(why) => row(
            50017,
            UNAUTHORIZED,
            "invalid_client",
            format!("Validation of the client's certificate failed: {why}."),
        ),
        GrantError::SecretWrong(client) => row(
            7_000_215,
            UNAUTHORIZED,
            "invalid_client",
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client}'."
            ),
        ),
        GrantError::SecretExpired(client) => row(
            7_000_222,
            UNAUTHORIZED,
            "invalid_client",
            format!("The provided client secret keys for app '{client}' are expired."),
        ),
        GrantError::AssertionMalformed(what) => row(
            50027,
            BAD,
            "invalid_request",
            format!("JWT token is invalid or malformed: {what}."),
        ),
        GrantError::AssertionKeyUnknown(client) => row(
            700_027,
            UNAUTHORIZED,
            "invalid_client",
            format!(
                "The certificate with identifier used to sign the client assertion is not registered on application '{client}', or the signature is not of its key."
            ),
        ),
        GrantError::AssertionClaimWrong(claim) => row(
            700_027,
            UNAUTHORIZED,
            "invalid_client",
            format!(
                "Client assertion failed signature validation: the claim '{claim}' is not as it must be."
            ),
        ),
        GrantError::AssertionReplayed => row(
            70_002,
            UNAUTHORIZED,
            "invalid_client",
            "The client assertion was used before. Sign a new one, with another 'jti', for each token request.",
        ),
        GrantError::AssertionOutsideValidity => row(
            700_024,
            UNAUTHORIZED,
            "invalid_client",
            "Client assertion is not within its valid time range.",
        ),
        GrantError::FederationMismatch { mismatch, presented } => {
            federation_mismatch(*mismatch, presented)
        }
        GrantError::FederationKeyUnknown { issuer } => row(
            7_000_272,
            UNAUTHORIZED,
            "invalid_client",
            format!(
                "The key used to sign the federated credential could not be found in the metadata of identity provider {}, or the signature is not its by RS256. Please validate that your Identity Provider's metadata exposes the key used to sign the incoming token.",
                shown(issuer)
            ),
        ),
        GrantError::FederationForbidden { issuer } => row(
            700_222,
            UNAUTHORIZED,
            "invalid_client",
            format!(
                "Tokens issued by '{}' may not be used for this federated identity flow: an application takes those of living managed identities, with the v2.0 issuer, and a managed identity takes none.",
                shown(issuer)
            ),
        ),
        GrantError::IssuerUnavailable { issuer, error } => issuer_unavailable(issuer, error),
        GrantError::ResourceNotFound { resource, tenant } => row(
            500_011,
            BAD,
            "invalid_resource",
            format!(
                "The resource principal named {} was not found in the tenant named {tenant}. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.",
                shown(resource)
            ),
        ),
        GrantError::AssignmentRequired { client_id, resource } => row(
            501_051,
            BAD,
            "invalid_grant",
            format!(
                "Application '{client_id}' is not assigned to a role for the application '{}'.",
                shown(resource)
            ),
        ),
        GrantError::Throttled { retry_after_seconds } => Answer {
            retry_after_seconds: Some(*retry_after_seconds),
            ..row(
                90055,
                StatusCode::TOO_MANY_REQUESTS,
                "temporarily_unavailable",
                "The tenant's rate of token requests is exceeded.",
            )
        },
        GrantError::SigningUnavailable(_) | GrantError::Audit(_) => Answer {
            retry_after_seconds: Some(1),
            ..row(
                90033,
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "A transient error has occurred. Please try again.",
            )
        },
    }
}

fn federation_mismatch(mismatch: Mismatch, presented: &str) -> Answer {
    let (number, claim, but_for_case) = match mismatch {
        Mismatch::Issuer => (700_211, "issuer", ""),
        Mismatch::IssuerCase => (7_002_137, "issuer", BUT_FOR_CASE),
        Mismatch::Subject => (700_213, "subject", ""),
        Mismatch::SubjectCase => (7_002_138, "subject", BUT_FOR_CASE),
        Mismatch::Audience => (700_212, "audience", ""),
    };
    row(
        number,
        StatusCode::UNAUTHORIZED,
        "invalid_client",
        format!(
            "No matching federated identity record found for presented assertion {claim} '{}'.{but_for_case} Check your federated identity credential Subject, Audience and Issuer against the presented assertion.",
            shown(presented)
        ),
    )
}

const BUT_FOR_CASE: &str =
    " It matches with case-insensitive comparison, but not with case-sensitive comparison.";

/// What was found at the issuer's address is for the log only; that it is never asked, and why, is for whoever set it up.
fn issuer_unavailable(issuer: &str, error: &IssuerKeysError) -> Answer {
    let text = "Request to External OIDC endpoint failed.";
    let issuer = shown(issuer);
    match error {
        IssuerKeysError::NotAllowed(why) => row(
            50166,
            StatusCode::BAD_REQUEST,
            "invalid_request",
            format!("{text} The issuer '{issuer}' is not asked for its keys: {why}."),
        ),
        IssuerKeysError::Unreachable(_) | IssuerKeysError::Unusable(_) | IssuerKeysError::Busy => {
            Answer {
                retry_after_seconds: Some(ISSUER_RETRY_SECONDS),
                ..row(
                    50166,
                    StatusCode::SERVICE_UNAVAILABLE,
                    "temporarily_unavailable",
                    format!(
                        "{text} The keys of the issuer '{issuer}' are not known now. Please try again."
                    ),
                )
            }
        }
    }
}

/// As long as a failure is remembered.
const ISSUER_RETRY_SECONDS: u32 = 5;

/// What a stranger wrote, cut to a length that is worth repeating.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// A refusal with what follows the request.
#[derive(Debug)]
pub(super) struct Failure {
    error: EntraError,
    timestamp: String,
    trace_id: String,
    correlation_id: String,
    authority: String,
}

impl Failure {
    pub(super) fn new(error: EntraError, operation: &OperationContext, names: &HostNames) -> Self {
        let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
        Self {
            error,
            timestamp: operation.now.format(&form).unwrap_or_default(),
            trace_id: operation.request_id.to_string(),
            correlation_id: operation.correlation_id.to_string(),
            authority: names.url("login"),
        }
    }
}

#[derive(Serialize)]
struct Body {
    error: &'static str,
    error_description: String,
    error_codes: [u32; 1],
    timestamp: String,
    trace_id: String,
    correlation_id: String,
    error_uri: String,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let answer = self.error.answer();
        let body = Body {
            error: answer.error,
            error_description: format!(
                "AADSTS{}: {} Trace ID: {} Correlation ID: {} Timestamp: {}",
                answer.number, answer.text, self.trace_id, self.correlation_id, self.timestamp
            ),
            error_codes: [answer.number],
            timestamp: self.timestamp,
            error_uri: format!("{}/error?code={}", self.authority, answer.number),
            trace_id: self.trace_id.clone(),
            correlation_id: self.correlation_id.clone(),
        };
        let ids = [("x-ms-request-id", self.trace_id), ("client-request-id", self.correlation_id)];
        let retry_after =
            answer.retry_after_seconds.map(|seconds| [("retry-after", seconds.to_string())]);
        (answer.status, ids, retry_after, Json(body)).into_response()
    }
}
