//! The tenant itself, and the people it does not have: `/organization`, `/users`, `/me`.
//!
//! Source: Microsoft Graph REST API v1.0, "organization resource type", "List users", "Get a user".

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_domain::directory::Tenant;
use serde_json::{Value, json};

use super::body::{date, tenant};
use super::error::GraphError;
use super::query::Query;
use super::{Base, Graph, row};
use crate::route::{Access, Directory, OwnProof, Params, Route, route};

pub(super) fn routes() -> Vec<Route<Graph>> {
    let read = "microsoft.directory/organization/standard/read";
    let read_users = "microsoft.directory/users/standard/read";
    vec![
        row(Method::GET, "/{api}/organization", read, list),
        row(Method::GET, "/{api}/users", read_users, list_users),
        row(Method::GET, "/{api}/users/{user}", read_users, show_user),
        // Everybody with a token learns that it is no person's.
        route(Method::GET, "/{api}/me", Access::OwnProof, show_me),
    ]
}

fn organization_json(tenant: &Tenant) -> Value {
    json!({
        "id": tenant.id,
        "deletedDateTime": null,
        "createdDateTime": date(tenant.created_at),
        "displayName": tenant.display_name,
        "tenantType": "AAD",
        "verifiedDomains": [],
    })
}

async fn list(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let snapshot = graph.state.snapshot();
    let own = snapshot.tenant(tenant(&operation)?);
    let organizations = own.into_iter().map(|tenant| organization_json(tenant)).collect();
    query.page(&uri, &base, "organization", organizations).map(Json)
}

/// keycard has no people, whatever a filter asks for.
async fn list_users(Directory(_): Directory, base: Base) -> Json<Value> {
    Json(json!({ "@odata.context": base.context("users"), "value": [] }))
}

async fn show_user(Directory(_): Directory, params: Params) -> GraphError {
    GraphError::NotFound(params.get("user").chars().take(200).collect())
}

/// No token of keycard's is a person's.
async fn show_me(OwnProof(_): OwnProof) -> GraphError {
    GraphError::NotDelegated
}
