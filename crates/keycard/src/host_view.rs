//! What the embedded host side knows of its resources: the state of this very node.

use std::sync::Arc;

use keycard_domain::compute::Workload;
use keycard_domain::compute::machine::{Machine, Machines};
use keycard_domain::directory::ServicePrincipal;
use keycard_domain::fault::{self, Fault};
use keycard_domain::ids::PrincipalId;
use keycard_domain::rbac::RbacScope;
use keycard_domain::records::Versioned;
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::state::State;
use keycard_domain::store::Revision;
use keycard_host_agent::faults::FaultView;
use keycard_host_agent::token_source::HostView;

use crate::document_signing::DocumentSigning;
use time::UtcDateTime;

/// The view of a single node.
#[derive(Debug)]
pub(crate) struct LocalHostView {
    pub(crate) state: Arc<State>,
    /// Address of the token service, without a final slash.
    pub(crate) token_service: String,
    /// Signs what the machines tell of themselves.
    pub(crate) signing: Arc<DocumentSigning>,
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

    fn sign_document(&self, content: &[u8]) -> Option<Vec<u8>> {
        self.signing.sign(content)
    }
}

impl FaultView for LocalHostView {
    fn faults(&self, workload: &ArmResourceId, now: UtcDateTime) -> Vec<Versioned<Fault>> {
        let scope = RbacScope::from(workload);
        fault::holding(&self.state.snapshot(), &scope, now).cloned().collect()
    }

    fn revision(&self, record_id: &str) -> Option<Revision> {
        self.state.snapshot().faults.get(record_id).map(|fault| fault.revision)
    }
}
