//! Tokens bound to a key of the workload's own: `GET /metadata/identity/getplatformmetadata` and
//! `POST /metadata/identity/issuecredential`.
//!
//! Source: observed requests of MSAL (msal-msiv2 for Python, MSAL.NET). A machine on which no keys are bound has neither
//! path, and says so before it looks at anything else: clients ask without the header to find out.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::{Method, Uri};
use keycard_crypto::bound_certificate::BindingRequest;
use keycard_crypto::encoding;
use keycard_crypto::signing_key::CERTIFICATE_BYTES_MAX;
use keycard_domain::compute::PowerState;
use keycard_domain::compute::machine::Machine;
use keycard_domain::credential::enrolment::EnrolmentError;
use keycard_domain::credential::key_binding::{self, BoundIdentity};
use keycard_domain::limits;
use keycard_domain::operation::{Caller, OperationContext};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::imds::ImdsError;
use super::{LocalEndpoint, LocalFace, selector};
use crate::request::{Parameters, Segments, read_body};
use crate::route::{Access, LocalCaller, Route, route};

const PLATFORM_METADATA: &str = "/metadata/identity/getplatformmetadata";
const ISSUE_CREDENTIAL: &str = "/metadata/identity/issuecredential";

/// The rows of both.
pub(super) fn routes() -> Vec<Route<LocalFace>> {
    let caller = Access::LocalCaller;
    vec![
        route(Method::GET, PLATFORM_METADATA, caller, platform_metadata),
        route(Method::POST, ISSUE_CREDENTIAL, caller, issue_credential),
    ]
}

/// Whether the path is one of these and the endpoint's machine has neither.
pub(super) fn is_missing(local: &LocalFace, endpoint: &LocalEndpoint, uri: &Uri) -> bool {
    let Ok(segments) = Segments::parse(uri.path()) else { return false };
    let path = format!("/{}", segments.as_slice().join("/"));
    let is_one =
        [PLATFORM_METADATA, ISSUE_CREDENTIAL].iter().any(|known| known.eq_ignore_ascii_case(&path));
    let machine = || local.machines.machine(&endpoint.resource);
    is_one && !machine().is_some_and(|machine| key_binding::is_offered(&machine))
}

/// The version of these requests.
const VERSION: &str = "2.0";

/// Who asks, and for which of the machine's identities.
struct Asked {
    machine: Machine,
    identity: BoundIdentity,
}

impl Asked {
    fn of(local: &LocalFace, operation: &OperationContext, uri: &Uri) -> Result<Self, ImdsError> {
        let query = Parameters::of(uri);
        if query.non_empty("cred-api-version") != Some(VERSION) {
            return Err(ImdsError::CredentialVersionInvalid);
        }
        if query.has_duplicates() {
            return Err(ImdsError::ParameterDuplicate);
        }
        let selector = selector(&query, "client_id", &["object_id"])?;
        let Caller::Workload(id) = &operation.caller else {
            return Err(ImdsError::Failure(Failure::IdentityNotFound));
        };
        let machine = local.machines.machine(id);
        let machine = machine.ok_or(ImdsError::Failure(Failure::IdentityNotFound))?;
        if machine.workload.power_state != PowerState::Running {
            return Err(ImdsError::Failure(Failure::NotRunning));
        }
        let identity = local.key_binding.identity(&machine, &selector);
        let identity = identity.map_err(|error| ImdsError::Failure(error.into()))?;
        Ok(Self { machine, identity })
    }
}

/// The machine as a request for a certificate has to name it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MachineName {
    vm_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vmss_id: Option<String>,
}

impl MachineName {
    fn of(machine: &Machine) -> Self {
        let set = machine.scale_set().map(|_| machine.workload.bearer.instance_id.to_string());
        Self { vm_id: machine.workload.instance_id.to_string(), vmss_id: set }
    }

    /// Whether a client's JSON says the same; it may leave out or write as `null` what there is not.
    fn is_said_by(&self, json: &str) -> bool {
        let said: Option<Map<String, Value>> = serde_json::from_str(json).ok();
        let said = said.map(|members| {
            members.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>()
        });
        said.map(Value::Object) == serde_json::to_value(self).ok()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlatformMetadata {
    client_id: String,
    tenant_id: String,
    cu_id: MachineName,
    attestation_endpoint: String,
}

async fn platform_metadata(
    LocalCaller(operation): LocalCaller,
    State(local): State<LocalFace>,
    uri: Uri,
) -> Result<Json<PlatformMetadata>, ImdsError> {
    let Asked { machine, identity } = Asked::of(&local, &operation, &uri)?;
    Ok(Json(PlatformMetadata {
        client_id: identity.names.client_id.to_string(),
        tenant_id: identity.names.tenant_id.to_string(),
        cu_id: MachineName::of(&machine),
        attestation_endpoint: local.key_binding.addresses().attestation.clone(),
    }))
}

/// What a client sends. Differs from Azure: keys are not attested, so that a token of their attestation says nothing here.
#[derive(Deserialize)]
struct CredentialRequest {
    csr: String,
}

#[derive(Serialize)]
struct Credential {
    client_id: String,
    tenant_id: String,
    certificate: String,
    identity_type: &'static str,
    mtls_authentication_endpoint: String,
}

async fn issue_credential(
    LocalCaller(operation): LocalCaller,
    State(local): State<LocalFace>,
    uri: Uri,
    body: Body,
) -> Result<Json<Credential>, ImdsError> {
    let Asked { machine, identity } = Asked::of(&local, &operation, &uri)?;
    let request = read_request(body, &machine, &identity).await?;
    let names = identity.names;
    let certificate = local
        .key_binding
        .issue(&operation, &machine, names, &request)
        .map_err(|error| refused(&error))?;
    tracing::info!(resource = %machine.workload.id, identity.client_id = %names.client_id, "a certificate was issued for a workload's key");
    Ok(Json(Credential {
        client_id: names.client_id.to_string(),
        tenant_id: names.tenant_id.to_string(),
        certificate: encoding::base64_encode(&certificate),
        identity_type: if identity.is_system_assigned { "SystemAssigned" } else { "UserAssigned" },
        mtls_authentication_endpoint: local.key_binding.addresses().token_service.clone(),
    }))
}

async fn read_request(
    body: Body,
    machine: &Machine,
    identity: &BoundIdentity,
) -> Result<BindingRequest, ImdsError> {
    let bytes = read_body(body, limits::CREDENTIAL_REQUEST_BYTES_MAX).await;
    let bytes = bytes.map_err(ImdsError::CredentialBody)?;
    let sent: CredentialRequest =
        serde_json::from_slice(&bytes).map_err(|_| ImdsError::CredentialRequestMalformed)?;
    let der = encoding::base64_decode_any(&sent.csr, CERTIFICATE_BYTES_MAX)
        .ok_or(ImdsError::CredentialRequestMalformed)?;
    let (client, tenant) =
        (identity.names.client_id.to_string(), identity.names.tenant_id.to_string());
    let request = BindingRequest::verify(&der, &client, &tenant)
        .map_err(|error| ImdsError::CredentialRefused(error.to_string()))?;
    if MachineName::of(machine).is_said_by(request.machine()) {
        Ok(request)
    } else {
        let text = "the certificate request names another machine";
        Err(ImdsError::CredentialRefused(text.to_owned()))
    }
}

fn refused(error: &EnrolmentError) -> ImdsError {
    match error {
        EnrolmentError::IdentityNotFound => ImdsError::Failure(Failure::IdentityNotFound),
        EnrolmentError::RequestInvalid(_)
        | EnrolmentError::AuthorityUnusable
        | EnrolmentError::Write(_) => {
            ImdsError::Failure(Failure::Unavailable { retry_after_seconds: 1 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_in_json_whatever_its_spelling() {
        let alone = MachineName { vm_id: "v".into(), vmss_id: None };
        let of_set = MachineName { vm_id: "v".into(), vmss_id: Some("s".into()) };
        for (json, is_alone, is_of_set) in [
            (r#"{"vmId":"v"}"#, true, false),
            (r#"{ "vmId" : "v", "vmssId": null }"#, true, false),
            (r#"{"vmssId":"s","vmId":"v"}"#, false, true),
            (r#"{"vmId":"w"}"#, false, false),
            (r#"{"vmId":"v","more":"x"}"#, false, false),
            (r#""v""#, false, false),
            ("{}", false, false),
            ("nonsense", false, false),
        ] {
            let said = (alone.is_said_by(json), of_set.is_said_by(json));
            assert_eq!(said, (is_alone, is_of_set), "{json}");
        }
    }
}
