//! Resource groups: `/subscriptions/{id}/resourceGroups/{name}`.
//!
//! Source: Azure Resource Manager REST API, resource groups.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, Method, StatusCode, Uri};
use keycard_domain::ids::SubscriptionId;
use keycard_domain::resources::ResourceError;
use keycard_domain::resources::async_operation;
use keycard_domain::resources::resource_group::{self, ResourceGroup};
use serde::Deserialize;
use serde_json::{Value, json};

use super::async_operations::{Polling, headers};
use super::body::{JsonBody, page};
use super::error::ArmError;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/subscriptions/{subscription}/resourceGroups";
    let one = "/subscriptions/{subscription}/resourceGroups/{group}";
    let read = "Microsoft.Resources/subscriptions/resourceGroups/read";
    let write = "Microsoft.Resources/subscriptions/resourceGroups/write";
    let delete = "Microsoft.Resources/subscriptions/resourceGroups/delete";
    vec![
        row(Method::GET, all, read, list),
        row(Method::GET, one, read, show),
        row(Method::HEAD, one, read, exists),
        row(Method::PUT, one, write, put),
        row(Method::DELETE, one, delete, remove),
    ]
}

fn subscription(params: &Params) -> Result<SubscriptionId, ArmError> {
    params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)
}

pub(super) fn group_json(group: &ResourceGroup) -> Value {
    json!({
        "id": group.path(),
        "name": group.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "tags": group.tags,
        "properties": { "provisioningState": "Succeeded" },
    })
}

async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    let groups = resource_group::list(&snapshot, subscription(&params)?)?;
    let items =
        groups.iter().map(|group| (group.name.to_ascii_lowercase(), group_json(group))).collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let group = resource_group::find(&snapshot, subscription(&params)?, params.get("group"))?;
    Ok(Json(group_json(group)))
}

async fn exists(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let snapshot = arm.state.snapshot();
    let found = resource_group::find(&snapshot, subscription(&params)?, params.get("group"));
    Ok(if found.is_ok() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

#[derive(Deserialize)]
struct PutBody {
    location: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<PutBody>,
) -> Result<(StatusCode, Json<Value>), ArmError> {
    let group = ResourceGroup {
        subscription_id: subscription(&params)?,
        name: params.get("group").to_owned(),
        location: body.location.ok_or(ResourceError::LocationRequired)?,
        tags: body.tags.unwrap_or_default(),
    };
    let put = resource_group::put(&arm.state, &operation, &group).await?;
    let status = if put.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(group_json(&put.resource))))
}

/// Done when it answers; clients poll all the same.
async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<(StatusCode, HeaderMap), ArmError> {
    let name = params.get("group");
    async_operation::begin(&arm.state, &operation);
    let existed =
        resource_group::delete(&arm.state, &operation, subscription(&params)?, name).await?;
    if existed {
        let polling = headers(&arm, &operation, (&params, &uri), Polling::Result);
        Ok((StatusCode::ACCEPTED, polling))
    } else {
        Err(ResourceError::GroupNotFound(name.to_owned()).into())
    }
}
