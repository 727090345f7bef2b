//! What Microsoft Graph answers to a refusal: status, code, message, and the ids that follow the request.
//!
//! Source: Microsoft Graph, "Microsoft Graph error responses and resource types"; observed errors of the directory.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, Uri, header};
use keycard_domain::directory::federated_credential::FederatedCredentialError;
use keycard_domain::directory::group::GroupError;
use keycard_domain::state::WriteError;
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
    PropertyInvalid { property: &'static str, why: &'static str },
    QueryUnsupported(String),
    IdMalformed(String),
    NotFound(String),
    Group(GroupError),
    FederatedCredential(FederatedCredentialError),
}

/// A row of the table: status, code, message.
struct Answer(StatusCode, &'static str, String);

const BAD: StatusCode = StatusCode::BAD_REQUEST;
/// What the directory refuses for what is in the request.
const BAD_REQUEST: &str = "Request_BadRequest";

impl From<GroupError> for GraphError {
    fn from(error: GroupError) -> Self {
        Self::Group(error)
    }
}

impl From<FederatedCredentialError> for GraphError {
    fn from(error: FederatedCredentialError) -> Self {
        Self::FederatedCredential(error)
    }
}

impl GraphError {
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
            Self::PropertyInvalid { property, why } => Answer(
                BAD,
                BAD_REQUEST,
                format!(
                    "Invalid value specified for property '{property}' of resource 'Group': {why}."
                ),
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
            Self::Group(error) => group(error),
            Self::FederatedCredential(error) => federated_credential(error),
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

fn group(error: &GroupError) -> Answer {
    let invalid = |property, why| GraphError::PropertyInvalid { property, why }.answer();
    let quota = |what: &str| {
        Answer(
            BAD,
            "Directory_QuotaExceeded",
            format!("The directory's quota is exceeded: {what}."),
        )
    };
    match error {
        GroupError::NotFound(id) | GroupError::MemberNotFound(id) => not_found(&id.to_string()),
        GroupError::DisplayNameInvalid => {
            invalid("displayName", "it has to have 1 to 256 characters")
        }
        GroupError::MailNicknameInvalid => invalid(
            "mailNickname",
            "it has to have 1 to 64 ASCII characters without blanks and without @ ( ) \\ [ ] \" ; : < > ,",
        ),
        GroupError::DescriptionTooLong => {
            invalid("description", "it has to have at most 1024 characters")
        }
        GroupError::AlreadyMember(_) => Answer(
            BAD,
            BAD_REQUEST,
            "One or more added object references already exist for the following modified properties: 'members'."
                .to_owned(),
        ),
        GroupError::OwnMember => Answer(
            BAD,
            BAD_REQUEST,
            "Invalid object reference: a group cannot be a member of itself.".to_owned(),
        ),
        GroupError::LimitReached => quota("it has 50000 groups"),
        GroupError::TooManyMembers => quota("the group has 10000 members"),
        GroupError::TooManyGroups(id) => quota(&format!("'{id}' is in 500 groups")),
        GroupError::Write(WriteError::Conflict(_)) => Answer(
            StatusCode::CONFLICT,
            "Request_MultipleObjectsWithSameKeyValue",
            "The object is being changed by other requests. Please try again.".to_owned(),
        ),
        GroupError::Write(WriteError::Unavailable(_)) => Answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "serviceNotAvailable",
            "The change cannot be written now. Please try again.".to_owned(),
        ),
    }
}

fn federated_credential(error: &FederatedCredentialError) -> Answer {
    let bad = |message: &str| Answer(BAD, BAD_REQUEST, message.to_owned());
    let taken = |message: String| {
        Answer(StatusCode::CONFLICT, "Request_MultipleObjectsWithSameKeyValue", message)
    };
    match error {
        FederatedCredentialError::ApplicationNotFound(id) => not_found(&id.to_string()),
        FederatedCredentialError::IdentityNotFound(id) => not_found(id.as_str()),
        FederatedCredentialError::NotFound(name) => not_found(name),
        FederatedCredentialError::NameInvalid(name) => bad(&format!(
            "Federated Identity Credential name '{name}' is invalid: it has to have 3 to 120 letters, digits, '-' and '_', and begins with one of the first two."
        )),
        FederatedCredentialError::NameTaken(name) => {
            taken(format!("FederatedIdentityCredential with name {name} already exists."))
        }
        FederatedCredentialError::Duplicate => {
            taken("Issuer and subject combination already exists for this application.".to_owned())
        }
        FederatedCredentialError::Incomplete => {
            bad("Federated Identity Credential needs name, issuer, subject and audiences.")
        }
        FederatedCredentialError::AudienceCount => {
            bad("Federated identity credentials must have exactly one audience.")
        }
        FederatedCredentialError::SubjectAndExpression => {
            bad("Exactly one of 'subject' and 'claimsMatchingExpression' must be specified.")
        }
        FederatedCredentialError::Expression(error) => {
            bad(&format!("The claimsMatchingExpression is invalid: {error}."))
        }
        FederatedCredentialError::TooLong(what) => bad(&format!(
            "The {what} of a Federated Identity Credential has at most 600 characters."
        )),
        FederatedCredentialError::IssuerInvalid => {
            bad("The issuer of a Federated Identity Credential must be an https URL.")
        }
        FederatedCredentialError::LimitReached(max) => Answer(
            BAD,
            "Directory_QuotaExceeded",
            format!(
                "Too many Federated Identity Credentials are defined on the object. The maximum is {max}."
            ),
        ),
        // Only identities lie in a subscription, and this face has none of them.
        FederatedCredentialError::Resource(error) => not_found(&error.to_string()),
        FederatedCredentialError::Write(WriteError::Conflict(_)) => {
            taken("The object is being changed by other requests. Please try again.".to_owned())
        }
        FederatedCredentialError::Write(WriteError::Unavailable(_)) => Answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "serviceNotAvailable",
            "The change cannot be written now. Please try again.".to_owned(),
        ),
    }
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
