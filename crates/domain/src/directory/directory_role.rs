//! Directory roles: who may manage the directory itself, which roles of Azure RBAC say nothing about.
//!
//! Source: Microsoft Entra, "Built-in roles": Global Administrator.

use serde::{Deserialize, Serialize};

use crate::ids::{PrincipalId, TenantId};
use crate::operation::Principal;
use crate::records::Record;
use crate::snapshot::Snapshot;

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
    let wanted = DirectoryRoleAssignment {
        tenant_id: principal.tenant_id,
        principal_id: principal.principal_id,
        role: DirectoryRole::GlobalAdministrator,
    };
    snapshot
        .directory_role_assignments
        .get(&wanted.record_id())
        .is_some_and(|given| given.tenant_id == principal.tenant_id)
}
