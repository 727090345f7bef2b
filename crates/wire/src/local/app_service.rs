//! The endpoint of App Service and Functions: `GET {IDENTITY_ENDPOINT}?resource=…` with the secret header.
//!
//! Source: Microsoft Learn, "How to use managed identities for App Service and Azure Functions", REST endpoint reference.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, Uri};
use keycard_domain::directory::lookup::DefaultRule;
use keycard_domain::token::source::{AccessToken, TokenRequest};
use serde::Serialize;
use time::UtcDateTime;
use time::macros::format_description;
use uuid::Uuid;

use super::door::{Door, Protocol};
use super::failure::Failure;
use super::msi_refusal::{MsiRefusal, Words};
use super::{LocalEndpoint, LocalFace, capabilities, freshness, selector};
use crate::request::Parameters;
use crate::route::{Access, Face, LocalCaller, route};

/// The path of the endpoint.
pub const PATH: &str = "/msi/token";

/// The face.
pub fn face(local: LocalFace) -> Face<LocalFace> {
    let routes = vec![route(Method::GET, PATH, Access::LocalCaller, identity_token)];
    Face::new(routes, Door::<AppService>::new(local.clone()), local)
}

struct AppService;

impl Protocol for AppService {
    type Refusal = MsiRefusal;

    fn check(endpoint: &LocalEndpoint, headers: &HeaderMap) -> Result<(), MsiRefusal> {
        let is_opened = endpoint.is_opened_by(headers, SECRET_HEADERS);
        is_opened.then_some(()).ok_or(MsiRefusal::SecretWrong)
    }

    fn answer(refusal: MsiRefusal, correlation_id: Uuid) -> Response {
        refusal.into_answer(&WORDS, correlation_id)
    }
}

const WORDS: Words = Words {
    secret_header: "X-IDENTITY-HEADER",
    api_versions: "2019-08-01 or 2017-09-01",
    selectors: "client_id, principal_id and mi_res_id",
};

/// The names of the header with the workload's secret: today's, and that of the first dialect.
const SECRET_HEADERS: &[&str] = &["x-identity-header", "secret"];

/// The two dialects of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    /// `api-version=2019-08-01` and later.
    Current,
    /// `api-version=2017-09-01`: other parameter names, dates as text.
    Legacy,
}

async fn identity_token(
    LocalCaller(operation): LocalCaller,
    State(local): State<LocalFace>,
    uri: Uri,
) -> Response {
    let refused = |refusal: MsiRefusal| refusal.into_answer(&WORDS, operation.correlation_id);
    let (dialect, request) = match parse(&uri) {
        Ok(parsed) => parsed,
        Err(refusal) => return refused(refusal),
    };
    match (local.tokens.acquire(&operation, request).await, dialect) {
        (Ok(token), Dialect::Current) => {
            Json(CurrentBody::of(&token, operation.now)).into_response()
        }
        (Ok(token), Dialect::Legacy) => Json(LegacyBody::of(&token)).into_response(),
        (Err(error), _) => refused(Failure::from(error).into()),
    }
}

fn parse(uri: &Uri) -> Result<(Dialect, TokenRequest), MsiRefusal> {
    let query = Parameters::of(uri);
    let dialect = match query.non_empty("api-version") {
        Some("2017-09-01") => Dialect::Legacy,
        Some(version) if version >= "2019-08-01" && version.starts_with("20") => Dialect::Current,
        _ => return Err(MsiRefusal::ApiVersionInvalid),
    };
    if query.has_duplicates() {
        return Err(MsiRefusal::ParameterDuplicate);
    }
    let resource = query.non_empty("resource").ok_or(MsiRefusal::ResourceMissing)?.to_owned();
    let selector = match dialect {
        Dialect::Current => selector(&query, "client_id", &["principal_id", "object_id"]),
        Dialect::Legacy => selector(&query, "clientid", &[]),
    };
    let request = TokenRequest {
        resource,
        selector: selector?,
        default_rule: DefaultRule::SystemAssignedOnly,
        freshness: freshness(&query),
        capabilities: capabilities(&query),
    };
    Ok((dialect, request))
}

#[derive(Serialize)]
struct CurrentBody<'a> {
    access_token: &'a str,
    client_id: String,
    expires_in: String,
    expires_on: String,
    not_before: String,
    resource: &'a str,
    token_type: &'static str,
}

impl<'a> CurrentBody<'a> {
    fn of(token: &'a AccessToken, now: UtcDateTime) -> Self {
        Self {
            access_token: token.token.expose(),
            client_id: token.client_id.to_string(),
            expires_in: (token.expires_on - now.unix_timestamp()).max(0).to_string(),
            expires_on: token.expires_on.to_string(),
            not_before: token.not_before.to_string(),
            resource: &token.resource,
            token_type: "Bearer",
        }
    }
}

#[derive(Serialize)]
struct LegacyBody<'a> {
    access_token: &'a str,
    expires_on: String,
    resource: &'a str,
    token_type: &'static str,
}

impl<'a> LegacyBody<'a> {
    fn of(token: &'a AccessToken) -> Self {
        let form = format_description!("[month]/[day]/[year] [hour]:[minute]:[second] +00:00");
        let expires = UtcDateTime::from_unix_timestamp(token.expires_on);
        Self {
            access_token: token.token.expose(),
            expires_on: expires.ok().and_then(|at| at.format(&form).ok()).unwrap_or_default(),
            resource: &token.resource,
            token_type: "Bearer",
        }
    }
}
