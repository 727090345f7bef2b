//! What a vault answers to a refusal: status, code, inner code, message, challenge.
//!
//! Source: Azure Key Vault, "REST API error codes"; observed messages.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use keycard_domain::key_vault::Vault;
use keycard_domain::key_vault::authorization::{Denied, SecretPermission};
use keycard_domain::key_vault::secret::SecretError;
use keycard_domain::operation::Principal;
use keycard_domain::rbac::{Decision, Reason};
use keycard_domain::state::WriteError;
use keycard_domain::token::verify::BearerError;
use serde_json::{Value, json};

use crate::request::BodyError;

/// Where a client gets a token, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) authorization: String,
    pub(super) resource: String,
}

impl Challenge {
    /// Comma and one blank between the pairs: the one spelling that every SDK reads.
    fn header(&self) -> String {
        format!("Bearer authorization=\"{}\", resource=\"{}\"", self.authorization, self.resource)
    }
}

/// A token that is not good, with what its holder is told.
#[derive(Clone, Debug)]
pub(super) struct RefusedToken {
    pub(super) error: BearerError,
    pub(super) challenge: Challenge,
    pub(super) issuers: Vec<String>,
}

/// A call that its caller may not make.
#[derive(Clone, Debug)]
pub(super) struct DeniedCall {
    pub(super) denied: Denied,
    pub(super) permission: SecretPermission,
    pub(super) principal: Principal,
    pub(super) vault: Arc<Vault>,
    pub(super) secret: Option<String>,
}

/// Why the face refuses.
#[derive(Clone, Debug)]
pub(super) enum VaultFaceError {
    /// No vault has the host's name.
    VaultNotFound(String),
    /// The request has no token.
    TokenMissing(Challenge),
    /// The token is not good.
    TokenRefused(Box<RefusedToken>),
    /// The token is good, and its holder may not do this.
    Denied(Box<DeniedCall>),
    /// The query has no api-version.
    ApiVersionMissing,
    /// The api-version is not one.
    ApiVersionUnknown(String),
    /// A parameter or member is not as it must be.
    BadParameter(String),
    /// The body cannot be read.
    Body(BodyError),
    /// The operation on the secret is refused.
    Secret(SecretError),
    /// The path is none.
    PathMalformed,
    /// The operation is known and not built.
    Unsupported(&'static str),
    /// There is nothing at the path.
    PathUnknown,
    /// The path has other methods.
    MethodNotAllowed,
    /// The call cannot be recorded, so it is not answered.
    Unavailable,
    /// A bug.
    Internal,
}

impl From<SecretError> for VaultFaceError {
    fn from(error: SecretError) -> Self {
        Self::Secret(error)
    }
}

/// A row of the table: status, code, message, inner code.
struct Answer(StatusCode, &'static str, String, Option<&'static str>);

impl VaultFaceError {
    fn answer(&self) -> Answer {
        match self {
            Self::VaultNotFound(name) => Answer(
                StatusCode::NOT_FOUND,
                "VaultNotFound",
                format!("The vault {name} does not exist."),
                None,
            ),
            Self::TokenMissing(_) => Answer(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "AKV10000: Request is missing a Bearer or PoP token.".to_owned(),
                None,
            ),
            Self::TokenRefused(token) => {
                Answer(StatusCode::UNAUTHORIZED, "Unauthorized", token_message(token), None)
            }
            Self::Denied(call) => denied_answer(call),
            Self::ApiVersionMissing => bad_parameter("api-version must be specified"),
            Self::ApiVersionUnknown(version) => bad_parameter(&format!(
                "The specified version ({version}) is not recognized. Consider using the latest supported version (2025-07-01)."
            )),
            Self::BadParameter(message) => bad_parameter(message),
            Self::Body(error) => body_answer(*error),
            Self::Secret(error) => secret_answer(error),
            Self::PathMalformed => bad_parameter("The path of the request is malformed."),
            Self::Unsupported(what) => Answer(
                StatusCode::NOT_IMPLEMENTED,
                "NotImplemented",
                format!("keycard does not support {what} yet."),
                None,
            ),
            Self::PathUnknown => Answer(
                StatusCode::NOT_FOUND,
                "NotFound",
                "This vault has nothing at this path. keycard serves secrets; keys and certificates are not served yet."
                    .to_owned(),
                None,
            ),
            Self::MethodNotAllowed => Answer(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "The method is not allowed on this path.".to_owned(),
                None,
            ),
            Self::Unavailable => unavailable(),
            Self::Internal => Answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                "An internal error occurred.".to_owned(),
                None,
            ),
        }
    }

    fn challenge(&self) -> Option<String> {
        if let Self::TokenMissing(challenge) = self {
            return Some(challenge.header());
        }
        let Self::TokenRefused(token) = self else { return None };
        Some(format!("{}, error=\"invalid_token\"", token.challenge.header()))
    }
}

fn bad_parameter(message: &str) -> Answer {
    Answer(StatusCode::BAD_REQUEST, "BadParameter", message.to_owned(), None)
}

fn unavailable() -> Answer {
    let message = "The vault cannot be reached now. Please try again.".to_owned();
    Answer(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message, None)
}

fn token_message(token: &RefusedToken) -> String {
    match &token.error {
        BearerError::AudienceWrong { found } => format!(
            "AKV10022: Invalid audience. Expected {}, found: {found}.",
            token.challenge.resource
        ),
        BearerError::IssuerWrong { found } => format!(
            "AKV10032: Invalid issuer. Expected one of {}, found {found}.",
            token.issuers.join(", ")
        ),
        BearerError::Expired { .. } => {
            "AKV10042: The token has expired and cannot be used.".to_owned()
        }
        BearerError::NotYetValid => "AKV10043: The token is not valid yet.".to_owned(),
        BearerError::Revoked => "AKV10044: The token was revoked.".to_owned(),
        BearerError::KeyUnproven => {
            "AKV10047: The token is bound to a certificate that the connection does not present."
                .to_owned()
        }
        BearerError::Malformed => "AKV10045: The token is malformed.".to_owned(),
        BearerError::SignatureWrong => {
            "AKV10046: Unable to resolve the key used for signature validation.".to_owned()
        }
    }
}

fn caller(principal: &Principal) -> String {
    format!("appid={};oid={};iss={}", principal.client_id, principal.principal_id, principal.issuer)
}

fn denied_answer(call: &DeniedCall) -> Answer {
    let forbidden =
        |message, inner| Answer(StatusCode::FORBIDDEN, "Forbidden", message, Some(inner));
    match &call.denied {
        Denied::ByPolicy => forbidden(policy_message(call), "AccessDenied"),
        Denied::ByRbac(decision) => forbidden(rbac_message(decision, call), "ForbiddenByRbac"),
    }
}

/// The vault as refusals name it.
fn place(vault: &Vault) -> String {
    format!("{};location={}", vault.name(), vault.location)
}

fn policy_message(call: &DeniedCall) -> String {
    format!(
        "The user, group or application '{}' does not have secrets {} permission on key vault '{}'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
        caller(&call.principal),
        call.permission.policy_word,
        place(&call.vault)
    )
}

/// The lines of an RBAC refusal, joined with CR LF; the blank after the reason is real.
fn rbac_message(decision: &Decision, call: &DeniedCall) -> String {
    let vault = call.vault.id.with_lowercase_group_segment().replacen(
        "/Microsoft.KeyVault/",
        "/microsoft.keyvault/",
        1,
    );
    let resource = match &call.secret {
        Some(name) => format!("{vault}/secrets/{name}"),
        None => vault,
    };
    let reason = match &decision.reason {
        Reason::Granted(_) | Reason::GrantedByCondition(_) | Reason::NoAssignment => {
            "DeniedWithNoValidRBAC"
        }
        Reason::ConditionNotMet(_) => "DeniedWithABACEvaluationInRA",
        Reason::AttributeMissing(_) => "DeniedWithMissingAttributesInRA",
        Reason::Denied { .. } => "DeniedByDenyAssignment",
    };
    let deny = match &decision.reason {
        Reason::Denied { deny, .. } => format!("'{}'", deny.id),
        Reason::Granted(_)
        | Reason::GrantedByCondition(_)
        | Reason::NoAssignment
        | Reason::ConditionNotMet(_)
        | Reason::AttributeMissing(_) => "null".to_owned(),
    };
    [
        "Caller is not authorized to perform action on resource.".to_owned(),
        "If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.".to_owned(),
        format!("Caller: {}", caller(&call.principal)),
        format!("Action: '{}'", call.permission.data_action),
        format!("Resource: '{resource}'"),
        "Assignment: (not found)".to_owned(),
        format!("DenyAssignmentId: {deny}"),
        format!("DecisionReason: '{reason}' "),
        format!("Vault: {}", place(&call.vault)),
        String::new(),
    ]
    .join("\r\n")
}

fn body_answer(error: BodyError) -> Answer {
    let status = match error {
        BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        BodyError::Incomplete => StatusCode::BAD_REQUEST,
    };
    Answer(status, "BadParameter", format!("{error}."), None)
}

fn secret_answer(error: &SecretError) -> Answer {
    let not_found =
        |message: String| Answer(StatusCode::NOT_FOUND, "SecretNotFound", message, None);
    match error {
        SecretError::NameInvalid => bad_parameter(
            "The request URI contains an invalid name: a secret's name has 1 to 127 letters, digits and dashes.",
        ),
        SecretError::ValueTooLong => {
            bad_parameter("The secret value is too long: at most 25600 characters are allowed.")
        }
        SecretError::TagsInvalid => {
            bad_parameter("Too many or too long tags, or a too long content type.")
        }
        SecretError::TooManyVersions => {
            bad_parameter("The secret has as many versions as a secret may have.")
        }
        SecretError::NotFound(name) => not_found(format!(
            "A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
        )),
        SecretError::DeletedNotFound(name) => not_found(format!("Deleted Secret not found: {name}")),
        SecretError::VaultGone(name) => VaultFaceError::VaultNotFound(name.clone()).answer(),
        SecretError::DeletedButRecoverable(name) => Answer(
            StatusCode::CONFLICT,
            "Conflict",
            format!(
                "Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can only be recovered or purged."
            ),
            Some("ObjectIsDeletedButRecoverable"),
        ),
        SecretError::Disabled => Answer(
            StatusCode::FORBIDDEN,
            "Forbidden",
            "Operation get is not allowed on a disabled secret.".to_owned(),
            Some("SecretDisabled"),
        ),
        SecretError::PurgeProtected => Answer(
            StatusCode::FORBIDDEN,
            "Forbidden",
            "Operation \"purge\" is not allowed because purge protection is enabled for this vault.".to_owned(),
            Some("PurgeNotAllowed"),
        ),
        SecretError::Write(WriteError::Conflict(_)) => Answer(
            StatusCode::CONFLICT,
            "Conflict",
            "The secret is being changed by another request. Please try again.".to_owned(),
            None,
        ),
        SecretError::Write(WriteError::Unavailable(_)) => unavailable(),
        SecretError::Write(WriteError::PreconditionFailed) => Answer(
            StatusCode::PRECONDITION_FAILED,
            "PreconditionFailed",
            "The secret is not there in the required version.".to_owned(),
            None,
        ),
        // Locks bind the control plane, and nothing of this face.
        SecretError::Write(WriteError::Denied(denied)) => {
            Answer(StatusCode::FORBIDDEN, "Forbidden", denied.to_string(), None)
        }
        SecretError::Write(WriteError::TooLarge(_)) => Answer(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            "The secret would be too large.".to_owned(),
            None,
        ),
        SecretError::Write(WriteError::Locked(locked)) => {
            Answer(StatusCode::CONFLICT, "Conflict", locked.to_string(), None)
        }
        SecretError::Unopenable | SecretError::Unreadable(_) => VaultFaceError::Internal.answer(),
    }
}

impl IntoResponse for VaultFaceError {
    fn into_response(self) -> Response {
        let Answer(status, code, message, inner) = self.answer();
        let mut error = json!({ "code": code, "message": message });
        if let (Some(inner), Value::Object(members)) = (inner, &mut error) {
            members.insert("innererror".to_owned(), json!({ "code": inner }));
        }
        let challenge = self.challenge().map(|value| [(header::WWW_AUTHENTICATE, value)]);
        let retry_after =
            (status == StatusCode::SERVICE_UNAVAILABLE).then_some([(header::RETRY_AFTER, "1")]);
        (status, challenge, retry_after, Json(json!({ "error": error }))).into_response()
    }
}
