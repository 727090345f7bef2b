//! User-assigned identities: `Microsoft.ManagedIdentity/userAssignedIdentities`, and `identities/default`.
//!
//! Source: Microsoft.ManagedIdentity REST API; ids are written with `resourcegroups` in lower case, as recorded.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri, header};
use keycard_domain::directory::UserAssignedIdentity;
use keycard_domain::directory::assignment_restrictions::{AllowedProviders, IsolationScope};
use keycard_domain::directory::bearer;
use keycard_domain::directory::user_assigned_identity::{
    self as identities, UserAssignedIdentityRequest,
};
use keycard_domain::limits;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::{ResourceError, require_group};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{JsonBody, page, require_container, resource_id};
use super::error::ArmError;
use super::{Arm, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route, Unread};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let one = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}";
    let in_group = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities";
    let revocation = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}/revokeTokens";
    let in_subscription =
        "/subscriptions/{subscription}/providers/Microsoft.ManagedIdentity/userAssignedIdentities";
    let of_resource = "/{*scope}/providers/Microsoft.ManagedIdentity/identities/default";
    let read = "Microsoft.ManagedIdentity/userAssignedIdentities/read";
    let write = "Microsoft.ManagedIdentity/userAssignedIdentities/write";
    let delete = "Microsoft.ManagedIdentity/userAssignedIdentities/delete";
    let revoke = "Microsoft.ManagedIdentity/userAssignedIdentities/revokeTokens/action";
    vec![
        row(Method::PUT, one, write, put),
        row(Method::PATCH, one, write, patch),
        row(Method::GET, one, read, show),
        row(Method::DELETE, one, delete, remove),
        row(Method::POST, revocation, revoke, revoke_tokens),
        row(Method::GET, in_group, read, list),
        row(Method::GET, in_subscription, read, list),
        row(Method::GET, of_resource, "Microsoft.ManagedIdentity/identities/read", system_assigned),
    ]
}

/// Which members a version of the API has: an older one neither shows nor takes the younger ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    has_isolation_scope: bool,
    has_assignment_restrictions: bool,
}

const ISOLATION_SCOPE_FROM: &str = "2024-11-30";
const ASSIGNMENT_RESTRICTIONS_FROM: &str = "2025-05-31";

impl Shape {
    /// Versions are dates, whose order is that of their texts.
    fn of(uri: &Uri) -> Self {
        let query = Parameters::of(uri);
        let version = query.get("api-version").unwrap_or_default();
        Self {
            has_isolation_scope: version >= ISOLATION_SCOPE_FROM,
            has_assignment_restrictions: version >= ASSIGNMENT_RESTRICTIONS_FROM,
        }
    }

    fn show(self, identity: &UserAssignedIdentity) -> Value {
        let mut properties = Map::new();
        properties.insert("tenantId".to_owned(), json!(identity.tenant_id));
        properties.insert("principalId".to_owned(), json!(identity.principal_id));
        properties.insert("clientId".to_owned(), json!(identity.client_id));
        if self.has_isolation_scope {
            let scope = identity.isolation_scope.as_str();
            properties.insert("isolationScope".to_owned(), json!(scope));
        }
        let providers = &identity.allowed_providers;
        if self.has_assignment_restrictions && !providers.is_unrestricted() {
            let restrictions = json!({ "providers": providers.entries() });
            properties.insert("assignmentRestrictions".to_owned(), restrictions);
        }
        json!({
            "location": identity.location,
            "tags": identity.tags,
            "id": identity.id.with_lowercase_group_segment(),
            "name": identity.id.name(),
            "type": identities::RESOURCE_TYPE,
            "properties": properties,
        })
    }

    /// What the request says of the identity. A restriction that the version does not know is refused: whoever sends
    /// it has to hear that it would not be in force.
    fn read(self, body: IdentityBody) -> Result<UserAssignedIdentityRequest, ArmError> {
        let properties = body.properties.unwrap_or_default();
        let isolation_scope =
            properties.isolation_scope.map(|it| isolation_scope(&it)).transpose()?;
        if isolation_scope == Some(IsolationScope::Regional) && !self.has_isolation_scope {
            return Err(unknown_member("isolationScope", ISOLATION_SCOPE_FROM));
        }
        let providers = properties.assignment_restrictions.and_then(|it| it.providers);
        let allowed_providers = providers
            .map(AllowedProviders::parse)
            .transpose()
            .map_err(|error| ArmError::BodyMalformed(error.to_string()))?;
        let restricts = allowed_providers.as_ref().is_some_and(|it| !it.is_unrestricted());
        if restricts && !self.has_assignment_restrictions {
            return Err(unknown_member("assignmentRestrictions", ASSIGNMENT_RESTRICTIONS_FROM));
        }
        Ok(UserAssignedIdentityRequest {
            location: body.location,
            tags: body.tags,
            isolation_scope: isolation_scope.filter(|_| self.has_isolation_scope),
            allowed_providers: allowed_providers.filter(|_| self.has_assignment_restrictions),
        })
    }

    /// A PUT says everything that its version knows: what it leaves out is as in a new identity. What its version does not
    /// know stays, so that an older client does not lift what a younger one restricted.
    fn read_whole(self, body: IdentityBody) -> Result<UserAssignedIdentityRequest, ArmError> {
        let mut request = self.read(body)?;
        request.tags.get_or_insert_default();
        if self.has_isolation_scope {
            request.isolation_scope.get_or_insert_default();
        }
        if self.has_assignment_restrictions {
            request.allowed_providers.get_or_insert_default();
        }
        Ok(request)
    }
}

fn isolation_scope(text: &str) -> Result<IsolationScope, ArmError> {
    IsolationScope::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(limits::VALUE_SHOWN_CHARS_MAX).collect();
        ArmError::BodyMalformed(format!(
            "Error converting value \"{shown}\" to type 'IsolationScope'. Path 'properties.isolationScope'."
        ))
    })
}

fn unknown_member(name: &str, from: &str) -> ArmError {
    ArmError::BodyMalformed(format!(
        "Could not find member '{name}' on object of type 'UserAssignedIdentityProperties', which has it from api-version {from} on. Path 'properties.{name}'."
    ))
}

#[derive(Deserialize)]
struct IdentityBody {
    location: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    properties: Option<PropertiesBody>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PropertiesBody {
    isolation_scope: Option<String>,
    assignment_restrictions: Option<RestrictionsBody>,
}

#[derive(Deserialize)]
struct RestrictionsBody {
    providers: Option<Vec<String>>,
}

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    JsonBody(body): JsonBody<IdentityBody>,
) -> Result<Response, ArmError> {
    let shape = Shape::of(&uri);
    let id = resource_id(&params)?;
    let put = identities::put(&arm.state, &operation, &id, &shape.read_whole(body)?).await?;
    // With the request's version: clients that poll what they made ask there.
    let version = Parameters::of(&uri);
    let version = version.get("api-version").unwrap_or_default();
    let path = put.resource.id.with_lowercase_group_segment();
    let location = [(header::LOCATION, format!("{path}?api-version={version}"))];
    let body = Json(shape.show(&put.resource));
    Ok(if put.is_new {
        (StatusCode::CREATED, location, body).into_response()
    } else {
        (StatusCode::OK, body).into_response()
    })
}

async fn patch(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    JsonBody(body): JsonBody<IdentityBody>,
) -> Result<Json<Value>, ArmError> {
    let shape = Shape::of(&uri);
    let id = resource_id(&params)?;
    let identity = identities::patch(&arm.state, &operation, &id, &shape.read(body)?).await?;
    Ok(Json(shape.show(&identity)))
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot();
    Ok(Json(Shape::of(&uri).show(identities::find(&snapshot, &resource_id(&params)?)?)))
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let existed = identities::delete(&arm.state, &operation, &resource_id(&params)?).await?;
    Ok(if existed { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

async fn revoke_tokens(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<StatusCode, ArmError> {
    identities::revoke_tokens(&arm.state, &operation, &resource_id(&params)?).await?;
    Ok(StatusCode::OK)
}

async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let snapshot = arm.state.snapshot_to_keep();
    require_container(&snapshot, &params)?;
    let shape = Shape::of(&uri);
    let items = identities::list(&snapshot, params.resource())
        .iter()
        .map(|identity| (identity.id.key(), shape.show(identity)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

/// The system-assigned identity of any resource.
async fn system_assigned(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let id: ArmResourceId = params.scope().parse().map_err(|_| ArmError::PathMalformed)?;
    let snapshot = arm.state.snapshot();
    require_group(&snapshot, &id)?;
    let bearer = bearer::find(&snapshot, &id).ok_or_else(|| ResourceError::NotFound(id.clone()))?;
    let system = bearer.identity.system_assigned.as_ref().ok_or_else(|| ArmError::NotFound {
        resource_type: "Microsoft.ManagedIdentity/identities".to_owned(),
        name: "default".to_owned(),
    })?;
    let principal = snapshot.service_principal(system.principal_id);
    Ok(Json(json!({
        "id": format!("{id}/providers/Microsoft.ManagedIdentity/identities/default"),
        "name": "default",
        "type": "Microsoft.ManagedIdentity/identities",
        "location": bearer.location,
        "tags": bearer.tags,
        // Differs from Azure: no `clientSecretUrl`, since nothing gives an identity's credentials out.
        "properties": {
            "tenantId": principal.map(|principal| principal.tenant_id),
            "principalId": system.principal_id,
            "clientId": system.client_id,
        },
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: &str, expected: (bool, bool)) {
        let uri = format!("/x?api-version={version}").parse().unwrap();
        let shape = Shape::of(&uri);
        let found = (shape.has_isolation_scope, shape.has_assignment_restrictions);
        assert_eq!(found, expected, "{version}");
    }

    #[test]
    fn each_version_has_its_members() {
        check("2015-08-31-preview", (false, false));
        check("2018-11-30", (false, false));
        check("2023-07-31-preview", (false, false));
        check("2024-11-30", (true, false));
        check("2025-01-31-preview", (true, false));
        check("2025-05-31-preview", (true, true));
        check("2026-04-30", (true, true));
    }
}
