//! The token service's face: discovery, keys, tokens.
//!
//! Source: Microsoft identity platform, OAuth 2.0 client credentials flow and OpenID Connect discovery.

mod discovery;
mod error;
mod token;

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, header};
use keycard_domain::operation::{Caller, OperationContext};
use keycard_domain::state::State;
use keycard_domain::token::grant::TokenService;

use crate::host_names::{HostNames, requested_authority};
use crate::request::RequestIds;
use crate::route::{Access, Entered, Face, Gate, Params, PathRefusal, Route, Row, route};
use error::{EntraError, Failure};

/// What the face's handlers need.
#[derive(Clone, Debug)]
pub struct Entra {
    /// Reads tenants and keys.
    pub state: Arc<State>,
    /// Grants tokens.
    pub tokens: Arc<dyn TokenService>,
    /// Names the face's own addresses.
    pub names: HostNames,
}

/// The face.
pub fn face(entra: Entra) -> Face<Entra> {
    let gate = EntraGate(entra.clone());
    Face::new(routes(), gate, entra)
}

fn routes() -> Vec<Route<Entra>> {
    use Access::{OwnProof, Public};
    let (get, post) = (Method::GET, Method::POST);
    vec![
        route(post.clone(), "/{tenant}/oauth2/v2.0/token", OwnProof, token::token_v2),
        route(post, "/{tenant}/oauth2/token", OwnProof, token::token_v1),
        route(get.clone(), "/common/discovery/instance", Public, discovery::instance),
        route(
            get.clone(),
            "/{tenant}/.well-known/openid-configuration",
            Public,
            discovery::openid_v1,
        ),
        route(
            get.clone(),
            "/{tenant}/v2.0/.well-known/openid-configuration",
            Public,
            discovery::openid_v2,
        ),
        route(get.clone(), "/{tenant}/discovery/keys", Public, discovery::keys),
        route(get, "/{tenant}/discovery/v2.0/keys", Public, discovery::keys),
    ]
}

struct EntraGate(Entra);

/// The header in which clients name their request.
const CORRELATION_HEADER: &str = "client-request-id";

impl EntraGate {
    fn operation(&self, parts: &Parts) -> OperationContext {
        let ids = RequestIds::of_entered(parts, || self.0.state.entropy.uuid());
        ids.operation(Caller::Anonymous, self.0.state.clock.now())
    }
}

/// The address under which the client reached the face, so that what it is told leads back there.
#[derive(Clone, Debug)]
struct Base(String);

#[async_trait]
impl Gate for EntraGate {
    fn ids(&self, parts: &Parts) -> Option<RequestIds> {
        let request_id = self.0.state.entropy.uuid();
        Some(RequestIds::from_headers(&parts.headers, CORRELATION_HEADER, request_id))
    }

    async fn enter(&self, parts: &mut Parts) -> Result<(), Response> {
        let own = || self.0.names.url("login");
        let base =
            requested_authority(parts).map_or_else(own, |authority| format!("https://{authority}"));
        parts.extensions.insert(Base(base));
        Ok(())
    }

    async fn admit(
        &self,
        _: &Row,
        _: &Params,
        parts: &mut Parts,
        _: &mut Body,
    ) -> Result<OperationContext, Response> {
        Ok(self.operation(parts))
    }

    async fn refuse(&self, parts: &mut Parts, refusal: PathRefusal) -> Response {
        let operation = self.operation(parts);
        let fail = |error| Failure::new(error, &operation, &self.0.names).into_response();
        match refusal {
            PathRefusal::Malformed(_) | PathRefusal::NotFound => fail(EntraError::PathUnknown),
            PathRefusal::MethodNotAllowed(allowed) => {
                (crate::route::allow_header(&allowed), fail(EntraError::MethodNotAllowed))
                    .into_response()
            }
        }
    }

    fn finish(&self, _: &Entered, response: &mut Response) {
        let headers = response.headers_mut();
        for (name, value) in [
            ("pragma", "no-cache"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            ("x-content-type-options", "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store, no-cache"));
    }
}
