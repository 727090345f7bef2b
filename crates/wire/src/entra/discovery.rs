//! Discovery: the OpenID configuration in both versions, the keys, and instance discovery.
//!
//! Source: OpenID Connect Discovery 1.0, section 3; Microsoft identity platform, OIDC.

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{Uri, header};
use keycard_domain::directory::Tenant;
use keycard_domain::directory::tenant::Issuer;
use keycard_domain::operation::OperationContext;
use keycard_domain::token::signing_key;
use serde_json::json;

use super::error::{EntraError, Failure};
use super::{Base, Entra};
use crate::host_names::{FaceName, host_of};
use crate::request::Parameters;
use crate::route::{Params, Public};

/// How long clients may keep discovery documents and keys. Short, since signing keys rotate.
const CACHE_CONTROL: &str = "public, max-age=300";

pub(super) async fn openid_v1(
    Public(operation): Public,
    State(entra): State<Entra>,
    Extension(Base(base)): Extension<Base>,
    params: Params,
) -> Response {
    document(&entra, &operation, &base, params.get("tenant"), Version::V1)
}

pub(super) async fn openid_v2(
    Public(operation): Public,
    State(entra): State<Entra>,
    Extension(Base(base)): Extension<Base>,
    params: Params,
) -> Response {
    document(&entra, &operation, &base, params.get("tenant"), Version::V2)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Names that stand for every tenant; their documents have a placeholder for the tenant in the issuer.
pub(super) const PSEUDO_TENANTS: &[&str] = &["common", "organizations", "consumers"];

fn document(
    entra: &Entra,
    operation: &OperationContext,
    base: &str,
    tenant: &str,
    version: Version,
) -> Response {
    let Some((tenant, issuer)) = issuer(entra, tenant) else {
        let error = EntraError::TenantUnknown(tenant.to_owned());
        return Failure::new(error, operation, &entra.names).into_response();
    };
    let (issuer, token, keys, authorize) = match version {
        Version::V1 => (issuer.v1, "oauth2/token", "discovery/keys", "oauth2/authorize"),
        Version::V2 => {
            (issuer.v2, "oauth2/v2.0/token", "discovery/v2.0/keys", "oauth2/v2.0/authorize")
        }
    };
    let document = json!({
        "token_endpoint": format!("{base}/{tenant}/{token}"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{base}/{tenant}/{keys}"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": issuer,
        "request_uri_parameter_supported": false,
        "authorization_endpoint": format!("{base}/{tenant}/{authorize}"),
        "device_authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/devicecode"),
        "end_session_endpoint": format!("{base}/{tenant}/oauth2/v2.0/logout"),
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nbf", "tid", "oid", "appid", "ver"],
        "tenant_region_scope": null,
        "cloud_instance_name": host_of(base.trim_start_matches("https://")).unwrap_or_default(),
        "msgraph_host": host_of(entra.names.url("graph").trim_start_matches("https://")).unwrap_or_default(),
    });
    ([(header::CACHE_CONTROL, CACHE_CONTROL)], Json(document)).into_response()
}

/// What the endpoints of a tenant's document are called below, and the issuer that it names.
fn issuer(entra: &Entra, tenant: &str) -> Option<(String, Issuer)> {
    if PSEUDO_TENANTS.contains(&tenant) {
        let base = entra.names.url("login");
        let issuer =
            Issuer { v1: format!("{base}/{{tenantid}}/"), v2: format!("{base}/{{tenantid}}/v2.0") };
        return Some((tenant.to_owned(), issuer));
    }
    let snapshot = entra.state.snapshot();
    let found = snapshot.tenant_named(tenant)?;
    Some((found.id.to_string(), found.issuers.first()?.clone()))
}

pub(super) async fn keys(
    Public(operation): Public,
    State(entra): State<Entra>,
    params: Params,
) -> Response {
    let name = params.get("tenant");
    let snapshot = entra.state.snapshot_to_keep();
    let published = if PSEUDO_TENANTS.contains(&name) {
        let of = |tenant: &Tenant| signing_key::published(&snapshot, tenant);
        Some(snapshot.tenants.iter().flat_map(|(_, tenant)| of(tenant)).collect::<Vec<_>>())
    } else {
        snapshot.tenant_named(name).map(|tenant| signing_key::published(&snapshot, tenant))
    };
    match published {
        Some(keys) => ([(header::CACHE_CONTROL, CACHE_CONTROL)], Json(json!({ "keys": keys })))
            .into_response(),
        None => {
            let error = EntraError::TenantUnknown(name.to_owned());
            Failure::new(error, &operation, &entra.names).into_response()
        }
    }
}

/// The authority that an address names, where that is the token service, and the tenant.
fn authority(entra: &Entra, asked: &Uri) -> Option<(String, String)> {
    let authority = asked.authority()?.as_str();
    let face = entra.names.face(&host_of(authority)?)?;
    let tenant = asked.path().trim_matches('/').split('/').next()?;
    let is_name = tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let is_ours = matches!(face, FaceName::TokenService | FaceName::Loopback) && is_name;
    is_ours.then(|| (authority.to_owned(), tenant.to_owned()))
}

pub(super) async fn instance(
    Public(operation): Public,
    State(entra): State<Entra>,
    Extension(Base(base)): Extension<Base>,
    uri: Uri,
) -> Response {
    let query = Parameters::of(&uri);
    let asked: Option<Uri> = query.get("authorization_endpoint").and_then(|text| text.parse().ok());
    let Some((authority, tenant)) = asked.as_ref().and_then(|asked| authority(&entra, asked))
    else {
        return Failure::new(EntraError::InstanceInvalid, &operation, &entra.names).into_response();
    };
    Json(json!({
        "tenant_discovery_endpoint": format!("{base}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{ "preferred_network": authority, "preferred_cache": authority, "aliases": [authority] }],
    }))
    .into_response()
}
