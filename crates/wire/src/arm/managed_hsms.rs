//! Managed HSMs, of which keycard has none: their listings, which clients of vaults read along.
//!
//! Source: Microsoft.KeyVault REST API, `ManagedHsms_List…`; az lists them with the vaults. All else about them is refused
//! as a type that is not served.

use axum::Json;
use axum::extract::State;
use http::Method;
use serde_json::{Value, json};

use super::body::require_container;
use super::error::ArmError;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let in_group = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs";
    let in_subscription = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/managedHSMs";
    let deleted = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/deletedManagedHSMs";
    let read = "Microsoft.KeyVault/managedHSMs/read";
    vec![
        row(Method::GET, in_group, read, list),
        row(Method::GET, in_subscription, read, list),
        row(Method::GET, deleted, "Microsoft.KeyVault/deletedManagedHsms/read", list),
    ]
}

async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    require_container(&arm.state.snapshot(), &params)?;
    Ok(Json(json!({ "value": [] })))
}
