//! The endpoint of Azure Machine Learning's compute: `GET {MSI_ENDPOINT}?resource=…` with the header `secret`.
//!
//! App Service's first dialect, but that `expires_on` is in digits: SDKs fail on a date here. Microsoft documents no
//! reference for it; this is what the SDKs for Python, JavaScript, Go and .NET send and read.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use keycard_domain::directory::lookup::DefaultRule;
use keycard_domain::token::source::{AccessToken, TokenRequest};
use serde::Serialize;
use uuid::Uuid;

use super::door::{Door, Protocol, Stray};
use super::failure::Failure;
use super::{LocalEndpoint, LocalFace, SelectorError, capabilities, freshness, selector};
use crate::request::Parameters;
use crate::route::{Access, Face, LocalCaller, route};

/// The path of the endpoint.
pub const PATH: &str = "/msi/token";

/// The only api-version that clients send.
const API_VERSION: &str = "2017-09-01";

/// The face.
pub fn face(local: LocalFace) -> Face<LocalFace> {
    let routes = vec![route(Method::GET, PATH, Access::LocalCaller, identity_token)];
    Face::new(routes, Door::<AzureMl>::new(local.clone()), local)
}

struct AzureMl;

impl Protocol for AzureMl {
    type Refusal = Refusal;

    fn check(endpoint: &LocalEndpoint, headers: &HeaderMap) -> Result<(), Refusal> {
        if endpoint.is_opened_by(headers, &["secret"]) { Ok(()) } else { Err(Refusal::SecretWrong) }
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
    if query.non_empty("api-version") != Some(API_VERSION) {
        return Err(Refusal::ApiVersionInvalid);
    }
    if query.has_duplicates() {
        return Err(Refusal::ParameterDuplicate);
    }
    let resource = query.non_empty("resource").ok_or(Refusal::ResourceMissing)?.to_owned();
    let selector = selector(&query, "clientid", &["object_id"]).map_err(|error| match error {
        SelectorError::Several => Refusal::SelectorsExclusive,
        SelectorError::NoIdentity => Refusal::Failure(Failure::IdentityNotFound),
    })?;
    Ok(TokenRequest {
        resource,
        selector,
        default_rule: DefaultRule::OnlyUserAssigned,
        freshness: freshness(&query),
        capabilities: capabilities(&query),
    })
}

#[derive(Serialize)]
struct TokenBody<'a> {
    access_token: &'a str,
    expires_on: String,
    resource: &'a str,
    token_type: &'static str,
}

impl<'a> TokenBody<'a> {
    fn of(token: &'a AccessToken) -> Self {
        Self {
            access_token: token.token.expose(),
            expires_on: token.expires_on.to_string(),
            resource: &token.resource,
            token_type: "Bearer",
        }
    }
}

/// Why the endpoint refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    Stray(Stray),
    SecretWrong,
    ApiVersionInvalid,
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
    /// Status and message.
    fn answer(&self) -> (StatusCode, String) {
        let bad = |text: &str| (StatusCode::BAD_REQUEST, text.to_owned());
        match self {
            Self::Stray(stray) => (stray.status(), stray.text().to_owned()),
            Self::SecretWrong => {
                (StatusCode::UNAUTHORIZED, "The header secret is missing or wrong".to_owned())
            }
            Self::ApiVersionInvalid => {
                bad("The api-version is missing or not supported; use 2017-09-01")
            }
            Self::ParameterDuplicate => bad("A query parameter is given more than once"),
            Self::SelectorsExclusive => {
                bad("Only one of clientid, object_id and msi_res_id may be given")
            }
            Self::ResourceMissing => bad("The query parameter resource is missing"),
            Self::Failure(failure) => (failure.status(), failure.text()),
        }
    }

    fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::Failure(failure) => failure.retry_after_seconds(),
            Self::Stray(_)
            | Self::SecretWrong
            | Self::ApiVersionInvalid
            | Self::ParameterDuplicate
            | Self::SelectorsExclusive
            | Self::ResourceMissing => None,
        }
    }

    fn into_answer(self, correlation_id: Uuid) -> Response {
        let (status, message) = self.answer();
        let seconds = self.retry_after_seconds();
        let retry_after = seconds.map(|seconds| [(header::RETRY_AFTER, seconds.to_string())]);
        let status_code = status.as_u16();
        (status, retry_after, Json(ErrorBody { status_code, message, correlation_id }))
            .into_response()
    }
}

/// The shape of App Service.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody {
    status_code: u16,
    message: String,
    correlation_id: Uuid,
}
