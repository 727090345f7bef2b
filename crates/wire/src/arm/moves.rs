//! Moves of resources to another group: `POST …/resourceGroups/{name}/moveResources`, `…/validateMoveResources`.
//!
//! Done when it is answered. Source: Azure Resource Manager REST API, Resources - Move Resources.

use axum::extract::State;
use http::{Method, StatusCode};
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use keycard_domain::rbac::RbacScope;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::relocation::{self, MoveError, MoveRequest};
use serde::Deserialize;

use super::body::JsonBody;
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
            let shown: String = target.chars().take(limits::VALUE_SHOWN_CHARS_MAX).collect();
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
) -> Result<StatusCode, ArmError> {
    let request = body.read(&params)?;
    let moved = relocation::carry_out(&arm.state, &operation, &request).await;
    moved.map_err(|error| refused(error, operation))?;
    // The local endpoints of what moved know it by its new id when this is answered.
    arm.attachments.list().await;
    Ok(StatusCode::NO_CONTENT)
}

async fn validate(
    Rbac(operation): Rbac,
    State(arm): State<Arm>,
    params: Params,
    JsonBody(body): JsonBody<MoveBody>,
) -> Result<StatusCode, ArmError> {
    let request = body.read(&params)?;
    let possible = relocation::validate(&arm.state, &operation, &request);
    possible.map_err(|error| refused(error, operation))?;
    Ok(StatusCode::NO_CONTENT)
}

fn refused(error: MoveError, operation: OperationContext) -> ArmError {
    ArmError::Move { error, operation: Box::new(operation) }
}
