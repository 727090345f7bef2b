//! Scale sets and their instances: `Microsoft.Compute/virtualMachineScaleSets` and its `virtualMachines`.
//!
//! The set carries the identities; `sku.capacity` says how many instances there are. Only uniform orchestration, where
//! instances are numbered parts of the set. What the set says holds for its instances at once, whatever its upgrade policy:
//! there is never anything to upgrade. Source: Microsoft.Compute REST API.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri};
use keycard_domain::compute::scale_set::{
    self, INSTANCE_TYPE, Instance, InstanceId, Selection, instance_name, instance_resource_id,
};
use keycard_domain::compute::{self, ComputeKind, ComputeRequest, ComputeResource, PowerState};
use keycard_domain::resources::async_operation;
use keycard_domain::snapshot::Snapshot;
use serde_json::{Map, Value, json};

use super::body::{JsonBody, page, resource_id};
use super::compute::{
    Manner, PLAIN, Shown, accepted, identity_json, list, location_of, patch_resource, put_resource,
    read, remove, resource_json,
};
use super::error::ArmError;
use super::resource_body::member;
use super::virtual_machines::{SUCCEEDED, expands_instance_view, instance_view, statuses};
use super::{Arm, row};
use crate::route::{Params, Rbac, Route, Unread};

const SET: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}";
const SETS_IN_GROUP: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets";
const SETS: &str =
    "/subscriptions/{subscription}/providers/Microsoft.Compute/virtualMachineScaleSets";
const DELETE_INSTANCES: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}/delete";
const MANUAL_UPGRADE: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}/manualUpgrade";
const VIEW: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}/instanceView";
const INSTANCES: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}/virtualMachines";
const INSTANCE: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}/virtualMachines/{instance}";
const INSTANCE_VIEW: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}/virtualMachines/{instance}/instanceView";

const READ: &str = "Microsoft.Compute/virtualMachineScaleSets/read";
const WRITE: &str = "Microsoft.Compute/virtualMachineScaleSets/write";
const DELETE: &str = "Microsoft.Compute/virtualMachineScaleSets/delete";
const DELETE_INSTANCES_ACTION: &str = "Microsoft.Compute/virtualMachineScaleSets/delete/action";
const UPGRADE: &str = "Microsoft.Compute/virtualMachineScaleSets/manualUpgrade/action";
const READ_VIEW: &str = "Microsoft.Compute/virtualMachineScaleSets/instanceView/read";
const READ_INSTANCE: &str = "Microsoft.Compute/virtualMachineScaleSets/virtualMachines/read";
const DELETE_INSTANCE: &str = "Microsoft.Compute/virtualMachineScaleSets/virtualMachines/delete";
const READ_INSTANCE_VIEW: &str =
    "Microsoft.Compute/virtualMachineScaleSets/virtualMachines/instanceView/read";

pub(super) const MANNER: Manner =
    Manner { polls: true, read_put: read_set, read_patch: read_set, show: show_members, ..PLAIN };

fn show_members(_: &Arm, set: &ComputeResource, shown: &mut Shown) {
    shown.properties.insert("uniqueId".to_owned(), json!(set.instance_id));
    let sku = shown.members.entry("sku").or_insert_with(|| json!({}));
    if let Some(sku) = sku.as_object_mut() {
        sku.insert("capacity".to_owned(), json!(set.instances.len()));
    }
}

pub(super) fn routes() -> Vec<Route<Arm>> {
    let (get, delete) = (Method::GET, Method::DELETE);
    let mut routes = vec![
        row(Method::PUT, SET, WRITE, |operation, arm, params, uri, body| {
            put_resource(operation, arm, params, uri, body, ComputeKind::ScaleSet)
        }),
        row(Method::PATCH, SET, WRITE, patch_resource),
        row(get.clone(), SET, READ, show),
        row(delete.clone(), SET, DELETE, remove),
        row(get.clone(), SETS_IN_GROUP, READ, list_sets),
        row(get.clone(), SETS, READ, list_sets),
        row(Method::POST, DELETE_INSTANCES, DELETE_INSTANCES_ACTION, delete_instances),
        row(Method::POST, MANUAL_UPGRADE, UPGRADE, upgrade),
        row(get.clone(), VIEW, READ_VIEW, show_view),
        row(get.clone(), INSTANCES, READ_INSTANCE, list_instances),
        row(get.clone(), INSTANCE, READ_INSTANCE, show_instance),
        row(get, INSTANCE_VIEW, READ_INSTANCE_VIEW, show_instance_view),
        row(delete, INSTANCE, DELETE_INSTANCE, remove_instance),
    ];
    routes.extend(power_routes());
    routes
}

macro_rules! power_rows {
    ($verb:literal, $state:expr) => {
        [
            row(
                Method::POST,
                concat!(
                    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}/",
                    $verb
                ),
                concat!("Microsoft.Compute/virtualMachineScaleSets/", $verb, "/action"),
                |operation: Rbac, arm: State<Arm>, params: Params, uri: Uri, body: JsonBody<Map<String, Value>>| {
                    power(operation, arm, (params, uri), body, $state)
                },
            ),
            row(
                Method::POST,
                concat!(
                    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}/virtualMachines/{instance}/",
                    $verb
                ),
                concat!("Microsoft.Compute/virtualMachineScaleSets/virtualMachines/", $verb, "/action"),
                |operation: Rbac, arm: State<Arm>, params: Params, uri: Uri, _: Unread| {
                    power_instance(operation, arm, (params, uri), $state)
                },
            ),
        ]
    };
}

/// As of virtual machines: the whole set, the instances that are named, or one.
fn power_routes() -> Vec<Route<Arm>> {
    let rows = [
        power_rows!("start", PowerState::Running),
        power_rows!("restart", PowerState::Running),
        power_rows!("reimage", PowerState::Running),
        power_rows!("redeploy", PowerState::Running),
        power_rows!("powerOff", PowerState::Stopped),
        power_rows!("deallocate", PowerState::Deallocated),
    ];
    rows.into_iter().flatten().collect()
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let set = compute::find(&snapshot, &resource_id(&params)?)?;
    Ok(Json(resource_json(&arm, &snapshot, set)))
}

async fn list_sets(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    list(&arm, ComputeKind::ScaleSet, &params, &uri)
}

async fn power(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    (params, uri): (Params, Uri),
    JsonBody(body): JsonBody<Map<String, Value>>,
    power_state: PowerState,
) -> Result<Response, ArmError> {
    let (set, selection) = (resource_id(&params)?, read_selection(&body)?);
    let selection = selection.unwrap_or(Selection::All);
    async_operation::begin(&arm.state, &operation);
    scale_set::set_power_state(&arm.state, &operation, &set, &selection, power_state)
        .await
        .map_err(|error| ArmError::compute(error, &set, &operation))?;
    Ok(accepted(&arm, &operation, (&params, &uri), &location_of(&arm, &set)))
}

async fn power_instance(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    (params, uri): (Params, Uri),
    power_state: PowerState,
) -> Result<Response, ArmError> {
    let id = resource_id(&params)?;
    async_operation::begin(&arm.state, &operation);
    scale_set::set_instance_power_state(&arm.state, &operation, &id, power_state)
        .await
        .map_err(|error| ArmError::compute(error, &id, &operation))?;
    Ok(accepted(&arm, &operation, (&params, &uri), &location_of(&arm, &id)))
}

async fn delete_instances(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Response, ArmError> {
    let (set, selection) = (resource_id(&params)?, read_selection(&body)?);
    let selection = selection.ok_or(ArmError::ParameterMissing("instanceIds"))?;
    async_operation::begin(&arm.state, &operation);
    scale_set::delete_instances(&arm.state, &operation, &set, &selection)
        .await
        .map_err(|error| ArmError::compute(error, &set, &operation))?;
    Ok(accepted(&arm, &operation, (&params, &uri), &location_of(&arm, &set)))
}

/// Every instance is as the set says already; only whether they are there is to be found out.
async fn upgrade(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<StatusCode, ArmError> {
    let selection = read_selection(&body)?.ok_or(ArmError::ParameterMissing("instanceIds"))?;
    let snapshot = arm.state.snapshot();
    selection.among(&compute::find(&snapshot, &resource_id(&params)?)?.instances)?;
    Ok(StatusCode::OK)
}

async fn show_view(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let set = compute::find(&snapshot, &resource_id(&params)?)?;
    let mut counts = BTreeMap::new();
    for (_, instance) in set.instances.iter() {
        for status in statuses(instance.power_state) {
            *counts.entry(status.code).or_insert(0) += 1;
        }
    }
    let counts: Vec<Value> =
        counts.iter().map(|(code, count)| json!({ "code": code, "count": count })).collect();
    Ok(Json(json!({
        "virtualMachine": { "statusesSummary": counts },
        "statuses": [SUCCEEDED],
    })))
}

async fn list_instances(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    let set = compute::find(&snapshot, &resource_id(&params)?)?;
    let expands = expands_instance_view(&uri);
    let items = set
        .instances
        .iter()
        // The key of an item is its place in the order of numbers.
        .map(|(id, it)| (format!("{id:020}"), instance_json(&snapshot, set, (id, it), expands)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

async fn show_instance(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let (set, id, instance) = scale_set::find_instance(&snapshot, &resource_id(&params)?)?;
    let expands = expands_instance_view(&uri);
    Ok(Json(instance_json(&snapshot, set, (id, instance), expands)))
}

async fn show_instance_view(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let (_, _, instance) = scale_set::find_instance(&snapshot, &resource_id(&params)?)?;
    Ok(Json(instance_view(instance.power_state)))
}

async fn remove_instance(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Response, ArmError> {
    let id = resource_id(&params)?;
    async_operation::begin(&arm.state, &operation);
    let existed = scale_set::delete_instance(&arm.state, &operation, &id)
        .await
        .map_err(|error| ArmError::compute(error, &id, &operation))?;
    if existed {
        Ok(accepted(&arm, &operation, (&params, &uri), &location_of(&arm, &id)))
    } else {
        Ok(StatusCode::NO_CONTENT.into_response())
    }
}

fn malformed(reason: &str) -> ArmError {
    ArmError::BodyMalformed(reason.to_owned())
}

/// What a PUT or PATCH says of a set. The capacity is not kept with the sku: it is what the instances amount to.
fn read_set(body: &Map<String, Value>) -> Result<ComputeRequest, ArmError> {
    let mut request = read(body)?;
    let mode = request.properties.as_ref().and_then(|it| member(it, "orchestrationMode"));
    if mode.as_ref().and_then(Value::as_str).is_some_and(|it| it.eq_ignore_ascii_case("Flexible")) {
        return Err(ArmError::Unsupported("scale sets in flexible orchestration"));
    }
    match request.other.remove("sku") {
        None => {}
        Some(Value::Object(mut sku)) => {
            request.capacity = member(&sku, "capacity").as_ref().map(read_capacity).transpose()?;
            sku.retain(|name, _| !name.eq_ignore_ascii_case("capacity"));
            if !sku.is_empty() {
                request.other.insert("sku".to_owned(), Value::Object(sku));
            }
        }
        Some(_) => return Err(malformed("'sku' is not an object. Path 'sku'.")),
    }
    Ok(request)
}

fn read_capacity(value: &Value) -> Result<u64, ArmError> {
    value.as_u64().ok_or_else(|| {
        malformed(&format!(
            "Could not convert '{value}' to a number of instances. Path 'sku.capacity'."
        ))
    })
}

/// Which instances the body names; `None` when it names none. `*` is all.
fn read_selection(body: &Map<String, Value>) -> Result<Option<Selection>, ArmError> {
    let ids = match member(body, "instanceIds") {
        None => return Ok(None),
        Some(Value::Array(ids)) => ids,
        Some(_) => return Err(malformed("'instanceIds' is not an array. Path 'instanceIds'.")),
    };
    let mut named = Vec::new();
    for id in &ids {
        match id.as_str() {
            Some("*") => return Ok(Some(Selection::All)),
            Some(text) => named.push(text.parse::<InstanceId>()?),
            None => return Err(malformed("An instance id is not a string. Path 'instanceIds'.")),
        }
    }
    if named.is_empty() {
        Err(ArmError::ParameterMissing("instanceIds"))
    } else {
        Ok(Some(Selection::Of(named)))
    }
}

/// An instance as it is shown, with the identities that it acts as.
fn instance_json(
    snapshot: &Snapshot,
    set: &ComputeResource,
    (id, instance): (InstanceId, &Instance),
    expands: bool,
) -> Value {
    let mut properties = json!({
        "latestModelApplied": true,
        "vmId": instance.vm_id,
        "provisioningState": "Succeeded",
    });
    if expands && let Some(members) = properties.as_object_mut() {
        members.insert("instanceView".to_owned(), instance_view(instance.power_state));
    }
    let mut members = json!({
        "id": instance_resource_id(&set.id, id),
        "name": instance_name(&set.id, id),
        "type": INSTANCE_TYPE,
        "location": set.location,
        "instanceId": id.to_string(),
        "properties": properties,
    });
    let shared = [
        ("sku", set.other.get("sku").cloned()),
        ("tags", (!set.tags.is_empty()).then(|| json!(set.tags))),
        ("identity", identity_json(snapshot, set)),
    ];
    for (name, value) in shared {
        if let (Some(value), Some(members)) = (value, members.as_object_mut()) {
            members.insert(name.to_owned(), value);
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_capacity_is_read_apart_from_the_sku() {
        for (sku, capacity, kept) in [
            (json!({ "name": "S", "Capacity": 3 }), Some(3), json!({ "sku": { "name": "S" } })),
            (json!({ "capacity": 0 }), Some(0), json!({})),
            (json!({ "name": "S", "capacity": null }), None, json!({ "sku": { "name": "S" } })),
            (Value::Null, None, json!({})),
        ] {
            let request = read_set(&object(&json!({ "sku": sku }))).unwrap();
            assert_eq!(request.capacity, capacity, "{sku}");
            assert_eq!(Value::Object(request.other), kept, "{sku}");
        }
        for wrong in [json!(-1), json!(1.5), json!("2"), json!([])] {
            let body = object(&json!({ "sku": { "capacity": wrong } }));
            assert!(matches!(read_set(&body), Err(ArmError::BodyMalformed(_))), "{wrong}");
        }
        assert!(read_set(&object(&json!({ "sku": "S" }))).is_err());
    }

    #[test]
    fn instances_are_named_by_number_or_all_at_once() {
        let of = |ids: &[&str]| Selection::Of(ids.iter().map(|id| id.parse().unwrap()).collect());
        for (ids, expected) in [
            (Value::Null, None),
            (json!(["1", "0"]), Some(of(&["1", "0"]))),
            (json!(["*"]), Some(Selection::All)),
        ] {
            assert_eq!(
                read_selection(&object(&json!({ "InstanceIds": ids }))),
                Ok(expected),
                "{ids}"
            );
        }
        for wrong in [json!([]), json!("1"), json!([1]), json!(["1 2"]), json!(["-1"])] {
            assert!(read_selection(&object(&json!({ "instanceIds": wrong }))).is_err(), "{wrong}");
        }
    }
}
