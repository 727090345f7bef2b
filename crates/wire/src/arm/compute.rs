//! What all kinds of compute resources share on the wire: reading, showing, the rows that each of them has.
//!
//! PATCH merges the identity map, PUT replaces it; the type always decides. What a kind has besides is in its own file.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use keycard_domain::compute::{self, ComputeKind, ComputeRequest, ComputeResource, PowerState};
use keycard_domain::operation::OperationContext;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::{async_operation, require_subscription};
use keycard_domain::snapshot::Snapshot;
use serde_json::{Map, Value, json};

use super::async_operations::{Polling, headers};
use super::body::{JsonBody, page, require_container, resource_id};
use super::error::ArmError;
use super::{
    Arm, container_apps, hybrid_machines, identity, managed_clusters, resource_body, sites,
    virtual_machine_scale_sets, virtual_machines,
};
use crate::route::{Params, Rbac};

type ReadBody = fn(&Map<String, Value>) -> Result<ComputeRequest, ArmError>;

/// How most kinds are spoken of.
pub(super) const PLAIN: Manner = Manner {
    made: StatusCode::CREATED,
    deleted: StatusCode::OK,
    polls: false,
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
    /// Whether clients are sent to poll what they wrote, though it is done when it is answered.
    pub(super) polls: bool,
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
            row(Method::PUT, one, write, |operation, arm, params, uri, body| {
                compute::put_resource(operation, arm, params, uri, body, $kind)
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

pub(super) fn read(body: &Map<String, Value>) -> Result<ComputeRequest, ArmError> {
    let body = resource_body::read(body)?;
    Ok(ComputeRequest {
        location: body.location,
        tags: body.tags,
        identity: body.identity,
        properties: body.properties,
        other: body.other,
        ..ComputeRequest::default()
    })
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
    uri: Uri,
    JsonBody(body): JsonBody<Map<String, Value>>,
    kind: ComputeKind,
) -> Result<(StatusCode, HeaderMap, Json<Value>), ArmError> {
    let (id, manner) = (resource_id(&params)?, manner(kind));
    let request = (manner.read_put)(&body)?;
    if manner.polls {
        async_operation::begin(&arm.state, &operation);
    }
    let put = compute::put(&arm.state, &operation, kind, &id, &request)
        .await
        .map_err(|error| ArmError::compute(error, &id, &operation))?;
    let status = if put.is_new { manner.made } else { StatusCode::OK };
    let polling = Polling::Status(&put.resource.location);
    let polling = headers(&arm, &operation, (&params, &uri), polling);
    Ok((status, polling, Json(resource_json(&arm, &arm.state.snapshot(), &put.resource))))
}

pub(super) async fn patch_resource(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<(HeaderMap, Json<Value>), ArmError> {
    let (id, manner) = (resource_id(&params)?, manner(kind(&params)?));
    let request = (manner.read_patch)(&body)?;
    if manner.polls {
        async_operation::begin(&arm.state, &operation);
    }
    let resource = compute::patch(&arm.state, &operation, &id, &request)
        .await
        .map_err(|error| ArmError::compute(error, &id, &operation))?;
    let polling = Polling::Status(&resource.location);
    let polling = headers(&arm, &operation, (&params, &uri), polling);
    Ok((polling, Json(resource_json(&arm, &arm.state.snapshot(), &resource))))
}

pub(super) async fn show_resource(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let resource = compute::find(&snapshot, &resource_id(&params)?)?;
    Ok(Json(resource_json(&arm, &snapshot, resource)))
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
    uri: Uri,
) -> Result<Response, ArmError> {
    let (id, manner) = (resource_id(&params)?, manner(kind(&params)?));
    let location = location_of(&arm, &id);
    if manner.polls {
        async_operation::begin(&arm.state, &operation);
    }
    let existed = compute::delete(&arm.state, &operation, &id)
        .await
        .map_err(|error| ArmError::compute(error, &id, &operation))?;
    Ok(match existed {
        true if manner.polls => accepted(&arm, &operation, (&params, &uri), &location),
        true => manner.deleted.into_response(),
        false => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Where a machine, or the set that an instance is of, stands.
pub(super) fn location_of(arm: &Arm, id: &ArmResourceId) -> String {
    let snapshot = arm.state.snapshot();
    let whole = compute::find(&snapshot, id).ok();
    let whole = whole.or_else(|| compute::find(&snapshot, &id.parent()?).ok());
    whole.map(|resource| resource.location.clone()).unwrap_or_default()
}

/// The answer to what was done to a machine: its client is sent to poll, and told nothing else.
pub(super) fn accepted(
    arm: &Arm,
    operation: &OperationContext,
    place: (&Params, &Uri),
    location: &str,
) -> Response {
    let polling = headers(arm, operation, place, Polling::StatusAndResult(location));
    (StatusCode::ACCEPTED, polling).into_response()
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
