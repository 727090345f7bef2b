//! The clock of a server for development and tests: a provider of keycard's own. `keycard clock advance` talks to it.

use axum::Json;
use axum::extract::State;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use time::Duration;
use time::format_description::well_known::Rfc3339;

use super::Arm;
use super::body::JsonBody;
use super::error::ArmError;
use crate::route::{Access, Directory, Route, route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    let path = "/providers/Keycard.Local/advanceClock";
    vec![route(
        Method::POST,
        path,
        Access::Directory("Keycard.Local/clock/advance/action"),
        advance,
    )]
}

#[derive(Deserialize)]
struct AdvanceBody {
    seconds: i64,
}

async fn advance(
    Directory(_): Directory,
    State(arm): State<Arm>,
    JsonBody(body): JsonBody<AdvanceBody>,
) -> Result<Json<Value>, ArmError> {
    let control = arm.clock_control.ok_or(ArmError::Unsupported("a clock that is turned"))?;
    let now = control.advance(Duration::seconds(body.seconds)).await?;
    Ok(Json(json!({ "now": now.format(&Rfc3339).ok() })))
}
