//! Subscriptions and tenants: those that the caller can see.
//!
//! Source: Azure Resource Manager REST API, subscriptions.

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_domain::directory::tenant::Subscription;
use keycard_domain::resources;
use serde_json::{Value, json};

use super::body::page;
use super::error::ArmError;
use super::{Arm, row, visibility};
use crate::route::{Access, OwnProof, Params, Rbac, Route, route};

const READ_ACTION: &str = "Microsoft.Resources/subscriptions/read";

pub(super) fn routes() -> Vec<Route<Arm>> {
    let read = READ_ACTION;
    vec![
        route(Method::GET, "/subscriptions", Access::OwnProof, list),
        route(Method::GET, "/tenants", Access::OwnProof, tenants),
        route(Method::GET, "/subscriptions/{subscription}", Access::OwnProof, show),
        row(Method::GET, "/subscriptions/{subscription}/locations", read, locations),
    ]
}

pub(super) fn subscription_json(subscription: &Subscription) -> Value {
    let mut shown = json!({
        "id": format!("/subscriptions/{}", subscription.id),
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": subscription.id,
        "tenantId": subscription.tenant_id,
        "displayName": subscription.display_name,
        "state": "Enabled",
        "subscriptionPolicies": { "locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off" },
    });
    if let Some(members) = shown.as_object_mut().filter(|_| !subscription.tags.is_empty()) {
        members.insert("tags".to_owned(), json!(subscription.tags));
    }
    shown
}

/// A subscription is seen by whoever has a role in it, however far down.
async fn list(OwnProof(operation): OwnProof, State(arm): State<Arm>, uri: Uri) -> Json<Value> {
    let snapshot = arm.state.snapshot_to_keep();
    let visible = operation.principal().map(|p| resources::visible_subscriptions(&snapshot, p));
    let items = visible
        .unwrap_or_default()
        .into_iter()
        .map(|subscription| (subscription.id.to_string(), subscription_json(&subscription)))
        .collect();
    Json(page(&uri, &arm.names.url("management"), items))
}

async fn tenants(OwnProof(operation): OwnProof, State(arm): State<Arm>) -> Json<Value> {
    let snapshot = arm.state.snapshot();
    let tenant = operation.principal().and_then(|principal| snapshot.tenant(principal.tenant_id));
    let items: Vec<Value> = tenant
        .map(|tenant| {
            json!({
                "id": format!("/tenants/{}", tenant.id),
                "tenantId": tenant.id,
                "displayName": tenant.display_name,
                "defaultDomain": tenant.domain(),
                "domains": [tenant.domain()],
                "tenantType": tenant.kind.as_str(),
                "tenantCategory": "Home",
            })
        })
        .into_iter()
        .collect();
    Json(json!({ "value": items }))
}

async fn show(
    OwnProof(operation): OwnProof,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    visibility::shown(&arm, &operation, READ_ACTION, params.resource())?;
    let snapshot = arm.state.snapshot();
    let id = params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)?;
    let subscription = resources::require_subscription(&snapshot, id)?;
    Ok(Json(subscription_json(subscription)))
}

/// Locations are names to keycard; these are the ones it offers by itself.
pub(super) const LOCATIONS: &[(&str, &str)] = &[
    ("local", "Local"),
    ("eastus", "East US"),
    ("westus", "West US"),
    ("northeurope", "North Europe"),
    ("westeurope", "West Europe"),
];

async fn locations(Rbac(_): Rbac, State(_): State<Arm>, params: Params) -> Json<Value> {
    let locations: Vec<Value> = LOCATIONS
        .iter()
        .map(|(name, display_name)| {
            json!({
                "id": format!("{}/locations/{name}", params.resource()),
                "name": name,
                "displayName": display_name,
                "regionalDisplayName": display_name,
                "type": "Region",
            })
        })
        .collect();
    Json(json!({ "value": locations }))
}
