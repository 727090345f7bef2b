//! What was deleted and is still kept: `/directory/deletedItems`.
//!
//! Source: Microsoft Graph REST API v1.0, "List deletedItems (directory objects)" and its neighbours.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use keycard_domain::directory::deleted_object::{self, DeletedObject, FormerObject};
use keycard_domain::operation::OperationContext;
use keycard_domain::snapshot::Snapshot;
use serde_json::{Value, json};

use super::body::{date, entity, object_id, tenant};
use super::error::GraphError;
use super::objects::{application_json, principal_json, typed};
use super::query::Query;
use super::{Base, Graph, row};
use crate::route::{Directory, Params, Route, Unread};

pub(super) fn routes() -> Vec<Route<Graph>> {
    let principals = "/{api}/directory/deletedItems/microsoft.graph.servicePrincipal";
    let applications = "/{api}/directory/deletedItems/microsoft.graph.application";
    let one = "/{api}/directory/deletedItems/{object}";
    let again = "/{api}/directory/deletedItems/{object}/restore";
    let read = "microsoft.directory/deletedItems/read";
    vec![
        row(Method::GET, principals, read, list_principals),
        row(Method::GET, applications, read, list_applications),
        row(Method::GET, one, read, show),
        row(Method::DELETE, one, "microsoft.directory/deletedItems/delete", purge),
        row(Method::POST, again, "microsoft.directory/deletedItems/restore", restore),
    ]
}

fn former_json(snapshot: &Snapshot, object: &FormerObject) -> Value {
    match object {
        FormerObject::ServicePrincipal(it) => {
            typed("servicePrincipal", principal_json(snapshot, it))
        }
        FormerObject::Application(it) => typed("application", application_json(it)),
    }
}

fn deleted_json(snapshot: &Snapshot, deleted: &DeletedObject) -> Value {
    let mut body = former_json(snapshot, &deleted.object);
    if let Some(members) = body.as_object_mut() {
        members.insert("deletedDateTime".to_owned(), json!(date(deleted.deleted_at)));
    }
    body
}

fn list(
    operation: &OperationContext,
    graph: &Graph,
    (uri, base): (&Uri, &Base),
    is_meant: impl Fn(&FormerObject) -> bool,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(uri)?;
    let snapshot = graph.state.snapshot_to_keep();
    let all = deleted_object::list(&snapshot, tenant(operation)?);
    let meant = all.filter(|deleted| is_meant(&deleted.object));
    let objects = meant.map(|deleted| deleted_json(&snapshot, deleted)).collect();
    query.page(uri, base, "directoryObjects", objects).map(Json)
}

async fn list_principals(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    let is_meant = |object: &FormerObject| matches!(object, FormerObject::ServicePrincipal(_));
    list(&operation, &graph, (&uri, &base), is_meant)
}

async fn list_applications(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    let is_meant = |object: &FormerObject| matches!(object, FormerObject::Application(_));
    list(&operation, &graph, (&uri, &base), is_meant)
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
    let id = object_id(params.get("object"))?;
    let found = deleted_object::find(&snapshot, tenant(&operation)?, *id.as_uuid())?;
    let body = query.select(deleted_json(&snapshot, found));
    Ok(Json(entity(&base, "directoryObjects", body)))
}

async fn purge(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
) -> Result<StatusCode, GraphError> {
    let (tenant, id) = (tenant(&operation)?, object_id(params.get("object"))?);
    deleted_object::purge(&graph.state, &operation, tenant, *id.as_uuid()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn restore(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    _: Unread,
) -> Result<Json<Value>, GraphError> {
    let (tenant, id) = (tenant(&operation)?, object_id(params.get("object"))?);
    let state = &graph.state;
    let restored = deleted_object::restore(state, &operation, tenant, *id.as_uuid()).await?;
    let body = former_json(&state.snapshot(), &restored);
    Ok(Json(entity(&base, "directoryObjects", body)))
}
