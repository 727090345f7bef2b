//! Service principals and applications that were deleted: kept for a while to be seen, and restored where that is possible.
//!
//! Source: Microsoft Graph, "List deletedItems (directory objects)".

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Application, ServicePrincipal};
use crate::ids::TenantId;
use crate::records::Record;

/// An object that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedObject {
    /// Unix seconds.
    pub deleted_at: i64,
    /// What it was.
    pub object: FormerObject,
}

/// An object as it was when it was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FormerObject {
    /// A service principal.
    ServicePrincipal(ServicePrincipal),
    /// An application.
    Application(Application),
}

impl FormerObject {
    /// The object's id.
    pub fn id(&self) -> Uuid {
        match self {
            Self::ServicePrincipal(principal) => *principal.id.as_uuid(),
            Self::Application(application) => *application.id.as_uuid(),
        }
    }

    /// The directory that it belonged to.
    pub fn tenant_id(&self) -> TenantId {
        match self {
            Self::ServicePrincipal(principal) => principal.tenant_id,
            Self::Application(application) => application.tenant_id,
        }
    }
}

impl Record for DeletedObject {
    const KIND: &'static str = "deleted-objects";

    fn record_id(&self) -> String {
        self.object.id().to_string()
    }
}
