//! What a deployment would change: each resource as it is, beside what the template makes of it. Nothing is written.
//!
//! Source: Azure Resource Manager, "ARM template deployment what-if operation".

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use keycard_domain::deployment::plan::{Answers, Plan, PlannedResource};
use keycard_domain::deployment::{DeploymentMode, NewDeployment};
use keycard_domain::limits;
use keycard_domain::resources::listing;
use serde_json::{Map, Value, json};

use super::super::Arm;
use super::super::error::refusal_text;
use super::door::{ANY_VERSION, Door, References, Unsettled};
use super::request::{Prepared, position};

/// The changes, or why they cannot be foretold, in the shape of an operation that has ended.
pub(super) async fn foretell(arm: &Arm, door: &Door, prepared: &Prepared) -> Value {
    let mut changes = Vec::new();
    let mut answers = References::default();
    for resource in prepared.plan.resources() {
        match change(door, prepared, &mut answers, resource).await {
            Ok(change) => changes.push(change),
            Err(error) => return json!({ "status": "Failed", "error": error }),
        }
    }
    changes.extend(others(arm, door, &prepared.new, &prepared.plan).await);
    // The template may put secure parameters where nothing of them is ever shown.
    let changes = door.hidden(&prepared.plan).value(changes.into());
    json!({ "status": "Succeeded", "properties": { "changes": changes } })
}

async fn change(
    door: &Door,
    prepared: &Prepared,
    answers: &mut References,
    resource: &PlannedResource,
) -> Result<Value, Value> {
    let asked = door.send(Method::GET, &resource.id, &resource.api_version, None).await;
    let before = match asked {
        Ok((_, before)) => Some(before),
        Err((StatusCode::NOT_FOUND, _)) => None,
        Err((StatusCode::METHOD_NOT_ALLOWED, _)) => return Ok(unforetold(resource)),
        Err((status, text)) => return Err(refused(status, &text)),
    };
    let evaluate = |plan: &Plan, answers: &Answers| plan.body(resource, answers);
    let after = match door.settled(&prepared.plan, answers, evaluate).await {
        Ok(body) => Some(whole(resource, &body)),
        // It refers to what the deployment itself would make.
        Err(Unsettled::Refused((StatusCode::NOT_FOUND, _))) => None,
        Err(Unsettled::Refused((status, text))) => return Err(refused(status, &text)),
        Err(Unsettled::Violation(violation)) => {
            let at = position(&prepared.text, &violation);
            let words = refusal_text(&violation, at);
            return Err(json!({ "code": "InvalidTemplate", "message": words }));
        }
    };
    let mut delta = Vec::new();
    if let (Some(before), Some(after)) = (&before, &after) {
        compare("", before, after, &mut delta);
    }
    let kind = match (&before, &after) {
        (None, _) => "Create",
        (Some(_), None) => "Deploy",
        (Some(_), Some(_)) if delta.is_empty() => "NoChange",
        (Some(_), Some(_)) => "Modify",
    };
    Ok(json!({
        "resourceId": &*resource.id,
        "changeType": kind,
        "before": before,
        "after": after,
        "delta": delta,
    }))
}

/// What can be put and not read, such as a change of a vault's access policies: nothing is known of it before.
fn unforetold(resource: &PlannedResource) -> Value {
    json!({
        "resourceId": &*resource.id,
        "changeType": "Unsupported",
        "unsupportedReason": format!("Resources of the type '{}' cannot be read.", resource.resource_type),
        "before": null,
        "after": null,
        "delta": [],
    })
}

/// The refusal's own error, as it was answered.
fn refused(status: StatusCode, text: &str) -> Value {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let error = answer.get("error").cloned();
    error.unwrap_or_else(|| json!({ "code": status.as_str(), "message": text }))
}

fn whole(resource: &PlannedResource, body: &Value) -> Value {
    let mut members = Map::new();
    members.insert("id".to_owned(), json!(&*resource.id));
    members.insert("name".to_owned(), json!(resource.name.rsplit('/').next()));
    members.insert("type".to_owned(), json!(resource.resource_type));
    members.insert("apiVersion".to_owned(), json!(resource.api_version));
    members.extend(body.as_object().cloned().unwrap_or_default());
    members.into()
}

/// Members that are not compared: they name the resource, or how it is asked for.
const UNCOMPARED: [&str; 4] = ["id", "name", "type", "apiVersion"];

/// Adds what differs of the members that the template writes; the others stay as they are.
fn compare(path: &str, before: &Value, after: &Value, delta: &mut Vec<Value>) {
    let (Some(present), Some(wanted)) = (before.as_object(), after.as_object()) else {
        if !is_same(before, after) {
            delta.push(json!({
                "path": path, "propertyChangeType": "Modify", "before": before, "after": after,
            }));
        }
        return;
    };
    for (name, after) in wanted {
        if path.is_empty() && UNCOMPARED.contains(&name.as_str()) {
            continue;
        }
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let found = present.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        match found {
            Some((_, before)) => compare(&below, before, after, delta),
            // Nothing, and an empty object, are what is not there.
            None if after.is_null() || after.as_object().is_some_and(Map::is_empty) => {}
            None => delta.push(json!({
                "path": below, "propertyChangeType": "Create", "before": null, "after": after,
            })),
        }
    }
}

/// Texts are the same whatever their case and blanks: locations and kinds of identities are written in several ways.
fn is_same(before: &Value, after: &Value) -> bool {
    let folded = |text: &str| -> String {
        text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
    };
    match (before, after) {
        (Value::String(before), Value::String(after)) => folded(before) == folded(after),
        (before, after) => before == after,
    }
}

/// What the group holds and the template does not name, as far as the caller may see it: deleted in one mode, left alone
/// in the other. What deployments inside this one would name is not known, so beside them no deletion is foretold.
async fn others(arm: &Arm, door: &Door, new: &NewDeployment, plan: &Plan) -> Vec<Value> {
    let (Some(subscription), Some(group)) = (new.scope.subscription(), new.scope.resource_group())
    else {
        return Vec::new();
    };
    let kind = match new.mode {
        DeploymentMode::Incremental => "Ignore",
        DeploymentMode::Complete if plan.resources().any(PlannedResource::is_deployment) => {
            "Unsupported"
        }
        DeploymentMode::Complete => "Delete",
    };
    let named: BTreeSet<String> = plan.resources().map(|it| it.id.to_lowercase()).collect();
    let path = format!("/subscriptions/{subscription}/resourceGroups/{group}");
    let all = listing::below(&arm.state.snapshot(), &path);
    let here = all.into_iter().map(|it| it.id).filter(|id| !named.contains(&id.key()));
    let mut changes = Vec::new();
    for id in here.take(limits::LIST_PAGE_MAX) {
        let asked = door.send(Method::GET, id.as_str(), ANY_VERSION, None).await;
        if let Ok((_, before)) = asked {
            changes.push(json!({
                "resourceId": id, "changeType": kind, "before": before, "after": null,
            }));
        }
    }
    changes
}
