//! The Entra administrator of a SQL server: `Microsoft.Sql/servers/{name}/administrators/ActiveDirectory`.
//!
//! Source: Microsoft.Sql REST API, server Azure AD administrators.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode};
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::sql::administrator::{self, Administrator};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, resource_id};
use super::error::ArmError;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route};

const RESOURCE_TYPE: &str = "Microsoft.Sql/servers/administrators";

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Sql/servers/{name}/administrators";
    let one = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Sql/servers/{name}/administrators/{administrator}";
    let read = "Microsoft.Sql/servers/administrators/read";
    vec![
        row(Method::GET, all, read, list),
        row(Method::GET, one, read, show),
        row(Method::PUT, one, "Microsoft.Sql/servers/administrators/write", put),
        row(Method::DELETE, one, "Microsoft.Sql/servers/administrators/delete", remove),
    ]
}

/// The server of the request; a server has one administrator, under one name.
fn server(params: &Params) -> Result<ArmResourceId, ArmError> {
    let id = resource_id(params)?;
    if !id.name().eq_ignore_ascii_case("ActiveDirectory") {
        return Err(not_found(id.name()));
    }
    id.parent().ok_or(ArmError::PathMalformed)
}

fn not_found(name: &str) -> ArmError {
    ArmError::NotFound { resource_type: RESOURCE_TYPE.to_owned(), name: name.to_owned() }
}

fn administrator_json(server: &ArmResourceId, administrator: &Administrator) -> Value {
    let mut properties = json!(administrator);
    if let Some(members) = properties.as_object_mut() {
        members.insert("administratorType".to_owned(), json!("ActiveDirectory"));
    }
    json!({
        "id": format!("{server}/administrators/ActiveDirectory"),
        "name": "ActiveDirectory",
        "type": RESOURCE_TYPE,
        "properties": properties,
    })
}

async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let server = resource_id(&params)?;
    let found = administrator::find(&arm.state.snapshot(), &server)?;
    let shown: Vec<Value> = found.iter().map(|it| administrator_json(&server, it)).collect();
    Ok(Json(json!({ "value": shown })))
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let server = server(&params)?;
    let found = administrator::find(&arm.state.snapshot(), &server)?;
    found
        .map(|found| Json(administrator_json(&server, &found)))
        .ok_or_else(|| not_found("ActiveDirectory"))
}

#[derive(Deserialize)]
struct AdministratorBody {
    properties: Administrator,
}

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<AdministratorBody>,
) -> Result<(StatusCode, Json<Value>), ArmError> {
    let (server, administrator) = (server(&params)?, body.properties);
    let former = administrator::set(&arm.state, &operation, &server, Some(&administrator)).await?;
    let status = if former.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(administrator_json(&server, &administrator))))
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let former = administrator::set(&arm.state, &operation, &server(&params)?, None).await?;
    Ok(if former.is_some() { StatusCode::OK } else { StatusCode::NO_CONTENT })
}
