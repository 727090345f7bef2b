//! Role definitions at any scope: `{scope}/providers/Microsoft.Authorization/roleDefinitions`.
//!
//! Source: Microsoft.Authorization REST API 2022-04-01. Built-in roles only; custom roles are refused for now.

use axum::Json;
use axum::extract::State;
use http::{Method, Uri};
use keycard_domain::ids::RoleDefinitionId;
use keycard_domain::rbac::{Permission, RbacScope, RoleDefinition, built_in_roles};
use serde_json::{Value, json};

use super::body::page;
use super::error::ArmError;
use super::{Arm, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/{*scope}/providers/Microsoft.Authorization/roleDefinitions";
    let one = "/{*scope}/providers/Microsoft.Authorization/roleDefinitions/{name}";
    let read = "Microsoft.Authorization/roleDefinitions/read";
    let write = "Microsoft.Authorization/roleDefinitions/write";
    let delete = "Microsoft.Authorization/roleDefinitions/delete";
    vec![
        row(Method::GET, all, read, list),
        row(Method::GET, one, read, show),
        row(Method::PUT, one, write, custom_roles),
        row(Method::DELETE, one, delete, custom_roles),
    ]
}

/// The id of a role below the scope's subscription; a built-in role is the same everywhere.
pub(super) fn definition_id(scope: &RbacScope, role: RoleDefinitionId) -> String {
    let base = scope.subscription().map(|id| format!("/subscriptions/{id}")).unwrap_or_default();
    format!("{base}/providers/Microsoft.Authorization/roleDefinitions/{role}")
}

fn permission_json(permission: &Permission) -> Value {
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

fn role_json(scope: &RbacScope, role: &RoleDefinition) -> Value {
    json!({
        "properties": {
            "roleName": role.role_name,
            "type": "BuiltInRole",
            "description": role.description,
            "assignableScopes": ["/"],
            "permissions": role.permissions.iter().map(permission_json).collect::<Vec<_>>(),
            "createdOn": role.created_on,
            "updatedOn": role.updated_on,
            "createdBy": null,
            "updatedBy": null,
        },
        "id": definition_id(scope, role.id),
        "type": "Microsoft.Authorization/roleDefinitions",
        "name": role.id,
    })
}

/// `roleName eq '…'`, `type eq 'BuiltInRole'`, `type eq 'CustomRole'`, `atScopeAndBelow()`; nothing else.
fn covers(filter: &str, role: &RoleDefinition) -> Result<bool, ArmError> {
    let unsupported = || ArmError::FilterUnsupported(filter.chars().take(200).collect());
    let mut covered = true;
    for term in filter.split(" and ").map(str::trim).filter(|term| !term.is_empty()) {
        if matches!(term, "atScopeAndBelow()" | "atScope()") {
            continue;
        }
        let (field, value) = term.split_once(" eq ").ok_or_else(unsupported)?;
        let quoted = value.trim().strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
        let value = quoted.ok_or_else(unsupported)?.replace("''", "'");
        covered &= match field.trim().to_ascii_lowercase().as_str() {
            "rolename" => role.role_name.eq_ignore_ascii_case(&value),
            "type" => value.eq_ignore_ascii_case("BuiltInRole"),
            _ => return Err(unsupported()),
        };
    }
    Ok(covered)
}

fn scope(params: &Params) -> Result<RbacScope, ArmError> {
    RbacScope::parse(params.scope()).map_err(|_| ArmError::PathMalformed)
}

async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let scope = scope(&params)?;
    let query = Parameters::of(&uri);
    let filter = query.get("$filter").unwrap_or_default();
    let mut items = Vec::new();
    for role in built_in_roles::all() {
        if covers(filter, role)? {
            items.push((role.id.to_string(), role_json(&scope, role)));
        }
    }
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

async fn show(
    Rbac(_): Rbac,
    State(_): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let name = params.get("name");
    let role = name.parse().ok().and_then(built_in_roles::find);
    let role = role.ok_or_else(|| ArmError::RoleDefinitionNotFound(name.to_owned()))?;
    Ok(Json(role_json(&scope(&params)?, role)))
}

async fn custom_roles(Rbac(_): Rbac, State(_): State<Arm>) -> ArmError {
    ArmError::Unsupported("custom roles")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_of_az_find_roles_by_name() {
        let owner = built_in_roles::find(built_in_roles::OWNER).unwrap();
        assert_eq!(covers("roleName eq 'owner'", owner), Ok(true));
        assert_eq!(covers("roleName eq 'Reader'", owner), Ok(false));
        assert_eq!(covers("type eq 'CustomRole'", owner), Ok(false));
        assert_eq!(covers("atScopeAndBelow() and type eq 'BuiltInRole'", owner), Ok(true));
        assert!(covers("nonsense", owner).is_err());
    }
}
