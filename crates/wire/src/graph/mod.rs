//! Microsoft Graph's face: the directory's groups and service principals. One file per resource type beside this one.
//!
//! Order at the door: version → path → token → authorization → existence. Reading and writing the directory is for its
//! Global Administrators; a principal may besides read itself and the groups it is in.
//! Source: Microsoft Graph REST API v1.0, and its "error responses".

mod body;
mod directory_objects;
mod error;
mod federated_identity_credentials;
mod groups;
mod query;
mod service_principals;

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method};
use keycard_domain::directory::directory_role;
use keycard_domain::ids::PrincipalId;
use keycard_domain::operation::{Caller, OperationContext, Principal};
use keycard_domain::state::State;
use keycard_domain::token::audience::Service;
use keycard_domain::token::verify::TokenVerifier;

use crate::bearer;
use crate::host_names::{HostNames, requested_authority};
use crate::request::RequestIds;
use crate::route::{Access, Entered, Face, Gate, Params, PathRefusal, Route, Row, route};
use error::{GraphError, render};

/// What the face's handlers need.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Reads and writes the directory.
    pub state: Arc<State>,
    /// Verifies tokens.
    pub verifier: Arc<TokenVerifier>,
    /// Names the face's own addresses.
    pub names: HostNames,
}

/// The face.
pub fn face(graph: Graph) -> Face<Graph> {
    let gate = GraphGate(graph.clone());
    let routes = [
        groups::routes(),
        service_principals::routes(),
        directory_objects::routes(),
        federated_identity_credentials::routes(),
    ];
    Face::new(routes.into_iter().flatten().collect(), gate, graph)
}

/// A row for who may do this in the directory.
fn row<H, T>(method: Method, path: &'static str, action: &'static str, handler: H) -> Route<Graph>
where
    H: axum::handler::Handler<T, Graph> + Sync,
    T: 'static,
{
    route(method, path, Access::Directory(action), handler)
}

/// The versions, which get the same answers.
const VERSIONS: [&str; 2] = ["v1.0", "beta"];

/// The address under which the client reached the face, with the version: links lead back there.
#[derive(Clone, Debug)]
struct Base(String);

struct GraphGate(Graph);

impl GraphGate {
    fn authenticate(&self, parts: &Parts) -> Result<Principal, GraphError> {
        let token = bearer::token(&parts.headers).ok_or(GraphError::TokenMissing)?;
        self.0
            .verifier
            .verify(&self.0.state, token, Service::Graph, None)
            .map_err(GraphError::TokenRefused)
    }

    fn authorize(
        &self,
        row: &Row,
        params: &Params,
        principal: &Principal,
    ) -> Result<&'static str, GraphError> {
        let Access::Directory(action) = row.access else { return Ok("") };
        if directory_role::is_global_administrator(&self.0.state.snapshot(), principal)
            || reads_itself(row, params, principal)
        {
            return Ok(action);
        }
        Err(GraphError::Forbidden)
    }
}

/// Everybody may read itself, and the groups it is in.
// Differs from Azure: what an application may read there depends on the permissions that it was given.
fn reads_itself(row: &Row, params: &Params, principal: &Principal) -> bool {
    let subject: Result<PrincipalId, _> = params.get("servicePrincipal").parse();
    row.method == Method::GET && subject == Ok(principal.principal_id)
}

#[async_trait]
impl Gate for GraphGate {
    fn ids(&self, parts: &Parts) -> Option<RequestIds> {
        let fresh = self.0.state.entropy.uuid();
        Some(RequestIds::from_headers(&parts.headers, "client-request-id", fresh))
    }

    async fn enter(&self, parts: &mut Parts) -> Result<(), Response> {
        let first = parts.uri.path().split('/').find(|segment| !segment.is_empty());
        let first = first.unwrap_or_default();
        let known = VERSIONS.into_iter().find(|version| version.eq_ignore_ascii_case(first));
        let Some(version) = known else {
            return Err(
                GraphError::VersionUnknown(first.chars().take(64).collect()).into_response()
            );
        };
        let own = || self.0.names.url("graph");
        let base =
            requested_authority(parts).map_or_else(own, |authority| format!("https://{authority}"));
        parts.extensions.insert(Base(format!("{base}/{version}")));
        Ok(())
    }

    async fn admit(
        &self,
        row: &Row,
        params: &Params,
        parts: &mut Parts,
        _: &mut Body,
    ) -> Result<OperationContext, Response> {
        let principal = self.authenticate(parts).map_err(IntoResponse::into_response)?;
        let action =
            self.authorize(row, params, &principal).map_err(IntoResponse::into_response)?;
        let fresh = self.0.state.entropy.uuid();
        let ids = parts.extensions.get::<Entered>().and_then(|entered| entered.ids);
        let ids = ids.unwrap_or(RequestIds { request_id: fresh, correlation_id: fresh });
        Ok(OperationContext {
            caller: Caller::Principal(principal),
            now: self.0.state.clock.now(),
            request_id: ids.request_id,
            correlation_id: ids.correlation_id,
            action,
            scope: params.resource().to_owned(),
        })
    }

    async fn refuse(&self, parts: &mut Parts, refusal: PathRefusal) -> Response {
        match (self.authenticate(parts), refusal) {
            (Err(error), _) => error.into_response(),
            (Ok(_), PathRefusal::Malformed(_)) => GraphError::PathMalformed.into_response(),
            (Ok(_), PathRefusal::NotFound) => GraphError::path_unknown(&parts.uri).into_response(),
            (Ok(_), PathRefusal::MethodNotAllowed(allowed)) => {
                (crate::route::allow_header(&allowed), GraphError::MethodNotAllowed).into_response()
            }
        }
    }

    fn finish(&self, entered: &Entered, response: &mut Response) {
        if let Some(ids) = entered.ids {
            render(response, &ids, self.0.state.clock.now());
        }
        let headers = response.headers_mut();
        for (name, value) in [
            ("cache-control", "no-cache"),
            ("odata-version", "4.0"),
            ("x-content-type-options", "nosniff"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}
