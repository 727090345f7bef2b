//! Request bodies, listings and resource ids, as every type of this face has them.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::Uri;
use keycard_domain::ids::TenantId;
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use keycard_domain::records::json_depth;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::{require_subscription, resource_group};
use keycard_domain::snapshot::Snapshot;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::ArmError;
use crate::request::{Parameters, read_body};
use crate::route::Params;

/// A JSON body, refused in the face's own words.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Response;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Response> {
        let bytes = read_body(request.into_body(), limits::CONTROL_PLANE_BODY_BYTES_MAX)
            .await
            .map_err(|error| ArmError::Body(error).into_response())?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        if json_depth(bytes) > limits::BODY_DEPTH_MAX {
            let reason = "its objects and arrays are nested too deeply".to_owned();
            return Err(ArmError::BodyMalformed(reason).into_response());
        }
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| ArmError::BodyMalformed(error.to_string()).into_response())
    }
}

/// The tenant of the request's token.
pub(super) fn tenant(operation: &OperationContext) -> Result<TenantId, ArmError> {
    operation.principal().map(|principal| principal.tenant_id).ok_or(ArmError::TokenMissing)
}

/// A moment as Resource Manager writes it.
pub(super) fn date(seconds: i64) -> Option<String> {
    UtcDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

/// The resource that the row's path names.
pub(super) fn resource_id(params: &Params) -> Result<ArmResourceId, ArmError> {
    params.canonical_resource().parse().map_err(|_| ArmError::PathMalformed)
}

/// Refuses a listing below a subscription or group that does not exist.
pub(super) fn require_container(snapshot: &Snapshot, params: &Params) -> Result<(), ArmError> {
    let subscription = params.get("subscription").parse().map_err(|_| ArmError::PathMalformed)?;
    match params.get("group") {
        "" => require_subscription(snapshot, subscription).map(drop)?,
        group => resource_group::find(snapshot, subscription, group).map(drop)?,
    }
    Ok(())
}

/// A page of a listing with the link to the next one.
///
/// The items are given with their keys, in whose order they are shown; the skip token is the key of the page's last item.
pub(super) fn page(uri: &Uri, base: &str, mut items: Vec<(String, Value)>) -> Value {
    items.sort_by(|(one, _), (other, _)| one.cmp(other));
    let query = Parameters::of(uri);
    let after = query.non_empty("$skiptoken").unwrap_or_default().to_ascii_lowercase();
    let limit = query
        .non_empty("$top")
        .and_then(|top| top.parse::<usize>().ok())
        .unwrap_or(limits::LIST_PAGE_MAX)
        .clamp(1, limits::LIST_PAGE_MAX);
    let mut rest = items.into_iter().filter(|(key, _)| *key > after);
    let shown: Vec<(String, Value)> = rest.by_ref().take(limit).collect();
    let has_more = rest.next().is_some();
    let next = shown.last().filter(|_| has_more).map(|(key, _)| next_link(uri, base, key));
    let values: Vec<Value> = shown.into_iter().map(|(_, value)| value).collect();
    match next {
        Some(link) => json!({ "value": values, "nextLink": link }),
        None => json!({ "value": values }),
    }
}

/// The address of the page after the one at `uri`. The rest of the query goes along: what the listing was narrowed to, and
/// the api-version.
pub(super) fn next_link(uri: &Uri, base: &str, skip_token: &str) -> String {
    let kept = uri.query().unwrap_or_default().split('&').filter(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        !matches!(Parameters::parse(name), it if it.count("$skiptoken") > 0)
    });
    let token =
        percent_encoding::utf8_percent_encode(skip_token, percent_encoding::NON_ALPHANUMERIC);
    let kept: Vec<&str> = kept.collect();
    format!("{base}{}?{}&$skiptoken={token}", uri.path(), kept.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walking_the_links_yields_each_item_once() {
        let items: Vec<(String, Value)> =
            (0..7).rev().map(|n| (format!("/a b/{n}"), json!(n))).collect();
        let mut uri: Uri = "/list?api-version=2024-01-01&$top=3".parse().unwrap();
        let mut seen = Vec::new();
        loop {
            let page = page(&uri, "https://x", items.clone());
            seen.extend(page["value"].as_array().unwrap().clone());
            match page.get("nextLink") {
                Some(link) => uri = link.as_str().unwrap().parse().unwrap(),
                None => break,
            }
        }
        assert_eq!(seen, (0..7).map(|n| json!(n)).collect::<Vec<_>>());
    }
}
