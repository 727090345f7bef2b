//! Secrets as Resource Manager has them: put by a template, shown without their value.
//! `…/vaults/{name}/secrets/{secret}`.
//!
//! Source: Microsoft.KeyVault REST API 2023-07-01, Secrets. The data plane is another face.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::Method;
use keycard_crypto::secret::Secret;
use keycard_domain::key_vault::Vault;
use keycard_domain::key_vault::secret::{
    NewSecret, SecretError, SecretName, SecretVersion, Secrets,
};
use keycard_domain::key_vault::vault;
use keycard_domain::records::Versioned;
use keycard_domain::resource_id::ArmResourceId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::JsonBody;
use super::error::ArmError;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let one = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}/secrets/{secret}";
    vec![
        row(Method::PUT, one, "Microsoft.KeyVault/vaults/secrets/write", put),
        row(Method::GET, one, "Microsoft.KeyVault/vaults/secrets/read", show),
    ]
}

fn vault(arm: &Arm, params: &Params) -> Result<Versioned<Vault>, ArmError> {
    let subscription = params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)?;
    let names = ["vaults", params.get("name")];
    let id =
        ArmResourceId::in_group(subscription, params.get("group"), "Microsoft.KeyVault", &names);
    let id = id.ok_or(ArmError::PathMalformed)?;
    Ok(vault::find(&arm.state.snapshot(), &id)?.clone())
}

fn name(params: &Params) -> Result<SecretName, ArmError> {
    Ok(params.get("secret").parse::<SecretName>()?)
}

impl From<SecretError> for ArmError {
    fn from(error: SecretError) -> Self {
        Self::Secret(error)
    }
}

#[derive(Deserialize)]
struct PutBody {
    tags: Option<BTreeMap<String, String>>,
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    value: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    attributes: AttributesBody,
}

#[derive(Default, Deserialize)]
struct AttributesBody {
    enabled: Option<bool>,
    nbf: Option<i64>,
    exp: Option<i64>,
}

/// Each PUT makes a version, as in Azure.
async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<PutBody>,
) -> Result<Json<Value>, ArmError> {
    let Properties { value, content_type, attributes } = body.properties;
    let missing = || ArmError::BodyMalformed("The property 'value' is required.".to_owned());
    let new = NewSecret {
        value: Secret::new(value.ok_or_else(missing)?),
        content_type,
        is_enabled: attributes.enabled,
        not_before: attributes.nbf,
        expires: attributes.exp,
        tags: body.tags.unwrap_or_default(),
    };
    let vault = vault(&arm, &params)?;
    let secrets = Secrets::of(&arm.state, &operation, &vault);
    let version = secrets.put(&name(&params)?, &new).await?;
    Ok(Json(secret_json(&arm, &vault, &version)))
}

async fn show(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let vault = vault(&arm, &params)?;
    let secrets = Secrets::of(&arm.state, &operation, &vault);
    let version = secrets.current(&name(&params)?).await?;
    Ok(Json(secret_json(&arm, &vault, &version)))
}

fn secret_json(arm: &Arm, vault: &Vault, version: &SecretVersion) -> Value {
    let uri = arm.names.url(&format!("{}.vault", vault.name()));
    let uri = format!("{uri}/secrets/{}", version.name);
    let attributes = &version.attributes;
    json!({
        "id": format!("{}/secrets/{}", vault.id, version.name),
        "name": version.name.as_str(),
        "type": "Microsoft.KeyVault/vaults/secrets",
        "location": vault.location,
        "tags": attributes.tags,
        "properties": {
            "attributes": {
                "enabled": attributes.is_enabled,
                "nbf": attributes.not_before,
                "exp": attributes.expires,
                "created": attributes.created,
                "updated": attributes.updated,
            },
            "contentType": attributes.content_type,
            "secretUri": uri,
            "secretUriWithVersion": format!("{uri}/{}", version.version),
        },
    })
}
