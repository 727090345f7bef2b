//! The activity log: what requests leave in it, and `{place}/providers/Microsoft.Insights/eventtypes/management/values`.
//!
//! Source: Microsoft.Insights REST API 2015-04-01, Activity Logs and Tenant Activity Logs; Azure Monitor, "Azure activity log
//! event schema".

mod filter;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode, Uri};
use keycard_domain::audit::activity::{
    self, Activity, ActivityError, ActivityEvent, ActivityPlace, ActivityQuery, Answered, Asked,
    Phase,
};
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use serde_json::{Value, json};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;

use super::body::{next_link, require_container, tenant};
use super::error::ArmError;
use super::{Arm, row};
use crate::request::{ClientAddress, Parameters};
use crate::route::{Access, ErrorCode, OwnProof, Params, Rbac, Route, route};
use filter::{Filter, Start};

const OF_SUBSCRIPTION: &str =
    "/subscriptions/{subscription}/providers/Microsoft.Insights/eventtypes/management/values";
const OF_TENANT: &str = "/providers/Microsoft.Insights/eventtypes/management/values";
const CATEGORIES: &str = "/providers/Microsoft.Insights/eventcategories";

/// The action as built-in roles have it; the path has a segment more.
const READ: &str = "Microsoft.Insights/eventtypes/values/read";

pub(super) fn routes() -> Vec<Route<Arm>> {
    vec![
        row(Method::GET, OF_SUBSCRIPTION, READ, list_of_subscription),
        row(Method::GET, OF_TENANT, READ, list_of_tenant),
        route(Method::GET, CATEGORIES, Access::OwnProof, list_categories),
    ]
}

/// What an admitted request leaves in the log. Reads leave nothing.
pub(super) fn begin(arm: &Arm, action: &str, parts: &Parts) -> Option<Arc<Activity>> {
    let is_read = matches!(parts.method, Method::GET | Method::HEAD)
        || action.rsplit('/').next().is_some_and(|verb| verb.eq_ignore_ascii_case("read"));
    if is_read {
        return None;
    }
    let client_request_id = parts
        .headers
        .get("x-ms-client-request-id")
        .and_then(|value| value.to_str().ok())
        .filter(|id| id.len() <= limits::CLIENT_REQUEST_ID_BYTES_MAX)
        .map(ToOwned::to_owned);
    let client = parts.extensions.get::<ClientAddress>();
    let asked = Asked {
        method: parts.method.to_string(),
        client_request_id,
        client_address: client.map(|client| client.0.to_string()),
        status_if_made: if parts.method == Method::PUT { 201 } else { 200 },
        status_if_polled: match parts.method {
            Method::PUT | Method::PATCH => 200,
            _ => 202,
        },
        status: 200,
    };
    Some(Arc::new(Activity::new(arm.state.entropy.uuid(), asked)))
}

/// Has the log say how the request was answered. What cannot be recorded is not answered as done.
pub(super) async fn close(arm: &Arm, operation: &OperationContext, response: Response) -> Response {
    let status = response.status();
    let error_code = response.extensions().get::<ErrorCode>().map(|code| code.0.to_owned());
    let answered = Answered { status: status.as_u16(), error_code };
    match activity::close(&arm.state, operation, answered).await {
        Err(error) if status.is_success() => ArmError::from(error).into_response(),
        Ok(()) | Err(_) => response,
    }
}

async fn list_of_subscription(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    require_container(&arm.state.snapshot(), &params)?;
    let subscription = params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)?;
    list(&arm, &operation, ActivityPlace::Subscription(subscription), Start::Required, &uri).await
}

async fn list_of_tenant(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    uri: Uri,
) -> Result<Json<Value>, ArmError> {
    let place = ActivityPlace::Tenant(tenant(&operation)?);
    list(&arm, &operation, place, Start::Optional, &uri).await
}

async fn list(
    arm: &Arm,
    operation: &OperationContext,
    place: ActivityPlace,
    start: Start,
    uri: &Uri,
) -> Result<Json<Value>, ArmError> {
    let parameters = Parameters::of(uri);
    let filter = Filter::read(parameters.get("$filter").unwrap_or_default(), start)?;
    let selection = Selection::read(parameters.get("$select").unwrap_or_default())?;
    let query = ActivityQuery {
        place,
        tenant_id: tenant(operation)?,
        from_unix_ms: filter.from_unix_ms,
        until_unix_ms: filter.until_unix_ms,
        conditions: filter.conditions,
        after: parameters.non_empty("$skiptoken").map(ToOwned::to_owned),
        limit: page_size(&parameters)?,
    };
    let page = activity::list(&arm.state, &query).await?;
    let events: Vec<Value> =
        page.events.iter().map(|event| selection.of(event_json(event))).collect();
    let base = arm.names.url("management");
    Ok(Json(match page.next {
        Some(token) => json!({ "value": events, "nextLink": next_link(uri, &base, &token) }),
        None => json!({ "value": events }),
    }))
}

fn page_size(parameters: &Parameters) -> Result<usize, ArmError> {
    let Some(top) = parameters.non_empty("$top") else { return Ok(limits::ACTIVITY_PAGE_EVENTS) };
    match top.parse() {
        Ok(size @ 1..) => Ok(limits::LIST_PAGE_MAX.min(size)),
        _ => Err(ArmError::ParameterInvalid {
            name: "$top",
            value: top.chars().take(limits::AUDITED_CHARS_MAX).collect(),
        }),
    }
}

impl From<ActivityError> for ArmError {
    fn from(error: ActivityError) -> Self {
        match error {
            ActivityError::TokenMalformed => {
                Self::ParameterInvalid { name: "$skiptoken", value: error.to_string() }
            }
            ActivityError::Unavailable(error) => error.into(),
            ActivityError::Unreadable(error) => {
                keycard_domain::state::WriteError::Unavailable(error.to_string()).into()
            }
        }
    }
}

/// Which members of an event are asked for.
struct Selection(Vec<String>);

/// The members that an event has. `id` is not among those that can be selected in Azure; it is taken all the same.
const MEMBERS: &[&str] = &[
    "authorization",
    "caller",
    "category",
    "claims",
    "correlationId",
    "description",
    "eventDataId",
    "eventName",
    "eventTimestamp",
    "httpRequest",
    "id",
    "level",
    "operationId",
    "operationName",
    "properties",
    "resourceGroupName",
    "resourceId",
    "resourceProviderName",
    "resourceType",
    "status",
    "submissionTimestamp",
    "subscriptionId",
    "subStatus",
    "tenantId",
    "channels",
];

impl Selection {
    /// Reads names between commas; nothing selects everything.
    fn read(text: &str) -> Result<Self, ArmError> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let known = names.map(|name| {
            let known = MEMBERS.iter().find(|known| known.eq_ignore_ascii_case(name));
            known.map(|known| (*known).to_owned()).ok_or_else(|| ArmError::ParameterInvalid {
                name: "$select",
                value: name.chars().take(limits::AUDITED_CHARS_MAX).collect(),
            })
        });
        known.collect::<Result<_, _>>().map(Self)
    }

    fn of(&self, mut event: Value) -> Value {
        if let Some(members) = event.as_object_mut().filter(|_| !self.0.is_empty()) {
            members.retain(|name, _| self.0.iter().any(|selected| selected == name));
        }
        event
    }
}

/// A text with its translation, of which there is one.
fn localizable(value: &str) -> Value {
    json!({ "value": value, "localizedValue": value })
}

fn event_json(event: &ActivityEvent) -> Value {
    let entry = &event.entry;
    let shown_name = match event.phase {
        Phase::Begin => "Begin request",
        Phase::End => "End request",
    };
    let data_id = event.data_id();
    let timestamp = timestamp(entry.time_unix_ms);
    let level = if event.status() == "Failed" { "Error" } else { "Informational" };
    let mut json = json!({
        "authorization": { "action": entry.action, "scope": entry.scope },
        "caller": entry.caller,
        "channels": "Operation",
        "claims": {
            "appid": entry.client_id,
            "http://schemas.microsoft.com/identity/claims/objectidentifier": entry.caller,
            "http://schemas.microsoft.com/identity/claims/tenantid": entry.tenant_id,
            "idtyp": "app",
        },
        "correlationId": entry.correlation_id,
        "description": "",
        "eventDataId": data_id,
        "eventName": { "value": event.name(), "localizedValue": shown_name },
        "category": localizable("Administrative"),
        "eventTimestamp": timestamp,
        "id": format!(
            "{}/events/{data_id}/ticks/{}",
            entry.scope.trim_end_matches('/'),
            ticks(entry.time_unix_ms)
        ),
        "level": level,
        "operationId": entry.operation_id,
        "operationName": localizable(&entry.action),
        "resourceGroupName": entry.resource_group().unwrap_or_default(),
        "resourceProviderName": localizable(&entry.provider()),
        "resourceType": localizable(&entry.resource_type()),
        "resourceId": entry.scope,
        "status": localizable(event.status()),
        "subStatus": sub_status(event),
        "submissionTimestamp": timestamp,
        "subscriptionId": entry.subscription().map(|id| id.to_string()).unwrap_or_default(),
        "tenantId": entry.tenant_id,
        "properties": properties(event),
    });
    if let Some(members) = json.as_object_mut()
        && !entry.method.is_empty()
    {
        let mut request = json!({ "method": entry.method });
        let known = [
            ("clientRequestId", &entry.client_request_id),
            ("clientIpAddress", &entry.client_address),
        ];
        for (name, value) in known {
            if let (Some(value), Some(request)) = (value, request.as_object_mut()) {
                request.insert(name.to_owned(), json!(value));
            }
        }
        members.insert("httpRequest".to_owned(), request);
    }
    json
}

/// The name of a status without its spaces, as Azure writes it.
fn status_name(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    reason.unwrap_or_default().replace(' ', "")
}

fn sub_status(event: &ActivityEvent) -> Value {
    match event.phase {
        Phase::Begin => localizable(""),
        Phase::End => {
            let status = event.entry.status;
            let reason =
                StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
            json!({
                "value": status_name(status),
                "localizedValue":
                    format!("{} (HTTP Status Code: {status})", reason.unwrap_or_default()),
            })
        }
    }
}

/// Texts only. Neither what was sent nor what was answered stands here: both can hold secrets.
fn properties(event: &ActivityEvent) -> Value {
    let entry = &event.entry;
    let mut properties = json!({
        "eventCategory": "Administrative",
        "entity": entry.scope,
        "message": entry.action,
    });
    if let (Phase::End, Some(members)) = (event.phase, properties.as_object_mut()) {
        members.insert("statusCode".to_owned(), json!(status_name(entry.status)));
        if let Some(code) = &entry.error_code {
            let message = json!({ "error": { "code": code } }).to_string();
            members.insert("statusMessage".to_owned(), json!(message));
        }
    }
    properties
}

/// A moment with seven digits behind the second, as Azure writes it.
fn timestamp(unix_ms: i64) -> String {
    let seconds = UtcDateTime::from_unix_timestamp(unix_ms.div_euclid(1000)).ok();
    let text = seconds.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
    format!("{}.{:03}0000Z", text.trim_end_matches('Z'), unix_ms.rem_euclid(1000))
}

/// Tenths of microseconds since the first of January of the year 1.
fn ticks(unix_ms: i64) -> i64 {
    const UNIX_EPOCH: i64 = 621_355_968_000_000_000;
    unix_ms.saturating_mul(10_000).saturating_add(UNIX_EPOCH)
}

/// Those that Azure names; keycard's events are all administrative.
async fn list_categories(OwnProof(_): OwnProof) -> Json<Value> {
    let names =
        ["Administrative", "Security", "ServiceHealth", "Alert", "Recommendation", "Policy"];
    Json(json!({ "value": names.map(localizable) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_azures_forms() {
        assert_eq!(timestamp(1_800_000_000_007), "2027-01-15T08:00:00.0070000Z");
        assert_eq!(ticks(0), 621_355_968_000_000_000);
    }

    #[test]
    fn only_members_of_an_event_can_be_selected() {
        let selected = |text| Selection::read(text).map(|it| it.0.join(" "));
        assert_eq!(selected("eventName , STATUS,id"), Ok("eventName status id".to_owned()));
        assert_eq!(selected(""), Ok(String::new()));
        assert!(selected("eventName,secret").is_err());
    }
}
