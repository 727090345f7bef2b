//! What a storage account has beside what every generic resource has: no keys.
//!
//! Source: Microsoft.Storage REST API.

use axum::Json;
use axum::extract::State;
use http::Method;
use keycard_domain::resources::generic;
use serde_json::{Value, json};

use super::body::resource_id;
use super::error::ArmError;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route, Unread};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let keys = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Storage/storageAccounts/{name}/listKeys";
    vec![row(Method::POST, keys, "Microsoft.Storage/storageAccounts/listKeys/action", list_keys)]
}

// Differs from Azure: an account has no keys. Whoever wants its blobs brings a token.
async fn list_keys(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    generic::find(&arm.state.snapshot(), &resource_id(&params)?)?;
    Ok(Json(json!({ "keys": [] })))
}
