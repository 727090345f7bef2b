//! What all kinds of compute resources share on the wire: reading, showing, the rows that each of them has.
//!
//! PATCH merges the identity map, PUT replaces it; the type always decides. What a kind has besides is in its own file.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, StatusCode, Uri, header};
use keycard_domain::compute::{self, ComputeKind, ComputeRequest, ComputeResource, PowerState};
use keycard_domain::operation::OperationContext;
use keycard_domain::records::Versioned;
use keycard_domain::resources::require_subscription;
use keycard_domain::snapshot::Snapshot;
use serde_json::{Map, Value, json};

use super::body::{JsonBody, page, require_container, resource_id};
use super::error::ArmError;
use super::{
    Arm, container_apps, hybrid_machines, identity, managed_clusters, sites,
    virtual_machine_scale_sets, virtual_machines,
};
use crate::route::{Params, Rbac};

type ReadBody = fn(&Map<String, Value>) -> Result<ComputeRequest, ArmError>;

/// How most kinds are spoken of.
pub(super) const PLAIN: Manner = Manner {
    made: StatusCode::CREATED,
    deleted: StatusCode::OK,
    has_etag: false,
    read_put: read,
    read_patch: read,
    show: |_, _, _| {},
};

/// How the face speaks of a kind.
pub(super) struct Manner {
    /// What a PUT answers that made the resource.
    pub(super) made: StatusCode,
    /// What a DELETE answers that deleted it.
    pub(super) deleted: StatusCode,
    /// Whether answers carry the header `ETag`.
    pub(super) has_etag: bool,
    /// What the body of a PUT says.
    pub(super) read_put: ReadBody,
    /// What the body of a PATCH says.
    pub(super) read_patch: ReadBody,
    /// Adds the members that the kind's resources have besides those of every resource.
    pub(super) show: fn(&Arm, &ComputeResource, &mut Shown),
}

/// A resource on its way out: what stands in `properties`, and beside it.
pub(super) struct Shown {
    pub(super) properties: Map<String, Value>,
    pub(super) members: Map<String, Value>,
}

const fn manner(kind: ComputeKind) -> &'static Manner {
    match kind {
        ComputeKind::VirtualMachine => &virtual_machines::MANNER,
        ComputeKind::Site | ComputeKind::Slot => &sites::MANNER,
        ComputeKind::ScaleSet => &virtual_machine_scale_sets::MANNER,
        ComputeKind::ManagedCluster => &managed_clusters::MANNER,
        ComputeKind::ArcMachine => &hybrid_machines::MANNER,
        ComputeKind::ContainerApp => &container_apps::MANNER,
    }
}

/// The rows that every kind has. Of parts of other resources, with what their ids have after `providers/`.
macro_rules! kind_rows {
    ($kind:expr, $type:literal) => {{
        let mut rows = crate::arm::compute::kind_rows!($kind, $type, $type, "/{name}");
        let all = concat!("/subscriptions/{subscription}/providers/", $type);
        rows.push(crate::arm::row(
            http::Method::GET,
            all,
            concat!($type, "/read"),
            |operation, arm, params, uri| {
                crate::arm::compute::list_resources(operation, arm, params, uri, $kind)
            },
        ));
        rows
    }};
    ($kind:expr, $type:literal, $all:literal, $one:literal) => {{
        use http::Method;

        use crate::arm::compute;
        use crate::arm::row;
        let all = concat!("/subscriptions/{subscription}/resourceGroups/{group}/providers/", $all);
        let one =
            concat!("/subscriptions/{subscription}/resourceGroups/{group}/providers/", $all, $one);
        let (read, write, delete) =
            (concat!($type, "/read"), concat!($type, "/write"), concat!($type, "/delete"));
        vec![
            row(Method::PUT, one, write, |operation, arm, params, body| {
                compute::put_resource(operation, arm, params, body, $kind)
            }),
            row(Method::PATCH, one, write, compute::patch_resource),
            row(Method::GET, one, read, compute::show_resource),
            row(Method::DELETE, one, delete, compute::remove),
            row(Method::GET, all, read, |operation, arm, params, uri| {
                compute::list_resources(operation, arm, params, uri, $kind)
            }),
        ]
    }};
}
pub(super) use kind_rows;

/// Further top-level members that are kept and returned.
const KEPT: &[&str] = &["kind", "sku", "zones", "plan", "extendedLocation", "managedBy"];

/// A member by its name, whose case means nothing.
pub(super) fn member(body: &Map<String, Value>, name: &str) -> Option<Value> {
    let found = body.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).filter(|value| !value.is_null()).cloned()
}

pub(super) fn read(body: &Map<String, Value>) -> Result<ComputeRequest, ArmError> {
    let malformed = |error: serde_json::Error| ArmError::BodyMalformed(error.to_string());
    let kept = |name: &&str| member(body, name).map(|value| ((*name).to_owned(), value));
    Ok(ComputeRequest {
        location: member(body, "location")
            .map(serde_json::from_value)
            .transpose()
            .map_err(malformed)?,
        tags: member(body, "tags")
            .map(serde_json::from_value::<BTreeMap<String, String>>)
            .transpose()
            .map_err(malformed)?,
        identity: identity::read(member(body, "identity").as_ref())?,
        properties: member(body, "properties")
            .map(serde_json::from_value::<Map<String, Value>>)
            .transpose()
            .map_err(malformed)?
            .map(without_secrets),
        other: KEPT.iter().filter_map(kept).collect(),
        capacity: None,
        power_state: None,
        cluster: None,
    })
}

/// Members of properties that hold secrets. Azure never returns them; keycard does not keep them in the first place.
const SECRET_MEMBERS: &[&str] = &[
    "adminPassword",
    "customData",
    "userData",
    "secrets",
    "additionalUnattendContent",
    "protectedSettings",
    "appSettings",
    "connectionStrings",
    "publishingPassword",
];

/// The properties without what is secret in them, however deep it stands.
fn without_secrets(properties: Map<String, Value>) -> Map<String, Value> {
    let is_secret =
        |name: &str| SECRET_MEMBERS.iter().any(|known| known.eq_ignore_ascii_case(name));
    properties
        .into_iter()
        .filter(|(name, _)| !is_secret(name))
        .map(|(name, value)| (name, value_without_secrets(value)))
        .collect()
}

fn value_without_secrets(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(without_secrets(members)),
        Value::Array(items) => Value::Array(items.into_iter().map(value_without_secrets).collect()),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

pub(super) fn resource_json(arm: &Arm, snapshot: &Snapshot, resource: &ComputeResource) -> Value {
    let mut shown =
        Shown { properties: resource.properties.clone(), members: resource.other.clone() };
    shown.properties.insert("provisioningState".to_owned(), json!("Succeeded"));
    let members = &mut shown.members;
    members.insert("id".to_owned(), json!(resource.id));
    members.insert("name".to_owned(), json!(resource.id.name()));
    members.insert("type".to_owned(), json!(resource.kind.resource_type()));
    members.insert("location".to_owned(), json!(resource.location));
    if !resource.tags.is_empty() {
        members.insert("tags".to_owned(), json!(resource.tags));
    }
    if let Some(identity) = identity_json(snapshot, resource) {
        members.insert("identity".to_owned(), identity);
    }
    (manner(resource.kind).show)(arm, resource, &mut shown);
    let Shown { properties, mut members } = shown;
    members.insert("properties".to_owned(), Value::Object(properties));
    Value::Object(members)
}

/// The `identity` member; `None` when the resource has no identity.
pub(super) fn identity_json(snapshot: &Snapshot, resource: &ComputeResource) -> Option<Value> {
    let subscription = require_subscription(snapshot, resource.id.subscription()).ok()?;
    identity::write(&resource.identity, subscription.tenant_id)
}

pub(super) async fn put_resource(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<Map<String, Value>>,
    kind: ComputeKind,
) -> Result<Response, ArmError> {
    let request = (manner(kind).read_put)(&body)?;
    let (is_new, json) = put(&operation, &arm, &params, &request, kind).await?;
    let status = if is_new { manner(kind).made } else { StatusCode::OK };
    let snapshot = arm.state.snapshot();
    let written = compute::find(&snapshot, &resource_id(&params)?).ok();
    Ok((status, written.and_then(etag), json).into_response())
}

/// The revision of what is shown, where the kind's answers tell it.
fn etag(resource: &Versioned<ComputeResource>) -> Option<[(HeaderName, String); 1]> {
    let tag = || [(header::ETAG, format!("\"{:X}\"", resource.revision.0))];
    manner(resource.kind).has_etag.then(tag)
}

pub(super) async fn put(
    operation: &OperationContext,
    arm: &Arm,
    params: &Params,
    request: &ComputeRequest,
    kind: ComputeKind,
) -> Result<(bool, Json<Value>), ArmError> {
    let id = resource_id(params)?;
    let put = compute::put(&arm.state, operation, kind, &id, request)
        .await
        .map_err(|error| ArmError::compute(error, &id, operation))?;
    Ok((put.is_new, Json(resource_json(arm, &arm.state.snapshot(), &put.resource))))
}

pub(super) async fn patch_resource(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Json<Value>, ArmError> {
    let kind = kind(&params)?;
    patch(&operation, &arm, &params, &(manner(kind).read_patch)(&body)?).await
}

pub(super) async fn patch(
    operation: &OperationContext,
    arm: &Arm,
    params: &Params,
    request: &ComputeRequest,
) -> Result<Json<Value>, ArmError> {
    let id = resource_id(params)?;
    let resource = compute::patch(&arm.state, operation, &id, request)
        .await
        .map_err(|error| ArmError::compute(error, &id, operation))?;
    Ok(Json(resource_json(arm, &arm.state.snapshot(), &resource)))
}

pub(super) async fn show_resource(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Response, ArmError> {
    let snapshot = arm.state.snapshot();
    let resource = compute::find(&snapshot, &resource_id(&params)?)?;
    Ok((etag(resource), Json(resource_json(&arm, &snapshot, resource))).into_response())
}

/// The kind that the row's path names.
fn kind(params: &Params) -> Result<ComputeKind, ArmError> {
    ComputeKind::of_type(&resource_id(params)?.resource_type()).ok_or(ArmError::PathMalformed)
}

/// Switches on or off.
pub(super) async fn switch(
    operation: &OperationContext,
    arm: &Arm,
    params: &Params,
    power_state: PowerState,
) -> Result<(), ArmError> {
    let id = resource_id(params)?;
    compute::set_power_state(&arm.state, operation, &id, power_state)
        .await
        .map_err(|error| ArmError::compute(error, &id, operation))
}

pub(super) async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let id = resource_id(&params)?;
    let existed = compute::delete(&arm.state, &operation, &id)
        .await
        .map_err(|error| ArmError::compute(error, &id, &operation))?;
    let deleted = manner(kind(&params)?).deleted;
    Ok(if existed { deleted } else { StatusCode::NO_CONTENT })
}

pub(super) async fn list_resources(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    kind: ComputeKind,
) -> Result<Json<Value>, ArmError> {
    list(&arm, kind, &params, &uri)
}

pub(super) fn list(
    arm: &Arm,
    kind: ComputeKind,
    params: &Params,
    uri: &Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    require_container(&snapshot, params)?;
    if let Ok(whole) = params.resource().parse() {
        compute::find(&snapshot, &whole)?;
    }
    let items = compute::list(&snapshot, kind, params.resource())
        .iter()
        .map(|resource| (resource.id.key(), resource_json(arm, &snapshot, resource)))
        .collect();
    Ok(Json(page(uri, &arm.names.url("management"), items)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_names_ignore_case_and_secrets_are_not_kept() {
        let body = json!({
            "Location": "local",
            "Identity": { "type": "SystemAssigned" },
            "Properties": { "osProfile": { "AdminPassword": "x", "name": "n" }, "UserData": "x", "list": [{ "customdata": "x" }] },
            "systemData": {},
            "Kind": "app",
        });
        let request = read(body.as_object().unwrap()).unwrap();
        assert_eq!(request.location.as_deref(), Some("local"));
        assert!(request.identity.is_some());
        assert_eq!(
            Value::Object(request.properties.unwrap()),
            json!({ "osProfile": { "name": "n" }, "list": [{}] })
        );
        assert_eq!(Value::Object(request.other), json!({ "kind": "app" }));
    }
}
