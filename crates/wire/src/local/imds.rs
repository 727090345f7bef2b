//! The metadata endpoint of a VM: its door, and `GET /metadata/identity/oauth2/token`.
//!
//! Source: Azure Instance Metadata Service, identity category; Microsoft Learn, "How to use managed identities … to
//! acquire an access token". Checks come in the order that clients' probes rely on.

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use keycard_domain::directory::lookup::DefaultRule;
use keycard_domain::ids::TenantId;
use keycard_domain::operation::OperationContext;
use keycard_domain::token::grant::GrantError;
use keycard_domain::token::source::{Freshness, TokenError, TokenRequest};
use serde::Serialize;
use time::macros::format_description;

use super::door::Stray;
use super::failure::{Failure, retry_after_seconds};
use super::prepared::PreparedAnswer;
use super::token_body::{Echo, TokenBody};
use super::{
    LocalFace, SelectorError, api_version, attested, capabilities, check_origin, freshness,
    has_metadata_header, instance, key_binding, operation, request_ids, selector,
};
use crate::request::{BodyError, Parameters, RequestIds};
use crate::route::{Access, Entered, Face, Gate, LocalCaller, Params, PathRefusal, Row, route};

/// The face.
pub fn face(local: LocalFace) -> Face<LocalFace> {
    let gate = ImdsGate(local.clone());
    let mut routes = vec![route(
        Method::GET,
        "/metadata/identity/oauth2/token",
        Access::LocalCaller,
        identity_token,
    )];
    routes.extend(instance::routes());
    routes.extend(attested::routes());
    routes.extend(key_binding::routes());
    Face::new(routes, gate, local)
}

/// Probes of newer clients look for `IMDS` in this header.
pub const SERVER: &str = "IMDS/keycard";

struct ImdsGate(LocalFace);

#[async_trait]
impl Gate for ImdsGate {
    fn ids(&self, parts: &Parts) -> Option<RequestIds> {
        Some(request_ids(&self.0, &parts.headers))
    }

    async fn enter(&self, parts: &mut Parts) -> Result<(), Response> {
        let refuse = |error| at_the_door(&parts.uri, &error);
        let endpoint = check_origin(parts).map_err(|stray| refuse(ImdsError::Stray(stray)))?;
        if key_binding::is_missing(&self.0, &endpoint, &parts.uri) {
            return Err(refuse(ImdsError::Stray(Stray::PathUnknown)));
        }
        if !has_metadata_header(&parts.headers) {
            return Err(refuse(ImdsError::MetadataHeaderMissing));
        }
        Ok(())
    }

    async fn admit(
        &self,
        _: &Row,
        _: &Params,
        parts: &mut Parts,
        _: &mut Body,
    ) -> Result<OperationContext, Response> {
        let refuse = |error| at_the_door(&parts.uri, &error);
        let endpoint = check_origin(parts).map_err(|stray| refuse(ImdsError::Stray(stray)))?;
        let operation = operation(&self.0, &endpoint, parts);
        if let Some(rate) = self.0.metadata_requests {
            let admitted = endpoint.throttle.admit(rate, operation.now);
            admitted.map_err(|seconds| refuse(ImdsError::TooManyRequests(seconds)))?;
        }
        Ok(operation)
    }

    async fn refuse(&self, parts: &mut Parts, refusal: PathRefusal) -> Response {
        let refuse = |stray| at_the_door(&parts.uri, &ImdsError::Stray(stray));
        match refusal {
            PathRefusal::Malformed(_) => refuse(Stray::TargetMalformed),
            PathRefusal::NotFound => refuse(Stray::PathUnknown),
            PathRefusal::MethodNotAllowed(allowed) => {
                let answer = refuse(Stray::MethodNotAllowed);
                (crate::route::allow_header(&allowed), answer).into_response()
            }
        }
    }

    fn finish(&self, _: &Entered, response: &mut Response) {
        response.headers_mut().insert(header::SERVER, HeaderValue::from_static(SERVER));
    }
}

/// A refusal that comes before any handler, in the shape of the category that the path names.
fn at_the_door(uri: &Uri, error: &ImdsError) -> Response {
    let Answer(status, _, text, retry_after) = error.answer();
    if instance::is_asked_for(uri) {
        instance::error::at_the_door(status, &text, retry_after)
    } else {
        error.into_response()
    }
}

async fn identity_token(
    LocalCaller(operation): LocalCaller,
    query: TokenQuery,
    State(local): State<LocalFace>,
) -> Result<Response, ImdsError> {
    let TokenQuery { request, echo } = query;
    // A forced refresh asks for a new token each time, so its answer is not given again.
    let is_repeatable = request.freshness == Freshness::Cached;
    let acquired = local.tokens.acquire(&operation, request).await;
    let token = acquired.map_err(|error| ImdsError::of_token(error, &operation))?;
    let body = TokenBody::of(&token, echo, operation.now.unix_timestamp());
    let body = serde_json::to_string(&body).unwrap_or_default();
    let prepared = PreparedAnswer::split(&body, token.expires_on, token.reuse.clone());
    let prepared = prepared.filter(|_| is_repeatable).map(Extension);
    let headers = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    Ok((prepared, headers, body).into_response())
}

/// The query of a token request.
struct TokenQuery {
    request: TokenRequest,
    echo: Echo,
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for TokenQuery {
    type Rejection = ImdsError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ImdsError> {
        Self::parse(&parts.uri)
    }
}

impl TokenQuery {
    fn parse(uri: &Uri) -> Result<Self, ImdsError> {
        let query = Parameters::of(uri);
        if !query.non_empty("api-version").is_some_and(api_version::has_identity) {
            return Err(ImdsError::ApiVersionInvalid);
        }
        if query.has_duplicates() {
            return Err(ImdsError::ParameterDuplicate);
        }
        let selector = selector(&query, "client_id", &["object_id"])?;
        let echo = Echo::of(&selector, &query);
        let resource = query.non_empty("resource").ok_or(ImdsError::ResourceMissing)?.to_owned();
        let is_forced =
            query.get("bypass_cache").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let request = TokenRequest {
            resource,
            selector,
            default_rule: DefaultRule::OnlyUserAssigned,
            freshness: if is_forced { Freshness::New } else { freshness(&query) },
            capabilities: capabilities(&query),
        };
        Ok(Self { request, echo })
    }
}

/// Why the metadata endpoint refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ImdsError {
    Stray(Stray),
    MetadataHeaderMissing,
    ApiVersionInvalid,
    ParameterDuplicate,
    SelectorsExclusive,
    ResourceMissing,
    TooManyRequests(u32),
    ResourceUnknown(Box<UnknownResource>),
    Failure(Failure),
    CredentialVersionInvalid,
    CredentialBody(BodyError),
    CredentialRequestMalformed,
    CredentialRefused(String),
}

impl ImdsError {
    /// A refusal by the token service is passed on with what follows the request.
    fn of_token(error: TokenError, operation: &OperationContext) -> Self {
        let TokenError::Refused(GrantError::ResourceNotFound { resource, tenant }) = error else {
            return Self::Failure(error.into());
        };
        let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
        Self::ResourceUnknown(Box::new(UnknownResource {
            resource,
            tenant,
            trace_id: operation.request_id.to_string(),
            correlation_id: operation.correlation_id.to_string(),
            timestamp: operation.now.format(&form).unwrap_or_default(),
        }))
    }
}

/// The token service knows no such resource: what it says, and what follows the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnknownResource {
    resource: String,
    tenant: TenantId,
    trace_id: String,
    correlation_id: String,
    timestamp: String,
}

impl UnknownResource {
    fn description(&self) -> String {
        format!(
            "AADSTS500011: The resource principal named {} was not found in the tenant named {}. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant. Trace ID: {} Correlation ID: {} Timestamp: {}",
            self.resource, self.tenant, self.trace_id, self.correlation_id, self.timestamp
        )
    }
}

impl From<SelectorError> for ImdsError {
    fn from(error: SelectorError) -> Self {
        match error {
            SelectorError::Several => Self::SelectorsExclusive,
            SelectorError::NoIdentity => Self::Failure(Failure::IdentityNotFound),
        }
    }
}

/// A row of the table: status, `error`, `error_description`. What never gets better is 400: clients repeat the rest.
struct Answer(StatusCode, &'static str, String, Option<u32>);

impl ImdsError {
    fn answer(&self) -> Answer {
        let invalid =
            |text: &str| Answer(StatusCode::BAD_REQUEST, "invalid_request", text.to_owned(), None);
        match self {
            Self::Stray(stray) => {
                Answer(stray.status(), stray.error(), stray.text().to_owned(), None)
            }
            Self::MetadataHeaderMissing => invalid("Required metadata header not specified"),
            Self::ApiVersionInvalid => invalid(
                "The api-version query parameter is missing or not supported; use 2018-02-01 or later",
            ),
            Self::ParameterDuplicate => invalid("A query parameter is given more than once"),
            Self::SelectorsExclusive => {
                invalid("Only one of client_id, object_id and msi_res_id may be given")
            }
            Self::ResourceMissing => invalid("Required audience parameter not specified: resource"),
            Self::TooManyRequests(seconds) => Answer(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many requests".to_owned(),
                Some(*seconds),
            ),
            Self::ResourceUnknown(unknown) => {
                Answer(StatusCode::BAD_REQUEST, "invalid_resource", unknown.description(), None)
            }
            Self::Failure(Failure::NotRunning) => {
                invalid("The virtual machine is stopped or deallocated")
            }
            Self::Failure(failure) => Answer(
                failure.status(),
                failure.error(),
                failure.text(),
                failure.retry_after_seconds(),
            ),
            Self::CredentialVersionInvalid => {
                invalid("The cred-api-version query parameter is missing or not supported; use 2.0")
            }
            Self::CredentialBody(error) => invalid(&format!("The body is refused: {error}")),
            Self::CredentialRequestMalformed => {
                invalid("The body is no JSON object with a certificate request in its member csr")
            }
            Self::CredentialRefused(why) => invalid(&format!("The request is refused: {why}")),
        }
    }
}

#[derive(Serialize)]
struct ErrorBody {
    error: &'static str,
    error_description: String,
    #[serde(flatten)]
    details: Option<ErrorDetails>,
}

/// What the token service adds to a refusal.
#[derive(Serialize)]
struct ErrorDetails {
    error_codes: [u32; 1],
    timestamp: String,
    trace_id: String,
    correlation_id: String,
    error_uri: &'static str,
}

impl From<&UnknownResource> for ErrorDetails {
    fn from(unknown: &UnknownResource) -> Self {
        Self {
            error_codes: [500_011],
            timestamp: unknown.timestamp.clone(),
            trace_id: unknown.trace_id.clone(),
            correlation_id: unknown.correlation_id.clone(),
            error_uri: "https://login.microsoftonline.com/error?code=500011",
        }
    }
}

impl IntoResponse for ImdsError {
    fn into_response(self) -> Response {
        (&self).into_response()
    }
}

impl IntoResponse for &ImdsError {
    fn into_response(self) -> Response {
        let Answer(status, error, error_description, retry_after) = self.answer();
        let mut details = None;
        if let ImdsError::ResourceUnknown(unknown) = self {
            details = Some(ErrorDetails::from(unknown.as_ref()));
        }
        let body = serde_json::to_string(&ErrorBody { error, error_description, details });
        let headers = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
        let retry_after = retry_after.map(retry_after_seconds);
        (status, headers, retry_after, body.unwrap_or_default()).into_response()
    }
}
