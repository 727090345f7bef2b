//! Deny assignments at any scope: `{scope}/providers/Microsoft.Authorization/denyAssignments`.
//!
//! Source: Microsoft.Authorization REST API 2022-04-01, deny assignments; 2024-07-01-preview for those that customers make.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri};
use keycard_domain::ids::{DenyAssignmentId, PrincipalId};
use keycard_domain::rbac::DenyAssignment;
use keycard_domain::rbac::assignment::Selection;
use keycard_domain::rbac::deny_assignment::{self, DeniedPrincipal, DeniedType, NewDenyAssignment};
use keycard_domain::records::Record;
use keycard_domain::snapshot::Snapshot;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, date, page, tenant};
use super::error::ArmError;
use super::role_assignments::{scope, selection};
use super::role_definitions::{PermissionBody, permission_json};
use super::{Arm, filter, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/{*scope}/providers/Microsoft.Authorization/denyAssignments";
    let one = "/{*scope}/providers/Microsoft.Authorization/denyAssignments/{name}";
    let read = "Microsoft.Authorization/denyAssignments/read";
    let write = "Microsoft.Authorization/denyAssignments/write";
    let delete = "Microsoft.Authorization/denyAssignments/delete";
    vec![
        row(Method::GET, all, read, list),
        row(Method::PUT, one, write, put),
        row(Method::GET, one, read, show),
        row(Method::DELETE, one, delete, remove),
    ]
}

fn principal_json(principal: &DeniedPrincipal) -> Value {
    json!({ "id": principal.id, "type": principal.kind.as_str() })
}

pub(super) fn deny_json(deny: &DenyAssignment) -> Value {
    let base = if deny.scope.key().is_empty() { "" } else { deny.scope.as_str() };
    json!({
        "properties": {
            "denyAssignmentName": deny.name,
            "description": deny.description,
            "permissions": deny.permissions.iter().map(permission_json).collect::<Vec<_>>(),
            "scope": deny.scope,
            "doNotApplyToChildScopes": deny.excludes_child_scopes,
            "principals": deny.principals.iter().map(principal_json).collect::<Vec<_>>(),
            "excludePrincipals":
                deny.excluded_principals.iter().map(principal_json).collect::<Vec<_>>(),
            "isSystemProtected": false,
            "createdOn": date(deny.created_at),
            "updatedOn": date(deny.updated_at),
            "createdBy": deny.created_by,
            "updatedBy": deny.updated_by,
        },
        "id": format!("{base}/providers/Microsoft.Authorization/denyAssignments/{}", deny.id),
        "type": "Microsoft.Authorization/denyAssignments",
        "name": deny.id,
    })
}

#[derive(Deserialize)]
struct PutBody {
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    deny_assignment_name: String,
    #[serde(default)]
    description: Option<String>,
    permissions: Vec<PermissionBody>,
    #[serde(default)]
    do_not_apply_to_child_scopes: bool,
    principals: Vec<PrincipalBody>,
    #[serde(default)]
    exclude_principals: Option<Vec<PrincipalBody>>,
    #[serde(default)]
    is_system_protected: bool,
}

#[derive(Deserialize)]
struct PrincipalBody {
    id: PrincipalId,
    #[serde(rename = "type")]
    kind: String,
}

impl PrincipalBody {
    fn read(&self) -> Result<DeniedPrincipal, ArmError> {
        let kinds = [
            DeniedType::SystemDefined,
            DeniedType::User,
            DeniedType::Group,
            DeniedType::ServicePrincipal,
        ];
        let kind = kinds.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(&self.kind));
        let kind = kind.ok_or_else(|| {
            ArmError::BodyMalformed(
                "The type of a principal has to be 'User', 'Group', 'ServicePrincipal' or 'SystemDefined'."
                    .to_owned(),
            )
        })?;
        Ok(DeniedPrincipal { id: self.id, kind })
    }
}

fn name(params: &Params) -> Result<DenyAssignmentId, ArmError> {
    params
        .get("name")
        .parse()
        .map_err(|_| ArmError::BodyMalformed("The deny assignment ID is not a GUID.".to_owned()))
}

fn not_found(params: &Params) -> ArmError {
    ArmError::NotFound {
        resource_type: "Microsoft.Authorization/denyAssignments".to_owned(),
        name: params.get("name").to_owned(),
    }
}

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(PutBody { properties }): JsonBody<PutBody>,
) -> Result<(StatusCode, Json<Value>), ArmError> {
    if properties.is_system_protected {
        return Err(ArmError::BodyMalformed(
            "Deny assignments that the system protects are made by the system only.".to_owned(),
        ));
    }
    let principals =
        |bodies: &[PrincipalBody]| bodies.iter().map(PrincipalBody::read).collect::<Result<_, _>>();
    let permissions = properties.permissions.into_iter().map(PermissionBody::read);
    let new = NewDenyAssignment {
        id: name(&params)?,
        tenant_id: tenant(&operation)?,
        scope: scope(&params)?,
        name: properties.deny_assignment_name,
        description: properties.description.unwrap_or_default(),
        permissions: permissions.collect::<Result<_, _>>()?,
        excludes_child_scopes: properties.do_not_apply_to_child_scopes,
        principals: principals(&properties.principals)?,
        excluded_principals: principals(properties.exclude_principals.as_deref().unwrap_or(&[]))?,
    };
    let deny = deny_assignment::put(&arm.state, &operation, &new)
        .await
        .map_err(ArmError::DenyAssignment)?;
    Ok((StatusCode::CREATED, Json(deny_json(&deny))))
}

async fn show(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    let (tenant, scope, name) = (tenant(&operation)?, scope(&params)?, name(&params)?);
    let found = deny_assignment::find(&snapshot, tenant, &scope, name);
    found.map(|found| Json(deny_json(found))).ok_or_else(|| not_found(&params))
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Response, ArmError> {
    let (tenant, scope, name) = (tenant(&operation)?, scope(&params)?, name(&params)?);
    let deleted = deny_assignment::delete(&arm.state, &operation, tenant, &scope, name).await?;
    Ok(match deleted {
        Some(deleted) => Json(deny_json(&deleted)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// What a listing is narrowed to: by name, or as a listing of role assignments is.
enum Filter {
    Name(String),
    Selection(Selection),
}

impl Filter {
    fn parse(snapshot: &Snapshot, filter: &str) -> Result<Self, ArmError> {
        match filter.split_once(" eq ") {
            Some((field, value)) if field.trim().eq_ignore_ascii_case("denyAssignmentName") => {
                let quoted = value.trim().strip_prefix('\'').and_then(|it| it.strip_suffix('\''));
                quoted
                    .map(|name| Self::Name(name.replace("''", "'")))
                    .ok_or_else(|| filter::unsupported(filter))
            }
            _ => selection(snapshot, filter).map(Self::Selection),
        }
    }
}

async fn list(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    let query = Parameters::of(&uri);
    let filter = Filter::parse(&snapshot, query.get("$filter").unwrap_or_default())?;
    let (selection, wanted) = match filter {
        Filter::Name(name) => (Selection::Around, Some(name.to_lowercase())),
        Filter::Selection(selection) => (selection, None),
    };
    let items = deny_assignment::list(&snapshot, tenant(&operation)?, &scope(&params)?, &selection)
        .iter()
        .filter(|deny| wanted.as_ref().is_none_or(|wanted| deny.name.to_lowercase() == *wanted))
        .map(|deny| (deny.record_id(), deny_json(deny)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}
