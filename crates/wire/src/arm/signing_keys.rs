//! The token-signing keys of the caller's tenant: a provider of keycard's own, since Azure has none. `keycard signing-key` talks
//! to it. Only public halves and dates are shown.

use axum::Json;
use axum::extract::State;
use http::Method;
use keycard_domain::ids::TenantId;
use keycard_domain::token::signing_key::{self, KeyPhase, SigningKeyRing};
use serde::Deserialize;
use serde_json::{Value, json};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;

use super::Arm;
use super::body::{JsonBody, tenant};
use super::error::ArmError;
use crate::route::{Access, Directory, Route, Unread, route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let keys = "/providers/Keycard.Local/signingKeys";
    let rotation = "/providers/Keycard.Local/rotateSigningKey";
    let revocation = "/providers/Keycard.Local/revokeSigningKey";
    let may_read = Access::Directory("Keycard.Local/signingKeys/read");
    let may_rotate = Access::Directory("Keycard.Local/signingKeys/rotate/action");
    let may_revoke = Access::Directory("Keycard.Local/signingKeys/revoke/action");
    vec![
        route(Method::GET, keys, may_read, list),
        route(Method::POST, rotation, may_rotate, rotate),
        route(Method::POST, revocation, may_revoke, revoke),
    ]
}

const fn phase(phase: KeyPhase) -> &'static str {
    match phase {
        KeyPhase::Published => "published",
        KeyPhase::Active => "active",
        KeyPhase::Retired => "retired",
    }
}

fn date(seconds: i64) -> Option<String> {
    UtcDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

fn ring_json(ring: Option<&SigningKeyRing>, now: UtcDateTime) -> Json<Value> {
    let keys = ring.into_iter().flat_map(|ring| ring.keys.iter().map(move |key| (ring, key)));
    let items: Vec<Value> = keys
        .map(|(ring, key)| {
            json!({
                "keyId": key.key_id,
                "phase": phase(ring.phase(key, now)),
                "createdAt": date(key.created_at),
                "signsFrom": date(key.signs_from),
            })
        })
        .collect();
    Json(json!({ "value": items }))
}

/// The keys as they are after what was done.
fn present(arm: &Arm, tenant: TenantId) -> Json<Value> {
    ring_json(signing_key::ring(&arm.state.snapshot(), tenant), arm.state.clock.now())
}

async fn list(
    Directory(operation): Directory,
    State(arm): State<Arm>,
) -> Result<Json<Value>, ArmError> {
    Ok(present(&arm, tenant(&operation)?))
}

async fn rotate(
    Directory(operation): Directory,
    State(arm): State<Arm>,
    _: Unread,
) -> Result<Json<Value>, ArmError> {
    let tenant = tenant(&operation)?;
    signing_key::rotate(&arm.state, &operation, tenant).await?;
    Ok(present(&arm, tenant))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RevokeBody {
    key_id: String,
}

async fn revoke(
    Directory(operation): Directory,
    State(arm): State<Arm>,
    JsonBody(body): JsonBody<RevokeBody>,
) -> Result<Json<Value>, ArmError> {
    let tenant = tenant(&operation)?;
    signing_key::revoke(&arm.state, &operation, tenant, &body.key_id).await?;
    Ok(present(&arm, tenant))
}
