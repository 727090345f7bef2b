//! The endpoint of Azure Machine Learning's compute: `GET {MSI_ENDPOINT}?resource=…` with the header `secret`.
//!
//! App Service's first dialect, but that `expires_on` is in digits: SDKs fail on a date here. Microsoft documents no
//! reference for it; this is what the SDKs for Python, JavaScript, Go and .NET send and read.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, Uri};
use keycard_domain::directory::lookup::DefaultRule;
use keycard_domain::token::source::{AccessToken, TokenRequest};
use serde::Serialize;
use uuid::Uuid;

use super::door::{Door, Protocol};
use super::failure::Failure;
use super::msi_refusal::{MsiRefusal, Words};
use super::{LocalEndpoint, LocalFace, capabilities, freshness, selector};
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
    type Refusal = MsiRefusal;

    fn check(endpoint: &LocalEndpoint, headers: &HeaderMap) -> Result<(), MsiRefusal> {
        let is_opened = endpoint.is_opened_by(headers, &["secret"]);
        is_opened.then_some(()).ok_or(MsiRefusal::SecretWrong)
    }

    fn answer(refusal: MsiRefusal, correlation_id: Uuid) -> Response {
        refusal.into_answer(&WORDS, correlation_id)
    }
}

const WORDS: Words = Words {
    secret_header: "secret",
    api_versions: API_VERSION,
    selectors: "clientid, object_id and msi_res_id",
};

async fn identity_token(
    LocalCaller(operation): LocalCaller,
    State(local): State<LocalFace>,
    uri: Uri,
) -> Response {
    let refused = |refusal: MsiRefusal| refusal.into_answer(&WORDS, operation.correlation_id);
    let request = match parse(&uri) {
        Ok(request) => request,
        Err(refusal) => return refused(refusal),
    };
    match local.tokens.acquire(&operation, request).await {
        Ok(token) => Json(TokenBody::of(&token)).into_response(),
        Err(error) => refused(Failure::from(error).into()),
    }
}

fn parse(uri: &Uri) -> Result<TokenRequest, MsiRefusal> {
    let query = Parameters::of(uri);
    if query.non_empty("api-version") != Some(API_VERSION) {
        return Err(MsiRefusal::ApiVersionInvalid);
    }
    if query.has_duplicates() {
        return Err(MsiRefusal::ParameterDuplicate);
    }
    let resource = query.non_empty("resource").ok_or(MsiRefusal::ResourceMissing)?.to_owned();
    Ok(TokenRequest {
        resource,
        selector: selector(&query, "clientid", &["object_id"])?,
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
