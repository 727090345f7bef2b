//! The issuer of clusters: for each one its discovery document and its keys, with which anybody can verify the tokens of its
//! service accounts.
//!
//! Source: OpenID Connect Discovery 1.0, section 4; AKS, "Create an OpenID Connect provider".

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode, header};
use keycard_crypto::encoding::base64url_encode;
use keycard_domain::clock::Clock;
use keycard_domain::entropy::Entropy;
use keycard_domain::operation::{Caller, OperationContext};
use keycard_domain::token::cluster_issuer::{self, ClusterIssuer};
use serde_json::{Value, json};

use crate::request::RequestIds;
use crate::route::{Access, Entered, Face, Gate, Params, PathRefusal, Public, Row, route};

/// The host name below keycard's own domain.
pub const HOST: &str = "oic";

/// How long clients may keep documents and keys: another start has other keys.
const CACHE_CONTROL: &str = "public, max-age=300";

/// What the face's handlers need.
#[derive(Clone, Debug)]
pub struct ClusterIssuers {
    /// Knows the clusters and their keys.
    pub issuer: Arc<ClusterIssuer>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives request ids.
    pub entropy: Arc<dyn Entropy>,
}

/// The face.
pub fn face(issuers: ClusterIssuers) -> Face<ClusterIssuers> {
    let get = || Method::GET;
    let routes = vec![
        route(
            get(),
            "/{tenant}/{cluster}/.well-known/openid-configuration",
            Access::Public,
            configuration,
        ),
        route(get(), "/{tenant}/{cluster}/openid/v1/jwks", Access::Public, keys),
    ];
    Face::new(routes, IssuerGate(issuers.clone()), issuers)
}

struct IssuerGate(ClusterIssuers);

#[async_trait]
impl Gate for IssuerGate {
    fn ids(&self, parts: &Parts) -> Option<RequestIds> {
        let request_id = self.0.entropy.uuid();
        Some(RequestIds::from_headers(&parts.headers, "client-request-id", request_id))
    }

    async fn enter(&self, _: &mut Parts) -> Result<(), Response> {
        Ok(())
    }

    async fn admit(
        &self,
        _: &Row,
        _: &Params,
        parts: &mut Parts,
        _: &mut Body,
    ) -> Result<OperationContext, Response> {
        let ids = RequestIds::of_entered(parts, || self.0.entropy.uuid());
        Ok(ids.operation(Caller::Anonymous, self.0.clock.now()))
    }

    async fn refuse(&self, _: &mut Parts, refusal: PathRefusal) -> Response {
        match refusal {
            PathRefusal::Malformed(_) => Refusal::TargetMalformed.into_response(),
            PathRefusal::NotFound => Refusal::NotFound.into_response(),
            PathRefusal::MethodNotAllowed(allowed) => {
                (crate::route::allow_header(&allowed), Refusal::MethodNotAllowed).into_response()
            }
        }
    }

    fn finish(&self, _: &Entered, _: &mut Response) {}
}

async fn configuration(
    Public(_): Public,
    State(issuers): State<ClusterIssuers>,
    params: Params,
) -> Result<Response, Refusal> {
    let (issuer, _) = published(&issuers, &params).await?;
    Ok(document(&json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })))
}

async fn keys(
    Public(_): Public,
    State(issuers): State<ClusterIssuers>,
    params: Params,
) -> Result<Response, Refusal> {
    let (_, key) = published(&issuers, &params).await?;
    let (n, e) = cluster_issuer::rsa_members(&key.key).ok_or(Refusal::Unavailable)?;
    Ok(document(&json!({ "keys": [{
        "use": "sig",
        "kty": "RSA",
        "kid": key.kid,
        "alg": "RS256",
        "n": base64url_encode(n),
        "e": base64url_encode(e),
    }]})))
}

async fn published(
    issuers: &ClusterIssuers,
    params: &Params,
) -> Result<(String, keycard_crypto::jwk::ForeignKey), Refusal> {
    let found = issuers.issuer.published(params.get("tenant"), params.get("cluster")).await;
    found.ok_or(Refusal::NotFound)?.map_err(|_| Refusal::Unavailable)
}

fn document(json: &Value) -> Response {
    ([(header::CACHE_CONTROL, CACHE_CONTROL)], Json(json)).into_response()
}

/// Why the face refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    TargetMalformed,
    NotFound,
    MethodNotAllowed,
    Unavailable,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::TargetMalformed => (
                StatusCode::BAD_REQUEST,
                "BadRequest",
                "the path is malformed or the query too long",
            ),
            Self::NotFound => {
                (StatusCode::NOT_FOUND, "NotFound", "no cluster has an issuer at this address")
            }
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "the method is not allowed on this path",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "the keys cannot be had now, please try again",
            ),
        };
        (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
    }
}
