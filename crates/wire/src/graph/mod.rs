//! Microsoft Graph's face: the directory. One file per resource type beside this one.
//!
//! Order at the door: version → path → token → authorization → existence. Reading and writing the directory is for its
//! Global Administrators; a principal may besides read itself and the groups it is in.
//! Source: Microsoft Graph REST API v1.0, and its "error responses".

mod app_role_assignments;
mod applications;
mod body;
mod credentials;
mod deleted_items;
mod directory_objects;
mod error;
mod federated_identity_credentials;
mod groups;
mod member_groups;
mod objects;
mod organization;
mod policies;
mod query;
mod service_principals;

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, Uri};
use keycard_domain::audit::activity::{Activity, Asked};
use keycard_domain::directory::directory_role;
use keycard_domain::fault::replication;
use keycard_domain::ids::{ClientId, PrincipalId};
use keycard_domain::operation::{Caller, OperationContext, Principal};
use keycard_domain::snapshot::Snapshot;
use keycard_domain::state::State;
use keycard_domain::token::audience::Service;
use keycard_domain::token::verify::TokenVerifier;
use percent_encoding::percent_decode_str;

use crate::bearer;
use crate::host_names::{HostNames, requested_authority};
use crate::request::{ClientAddress, RequestIds};
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

impl Graph {
    /// The directory as this request sees it: without what has not come here yet.
    fn seen(&self, operation: &OperationContext) -> Arc<Snapshot> {
        replication::seen(self.state.snapshot_to_keep(), operation.now)
    }
}

/// The face.
pub fn face(graph: Graph) -> Face<Graph> {
    let gate = GraphGate(graph.clone());
    let routes = [
        groups::routes(),
        service_principals::routes(),
        applications::routes(),
        app_role_assignments::routes(),
        policies::routes(),
        deleted_items::routes(),
        directory_objects::routes(),
        member_groups::routes(),
        organization::routes(),
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
        let token = bearer::presented(parts).ok_or(GraphError::TokenMissing)?;
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
    let segment = params.get("servicePrincipal");
    let subject: Result<PrincipalId, _> = segment.parse();
    row.method == Method::GET
        && (subject == Ok(principal.principal_id)
            || body::client_key(segment) == Some(principal.client_id))
}

/// A path in which the alternate key is a segment of its own, `applications/appId=…` for `applications(appId='…')`, so that
/// it reaches the row of the id. `None` where there is no such key.
///
/// Source: Microsoft Graph REST API v1.0, "Get application", "Get servicePrincipal".
fn with_key_segments(path: &str) -> Option<String> {
    let segments: Vec<Result<String, &str>> = path.split('/').map(key_segment).collect();
    segments.iter().any(Result::is_ok).then(|| {
        let texts = segments.iter().map(|it| it.as_ref().map_or_else(|raw| *raw, String::as_str));
        texts.collect::<Vec<_>>().join("/")
    })
}

/// The segment with its alternate key apart, or the segment as it was.
fn key_segment(raw: &str) -> Result<String, &str> {
    let decoded = percent_decode_str(raw).decode_utf8().map_err(|_| raw)?;
    let (collection, key) = decoded.split_once('(').ok_or(raw)?;
    let (name, value) = key.strip_suffix(')').and_then(|it| it.split_once('=')).ok_or(raw)?;
    let client: Option<ClientId> = value
        .strip_prefix('\'')
        .and_then(|it| it.strip_suffix('\''))
        .and_then(|it| it.parse().ok());
    let collections = ["applications", "servicePrincipals"];
    let is_known = collections.iter().any(|it| it.eq_ignore_ascii_case(collection));
    let client = client.filter(|_| is_known && name.eq_ignore_ascii_case("appId")).ok_or(raw)?;
    Ok(format!("{collection}/{}{client}", body::CLIENT_KEY))
}

/// The request's address with its alternate keys apart.
fn rewritten(uri: &Uri) -> Option<Uri> {
    let path = with_key_segments(uri.path())?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{path}{query}").parse().ok()?);
    Uri::from_parts(parts).ok()
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
        if let Some(uri) = rewritten(&parts.uri) {
            parts.uri = uri;
        }
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
        let ids = RequestIds::of_entered(parts, || fresh);
        Ok(OperationContext {
            action,
            scope: params.resource().to_owned(),
            activity: Some(Arc::new(Activity::new(fresh, asked(parts)))),
            ..ids.operation(Caller::Principal(principal), self.0.state.clock.now())
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

/// What the activity log says of a request that changes something: what is refused here is not in it.
fn asked(parts: &Parts) -> Asked {
    let last = parts.uri.path().rsplit('/').find(|segment| !segment.is_empty());
    let status = match (&parts.method, last.unwrap_or_default()) {
        (&Method::POST, "addPassword" | "addKey" | "restore") => 200,
        (&Method::POST, "$ref" | "removePassword" | "removeKey") => 204,
        (&Method::POST, _) => 201,
        _ => 204,
    };
    let client = parts.extensions.get::<ClientAddress>();
    Asked {
        method: parts.method.to_string(),
        client_request_id: None,
        client_address: client.map(|client| client.0.to_string()),
        status_if_made: status,
        status_if_polled: status,
        status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alternate_key_reaches_the_row_of_the_id() {
        let id = "11111111-1111-1111-1111-111111111111";
        for (path, expected) in [
            (
                format!("/v1.0/applications(appId='{id}')"),
                Some(format!("/v1.0/applications/appId={id}")),
            ),
            (
                format!("/beta/servicePrincipals%28appId=%27{id}%27%29/memberOf"),
                Some(format!("/beta/servicePrincipals/appId={id}/memberOf")),
            ),
            (
                format!("/v1.0/Applications(appid='{id}')"),
                Some(format!("/v1.0/Applications/appId={id}")),
            ),
            (format!("/v1.0/applications/{id}"), None),
            (format!("/v1.0/applications(appId={id})"), None),
            (format!("/v1.0/applications(id='{id}')"), None),
            (format!("/v1.0/groups(appId='{id}')"), None),
            ("/v1.0/applications(appId='x')".to_owned(), None),
            ("/v1.0/applications()".to_owned(), None),
        ] {
            assert_eq!(with_key_segments(&path), expected, "{path}");
        }
        let uri = format!("https://graph/v1.0/applications(appId='{id}')?$select=id");
        let expected = format!("https://graph/v1.0/applications/appId={id}?$select=id");
        assert_eq!(rewritten(&uri.parse().unwrap()).unwrap().to_string(), expected);
    }
}
