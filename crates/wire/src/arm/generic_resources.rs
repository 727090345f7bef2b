//! Resources of the types that keycard keeps as their clients send them: one table of rows for all of them.
//!
//! What a type shows beyond what was sent stands in [`shown`]. Source: Azure Resource Manager, resources; the REST APIs of
//! the providers.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri};
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::generic::{self, GenericRequest, GenericResource};
use keycard_domain::resources::generic_type::{
    GENERIC_TYPES, GenericType, Place, SQL_SERVER, STORAGE_ACCOUNT,
};
use keycard_domain::resources::require_subscription;
use keycard_domain::snapshot::Snapshot;
use serde_json::{Map, Value, json};

use super::body::{JsonBody, date, page, require_container, resource_id};
use super::error::ArmError;
use super::{Arm, identity, resource_body, row};
use crate::route::{Params, Rbac, Route};

/// The paths and actions of a type, which its rows name for as long as the process runs.
struct Names {
    kept: &'static GenericType,
    one: &'static str,
    /// The list beside a resource: in its group, or of its parent's parts.
    beside: &'static str,
    /// The list in the subscription; parts have none.
    in_subscription: Option<&'static str>,
    read: &'static str,
    write: &'static str,
    delete: &'static str,
}

static NAMES: LazyLock<Vec<Names>> = LazyLock::new(|| GENERIC_TYPES.iter().map(names).collect());

fn names(kept: &'static GenericType) -> Names {
    let keep = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let (group, subscription) =
        ("/subscriptions/{subscription}/resourceGroups/{group}", "/subscriptions/{subscription}");
    // The names of a part's parents, and its own, as the row's parameters are called.
    let parameters = ["{name}", "{part}", "{partOfPart}"];
    let pairs: Vec<String> =
        kept.segments().zip(parameters).map(|(it, name)| format!("/{it}/{name}")).collect();
    let one = format!("{group}/providers/{}{}", kept.namespace(), pairs.concat());
    let beside = one.rsplit_once('/').map_or_else(String::new, |(list, _)| list.to_owned());
    let in_subscription = (kept.place != Place::Part)
        .then(|| keep(format!("{subscription}/providers/{}", kept.name)));
    Names {
        kept,
        one: keep(one),
        beside: keep(beside),
        in_subscription,
        read: keep(format!("{}/read", kept.name)),
        write: keep(format!("{}/write", kept.name)),
        delete: keep(format!("{}/delete", kept.name)),
    }
}

pub(super) fn routes() -> Vec<Route<Arm>> {
    NAMES.iter().flat_map(rows).collect()
}

fn rows(names: &'static Names) -> Vec<Route<Arm>> {
    let kept = names.kept;
    let put = move |operation: Rbac, arm: State<Arm>, params: Params, body: JsonBody<_>| {
        put(kept, operation, arm, params, body)
    };
    let patch = move |operation: Rbac, arm: State<Arm>, params: Params, body: JsonBody<_>| {
        patch(kept, operation, arm, params, body)
    };
    let list = move |operation: Rbac, arm: State<Arm>, params: Params, uri: Uri| {
        list(kept, operation, arm, params, uri)
    };
    let mut rows = vec![
        row(Method::PUT, names.one, names.write, put),
        row(Method::PATCH, names.one, names.write, patch),
        row(Method::GET, names.one, names.read, show),
        row(Method::DELETE, names.one, names.delete, remove),
        row(Method::GET, names.beside, names.read, list),
    ];
    rows.extend(names.in_subscription.map(|path| row(Method::GET, path, names.read, list)));
    rows
}

fn read(body: &Map<String, Value>) -> Result<GenericRequest, ArmError> {
    let body = resource_body::read(body)?;
    Ok(GenericRequest {
        location: body.location,
        tags: body.tags,
        identity: body.identity,
        properties: body.properties,
        other: body.other,
    })
}

async fn put(
    kept: &'static GenericType,
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Response, ArmError> {
    let id = resource_id(&params)?;
    let put = generic::put(&arm.state, &operation, kept, &id, &read(&body)?)
        .await
        .map_err(|error| ArmError::generic(error, &id, &operation))?;
    // Clients of storage accounts take a 201 for an error.
    let created = if kept.name == STORAGE_ACCOUNT { StatusCode::OK } else { StatusCode::CREATED };
    let status = if put.is_new { created } else { StatusCode::OK };
    Ok((status, Json(shown(&arm, &arm.state.snapshot(), &put.resource))).into_response())
}

async fn patch(
    kept: &'static GenericType,
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Json<Value>, ArmError> {
    let id = resource_id(&params)?;
    let resource = generic::patch(&arm.state, &operation, kept, &id, &read(&body)?)
        .await
        .map_err(|error| ArmError::generic(error, &id, &operation))?;
    Ok(Json(shown(&arm, &arm.state.snapshot(), &resource)))
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    Ok(Json(shown(&arm, &snapshot, generic::find(&snapshot, &resource_id(&params)?)?)))
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let id = resource_id(&params)?;
    let existed = generic::delete(&arm.state, &operation, &id)
        .await
        .map_err(|error| ArmError::generic(error, &id, &operation))?;
    Ok(if existed { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

async fn list(
    kept: &'static GenericType,
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    require_container(&snapshot, &params)?;
    let items = generic::list(&snapshot, kept, params.resource())
        .iter()
        .map(|resource| (resource.id.key(), shown(&arm, &snapshot, resource)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

/// The resource as its type shows it.
pub(super) fn shown(arm: &Arm, snapshot: &Snapshot, resource: &GenericResource) -> Value {
    let mut properties = resource.properties.clone();
    properties.insert("provisioningState".to_owned(), json!("Succeeded"));
    let resource_type = resource.id.resource_type();
    if resource_type.eq_ignore_ascii_case(STORAGE_ACCOUNT) {
        properties.extend(storage_account(arm, resource));
    } else if resource_type.eq_ignore_ascii_case(SQL_SERVER) {
        properties.extend(sql_server(arm, &resource.id));
    }
    let mut members = resource.other.clone();
    let kept = generic::type_of(&resource.id);
    members.insert("id".to_owned(), json!(resource.id));
    members.insert("name".to_owned(), json!(resource.id.name()));
    members.insert("type".to_owned(), json!(kept.map_or(resource_type.as_str(), |it| it.name)));
    members.extend(resource.location.iter().map(|it| ("location".to_owned(), json!(it))));
    if kept.is_some_and(|kept| kept.place != Place::Part) || !resource.tags.is_empty() {
        members.insert("tags".to_owned(), json!(resource.tags));
    }
    members.insert("properties".to_owned(), Value::Object(properties));
    let identity = require_subscription(snapshot, resource.id.subscription())
        .ok()
        .and_then(|subscription| identity::write(&resource.identity, subscription.tenant_id));
    members.extend(identity.map(|identity| ("identity".to_owned(), identity)));
    Value::Object(members)
}

/// Where its blobs are, and when it was made.
fn storage_account(arm: &Arm, resource: &GenericResource) -> Vec<(String, Value)> {
    let name = resource.id.name();
    let blobs = format!("{}/", arm.names.url(&format!("{name}.blob.storage")));
    vec![
        ("primaryEndpoints".to_owned(), json!({ "blob": blobs })),
        ("primaryLocation".to_owned(), json!(resource.location)),
        ("statusOfPrimary".to_owned(), json!("available")),
        ("creationTime".to_owned(), json!(date(resource.created_at))),
    ]
}

fn sql_server(arm: &Arm, id: &ArmResourceId) -> Vec<(String, Value)> {
    let host = format!("{}.database.{}", id.name(), arm.names.domain());
    vec![
        ("fullyQualifiedDomainName".to_owned(), json!(host)),
        ("state".to_owned(), json!("Ready")),
        ("version".to_owned(), json!("12.0")),
    ]
}
