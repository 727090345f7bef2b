//! Making subscriptions: `Microsoft.Subscription/aliases`, which `az account alias create` talks to.
//!
//! Source: Microsoft.Subscription REST API 2021-10-01. There is nobody to bill: `billingScope` and `workload` are read and mean
//! nothing.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use keycard_domain::directory::tenant::Subscription;
use keycard_domain::resources::subscription;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Arm;
use super::body::{JsonBody, page, tenant};
use super::error::ArmError;
use crate::route::{Access, Directory, Params, Route, route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let (all, one) = (
        "/providers/Microsoft.Subscription/aliases",
        "/providers/Microsoft.Subscription/aliases/{alias}",
    );
    let (read, write) = (
        Access::Directory("Microsoft.Subscription/aliases/read"),
        Access::Directory("Microsoft.Subscription/aliases/write"),
    );
    vec![
        route(Method::PUT, one, write, put),
        route(Method::GET, one, read, show),
        route(Method::GET, all, read, list),
    ]
}

fn alias_json(subscription: &Subscription) -> Value {
    let alias = subscription.alias.as_deref().unwrap_or_default();
    json!({
        "id": format!("/providers/Microsoft.Subscription/aliases/{alias}"),
        "name": alias,
        "type": "Microsoft.Subscription/aliases",
        "properties": {
            "subscriptionId": subscription.id,
            "displayName": subscription.display_name,
            "provisioningState": "Succeeded",
            "acceptOwnershipState": "Completed",
        },
    })
}

#[derive(Deserialize)]
struct AliasBody {
    properties: AliasProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AliasProperties {
    display_name: Option<String>,
    subscription_id: Option<IgnoredAny>,
    additional_properties: Option<Value>,
    #[serde(rename = "billingScope")]
    _billing_scope: Option<IgnoredAny>,
    #[serde(rename = "workload")]
    _workload: Option<IgnoredAny>,
    #[serde(rename = "resellerId")]
    _reseller_id: Option<IgnoredAny>,
}

impl AliasProperties {
    /// Settings that would have an effect in Azure are refused, not dropped.
    fn check_supported(&self) -> Result<(), ArmError> {
        if self.subscription_id.is_some() {
            return Err(ArmError::Unsupported("aliases of subscriptions that exist"));
        }
        let is_set = |value: &Value| match value.as_object() {
            Some(members) => members.values().any(|member| !member.is_null()),
            None => !value.is_null(),
        };
        if self.additional_properties.as_ref().is_some_and(is_set) {
            return Err(ArmError::Unsupported("additionalProperties of an alias"));
        }
        Ok(())
    }
}

async fn put(
    Directory(operation): Directory,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<AliasBody>,
) -> Result<(StatusCode, Json<Value>), ArmError> {
    body.properties.check_supported()?;
    let owner = operation.principal().ok_or(ArmError::TokenMissing)?;
    let alias = params.get("alias");
    let name = body.properties.display_name.as_deref().unwrap_or(alias);
    let (made, is_new) = subscription::create(&arm.state, &operation, owner, alias, name).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(alias_json(&made))))
}

async fn show(
    Directory(operation): Directory,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let alias = params.get("alias");
    let found = subscription::find(&snapshot, tenant(&operation)?, alias);
    found.map(|found| Json(alias_json(found))).ok_or_else(|| ArmError::NotFound {
        resource_type: "Microsoft.Subscription/aliases".to_owned(),
        name: alias.to_owned(),
    })
}

async fn list(
    Directory(operation): Directory,
    State(arm): State<Arm>,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let found = subscription::list(&arm.state.snapshot(), tenant(&operation)?);
    let items = found.iter().map(|it| (it.id.to_string(), alias_json(it))).collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}
