//! Vaults on the control plane: `Microsoft.KeyVault/vaults` and `deletedVaults`.
//!
//! Source: Microsoft.KeyVault REST API. The api-version decides the default of `enableRbacAuthorization`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, Method, StatusCode, Uri};
use keycard_domain::ids::TenantId;
use keycard_domain::key_vault::Vault;
use keycard_domain::key_vault::access_policy::{AccessPolicy, Permissions};
use keycard_domain::key_vault::vault::{self, VaultError, VaultRequest};
use keycard_domain::records::Versioned;
use keycard_domain::resources::async_operation;
use keycard_domain::snapshot::Snapshot;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;

use super::async_operations::{Polling, headers};
use super::body::{JsonBody, page, require_container, resource_id};
use super::error::ArmError;
use super::{Arm, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route, Unread};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let one = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}";
    let in_group =
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults";
    let in_subscription = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/vaults";
    let all_deleted = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/deletedVaults";
    let one_deleted = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{name}";
    let purge = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{name}/purge";
    let (read, write) = ("Microsoft.KeyVault/vaults/read", "Microsoft.KeyVault/vaults/write");
    vec![
        row(Method::PUT, one, write, put),
        row(Method::PATCH, one, write, patch),
        row(Method::GET, one, read, show),
        row(Method::DELETE, one, "Microsoft.KeyVault/vaults/delete", remove),
        row(Method::GET, in_group, read, list),
        row(Method::GET, in_subscription, read, list),
        row(Method::GET, all_deleted, "Microsoft.KeyVault/deletedVaults/read", list_deleted),
        row(
            Method::GET,
            one_deleted,
            "Microsoft.KeyVault/locations/deletedVaults/read",
            show_deleted,
        ),
        row(
            Method::POST,
            purge,
            "Microsoft.KeyVault/locations/deletedVaults/purge/action",
            purge_deleted,
        ),
    ]
}

#[derive(Deserialize)]
struct VaultBody {
    location: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    properties: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    tenant_id: Option<TenantId>,
    sku: Option<Sku>,
    access_policies: Option<Vec<PolicyJson>>,
    enable_rbac_authorization: Option<bool>,
    soft_delete_retention_in_days: Option<u16>,
    enable_soft_delete: Option<bool>,
    enable_purge_protection: Option<bool>,
    create_mode: Option<String>,
}

#[derive(Deserialize)]
struct Sku {
    name: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyJson {
    tenant_id: TenantId,
    object_id: keycard_domain::ids::PrincipalId,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<keycard_domain::ids::ClientId>,
    #[serde(default)]
    permissions: PermissionsJson,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct PermissionsJson {
    keys: Vec<String>,
    secrets: Vec<String>,
    certificates: Vec<String>,
    storage: Vec<String>,
}

impl From<PolicyJson> for AccessPolicy {
    fn from(json: PolicyJson) -> Self {
        let PermissionsJson { keys, secrets, certificates, storage } = json.permissions;
        Self {
            tenant_id: json.tenant_id,
            object_id: json.object_id,
            application_id: json.application_id,
            permissions: Permissions { keys, secrets, certificates, storage },
        }
    }
}

impl From<&AccessPolicy> for PolicyJson {
    fn from(policy: &AccessPolicy) -> Self {
        let Permissions { keys, secrets, certificates, storage } = policy.permissions.clone();
        Self {
            tenant_id: policy.tenant_id,
            object_id: policy.object_id,
            application_id: policy.application_id,
            permissions: PermissionsJson { keys, secrets, certificates, storage },
        }
    }
}

/// Members of `properties` that are kept and returned as they are.
const KEPT: &[&str] = &[
    "networkAcls",
    "enabledForDeployment",
    "enabledForDiskEncryption",
    "enabledForTemplateDeployment",
];

fn read(body: VaultBody) -> Result<VaultRequest, ArmError> {
    check_network(&body.properties)?;
    let other = body
        .properties
        .iter()
        .filter(|(name, value)| KEPT.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let settings: Settings = serde_json::from_value(Value::Object(body.properties))
        .map_err(|error| ArmError::BodyMalformed(error.to_string()))?;
    if settings.enable_soft_delete == Some(false) {
        return Err(VaultError::SettingInvalid("enableSoftDelete cannot be set to false").into());
    }
    Ok(VaultRequest {
        location: body.location,
        tags: body.tags,
        tenant_id: settings.tenant_id,
        sku: settings.sku.and_then(|sku| sku.name).map(|name| name.to_ascii_lowercase()),
        access_policies: settings
            .access_policies
            .map(|policies| policies.into_iter().map(AccessPolicy::from).collect()),
        uses_rbac: settings.enable_rbac_authorization,
        retention_days: settings.soft_delete_retention_in_days,
        has_purge_protection: settings.enable_purge_protection,
        recovers: settings.create_mode.is_some_and(|mode| mode.eq_ignore_ascii_case("recover")),
        other,
    })
}

/// Network rules are not enforced yet. A rule that would refuse somebody is refused itself, not dropped.
fn check_network(properties: &Map<String, Value>) -> Result<(), ArmError> {
    let acls = properties.get("networkAcls");
    let denies = acls
        .and_then(|acls| acls.get("defaultAction"))
        .and_then(Value::as_str)
        .is_some_and(|action| action.eq_ignore_ascii_case("Deny"));
    let is_closed = properties
        .get("publicNetworkAccess")
        .and_then(Value::as_str)
        .is_some_and(|access| access.eq_ignore_ascii_case("Disabled"));
    if denies || is_closed {
        Err(ArmError::Unsupported("network rules of a vault"))
    } else {
        Ok(())
    }
}

fn vault_json(arm: &Arm, vault: &Vault) -> Value {
    let mut properties = vault.other.clone();
    let policies: Vec<PolicyJson> = vault.access_policies.iter().map(PolicyJson::from).collect();
    properties.extend(
        [
            ("tenantId", json!(vault.tenant_id)),
            ("sku", json!({ "family": "A", "name": vault.sku })),
            ("accessPolicies", json!(policies)),
            ("enableRbacAuthorization", json!(vault.uses_rbac)),
            ("enableSoftDelete", json!(true)),
            ("softDeleteRetentionInDays", json!(vault.retention_days)),
            ("publicNetworkAccess", json!("Enabled")),
            ("vaultUri", json!(format!("{}/", arm.names.url(&format!("{}.vault", vault.name()))))),
            ("provisioningState", json!("Succeeded")),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if vault.has_purge_protection {
        properties.insert("enablePurgeProtection".to_owned(), json!(true));
    }
    json!({
        "id": vault.id,
        "name": vault.name(),
        "type": vault::RESOURCE_TYPE,
        "location": vault.location,
        "tags": vault.tags,
        "properties": properties,
    })
}

/// From this api-version on, a new vault uses RBAC unless it says otherwise. Source: Key Vault, breaking changes.
const RBAC_BY_DEFAULT_FROM: &str = "2026-02-01";

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    JsonBody(body): JsonBody<VaultBody>,
) -> Result<Json<Value>, ArmError> {
    let query = Parameters::of(&uri);
    let rbac_by_default =
        query.get("api-version").is_some_and(|version| version >= RBAC_BY_DEFAULT_FROM);
    let id = resource_id(&params)?;
    let put = vault::put(&arm.state, &operation, &id, &read(body)?, rbac_by_default).await?;
    Ok(Json(vault_json(&arm, &put.resource)))
}

async fn patch(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<VaultBody>,
) -> Result<Json<Value>, ArmError> {
    let vault = vault::patch(&arm.state, &operation, &resource_id(&params)?, &read(body)?).await?;
    Ok(Json(vault_json(&arm, &vault)))
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    Ok(Json(vault_json(&arm, vault::find(&snapshot, &resource_id(&params)?)?)))
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let existed = vault::delete(&arm.state, &operation, &resource_id(&params)?).await?;
    Ok(if existed { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    require_container(&snapshot, &params)?;
    let items = vault::in_scope(&snapshot, params.resource())
        .iter()
        .map(|vault| (vault.id.key(), vault_json(&arm, vault)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

fn deleted_json(params: &Params, vault: &Vault) -> Value {
    let date = |seconds: i64| {
        UtcDateTime::from_unix_timestamp(seconds).ok().and_then(|at| at.format(&Rfc3339).ok())
    };
    let subscription = params.get("subscription");
    json!({
        "id": format!("/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{}/deletedVaults/{}", vault.location, vault.name()),
        "name": vault.name(),
        "type": "Microsoft.KeyVault/deletedVaults",
        "properties": {
            "vaultId": vault.id,
            "location": vault.location,
            "tags": vault.tags,
            "deletionDate": vault.deleted.and_then(|deletion| date(deletion.deleted_at)),
            "scheduledPurgeDate": vault.deleted.and_then(|deletion| date(deletion.purge_at)),
            "purgeProtectionEnabled": vault.has_purge_protection,
        },
    })
}

async fn list_deleted(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Json<Value> {
    let snapshot = arm.state.snapshot_to_keep();
    let items = vault::deleted_in_scope(&snapshot, params.resource())
        .iter()
        .map(|vault| (vault.id.key(), deleted_json(&params, vault)))
        .collect();
    Json(page(&uri, &arm.names.url("management"), items))
}

fn find_deleted<'a>(snapshot: &'a Snapshot, params: &Params) -> Option<&'a Versioned<Vault>> {
    let (subscription, location) = (params.get("subscription"), params.get("location"));
    vault::find_deleted(snapshot, subscription, location, params.get("name"))
}

fn deleted_not_found(params: &Params) -> ArmError {
    ArmError::NotFound {
        resource_type: "Microsoft.KeyVault/deletedVaults".to_owned(),
        name: params.get("name").to_owned(),
    }
}

async fn show_deleted(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let vault = find_deleted(&snapshot, &params);
    vault.map(|vault| Json(deleted_json(&params, vault))).ok_or_else(|| deleted_not_found(&params))
}

async fn purge_deleted(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    _: Unread,
) -> Result<(StatusCode, HeaderMap), ArmError> {
    async_operation::begin(&arm.state, &operation);
    let exists = {
        let snapshot = arm.state.snapshot();
        find_deleted(&snapshot, &params).is_some()
    };
    if exists && vault::purge(&arm.state, &operation, params.get("name")).await? {
        let polling = headers(&arm, &operation, (&params, &uri), Polling::Result);
        Ok((StatusCode::ACCEPTED, polling))
    } else {
        Err(deleted_not_found(&params))
    }
}
