//! The endpoint of the agent on a server outside Azure: a workload proves that it may read a file, and gets a token.
//!
//! Source: Microsoft Learn, "Authenticate against Azure resources with Azure Arc-enabled servers". The first request is
//! answered with the path of a file; the second brings what stands in it.

use std::path::Path;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use keycard_domain::directory::lookup::DefaultRule;
use keycard_domain::operation::OperationContext;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::token::source::TokenRequest;
use serde::Serialize;
use time::UtcDateTime;
use uuid::Uuid;

use super::door::{Door, Protocol, Stray};
use super::failure::{Failure, retry_after};
use super::token_body::{Echo, TokenBody};
use super::{
    Foreign, LocalEndpoint, LocalFace, SelectorError, capabilities, freshness, has_metadata_header,
    selector,
};
use crate::request::Parameters;
use crate::route::{Access, Face, LocalCaller, route};

/// The path of the endpoint.
pub const PATH: &str = "/metadata/identity/oauth2/token";

/// What a caller has to prove, and how: it reads a file that only the agent's group may read.
pub trait Challenges: std::fmt::Debug + Send + Sync + 'static {
    /// Where the files are.
    fn directory(&self) -> &Path;

    /// Writes a new file for this resource's endpoint; its absolute path, without quotes, spaces or `=`.
    ///
    /// # Errors
    /// [`ChallengeError`] if the file cannot be written as safely as it has to be.
    fn issue(&self, resource: &ArmResourceId, now: UtcDateTime) -> Result<String, ChallengeError>;

    /// Whether this is what stands in a file that was written for the resource's endpoint, not long ago, and was not
    /// presented before. The file goes.
    fn redeem(&self, resource: &ArmResourceId, presented: &str, now: UtcDateTime) -> bool;
}

/// Why no challenge can be written; for the log and the workload's owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no challenge can be written to {directory}: {reason}")]
pub struct ChallengeError {
    /// Where.
    pub directory: String,
    /// Why not.
    pub reason: String,
}

/// The face.
pub fn face(local: LocalFace) -> Face<LocalFace> {
    let routes = vec![route(Method::GET, PATH, Access::LocalCaller, identity_token)];
    Face::new(routes, Door::<Arc>::new(local.clone()), local)
}

struct Arc;

impl Protocol for Arc {
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
    uri: Uri,
) -> Result<Response, Refusal> {
    let (request, echo) = parse(&uri)?;
    require_proof(&local, &operation, &headers)?;
    let token = local.tokens.acquire(&operation, request).await.map_err(Failure::from)?;
    Ok(Json(TokenBody::of(&token, echo, operation.now.unix_timestamp())).into_response())
}

/// Lets pass who presents what stands in a challenge's file; everybody else is told where the next one is.
fn require_proof(
    local: &LocalFace,
    operation: &OperationContext,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let resource = operation.workload().ok_or(Stray::Foreign(Foreign::NoEndpoint))?;
    let presented = presented_key(headers);
    if presented.is_some_and(|key| local.challenges.redeem(resource, key, operation.now)) {
        return Ok(());
    }
    let issued = local.challenges.issue(resource, operation.now);
    let path = issued.map_err(|error| {
        tracing::error!(%resource, %error, "a workload could not be challenged");
        Refusal::ChallengeUnwritten(error)
    })?;
    Err(Refusal::ProofMissing { path })
}

/// What follows `Basic` in the only `Authorization` header: the file's content as it is, not encoded again.
fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, key) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Basic").then_some(key)
}

/// The api-versions of the documentation; clients send the second.
const API_VERSIONS: &[&str] = &["2019-11-01", "2020-06-01"];

fn parse(uri: &Uri) -> Result<(TokenRequest, Echo), Refusal> {
    let query = Parameters::of(uri);
    if !query.non_empty("api-version").is_some_and(|version| API_VERSIONS.contains(&version)) {
        return Err(Refusal::ApiVersionInvalid);
    }
    if query.has_duplicates() {
        return Err(Refusal::ParameterDuplicate);
    }
    let selector = selector(&query, "client_id", &["object_id"]).map_err(|error| match error {
        SelectorError::Several => Refusal::SelectorsExclusive,
        SelectorError::NoIdentity => Refusal::Failure(Failure::IdentityNotFound),
    })?;
    let echo = Echo::of(&selector, &query);
    let resource = query.non_empty("resource").ok_or(Refusal::ResourceMissing)?.to_owned();
    let request = TokenRequest {
        resource,
        selector,
        default_rule: DefaultRule::OnlyUserAssigned,
        freshness: freshness(&query),
        capabilities: capabilities(&query),
    };
    Ok((request, echo))
}

/// Why the endpoint refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    Stray(Stray),
    MetadataHeaderMissing,
    ApiVersionInvalid,
    ParameterDuplicate,
    SelectorsExclusive,
    ResourceMissing,
    ProofMissing { path: String },
    ChallengeUnwritten(ChallengeError),
    Failure(Failure),
}

impl From<Stray> for Refusal {
    fn from(stray: Stray) -> Self {
        Self::Stray(stray)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Refusal {
    /// Status, `error`, `error_description`: the shape of the metadata service.
    fn answer(&self) -> (StatusCode, &'static str, String) {
        let invalid = |text: &str| (StatusCode::BAD_REQUEST, "invalid_request", text.to_owned());
        match self {
            Self::Stray(stray) => (stray.status(), stray.error(), stray.text().to_owned()),
            Self::MetadataHeaderMissing => invalid("Required metadata header not specified"),
            Self::ApiVersionInvalid => invalid(
                "The api-version query parameter is missing or not supported; use 2020-06-01",
            ),
            Self::ParameterDuplicate => invalid("A query parameter is given more than once"),
            Self::SelectorsExclusive => {
                invalid("Only one of client_id, object_id and msi_res_id may be given")
            }
            Self::ResourceMissing => invalid("Required audience parameter not specified: resource"),
            Self::ProofMissing { .. } => (
                StatusCode::UNAUTHORIZED,
                "unauthorized_client",
                "Present what stands in the file that the challenge names".to_owned(),
            ),
            Self::ChallengeUnwritten(error) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "server_error", error.to_string())
            }
            Self::Failure(failure) => (failure.status(), failure.error(), failure.text()),
        }
    }

    /// Clients want exactly `Basic realm=PATH`: no quotes, and no second `=`.
    fn challenge(&self) -> Option<[(header::HeaderName, String); 1]> {
        match self {
            Self::ProofMissing { path } => {
                Some([(header::WWW_AUTHENTICATE, format!("Basic realm={path}"))])
            }
            Self::Stray(_)
            | Self::MetadataHeaderMissing
            | Self::ApiVersionInvalid
            | Self::ParameterDuplicate
            | Self::SelectorsExclusive
            | Self::ResourceMissing
            | Self::ChallengeUnwritten(_)
            | Self::Failure(_) => None,
        }
    }
}

#[derive(Serialize)]
struct ErrorBody {
    error: &'static str,
    error_description: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error, error_description) = self.answer();
        let challenge = self.challenge();
        let retry_after =
            if let Self::Failure(failure) = &self { retry_after(failure) } else { None };
        (status, challenge, retry_after, Json(ErrorBody { error, error_description }))
            .into_response()
    }
}
