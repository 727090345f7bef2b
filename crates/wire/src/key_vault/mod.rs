//! Key Vault's data plane: the challenge, the check at the door, secrets.
//!
//! Order: token → authorization → api-version → existence. Who may not enter learns nothing about what is inside.
//! Source: Key Vault REST API; "Authentication, requests and responses".

mod error;
mod secrets;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method};
use keycard_domain::audit::{self, VaultAccess};
use keycard_domain::key_vault::authorization::{self, SecretPermission};
use keycard_domain::key_vault::{Vault, vault};
use keycard_domain::limits;
use keycard_domain::operation::{Caller, OperationContext, Principal};
use keycard_domain::snapshot::Snapshot;
use keycard_domain::state::State;
use keycard_domain::token::audience::Service;
use keycard_domain::token::verify::TokenVerifier;

use uuid::Uuid;

use crate::bearer;
use crate::host_names::{HostNames, host_of, requested_authority};
use crate::request::{Parameters, RequestIds, is_date};
use crate::route::{Access, Answer, Entered, Face, Gate, Params, PathRefusal, Route, Row, route};
use error::{Challenge, DeniedCall, RefusedToken, VaultFaceError};

/// What the face's handlers need.
#[derive(Clone, Debug)]
pub struct KeyVault {
    /// Reads vaults and secrets.
    pub state: Arc<State>,
    /// Verifies tokens.
    pub verifier: Arc<TokenVerifier>,
    /// Names the face's own addresses.
    pub names: HostNames,
}

/// The face; every call is recorded before its answer leaves.
pub fn face(key_vault: KeyVault) -> impl Answer {
    let gate = VaultGate(key_vault.clone());
    AuditedFace { state: Arc::clone(&key_vault.state), face: Face::new(routes(), gate, key_vault) }
}

/// The name of the vault that a request is addressed to, by its host. Travels as an extension.
#[derive(Clone, Debug)]
pub struct VaultName(pub String);

const SET: &str = "Microsoft.KeyVault/vaults/secrets/setSecret/action";
const GET: &str = "Microsoft.KeyVault/vaults/secrets/getSecret/action";
const UPDATE: &str = "Microsoft.KeyVault/vaults/secrets/update/action";
const LIST: &str = "Microsoft.KeyVault/vaults/secrets/readMetadata/action";
const DELETE: &str = "Microsoft.KeyVault/vaults/secrets/delete";
const RECOVER: &str = "Microsoft.KeyVault/vaults/secrets/recover/action";
const PURGE: &str = "Microsoft.KeyVault/vaults/secrets/purge/action";
const BACKUP: &str = "Microsoft.KeyVault/vaults/secrets/backup/action";
const RESTORE: &str = "Microsoft.KeyVault/vaults/secrets/restore/action";

fn routes() -> Vec<Route<KeyVault>> {
    use Access::Rbac;
    let (get, put, post) = (Method::GET, Method::PUT, Method::POST);
    let (patch, delete) = (Method::PATCH, Method::DELETE);
    vec![
        route(put, "/secrets/{name}", Rbac(SET), secrets::set),
        route(get.clone(), "/secrets/{name}/versions", Rbac(LIST), secrets::list_versions),
        route(get.clone(), "/secrets/{name}", Rbac(GET), secrets::get),
        route(get.clone(), "/secrets/{name}/{version}", Rbac(GET), secrets::get),
        route(get.clone(), "/secrets", Rbac(LIST), secrets::list),
        route(patch.clone(), "/secrets/{name}", Rbac(UPDATE), secrets::update),
        route(patch, "/secrets/{name}/{version}", Rbac(UPDATE), secrets::update),
        route(delete.clone(), "/secrets/{name}", Rbac(DELETE), secrets::delete),
        route(get.clone(), "/deletedsecrets", Rbac(LIST), secrets::list_deleted),
        route(get, "/deletedsecrets/{name}", Rbac(LIST), secrets::get_deleted),
        route(post.clone(), "/deletedsecrets/{name}/recover", Rbac(RECOVER), secrets::recover),
        route(post.clone(), "/secrets/{name}/backup", Rbac(BACKUP), secrets::backup),
        route(post, "/secrets/restore", Rbac(RESTORE), secrets::backup),
        route(delete, "/deletedsecrets/{name}", Rbac(PURGE), secrets::purge),
    ]
}

/// The word that access policies have for a row. Reading one deleted secret is `get` there, though RBAC calls it
/// reading metadata.
fn policy_word(row: &Row) -> &'static str {
    let Access::Rbac(action) = row.access else { return "" };
    match action {
        LIST if row.path == "/deletedsecrets/{name}" => "get",
        action => authorization::policy_word(action),
    }
}

/// A call that came through the door: which vault, and who calls under which address.
#[derive(Clone, Debug)]
struct VaultCall {
    vault: Arc<Vault>,
    principal: Principal,
    /// As the client wrote it: ids and links lead back there.
    authority: String,
}

struct VaultGate(KeyVault);

impl VaultGate {
    fn challenge(&self, authority: &str, vault: &Vault) -> Challenge {
        let (_, parent) = authority.split_once('.').unwrap_or(("", authority));
        let is_azure = host_of(parent).is_some_and(|host| host == "vault.azure.net");
        let login = if is_azure {
            format!("https://{}", self.0.names.authority("login.microsoftonline.com"))
        } else {
            self.0.names.url("login")
        };
        let resource = format!("https://{}", parent.strip_suffix(":443").unwrap_or(parent));
        Challenge { authorization: format!("{login}/{}", vault.tenant_id), resource }
    }

    fn authenticate(&self, parts: &Parts) -> Result<VaultCall, VaultFaceError> {
        let authority = requested_authority(parts).unwrap_or_default();
        let name =
            parts.extensions.get::<VaultName>().map(|name| name.0.as_str()).unwrap_or_default();
        let snapshot = self.0.state.snapshot();
        let vault = vault::find_by_name(&snapshot, name)
            .ok_or_else(|| VaultFaceError::VaultNotFound(name.to_owned()))?;
        let challenge = || self.challenge(&authority, vault);
        let token =
            bearer::presented(parts).ok_or_else(|| VaultFaceError::TokenMissing(challenge()))?;
        let principal = self
            .0
            .verifier
            .verify(&self.0.state, token, Service::KeyVault, Some(vault.tenant_id))
            .map_err(|error| {
                VaultFaceError::TokenRefused(Box::new(RefusedToken {
                    error,
                    challenge: challenge(),
                    issuers: issuers(&snapshot, vault),
                }))
            })?;
        Ok(VaultCall { vault: Arc::clone(&vault.record), principal, authority: authority.clone() })
    }

    fn authorize(
        &self,
        row: &Row,
        params: &Params,
        call: &VaultCall,
        request_id: Uuid,
    ) -> Result<(), VaultFaceError> {
        let Access::Rbac(data_action) = row.access else { return Ok(()) };
        let permission = SecretPermission { data_action, policy_word: policy_word(row) };
        let secret = Some(params.get("name")).filter(|name| !name.is_empty());
        let state = &self.0.state;
        authorization::authorize(
            state,
            request_id,
            &call.vault,
            &call.principal,
            permission,
            secret,
        )
        .map_err(|denied| {
            VaultFaceError::Denied(Box::new(DeniedCall {
                denied,
                permission,
                principal: call.principal.clone(),
                vault: Arc::clone(&call.vault),
                secret: secret.map(str::to_owned),
            }))
        })
    }
}

fn issuers(snapshot: &Snapshot, vault: &Vault) -> Vec<String> {
    snapshot
        .tenant(vault.tenant_id)
        .map(|tenant| tenant.issuers.iter().map(|issuer| issuer.v1.clone()).collect())
        .unwrap_or_default()
}

/// The first version that is a date.
const OLDEST_API_DATE: &str = "2016-10-01";

/// Versions of the data plane: 7.x, and dates from 2016 on, later ones than known included.
fn is_api_version(text: &str) -> bool {
    let bare = text.split_once("-preview").map_or(text, |(bare, _)| bare);
    let is_seven = bare.strip_prefix("7.").is_some_and(|minor| {
        !minor.is_empty() && minor.len() <= 2 && minor.bytes().all(|b| b.is_ascii_digit())
    });
    is_seven || (is_date(bare) && bare >= OLDEST_API_DATE)
}

#[async_trait]
impl Gate for VaultGate {
    fn ids(&self, parts: &Parts) -> Option<RequestIds> {
        parts.extensions.get::<Arc<CallNotes>>().map(|notes| notes.ids)
    }

    async fn enter(&self, parts: &mut Parts) -> Result<(), Response> {
        let call = self.authenticate(parts).map_err(IntoResponse::into_response)?;
        if let Some(notes) = parts.extensions.get::<Arc<CallNotes>>() {
            let _ = notes.caller.set(call.principal.clone());
        }
        parts.extensions.insert(call);
        Ok(())
    }

    async fn admit(
        &self,
        row: &Row,
        params: &Params,
        parts: &mut Parts,
        _: &mut Body,
    ) -> Result<OperationContext, Response> {
        let call = parts
            .extensions
            .get::<VaultCall>()
            .ok_or_else(|| VaultFaceError::Internal.into_response())?;
        let ids = self.ids(parts).ok_or_else(|| VaultFaceError::Internal.into_response())?;
        self.authorize(row, params, call, ids.request_id).map_err(IntoResponse::into_response)?;
        let version = Parameters::of(&parts.uri);
        match version.non_empty("api-version") {
            None => return Err(VaultFaceError::ApiVersionMissing.into_response()),
            Some(version) if !is_api_version(version) => {
                return Err(VaultFaceError::ApiVersionUnknown(version.to_owned()).into_response());
            }
            Some(_) => {}
        }
        Ok(OperationContext {
            scope: call.vault.id.to_string(),
            ..ids.operation(Caller::Principal(call.principal.clone()), self.0.state.clock.now())
        })
    }

    async fn refuse(&self, _: &mut Parts, refusal: PathRefusal) -> Response {
        match refusal {
            PathRefusal::Malformed(_) => VaultFaceError::PathMalformed.into_response(),
            PathRefusal::NotFound => VaultFaceError::PathUnknown.into_response(),
            PathRefusal::MethodNotAllowed(allowed) => {
                (crate::route::allow_header(&allowed), VaultFaceError::MethodNotAllowed)
                    .into_response()
            }
        }
    }

    fn finish(&self, entered: &Entered, response: &mut Response) {
        let headers = response.headers_mut();
        let request_id = entered.ids.map(|ids| ids.request_id.to_string()).unwrap_or_default();
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            headers.insert("x-ms-request-id", value);
        }
        for (name, value) in [
            ("cache-control", "no-cache"),
            ("pragma", "no-cache"),
            ("expires", "-1"),
            ("x-ms-keyvault-region", "local"),
            ("x-ms-keyvault-service-version", "1.9.0"),
            ("x-content-type-options", "nosniff"),
            ("strict-transport-security", "max-age=31536000;includeSubDomains"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// What is noted of a call for its record. Travels with the request as an extension.
#[derive(Debug)]
struct CallNotes {
    ids: RequestIds,
    /// Set by the gate when it has recognised who calls.
    caller: OnceLock<Principal>,
}

/// The face with the record of every call, refused ones included.
#[derive(Debug)]
struct AuditedFace {
    face: Face<KeyVault>,
    state: Arc<State>,
}

#[async_trait]
impl Answer for AuditedFace {
    async fn answer(&self, mut request: Request<Body>) -> Response {
        let fresh = self.state.entropy.uuid();
        let ids = RequestIds::from_headers(request.headers(), "x-ms-client-request-id", fresh);
        let notes = Arc::new(CallNotes { ids, caller: OnceLock::new() });
        request.extensions_mut().insert(Arc::clone(&notes));
        let mut access = self.access(&request, &notes);
        let mut response = self.face.answer(request).await;
        if let Some(caller) = notes.caller.get() {
            access.principal_id = Some(caller.principal_id.to_string());
            access.app_id = Some(caller.client_id.to_string());
        }
        access.result_type = if response.status().is_success() { "Success" } else { "Failure" };
        access.http_status_code = response.status().as_u16();
        if audit::record_vault_access(&self.state, access).await.is_err() {
            response = VaultFaceError::Unavailable.into_response();
        }
        response
    }

    fn rows(&self) -> Vec<Row> {
        self.face.rows().cloned().collect()
    }
}

impl AuditedFace {
    /// The record of a call, as far as the request tells.
    fn access(&self, request: &Request<Body>, notes: &CallNotes) -> VaultAccess {
        let snapshot = self.state.snapshot();
        let name = request.extensions().get::<VaultName>();
        let vault = name.and_then(|name| vault::find_by_name(&snapshot, &name.0));
        let path = request.uri().path();
        VaultAccess {
            time_unix_ms: audit::unix_ms(self.state.clock.now()),
            correlation_id: notes.ids.correlation_id.to_string(),
            resource_id: vault.map(|vault| vault.id.as_str().to_uppercase()).unwrap_or_default(),
            operation_name: operation_name(request.method(), path).to_owned(),
            result_type: "Failure",
            http_status_code: 0,
            principal_id: None,
            app_id: None,
            object: path.chars().take(limits::AUDITED_CHARS_MAX).collect(),
        }
    }
}

/// The operation's name in the audit log. Source: Key Vault logging.
fn operation_name(method: &Method, path: &str) -> &'static str {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let (collection, name, tail) = (segments.next(), segments.next(), segments.next());
    match (method.as_str(), collection, name, tail) {
        ("GET", Some("secrets"), None, _) => "SecretList",
        ("GET", Some("secrets"), Some(_), Some("versions")) => "SecretListVersions",
        ("GET", Some("secrets"), ..) => "SecretGet",
        ("PUT", Some("secrets"), ..) => "SecretSet",
        ("PATCH", Some("secrets"), ..) => "SecretUpdate",
        ("DELETE", Some("secrets"), ..) => "SecretDelete",
        ("POST", Some("secrets"), Some(_), Some("backup")) => "SecretBackup",
        ("POST", Some("secrets"), ..) => "SecretRestore",
        ("GET", Some("deletedsecrets"), None, _) => "SecretListDeleted",
        ("GET", Some("deletedsecrets"), ..) => "SecretGetDeleted",
        ("POST", Some("deletedsecrets"), ..) => "SecretRecover",
        ("DELETE", Some("deletedsecrets"), ..) => "SecretPurge",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_versions_are_taken_and_nonsense_is_not() {
        for known in ["7.0", "7.6", "7.6-preview.2", "2016-10-01", "2026-04-01", "2031-01-01"] {
            assert!(is_api_version(known), "{known}");
        }
        for unknown in ["", "7", "7.x", "8.0", "2010-01-01", "latest", "2026-04-0a"] {
            assert!(!is_api_version(unknown), "{unknown}");
        }
    }

    #[test]
    fn every_row_has_a_word_in_access_policies() {
        assert!(routes().iter().all(|route| !policy_word(route.row()).is_empty()));
    }
}
