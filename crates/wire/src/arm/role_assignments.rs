//! Role assignments at any scope: `{scope}/providers/Microsoft.Authorization/roleAssignments`.
//!
//! Source: Microsoft.Authorization REST API 2022-04-01.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri};
use keycard_domain::ids::{PrincipalId, RoleAssignmentId, RoleDefinitionId};
use keycard_domain::rbac::assignment::{self, NewAssignment, PrincipalType, Selection};
use keycard_domain::rbac::standing::with_groups;
use keycard_domain::rbac::{Condition, RbacScope, RoleAssignment};
use keycard_domain::records::Record;
use keycard_domain::snapshot::Snapshot;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, date, page, tenant};
use super::error::ArmError;
use super::role_definitions::definition_id;
use super::{Arm, filter, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route};

/// What giving a role takes.
pub(super) const WRITE: &str = "Microsoft.Authorization/roleAssignments/write";
/// What taking a role away takes.
pub(super) const DELETE: &str = "Microsoft.Authorization/roleAssignments/delete";

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/{*scope}/providers/Microsoft.Authorization/roleAssignments";
    let one = "/{*scope}/providers/Microsoft.Authorization/roleAssignments/{name}";
    let read = "Microsoft.Authorization/roleAssignments/read";
    vec![
        row(Method::GET, all, read, list),
        row(Method::PUT, one, WRITE, put),
        row(Method::GET, one, read, show),
        row(Method::DELETE, one, DELETE, remove),
    ]
}

pub(super) fn assignment_json(assignment: &RoleAssignment) -> Value {
    let at_root = assignment.scope.as_str() == "/";
    let base = if at_root { "" } else { assignment.scope.as_str() };
    json!({
        "properties": {
            "roleDefinitionId": definition_id(&assignment.scope, assignment.role),
            "principalId": assignment.principal_id,
            "principalType": assignment.principal_type.as_str(),
            "scope": assignment.scope,
            "condition": assignment.condition,
            "conditionVersion": assignment.condition.as_ref().map(|_| CONDITION_VERSION),
            "createdOn": date(assignment.created_at),
            "updatedOn": date(assignment.updated_at),
            "createdBy": assignment.created_by,
            "updatedBy": assignment.updated_by,
            "delegatedManagedIdentityResourceId": null,
            "description": assignment.description,
        },
        "id": format!("{base}/providers/Microsoft.Authorization/roleAssignments/{}", assignment.id),
        "type": "Microsoft.Authorization/roleAssignments",
        "name": assignment.id,
    })
}

#[derive(Deserialize)]
pub(super) struct PutBody {
    pub(super) properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Properties {
    pub(super) role_definition_id: String,
    pub(super) principal_id: PrincipalId,
    pub(super) principal_type: Option<String>,
    description: Option<String>,
    condition: Option<String>,
    condition_version: Option<String>,
}

/// The one version of the condition language that assignments are written in.
pub(super) const CONDITION_VERSION: &str = "2.0";

/// A condition as a request gives it: empty is none, and it has to be of the one version.
pub(super) fn condition(
    text: Option<&str>,
    version: Option<&str>,
) -> Result<Option<Condition>, ArmError> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if version != Some(CONDITION_VERSION) {
        return Err(ArmError::ConditionInvalid("conditionVersion has to be 2.0".to_owned()));
    }
    Condition::parse(text).map(Some).map_err(|error| ArmError::ConditionInvalid(error.to_string()))
}

pub(super) fn scope(params: &Params) -> Result<RbacScope, ArmError> {
    RbacScope::parse(params.scope()).map_err(|_| ArmError::PathMalformed)
}

pub(super) fn name(params: &Params) -> Result<RoleAssignmentId, ArmError> {
    params.get("name").parse().map_err(|_| {
        ArmError::BodyMalformed(format!(
            "The role assignment ID '{}' is not a GUID.",
            params.get("name")
        ))
    })
}

/// The GUID at the end of a role definition's id, whatever stands before it.
pub(super) fn role_id(text: &str) -> Result<RoleDefinitionId, ArmError> {
    let guid = text.rsplit('/').next().unwrap_or_default();
    guid.parse().map_err(|_| ArmError::RoleDefinitionNotFound(text.chars().take(200).collect()))
}

pub(super) fn principal_type(text: Option<&str>) -> Result<Option<PrincipalType>, ArmError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    [PrincipalType::ServicePrincipal, PrincipalType::User, PrincipalType::Group]
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(text))
        .map(Some)
        .ok_or_else(|| ArmError::PrincipalTypeInvalid(text.chars().take(100).collect()))
}

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<PutBody>,
) -> Result<(StatusCode, Json<Value>), ArmError> {
    let properties = body.properties;
    let tenant_id = tenant(&operation)?;
    let new = NewAssignment {
        tenant_id,
        scope: scope(&params)?,
        id: name(&params)?,
        principal_id: properties.principal_id,
        principal_type: principal_type(properties.principal_type.as_deref())?,
        role: role_id(&properties.role_definition_id)?,
        condition: condition(
            properties.condition.as_deref(),
            properties.condition_version.as_deref(),
        )?,
        description: properties.description,
    };
    let created = assignment::create(&arm.state, &operation, &new)
        .await
        .map_err(|error| ArmError::Assignment { error, tenant: tenant_id })?;
    let mut json = assignment_json(&created);
    // Recorded: the answer to a request that makes an assignment does not say who made it.
    if created.created_at == created.updated_at
        && let Some(created_by) = json.pointer_mut("/properties/createdBy")
    {
        *created_by = Value::Null;
    }
    Ok((StatusCode::CREATED, Json(json)))
}

fn not_found(params: &Params) -> ArmError {
    ArmError::RoleAssignmentNotFound(params.get("name").to_owned())
}

async fn show(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let found = assignment::find(&snapshot, tenant(&operation)?, &scope(&params)?, name(&params)?);
    found.map(|found| Json(assignment_json(found))).ok_or_else(|| not_found(&params))
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Response, ArmError> {
    let (tenant, scope, name) = (tenant(&operation)?, scope(&params)?, name(&params)?);
    let deleted = assignment::delete(&arm.state, &operation, tenant, &scope, name)
        .await
        .map_err(|error| ArmError::Assignment { error, tenant })?;
    Ok(match deleted {
        Some(deleted) => Json(assignment_json(&deleted)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Which assignments `$filter` asks for: those around the scope, at it and above it, or of a principal, with the groups
/// it is in or without.
pub(super) fn selection(snapshot: &Snapshot, filter: &str) -> Result<Selection, ArmError> {
    let filter = filter.trim();
    let unsupported = || filter::unsupported(filter);
    let principal = |text: &str| -> Result<PrincipalId, ArmError> {
        text.trim().trim_matches('\'').parse().map_err(|_| unsupported())
    };
    if filter.is_empty() {
        return Ok(Selection::Around);
    }
    if filter.eq_ignore_ascii_case("atScope()") {
        return Ok(Selection::AtScope);
    }
    if let Some((field, value)) = filter.split_once(" eq ")
        && field.trim().eq_ignore_ascii_case("principalId")
    {
        return Ok(Selection::OfPrincipals(vec![principal(value)?]));
    }
    let argument = filter
        .split_once('(')
        .filter(|(function, _)| function.eq_ignore_ascii_case("assignedTo"))
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    let argument = argument.ok_or_else(unsupported)?;
    Ok(Selection::OfPrincipals(with_groups(snapshot, principal(argument)?)))
}

async fn list(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    let filter = Parameters::of(&uri);
    let selection = selection(&snapshot, filter.get("$filter").unwrap_or_default())?;
    let items = assignment::list(&snapshot, tenant(&operation)?, &scope(&params)?, &selection)
        .iter()
        .map(|assignment| (assignment.record_id(), assignment_json(assignment)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_of_clients_are_understood() {
        let id = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
        let of = Selection::OfPrincipals(vec![id.parse().unwrap()]);
        let selection = |filter: &str| selection(&Snapshot::default(), filter);
        assert_eq!(selection(""), Ok(Selection::Around));
        assert_eq!(selection("atScope()"), Ok(Selection::AtScope));
        assert_eq!(selection(&format!("principalId eq '{id}'")), Ok(of.clone()));
        assert_eq!(selection(&format!("assignedTo('{id}')")), Ok(of));
        assert!(selection("roleDefinitionId eq 'x'").is_err());
        assert!(selection("principalId eq 'x'").is_err());
    }

    #[test]
    fn a_condition_is_of_version_two_or_refused() {
        let text = "@Resource[Microsoft.KeyVault/vaults:name] StringEquals 'kv'";
        assert_eq!(condition(None, None), Ok(None));
        assert_eq!(condition(Some(" "), None), Ok(None));
        assert!(condition(Some(text), Some("2.0")).unwrap().is_some());
        assert!(condition(Some(text), Some("1.0")).is_err());
        assert!(condition(Some(text), None).is_err());
        assert!(condition(Some("nonsense"), Some("2.0")).is_err());
    }
}
