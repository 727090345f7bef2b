//! Federated credentials of a user-assigned identity:
//! `Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials`.
//!
//! Source: Microsoft.ManagedIdentity REST API 2023-01-31; `claimsMatchingExpression` since 2025-01-31-preview.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri, header};
use keycard_domain::directory::FederatedCredential;
use keycard_domain::directory::federated_credential::claims_expression::{
    ClaimsExpression, LANGUAGE_VERSION,
};
use keycard_domain::directory::federated_credential::{
    self as credentials, Holder, SubjectRule, Trust, TrustRequest,
};
use keycard_domain::records::Record;
use keycard_domain::resource_id::ArmResourceId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{JsonBody, page, resource_id};
use super::error::ArmError;
use super::{Arm, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}/federatedIdentityCredentials";
    let one = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}/federatedIdentityCredentials/{credential}";
    let read = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/read";
    let write =
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write";
    let delete =
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/delete";
    vec![
        row(Method::GET, all, read, list),
        row(Method::PUT, one, write, put),
        row(Method::GET, one, read, show),
        row(Method::DELETE, one, delete, remove),
    ]
}

/// The api-version from which an expression can stand for the subject; before, nobody knows the member.
const EXPRESSIONS_SINCE: &str = "2025-01-31";

/// The identity, and the credential that the path names below it.
fn holder_and_name(params: &Params) -> Result<(ArmResourceId, &str), ArmError> {
    let path = params.canonical_resource();
    let (identity, name) = path
        .rsplit_once('/')
        .and_then(|(above, name)| Some((above.rsplit_once('/')?.0, name)))
        .ok_or(ArmError::PathMalformed)?;
    Ok((identity.parse().map_err(|_| ArmError::PathMalformed)?, name))
}

fn credential_json(identity: &ArmResourceId, credential: &FederatedCredential) -> Value {
    let Trust { issuer, subject, audience } = &credential.trust;
    let mut properties = json!({ "issuer": issuer, "audiences": [audience] });
    if let Some(members) = properties.as_object_mut() {
        let (name, value) = match subject {
            SubjectRule::Exact(subject) => ("subject", json!(subject)),
            SubjectRule::Matching(expression) => (
                "claimsMatchingExpression",
                json!({ "value": expression.as_str(), "languageVersion": LANGUAGE_VERSION }),
            ),
        };
        members.insert(name.to_owned(), value);
    }
    json!({
        "properties": properties,
        "id": id(identity, &credential.name),
        "name": credential.name,
        "type": credentials::RESOURCE_TYPE,
    })
}

fn id(identity: &ArmResourceId, name: &str) -> String {
    format!("{}/federatedIdentityCredentials/{name}", identity.with_lowercase_group_segment())
}

#[derive(Deserialize)]
struct CredentialBody {
    #[serde(default)]
    properties: PropertiesBody,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PropertiesBody {
    issuer: Option<String>,
    subject: Option<String>,
    audiences: Option<Vec<String>>,
    claims_matching_expression: Option<ExpressionBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExpressionBody {
    value: String,
    language_version: i64,
}

impl ExpressionBody {
    fn read(&self) -> Result<ClaimsExpression, ArmError> {
        if self.language_version != LANGUAGE_VERSION {
            return Err(ArmError::Unsupported("this languageVersion of claimsMatchingExpression"));
        }
        let read = ClaimsExpression::parse(&self.value);
        read.map_err(|error| ArmError::FederatedCredential(error.into()))
    }
}

impl PropertiesBody {
    fn read(self, uri: &Uri) -> Result<Trust, ArmError> {
        let version = Parameters::of(uri);
        let date = version.get("api-version").unwrap_or_default().get(..EXPRESSIONS_SINCE.len());
        let expression = self
            .claims_matching_expression
            .filter(|_| date.is_some_and(|date| date >= EXPRESSIONS_SINCE))
            .map(|expression| expression.read())
            .transpose()?;
        let Self { issuer, subject, audiences, .. } = self;
        Ok(Trust::new(TrustRequest { issuer, subject, expression, audiences })?)
    }
}

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
    JsonBody(body): JsonBody<CredentialBody>,
) -> Result<Response, ArmError> {
    let (identity, name) = holder_and_name(&params)?;
    let trust = body.properties.read(&uri)?;
    let holder = Holder::Identity(identity.clone());
    let put = credentials::put(&arm.state, &operation, &holder, name, &trust).await?;
    let body = Json(credential_json(&identity, &put.resource));
    Ok(if put.is_new {
        let location = [(header::LOCATION, id(&identity, &put.resource.name))];
        (StatusCode::CREATED, location, body).into_response()
    } else {
        (StatusCode::OK, body).into_response()
    })
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let (identity, name) = holder_and_name(&params)?;
    let snapshot = arm.state.snapshot();
    let found = credentials::find(&snapshot, &Holder::Identity(identity.clone()), name)?;
    Ok(Json(credential_json(&identity, found)))
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let (identity, name) = holder_and_name(&params)?;
    let holder = Holder::Identity(identity);
    let existed = credentials::delete(&arm.state, &operation, &holder, name).await?;
    Ok(if existed { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let identity = resource_id(&params)?;
    let snapshot = arm.state.snapshot_to_keep();
    let items = credentials::list(&snapshot, &Holder::Identity(identity.clone()))?
        .iter()
        .map(|credential| (credential.record_id(), credential_json(&identity, credential)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}
