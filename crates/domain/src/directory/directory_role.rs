//! Directory roles: who may manage the directory itself, which roles of Azure RBAC say nothing about.
//!
//! Source: Microsoft Entra, "Built-in roles": Global Administrator.

use serde::{Deserialize, Serialize};

use crate::ids::{PrincipalId, RoleAssignmentId, TenantId};
use crate::operation::{OperationContext, Principal};
use crate::rbac::assignment::{self, AssignmentError, NewAssignment};
use crate::rbac::{RbacScope, built_in_roles};
use crate::records::Record;
use crate::snapshot::Snapshot;
use crate::state::State;

/// A role in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectoryRole {
    /// May do everything in the directory, and elevate itself in Resource Manager.
    GlobalAdministrator,
}

/// A principal's role in its directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryRoleAssignment {
    /// The directory.
    pub tenant_id: TenantId,
    /// Whom it is given to.
    pub principal_id: PrincipalId,
    /// Which role.
    pub role: DirectoryRole,
}

impl Record for DirectoryRoleAssignment {
    const KIND: &'static str = "directory-role-assignments";

    fn record_id(&self) -> String {
        format!("{}/{:?}", self.principal_id, self.role)
    }
}

/// Whether the principal may do everything in its directory.
pub fn is_global_administrator(snapshot: &Snapshot, principal: &Principal) -> bool {
    administers(snapshot, principal.tenant_id, principal.principal_id)
}

/// Whether the principal with this id may do everything in the directory.
pub(super) fn administers(
    snapshot: &Snapshot,
    tenant_id: TenantId,
    principal_id: PrincipalId,
) -> bool {
    let role = DirectoryRole::GlobalAdministrator;
    let wanted = DirectoryRoleAssignment { tenant_id, principal_id, role };
    snapshot
        .directory_role_assignments
        .get(&wanted.record_id())
        .is_some_and(|given| given.tenant_id == tenant_id)
}

/// Gives the caller User Access Administrator at the root of its tenant's resources; once given, it stays as it is.
///
/// The caller has to be a Global Administrator: the face's row says so.
/// Source: Azure role-based access control, "Elevate access to manage all Azure subscriptions and management groups".
pub async fn elevate(state: &State, operation: &OperationContext) -> Result<(), AssignmentError> {
    let (Some(caller), Ok(scope)) = (operation.principal(), RbacScope::parse("/")) else {
        return Ok(());
    };
    let new = NewAssignment {
        tenant_id: caller.tenant_id,
        scope,
        id: RoleAssignmentId::new(state.entropy.uuid()),
        principal_id: caller.principal_id,
        principal_type: None,
        role: built_in_roles::USER_ACCESS_ADMINISTRATOR,
        condition: None,
        description: None,
    };
    match assignment::create(state, operation, &new).await {
        Ok(_) | Err(AssignmentError::Exists(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
