//! Arc-enabled servers: `Microsoft.HybridCompute/machines`.
//!
//! A machine is connected when whoever plays its agent says so; it has no local endpoint yet. Source:
//! Microsoft.HybridCompute REST API, 2022-12-27.

use http::StatusCode;
use keycard_domain::compute::{ComputeKind, ComputeRequest, ComputeResource, PowerState};
use serde_json::{Map, Value, json};

use super::Arm;
use super::body::date;
use super::compute::{Manner, PLAIN, Shown, kind_rows, read};
use super::error::ArmError;
use super::resource_body::member;
use crate::route::Route;

pub(super) const MANNER: Manner = Manner {
    made: StatusCode::OK,
    read_put: read_machine,
    read_patch: read_machine,
    show: show_members,
    ..PLAIN
};

pub(super) fn routes() -> Vec<Route<Arm>> {
    kind_rows!(ComputeKind::ArcMachine, "Microsoft.HybridCompute/machines")
}

/// What keycard says of a machine itself.
const OWN: &[&str] = &["status", "lastStatusChange", "provisioningState"];

// Differs from Azure: there the service finds out whether a machine is connected; here it is told.
fn read_machine(body: &Map<String, Value>) -> Result<ComputeRequest, ArmError> {
    let mut request = read(body)?;
    if let Some(properties) = &mut request.properties {
        request.power_state = member(properties, "status").as_ref().map(read_status).transpose()?;
        properties.retain(|name, _| !OWN.iter().any(|own| own.eq_ignore_ascii_case(name)));
    }
    Ok(request)
}

fn read_status(status: &Value) -> Result<PowerState, ArmError> {
    match status.as_str() {
        Some(text) if text.eq_ignore_ascii_case("Connected") => Ok(PowerState::Running),
        Some(text) if text.eq_ignore_ascii_case("Disconnected") => Ok(PowerState::Stopped),
        Some(_) | None => Err(ArmError::BodyMalformed(
            "The status is neither 'Connected' nor 'Disconnected'. Path 'properties.status'."
                .to_owned(),
        )),
    }
}

fn show_members(_: &Arm, machine: &ComputeResource, shown: &mut Shown) {
    let is_connected = machine.power_state == PowerState::Running;
    let status = if is_connected { "Connected" } else { "Disconnected" };
    let properties = &mut shown.properties;
    properties.insert("status".to_owned(), json!(status));
    if let Some(changed) = machine.switched_at.and_then(date) {
        properties.insert("lastStatusChange".to_owned(), json!(changed));
    }
    if member(properties, "vmId").is_none() {
        properties.insert("vmId".to_owned(), json!(machine.instance_id));
    }
}
