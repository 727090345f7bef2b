//! Subscriptions and tenants: those that the caller can see.
//!
//! Source: Azure Resource Manager REST API, subscriptions.

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_domain::directory::tenant::Subscription;
use keycard_domain::resources;
use keycard_domain::resources::resource_group;
use serde_json::{Value, json};

use super::body::page;
use super::error::ArmError;
use super::{Arm, row};
use crate::route::{Access, OwnProof, Params, Rbac, Route, route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let read = "Microsoft.Resources/subscriptions/read";
    vec![
        route(Method::GET, "/subscriptions", Access::OwnProof, list),
        route(Method::GET, "/tenants", Access::OwnProof, tenants),
        row(Method::GET, "/subscriptions/{subscription}", read, show),
        row(Method::GET, "/subscriptions/{subscription}/locations", read, locations),
        row(
            Method::GET,
            "/subscriptions/{subscription}/resources",
            "Microsoft.Resources/subscriptions/resources/read",
            list_resources,
        ),
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
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let id = params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)?;
    let subscription = resources::require_subscription(&snapshot, id)?;
    Ok(Json(subscription_json(subscription)))
}

/// Locations are names to keycard; these are the ones it offers by itself.
const LOCATIONS: &[(&str, &str)] = &[
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

/// All resources of the subscription, perhaps of one type, name or group.
async fn list_resources(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    let filter = ResourceFilter::of(&uri)?;
    let id = params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)?;
    let items = resource_group::resources_below(&snapshot, id)
        .into_iter()
        .filter(|(id, _)| filter.covers(id))
        .map(|(id, location)| {
            let value = json!({
                "id": id, "name": id.name(), "type": id.resource_type(), "location": location,
            });
            (id.key(), value)
        })
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

/// `resourceType eq '…' and name eq '…' and resourceGroup eq '…'`, in any order; nothing else is understood.
#[derive(Debug, Default, PartialEq, Eq)]
struct ResourceFilter(Vec<(String, String)>);

impl ResourceFilter {
    fn of(uri: &Uri) -> Result<Self, ArmError> {
        let query = crate::request::Parameters::of(uri);
        Self::parse(query.get("$filter").unwrap_or_default())
    }

    fn parse(text: &str) -> Result<Self, ArmError> {
        let unsupported = || ArmError::FilterUnsupported(text.chars().take(200).collect());
        let terms = text.split(" and ").map(str::trim).filter(|term| !term.is_empty());
        terms
            .map(|term| {
                let (field, value) = term.split_once(" eq ").ok_or_else(unsupported)?;
                let value =
                    value.trim().strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
                let field = field.trim().to_ascii_lowercase();
                match (field.as_str(), value) {
                    ("resourcetype" | "name" | "resourcegroup", Some(value)) => {
                        Ok((field, value.to_owned()))
                    }
                    _ => Err(unsupported()),
                }
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn covers(&self, id: &keycard_domain::resource_id::ArmResourceId) -> bool {
        self.0.iter().all(|(field, value)| match field.as_str() {
            "resourcetype" => id.is_of_type(value),
            "name" => id.name().eq_ignore_ascii_case(value),
            _ => id.resource_group().eq_ignore_ascii_case(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_that_clients_send_are_understood_and_others_refused() {
        let id = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv1";
        let id = id.parse().unwrap();
        let covers = |text: &str| ResourceFilter::parse(text).map(|filter| filter.covers(&id)).ok();
        assert_eq!(covers(""), Some(true));
        assert_eq!(
            covers("resourceType eq 'Microsoft.KeyVault/vaults' and name eq 'KV1'"),
            Some(true)
        );
        assert_eq!(covers("resourceGroup eq 'other'"), Some(false));
        assert_eq!(covers("tagName eq 'a'"), None);
        assert_eq!(covers("name eq kv1"), None);
    }
}
