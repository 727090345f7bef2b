//! Role definitions at any scope: `{scope}/providers/Microsoft.Authorization/roleDefinitions`.
//!
//! Source: Microsoft.Authorization REST API 2022-04-01.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri};
use keycard_domain::ids::{PrincipalId, RoleDefinitionId, TenantId};
use keycard_domain::operation::OperationContext;
use keycard_domain::rbac::action::{ActionPattern, ActionPatterns};
use keycard_domain::rbac::assignment::is_below;
use keycard_domain::rbac::custom_role::{self, CustomRole, CustomRoleError, NewRole};
use keycard_domain::rbac::standing::Ancestry;
use keycard_domain::rbac::{Permission, RbacScope, RoleDefinition, built_in_roles};
use keycard_domain::snapshot::Snapshot;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, page, tenant};
use super::error::ArmError;
use super::role_assignments::{condition, scope};
use super::{Arm, filter, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/{*scope}/providers/Microsoft.Authorization/roleDefinitions";
    let one = "/{*scope}/providers/Microsoft.Authorization/roleDefinitions/{name}";
    let read = "Microsoft.Authorization/roleDefinitions/read";
    vec![
        row(Method::GET, all, read, list),
        row(Method::GET, one, read, show),
        row(Method::PUT, one, custom_role::WRITE_ACTION, put),
        row(Method::DELETE, one, custom_role::DELETE_ACTION, remove),
    ]
}

/// The id of a role below the scope's subscription; a built-in role is the same everywhere.
pub(super) fn definition_id(scope: &RbacScope, role: RoleDefinitionId) -> String {
    let base = scope.subscription().map(|id| format!("/subscriptions/{id}")).unwrap_or_default();
    format!("{base}/providers/Microsoft.Authorization/roleDefinitions/{role}")
}

pub(super) fn permission_json(permission: &Permission) -> Value {
    let mut json = json!({
        "actions": permission.actions,
        "notActions": permission.not_actions,
        "dataActions": permission.data_actions,
        "notDataActions": permission.not_data_actions,
    });
    if let (Some(condition), Value::Object(members)) = (&permission.condition, &mut json) {
        members.insert("condition".to_owned(), json!(condition));
        members.insert("conditionVersion".to_owned(), json!(permission.condition_version));
    }
    json
}

/// Who made a role, and who changed it last.
#[derive(Clone, Copy, Default)]
struct Authors {
    created_by: Option<PrincipalId>,
    updated_by: Option<PrincipalId>,
}

impl Authors {
    fn of(role: &CustomRole) -> Self {
        Self { created_by: role.created_by, updated_by: role.updated_by }
    }
}

fn role_json(scope: &RbacScope, role: &RoleDefinition, authors: Authors) -> Value {
    json!({
        "properties": {
            "roleName": role.role_name,
            "type": role.role_type.as_str(),
            "description": role.description,
            "assignableScopes": role.assignable_scopes,
            "permissions": role.permissions.iter().map(permission_json).collect::<Vec<_>>(),
            "createdOn": role.created_on,
            "updatedOn": role.updated_on,
            "createdBy": authors.created_by,
            "updatedBy": authors.updated_by,
        },
        "id": definition_id(scope, role.id),
        "type": "Microsoft.Authorization/roleDefinitions",
        "name": role.id,
    })
}

/// What a listing is narrowed to: `roleName eq '…'`, `type eq 'CustomRole'`, `atScopeAndBelow()`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    role_name: Option<String>,
    role_type: Option<String>,
    with_below: bool,
}

impl Filter {
    fn parse(filter: &str) -> Result<Self, ArmError> {
        let unsupported = || filter::unsupported(filter);
        let mut parsed = Self::default();
        for term in filter.split(" and ").map(str::trim).filter(|term| !term.is_empty()) {
            if term.eq_ignore_ascii_case("atScopeAndBelow()") {
                parsed.with_below = true;
                continue;
            }
            if term.eq_ignore_ascii_case("atScope()") {
                continue;
            }
            let (field, value) = term.split_once(" eq ").ok_or_else(unsupported)?;
            let quoted = value.trim().strip_prefix('\'').and_then(|it| it.strip_suffix('\''));
            let value = quoted.ok_or_else(unsupported)?.replace("''", "'");
            match field.trim().to_ascii_lowercase().as_str() {
                "rolename" => parsed.role_name = Some(value),
                "type" => parsed.role_type = Some(value),
                _ => return Err(unsupported()),
            }
        }
        Ok(parsed)
    }

    fn covers(&self, role: &RoleDefinition) -> bool {
        let is = |wanted: &Option<String>, actual: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.to_lowercase() == actual.to_lowercase())
        };
        is(&self.role_name, &role.role_name) && is(&self.role_type, role.role_type.as_str())
    }
}

/// The tenant's custom roles that can be assigned at the scope, and, when asked for, somewhere below it.
fn custom_roles<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    scope: &'a RbacScope,
    with_below: bool,
) -> impl Iterator<Item = &'a CustomRole> {
    let above = Ancestry::of(snapshot, tenant, scope);
    let is_shown = move |assignable: &RbacScope| {
        above.as_ref().is_some_and(|above| above.holds(assignable))
            || (with_below && is_below(snapshot, scope, assignable))
    };
    snapshot
        .custom_roles
        .iter()
        .map(|(_, role)| role.record.as_ref())
        .filter(move |role| role.tenant_id == tenant)
        .filter(move |role| role.definition.assignable_scopes.iter().any(&is_shown))
}

/// Whether a role can be assigned at the scope, or somewhere below it: who reads there sees no others.
fn is_assignable_around(
    snapshot: &Snapshot,
    tenant: TenantId,
    scope: &RbacScope,
    role: &RoleDefinition,
) -> bool {
    let above = Ancestry::of(snapshot, tenant, scope);
    role.assignable_scopes.iter().any(|assignable| {
        above.as_ref().is_some_and(|above| above.holds(assignable))
            || is_below(snapshot, scope, assignable)
    })
}

async fn list(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let scope = scope(&params)?;
    let filter = Filter::parse(Parameters::of(&uri).get("$filter").unwrap_or_default())?;
    let snapshot = arm.state.snapshot_to_keep();
    let built_in = built_in_roles::all().iter().map(|role| (role.as_ref(), Authors::default()));
    let custom = custom_roles(&snapshot, tenant(&operation)?, &scope, filter.with_below)
        .map(|role| (role.definition.as_ref(), Authors::of(role)));
    let items = built_in
        .chain(custom)
        .filter(|(role, _)| filter.covers(role))
        .map(|(role, authors)| (role.id.to_string(), role_json(&scope, role, authors)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

fn name(params: &Params) -> Result<RoleDefinitionId, ArmError> {
    let name = params.get("name");
    name.parse().map_err(|_| ArmError::RoleDefinitionNotFound(name.chars().take(200).collect()))
}

async fn show(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let (scope, name, tenant) = (scope(&params)?, name(&params)?, tenant(&operation)?);
    let snapshot = arm.state.snapshot();
    let role = snapshot
        .role_definition(tenant, name)
        .filter(|role| is_assignable_around(&snapshot, tenant, &scope, role))
        .ok_or_else(|| ArmError::RoleDefinitionNotFound(name.to_string()))?;
    let custom = snapshot.custom_roles.get(&name.to_string());
    let authors = custom.map_or_else(Authors::default, |role| Authors::of(role));
    Ok(Json(role_json(&scope, role, authors)))
}

#[derive(Deserialize)]
struct PutBody {
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    role_name: String,
    #[serde(default)]
    description: Option<String>,
    assignable_scopes: Vec<String>,
    permissions: Vec<PermissionBody>,
}

/// A permission object as a request gives it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct PermissionBody {
    actions: Option<Vec<String>>,
    not_actions: Option<Vec<String>>,
    data_actions: Option<Vec<String>>,
    not_data_actions: Option<Vec<String>>,
    condition: Option<String>,
    condition_version: Option<String>,
}

impl PermissionBody {
    /// The permission, with its condition parsed.
    pub(super) fn read(self) -> Result<Permission, ArmError> {
        let patterns = |texts: Option<Vec<String>>| {
            let texts = texts.unwrap_or_default();
            let patterns = texts.iter().map(|text| ActionPattern::new(text));
            ActionPatterns::from(patterns.collect::<Vec<_>>())
        };
        let version = self.condition_version.as_deref();
        let condition = condition(self.condition.as_deref(), version)?;
        Ok(Permission {
            condition_version: condition.as_ref().and(self.condition_version),
            condition,
            actions: patterns(self.actions),
            not_actions: patterns(self.not_actions),
            data_actions: patterns(self.data_actions),
            not_data_actions: patterns(self.not_data_actions),
        })
    }
}

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(PutBody { properties }): JsonBody<PutBody>,
) -> Result<(StatusCode, Json<Value>), ArmError> {
    let assignable_scopes = properties
        .assignable_scopes
        .iter()
        .map(|text| {
            RbacScope::parse(text.strip_suffix('/').filter(|s| !s.is_empty()).unwrap_or(text))
        })
        .collect::<Result<_, _>>()
        .map_err(|_| ArmError::BodyMalformed("An assignable scope is not a path.".to_owned()))?;
    let permissions = properties.permissions.into_iter().map(PermissionBody::read);
    let new = NewRole {
        id: name(&params)?,
        tenant_id: tenant(&operation)?,
        role_name: properties.role_name,
        description: properties.description.unwrap_or_default(),
        assignable_scopes,
        permissions: permissions.collect::<Result<_, _>>()?,
    };
    let role = custom_role::put(&arm.state, &operation, &new)
        .await
        .map_err(|error| refused(error, &operation))?;
    let json = role_json(&scope(&params)?, &role.definition, Authors::of(&role));
    Ok((StatusCode::CREATED, Json(json)))
}

fn refused(error: CustomRoleError, operation: &OperationContext) -> ArmError {
    ArmError::CustomRole { error, operation: Box::new(operation.clone()) }
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Response, ArmError> {
    let (scope, name) = (scope(&params)?, name(&params)?);
    let deleted = custom_role::delete(&arm.state, &operation, tenant(&operation)?, name)
        .await
        .map_err(|error| refused(error, &operation))?;
    Ok(match deleted {
        Some(role) => Json(role_json(&scope, &role.definition, Authors::of(&role))).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_of_az_find_roles_by_name() {
        let owner = built_in_roles::find(built_in_roles::OWNER).unwrap();
        let covers = |filter: &str| Filter::parse(filter).map(|filter| filter.covers(owner));
        assert_eq!(covers("roleName eq 'owner'"), Ok(true));
        assert_eq!(covers("roleName eq 'Reader'"), Ok(false));
        assert_eq!(covers("type eq 'CustomRole'"), Ok(false));
        assert_eq!(covers("atScopeAndBelow() and type eq 'BuiltInRole'"), Ok(true));
        assert!(covers("nonsense").is_err());
    }
}
