//! Request bodies, ids and the objects of the directory, as every type of this face has them.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use keycard_crypto::encoding;
use keycard_domain::credential::{IdentityCredential, credentials_of};
use keycard_domain::directory::group::{DirectoryObject, Group};
use keycard_domain::directory::service_principal::{ServicePrincipal, ServicePrincipalKind};
use keycard_domain::ids::{PrincipalId, TenantId};
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use keycard_domain::snapshot::Snapshot;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Base;
use super::error::GraphError;
use crate::request::read_body;
use crate::route::Params;

/// A JSON body, refused in the face's own words.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Response;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Response> {
        let bytes = read_body(request.into_body(), limits::GRAPH_BODY_BYTES_MAX)
            .await
            .map_err(|error| GraphError::Body(error).into_response())?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| GraphError::BodyMalformed(error.to_string()).into_response())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Base {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        // The gate puts it there before any row is looked for.
        parts.extensions.get::<Self>().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl Base {
    /// What an answer says it is: a collection, or one of its entities.
    pub(super) fn context(&self, of: &str) -> String {
        format!("{}/$metadata#{of}", self.0)
    }
}

/// One object of a collection, with the context that says so.
pub(super) fn entity(base: &Base, collection: &str, mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        let context = base.context(&format!("{collection}/$entity"));
        members.insert("@odata.context".to_owned(), json!(context));
    }
    body
}

/// The tenant of the request's token.
pub(super) fn tenant(operation: &OperationContext) -> Result<TenantId, GraphError> {
    operation.principal().map(|principal| principal.tenant_id).ok_or(GraphError::TokenMissing)
}

/// An object id.
pub(super) fn object_id(text: &str) -> Result<PrincipalId, GraphError> {
    text.parse().map_err(|_| GraphError::IdMalformed(text.chars().take(200).collect()))
}

/// The object id that stands in the path.
pub(super) fn path_id(params: &Params, name: &str) -> Result<PrincipalId, GraphError> {
    object_id(params.get(name))
}

/// A moment as Graph writes it.
fn date(seconds: i64) -> Option<String> {
    UtcDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

pub(super) fn group_json(group: &Group) -> Value {
    json!({
        "id": group.id,
        "deletedDateTime": null,
        "createdDateTime": date(group.created_at),
        "description": group.description,
        "displayName": group.display_name,
        "groupTypes": [],
        "mail": null,
        "mailEnabled": false,
        "mailNickname": group.mail_nickname,
        "securityEnabled": true,
    })
}

/// `isExplicit` tells user-assigned from system-assigned; the second name is the resource's id.
fn alternative_names(principal: &ServicePrincipal) -> Vec<String> {
    let name = |id: &keycard_domain::resource_id::ArmResourceId| id.with_lowercase_group_segment();
    match &principal.kind {
        ServicePrincipalKind::SystemAssigned(id) => vec!["isExplicit=False".to_owned(), name(id)],
        ServicePrincipalKind::UserAssigned(id) => vec!["isExplicit=True".to_owned(), name(id)],
        ServicePrincipalKind::Application => Vec::new(),
    }
}

/// `ManagedIdentity` or `Application`.
pub(super) const fn principal_type(principal: &ServicePrincipal) -> &'static str {
    match principal.kind {
        ServicePrincipalKind::SystemAssigned(_) | ServicePrincipalKind::UserAssigned(_) => {
            "ManagedIdentity"
        }
        ServicePrincipalKind::Application => "Application",
    }
}

/// The public side of a credential; its id is made of the certificate's digest.
fn key_json(principal: &ServicePrincipal, credential: &IdentityCredential) -> Value {
    let (digest, _) = credential.sha256.split_at(16);
    json!({
        "customKeyIdentifier": encoding::hex_encode(&credential.sha1).to_uppercase(),
        "displayName": format!("CN={}, DC={}", principal.client_id, principal.tenant_id),
        "startDateTime": date(credential.not_before),
        "endDateTime": date(credential.not_after),
        "key": null,
        "keyId": Uuid::from_slice(digest).ok(),
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
    })
}

pub(super) fn principal_json(snapshot: &Snapshot, principal: &ServicePrincipal) -> Value {
    let keys: Vec<Value> = credentials_of(snapshot, principal.id)
        .map(|credential| key_json(principal, credential))
        .collect();
    json!({
        "id": principal.id,
        "deletedDateTime": null,
        "accountEnabled": principal.is_enabled,
        "alternativeNames": alternative_names(principal),
        "appDisplayName": principal.display_name,
        "appId": principal.client_id,
        "appOwnerOrganizationId": principal.tenant_id,
        "appRoleAssignmentRequired": false,
        "appRoles": [],
        "createdDateTime": date(principal.created_at),
        "displayName": principal.display_name,
        "keyCredentials": keys,
        "oauth2PermissionScopes": [],
        "passwordCredentials": [],
        "servicePrincipalNames": [principal.client_id],
        "servicePrincipalType": principal_type(principal),
        "tags": [],
    })
}

/// An object among others, which says of what type it is.
pub(super) fn object_json(snapshot: &Snapshot, object: &DirectoryObject) -> Value {
    let (kind, mut body) = match object {
        DirectoryObject::Group(group) => ("#microsoft.graph.group", group_json(group)),
        DirectoryObject::ServicePrincipal(principal) => {
            ("#microsoft.graph.servicePrincipal", principal_json(snapshot, principal))
        }
    };
    if let Some(members) = body.as_object_mut() {
        members.insert("@odata.type".to_owned(), json!(kind));
    }
    body
}
