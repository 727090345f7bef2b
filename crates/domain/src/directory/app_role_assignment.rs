//! App roles that were given: who may call an application as what.
//!
//! Source: Microsoft Graph, "appRoleAssignment resource type".

use serde::{Deserialize, Serialize};

use crate::ids::{AppRoleAssignmentId, AppRoleId, PrincipalId, TenantId};
use crate::records::Record;

/// Gives a principal or group a role of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRoleAssignment {
    /// Its id.
    pub id: AppRoleAssignmentId,
    /// The directory that it belongs to.
    pub tenant_id: TenantId,
    /// Whom the role is given to.
    pub principal_id: PrincipalId,
    /// The service principal of the application that defines the role.
    pub resource_id: PrincipalId,
    /// The role; all zeros for the default access that has no role.
    pub app_role_id: AppRoleId,
    /// Unix seconds.
    pub created_at: i64,
}

impl Record for AppRoleAssignment {
    const KIND: &'static str = "app-role-assignments";

    fn record_id(&self) -> String {
        format!("{}/{}", self.principal_id, self.id)
    }
}
