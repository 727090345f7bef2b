//! The endpoint of a Service Fabric node: `GET {IDENTITY_ENDPOINT}?resource=…` over TLS, with the header `Secret`.
//!
//! Source: Microsoft Learn, "How to leverage a Service Fabric application's managed identity to access Azure services".
//! Clients pin the certificate by its SHA-1, or verify it as any other.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri};
use keycard_domain::directory::lookup::DefaultRule;
use keycard_domain::fault::EndpointFault;
use keycard_domain::token::source::{AccessToken, TokenRequest};
use serde::Serialize;
use uuid::Uuid;

use super::door::{Door, Protocol, Stray};
use super::failure::{Failure, retry_after};
use super::{LocalEndpoint, LocalFace, SelectorError, capabilities, freshness, selector};
use crate::request::Parameters;
use crate::route::{Access, Face, LocalCaller, route};

/// The path of the endpoint.
pub const PATH: &str = "/metadata/identity/oauth2/token";

/// The header of the secret that only the workload was given.
const SECRET: &str = "secret";

/// The api-versions that clients send: those for Python, Node and Go the first, that for .NET the second.
const API_VERSIONS: &[&str] = &["2019-07-01-preview", "2020-05-01"];

/// The face.
pub fn face(local: LocalFace) -> Face<LocalFace> {
    let routes = vec![route(Method::GET, PATH, Access::LocalCaller, identity_token)];
    Face::new(routes, Door::<ServiceFabric>::new(local.clone()), local)
}

struct ServiceFabric;

impl Protocol for ServiceFabric {
    type Refusal = Refusal;

    fn check(endpoint: &LocalEndpoint, headers: &HeaderMap) -> Result<(), Refusal> {
        if !headers.contains_key(SECRET) {
            return Err(Refusal::SecretMissing);
        }
        if endpoint.is_opened_by(headers, &[SECRET]) { Ok(()) } else { Err(Refusal::SecretUnknown) }
    }

    fn answer(refusal: Refusal, correlation_id: Uuid) -> Response {
        refusal.into_answer(correlation_id)
    }
}

async fn identity_token(
    LocalCaller(operation): LocalCaller,
    State(local): State<LocalFace>,
    uri: Uri,
) -> Response {
    let failed = |refusal: Refusal| refusal.into_answer(operation.correlation_id);
    let request = match parse(&uri) {
        Ok(request) => request,
        Err(refusal) => return failed(refusal),
    };
    match local.tokens.acquire(&operation, request).await {
        Ok(token) => Json(TokenBody::of(&token)).into_response(),
        Err(error) => failed(Refusal::Failure(error.into())),
    }
}

fn parse(uri: &Uri) -> Result<TokenRequest, Refusal> {
    let query = Parameters::of(uri);
    let version = query.get("api-version").unwrap_or_default();
    if !API_VERSIONS.contains(&version) {
        return Err(Refusal::ApiVersionInvalid(version.chars().take(VERSION_CHARS_MAX).collect()));
    }
    if query.has_duplicates() {
        return Err(Refusal::ParameterDuplicate);
    }
    let resource = query.non_empty("resource").ok_or(Refusal::ResourceMissing)?.to_owned();
    let selector = selector(&query, "client_id", &["object_id", "principalId"]).map_err(
        |error| match error {
            SelectorError::Several => Refusal::SelectorsExclusive,
            SelectorError::NoIdentity => Refusal::Failure(Failure::IdentityNotFound),
        },
    )?;
    Ok(TokenRequest {
        resource,
        selector,
        default_rule: DefaultRule::OnlyUserAssigned,
        freshness: freshness(&query),
        capabilities: capabilities(&query),
    })
}

/// Characters of a wrong api-version that its refusal repeats.
const VERSION_CHARS_MAX: usize = 32;

/// The answer; `expires_on` is a number, as documented.
#[derive(Serialize)]
struct TokenBody<'a> {
    token_type: &'static str,
    access_token: &'a str,
    expires_on: i64,
    resource: &'a str,
}

impl<'a> TokenBody<'a> {
    fn of(token: &'a AccessToken) -> Self {
        Self {
            token_type: "Bearer",
            access_token: token.token.expose(),
            expires_on: token.expires_on,
            resource: &token.resource,
        }
    }
}

/// Why the endpoint refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    Stray(Stray),
    SecretMissing,
    SecretUnknown,
    ApiVersionInvalid(String),
    ParameterDuplicate,
    SelectorsExclusive,
    ResourceMissing,
    Failure(Failure),
}

impl From<Stray> for Refusal {
    fn from(stray: Stray) -> Self {
        Self::Stray(stray)
    }
}

impl Refusal {
    /// Status, code and message.
    fn answer(&self) -> (StatusCode, &'static str, String) {
        let bad = |code, text: &str| (StatusCode::BAD_REQUEST, code, text.to_owned());
        match self {
            Self::Stray(stray) => (stray.status(), stray.code(), stray.text().to_owned()),
            Self::SecretMissing => {
                bad("SecretHeaderNotFound", "Secret is not found in the request headers.")
            }
            Self::SecretUnknown => (
                StatusCode::NOT_FOUND,
                "ManagedIdentityNotFound",
                "Managed identity not found: the secret is not known.".to_owned(),
            ),
            Self::ApiVersionInvalid(version) => bad(
                "InvalidApiVersion",
                &format!(
                    "The api-version '{version}' is not supported. Supported version is '2019-07-01-preview'."
                ),
            ),
            Self::ParameterDuplicate => {
                bad("InvalidRequest", "A query parameter is given more than once.")
            }
            Self::SelectorsExclusive => bad(
                "InvalidRequest",
                "Only one of client_id, object_id and mi_res_id may be given.",
            ),
            Self::ResourceMissing => bad(
                "ArgumentNullOrEmpty",
                "The parameter 'resource' should not be null or empty string.",
            ),
            Self::Failure(failure) => failed(failure),
        }
    }

    fn into_answer(self, correlation_id: Uuid) -> Response {
        let (status, code, message) = self.answer();
        let retry_after =
            if let Self::Failure(failure) = &self { retry_after(failure) } else { None };
        let error = ErrorDetails { correlation_id, code, message };
        (status, retry_after, Json(ErrorBody { error })).into_response()
    }
}

/// A node says 404 where the application has no such identity.
fn failed(failure: &Failure) -> (StatusCode, &'static str, String) {
    let code = match failure {
        Failure::IdentityNotFound | Failure::SeveralIdentities => {
            return (StatusCode::NOT_FOUND, "ManagedIdentityNotFound", failure.text());
        }
        Failure::NotRunning | Failure::RoleRequired { .. } => "InvalidRequest",
        Failure::ResourceUnknown { .. } => "InvalidResource",
        Failure::Fault(EndpointFault::TooManyRequests { .. }) | Failure::Throttled { .. } => {
            "TooManyRequests"
        }
        Failure::Fault(EndpointFault::Updating | EndpointFault::ServerError(_)) => {
            "InternalServerError"
        }
        Failure::Unavailable { .. } => "InternalServerError",
    };
    (failure.status(), code, failure.text())
}

#[derive(Serialize)]
struct ErrorBody {
    error: ErrorDetails,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorDetails {
    correlation_id: Uuid,
    code: &'static str,
    message: String,
}
