//! Applications with their secrets and certificates: `/applications`.
//!
//! Source: Microsoft Graph REST API v1.0, "application resource type" and its methods.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use keycard_domain::directory::application::registration::{
    self, ApplicationChange, NewApplication,
};
use keycard_domain::directory::application::{AppRole, TokenVersion};
use keycard_domain::ids::ApplicationId;
use keycard_domain::operation::OperationContext;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::body::{JsonBody, Rest, check_rest, entity, id, path_application, present, tenant};
use super::credentials::{AddPasswordBody, KeyBody, RemovePasswordBody, read_keys};
use super::error::GraphError;
use super::objects::{application_json, made_password_json};
use super::query::Query;
use super::{Base, Graph, row};
use crate::host_names::HostNames;
use crate::route::{Directory, Params, Route};

pub(super) fn routes() -> Vec<Route<Graph>> {
    let (all, one) = ("/{api}/applications", "/{api}/applications/{application}");
    let read = "microsoft.directory/applications/standard/read";
    let update = "microsoft.directory/applications/basic/update";
    let credentials = "microsoft.directory/applications/credentials/update";
    let add = "/{api}/applications/{application}/addPassword";
    let remove = "/{api}/applications/{application}/removePassword";
    vec![
        row(Method::GET, all, read, list),
        row(Method::POST, all, "microsoft.directory/applications/create", create),
        row(Method::GET, one, read, show),
        row(Method::PATCH, one, update, change),
        row(Method::DELETE, one, "microsoft.directory/applications/delete", delete),
        row(Method::POST, add, credentials, add_password),
        row(Method::POST, remove, credentials, remove_password),
    ]
}

const RESOURCE: &str = "Application";

/// What an application can be given.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApplicationBody {
    display_name: Option<String>,
    sign_in_audience: Option<String>,
    identifier_uris: Option<Vec<String>>,
    app_roles: Option<Vec<RoleBody>>,
    key_credentials: Option<Vec<KeyBody>>,
    api: Option<ApiBody>,
    #[serde(default, deserialize_with = "present")]
    group_membership_claims: Option<Option<String>>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiBody {
    #[serde(default, deserialize_with = "present")]
    requested_access_token_version: Option<Option<u8>>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoleBody {
    id: String,
    value: Option<String>,
    display_name: Option<String>,
    description: Option<String>,
    is_enabled: Option<bool>,
    #[serde(default)]
    allowed_member_types: Vec<String>,
    /// What the server said when the role was read.
    #[serde(rename = "origin")]
    _origin: Option<IgnoredAny>,
    #[serde(flatten)]
    rest: Rest,
}

impl RoleBody {
    fn read(self) -> Result<AppRole, GraphError> {
        check_rest("AppRole", &self.rest)?;
        Ok(AppRole {
            id: id(&self.id)?,
            value: self.value,
            display_name: self.display_name.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            is_enabled: self.is_enabled.unwrap_or(true),
            allowed_member_types: self.allowed_member_types,
        })
    }
}

impl ApplicationBody {
    /// Everything that the body says; what it does not say stays as it is.
    fn read(self, names: &HostNames) -> Result<ApplicationChange, GraphError> {
        check_rest(RESOURCE, &self.rest)?;
        if self.sign_in_audience.is_some_and(|audience| audience != "AzureADMyOrg") {
            let why = "it has to be AzureADMyOrg";
            return Err(GraphError::invalid(RESOURCE, "signInAudience", why));
        }
        let own = self.identifier_uris.iter().flatten().find(|uri| is_own_name(names, uri));
        if own.is_some() {
            let why = "keycard's own addresses name its services";
            return Err(GraphError::invalid(RESOURCE, "identifierUris", why));
        }
        let app_roles = self.app_roles.map(|roles| roles.into_iter().map(RoleBody::read).collect());
        let groups = self.group_membership_claims.as_ref().map(Option::as_deref);
        Ok(ApplicationChange {
            wants_group_claims: groups.map(read_groups).transpose()?,
            display_name: self.display_name,
            identifier_uris: self.identifier_uris,
            app_roles: app_roles.transpose()?,
            keys: self.key_credentials.map(read_keys).transpose()?,
            accepted_token_version: self.api.map(ApiBody::read).transpose()?.flatten(),
        })
    }
}

impl ApiBody {
    fn read(self) -> Result<Option<TokenVersion>, GraphError> {
        check_rest("ApiApplication", &self.rest)?;
        match self.requested_access_token_version {
            None => Ok(None),
            Some(None | Some(1)) => Ok(Some(TokenVersion::V1)),
            Some(Some(2)) => Ok(Some(TokenVersion::V2)),
            Some(Some(_)) => {
                let why = "it has to be null, 1 or 2";
                Err(GraphError::invalid("ApiApplication", "requestedAccessTokenVersion", why))
            }
        }
    }
}

/// keycard's principals are in security groups only, so that both kinds of claims are the same.
fn read_groups(claims: Option<&str>) -> Result<bool, GraphError> {
    match claims {
        None | Some("None") => Ok(false),
        Some("SecurityGroup" | "All") => Ok(true),
        Some(_) => {
            let why = "it has to be null, None, SecurityGroup or All";
            Err(GraphError::invalid(RESOURCE, "groupMembershipClaims", why))
        }
    }
}

/// Whether a URI lies at keycard's own addresses, whose tokens are for its own faces.
fn is_own_name(names: &HostNames, uri: &str) -> bool {
    let Ok(uri) = uri.parse::<Uri>() else { return false };
    let Some(host) = uri.host().map(str::to_ascii_lowercase) else { return false };
    let is_below = host.strip_suffix(names.domain()).is_some_and(|it| it.ends_with('.'));
    host == names.domain() || is_below || names.face(&host).is_some()
}

async fn list(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let snapshot = graph.state.snapshot_to_keep();
    let all = registration::list(&snapshot, tenant(&operation)?);
    let applications = all.map(|application| application_json(application)).collect();
    query.page(&uri, &base, "applications", applications).map(Json)
}

async fn create(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    base: Base,
    JsonBody(body): JsonBody<ApplicationBody>,
) -> Result<(StatusCode, Json<Value>), GraphError> {
    let change = body.read(&graph.names)?;
    let missing = || GraphError::invalid(RESOURCE, "displayName", "it is required");
    let new = NewApplication {
        tenant_id: tenant(&operation)?,
        display_name: change.display_name.ok_or_else(missing)?,
        identifier_uris: change.identifier_uris.unwrap_or_default(),
        app_roles: change.app_roles.unwrap_or_default(),
        keys: change.keys.unwrap_or_default(),
        accepted_token_version: change.accepted_token_version.unwrap_or(TokenVersion::V1),
        wants_group_claims: change.wants_group_claims.unwrap_or(false),
    };
    let application = registration::create(&graph.state, &operation, &new).await?;
    let body = application_json(&application);
    Ok((StatusCode::CREATED, Json(entity(&base, "applications", body))))
}

async fn show(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let snapshot = graph.state.snapshot();
    let found = path_application(&snapshot, tenant(&operation)?, &params)?;
    Ok(Json(entity(&base, "applications", query.select(application_json(found)))))
}

/// The application that a request writes to.
fn target(
    graph: &Graph,
    operation: &OperationContext,
    params: &Params,
) -> Result<ApplicationId, GraphError> {
    Ok(path_application(&graph.state.snapshot(), tenant(operation)?, params)?.id)
}

async fn change(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    JsonBody(body): JsonBody<ApplicationBody>,
) -> Result<StatusCode, GraphError> {
    let (tenant, id) = (tenant(&operation)?, target(&graph, &operation, &params)?);
    let change = body.read(&graph.names)?;
    registration::update(&graph.state, &operation, tenant, id, &change).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
) -> Result<StatusCode, GraphError> {
    let (tenant, id) = (tenant(&operation)?, target(&graph, &operation, &params)?);
    registration::delete(&graph.state, &operation, tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The only answer that ever holds the secret.
async fn add_password(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    JsonBody(body): JsonBody<AddPasswordBody>,
) -> Result<Json<Value>, GraphError> {
    let (tenant, id) = (tenant(&operation)?, target(&graph, &operation, &params)?);
    let made =
        registration::add_password(&graph.state, &operation, tenant, id, &body.read()?).await?;
    Ok(Json(made_password_json(&base, &made)))
}

async fn remove_password(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    JsonBody(body): JsonBody<RemovePasswordBody>,
) -> Result<StatusCode, GraphError> {
    let (tenant, id) = (tenant(&operation)?, target(&graph, &operation, &params)?);
    registration::remove_password(&graph.state, &operation, tenant, id, body.read()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_application_is_named_by_an_address_of_keycards_own() {
        let names = HostNames::new("keycard.localhost", 8443);
        for (uri, expected) in [
            ("https://keycard.localhost", true),
            ("https://graph.keycard.localhost:8443", true),
            ("https://Storage.keycard.localhost/x", true),
            ("https://kv1.vault.azure.net", true),
            ("https://management.azure.com", true),
            ("https://localhost:8443", true),
            ("https://orders.example", false),
            ("https://notkeycard.localhost", false),
            ("api://orders", false),
            ("urn:orders", false),
        ] {
            assert_eq!(is_own_name(&names, uri), expected, "{uri}");
        }
    }
}
