//! The endpoint of App Service and Functions: `GET {IDENTITY_ENDPOINT}?resource=…` with the secret header.
//!
//! Source: Microsoft Learn, "How to use managed identities for App Service and Azure Functions", REST endpoint reference.

use async_trait::async_trait;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode, Uri, header};
use keycard_domain::directory::lookup::DefaultRule;
use keycard_domain::operation::OperationContext;
use keycard_domain::token::grant::GrantError;
use keycard_domain::token::source::{AccessToken, Selector, TokenError, TokenRequest};
use serde::Serialize;
use time::UtcDateTime;
use time::macros::format_description;

use super::fault::FaultAnswer;
use super::{
    Foreign, LocalFace, SelectorError, capabilities, check_origin, freshness, operation,
    request_ids, selector,
};
use crate::request::{Parameters, RequestIds};
use crate::route::{Access, Entered, Face, Gate, LocalCaller, Params, PathRefusal, Row, route};

/// The path of the endpoint.
pub const PATH: &str = "/msi/token";

/// The face.
pub fn face(local: LocalFace) -> Face<LocalFace> {
    let gate = AppServiceGate(local.clone());
    let routes = vec![route(Method::GET, PATH, Access::LocalCaller, identity_token)];
    Face::new(routes, gate, local)
}

struct AppServiceGate(LocalFace);

impl AppServiceGate {
    fn fail(&self, error: AppServiceError) -> Response {
        Failure { error, correlation_id: self.0.entropy.uuid().to_string() }.into_response()
    }
}

#[async_trait]
impl Gate for AppServiceGate {
    fn ids(&self, parts: &Parts) -> Option<RequestIds> {
        Some(request_ids(&self.0, &parts.headers))
    }

    async fn enter(&self, parts: &mut Parts) -> Result<(), Response> {
        let endpoint =
            check_origin(parts).map_err(|foreign| self.fail(AppServiceError::Foreign(foreign)))?;
        if endpoint.is_opened_by(&parts.headers, SECRET_HEADERS) {
            Ok(())
        } else {
            Err(self.fail(AppServiceError::SecretWrong))
        }
    }

    async fn admit(
        &self,
        _: &Row,
        _: &Params,
        parts: &mut Parts,
        _: &mut Body,
    ) -> Result<OperationContext, Response> {
        let endpoint =
            check_origin(parts).map_err(|foreign| self.fail(AppServiceError::Foreign(foreign)))?;
        Ok(operation(&self.0, &endpoint, parts))
    }

    async fn refuse(&self, _: &mut Parts, refusal: PathRefusal) -> Response {
        match refusal {
            PathRefusal::Malformed(_) => self.fail(AppServiceError::TargetMalformed),
            PathRefusal::NotFound => self.fail(AppServiceError::PathUnknown),
            PathRefusal::MethodNotAllowed(allowed) => {
                let answer = self.fail(AppServiceError::MethodNotAllowed);
                (crate::route::allow_header(&allowed), answer).into_response()
            }
        }
    }

    fn finish(&self, _: &Entered, _: &mut Response) {}
}

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
    let failed = |error| {
        Failure { error, correlation_id: operation.correlation_id.to_string() }.into_response()
    };
    let (dialect, request) = match parse(&uri) {
        Ok(parsed) => parsed,
        Err(error) => return failed(error),
    };
    match (local.tokens.acquire(&operation, request).await, dialect) {
        (Ok(token), Dialect::Current) => {
            Json(CurrentBody::of(&token, operation.now)).into_response()
        }
        (Ok(token), Dialect::Legacy) => Json(LegacyBody::of(&token)).into_response(),
        (Err(error), _) => failed(AppServiceError::Token(error)),
    }
}

fn parse(uri: &Uri) -> Result<(Dialect, TokenRequest), AppServiceError> {
    let query = Parameters::of(uri);
    let dialect = match query.non_empty("api-version") {
        Some("2017-09-01") => Dialect::Legacy,
        Some(version) if version >= "2019-08-01" && version.starts_with("20") => Dialect::Current,
        _ => return Err(AppServiceError::ApiVersionInvalid),
    };
    if query.has_duplicates() {
        return Err(AppServiceError::ParameterDuplicate);
    }
    let resource = query.non_empty("resource").ok_or(AppServiceError::ResourceMissing)?.to_owned();
    let selector = match dialect {
        Dialect::Current => selector(&query, "client_id", &["principal_id", "object_id"]),
        Dialect::Legacy => selector(&query, "clientid", &[]),
    };
    let selector: Selector = selector.map_err(|error| match error {
        SelectorError::Several => AppServiceError::SelectorsExclusive,
        SelectorError::NoIdentity => AppServiceError::Token(TokenError::IdentityNotFound),
    })?;
    let request = TokenRequest {
        resource,
        selector,
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

/// Why the endpoint refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AppServiceError {
    Foreign(Foreign),
    SecretWrong,
    TargetMalformed,
    ApiVersionInvalid,
    ParameterDuplicate,
    SelectorsExclusive,
    ResourceMissing,
    PathUnknown,
    MethodNotAllowed,
    Token(TokenError),
}

/// How Azure begins every message about a token that could not be had; the misspelling is real.
const FETCH_FAILED: &str = "An unexpected error occured while fetching the AAD Token.";

impl AppServiceError {
    /// Status, message, and when to try again.
    fn answer(&self) -> (StatusCode, String, Option<u32>) {
        let bad = |text: &str| (StatusCode::BAD_REQUEST, text.to_owned(), None);
        match self {
            Self::Foreign(Foreign::Host) => bad("The request is addressed to another host."),
            Self::Foreign(Foreign::Forwarded) => {
                bad("Forwarded requests are not accepted: X-Forwarded-For, Forwarded.")
            }
            Self::Foreign(Foreign::Framing) => {
                bad("The framing of the request's body is not accepted.")
            }
            Self::Foreign(Foreign::NoEndpoint) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "No endpoint.".to_owned(), None)
            }
            Self::SecretWrong => (
                StatusCode::UNAUTHORIZED,
                "The header X-IDENTITY-HEADER is missing or wrong.".to_owned(),
                None,
            ),
            Self::TargetMalformed => bad("The path is malformed or the query too long."),
            Self::ApiVersionInvalid => {
                bad("The api-version is missing or not supported; use 2019-08-01 or 2017-09-01.")
            }
            Self::ParameterDuplicate => bad("A query parameter is given more than once."),
            Self::SelectorsExclusive => {
                bad("Only one of client_id, principal_id and mi_res_id may be given.")
            }
            Self::ResourceMissing => bad("The query parameter resource is missing."),
            Self::PathUnknown => (StatusCode::NOT_FOUND, "The path is not known.".to_owned(), None),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed.".to_owned(), None)
            }
            Self::Token(error) => token_error(error),
        }
    }
}

fn token_error(error: &TokenError) -> (StatusCode, String, Option<u32>) {
    let bad = |what: &str| (StatusCode::BAD_REQUEST, format!("{FETCH_FAILED} {what}"), None);
    match error {
        TokenError::IdentityNotFound => bad("The identity was not found on this resource."),
        TokenError::SeveralIdentities => bad("Several identities exist; name one."),
        TokenError::NotRunning => bad("The resource is stopped."),
        TokenError::Refused(GrantError::ResourceNotFound { resource, .. }) => {
            bad(&format!("The resource {resource} is not known in the tenant (AADSTS500011)."))
        }
        TokenError::Refused(GrantError::Throttled { retry_after_seconds }) => {
            (StatusCode::TOO_MANY_REQUESTS, FETCH_FAILED.to_owned(), Some(*retry_after_seconds))
        }
        // The identity went away between look-up and grant.
        TokenError::Refused(GrantError::ClientNotFound { .. } | GrantError::TenantNotFound(_)) => {
            bad("The identity was not found on this resource.")
        }
        TokenError::Refused(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, FETCH_FAILED.to_owned(), Some(1))
        }
        TokenError::Unavailable { retry_after_seconds, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, FETCH_FAILED.to_owned(), Some(*retry_after_seconds))
        }
        TokenError::Fault(fault) => {
            let FaultAnswer { status, text, retry_after_seconds, .. } = FaultAnswer::of(*fault);
            (status, format!("{FETCH_FAILED} {text}."), retry_after_seconds)
        }
    }
}

struct Failure {
    error: AppServiceError,
    correlation_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody {
    status_code: u16,
    message: String,
    correlation_id: String,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, message, retry_after) = self.error.answer();
        let body = ErrorBody {
            status_code: status.as_u16(),
            message,
            correlation_id: self.correlation_id,
        };
        let retry_after = retry_after.map(|seconds| [(header::RETRY_AFTER, seconds.to_string())]);
        (status, retry_after, Json(body)).into_response()
    }
}
