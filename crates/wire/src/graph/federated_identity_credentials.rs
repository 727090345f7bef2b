//! Federated credentials of an application: `/applications/{id}/federatedIdentityCredentials`.
//!
//! Source: Microsoft Graph REST API v1.0, "federatedIdentityCredential resource type" and its methods; beta for
//! `claimsMatchingExpression`.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use keycard_domain::directory::FederatedCredential;
use keycard_domain::directory::federated_credential::claims_expression::{
    ClaimsExpression, LANGUAGE_VERSION,
};
use keycard_domain::directory::federated_credential::{
    self as credentials, FederatedCredentialError, Holder, SubjectRule, Trust, TrustRequest,
};
use keycard_domain::operation::OperationContext;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::body::{JsonBody, entity, tenant};
use super::error::GraphError;
use super::query::Query;
use super::{Base, Graph, row};
use crate::route::{Directory, Params, Route};

/// What errors call the type.
const RESOURCE: &str = "FederatedIdentityCredential";

pub(super) fn routes() -> Vec<Route<Graph>> {
    let all = "/{api}/applications/{application}/federatedIdentityCredentials";
    let one = "/{api}/applications/{application}/federatedIdentityCredentials/{credential}";
    let read = "microsoft.directory/applications/standard/read";
    let update = "microsoft.directory/applications/credentials/update";
    vec![
        row(Method::GET, all, read, list),
        row(Method::POST, all, update, create),
        row(Method::GET, one, read, show),
        row(Method::PATCH, one, update, change),
        row(Method::DELETE, one, update, remove),
    ]
}

fn holder(operation: &OperationContext, params: &Params) -> Result<Holder, GraphError> {
    let id = params.get("application");
    let malformed = |_| GraphError::IdMalformed(id.chars().take(200).collect());
    Ok(Holder::Application(tenant(operation)?, id.parse().map_err(malformed)?))
}

/// What the answers are said to be of.
fn collection(params: &Params) -> String {
    format!("applications('{}')/federatedIdentityCredentials", params.get("application"))
}

fn credential_json(credential: &FederatedCredential) -> Value {
    let Trust { issuer, subject, audience } = &credential.trust;
    let (subject, expression) = match subject {
        SubjectRule::Exact(subject) => (json!(subject), Value::Null),
        SubjectRule::Matching(expression) => {
            let value = expression.as_str();
            (Value::Null, json!({ "value": value, "languageVersion": LANGUAGE_VERSION }))
        }
    };
    let mut body = json!({
        "id": credential.id,
        "name": credential.name,
        "issuer": issuer,
        "subject": subject,
        "description": credential.description,
        "audiences": [audience],
    });
    if let (false, Some(members)) = (expression.is_null(), body.as_object_mut()) {
        members.insert("claimsMatchingExpression".to_owned(), expression);
    }
    body
}

/// What a credential can be given; a member that is not here is refused, not forgotten.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CredentialBody {
    name: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    description: Option<String>,
    audiences: Option<Vec<String>>,
    claims_matching_expression: Option<ExpressionBody>,
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    #[serde(rename = "@odata.type")]
    _odata_type: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExpressionBody {
    value: String,
    language_version: i64,
}

impl CredentialBody {
    fn read(self) -> Result<(TrustRequest, Option<String>), GraphError> {
        let expression = match self.claims_matching_expression {
            Some(expression) if expression.language_version != LANGUAGE_VERSION => {
                return Err(GraphError::invalid(
                    RESOURCE,
                    "claimsMatchingExpression",
                    "its languageVersion has to be 1",
                ));
            }
            Some(expression) => Some(
                ClaimsExpression::parse(&expression.value)
                    .map_err(FederatedCredentialError::from)?,
            ),
            None => None,
        };
        let Self { issuer, subject, audiences, description, .. } = self;
        Ok((TrustRequest { issuer, subject, expression, audiences }, description))
    }
}

async fn list(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    uri: Uri,
) -> Result<Json<Value>, GraphError> {
    let query = Query::of(&uri)?;
    let snapshot = graph.state.snapshot_to_keep();
    let found = credentials::list(&snapshot, &holder(&operation, &params)?)?;
    let objects = found.iter().map(|credential| credential_json(credential)).collect();
    query.page(&uri, &base, &collection(&params), objects).map(Json)
}

async fn create(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    base: Base,
    JsonBody(mut body): JsonBody<CredentialBody>,
) -> Result<(StatusCode, Json<Value>), GraphError> {
    let holder = holder(&operation, &params)?;
    let name = body.name.take().ok_or(FederatedCredentialError::Incomplete)?;
    let (request, description) = body.read()?;
    let trust = Trust::new(request)?;
    let description = description.as_deref();
    let made =
        credentials::create(&graph.state, &operation, &holder, &name, &trust, description).await?;
    let body = entity(&base, &collection(&params), credential_json(&made));
    Ok((StatusCode::CREATED, Json(body)))
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
    let holder = holder(&operation, &params)?;
    let found = credentials::find(&snapshot, &holder, params.get("credential"))?;
    Ok(Json(entity(&base, &collection(&params), query.select(credential_json(found)))))
}

/// A name cannot be changed; the same one may stand in the body.
async fn change(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
    JsonBody(mut body): JsonBody<CredentialBody>,
) -> Result<StatusCode, GraphError> {
    let (holder, credential) = (holder(&operation, &params)?, params.get("credential"));
    if let Some(name) = body.name.take() {
        let present = credentials::find(&graph.state.snapshot(), &holder, credential)?.name.clone();
        if name != present {
            let why = "it cannot be changed";
            return Err(GraphError::invalid(RESOURCE, "name", why));
        }
    }
    let (request, description) = body.read()?;
    let description = description.as_deref();
    credentials::change(&graph.state, &operation, &holder, credential, &request, description)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(
    Directory(operation): Directory,
    State(graph): State<Graph>,
    params: Params,
) -> Result<StatusCode, GraphError> {
    let (holder, credential) = (holder(&operation, &params)?, params.get("credential"));
    let existed = credentials::delete(&graph.state, &operation, &holder, credential).await?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(not_found(credential)) }
}

fn not_found(credential: &str) -> GraphError {
    FederatedCredentialError::NotFound(credential.to_owned()).into()
}
