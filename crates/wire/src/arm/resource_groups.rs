//! Resource groups: `/subscriptions/{id}/resourceGroups/{name}`.
//!
//! Source: Azure Resource Manager REST API, resource groups.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, Method, StatusCode, Uri};
use keycard_domain::ids::SubscriptionId;
use keycard_domain::rbac::RbacScope;
use keycard_domain::resources::ResourceError;
use keycard_domain::resources::async_operation;
use keycard_domain::resources::resource_group::{self, ResourceGroup};
use serde::Deserialize;
use serde_json::{Value, json};

use super::async_operations::{Polling, headers};
use super::body::{JsonBody, page};
use super::error::ArmError;
use super::filter::{self, BareValues, Comparison, Operator};
use super::{Arm, row, visibility};
use crate::request::Parameters;
use crate::route::{Access, OwnProof, Params, Rbac, Route, route};

const READ_ACTION: &str = "Microsoft.Resources/subscriptions/resourceGroups/read";

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/subscriptions/{subscription}/resourceGroups";
    let one = "/subscriptions/{subscription}/resourceGroups/{group}";
    let read = READ_ACTION;
    let write = "Microsoft.Resources/subscriptions/resourceGroups/write";
    let delete = "Microsoft.Resources/subscriptions/resourceGroups/delete";
    vec![
        route(Method::GET, all, Access::OwnProof, list),
        row(Method::GET, one, read, show),
        row(Method::HEAD, one, read, exists),
        row(Method::PUT, one, write, put),
        row(Method::PATCH, one, write, patch),
        row(Method::DELETE, one, delete, remove),
    ]
}

fn subscription(params: &Params) -> Result<SubscriptionId, ArmError> {
    params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)
}

pub(super) fn group_json(group: &ResourceGroup) -> Value {
    let mut json = json!({
        "id": group.path(),
        "name": group.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "tags": group.tags,
        "properties": { "provisioningState": "Succeeded" },
    });
    if let (Some(owner), Some(members)) = (&group.managed_by, json.as_object_mut()) {
        members.insert("managedBy".to_owned(), json!(owner));
    }
    json
}

async fn list(
    OwnProof(operation): OwnProof,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let subscription = subscription(&params)?;
    let shown = visibility::shown(
        &arm,
        &operation,
        READ_ACTION,
        &format!("/subscriptions/{subscription}"),
    )?;
    let snapshot = arm.state.snapshot_to_keep();
    let filter = TagFilter::of(&uri)?;
    let groups = resource_group::list(&snapshot, subscription)?;
    let is_shown = |group: &ResourceGroup| {
        RbacScope::parse(&group.path())
            .is_ok_and(|scope| shown.covers(&snapshot, READ_ACTION, &scope))
    };
    let items = groups
        .iter()
        .filter(|group| filter.covers(&group.tags) && is_shown(group))
        .map(|group| (group.name.to_ascii_lowercase(), group_json(group)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

/// `tagName eq '…' and tagValue eq '…'`, or the name alone; nothing else is understood.
#[derive(Debug, Default, PartialEq, Eq)]
struct TagFilter {
    name: Option<String>,
    value: Option<String>,
}

impl TagFilter {
    fn of(uri: &Uri) -> Result<Self, ArmError> {
        Self::parse(Parameters::of(uri).get("$filter").unwrap_or_default())
    }

    fn parse(text: &str) -> Result<Self, ArmError> {
        let mut chosen = Self::default();
        for Comparison { field, operator, value } in filter::comparisons(text, BareValues::Refused)?
        {
            let place = match (&*field, operator) {
                ("tagname", Operator::Equals) => &mut chosen.name,
                ("tagvalue", Operator::Equals) => &mut chosen.value,
                _ => return Err(filter::unsupported(text)),
            };
            if place.replace(value).is_some() {
                return Err(filter::unsupported(text));
            }
        }
        if chosen.value.is_some() && chosen.name.is_none() {
            return Err(filter::unsupported(text));
        }
        Ok(chosen)
    }

    fn covers(&self, tags: &BTreeMap<String, String>) -> bool {
        let Some(wanted) = &self.name else { return true };
        tags.iter().any(|(name, value)| {
            name.to_lowercase() == wanted.to_lowercase()
                && self.value.as_ref().is_none_or(|wanted| wanted == value)
        })
    }
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let group = resource_group::find(&snapshot, subscription(&params)?, params.get("group"))?;
    Ok(Json(group_json(group)))
}

async fn exists(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let snapshot = arm.state.snapshot();
    let found = resource_group::find(&snapshot, subscription(&params)?, params.get("group"));
    Ok(if found.is_ok() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

#[derive(Deserialize)]
struct PutBody {
    location: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<PutBody>,
) -> Result<(StatusCode, Json<Value>), ArmError> {
    let group = ResourceGroup {
        subscription_id: subscription(&params)?,
        name: params.get("group").to_owned(),
        location: body.location.ok_or(ResourceError::LocationRequired)?,
        tags: body.tags.unwrap_or_default(),
        managed_by: None,
    };
    let put = resource_group::put(&arm.state, &operation, &group).await?;
    let status = if put.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(group_json(&put.resource))))
}

#[derive(Deserialize)]
struct PatchBody {
    tags: Option<BTreeMap<String, String>>,
}

async fn patch(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<PatchBody>,
) -> Result<Json<Value>, ArmError> {
    let (subscription, name) = (subscription(&params)?, params.get("group"));
    let tags = body.tags.as_ref();
    let group = resource_group::patch(&arm.state, &operation, subscription, name, tags).await?;
    Ok(Json(group_json(&group)))
}

/// Done when it answers; clients poll all the same.
async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<(StatusCode, HeaderMap), ArmError> {
    let name = params.get("group");
    async_operation::begin(&arm.state, &operation);
    let existed =
        resource_group::delete(&arm.state, &operation, subscription(&params)?, name).await?;
    if existed {
        let polling = headers(&arm, &operation, (&params, &uri), Polling::Result);
        Ok((StatusCode::ACCEPTED, polling))
    } else {
        Err(ResourceError::GroupNotFound(name.to_owned()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_chosen_by_tag() {
        let tags = BTreeMap::from([
            ("Env".to_owned(), "dev".to_owned()),
            ("who".to_owned(), "it's and us".to_owned()),
        ]);
        let covers = |text: &str| TagFilter::parse(text).map(|filter| filter.covers(&tags)).ok();
        for (filter, expected) in [
            ("", Some(true)),
            ("tagName eq 'env'", Some(true)),
            ("tagname eq 'ENV' and tagvalue eq 'dev'", Some(true)),
            ("tagValue eq 'dev' and tagName eq 'env'", Some(true)),
            ("tagName eq 'env' and tagValue eq 'DEV'", Some(false)),
            ("tagName eq 'who' and tagValue eq 'it''s and us'", Some(true)),
            ("tagName eq 'other'", Some(false)),
            ("tagValue eq 'dev'", None),
            ("tagName eq env", None),
            ("tagName eq 'a' or tagName eq 'b'", None),
            ("tagName eq 'a' and tagName eq 'b'", None),
            ("tagName eq 'a", None),
            ("name eq 'a'", None),
        ] {
            assert_eq!(covers(filter), expected, "{filter}");
        }
    }
}
