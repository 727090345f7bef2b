//! Management groups: a tree above the subscriptions of a tenant, whose root bears the tenant's id.
//!
//! Source: Azure management groups, "What are Azure management groups?"; Microsoft.Management REST API.

use serde::{Deserialize, Serialize};

use crate::ids::TenantId;
use crate::limits;
use crate::rbac::RbacScope;
use crate::records::Record;
use crate::snapshot::Snapshot;

/// A management group below the tenant's root group. The root group itself is always there and has no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagementGroup {
    /// The directory that it belongs to.
    pub tenant_id: TenantId,
    /// Its id, as it was written; unique whatever the case.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// The group above, in lower case; `None` for the tenant's root group.
    pub parent: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
}

impl Record for ManagementGroup {
    const KIND: &'static str = "management-groups";

    fn record_id(&self) -> String {
        self.name.to_ascii_lowercase()
    }
}

/// The path of the management group with this name.
pub fn path(name: &str) -> String {
    format!("/providers/Microsoft.Management/managementGroups/{name}")
}

/// The groups from a group's parent up to the tenant's root group, which comes first. A parent that is missing, or of
/// another tenant, or a line longer than allowed, ends at the root group.
pub fn scopes_above(snapshot: &Snapshot, tenant: TenantId, parent: Option<&str>) -> Vec<RbacScope> {
    let mut above = Vec::new();
    let mut next = parent;
    while let Some(name) = next.filter(|_| above.len() < limits::MANAGEMENT_GROUP_DEPTH_MAX) {
        let group = snapshot.management_groups.get(name);
        let Some(group) = group.filter(|group| group.tenant_id == tenant) else { break };
        above.extend(scope(&group.name));
        next = group.parent.as_deref();
    }
    above.extend(scope(&tenant.to_string()));
    above.reverse();
    above
}

/// Whether the name is the tenant's root group.
pub fn is_root(tenant: TenantId, name: &str) -> bool {
    name.eq_ignore_ascii_case(&tenant.to_string())
}

/// The scope of a management group.
pub fn scope(name: &str) -> Option<RbacScope> {
    RbacScope::parse(&path(name)).ok()
}
