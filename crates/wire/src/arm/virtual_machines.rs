//! Virtual machines: `Microsoft.Compute/virtualMachines`.
//!
//! Everything is done when it is answered; clients poll all the same. Source: Microsoft.Compute REST API.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{Method, Uri};
use keycard_domain::compute::{self, ComputeKind, ComputeResource, PowerState};
use keycard_domain::resources::async_operation;
use serde::Serialize;
use serde_json::{Value, json};

use super::body::resource_id;
use super::compute::{
    Manner, PLAIN, Shown, accepted, list, location_of, patch_resource, put_resource, remove,
    resource_json, switch,
};
use super::error::ArmError;
use super::{Arm, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route, Unread};

const VM: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}";
const VMS_IN_GROUP: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines";
const INSTANCE_VIEW: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}/instanceView";
const VMS: &str = "/subscriptions/{subscription}/providers/Microsoft.Compute/virtualMachines";

pub(super) const MANNER: Manner = Manner { polls: true, show: show_members, ..PLAIN };

fn show_members(_: &Arm, vm: &ComputeResource, shown: &mut Shown) {
    shown.properties.insert("vmId".to_owned(), json!(vm.instance_id));
}

pub(super) fn routes() -> Vec<Route<Arm>> {
    let (get, put, patch, delete) = (Method::GET, Method::PUT, Method::PATCH, Method::DELETE);
    let mut routes = vec![
        row(
            put,
            VM,
            "Microsoft.Compute/virtualMachines/write",
            |operation, arm, params, uri, body| {
                put_resource(operation, arm, params, uri, body, ComputeKind::VirtualMachine)
            },
        ),
        row(patch, VM, "Microsoft.Compute/virtualMachines/write", patch_resource),
        row(get.clone(), VM, "Microsoft.Compute/virtualMachines/read", show),
        row(delete, VM, "Microsoft.Compute/virtualMachines/delete", remove),
        row(
            get.clone(),
            INSTANCE_VIEW,
            "Microsoft.Compute/virtualMachines/instanceView/read",
            show_instance_view,
        ),
        row(get.clone(), VMS_IN_GROUP, "Microsoft.Compute/virtualMachines/read", list_vms),
        row(get, VMS, "Microsoft.Compute/virtualMachines/read", list_vms),
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

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let resource = compute::find(&snapshot, &resource_id(&params)?)?;
    let mut json = resource_json(&arm, &snapshot, resource);
    if expands_instance_view(&uri)
        && let Some(properties) = json.get_mut("properties").and_then(Value::as_object_mut)
    {
        properties.insert("instanceView".to_owned(), instance_view(resource.power_state));
    }
    Ok(Json(json))
}

async fn show_instance_view(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let resource = compute::find(&snapshot, &resource_id(&params)?)?;
    Ok(Json(instance_view(resource.power_state)))
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

async fn list_vms(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    list(&arm, ComputeKind::VirtualMachine, &params, &uri)
}

async fn power(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    power_state: PowerState,
) -> Result<Response, ArmError> {
    let location = location_of(&arm, &resource_id(&params)?);
    async_operation::begin(&arm.state, &operation);
    switch(&operation, &arm, &params, power_state).await?;
    Ok(accepted(&arm, &operation, (&params, &uri), &location))
}
