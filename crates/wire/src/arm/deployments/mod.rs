//! Deployments of templates at resource groups and subscriptions:
//! `{scope}/providers/Microsoft.Resources/deployments/{name}`.
//!
//! Source: Microsoft.Resources REST API, Deployments; Azure Resource Manager, "Track asynchronous Azure operations".

mod door;
mod json;
mod lenient_json;
mod request;
mod run;
mod what_if;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode, Uri};
use keycard_domain::deployment::hidden::Hidden;
use keycard_domain::deployment::{self, Deployment, DeploymentError, DeploymentState};
use keycard_domain::limits;
use keycard_domain::rbac::RbacScope;
use keycard_domain::resources::resource_group;
use keycard_domain::snapshot::Snapshot;
use serde_json::{Value, json};
use tracing::Instrument;

use super::async_operations::{ASYNC_OPERATION, RETRY_AFTER};
use super::body::page;
use super::error::{ArmError, DeploymentRefusal};
use super::{Arm, Vouched, row};
use crate::request::Parameters;
use crate::route::{Params, Rbac, Route, Unread};
use door::Door;
use request::DeploymentBody;
use run::Run;

pub(super) fn routes() -> Vec<Route<Arm>> {
    let read = "Microsoft.Resources/deployments/read";
    let mut routes = Vec::new();
    for place in [GROUP, SUBSCRIPTION] {
        routes.extend([
            row(Method::GET, place.all, read, list),
            row(Method::PUT, place.one, "Microsoft.Resources/deployments/write", put),
            row(Method::GET, place.one, read, show),
            row(Method::HEAD, place.one, read, exists),
            row(Method::DELETE, place.one, "Microsoft.Resources/deployments/delete", remove),
            row(
                Method::POST,
                place.validate,
                "Microsoft.Resources/deployments/validate/action",
                validate,
            ),
            row(
                Method::POST,
                place.what_if,
                "Microsoft.Resources/deployments/whatIf/action",
                what_if,
            ),
            row(
                Method::POST,
                place.cancel,
                "Microsoft.Resources/deployments/cancel/action",
                cancel,
            ),
            row(
                Method::POST,
                place.export,
                "Microsoft.Resources/deployments/exportTemplate/action",
                export,
            ),
            row(Method::GET, place.status, read, status),
        ]);
        for operations in place.operations {
            let read = "Microsoft.Resources/deployments/operations/read";
            routes.push(row(Method::GET, operations.all, read, list_operations));
            routes.push(row(Method::GET, operations.one, read, show_operation));
        }
    }
    routes
}

/// The paths of the deployments at a kind of scope.
struct PlacePaths {
    all: &'static str,
    one: &'static str,
    validate: &'static str,
    what_if: &'static str,
    cancel: &'static str,
    export: &'static str,
    status: &'static str,
    /// Azure CLI leaves the provider out.
    operations: [OperationPaths; 2],
}

/// The paths of what a deployment did.
struct OperationPaths {
    all: &'static str,
    one: &'static str,
}

const GROUP: PlacePaths = PlacePaths {
    all: "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Resources/deployments",
    one: "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Resources/deployments/{name}",
    validate: "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Resources/deployments/{name}/validate",
    what_if: "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Resources/deployments/{name}/whatIf",
    cancel: "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Resources/deployments/{name}/cancel",
    export: "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Resources/deployments/{name}/exportTemplate",
    status: "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Resources/deployments/{name}/operationStatuses/{operation}",
    operations: [
        OperationPaths {
            all: "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Resources/deployments/{name}/operations",
            one: "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Resources/deployments/{name}/operations/{operation}",
        },
        OperationPaths {
            all: "/subscriptions/{subscription}/resourceGroups/{group}/deployments/{name}/operations",
            one: "/subscriptions/{subscription}/resourceGroups/{group}/deployments/{name}/operations/{operation}",
        },
    ],
};

const SUBSCRIPTION: PlacePaths = PlacePaths {
    all: "/subscriptions/{subscription}/providers/Microsoft.Resources/deployments",
    one: "/subscriptions/{subscription}/providers/Microsoft.Resources/deployments/{name}",
    validate: "/subscriptions/{subscription}/providers/Microsoft.Resources/deployments/{name}/validate",
    what_if: "/subscriptions/{subscription}/providers/Microsoft.Resources/deployments/{name}/whatIf",
    cancel: "/subscriptions/{subscription}/providers/Microsoft.Resources/deployments/{name}/cancel",
    export: "/subscriptions/{subscription}/providers/Microsoft.Resources/deployments/{name}/exportTemplate",
    status: "/subscriptions/{subscription}/providers/Microsoft.Resources/deployments/{name}/operationStatuses/{operation}",
    operations: [
        OperationPaths {
            all: "/subscriptions/{subscription}/providers/Microsoft.Resources/deployments/{name}/operations",
            one: "/subscriptions/{subscription}/providers/Microsoft.Resources/deployments/{name}/operations/{operation}",
        },
        OperationPaths {
            all: "/subscriptions/{subscription}/deployments/{name}/operations",
            one: "/subscriptions/{subscription}/deployments/{name}/operations/{operation}",
        },
    ],
};

/// The group or subscription that the path names, where it exists: deployments are kept under its own spelling.
fn scope(arm: &Arm, params: &Params) -> Result<RbacScope, ArmError> {
    let snapshot = arm.state.snapshot();
    super::body::require_container(&snapshot, params)?;
    let subscription = params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)?;
    let path = match params.get("group") {
        "" => format!("/subscriptions/{subscription}"),
        group => resource_group::find(&snapshot, subscription, group)?.path(),
    };
    RbacScope::parse(&path).map_err(|_| ArmError::PathMalformed)
}

impl From<DeploymentError> for ArmError {
    fn from(error: DeploymentError) -> Self {
        Self::Deployment(Box::new(DeploymentRefusal { error, position: (1, 1) }))
    }
}

/// Where a deployment stands inside others: a request of the face to itself says so, and no other can.
#[derive(Clone, Debug, Default)]
pub(super) struct Nesting {
    /// Those that it stands inside, the outermost first.
    outer: Vec<Arc<Deployment>>,
    /// What they keep to themselves: it can stand in a template that they evaluated.
    hidden: Arc<Hidden>,
    /// What resources gave away to any of them.
    listed: Arc<Mutex<Hidden>>,
    /// The ids, in lower case, of what it and all deployments around and inside it have made in this run.
    made: Arc<Mutex<BTreeSet<String>>>,
}

impl Nesting {
    /// One step further inside.
    fn inside(mut self, deployment: &Deployment, hidden: &Hidden) -> Self {
        self.outer.push(Arc::new(deployment.clone()));
        self.hidden = Arc::new(self.hidden.and(hidden));
        self
    }

    /// Whether all of them run still: who stops one stops what stands inside it.
    fn runs(&self, snapshot: &Snapshot) -> bool {
        self.outer.iter().all(|outer| deployment::is_running(snapshot, outer))
    }

    fn note_listed(&self, answer: &Value) {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).add_listed(answer);
    }

    /// These secrets and what resources gave away.
    fn hides(&self, secrets: &Hidden) -> Hidden {
        secrets.and(&self.listed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note_made(&self, id: &str) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_lowercase());
    }

    fn made(&self) -> BTreeSet<String> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Nesting {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Answers when the deployment has ended, or soon: what takes longer is asked for at the address in the header.
async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    caller: Vouched,
    nesting: Nesting,
    uri: Uri,
    body: DeploymentBody,
) -> Result<Response, ArmError> {
    if nesting.outer.len() > limits::NESTED_DEPLOYMENTS_MAX {
        return Err(ArmError::BodyMalformed("Deployments are nested too deeply.".to_owned()));
    }
    let scope = scope(&arm, &params)?;
    let mut prepared = body.prepare(&arm, &operation, scope, params.get("name")).await?;
    prepared.new.template = nesting.hides(&nesting.hidden).value(prepared.new.template);
    let plan = (&prepared.template, &prepared.plan);
    let begun = deployment::begin(&arm.state, &operation, &prepared.new, plan).await?;
    let started = begun.deployment;
    let run = Run::new(arm.clone(), (operation, caller), prepared, started.clone(), nesting);
    // Whoever goes away in the meantime does not stop it.
    let running = tokio::spawn(run.carry_out().in_current_span());
    let _ = tokio::time::timeout(limits::DEPLOYMENT_ANSWER_WAIT, running).await;
    let snapshot = arm.state.snapshot();
    let present = deployment::find(&snapshot, &started.scope, &started.name);
    let mut answer = json::deployment(present.map_or(&started, |present| present.record.as_ref()));
    if let Some(state) = answer.pointer_mut("/properties/provisioningState")
        && state.as_str() == Some(DeploymentState::Running.as_str())
    {
        *state = "Accepted".into();
    }
    let version = Parameters::of(&uri).get("api-version").unwrap_or_default().to_owned();
    let poll = format!(
        "{}{}/operationStatuses/{}?api-version={version}",
        arm.names.url("management"),
        encoded(&started.path()),
        started.run_id
    );
    let status = if begun.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(ASYNC_OPERATION, poll)], RETRY_AFTER, Json(answer)).into_response())
}

/// A path of Resource Manager as a URL has it.
fn encoded(path: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &percent_encoding::AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(path, KEPT).to_string()
}

async fn show(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let scope = scope(&arm, &params)?;
    let snapshot = arm.state.snapshot();
    Ok(Json(json::deployment(deployment::find(&snapshot, &scope, params.get("name"))?)))
}

async fn exists(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let scope = scope(&arm, &params)?;
    let snapshot = arm.state.snapshot();
    let found = deployment::find(&snapshot, &scope, params.get("name"));
    Ok(if found.is_ok() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

async fn list(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let scope = scope(&arm, &params)?;
    let query = Parameters::of(&uri);
    let state = query.non_empty("$filter").map(filtered_state).transpose()?;
    let mut found = deployment::list(&arm.state.snapshot(), &scope);
    found.retain(|it| state.is_none_or(|state| state.eq_ignore_ascii_case(it.state.as_str())));
    let items = found.iter().map(|it| (it.name.to_ascii_lowercase(), json::deployment(it)));
    Ok(Json(page(&uri, &arm.names.url("management"), items.collect())))
}

/// The state that a filter asks for, as in `provisioningState eq 'Succeeded'`, which is the only one there is.
fn filtered_state(filter: &str) -> Result<&str, ArmError> {
    let mut words = filter.split_whitespace();
    let (name, operator, value) = (words.next(), words.next(), words.next());
    let is_known = name.is_some_and(|name| name.eq_ignore_ascii_case("provisioningState"))
        && operator.is_some_and(|operator| operator.eq_ignore_ascii_case("eq"))
        && words.next().is_none();
    let value = value.and_then(|value| value.strip_prefix('\'')?.strip_suffix('\''));
    let unsupported = || ArmError::FilterUnsupported(filter.chars().take(200).collect());
    value.filter(|_| is_known).ok_or_else(unsupported)
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    let scope = scope(&arm, &params)?;
    deployment::delete(&arm.state, &operation, &scope, params.get("name")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Everything that is done before the first resource is put, and nothing more.
async fn validate(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    body: DeploymentBody,
) -> Result<Json<Value>, ArmError> {
    let prepared =
        body.prepare(&arm, &operation, scope(&arm, &params)?, params.get("name")).await?;
    Ok(Json(json::validated(&prepared.new, &prepared.plan, &operation)))
}

/// What the deployment would change, answered at once.
async fn what_if(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    caller: Vouched,
    nesting: Nesting,
    body: DeploymentBody,
) -> Result<Json<Value>, ArmError> {
    let scope = scope(&arm, &params)?;
    let prepared = body.prepare(&arm, &operation, scope, params.get("name")).await?;
    let door = Door::new(&arm, caller, operation.correlation_id, nesting);
    Ok(Json(what_if::foretell(&arm, &door, &prepared).await))
}

async fn cancel(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<StatusCode, ArmError> {
    let scope = scope(&arm, &params)?;
    deployment::cancel(&arm.state, &operation, &scope, params.get("name")).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn export(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let scope = scope(&arm, &params)?;
    let snapshot = arm.state.snapshot_to_keep();
    let found = deployment::find(&snapshot, &scope, params.get("name"))?;
    let template = deployment::template_of(&arm.state, found).await?;
    Ok(Json(json!({ "template": template })))
}

/// How far the run is that the deployment's PUT began.
async fn status(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Response, ArmError> {
    let scope = scope(&arm, &params)?;
    let snapshot = arm.state.snapshot();
    let found = deployment::find(&snapshot, &scope, params.get("name"))?;
    if found.run_id.to_string() != params.get("operation").to_ascii_lowercase() {
        return Err(DeploymentError::NotFound(params.get("name").to_owned()).into());
    }
    let mut answer = json!({ "status": found.state.as_str() });
    if let (Some(failure), Some(members)) = (&found.failure, answer.as_object_mut()) {
        members.insert("error".to_owned(), json::failure(failure));
    }
    Ok((RETRY_AFTER, Json(answer)).into_response())
}

async fn list_operations(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let scope = scope(&arm, &params)?;
    let snapshot = arm.state.snapshot();
    let found: &Deployment = deployment::find(&snapshot, &scope, params.get("name"))?;
    Ok(Json(page(&uri, &arm.names.url("management"), json::operations(found))))
}

async fn show_operation(
    Rbac(_): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    let scope = scope(&arm, &params)?;
    let snapshot = arm.state.snapshot();
    let found: &Deployment = deployment::find(&snapshot, &scope, params.get("name"))?;
    let id = params.get("operation");
    let operation = json::find_operation(found, id);
    Ok(Json(operation.ok_or_else(|| DeploymentError::OperationNotFound(id.to_owned()))?))
}
