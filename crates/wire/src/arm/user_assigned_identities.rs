//! User-assigned identities: `Microsoft.ManagedIdentity/userAssignedIdentities`, and `identities/default`.
//!
//! Source: Microsoft.ManagedIdentity REST API; ids are written with `resourcegroups` in lower case, as recorded.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri, header};
use keycard_domain::directory::UserAssignedIdentity;
use keycard_domain::directory::user_assigned_identity::{
    self as identities, NewUserAssignedIdentity,
};
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::listing;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, page, require_container, resource_id};
use super::error::ArmError;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route, Unread};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let one = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}";
    let in_group = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities";
    let revocation = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}/revokeTokens";
    let in_subscription =
        "/subscriptions/{subscription}/providers/Microsoft.ManagedIdentity/userAssignedIdentities";
    let of_resource = "/{*scope}/providers/Microsoft.ManagedIdentity/identities/default";
    let read = "Microsoft.ManagedIdentity/userAssignedIdentities/read";
    let write = "Microsoft.ManagedIdentity/userAssignedIdentities/write";
    let delete = "Microsoft.ManagedIdentity/userAssignedIdentities/delete";
    let revoke = "Microsoft.ManagedIdentity/userAssignedIdentities/revokeTokens/action";
    vec![
        row(Method::PUT, one, write, put),
        row(Method::PATCH, one, write, patch),
        row(Method::GET, one, read, show),
        row(Method::DELETE, one, delete, remove),
        row(Method::POST, revocation, revoke, revoke_tokens),
        row(Method::GET, in_group, read, list),
        row(Method::GET, in_subscription, read, list),
        row(Method::GET, of_resource, "Microsoft.ManagedIdentity/identities/read", system_assigned),
    ]
}

fn identity_json(identity: &UserAssignedIdentity) -> Value {
    json!({
        "location": identity.location,
        "tags": identity.tags,
        "id": identity.id.with_lowercase_group_segment(),
        "name": identity.id.name(),
        "type": identities::RESOURCE_TYPE,
        "properties": {
            "tenantId": identity.tenant_id,
            "principalId": identity.principal_id,
            "clientId": identity.client_id,
        },
    })
}

#[derive(Deserialize)]
struct IdentityBody {
    location: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    properties: Option<PropertiesBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PropertiesBody {
    isolation_scope: Option<String>,
    assignment_restrictions: Option<Value>,
}

/// Settings that would have an effect in Azure are refused, not dropped.
fn check_supported(properties: Option<&PropertiesBody>) -> Result<(), ArmError> {
    let Some(properties) = properties else { return Ok(()) };
    let is_isolated =
        properties.isolation_scope.as_ref().is_some_and(|s| !s.eq_ignore_ascii_case("None"));
    if is_isolated {
        return Err(ArmError::Unsupported("isolationScope"));
    }
    if properties.assignment_restrictions.as_ref().is_some_and(|value| !value.is_null()) {
        return Err(ArmError::Unsupported("assignmentRestrictions"));
    }
    Ok(())
}

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<IdentityBody>,
) -> Result<Response, ArmError> {
    check_supported(body.properties.as_ref())?;
    let new = NewUserAssignedIdentity {
        id: resource_id(&params)?,
        location: body.location,
        tags: body.tags.unwrap_or_default(),
    };
    let put = identities::put(&arm.state, &operation, &new).await?;
    let location = [(header::LOCATION, put.resource.id.with_lowercase_group_segment())];
    let body = Json(identity_json(&put.resource));
    Ok(if put.is_new {
        (StatusCode::CREATED, location, body).into_response()
    } else {
        (StatusCode::OK, body).into_response()
    })
}

async fn patch(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<IdentityBody>,
) -> Result<Json<Value>, ArmError> {
    check_supported(body.properties.as_ref())?;
    let id = resource_id(&params)?;
    let identity = identities::patch(
        &arm.state,
        &operation,
        &id,
        body.location.as_deref(),
        body.tags.as_ref(),
    )
    .await?;
    Ok(Json(identity_json(&identity)))
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    Ok(Json(identity_json(identities::find(&snapshot, &resource_id(&params)?)?)))
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let existed = identities::delete(&arm.state, &operation, &resource_id(&params)?).await?;
    Ok(if existed { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

async fn revoke_tokens(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<StatusCode, ArmError> {
    identities::revoke_tokens(&arm.state, &operation, &resource_id(&params)?).await?;
    Ok(StatusCode::OK)
}

async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    require_container(&snapshot, &params)?;
    let items = identities::list(&snapshot, params.resource())
        .iter()
        .map(|identity| (identity.id.key(), identity_json(identity)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

/// The system-assigned identity of any resource.
async fn system_assigned(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let id: ArmResourceId = params.scope().parse().map_err(|_| ArmError::PathMalformed)?;
    let snapshot = arm.state.snapshot();
    let resource = listing::find(&snapshot, &id)?;
    let system = resource.identity.system_assigned.as_ref().ok_or_else(|| ArmError::NotFound {
        resource_type: "Microsoft.ManagedIdentity/identities".to_owned(),
        name: "default".to_owned(),
    })?;
    let principal = snapshot.service_principal(system.principal_id);
    Ok(Json(json!({
        "id": format!("{id}/providers/Microsoft.ManagedIdentity/identities/default"),
        "name": "default",
        "type": "Microsoft.ManagedIdentity/identities",
        "location": resource.location,
        "tags": resource.tags,
        "properties": {
            "tenantId": principal.map(|principal| principal.tenant_id),
            "principalId": system.principal_id,
            "clientId": system.client_id,
        },
    })))
}
