//! Where clients poll: the headers of answers that send them away, and the rows that they are sent to.
//!
//! Who began an operation may ask how it is, whatever roles it has at the subscription: a right on one machine is enough to
//! stop it, and Azure's clients poll whatever they began. Source: Azure Resource Manager, "Track asynchronous Azure
//! operations".

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use keycard_domain::ids::SubscriptionId;
use keycard_domain::operation::OperationContext;
use keycard_domain::resources::async_operation::{self, AsyncOperation, AsyncOperationError};
use keycard_domain::resources::normalized_location;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;

use super::Arm;
use super::error::ArmError;
use crate::request::Parameters;
use crate::route::{Access, OwnProof, Params, Route, route};

const OF_COMPUTE: &str = "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/operations/{operation}";
const RESULT: &str = "/subscriptions/{subscription}/operationresults/{operation}";

pub(super) fn routes() -> Vec<Route<Arm>> {
    vec![
        route(Method::GET, OF_COMPUTE, Access::OwnProof, show_status),
        route(Method::GET, RESULT, Access::OwnProof, show_result),
    ]
}

/// Where the state of an operation is.
pub(super) const ASYNC_OPERATION: HeaderName = HeaderName::from_static("azure-asyncoperation");
/// Clients take no number, and nought, for half a minute.
pub(super) const RETRY_AFTER: [(HeaderName, &str); 1] = [(header::RETRY_AFTER, "1")];

/// What a client is sent away with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polling<'a> {
    /// The state of the operation, at a location of Microsoft.Compute.
    Status(&'a str),
    /// That, and its result, which is nothing.
    StatusAndResult(&'a str),
    /// The result alone.
    Result,
}

/// The headers of an answer whose client may poll; none where nothing was committed.
pub(super) fn headers(
    arm: &Arm,
    operation: &OperationContext,
    (params, uri): (&Params, &Uri),
    polling: Polling<'_>,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(id) = async_operation::polled(operation) else { return headers };
    let base = arm.names.url("management");
    let subscription = encoded(params.get("subscription"));
    let query = Parameters::of(uri);
    let version = encoded(query.get("api-version").unwrap_or_default());
    let status = |location: &str| {
        let location = encoded(&normalized_location(location));
        format!(
            "{base}/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/operations/{id}?api-version={version}"
        )
    };
    let result =
        format!("{base}/subscriptions/{subscription}/operationresults/{id}?api-version={version}");
    let (status, result) = match polling {
        Polling::Status(location) => (Some(status(location)), None),
        Polling::StatusAndResult(location) => (Some(status(location)), Some(result)),
        Polling::Result => (None, Some(result)),
    };
    for (name, url) in [(ASYNC_OPERATION, status), (header::LOCATION, result)] {
        let value = url.and_then(|url| HeaderValue::from_str(&url).ok());
        headers.extend(value.map(|value| (name, value)));
    }
    headers.extend(RETRY_AFTER.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers
}

/// A text as a part of a URL has it.
fn encoded(text: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.');
    utf8_percent_encode(text, KEPT).to_string()
}

impl From<AsyncOperationError> for ArmError {
    fn from(error: AsyncOperationError) -> Self {
        match error {
            AsyncOperationError::NotFound(name) => {
                Self::NotFound { resource_type: "operations".to_owned(), name }
            }
            AsyncOperationError::Unavailable(error) => error.into(),
            AsyncOperationError::Unreadable(error) => {
                keycard_domain::state::WriteError::Unavailable(error.to_string()).into()
            }
        }
    }
}

async fn find(
    arm: &Arm,
    operation: &OperationContext,
    params: &Params,
) -> Result<AsyncOperation, ArmError> {
    let principal = operation.principal().ok_or(ArmError::TokenMissing)?;
    let subscription: SubscriptionId =
        params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)?;
    let asked = (principal, operation.now);
    Ok(async_operation::find(&arm.state, asked, subscription, params.get("operation")).await?)
}

async fn show_status(
    OwnProof(operation): OwnProof,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Response, ArmError> {
    let found = find(&arm, &operation, &params).await?;
    let body = json!({
        "id": params.resource(),
        "name": found.id,
        "resourceId": found.resource,
        "status": "Succeeded",
        "percentComplete": 100.0,
        "startTime": date(found.started_at_ms),
        "endTime": date(found.ended_at_ms),
    });
    Ok((RETRY_AFTER, Json(body)).into_response())
}

/// What is polled here ends with no result of its own.
async fn show_result(
    OwnProof(operation): OwnProof,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Response, ArmError> {
    find(&arm, &operation, &params).await?;
    Ok((StatusCode::NO_CONTENT, RETRY_AFTER).into_response())
}

fn date(unix_ms: i64) -> Option<String> {
    let at = UtcDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000).ok()?;
    at.format(&Rfc3339).ok()
}
