//! Faults of workloads, on servers for development and tests: a provider of keycard's own. `keycard fault` talks to it,
//! and templates set them as they make any resource: `{scope}/providers/Keycard.Testing/faults`.

use axum::Json;
use axum::extract::State;
use http::{Method, StatusCode, Uri};
use keycard_domain::fault::{self, DropMoment, Fault, FaultEffect, Outage};
use keycard_domain::records::Record;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;

use super::body::{JsonBody, page, tenant};
use super::error::ArmError;
use super::role_assignments::scope;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let all = "/{*scope}/providers/Keycard.Testing/faults";
    let one = "/{*scope}/providers/Keycard.Testing/faults/{name}";
    let read = "Keycard.Testing/faults/read";
    vec![
        row(Method::GET, all, read, list),
        row(Method::PUT, one, "Keycard.Testing/faults/write", put),
        row(Method::GET, one, read, show),
        row(Method::DELETE, one, "Keycard.Testing/faults/delete", remove),
    ]
}

/// Faults are for servers that people test with.
fn check_is_for_development(arm: &Arm) -> Result<(), ArmError> {
    if arm.for_development { Ok(()) } else { Err(ArmError::Unsupported("faults on this server")) }
}

/// What a fault is asked to do. A property that its kind does not have is refused.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FaultProperties {
    kind: Option<String>,
    retry_after_seconds: Option<u32>,
    status_code: Option<u16>,
    delay_milliseconds: Option<u32>,
    moment: Option<String>,
    requests_per_second: Option<u32>,
    concurrent_requests: Option<u32>,
    delay_seconds: Option<u32>,
    requests: Option<u32>,
    duration_seconds: Option<u32>,
}

#[derive(Deserialize)]
struct FaultBody {
    properties: FaultProperties,
}

/// When clients are told to come again.
const RETRY_AFTER_SECONDS: u32 = 5;
/// How long a metadata endpoint is updated at most. Source: Azure Instance Metadata Service, "Errors and debugging".
const UPDATE_SECONDS: u32 = 70;
/// How many requests a burst of errors has.
const BURST_REQUESTS: u32 = 3;
/// How late an answer comes.
const DELAY_MILLISECONDS: u32 = 5000;
/// How often a VM may ask for tokens. Source: Azure Instance Metadata Service, "Rate limiting", identity category.
const REQUESTS_PER_SECOND: u32 = 20;
/// How many of these requests may be under way. Source: the same.
const CONCURRENT_REQUESTS: u32 = 5;
/// How long a new principal is hidden.
const REPLICATION_SECONDS: u32 = 120;

const KINDS: &str = "TooManyRequests, Updating, ServerError, SlowAnswer, ConnectionDropped, Throttle or ReplicationDelay";

impl FaultProperties {
    /// The effect, how many requests it disturbs, and how long it holds.
    fn read(mut self) -> Result<(FaultEffect, Option<u32>, Option<u32>), ArmError> {
        let (requests, duration) = (self.requests.take(), self.duration_seconds.take());
        let kind = self.kind.take().unwrap_or_default();
        let is = |known: &str| kind.eq_ignore_ascii_case(known);
        let (effect, requests, duration) = if is("TooManyRequests") {
            let retry_after_seconds =
                self.retry_after_seconds.take().unwrap_or(RETRY_AFTER_SECONDS);
            (FaultEffect::TooManyRequests { retry_after_seconds }, requests, duration)
        } else if is("Updating") {
            (FaultEffect::Updating, requests, duration.or(Some(UPDATE_SECONDS)))
        } else if is("ServerError") {
            let outage = outage(self.status_code.take())?;
            (FaultEffect::ServerError(outage), requests.or(Some(BURST_REQUESTS)), duration)
        } else if is("SlowAnswer") {
            let delay_milliseconds = self.delay_milliseconds.take().unwrap_or(DELAY_MILLISECONDS);
            (FaultEffect::SlowAnswer { delay_milliseconds }, requests, duration)
        } else if is("ConnectionDropped") {
            let moment = drop_moment(self.moment.take().as_deref())?;
            (FaultEffect::ConnectionDropped(moment), requests, duration)
        } else if is("Throttle") {
            let effect = FaultEffect::Throttle {
                requests_per_second: self.requests_per_second.take().unwrap_or(REQUESTS_PER_SECOND),
                concurrent_requests: self.concurrent_requests.take().unwrap_or(CONCURRENT_REQUESTS),
            };
            (effect, uncounted(&kind, requests)?, duration)
        } else if is("ReplicationDelay") {
            let delay_seconds = self.delay_seconds.take().unwrap_or(REPLICATION_SECONDS);
            (FaultEffect::ReplicationDelay { delay_seconds }, uncounted(&kind, requests)?, duration)
        } else {
            return Err(wrong(&format!("properties.kind has to be {KINDS}")));
        };
        match self.left() {
            Some(property) => Err(wrong(&format!("a {kind} has no {property}"))),
            None => Ok((effect, requests, duration)),
        }
    }

    /// A property that nobody took.
    fn left(&self) -> Option<&'static str> {
        [
            (self.retry_after_seconds.is_some(), "retryAfterSeconds"),
            (self.status_code.is_some(), "statusCode"),
            (self.delay_milliseconds.is_some(), "delayMilliseconds"),
            (self.moment.is_some(), "moment"),
            (self.requests_per_second.is_some(), "requestsPerSecond"),
            (self.concurrent_requests.is_some(), "concurrentRequests"),
            (self.delay_seconds.is_some(), "delaySeconds"),
        ]
        .into_iter()
        .find_map(|(is_left, name)| is_left.then_some(name))
    }
}

fn wrong(what: &str) -> ArmError {
    ArmError::BodyMalformed(what.to_owned())
}

/// The kind counts no requests.
fn uncounted(kind: &str, requests: Option<u32>) -> Result<Option<u32>, ArmError> {
    match requests {
        Some(_) => Err(wrong(&format!("a {kind} has no requests"))),
        None => Ok(None),
    }
}

const OUTAGES: [(u16, Outage); 4] = [
    (500, Outage::Internal),
    (502, Outage::BadGateway),
    (503, Outage::Unavailable),
    (504, Outage::GatewayTimeout),
];

fn outage(status: Option<u16>) -> Result<Outage, ArmError> {
    let status = status.unwrap_or(500);
    let found = OUTAGES.into_iter().find(|(known, _)| *known == status);
    found
        .map(|(_, outage)| outage)
        .ok_or_else(|| wrong("properties.statusCode has to be 500, 502, 503 or 504"))
}

const MOMENTS: [(&str, DropMoment); 2] =
    [("BeforeAnswer", DropMoment::BeforeAnswer), ("MidAnswer", DropMoment::MidAnswer)];

fn drop_moment(text: Option<&str>) -> Result<DropMoment, ArmError> {
    let text = text.unwrap_or("BeforeAnswer");
    let found = MOMENTS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(text));
    found
        .map(|(_, moment)| moment)
        .ok_or_else(|| wrong("properties.moment has to be BeforeAnswer or MidAnswer"))
}

fn effect_json(effect: FaultEffect) -> Value {
    match effect {
        FaultEffect::TooManyRequests { retry_after_seconds } => {
            json!({ "kind": "TooManyRequests", "retryAfterSeconds": retry_after_seconds })
        }
        FaultEffect::Updating => json!({ "kind": "Updating" }),
        FaultEffect::ServerError(outage) => {
            let status = OUTAGES.into_iter().find(|(_, known)| *known == outage);
            json!({ "kind": "ServerError", "statusCode": status.map(|(status, _)| status) })
        }
        FaultEffect::SlowAnswer { delay_milliseconds } => {
            json!({ "kind": "SlowAnswer", "delayMilliseconds": delay_milliseconds })
        }
        FaultEffect::ConnectionDropped(moment) => {
            let name = MOMENTS.into_iter().find(|(_, known)| *known == moment);
            json!({ "kind": "ConnectionDropped", "moment": name.map(|(name, _)| name) })
        }
        FaultEffect::Throttle { requests_per_second, concurrent_requests } => json!({
            "kind": "Throttle",
            "requestsPerSecond": requests_per_second,
            "concurrentRequests": concurrent_requests,
        }),
        FaultEffect::ReplicationDelay { delay_seconds } => {
            json!({ "kind": "ReplicationDelay", "delaySeconds": delay_seconds })
        }
    }
}

fn date(unix_seconds: i64) -> Option<String> {
    UtcDateTime::from_unix_timestamp(unix_seconds).ok()?.format(&Rfc3339).ok()
}

fn fault_json(fault: &Fault, now: UtcDateTime) -> Value {
    let mut properties = effect_json(fault.effect);
    if let Some(members) = properties.as_object_mut() {
        let mut more = Map::new();
        more.extend(fault.requests_max.map(|it| ("requests".to_owned(), json!(it))));
        more.extend(fault.duration_seconds.map(|it| ("durationSeconds".to_owned(), json!(it))));
        more.extend(date(fault.set_at).map(|it| ("setAt".to_owned(), json!(it))));
        let end = fault.ends_at().and_then(date);
        more.extend(end.map(|it| ("endsAt".to_owned(), json!(it))));
        more.insert("isOver".to_owned(), json!(!fault.holds_at(now)));
        members.extend(more);
    }
    json!({
        "properties": properties,
        "id": format!("{}/providers/Keycard.Testing/faults/{}", fault.scope, fault.name),
        "type": "Keycard.Testing/faults",
        "name": fault.name,
    })
}

async fn put(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(FaultBody { properties }): JsonBody<FaultBody>,
) -> Result<(StatusCode, Json<Value>), ArmError> {
    check_is_for_development(&arm)?;
    let (effect, requests_max, duration_seconds) = properties.read()?;
    let new = Fault {
        scope: scope(&params)?,
        name: params.get("name").to_owned(),
        effect,
        requests_max,
        set_at: operation.now.unix_timestamp(),
        duration_seconds,
    };
    let (fault, is_new) = fault::put(&arm.state, &operation, tenant(&operation)?, &new).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(fault_json(&fault, operation.now))))
}

async fn show(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<Json<Value>, ArmError> {
    check_is_for_development(&arm)?;
    let snapshot = arm.state.snapshot();
    let found = fault::find(&snapshot, &scope(&params)?, params.get("name"))?;
    Ok(Json(fault_json(found, operation.now)))
}

async fn remove(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
) -> Result<StatusCode, ArmError> {
    check_is_for_development(&arm)?;
    let name = params.get("name");
    let existed = fault::delete(&arm.state, &operation, &scope(&params)?, name).await?;
    Ok(if existed { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

/// Those at the scope and below it.
async fn list(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    check_is_for_development(&arm)?;
    let snapshot = arm.state.snapshot_to_keep();
    let items = fault::list(&snapshot, &scope(&params)?)
        .iter()
        .map(|fault| (fault.record_id(), fault_json(fault, operation.now)))
        .collect();
    Ok(Json(page(&uri, &arm.names.url("management"), items)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(properties: Value) -> Result<(FaultEffect, Option<u32>, Option<u32>), String> {
        let properties: FaultProperties =
            serde_json::from_value(properties).map_err(|error| error.to_string())?;
        properties.read().map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn each_kind_has_the_numbers_of_azure_unless_others_are_given() {
        let too_many = |retry_after_seconds| FaultEffect::TooManyRequests { retry_after_seconds };
        let throttle = |requests_per_second, concurrent_requests| FaultEffect::Throttle {
            requests_per_second,
            concurrent_requests,
        };
        for (properties, expected) in [
            (json!({ "kind": "TooManyRequests" }), (too_many(5), None, None)),
            (
                json!({ "kind": "toomanyrequests", "retryAfterSeconds": 0, "requests": 2 }),
                (too_many(0), Some(2), None),
            ),
            (json!({ "kind": "Updating" }), (FaultEffect::Updating, None, Some(70))),
            (
                json!({ "kind": "Updating", "durationSeconds": 9 }),
                (FaultEffect::Updating, None, Some(9)),
            ),
            (
                json!({ "kind": "ServerError" }),
                (FaultEffect::ServerError(Outage::Internal), Some(3), None),
            ),
            (
                json!({ "kind": "ServerError", "statusCode": 504, "requests": 1 }),
                (FaultEffect::ServerError(Outage::GatewayTimeout), Some(1), None),
            ),
            (
                json!({ "kind": "SlowAnswer" }),
                (FaultEffect::SlowAnswer { delay_milliseconds: 5000 }, None, None),
            ),
            (
                json!({ "kind": "ConnectionDropped" }),
                (FaultEffect::ConnectionDropped(DropMoment::BeforeAnswer), None, None),
            ),
            (
                json!({ "kind": "ConnectionDropped", "moment": "midAnswer" }),
                (FaultEffect::ConnectionDropped(DropMoment::MidAnswer), None, None),
            ),
            (json!({ "kind": "Throttle" }), (throttle(20, 5), None, None)),
            (
                json!({ "kind": "ReplicationDelay" }),
                (FaultEffect::ReplicationDelay { delay_seconds: 120 }, None, None),
            ),
        ] {
            assert_eq!(read(properties.clone()), Ok(expected), "{properties}");
        }
    }

    #[test]
    fn what_a_kind_does_not_have_is_refused() {
        for properties in [
            json!({}),
            json!({ "kind": "Fire" }),
            json!({ "kind": "Updating", "statusCode": 500 }),
            json!({ "kind": "Updating", "retryAfterSeconds": 5 }),
            json!({ "kind": "Throttle", "requests": 5 }),
            json!({ "kind": "ReplicationDelay", "requests": 5 }),
            json!({ "kind": "ServerError", "statusCode": 404 }),
            json!({ "kind": "ConnectionDropped", "moment": "Later" }),
            json!({ "kind": "SlowAnswer", "delayMilliseconds": -1 }),
            json!({ "kind": "SlowAnswer", "delay": 5 }),
        ] {
            assert!(read(properties.clone()).is_err(), "{properties}");
        }
    }
}
