//! Service principals and the groups they are in: `/servicePrincipals`. Those of managed identities come and go with their
//! resources.
//!
//! Source: Microsoft Graph REST API v1.0, "servicePrincipal resource type".

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use keycard_domain::directory::application::registration;
use keycard_domain::directory::group::{self, Reach};
use keycard_domain::directory::service_principal::{self, ServicePrincipalChange};
use keycard_domain::ids::{ApplicationId, PrincipalId};
use keycard_domain::operation::OperationContext;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::body::{JsonBody, Rest, check_rest, entity, id, path_principal, tenant};
use super::credentials::{AddPasswordBody, KeyBody, RemovePasswordBody, read_keys};
use super::error::GraphError;
use super::objects::{made_password_json, object_json, principal_json};
use super::query::Query;
use super::{Base, Graph, row};
use crate::route::{Directory, Params, Route};

pub(super) fn routes() -> Vec<Route<Graph>> {
    let all = "/{api}/servicePrincipals";
    let one = "/{api}/servicePrincipals/{servicePrincipal}";
    let groups = "/{api}/servicePrincipals/{servicePrincipal}/memberOf";
    let transitive = "/{api}/servicePrincipals/{servicePrincipal}/transitiveMemberOf";
    let read = "microsoft.directory/servicePrincipals/standard/read";
    let add = "/{api}/servicePrincipals/{servicePrincipal}/addPassword";
    let remove = "/{api}/servicePrincipals/{servicePrincipal}/removePassword";
    let credentials = "microsoft.directory/servicePrincipals/credentials/update";
    let memberships = "microsoft.directory/servicePrincipals/memberOf/read";
    vec![
        row(Method::GET, all, read, list),
        row(Method::POST, all, "microsoft.directory/servicePrincipals/create", create),
        row(Method::GET, one, read, show),
        row(Method::PATCH, one, "microsoft.directory/servicePrincipals/basic/update", change),
        row(Method::DELETE, one, "microsoft.directory/servicePrincipals/delete", delete),
        row(Method::POST, add, credentials, add_password),
        row(Method::POST, remove, credentials, remove_password),
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
    let snapshot = graph.seen(&operation);
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
    let snapshot = graph.seen(&operation);
    let found = path_principal(&snapshot, tenant(&operation)?, &params)?;
    let body = query.select(principal_json(&snapshot, found));
    Ok(Json(entity(&base, "servicePrincipals", body)))
}

const RESOURCE: &str = "ServicePrincipal";

/// What a service principal can be given.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrincipalBody {
    app_id: Option<String>,
    account_enabled: Option<bool>,
    app_role_assignment_required: Option<bool>,
    key_credentials: Option<Vec<KeyBody>>,
    password_credentials: Option<Vec<IgnoredAny>>,
    #[serde(flatten)]
    rest: Rest,
}

impl PrincipalBody {
    fn read(self) -> Result<ServicePrincipalChange, GraphError> {
        check_rest(RESOURCE, &self.rest)?;
        Ok(ServicePrincipalChange {
            is_enabled: self.account_enabled,
            requires_assignment: self.app_role_assignment_required,
            keys: self.key_credentials.map(read_keys).transpose()?,
        })
    }
}

async fn create(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    base: Base,
    JsonBody(mut body): JsonBody<PrincipalBody>,
) -> Result<(StatusCode, Json<Value>), GraphError> {
    if body.password_credentials.take().is_some_and(|list| !list.is_empty()) {
        let why = "secrets are made by addPassword";
        return Err(GraphError::invalid(RESOURCE, "passwordCredentials", why));
    }
    let client = body.app_id.take();
    let client = client.ok_or_else(|| GraphError::invalid(RESOURCE, "appId", "it is required"))?;
    let (tenant, client, new) = (tenant(&operation)?, id(&client)?, body.read()?);
    let state = &graph.state;
    let made = service_principal::create(state, &operation, tenant, client, &new).await?;
    let body = principal_json(&state.snapshot(), &made);
    Ok((StatusCode::CREATED, Json(entity(&base, "servicePrincipals", body))))
}

/// The service principal that a request writes to.
fn target(
    graph: &Graph,
    operation: &OperationContext,
    params: &Params,
) -> Result<PrincipalId, GraphError> {
    Ok(path_principal(&graph.seen(operation), tenant(operation)?, params)?.id)
}

async fn change(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    JsonBody(body): JsonBody<PrincipalBody>,
) -> Result<StatusCode, GraphError> {
    let (tenant, id) = (tenant(&operation)?, target(&graph, &operation, &params)?);
    if body.app_id.is_some() {
        return Err(GraphError::invalid(RESOURCE, "appId", "it stays as it is"));
    }
    if body.password_credentials.is_some() {
        let why = "it is changed by addPassword and removePassword";
        return Err(GraphError::invalid(RESOURCE, "passwordCredentials", why));
    }
    service_principal::update(&graph.state, &operation, tenant, id, &body.read()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
) -> Result<StatusCode, GraphError> {
    let (tenant, id) = (tenant(&operation)?, target(&graph, &operation, &params)?);
    service_principal::delete(&graph.state, &operation, tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The application whose secrets a service principal has.
fn secrets(
    graph: &Graph,
    operation: &OperationContext,
    params: &Params,
) -> Result<ApplicationId, GraphError> {
    let snapshot = graph.seen(operation);
    let principal = path_principal(&snapshot, tenant(operation)?, params)?;
    Ok(service_principal::application_of(&snapshot, principal)?)
}

async fn add_password(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    JsonBody(body): JsonBody<AddPasswordBody>,
) -> Result<Json<Value>, GraphError> {
    let (tenant, id) = (tenant(&operation)?, secrets(&graph, &operation, &params)?);
    let made =
        registration::add_password(&graph.state, &operation, tenant, id, &body.read()?).await?;
    Ok(Json(made_password_json(&base, &made)))
}

async fn remove_password(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    JsonBody(body): JsonBody<RemovePasswordBody>,
) -> Result<StatusCode, GraphError> {
    let (tenant, id) = (tenant(&operation)?, secrets(&graph, &operation, &params)?);
    registration::remove_password(&graph.state, &operation, tenant, id, body.read()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn memberships(
    operation: &OperationContext,
    graph: &Graph,
    params: &Params,
    (uri, base): (&Uri, &Base),
    reach: Reach,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(uri)?;
    let (snapshot, tenant) = (graph.seen(operation), tenant(operation)?);
    let id = path_principal(&snapshot, tenant, params)?.id;
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
