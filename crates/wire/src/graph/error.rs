//! What Microsoft Graph answers to a refusal: status, code, message, and the ids that follow the request. What the nouns of
//! the directory are refused for has a room of its own, [`directory`].
//!
//! Source: Microsoft Graph, "Microsoft Graph error responses and resource types"; observed errors of the directory.

mod directory;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, Uri, header};
use keycard_domain::directory::app_role_assignment::AppRoleAssignmentError;
use keycard_domain::directory::application::registration::ApplicationError;
use keycard_domain::directory::deleted_object::DeletedObjectError;
use keycard_domain::directory::federated_credential::FederatedCredentialError;
use keycard_domain::directory::group::GroupError;
use keycard_domain::directory::policy::management::PolicyError;
use keycard_domain::directory::service_principal::ServicePrincipalError;
use keycard_domain::token::verify::BearerError;
use serde_json::json;
use time::UtcDateTime;
use time::macros::format_description;

use crate::request::{BodyError, RequestIds};

/// Why the face refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GraphError {
    TokenMissing,
    TokenRefused(BearerError),
    Forbidden,
    VersionUnknown(String),
    PathMalformed,
    PathUnknown(String),
    MethodNotAllowed,
    Body(BodyError),
    BodyMalformed(String),
    PropertyInvalid { resource: &'static str, property: String, why: String },
    PropertyUnknown { resource: &'static str, property: String },
    NotDelegated,
    QueryUnsupported(String),
    IdMalformed(String),
    NotFound(String),
    Group(GroupError),
    Application(ApplicationError),
    ServicePrincipal(ServicePrincipalError),
    AppRoleAssignment(AppRoleAssignmentError),
    Policy(PolicyError),
    DeletedObject(DeletedObjectError),
    FederatedCredential(FederatedCredentialError),
}

/// A row of the table: status, code, message.
struct Answer(StatusCode, &'static str, String);

const BAD: StatusCode = StatusCode::BAD_REQUEST;
/// What the directory refuses for what is in the request.
const BAD_REQUEST: &str = "Request_BadRequest";

macro_rules! from_domain {
    ($($error:ident => $variant:ident),+ $(,)?) => {$(
        impl From<$error> for GraphError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )+};
}

from_domain! {
    GroupError => Group,
    ApplicationError => Application,
    ServicePrincipalError => ServicePrincipal,
    AppRoleAssignmentError => AppRoleAssignment,
    PolicyError => Policy,
    DeletedObjectError => DeletedObject,
}

impl From<FederatedCredentialError> for GraphError {
    fn from(error: FederatedCredentialError) -> Self {
        Self::FederatedCredential(error)
    }
}

impl GraphError {
    /// A property with a value that it cannot have.
    pub(super) fn invalid(resource: &'static str, property: &str, why: impl Into<String>) -> Self {
        Self::PropertyInvalid { resource, property: property.to_owned(), why: why.into() }
    }

    /// A path that no row matches.
    pub(super) fn path_unknown(uri: &Uri) -> Self {
        Self::PathUnknown(uri.path().chars().take(200).collect())
    }

    fn answer(&self) -> Answer {
        match self {
            Self::TokenMissing => unauthorized("Access token is empty."),
            Self::TokenRefused(error) => token(error),
            Self::Forbidden => Answer(
                StatusCode::FORBIDDEN,
                "Authorization_RequestDenied",
                "Insufficient privileges to complete the operation.".to_owned(),
            ),
            Self::VersionUnknown(version) => {
                Answer(BAD, "BadRequest", format!("Invalid version: '{version}'."))
            }
            Self::PathMalformed => Answer(
                BAD,
                "BadRequest",
                "The path or query of the request is malformed.".to_owned(),
            ),
            Self::PathUnknown(path) => Answer(
                BAD,
                "BadRequest",
                format!("keycard's Microsoft Graph does not serve '{path}' yet."),
            ),
            Self::MethodNotAllowed => Answer(
                StatusCode::METHOD_NOT_ALLOWED,
                "Request_BadRequest",
                "Specified HTTP method is not allowed for the request target.".to_owned(),
            ),
            Self::Body(error) => body(*error),
            Self::BodyMalformed(reason) => {
                Answer(BAD, BAD_REQUEST, format!("Unable to read JSON request payload: {reason}."))
            }
            Self::PropertyInvalid { resource, property, why } => Answer(
                BAD,
                BAD_REQUEST,
                format!(
                    "Invalid value specified for property '{property}' of resource '{resource}': {why}."
                ),
            ),
            Self::PropertyUnknown { resource, property } => Answer(
                BAD,
                BAD_REQUEST,
                format!(
                    "keycard does not have property '{property}' of resource '{resource}' with such a value."
                ),
            ),
            Self::NotDelegated => Answer(
                BAD,
                BAD_REQUEST,
                "/me request is only valid with delegated authentication flow.".to_owned(),
            ),
            Self::QueryUnsupported(what) => Answer(
                BAD,
                "Request_UnsupportedQuery",
                format!("Unsupported or invalid query option: '{what}'."),
            ),
            Self::IdMalformed(id) => {
                Answer(BAD, BAD_REQUEST, format!("Invalid object identifier '{id}'."))
            }
            Self::NotFound(id) => not_found(id),
            Self::Group(error) => directory::group(error),
            Self::Application(error) => directory::application(error),
            Self::ServicePrincipal(error) => directory::service_principal(error),
            Self::AppRoleAssignment(error) => directory::app_role_assignment(error),
            Self::Policy(error) => directory::policy(error),
            Self::DeletedObject(error) => directory::deleted_object(error),
            Self::FederatedCredential(error) => directory::federated_credential(error),
        }
    }
}

fn unauthorized(message: &str) -> Answer {
    Answer(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message.to_owned())
}

fn token(error: &BearerError) -> Answer {
    match error {
        BearerError::Malformed => unauthorized("IDX14100: JWT is not well formed."),
        BearerError::Expired { .. } => {
            unauthorized("Lifetime validation failed, the token is expired.")
        }
        BearerError::NotYetValid => {
            unauthorized("Lifetime validation failed, the token is not valid yet.")
        }
        BearerError::AudienceWrong { .. } => {
            unauthorized("Access token validation failure. Invalid audience.")
        }
        BearerError::IssuerWrong { .. } => {
            unauthorized("Access token validation failure. Invalid issuer.")
        }
        BearerError::KeyUnproven => unauthorized(
            "Access token validation failure. The token is bound to a certificate that was not presented.",
        ),
        BearerError::SignatureWrong | BearerError::Revoked => {
            unauthorized("Access token validation failure.")
        }
    }
}

fn body(error: BodyError) -> Answer {
    match error {
        BodyError::TooLarge => Answer(
            StatusCode::PAYLOAD_TOO_LARGE,
            BAD_REQUEST,
            "The request content is too large.".to_owned(),
        ),
        BodyError::TooSlow => Answer(
            StatusCode::REQUEST_TIMEOUT,
            BAD_REQUEST,
            "The request content did not arrive in time.".to_owned(),
        ),
        BodyError::Incomplete => {
            Answer(BAD, BAD_REQUEST, "The request content is incomplete.".to_owned())
        }
    }
}

fn not_found(id: &str) -> Answer {
    Answer(
        StatusCode::NOT_FOUND,
        "Request_ResourceNotFound",
        format!(
            "Resource '{id}' does not exist or one of its queried reference-property objects are not present."
        ),
    )
}

/// The body is written when the answer leaves, with the ids of the request: [`render`].
impl IntoResponse for GraphError {
    fn into_response(self) -> Response {
        let mut response = self.answer().0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of a refusal, and the ids of every answer.
pub(super) fn render(response: &mut Response, ids: &RequestIds, now: UtcDateTime) {
    let (request_id, client_id) = (ids.request_id.to_string(), ids.correlation_id.to_string());
    if let Some(error) = response.extensions_mut().remove::<GraphError>() {
        let Answer(status, code, message) = error.answer();
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
        let body = json!({ "error": { "code": code, "message": message, "innerError": {
            "date": now.format(format).ok(),
            "request-id": request_id,
            "client-request-id": client_id,
        }}});
        *response.body_mut() = Body::from(body.to_string());
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if status == StatusCode::UNAUTHORIZED {
            let challenge = "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", client_id=\"00000003-0000-0000-c000-000000000000\"";
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
    }
    for (name, value) in [("request-id", request_id), ("client-request-id", client_id)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
}
