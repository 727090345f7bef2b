//! Request bodies, ids and moments, as every type of this face has them.

use std::str::FromStr;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use keycard_domain::directory::Application;
use keycard_domain::directory::application::registration;
use keycard_domain::directory::service_principal::{self, ServicePrincipal};
use keycard_domain::ids::{ApplicationId, ClientId, PrincipalId, TenantId};
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use keycard_domain::records::{Versioned, json_depth};
use keycard_domain::snapshot::Snapshot;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;

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
        if json_depth(&bytes) > limits::BODY_DEPTH_MAX {
            let reason = "its objects and arrays are nested too deeply".to_owned();
            return Err(GraphError::BodyMalformed(reason).into_response());
        }
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

/// An id of any kind.
pub(super) fn id<T: FromStr>(text: &str) -> Result<T, GraphError> {
    text.parse().map_err(|_| GraphError::IdMalformed(text.chars().take(200).collect()))
}

/// The object id of a principal or group.
pub(super) fn object_id(text: &str) -> Result<PrincipalId, GraphError> {
    id(text)
}

/// The id that stands in the path.
pub(super) fn path_id<T: FromStr>(params: &Params, name: &str) -> Result<T, GraphError> {
    id(params.get(name))
}

/// How the gate writes the alternate key `(appId='…')` into the path.
pub(super) const CLIENT_KEY: &str = "appId=";

/// The client id in a segment that names an object by it.
pub(super) fn client_key(segment: &str) -> Option<ClientId> {
    segment.strip_prefix(CLIENT_KEY)?.parse().ok()
}

/// The service principal that the path names, by either key.
pub(super) fn path_principal<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    params: &Params,
) -> Result<&'a Versioned<ServicePrincipal>, GraphError> {
    let segment = params.get("servicePrincipal");
    let found = match client_key(segment) {
        Some(client) => snapshot
            .service_principal_of_client(client)
            .filter(|principal| principal.tenant_id == tenant)
            .ok_or_else(|| client.to_string()),
        None => {
            let id = object_id(segment)?;
            service_principal::find(snapshot, tenant, id).ok_or_else(|| id.to_string())
        }
    };
    found.map_err(GraphError::NotFound)
}

/// The application that the path names, by either key.
pub(super) fn path_application<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    params: &Params,
) -> Result<&'a Versioned<Application>, GraphError> {
    let segment = params.get("application");
    if let Some(client) = client_key(segment) {
        return snapshot
            .application_of_client(client)
            .filter(|application| application.tenant_id == tenant)
            .ok_or_else(|| GraphError::NotFound(client.to_string()));
    }
    let id: ApplicationId = id(segment)?;
    Ok(registration::find(snapshot, tenant, id)?)
}

/// A moment as Graph writes it.
pub(super) fn date(seconds: i64) -> Option<String> {
    UtcDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

/// The members of a body that keycard does not know.
pub(super) type Rest = Map<String, Value>;

/// Refuses members that would say something: what a client sets to nothing, as SDKs do, is no loss; anything else would be
/// forgotten.
pub(super) fn check_rest(resource: &'static str, rest: &Rest) -> Result<(), GraphError> {
    let is_annotation = |name: &str| name.starts_with('@') || name.ends_with("@odata.type");
    let unknown = rest.iter().find(|(name, value)| !is_annotation(name) && !is_nothing(value));
    match unknown {
        Some((property, _)) => {
            let property = property.chars().take(100).collect();
            Err(GraphError::PropertyUnknown { resource, property })
        }
        None => Ok(()),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_nothing),
    }
}

/// A member that stands there, be it as `null`; with `default`, an absent one is told from it.
pub(super) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// A reference to another object.
#[derive(Deserialize)]
pub(super) struct ReferenceBody {
    #[serde(rename = "@odata.id")]
    id: String,
}

impl ReferenceBody {
    /// The id at the end of `https://…/{collection}/{id}`, whatever the address before it.
    pub(super) fn read(&self, collections: &[&str]) -> Result<&str, GraphError> {
        let mut segments = self.id.rsplit('/');
        let (id, collection) = (segments.next(), segments.next().unwrap_or_default());
        id.filter(|_| collections.iter().any(|it| it.eq_ignore_ascii_case(collection)))
            .ok_or_else(|| GraphError::IdMalformed(self.id.chars().take(200).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_that_say_nothing_are_passed_over() {
        let check = |body: Value| check_rest("Application", body.as_object().unwrap()).is_ok();
        for harmless in [
            json!({}),
            json!({ "notes": null, "tags": [], "web": { "redirectUris": [], "logoutUrl": null } }),
            json!({ "isFallbackPublicClient": false, "description": "" }),
            json!({ "@odata.type": "#microsoft.graph.application" }),
            json!({ "tags@odata.type": "#Collection(String)" }),
        ] {
            assert!(check(harmless.clone()), "{harmless}");
        }
        for meant in [
            json!({ "notes": "x" }),
            json!({ "tags": ["x"] }),
            json!({ "web": { "redirectUris": ["https://x"] } }),
            json!({ "isFallbackPublicClient": true }),
            json!({ "n": 0 }),
            json!({ "owners@odata.bind": ["x"] }),
        ] {
            assert!(!check(meant.clone()), "{meant}");
        }
    }
}
