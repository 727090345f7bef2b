//! Role assignments at any scope: `{scope}/providers/Microsoft.Authorization/roleAssignments`.
//!
//! Source: Microsoft.Authorization REST API 2022-04-01; the order of members is as recorded.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri};
use keycard_domain::ids::{PrincipalId, RoleAssignmentId, RoleDefinitionId};
use keycard_domain::operation::OperationContext;
use keycard_domain::rbac::assignment::{self, NewAssignment, PrincipalType, Selection};
use keycard_domain::rbac::{RbacScope, RoleAssignment};
use serde::Deserialize;
use serde_json::{Value, json};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;

use super::body::{JsonBody, page};
use super::error::ArmError;
use super::role_definitions::definition_id;
use super::{Arm, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/{*scope}/providers/Microsoft.Authorization/roleAssignments";
    let one = "/{*scope}/providers/Microsoft.Authorization/roleAssignments/{name}";
    let read = "Microsoft.Authorization/roleAssignments/read";
    let write = "Microsoft.Authorization/roleAssignments/write";
    let delete = "Microsoft.Authorization/roleAssignments/delete";
    vec![
        row(Method::GET, all, read, list),
        row(Method::PUT, one, write, put),
        row(Method::GET, one, read, show),
        row(Method::DELETE, one, delete, remove),
    ]
}

fn date(seconds: i64) -> Option<String> {
    UtcDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

fn assignment_json(assignment: &RoleAssignment) -> Value {
    let at_root = assignment.scope.as_str() == "/";
    let base = if at_root { "" } else { assignment.scope.as_str() };
    json!({
        "properties": {
            "roleDefinitionId": definition_id(&assignment.scope, assignment.role),
            "principalId": assignment.principal_id,
            "principalType": assignment.principal_type.as_str(),
            "scope": assignment.scope,
            "condition": null,
            "conditionVersion": null,
            "createdOn": date(assignment.created_at),
            "updatedOn": date(assignment.updated_at),
            "createdBy": assignment.created_by,
            "updatedBy": assignment.created_by,
            "delegatedManagedIdentityResourceId": null,
            "description": assignment.description,
        },
        "id": format!("{base}/providers/Microsoft.Authorization/roleAssignments/{}", assignment.id),
        "type": "Microsoft.Authorization/roleAssignments",
        "name": assignment.id,
    })
}

#[derive(Deserialize)]
struct PutBody {
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    role_definition_id: String,
    principal_id: PrincipalId,
    principal_type: Option<String>,
    description: Option<String>,
    condition: Option<String>,
}

fn scope(params: &Params) -> Result<RbacScope, ArmError> {
    RbacScope::parse(params.scope()).map_err(|_| ArmError::PathMalformed)
}

fn name(params: &Params) -> Result<RoleAssignmentId, ArmError> {
    params.get("name").parse().map_err(|_| {
        ArmError::BodyMalformed(format!(
            "The role assignment ID '{}' is not a GUID.",
            params.get("name")
        ))
    })
}

/// The GUID at the end of a role definition's id, whatever stands before it.
fn role_id(text: &str) -> Result<RoleDefinitionId, ArmError> {
    let guid = text.rsplit('/').next().unwrap_or_default();
    guid.parse().map_err(|_| ArmError::RoleDefinitionNotFound(text.chars().take(200).collect()))
}

fn principal_type(text: Option<&str>) -> Result<Option<PrincipalType>, ArmError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    [PrincipalType::ServicePrincipal, PrincipalType::User, PrincipalType::Group]
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(text))
        .map(Some)
        .ok_or_else(|| {
            ArmError::BodyMalformed(format!("The PrincipalType property '{text}' is not valid. It must be 'User', 'Group' or 'ServicePrincipal'."))
        })
}

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<PutBody>,
) -> Result<(StatusCode, Json<Value>), ArmError> {
    let properties = body.properties;
    // A condition that is not evaluated would grant more than was asked for.
    if properties.condition.is_some_and(|condition| !condition.trim().is_empty()) {
        return Err(ArmError::Unsupported("conditions of role assignments"));
    }
    let new = NewAssignment {
        scope: scope(&params)?,
        id: name(&params)?,
        principal_id: properties.principal_id,
        principal_type: principal_type(properties.principal_type.as_deref())?,
        role: role_id(&properties.role_definition_id)?,
        description: properties.description,
    };
    let created = assignment::create(&arm.state, &operation, &new)
        .await
        .map_err(|error| ArmError::Assignment { error, tenant: tenant(&operation) })?;
    Ok((StatusCode::CREATED, Json(assignment_json(&created))))
}

fn tenant(operation: &OperationContext) -> String {
    operation.principal().map(|principal| principal.tenant_id.to_string()).unwrap_or_default()
}

fn not_found(params: &Params) -> ArmError {
    ArmError::NotFound {
        resource_type: "Microsoft.Authorization/roleAssignments".to_owned(),
        name: params.get("name").to_owned(),
    }
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let found = assignment::find(&snapshot, &scope(&params)?, name(&params)?);
    found.map(|found| Json(assignment_json(found))).ok_or_else(|| not_found(&params))
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Response, ArmError> {
    let deleted =
        assignment::delete(&arm.state, &operation, &scope(&params)?, name(&params)?).await?;
    Ok(match deleted {
        Some(deleted) => Json(assignment_json(&deleted)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

fn selection(filter: &str) -> Result<Selection, ArmError> {
    let filter = filter.trim();
    let unsupported = || ArmError::FilterUnsupported(filter.chars().take(200).collect());
    let principal = |text: &str| text.trim().trim_matches('\'').parse().map_err(|_| unsupported());
    match filter {
        "" => Ok(Selection::Around),
        "atScope()" => Ok(Selection::AtScope),
        _ => match (filter.split_once(" eq "), filter.strip_prefix("assignedTo(")) {
            (Some((field, value)), _) if field.trim().eq_ignore_ascii_case("principalId") => {
                principal(value).map(Selection::OfPrincipal)
            }
            (_, Some(rest)) => {
                principal(rest.strip_suffix(')').unwrap_or_default()).map(Selection::OfPrincipal)
            }
            _ => Err(unsupported()),
        },
    }
}

async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let selection = selection(Parameters::of(&uri).get("$filter").unwrap_or_default())?;
    let snapshot = arm.state.snapshot_to_keep();
    let items = assignment::list(&snapshot, &scope(&params)?, selection)
        .iter()
        .map(|assignment| {
            (format!("{}|{}", assignment.scope.key(), assignment.id), assignment_json(assignment))
        })
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_of_clients_are_understood() {
        let id = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
        let of = Selection::OfPrincipal(id.parse().unwrap());
        assert_eq!(selection(""), Ok(Selection::Around));
        assert_eq!(selection("atScope()"), Ok(Selection::AtScope));
        assert_eq!(selection(&format!("principalId eq '{id}'")), Ok(of));
        assert_eq!(selection(&format!("assignedTo('{id}')")), Ok(of));
        assert!(selection("roleDefinitionId eq 'x'").is_err());
        assert!(selection("principalId eq 'x'").is_err());
    }
}
