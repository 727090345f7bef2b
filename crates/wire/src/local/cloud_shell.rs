//! The endpoint of Cloud Shell: `POST {MSI_ENDPOINT}` with the form `resource=…`.
//!
//! Microsoft documents no reference for it; this is what the SDKs for Python, JavaScript, Go and .NET send and read. It
//! knows one identity, which is the resource's default.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use keycard_domain::directory::lookup::DefaultRule;
use keycard_domain::fault::EndpointFault;
use keycard_domain::limits;
use keycard_domain::token::source::{Selector, TokenRequest};
use serde::Serialize;
use uuid::Uuid;

use super::door::{Door, Protocol, Stray};
use super::failure::{Failure, retry_after};
use super::token_body::TokenBody;
use super::{LocalEndpoint, LocalFace, capabilities, freshness, has_metadata_header};
use crate::request::{BodyError, Parameters, read_body};
use crate::route::{Access, Face, LocalCaller, route};

/// The path of the endpoint.
pub const PATH: &str = "/oauth2/token";

/// The face.
pub fn face(local: LocalFace) -> Face<LocalFace> {
    let routes = vec![route(Method::POST, PATH, Access::LocalCaller, identity_token)];
    Face::new(routes, Door::<CloudShell>::new(local.clone()), local)
}

struct CloudShell;

impl Protocol for CloudShell {
    type Refusal = Refusal;

    fn check(_: &LocalEndpoint, headers: &HeaderMap) -> Result<(), Refusal> {
        if has_metadata_header(headers) { Ok(()) } else { Err(Refusal::MetadataHeaderMissing) }
    }

    fn answer(refusal: Refusal, _: Uuid) -> Response {
        refusal.into_response()
    }
}

async fn identity_token(
    LocalCaller(operation): LocalCaller,
    State(local): State<LocalFace>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let request = parse(&headers, body).await?;
    let token = local.tokens.acquire(&operation, request).await.map_err(Failure::from)?;
    let now = operation.now.unix_timestamp();
    Ok(Json(TokenBody::without_identity(&token, now)).into_response())
}

async fn parse(headers: &HeaderMap, body: Body) -> Result<TokenRequest, Refusal> {
    if !is_form(headers) {
        return Err(Refusal::NotAForm);
    }
    let bytes = read_body(body, limits::LOCAL_FORM_BYTES_MAX).await?;
    let form = Parameters::parse(&String::from_utf8_lossy(&bytes));
    if form.has_duplicates() {
        return Err(Refusal::ParameterDuplicate);
    }
    Ok(TokenRequest {
        resource: form.non_empty("resource").ok_or(Refusal::ResourceMissing)?.to_owned(),
        selector: Selector::Default,
        default_rule: DefaultRule::OnlyUserAssigned,
        freshness: freshness(&form),
        capabilities: capabilities(&form),
    })
}

fn is_form(headers: &HeaderMap) -> bool {
    let written = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = written.and_then(|text| text.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Why the endpoint refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    Stray(Stray),
    MetadataHeaderMissing,
    NotAForm,
    Body(BodyError),
    ParameterDuplicate,
    ResourceMissing,
    Failure(Failure),
}

impl From<Stray> for Refusal {
    fn from(stray: Stray) -> Self {
        Self::Stray(stray)
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Refusal {
    /// Status, code and message. Only `AudienceNotSupported` is known of Azure.
    fn answer(&self) -> (StatusCode, &'static str, String) {
        let bad = |code, text: &str| (StatusCode::BAD_REQUEST, code, text.to_owned());
        match self {
            Self::Stray(stray) => (stray.status(), stray.code(), stray.text().to_owned()),
            Self::MetadataHeaderMissing => {
                bad("InvalidRequest", "Required metadata header not specified")
            }
            Self::NotAForm => {
                bad("InvalidRequest", "The body has to be application/x-www-form-urlencoded")
            }
            Self::Body(BodyError::TooLarge) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "InvalidRequest",
                "The body is too large".to_owned(),
            ),
            Self::Body(BodyError::TooSlow | BodyError::Incomplete) => {
                bad("InvalidRequest", "The body did not arrive")
            }
            Self::ParameterDuplicate => {
                bad("InvalidRequest", "A parameter is given more than once")
            }
            Self::ResourceMissing => bad("InvalidRequest", "The parameter resource is missing"),
            Self::Failure(failure) => (failure.status(), failure_code(failure), failure.text()),
        }
    }
}

const fn failure_code(failure: &Failure) -> &'static str {
    match failure {
        Failure::IdentityNotFound | Failure::SeveralIdentities => "IdentityNotFound",
        Failure::NotRunning => "InvalidRequest",
        Failure::ResourceUnknown { .. } => "AudienceNotSupported",
        Failure::RoleRequired { .. } => "AccessDenied",
        Failure::Fault(EndpointFault::TooManyRequests { .. }) | Failure::Throttled { .. } => {
            "TooManyRequests"
        }
        Failure::Fault(EndpointFault::ServerError(_)) => "InternalServerError",
        Failure::Fault(EndpointFault::Updating) => "ServiceUnavailable",
        Failure::Unavailable { .. } => "ServiceUnavailable",
    }
}

#[derive(Serialize)]
struct ErrorBody {
    error: ErrorDetails,
}

#[derive(Serialize)]
struct ErrorDetails {
    code: &'static str,
    message: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = self.answer();
        let retry_after =
            if let Self::Failure(failure) = &self { retry_after(failure) } else { None };
        (status, retry_after, Json(ErrorBody { error: ErrorDetails { code, message } }))
            .into_response()
    }
}
