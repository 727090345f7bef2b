//! Moves of resources to another group: `POST …/resourceGroups/{name}/moveResources`, `…/validateMoveResources`.
//!
//! Done when it is answered. Source: Azure Resource Manager REST API, Resources - Move Resources.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use keycard_domain::operation::OperationContext;
use keycard_domain::rbac::RbacScope;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::relocation::{self, MoveError, MoveRequest, Obstacle};
use serde::Deserialize;
use serde_json::json;

use super::body::{JsonBody, date};
use super::error::ArmError;
use super::{Arm, row};
use crate::route::{Params, Rbac, Route};

pub(super) fn routes() -> Vec<Route<Arm>> {
    vec![
        row(
            Method::POST,
            "/subscriptions/{subscription}/resourceGroups/{group}/moveResources",
            "Microsoft.Resources/subscriptions/resourceGroups/moveResources/action",
            carry_out,
        ),
        row(
            Method::POST,
            "/subscriptions/{subscription}/resourceGroups/{group}/validateMoveResources",
            "Microsoft.Resources/subscriptions/resourceGroups/validateMoveResources/action",
            validate,
        ),
    ]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MoveBody {
    resources: Option<Vec<ArmResourceId>>,
    target_resource_group: Option<String>,
}

impl MoveBody {
    fn read(self, params: &Params) -> Result<MoveRequest, ArmError> {
        let missing =
            |name: &str| ArmError::BodyMalformed(format!("The property '{name}' is required."));
        let target = self.target_resource_group.ok_or_else(|| missing("targetResourceGroup"))?;
        let invalid = || {
            let shown: String = target.chars().take(200).collect();
            ArmError::BodyMalformed(format!("'{shown}' is no id of a resource group."))
        };
        Ok(MoveRequest {
            subscription: params
                .get("subscription")
                .parse()
                .map_err(|_| ArmError::PathMalformed)?,
            group: params.get("group").to_owned(),
            resources: self.resources.ok_or_else(|| missing("resources"))?,
            target: RbacScope::parse(&target).map_err(|_| invalid())?,
        })
    }
}

async fn carry_out(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<MoveBody>,
) -> Result<StatusCode, Response> {
    let request = body.read(&params).map_err(IntoResponse::into_response)?;
    relocation::carry_out(&arm.state, &operation, &request)
        .await
        .map_err(|error| refusal(error, &operation))?;
    // The local endpoints of what moved know it by its new id when this is answered.
    arm.attachments.list().await;
    Ok(StatusCode::NO_CONTENT)
}

async fn validate(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<MoveBody>,
) -> Result<StatusCode, Response> {
    let request = body.read(&params).map_err(IntoResponse::into_response)?;
    relocation::validate(&arm.state, &operation, &request)
        .map_err(|error| refusal(error, &operation))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Each resource that cannot move is named among the details.
fn refusal(error: MoveError, operation: &OperationContext) -> Response {
    let obstacles = match error {
        MoveError::Obstacles(obstacles) => obstacles,
        error @ (MoveError::TargetNotGranted(_)
        | MoveError::TargetInvalid(_)
        | MoveError::ResourceCount(_)
        | MoveError::TargetIsSource
        | MoveError::Resource(_)) => {
            return ArmError::Move { error, operation: Box::new(operation.clone()) }
                .into_response();
        }
    };
    let details: Vec<_> = obstacles
        .iter()
        .map(|(id, obstacle)| {
            let (code, message) = words(id, *obstacle);
            json!({ "code": code, "target": id, "message": message })
        })
        .collect();
    let message = format!(
        "The resource batch move request has '{}' validation errors. Diagnostic information: timestamp '{}', tracking Id '{}', request correlation Id '{}'.",
        obstacles.len(),
        date(operation.now.unix_timestamp()).unwrap_or_default(),
        operation.request_id,
        operation.correlation_id,
    );
    let code = "ResourceMoveValidationFailed";
    let error = json!({ "code": code, "message": message, "details": details });
    (StatusCode::CONFLICT, Json(json!({ "error": error }))).into_response()
}

fn words(id: &ArmResourceId, obstacle: Obstacle) -> (&'static str, String) {
    let kind = id.resource_type();
    match obstacle {
        Obstacle::TypeUnsupported => (
            "ResourceMoveNotSupported",
            format!("Resource move is not supported for resource types '{kind}'."),
        ),
        Obstacle::NotInSource => (
            "ResourceNotInSourceGroup",
            format!(
                "The resource '{id}' is not in the resource group that it is to be moved from."
            ),
        ),
        Obstacle::NotFound => (
            "ResourceNotFound",
            format!(
                "The Resource '{kind}/{}' under resource group '{}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
                id.name(),
                id.resource_group()
            ),
        ),
        Obstacle::TargetTaken => (
            "ResourceExistsInTarget",
            format!("The target has a resource '{kind}/{}' already.", id.name()),
        ),
        Obstacle::Denied => (
            "DenyAssignmentExists",
            format!("A deny assignment is on the resource '{id}', which it would leave."),
        ),
    }
}
