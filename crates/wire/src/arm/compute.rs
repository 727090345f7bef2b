//! Virtual machines and sites: `Microsoft.Compute/virtualMachines`, `Microsoft.Web/sites`.
//!
//! PATCH merges the identity map, PUT replaces it; the type always decides. Everything is done when it is answered; the
//! clients of machines poll all the same. Source: Microsoft.Compute and Microsoft.Web REST APIs.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri};
use keycard_domain::compute::{self, ComputeKind, ComputeRequest, ComputeResource, PowerState};
use keycard_domain::operation::OperationContext;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::{async_operation, require_subscription};
use keycard_domain::snapshot::Snapshot;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::async_operations::{Polling, headers};
use super::body::{JsonBody, page, require_container, resource_id};
use super::error::ArmError;
use super::{Arm, identity, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route, Unread};

const VM: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}";
const VMS_IN_GROUP: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines";
const VMS: &str = "/subscriptions/{subscription}/providers/Microsoft.Compute/virtualMachines";
const SITE: &str =
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Web/sites/{name}";
const SITES_IN_GROUP: &str =
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Web/sites";
const SITES: &str = "/subscriptions/{subscription}/providers/Microsoft.Web/sites";

pub(super) fn routes() -> Vec<Route<Arm>> {
    let (get, put, patch, delete) = (Method::GET, Method::PUT, Method::PATCH, Method::DELETE);
    let mut routes = vec![
        row(put.clone(), VM, "Microsoft.Compute/virtualMachines/write", put_vm),
        row(patch.clone(), VM, "Microsoft.Compute/virtualMachines/write", patch_vm),
        row(get.clone(), VM, "Microsoft.Compute/virtualMachines/read", show),
        row(delete.clone(), VM, "Microsoft.Compute/virtualMachines/delete", remove_machine),
        row(get.clone(), VMS_IN_GROUP, "Microsoft.Compute/virtualMachines/read", list_vms),
        row(get.clone(), VMS, "Microsoft.Compute/virtualMachines/read", list_vms),
        row(put, SITE, "Microsoft.Web/sites/write", put_site),
        row(patch, SITE, "Microsoft.Web/sites/write", patch_site),
        row(get.clone(), SITE, "Microsoft.Web/sites/read", show),
        row(delete, SITE, "Microsoft.Web/sites/delete", remove_site),
        row(get.clone(), SITES_IN_GROUP, "Microsoft.Web/sites/read", list_sites),
        row(get, SITES, "Microsoft.Web/sites/read", list_sites),
    ];
    routes.extend(power_routes());
    routes
}

macro_rules! power_row {
    ($verb:literal, $state:expr) => {
        row(
            Method::POST,
            concat!(
                "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}/",
                $verb
            ),
            concat!("Microsoft.Compute/virtualMachines/", $verb, "/action"),
            |operation: Rbac, arm: State<Arm>, params: Params, uri: Uri, _: Unread| {
                power(operation, arm, params, uri, $state)
            },
        )
    };
}

/// Identities stay whatever the power state is; only their tokens depend on it.
fn power_routes() -> Vec<Route<Arm>> {
    vec![
        power_row!("start", PowerState::Running),
        power_row!("restart", PowerState::Running),
        power_row!("reimage", PowerState::Running),
        power_row!("redeploy", PowerState::Running),
        power_row!("powerOff", PowerState::Stopped),
        power_row!("deallocate", PowerState::Deallocated),
    ]
}

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

pub(super) fn resource_json(snapshot: &Snapshot, resource: &ComputeResource) -> Value {
    let mut properties = resource.properties.clone();
    let mut members = resource.other.clone();
    properties.insert("provisioningState".to_owned(), json!("Succeeded"));
    match resource.kind {
        ComputeKind::VirtualMachine => {
            properties.insert("vmId".to_owned(), json!(resource.instance_id));
        }
        ComputeKind::Site => {
            let state =
                if resource.power_state == PowerState::Running { "Running" } else { "Stopped" };
            properties.insert("state".to_owned(), json!(state));
            properties.insert("enabled".to_owned(), json!(true));
        }
        ComputeKind::ScaleSet => {
            properties.insert("uniqueId".to_owned(), json!(resource.instance_id));
            let sku = members.entry("sku").or_insert_with(|| json!({}));
            if let Some(sku) = sku.as_object_mut() {
                sku.insert("capacity".to_owned(), json!(resource.instances.len()));
            }
        }
    }
    members.insert("id".to_owned(), json!(resource.id));
    members.insert("name".to_owned(), json!(resource.id.name()));
    members.insert("type".to_owned(), json!(resource.kind.resource_type()));
    members.insert("location".to_owned(), json!(resource.location));
    if !resource.tags.is_empty() {
        members.insert("tags".to_owned(), json!(resource.tags));
    }
    members.insert("properties".to_owned(), Value::Object(properties));
    if let Some(identity) = identity_json(snapshot, resource) {
        members.insert("identity".to_owned(), identity);
    }
    Value::Object(members)
}

/// The `identity` member; `None` when the resource has no identity.
pub(super) fn identity_json(snapshot: &Snapshot, resource: &ComputeResource) -> Option<Value> {
    let subscription = require_subscription(snapshot, resource.id.subscription()).ok()?;
    identity::write(&resource.identity, subscription.tenant_id)
}

async fn put_vm(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<(StatusCode, HeaderMap, Json<Value>), ArmError> {
    let place = (&params, &uri);
    put_machine(&operation, &arm, place, &read(&body)?, ComputeKind::VirtualMachine).await
}

/// Puts a machine or a set of them, whose client polls.
pub(super) async fn put_machine(
    operation: &OperationContext,
    arm: &Arm,
    (params, uri): (&Params, &Uri),
    request: &ComputeRequest,
    kind: ComputeKind,
) -> Result<(StatusCode, HeaderMap, Json<Value>), ArmError> {
    async_operation::begin(&arm.state, operation);
    let (is_new, json) = put(operation, arm, params, request, kind).await?;
    let polling = headers(arm, operation, (params, uri), Polling::Status(location(&json)));
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, polling, json))
}

/// Patches a machine or a set of them, whose client polls.
pub(super) async fn patch_machine(
    operation: &OperationContext,
    arm: &Arm,
    (params, uri): (&Params, &Uri),
    request: &ComputeRequest,
) -> Result<(HeaderMap, Json<Value>), ArmError> {
    async_operation::begin(&arm.state, operation);
    let json = patch(operation, arm, params, request).await?;
    let polling = headers(arm, operation, (params, uri), Polling::Status(location(&json)));
    Ok((polling, json))
}

fn location(resource: &Value) -> &str {
    resource.get("location").and_then(Value::as_str).unwrap_or_default()
}

/// A site's PUT answers 200 also when it made it.
async fn put_site(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Json<Value>, ArmError> {
    Ok(put(&operation, &arm, &params, &read(&body)?, ComputeKind::Site).await?.1)
}

async fn put(
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
    Ok((put.is_new, Json(resource_json(&arm.state.snapshot(), &put.resource))))
}

async fn patch_vm(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<(HeaderMap, Json<Value>), ArmError> {
    patch_machine(&operation, &arm, (&params, &uri), &read(&body)?).await
}

async fn patch_site(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Json<Value>, ArmError> {
    patch(&operation, &arm, &params, &read(&body)?).await
}

async fn patch(
    operation: &OperationContext,
    arm: &Arm,
    params: &Params,
    request: &ComputeRequest,
) -> Result<Json<Value>, ArmError> {
    let id = resource_id(params)?;
    let resource = compute::patch(&arm.state, operation, &id, request)
        .await
        .map_err(|error| ArmError::compute(error, &id, operation))?;
    Ok(Json(resource_json(&arm.state.snapshot(), &resource)))
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let resource = compute::find(&snapshot, &resource_id(&params)?)?;
    let mut json = resource_json(&snapshot, resource);
    if expands_instance_view(&uri)
        && let Some(properties) = json.get_mut("properties").and_then(Value::as_object_mut)
    {
        properties.insert("instanceView".to_owned(), instance_view(resource.power_state));
    }
    Ok(Json(json))
}

pub(super) fn expands_instance_view(uri: &Uri) -> bool {
    Parameters::of(uri).get("$expand").is_some_and(|e| e.eq_ignore_ascii_case("instanceView"))
}

pub(super) fn instance_view(power_state: PowerState) -> Value {
    json!({ "statuses": statuses(power_state) })
}

/// A status of a machine, as its instance view has several.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceStatus {
    pub(super) code: &'static str,
    level: &'static str,
    display_status: &'static str,
}

impl InstanceStatus {
    const fn new(code: &'static str, display_status: &'static str) -> Self {
        Self { code, level: "Info", display_status }
    }
}

/// All that is written is there at once.
pub(super) const SUCCEEDED: InstanceStatus =
    InstanceStatus::new("ProvisioningState/succeeded", "Provisioning succeeded");

/// What the machine's instance view says of it.
pub(super) const fn statuses(power_state: PowerState) -> [InstanceStatus; 2] {
    let power = match power_state {
        PowerState::Running => InstanceStatus::new("PowerState/running", "VM running"),
        PowerState::Stopped => InstanceStatus::new("PowerState/stopped", "VM stopped"),
        PowerState::Deallocated => InstanceStatus::new("PowerState/deallocated", "VM deallocated"),
    };
    [SUCCEEDED, power]
}

/// Deletes a machine or a set of them, whose client polls.
pub(super) async fn remove_machine(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Response, ArmError> {
    let id = resource_id(&params)?;
    let location = location_of(&arm, &id);
    async_operation::begin(&arm.state, &operation);
    let existed = compute::delete(&arm.state, &operation, &id)
        .await
        .map_err(|error| ArmError::compute(error, &id, &operation))?;
    if existed {
        Ok(accepted(&arm, &operation, (&params, &uri), &location))
    } else {
        Ok(StatusCode::NO_CONTENT.into_response())
    }
}

/// Where a machine, or the set that an instance is of, stands.
pub(super) fn location_of(arm: &Arm, id: &ArmResourceId) -> String {
    let snapshot = arm.state.snapshot();
    let is_set = compute::find(&snapshot, id).is_ok();
    let whole = if is_set { Some(id.clone()) } else { id.parent() };
    let found = whole.and_then(|id| compute::find(&snapshot, &id).ok());
    found.map(|resource| resource.location.clone()).unwrap_or_default()
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

async fn remove_site(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let id = resource_id(&params)?;
    let existed = compute::delete(&arm.state, &operation, &id)
        .await
        .map_err(|error| ArmError::compute(error, &id, &operation))?;
    Ok(if existed { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

async fn list_vms(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    list(&arm, ComputeKind::VirtualMachine, &params, &uri)
}

async fn list_sites(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    list(&arm, ComputeKind::Site, &params, &uri)
}

pub(super) fn list(
    arm: &Arm,
    kind: ComputeKind,
    params: &Params,
    uri: &Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    require_container(&snapshot, params)?;
    let items = compute::list(&snapshot, kind, params.resource())
        .iter()
        .map(|resource| (resource.id.key(), resource_json(&snapshot, resource)))
        .collect();
    Ok(Json(page(uri, &arm.names.url("management"), items)))
}

async fn power(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    power_state: PowerState,
) -> Result<Response, ArmError> {
    let id = resource_id(&params)?;
    let location = location_of(&arm, &id);
    async_operation::begin(&arm.state, &operation);
    compute::set_power_state(&arm.state, &operation, &id, power_state)
        .await
        .map_err(|error| ArmError::compute(error, &id, &operation))?;
    Ok(accepted(&arm, &operation, (&params, &uri), &location))
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
