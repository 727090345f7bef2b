//! Who asks, in which request, at what time: the first parameter of every operation.

use std::sync::Arc;

use time::UtcDateTime;
use uuid::Uuid;

use crate::audit::activity::Activity;
use crate::ids::{ClientId, PrincipalId, TenantId};
use crate::resource_id::ArmResourceId;
use crate::target::Target;

/// A service principal whose token was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The claim `tid`.
    pub tenant_id: TenantId,
    /// The claim `oid`.
    pub principal_id: PrincipalId,
    /// The claim `appid`.
    pub client_id: ClientId,
    /// The claim `iss`, as verified.
    pub issuer: String,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody that could be recognised.
    Anonymous,
    /// The holder of a verified token.
    Principal(Principal),
    /// A workload at the local endpoint of a compute resource.
    Workload(ArmResourceId),
    /// keycard itself: bootstrap and upkeep.
    System,
}

/// Who asks, in which request, at what time. The face makes it once; the whole operation sees this `now`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationContext {
    /// Who asks.
    pub caller: Caller,
    /// The moment of the request.
    pub now: UtcDateTime,
    /// Names this request in answers and logs.
    pub request_id: Uuid,
    /// Follows the request through everything it causes.
    pub correlation_id: Uuid,
    /// What is done, as a role's `actions` name it; empty where no role decides.
    pub action: &'static str,
    /// Where it is done: a path in Resource Manager's form, empty where no role decides.
    pub scope: String,
    /// The record that the request's path names, where its versions count.
    pub target: Option<Arc<Target>>,
    /// What the request leaves in the activity log, where it may change something.
    pub activity: Option<Arc<Activity>>,
}

impl OperationContext {
    /// The context of keycard's own work.
    pub fn system(now: UtcDateTime, id: Uuid) -> Self {
        Self {
            caller: Caller::System,
            now,
            request_id: id,
            correlation_id: id,
            action: "",
            scope: String::new(),
            target: None,
            activity: None,
        }
    }

    /// The principal that asks, when one was recognised.
    pub fn principal(&self) -> Option<&Principal> {
        match &self.caller {
            Caller::Principal(principal) => Some(principal),
            Caller::Anonymous | Caller::Workload(_) | Caller::System => None,
        }
    }

    /// The resource whose workload asks, at its local endpoint.
    pub const fn workload(&self) -> Option<&ArmResourceId> {
        match &self.caller {
            Caller::Workload(resource) => Some(resource),
            Caller::Anonymous | Caller::Principal(_) | Caller::System => None,
        }
    }
}
