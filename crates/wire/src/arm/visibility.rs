//! What of a listing its caller is shown: all of it with the right to read it at the subscription, else what it may read.
//!
//! Azure answers so at a subscription and in a resource group, where everything else is refused to who has no right.

use keycard_domain::operation::{OperationContext, Principal};
use keycard_domain::rbac::{Attributes, Plane, Question, RbacScope, may};
use keycard_domain::resources::visible_subscriptions;
use keycard_domain::snapshot::Snapshot;

use super::error::{ArmError, Forbidden};
use super::{Arm, front_door};

/// How much the caller is shown.
pub(super) enum Shown {
    All,
    Readable(Principal),
}

/// How much of what a path holds the caller is shown; refuses who has no role at all in the subscription.
pub(super) fn shown(
    arm: &Arm,
    operation: &OperationContext,
    action: &'static str,
    path: &str,
) -> Result<Shown, ArmError> {
    let caller = operation.principal().ok_or(ArmError::TokenMissing)?;
    let scope = RbacScope::parse(path).map_err(|_| ArmError::PathMalformed)?;
    let question = Question {
        tenant: caller.tenant_id,
        principal: caller.principal_id,
        plane: Plane::Control,
        action,
        scope: &scope,
        sub_operation: None,
        attributes: &Attributes::of_environment(operation.now),
    };
    let decision = arm.state.authorize(operation.request_id, &question);
    if decision.is_allowed() {
        return Ok(Shown::All);
    }
    let snapshot = arm.state.snapshot();
    let mut visible = visible_subscriptions(&snapshot, caller).into_iter();
    if visible.any(|subscription| scope.subscription() == Some(subscription.id)) {
        return Ok(Shown::Readable(caller.clone()));
    }
    if let Some(missing) = front_door::missing_subscription(&snapshot, path, caller) {
        return Err(missing);
    }
    Err(ArmError::AuthorizationFailed(Box::new(Forbidden {
        client: caller.client_id,
        object: caller.principal_id,
        action,
        scope: path.to_owned(),
        decision,
    })))
}

impl Shown {
    /// Whether the caller is shown what is at the scope.
    pub(super) fn covers(&self, snapshot: &Snapshot, action: &str, scope: &RbacScope) -> bool {
        match self {
            Self::All => true,
            Self::Readable(caller) => may(snapshot, caller, action, scope),
        }
    }
}
