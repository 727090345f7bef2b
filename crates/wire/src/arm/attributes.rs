//! What conditions may ask about a request to Resource Manager.
//!
//! Source: Azure role-based access control, "Authorization actions and attributes": delegated role assignments.

use super::Arm;
use super::role_assignments::{self, PutBody};
use crate::request::read_body;
use crate::route::Params;
use axum::body::Body;
use keycard_domain::ids::{PrincipalId, RoleDefinitionId};
use keycard_domain::limits;
use keycard_domain::operation::Principal;
use keycard_domain::rbac::assignment::{self, PrincipalType};
use keycard_domain::rbac::condition::AttributeValues;
use keycard_domain::rbac::{AttributeSource, Attributes};

const ROLE: &str = "Microsoft.Authorization/roleAssignments:RoleDefinitionId";
const PRINCIPAL: &str = "Microsoft.Authorization/roleAssignments:PrincipalId";
const PRINCIPAL_TYPE: &str = "Microsoft.Authorization/roleAssignments:PrincipalType";

/// What the request itself says, where conditions can ask about it: role assignments that are written or deleted.
///
/// The body is read and put back. What cannot be read says nothing, and a condition that asks for it refuses.
pub(super) async fn of_request(
    arm: &Arm,
    caller: &Principal,
    action: &str,
    params: &Params,
    body: &mut Body,
    mut attributes: Attributes,
) -> Attributes {
    if !matches!(action, role_assignments::WRITE | role_assignments::DELETE) {
        return attributes;
    }
    let snapshot = arm.state.snapshot_to_keep();
    let mut present = None;
    if let (Ok(scope), Ok(name)) = (role_assignments::scope(params), role_assignments::name(params))
        && let Some(existing) = assignment::find(&snapshot, caller.tenant_id, &scope, name)
    {
        present = Some(existing.principal_type);
        let source = AttributeSource::Resource;
        describe(&mut attributes, source, existing.role, existing.principal_id, present);
    }
    if action == role_assignments::WRITE
        && let Some(PutBody { properties }) = read(body).await
        && let Ok(role) = role_assignments::role_id(&properties.role_definition_id)
    {
        // Differs from Azure: what the request claims of a principal that the directory does not know is no attribute.
        // The id of a principal to come can be guessed, and a claim would pass for what it is not.
        let known =
            assignment::type_in_directory(&snapshot, caller.tenant_id, properties.principal_id);
        let kind = present.or(known);
        let source = AttributeSource::Request;
        describe(&mut attributes, source, role, properties.principal_id, kind);
    }
    attributes
}

async fn read(body: &mut Body) -> Option<PutBody> {
    let unread = std::mem::take(body);
    let bytes = read_body(unread, limits::CONTROL_PLANE_BODY_BYTES_MAX).await.ok()?;
    let read = serde_json::from_slice(&bytes).ok();
    *body = Body::from(bytes);
    read
}

fn describe(
    attributes: &mut Attributes,
    source: AttributeSource,
    role: RoleDefinitionId,
    principal: PrincipalId,
    kind: Option<PrincipalType>,
) {
    attributes.set(source, ROLE, AttributeValues::Guids(vec![*role.as_uuid()]));
    attributes.set(source, PRINCIPAL, AttributeValues::Guids(vec![*principal.as_uuid()]));
    if let Some(kind) = kind {
        let name = AttributeValues::Strings(vec![kind.as_str().to_owned()]);
        attributes.set(source, PRINCIPAL_TYPE, name);
    }
}
