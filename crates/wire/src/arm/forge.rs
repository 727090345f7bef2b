//! Tokens with one fault, from a server for development and tests: a provider of keycard's own. `keycard token forge` talks
//! to it.

use axum::Json;
use axum::extract::State;
use http::Method;
use keycard_domain::directory::lookup::principal_named;
use keycard_domain::token::forge::{Fault, forge};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Arm;
use super::body::{JsonBody, tenant};
use super::error::ArmError;
use crate::route::{Access, Directory, Route, route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let path = "/providers/Keycard.Local/forgeToken";
    vec![route(Method::POST, path, Access::Directory("Keycard.Local/tokens/forge/action"), post)]
}

#[derive(Deserialize)]
struct ForgeBody {
    identity: String,
    audience: String,
    fault: String,
}

async fn post(
    Directory(operation): Directory,
    State(arm): State<Arm>,
    JsonBody(body): JsonBody<ForgeBody>,
) -> Result<Json<Value>, ArmError> {
    if !arm.for_development {
        return Err(ArmError::Unsupported("forging tokens on this server"));
    }
    let fault: Fault = body.fault.parse().map_err(ArmError::BodyMalformed)?;
    let snapshot = arm.state.snapshot_to_keep();
    let named = principal_named(&snapshot, tenant(&operation)?, &body.identity);
    let principal = named
        .ok()
        .and_then(|id| snapshot.service_principal(id))
        .ok_or_else(|| ArmError::BodyMalformed(format!("`{}` is no identity", body.identity)))?;
    let token = forge(&arm.state, &operation, principal, &body.audience, fault).await?;
    Ok(Json(json!({ "token": token.expose(), "fault": fault.as_str() })))
}
