//! Deployments as Resource Manager shows them. Source: Microsoft.Resources REST API, Deployments and their operations.

use keycard_domain::deployment::parameter::ShownValue;
use keycard_domain::deployment::plan::{Plan, PlannedResource};
use keycard_domain::deployment::{
    self, Deployment, DeploymentFailure, DeploymentOperation, NewDeployment,
};
use keycard_domain::operation::OperationContext;
use serde_json::{Map, Value, json};

use super::super::body::date;

pub(super) fn deployment(deployment: &Deployment) -> Value {
    let ended = deployment.ended_at_ms.unwrap_or(deployment.started_at_ms);
    let made =
        deployment.operations.iter().filter(|it| it.kind == "Create" && it.refusal.is_none());
    let made: Vec<Value> = made.map(|it| json!({ "id": it.resource })).collect();
    let mut properties = json!({
        "templateHash": deployment.template_hash,
        "parameters": values(&deployment.parameters, false),
        "mode": deployment.mode.as_str(),
        "provisioningState": deployment.state.as_str(),
        "timestamp": date(ended / 1000),
        "duration": duration(ended - deployment.started_at_ms),
        "correlationId": deployment.correlation_id,
        "providers": providers(deployment.operations.iter().map(|it| it.resource_type.as_str())),
        "dependencies": dependencies(deployment),
    });
    if let Some(members) = properties.as_object_mut()
        && deployment.ended_at_ms.is_some()
    {
        members.insert("outputs".to_owned(), values(&deployment.outputs, true));
        members.insert("outputResources".to_owned(), made.into());
        members.extend(deployment.failure.as_ref().map(|it| ("error".to_owned(), failure(it))));
    }
    let mut answer = json!({
        "id": deployment.path(),
        "name": deployment.name,
        "type": "Microsoft.Resources/deployments",
        "properties": properties,
    });
    if let Some(members) = answer.as_object_mut() {
        members.extend(deployment.location.as_ref().map(|it| ("location".to_owned(), json!(it))));
        if !deployment.tags.is_empty() {
            members.insert("tags".to_owned(), json!(deployment.tags));
        }
    }
    answer
}

/// The deployment that would be made of a template.
pub(super) fn validated(new: &NewDeployment, plan: &Plan, operation: &OperationContext) -> Value {
    let resources: Vec<&PlannedResource> = plan.resources().collect();
    json!({
        "id": deployment::path(&new.scope, &new.name),
        "name": new.name,
        "type": "Microsoft.Resources/deployments",
        "location": new.location,
        "properties": {
            "parameters": values(plan.parameters(), false),
            "mode": new.mode.as_str(),
            "provisioningState": "Succeeded",
            "timestamp": date(operation.now.unix_timestamp()),
            "duration": "PT0S",
            "correlationId": operation.correlation_id,
            "providers": providers(resources.iter().map(|it| it.resource_type.as_str())),
            "validatedResources":
                resources.iter().map(|it| json!({ "id": it.id })).collect::<Vec<Value>>(),
        },
    })
}

pub(super) fn failure(failure: &DeploymentFailure) -> Value {
    let details = failure.details.iter();
    let details: Vec<Value> =
        details.map(|it| json!({ "code": it.code, "message": it.message })).collect();
    let mut error = json!({ "code": failure.code, "message": failure.message });
    if let Some(members) = error.as_object_mut().filter(|_| !details.is_empty()) {
        members.insert("details".to_owned(), details.into());
    }
    error
}

/// Names of outputs begin with a small letter in answers. Observed on Azure.
fn values(shown: &[ShownValue], are_outputs: bool) -> Value {
    let mut members = Map::new();
    for one in shown {
        let mut letters = one.name.chars();
        let name = match letters.next().filter(|_| are_outputs) {
            Some(first) => first.to_lowercase().chain(letters).collect(),
            None => one.name.clone(),
        };
        let mut value = json!({ "type": one.value_type.as_str() });
        if let (Some(given), Some(members)) = (&one.value, value.as_object_mut()) {
            members.insert("value".to_owned(), given.clone());
        }
        members.insert(name, value);
    }
    members.into()
}

fn providers<'a>(types: impl Iterator<Item = &'a str>) -> Vec<Value> {
    let mut namespaces: Vec<(String, Vec<String>)> = Vec::new();
    for (namespace, resource_type) in types.filter_map(|it| it.split_once('/')) {
        let known = namespaces.iter().position(|(it, _)| it.eq_ignore_ascii_case(namespace));
        let known = known.unwrap_or_else(|| {
            namespaces.push((namespace.to_owned(), Vec::new()));
            namespaces.len() - 1
        });
        if let Some((_, types)) = namespaces.get_mut(known)
            && !types.iter().any(|it| it.eq_ignore_ascii_case(resource_type))
        {
            types.push(resource_type.to_owned());
        }
    }
    let shown = |(namespace, types): (String, Vec<String>)| {
        let types: Vec<Value> =
            types.iter().map(|it| json!({ "resourceType": it, "locations": [null] })).collect();
        json!({ "namespace": namespace, "resourceTypes": types })
    };
    namespaces.into_iter().map(shown).collect()
}

fn dependencies(deployment: &Deployment) -> Vec<Value> {
    let shown = |id: &String| {
        let dependency = deployment.dependencies.iter().find(|it| it.resource == *id);
        let operation = deployment.operations.iter().find(|it| it.resource == *id);
        let resource_type = dependency
            .map(|it| &it.resource_type)
            .or_else(|| operation.map(|it| &it.resource_type));
        let name = dependency.map(|it| &it.name).or_else(|| operation.map(|it| &it.name));
        json!({ "id": id, "resourceType": resource_type, "resourceName": name })
    };
    let all = deployment.dependencies.iter();
    all.map(|it| {
        json!({
            "dependsOn": it.needs.iter().map(shown).collect::<Vec<Value>>(),
            "id": it.resource,
            "resourceType": it.resource_type,
            "resourceName": it.name,
        })
    })
    .collect()
}

/// ISO 8601, as in `PT5.1S`.
fn duration(milliseconds: i64) -> String {
    let milliseconds = milliseconds.max(0);
    format!("PT{}.{:03}S", milliseconds / 1000, milliseconds % 1000)
}

/// What a deployment did, with the keys that order it.
pub(super) fn operations(deployment: &Deployment) -> Vec<(String, Value)> {
    let all = deployment.operations.iter().enumerate();
    all.map(|(index, it)| (format!("{index:04}"), operation(deployment, index, it))).collect()
}

/// One of the things that a deployment did.
pub(super) fn find_operation(deployment: &Deployment, id: &str) -> Option<Value> {
    let mut all = deployment.operations.iter().enumerate();
    let is_it = |index| operation_id(deployment, index).eq_ignore_ascii_case(id);
    all.find(|(index, _)| is_it(*index)).map(|(index, it)| operation(deployment, index, it))
}

/// The id has to be the same whenever it is asked for.
fn operation_id(deployment: &Deployment, index: usize) -> String {
    format!("{}{index:04X}", deployment.run_id.simple()).to_uppercase()
}

fn operation(deployment: &Deployment, index: usize, done: &DeploymentOperation) -> Value {
    let operation_id = operation_id(deployment, index);
    let status = http::StatusCode::from_u16(done.status).ok();
    let reason = status.and_then(|status| status.canonical_reason()).unwrap_or_default();
    let state = if done.refusal.is_some() { "Failed" } else { "Succeeded" };
    let message = done.refusal.as_ref().map(|text| {
        serde_json::from_str::<Value>(text)
            .unwrap_or_else(|_| json!({ "error": { "message": text } }))
    });
    json!({
        "id": format!("{}/operations/{operation_id}", deployment.path()),
        "operationId": operation_id,
        "properties": {
            "provisioningOperation": done.kind,
            "provisioningState": state,
            "timestamp": date(done.ended_at_ms / 1000),
            "duration": "PT0S",
            "statusCode": reason.replace(' ', ""),
            "statusMessage": message,
            "targetResource": {
                "id": done.resource,
                "resourceType": done.resource_type,
                "resourceName": done.name,
            },
        },
    })
}
