//! Resource providers: which namespaces there are, with their types and api-versions; name checks; preview features.
//!
//! Every provider is registered in every subscription until it is unregistered, and the types are those of the face's own
//! rows. Source: Azure
//! Resource Manager REST API, providers; Microsoft.Features REST API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_domain::ids::SubscriptionId;
use keycard_domain::operation::OperationContext;
use keycard_domain::resources::feature::{self, FeatureRegistration};
use keycard_domain::resources::generic::{self, Availability};
use keycard_domain::resources::generic_type::{self, SQL_SERVER, STORAGE_ACCOUNT};
use keycard_domain::resources::provider_registration::{self, UnregisteredProvider};
use keycard_domain::resources::require_subscription;
use keycard_domain::snapshot::Snapshot;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, page};
use super::error::ArmError;
use super::subscriptions::LOCATIONS;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route, Unread};

/// The api-versions that are named for a provider, newest first: clients take the first one. Others are taken too.
const API_VERSIONS: &[(&str, &[&str])] = &[
    ("Keycard.Testing", &["2026-11-01"]),
    ("Microsoft.App", &["2025-07-01", "2024-03-01"]),
    ("Microsoft.Authorization", &["2022-04-01", "2020-05-01", "2016-09-01"]),
    ("Microsoft.Compute", &["2026-04-01", "2025-11-01", "2024-11-01", "2024-07-01", "2022-11-01"]),
    ("Microsoft.ContainerService", &["2026-06-01", "2024-09-01"]),
    ("Microsoft.HybridCompute", &["2024-07-10", "2022-12-27"]),
    ("Microsoft.Insights", &["2021-05-01-preview", "2015-04-01"]),
    ("Microsoft.KeyVault", &["2026-02-01", "2023-07-01", "2022-07-01"]),
    (
        "Microsoft.ManagedIdentity",
        &["2024-11-30", "2025-05-31-preview", "2023-01-31", "2022-01-31-preview", "2018-11-30"],
    ),
    ("Microsoft.Network", &["2024-05-01", "2022-01-01", "2015-06-15"]),
    ("Microsoft.Resources", &["2025-04-01", "2024-11-01", "2022-12-01"]),
    ("Microsoft.Sql", &["2024-11-01-preview", "2023-08-01", "2021-11-01"]),
    ("Microsoft.Storage", &["2025-08-01", "2023-05-01"]),
    ("Microsoft.Web", &["2025-05-01", "2023-12-01"]),
];

/// Those of every other provider.
const OTHER_API_VERSIONS: &[&str] = &["2024-11-01", "2023-01-01"];

/// The api-versions that are named for a provider.
pub(super) fn api_versions(namespace: &str) -> &'static [&'static str] {
    let found = API_VERSIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(namespace));
    found.map_or(OTHER_API_VERSIONS, |(_, versions)| versions)
}

/// The types of each namespace, as the rows of the face have them.
static TYPES: LazyLock<BTreeMap<&'static str, BTreeSet<String>>> = LazyLock::new(|| {
    let mut types: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for route in super::resource_routes() {
        if let Some((namespace, resource_type)) = type_of(route.row().path) {
            types.entry(namespace).or_default().insert(resource_type);
        }
    }
    types
});

/// The namespace and type of a row that is about one resource: types and names take turns, down to a name.
fn type_of(path: &'static str) -> Option<(&'static str, String)> {
    let (_, tail) = path.rsplit_once("/providers/")?;
    let mut segments = tail.split('/');
    let namespace = segments.next().filter(|namespace| namespace.contains('.'))?;
    let rest: Vec<&str> = segments.collect();
    let is_name = |segment: &&str| segment.starts_with('{');
    let types: Vec<&str> = rest.iter().step_by(2).copied().collect();
    let is_resource = !rest.is_empty()
        && rest.len().is_multiple_of(2)
        && rest.iter().skip(1).step_by(2).all(is_name)
        && !types.iter().any(is_name)
        // These are paths of a subscription, not types.
        && types.first() != Some(&"locations");
    is_resource.then(|| (namespace, types.join("/")))
}

pub(super) fn routes() -> Vec<Route<Arm>> {
    let read = "Microsoft.Resources/subscriptions/providers/read";
    let all = "/subscriptions/{subscription}/providers";
    let one = "/subscriptions/{subscription}/providers/{namespace}";
    let features = "/subscriptions/{subscription}/providers/Microsoft.Features/features";
    let of_provider =
        "/subscriptions/{subscription}/providers/Microsoft.Features/providers/{namespace}/features";
    let feature = "/subscriptions/{subscription}/providers/Microsoft.Features/providers/{namespace}/features/{feature}";
    let register = "/subscriptions/{subscription}/providers/Microsoft.Features/providers/{namespace}/features/{feature}/register";
    let unregister = "/subscriptions/{subscription}/providers/Microsoft.Features/providers/{namespace}/features/{feature}/unregister";
    let storage_name =
        "/subscriptions/{subscription}/providers/Microsoft.Storage/checkNameAvailability";
    let sql_name = "/subscriptions/{subscription}/providers/Microsoft.Sql/checkNameAvailability";
    let mut routes = vec![
        row(Method::GET, all, read, list),
        row(Method::GET, one, read, show),
        row(Method::GET, features, "Microsoft.Features/features/read", list_features),
        row(Method::GET, of_provider, "Microsoft.Features/providers/features/read", list_features),
        row(Method::GET, feature, "Microsoft.Features/providers/features/read", show_feature),
        row(
            Method::POST,
            register,
            "Microsoft.Features/providers/features/register/action",
            register_feature,
        ),
        row(
            Method::POST,
            unregister,
            "Microsoft.Features/providers/features/unregister/action",
            unregister_feature,
        ),
        row(
            Method::POST,
            storage_name,
            "Microsoft.Storage/checknameavailability/read",
            check_storage_name,
        ),
        row(Method::POST, sql_name, "Microsoft.Sql/checkNameAvailability/action", check_sql_name),
    ];
    for names in NAMESPACES.iter() {
        let register = row(Method::POST, names.register, names.register_action, register_provider);
        let (path, action) = (names.unregister, names.unregister_action);
        routes.extend([register, row(Method::POST, path, action, unregister_provider)]);
    }
    routes
}

/// The rows by which a provider is registered, and unregistered again.
struct Registration {
    register: &'static str,
    register_action: &'static str,
    unregister: &'static str,
    unregister_action: &'static str,
}

static NAMESPACES: LazyLock<Vec<Registration>> = LazyLock::new(|| {
    let keep = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let registration = |namespace: &&'static str| {
        let path = format!("/subscriptions/{{subscription}}/providers/{namespace}");
        Registration {
            register: keep(format!("{path}/register")),
            register_action: keep(format!("{namespace}/register/action")),
            unregister: keep(format!("{path}/unregister")),
            unregister_action: keep(format!("{namespace}/unregister/action")),
        }
    };
    TYPES.keys().map(registration).collect()
});

fn subscription(params: &Params) -> Result<SubscriptionId, ArmError> {
    params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)
}

fn provider_json(
    snapshot: &Snapshot,
    params: &Params,
    namespace: &str,
    types: &BTreeSet<String>,
) -> Value {
    let is_registered = subscription(params)
        .is_ok_and(|id| provider_registration::is_registered(snapshot, id, namespace));
    let locations: Vec<&str> = LOCATIONS.iter().map(|(_, display_name)| *display_name).collect();
    let versions = api_versions(namespace);
    let types: Vec<Value> = types
        .iter()
        .map(|resource_type| {
            json!({
                "resourceType": resource_type,
                "locations": locations,
                "apiVersions": versions,
                "capabilities": "SupportsTags, SupportsLocation",
            })
        })
        .collect();
    json!({
        "id": format!("/subscriptions/{}/providers/{namespace}", params.get("subscription")),
        "namespace": namespace,
        "registrationPolicy": "RegistrationRequired",
        "registrationState": if is_registered { "Registered" } else { "Unregistered" },
        "resourceTypes": types,
    })
}

async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    require_subscription(&snapshot, subscription(&params)?)?;
    let items = TYPES
        .iter()
        .map(|(namespace, types)| {
            (namespace.to_ascii_lowercase(), provider_json(&snapshot, &params, namespace, types))
        })
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    require_subscription(&snapshot, subscription(&params)?)?;
    provider(&snapshot, &params, params.get("namespace"))
}

fn provider(
    snapshot: &Snapshot,
    params: &Params,
    namespace: &str,
) -> Result<Json<Value>, ArmError> {
    let mut all = TYPES.iter();
    let found = all.find(|(known, _)| known.eq_ignore_ascii_case(namespace));
    found
        .map(|(namespace, types)| Json(provider_json(snapshot, params, namespace, types)))
        .ok_or_else(|| ArmError::NamespaceUnknown(namespace.to_owned()))
}

/// The provider that the row is about, as the row's action names it.
fn named(operation: &OperationContext, params: &Params) -> Result<UnregisteredProvider, ArmError> {
    let namespace = operation.action.split('/').next().unwrap_or_default().to_owned();
    Ok(UnregisteredProvider { subscription_id: subscription(params)?, namespace })
}

async fn register_provider(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let named = named(&operation, &params)?;
    provider_registration::register(&arm.state, &operation, &named).await?;
    provider(&arm.state.snapshot(), &params, &named.namespace)
}

async fn unregister_provider(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let named = named(&operation, &params)?;
    provider_registration::unregister(&arm.state, &operation, &named).await?;
    provider(&arm.state.snapshot(), &params, &named.namespace)
}

#[derive(Deserialize)]
struct NameBody {
    name: String,
}

async fn check_storage_name(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    JsonBody(body): JsonBody<NameBody>,
) -> Json<Value> {
    Json(availability(&arm, STORAGE_ACCOUNT, &body.name))
}

async fn check_sql_name(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    JsonBody(body): JsonBody<NameBody>,
) -> Json<Value> {
    let mut answer = availability(&arm, SQL_SERVER, &body.name);
    if let Some(members) = answer.as_object_mut() {
        let is_available = members.get("nameAvailable").cloned();
        members.extend(is_available.map(|value| ("available".to_owned(), value)));
        members.insert("name".to_owned(), json!(body.name));
    }
    Json(answer)
}

fn availability(arm: &Arm, resource_type: &str, name: &str) -> Value {
    let available = generic_type::find(resource_type)
        .map_or(Availability::Invalid, |it| generic::is_available(&arm.state.snapshot(), it, name));
    match available {
        Availability::Free => json!({ "nameAvailable": true }),
        Availability::Taken => json!({
            "nameAvailable": false,
            "reason": "AlreadyExists",
            "message": format!("The name '{name}' is already taken."),
        }),
        Availability::Invalid => json!({
            "nameAvailable": false,
            "reason": "AccountNameInvalid",
            "message": format!("'{name}' is not a valid name for a resource of type '{resource_type}'."),
        }),
    }
}

fn feature_json(registration: &FeatureRegistration) -> Value {
    let FeatureRegistration { subscription_id, namespace, name, is_registered } = registration;
    json!({
        "id": format!("/subscriptions/{subscription_id}/providers/Microsoft.Features/providers/{namespace}/features/{name}"),
        "name": format!("{namespace}/{name}"),
        "type": "Microsoft.Features/providers/features",
        "properties": { "state": if *is_registered { "Registered" } else { "NotRegistered" } },
    })
}

/// The features that were asked for; keycard has no list of all that Azure ever had.
async fn list_features(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    let subscription = subscription(&params)?;
    require_subscription(&snapshot, subscription)?;
    let items = feature::list(&snapshot, subscription, params.get("namespace"))
        .map(|feature| (feature.name.to_ascii_lowercase(), feature_json(feature)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

async fn show_feature(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let subscription = subscription(&params)?;
    require_subscription(&snapshot, subscription)?;
    let (namespace, name) = (params.get("namespace"), params.get("feature"));
    let is_registered = feature::is_registered(&snapshot, subscription, namespace, name);
    Ok(Json(feature_json(&registration(&params, is_registered)?)))
}

fn registration(params: &Params, is_registered: bool) -> Result<FeatureRegistration, ArmError> {
    Ok(FeatureRegistration {
        subscription_id: subscription(params)?,
        namespace: params.get("namespace").to_owned(),
        name: params.get("feature").to_owned(),
        is_registered,
    })
}

async fn register_feature(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let registration = registration(&params, true)?;
    feature::set(&arm.state, &operation, &registration).await?;
    Ok(Json(feature_json(&registration)))
}

async fn unregister_feature(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let registration = registration(&params, false)?;
    feature::set(&arm.state, &operation, &registration).await?;
    Ok(Json(feature_json(&registration)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_the_rows() {
        for (path, expected) in [
            (
                "/subscriptions/{s}/resourceGroups/{g}/providers/A.B/things/{name}",
                Some(("A.B", "things".to_owned())),
            ),
            ("/{*scope}/providers/A.B/locks/{name}", Some(("A.B", "locks".to_owned()))),
            (
                "/x/providers/A.B/things/{name}/parts/{part}",
                Some(("A.B", "things/parts".to_owned())),
            ),
            ("/x/providers/A.B/things/{name}/start", None),
            ("/x/providers/A.B/things", None),
            ("/x/providers/A.B/locations/{location}/things/{name}", None),
            ("/x/providers/{namespace}", None),
            ("/x", None),
        ] {
            assert_eq!(type_of(path), expected, "{path}");
        }
        assert!(TYPES["Microsoft.Compute"].contains("virtualMachines"));
    }
}
