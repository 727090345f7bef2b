//! Management locks at subscriptions, resource groups and resources: `{scope}/providers/Microsoft.Authorization/locks`.
//!
//! What they forbid is refused at the door (`ArmGate`) and in the commit. Source: Microsoft.Authorization/locks, REST
//! API 2016-09-01 and 2020-05-01.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use keycard_domain::records::Record;
use keycard_domain::resources::lock::{self, Lock, LockLevel, LockSelection};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, page, tenant};
use super::error::ArmError;
use super::role_assignments::scope;
use super::{Arm, filter, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/{*scope}/providers/Microsoft.Authorization/locks";
    let one = "/{*scope}/providers/Microsoft.Authorization/locks/{name}";
    let read = "Microsoft.Authorization/locks/read";
    vec![
        row(Method::GET, all, read, list),
        row(Method::PUT, one, "Microsoft.Authorization/locks/write", put),
        row(Method::GET, one, read, show),
        row(Method::DELETE, one, "Microsoft.Authorization/locks/delete", remove),
    ]
}

fn lock_json(lock: &Lock) -> Value {
    let mut properties = json!({ "level": lock.level.as_str() });
    if let Some(members) = properties.as_object_mut() {
        members.extend(lock.notes.as_ref().map(|notes| ("notes".to_owned(), json!(notes))));
        let owners = lock.owners.iter().map(|owner| json!({ "applicationId": owner }));
        let owners = (!lock.owners.is_empty()).then(|| owners.collect::<Vec<_>>());
        members.extend(owners.map(|owners| ("owners".to_owned(), json!(owners))));
    }
    json!({
        "properties": properties,
        "id": format!("{}/providers/Microsoft.Authorization/locks/{}", lock.scope, lock.name),
        "type": "Microsoft.Authorization/locks",
        "name": lock.name,
    })
}

#[derive(Deserialize)]
struct LockBody {
    properties: Option<LockProperties>,
    /// Early clients send the properties as they are.
    #[serde(flatten)]
    bare: LockProperties,
}

#[derive(Default, Deserialize)]
struct LockProperties {
    level: Option<String>,
    notes: Option<String>,
    owners: Option<Vec<OwnerBody>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnerBody {
    application_id: Option<String>,
}

fn level(text: Option<&str>) -> Result<LockLevel, ArmError> {
    let text = text.unwrap_or_default();
    [LockLevel::CanNotDelete, LockLevel::ReadOnly]
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| ArmError::LockLevelInvalid(text.chars().take(100).collect()))
}

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(LockBody { properties, bare }): JsonBody<LockBody>,
) -> Result<(StatusCode, Json<Value>), ArmError> {
    let properties = properties.unwrap_or(bare);
    let owners = properties.owners.unwrap_or_default();
    let new = Lock {
        scope: scope(&params)?,
        name: params.get("name").to_owned(),
        level: level(properties.level.as_deref())?,
        notes: properties.notes,
        owners: owners.into_iter().filter_map(|owner| owner.application_id).collect(),
    };
    let (lock, is_new) = lock::put(&arm.state, &operation, tenant(&operation)?, &new).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(lock_json(&lock))))
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    Ok(Json(lock_json(lock::find(&snapshot, &scope(&params)?, params.get("name"))?)))
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let name = params.get("name");
    let existed = lock::delete(&arm.state, &operation, &scope(&params)?, name).await?;
    Ok(if existed { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

/// Those at, above and below the scope; with `atScope()`, those that hold there.
async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let query = Parameters::of(&uri);
    let selection = match query.non_empty("$filter").map(str::trim) {
        None => LockSelection::Around,
        Some(filter) if filter.eq_ignore_ascii_case("atScope()") => LockSelection::AtScope,
        Some(other) => return Err(filter::unsupported(other)),
    };
    let snapshot = arm.state.snapshot_to_keep();
    let items = lock::list(&snapshot, &scope(&params)?, selection)
        .iter()
        .map(|lock| (lock.record_id(), lock_json(lock)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}
