//! What a move of resources is refused for: as a whole, and each of them.
//!
//! Source: Azure Resource Manager, "Troubleshoot moving Azure resources"; observed errors of validations.

use http::StatusCode;
use keycard_domain::limits;
use keycard_domain::operation::OperationContext;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::resources::relocation::{MoveError, Obstacle, TARGET_ACTION};
use serde_json::{Value, json};

use super::super::body::date;
use super::authorization::linked_authorization_failed;
use super::resource::{resource, resource_not_found};
use super::{Answer, BAD};

/// Nothing moves.
pub(super) fn relocation(error: &MoveError, operation: &OperationContext) -> Answer {
    match error {
        MoveError::TargetNotGranted(target) => {
            let linked = std::slice::from_ref(target);
            linked_authorization_failed(TARGET_ACTION, linked, &operation.scope, operation)
        }
        MoveError::TargetInvalid(target) => Answer(
            BAD,
            "InvalidRequestContent",
            format!("'{target}' is no id of a resource group."),
        ),
        MoveError::ResourceCount(count) => Answer(
            BAD,
            "InvalidRequestContent",
            format!(
                "A request moves 1 to {} resources, not {count}.",
                limits::RESOURCES_PER_MOVE_MAX
            ),
        ),
        MoveError::TargetIsSource => Answer(
            StatusCode::CONFLICT,
            "ResourceMoveValidationFailed",
            "The source and the target resource group of a move have to be different.".to_owned(),
        ),
        MoveError::Obstacles(obstacles) => Answer(
            StatusCode::CONFLICT,
            "ResourceMoveValidationFailed",
            format!(
                "The resource batch move request has '{}' validation errors. Diagnostic information: timestamp '{}', tracking Id '{}', request correlation Id '{}'.",
                obstacles.len(),
                date(operation.now.unix_timestamp()).unwrap_or_default(),
                operation.request_id,
                operation.correlation_id,
            ),
        ),
        MoveError::Resource(error) => resource(error),
    }
}

/// Each resource that cannot move, and why, where that is the reason.
pub(super) fn details(error: &MoveError) -> Option<Value> {
    let MoveError::Obstacles(obstacles) = error else { return None };
    let detail = |(id, obstacle): &(ArmResourceId, Obstacle)| {
        let (code, message) = words(id, *obstacle);
        json!({ "code": code, "target": id, "message": message })
    };
    Some(obstacles.iter().map(detail).collect())
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
        Obstacle::NotFound => {
            let Answer(_, code, message) = resource_not_found(id);
            (code, message)
        }
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
