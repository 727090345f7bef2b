//! What the embedded host side knows of its resources: the state of this very node.

use std::sync::Arc;

use keycard_domain::compute::Workload;
use keycard_domain::compute::machine::{Machine, Machines};
use keycard_domain::directory::ServicePrincipal;
use keycard_domain::ids::PrincipalId;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::state::State;
use keycard_host_agent::token_source::HostView;

/// The view of a single node.
#[derive(Debug)]
pub(crate) struct LocalHostView {
    pub(crate) state: Arc<State>,
    /// Address of the token service, without a final slash.
    pub(crate) token_service: String,
}

impl HostView for LocalHostView {
    fn workload(&self, id: &ArmResourceId) -> Option<Workload> {
        Workload::find(&self.state.snapshot(), id)
    }

    fn principal(&self, id: PrincipalId) -> Option<Arc<ServicePrincipal>> {
        let snapshot = self.state.snapshot();
        let principal = snapshot.service_principal(id).filter(|principal| principal.is_enabled);
        principal.map(|principal| Arc::clone(&principal.record))
    }

    fn workloads(&self) -> Vec<Workload> {
        Workload::all(&self.state.snapshot()).collect()
    }

    fn token_endpoint(&self, principal: &ServicePrincipal) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.token_service, principal.tenant_id)
    }
}

impl Machines for LocalHostView {
    fn machine(&self, id: &ArmResourceId) -> Option<Machine> {
        Machine::find(&self.state.snapshot(), id)
    }
}
