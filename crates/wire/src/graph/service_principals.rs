//! Service principals and the groups they are in: `/servicePrincipals`. They come and go with what they stand for.
//!
//! Source: Microsoft Graph REST API v1.0, "servicePrincipal resource type".

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_domain::directory::group::{self, Reach};
use keycard_domain::directory::service_principal;
use keycard_domain::operation::OperationContext;
use serde_json::Value;

use super::body::{entity, object_json, path_id, principal_json, tenant};
use super::error::GraphError;
use super::query::Query;
use super::{Base, Graph, row};
use crate::route::{Directory, Params, Route};

pub(super) fn routes() -> Vec<Route<Graph>> {
    let one = "/{api}/servicePrincipals/{servicePrincipal}";
    let groups = "/{api}/servicePrincipals/{servicePrincipal}/memberOf";
    let transitive = "/{api}/servicePrincipals/{servicePrincipal}/transitiveMemberOf";
    let read = "microsoft.directory/servicePrincipals/standard/read";
    let memberships = "microsoft.directory/servicePrincipals/memberOf/read";
    vec![
        row(Method::GET, "/{api}/servicePrincipals", read, list),
        row(Method::GET, one, read, show),
        row(Method::GET, groups, memberships, list_groups),
        row(Method::GET, transitive, memberships, list_transitive_groups),
    ]
}

async fn list(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let snapshot = graph.state.snapshot_to_keep();
    let principals = service_principal::list(&snapshot, tenant(&operation)?)
        .map(|principal| principal_json(&snapshot, principal))
        .collect();
    query.page(&uri, &base, "servicePrincipals", principals).map(Json)
}

async fn show(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let snapshot = graph.state.snapshot();
    let id = path_id(&params, "servicePrincipal")?;
    let found = service_principal::find(&snapshot, tenant(&operation)?, id)
        .ok_or_else(|| GraphError::NotFound(id.to_string()))?;
    let body = query.select(principal_json(&snapshot, found));
    Ok(Json(entity(&base, "servicePrincipals", body)))
}

fn memberships(
    operation: &OperationContext,
    graph: &Graph,
    params: &Params,
    (uri, base): (&Uri, &Base),
    reach: Reach,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(uri)?;
    let (snapshot, tenant) = (graph.state.snapshot_to_keep(), tenant(operation)?);
    let id = path_id(params, "servicePrincipal")?;
    service_principal::find(&snapshot, tenant, id)
        .ok_or_else(|| GraphError::NotFound(id.to_string()))?;
    let groups = group::groups_of(&snapshot, tenant, id, reach);
    let objects = groups.iter().map(|group| object_json(&snapshot, group)).collect();
    query.page(uri, base, "directoryObjects", objects).map(Json)
}

async fn list_groups(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    memberships(&operation, &graph, &params, (&uri, &base), Reach::Direct)
}

async fn list_transitive_groups(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    memberships(&operation, &graph, &params, (&uri, &base), Reach::Transitive)
}
