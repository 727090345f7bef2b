//! Linked access: a request that names other resources can need a right on each of them.
//!
//! Assigning an identity needs `assign/action` on it; defining a role needs `roleDefinitions/write` at each assignable
//! scope. Asked before existence, so that who has no right learns nothing about what there is.
//! Source: Azure Resource Manager, errors of linked authorization.

use super::condition::Attributes;
use super::decision::{Question, decide};
use super::journal::Journal;
use super::{Plane, RbacScope};
use crate::operation::OperationContext;
use crate::snapshot::Snapshot;

/// The linked scopes at which the caller may not do the action. keycard itself may do everything.
pub fn refused(
    journal: &Journal,
    snapshot: &Snapshot,
    operation: &OperationContext,
    action: &'static str,
    linked: impl IntoIterator<Item = RbacScope>,
) -> Vec<RbacScope> {
    let Some(caller) = operation.principal() else { return Vec::new() };
    let attributes = Attributes::of_environment(operation.now);
    let is_refused = |scope: &RbacScope| {
        let question = Question {
            tenant: caller.tenant_id,
            principal: caller.principal_id,
            plane: Plane::Control,
            action,
            scope,
            sub_operation: None,
            attributes: &attributes,
        };
        let is_allowed = decide(snapshot, &question).is_allowed();
        journal.note(operation.request_id, &question, is_allowed);
        !is_allowed
    };
    linked.into_iter().filter(|scope| is_refused(scope)).collect()
}
