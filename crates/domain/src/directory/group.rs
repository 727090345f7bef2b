//! Groups of principals, and who is in them. A group may be a member of another.
//!
//! Source: Microsoft Graph, "group resource type"; Azure role-based access control, "Understand role assignments".

use serde::{Deserialize, Serialize};

use crate::ids::{PrincipalId, TenantId};
use crate::records::Record;

/// A group, which roles can be given to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its object id.
    pub id: PrincipalId,
    /// The directory that it belongs to.
    pub tenant_id: TenantId,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The name in its mail address; has to be there, and need not be unique.
    pub mail_nickname: String,
    /// Unix seconds.
    pub created_at: i64,
}

impl Record for Group {
    const KIND: &'static str = "groups";

    fn record_id(&self) -> String {
        self.id.to_string()
    }
}

/// A principal or group that is directly in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// The group.
    pub group: PrincipalId,
    /// Who is in it.
    pub member: PrincipalId,
}

impl Record for GroupMember {
    const KIND: &'static str = "group-members";

    fn record_id(&self) -> String {
        format!("{}/{}", self.group, self.member)
    }
}
