//! Tags of subscriptions, resource groups and resources: `{scope}/providers/Microsoft.Resources/tags/default`, and the
//! names that are in use in a subscription.
//!
//! Whoever may write tags needs no right to write what has them. Source: Microsoft.Resources REST API, Tags.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use keycard_domain::rbac::RbacScope;
use keycard_domain::resources::tags::{self, TagChange, TagUse, Tags};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, page};
use super::error::ArmError;
use super::role_assignments::scope;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/{*scope}/providers/Microsoft.Resources/tags/default";
    let write = "Microsoft.Resources/tags/write";
    vec![
        row(Method::GET, all, "Microsoft.Resources/tags/read", show),
        row(Method::PUT, all, write, put),
        row(Method::PATCH, all, write, patch),
        row(Method::DELETE, all, "Microsoft.Resources/tags/delete", remove),
        row(
            Method::GET,
            "/subscriptions/{subscription}/tagNames",
            "Microsoft.Resources/subscriptions/tagNames/read",
            list_names,
        ),
    ]
}

fn tags_json(scope: &RbacScope, tags: &Tags) -> Json<Value> {
    Json(json!({
        "id": format!("{scope}/providers/Microsoft.Resources/tags/default"),
        "name": "default",
        "type": "Microsoft.Resources/tags",
        "properties": { "tags": tags },
    }))
}

#[derive(Deserialize)]
struct TagsBody {
    operation: Option<String>,
    properties: TagsProperties,
}

#[derive(Deserialize)]
struct TagsProperties {
    tags: Option<BTreeMap<String, Option<String>>>,
}

/// The tags as a whole: a value that is not said is empty.
fn valued(tags: BTreeMap<String, Option<String>>) -> Tags {
    tags.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()
}

impl TagsBody {
    fn tags(self) -> Result<BTreeMap<String, Option<String>>, ArmError> {
        let missing = || ArmError::BodyMalformed("The property 'tags' is required.".to_owned());
        self.properties.tags.ok_or_else(missing)
    }

    fn change(self) -> Result<TagChange, ArmError> {
        let operation = self.operation.clone().unwrap_or_default();
        let tags = self.tags()?;
        let is = |name: &str| operation.eq_ignore_ascii_case(name);
        if is("Merge") {
            return Ok(TagChange::Merge(valued(tags)));
        }
        if is("Replace") {
            return Ok(TagChange::Replace(valued(tags)));
        }
        if is("Delete") {
            // An empty value names the tag whatever its value is.
            let named = |value: Option<String>| value.filter(|value| !value.is_empty());
            let gone = tags.into_iter().map(|(name, value)| (name, named(value)));
            return Ok(TagChange::Delete(gone.collect()));
        }
        Err(ArmError::BodyMalformed(
            "The operation on tags has to be 'Merge', 'Replace' or 'Delete'.".to_owned(),
        ))
    }
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let scope = scope(&params)?;
    Ok(tags_json(&scope, &tags::find(&arm.state.snapshot(), &scope)?))
}

/// Always 200: az takes nothing else.
async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<TagsBody>,
) -> Result<Json<Value>, ArmError> {
    let (scope, change) = (scope(&params)?, TagChange::Replace(valued(body.tags()?)));
    Ok(tags_json(&scope, &tags::change(&arm.state, &operation, &scope, &change).await?))
}

async fn patch(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<TagsBody>,
) -> Result<Json<Value>, ArmError> {
    let (scope, change) = (scope(&params)?, body.change()?);
    Ok(tags_json(&scope, &tags::change(&arm.state, &operation, &scope, &change).await?))
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let change = TagChange::Replace(Tags::new());
    tags::change(&arm.state, &operation, &scope(&params)?, &change).await?;
    Ok(StatusCode::OK)
}

async fn list_names(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let subscription = params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)?;
    let used = tags::in_use(&arm.state.snapshot_to_keep(), subscription)?;
    let base = format!("/subscriptions/{subscription}/tagNames");
    let items = used.into_iter().map(|(key, used)| (key, use_json(&base, &used))).collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

fn use_json(base: &str, used: &TagUse) -> Value {
    let count = |value: usize| json!({ "type": "Total", "value": value });
    let id = format!("{base}/{}", used.name);
    let value = |(value, times): (&String, &usize)| {
        let id = format!("{id}/tagValues/{value}");
        json!({ "id": id, "tagValue": value, "count": count(*times) })
    };
    let values: Vec<Value> = used.values.iter().map(value).collect();
    let total = used.values.values().sum();
    json!({ "id": id, "tagName": used.name, "count": count(total), "values": values })
}
