//! Changes of a vault's access policies: `PUT …/vaults/{name}/accessPolicies/{add, replace or remove}`.
//!
//! Source: Microsoft.KeyVault REST API, `Vaults_UpdateAccessPolicy`. What is answered are all policies of the vault.

use axum::Json;
use axum::extract::State;
use http::Method;
use keycard_domain::key_vault::access_policy::{AccessPolicy, PolicyChange};
use keycard_domain::key_vault::vault;
use keycard_domain::resource_id::ArmResourceId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::JsonBody;
use super::error::ArmError;
use super::vaults::PolicyJson;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let path = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}/accessPolicies/{change}";
    vec![row(Method::PUT, path, "Microsoft.KeyVault/vaults/accessPolicies/write", change)]
}

#[derive(Deserialize)]
struct PoliciesBody {
    properties: PoliciesProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PoliciesProperties {
    access_policies: Vec<PolicyJson>,
}

async fn change(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<PoliciesBody>,
) -> Result<Json<Value>, ArmError> {
    let policies: ArmResourceId = params.resource().parse().map_err(|_| ArmError::PathMalformed)?;
    let id = policies.parent().ok_or(ArmError::PathMalformed)?;
    let change = PolicyChange::parse(params.get("change")).ok_or_else(|| {
        ArmError::BodyMalformed("The operation kind is one of: add, replace, remove".to_owned())
    })?;
    let listed: Vec<AccessPolicy> =
        body.properties.access_policies.into_iter().map(AccessPolicy::from).collect();
    let vault = vault::change_policies(&arm.state, &operation, &id, change, &listed).await?;
    let policies: Vec<PolicyJson> = vault.access_policies.iter().map(PolicyJson::from).collect();
    Ok(Json(json!({
        "id": format!("{}/accessPolicies/", vault.id),
        "type": "Microsoft.KeyVault/vaults/accessPolicies",
        "properties": { "accessPolicies": policies },
    })))
}
