//! Certificates for keys that a workload made itself. A token that is asked for with one is bound to it: without the key
//! it is of no use.
//!
//! Nothing is kept of them: each says whose identity it is of, on which resource, and until when. Source: RFC 8705; observed
//! requests of MSAL.

use std::sync::Arc;

use keycard_crypto::bound_certificate::{BindingRequest, BoundCertificate};
use time::UtcDateTime;

use super::enrolment::{EnrolmentError, IdentityNames, find_identity, open_authority};
use crate::compute::machine::Machine;
use crate::compute::{PowerState, Workload};
use crate::directory::{ServicePrincipal, Tenant, lookup};
use crate::limits;
use crate::operation::OperationContext;
use crate::resource_id::ArmResourceId;
use crate::resources::relocation;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::token::source::{Selector, TokenError};
use crate::token::verify::has_since;

/// Security types of the machines that keys are bound on: those that have a place of their own for a key.
const SECURITY_TYPES: &[&str] = &["TrustedLaunch", "ConfidentialVM"];

/// Whether keys are bound on the machine.
pub fn is_offered(machine: &Machine) -> bool {
    let said = machine.property("/securityProfile/securityType");
    let said = said.and_then(serde_json::Value::as_str).unwrap_or_default();
    SECURITY_TYPES.iter().any(|known| known.eq_ignore_ascii_case(said))
}

/// Where a client goes with its key, each address without a final slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingAddresses {
    /// The token service, under the name at which it asks for certificates.
    pub token_service: String,
    /// Where a key would be attested.
    pub attestation: String,
}

/// An identity of a machine, with what a certificate says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundIdentity {
    /// Its names.
    pub names: IdentityNames,
    /// Whether it is the machine's own.
    pub is_system_assigned: bool,
}

/// Issues certificates for keys: in process on a single node.
pub trait KeyBinding: std::fmt::Debug + Send + Sync + 'static {
    /// Where a client goes with its key.
    fn addresses(&self) -> &BindingAddresses;

    /// The machine's identity that a selector means.
    fn identity(&self, machine: &Machine, selector: &Selector)
    -> Result<BoundIdentity, TokenError>;

    /// A certificate for the request's key, DER.
    fn issue(
        &self,
        operation: &OperationContext,
        machine: &Machine,
        identity: IdentityNames,
        request: &BindingRequest,
    ) -> Result<Vec<u8>, EnrolmentError>;
}

/// Issues from the state of this very node.
#[derive(Debug)]
pub struct LocalKeyBinding {
    /// The state.
    pub state: Arc<State>,
    /// Where clients go.
    pub addresses: BindingAddresses,
}

impl KeyBinding for LocalKeyBinding {
    fn addresses(&self) -> &BindingAddresses {
        &self.addresses
    }

    fn identity(
        &self,
        machine: &Machine,
        selector: &Selector,
    ) -> Result<BoundIdentity, TokenError> {
        let bearer = &machine.workload.bearer;
        let found = lookup::find(bearer, selector, lookup::DefaultRule::OnlyUserAssigned)?;
        let snapshot = self.state.snapshot();
        let principal = lookup::live_principal(&snapshot, found)?;
        let own = bearer.identity.system_assigned.as_ref();
        Ok(BoundIdentity {
            names: IdentityNames {
                tenant_id: principal.tenant_id,
                principal_id: principal.id,
                client_id: principal.client_id,
            },
            is_system_assigned: own.is_some_and(|own| own.principal_id == principal.id),
        })
    }

    fn issue(
        &self,
        operation: &OperationContext,
        machine: &Machine,
        identity: IdentityNames,
        request: &BindingRequest,
    ) -> Result<Vec<u8>, EnrolmentError> {
        let (snapshot, resource) = (self.state.snapshot(), &machine.workload.id);
        let principal = find_identity(&snapshot, resource, identity.principal_id)?;
        let tenant =
            snapshot.tenant(principal.tenant_id).ok_or(EnrolmentError::AuthorityUnusable)?;
        let authority = open_authority(&self.state, tenant)?;
        let mut serial = [0; 16];
        self.state.entropy.fill(&mut serial);
        let (from, until) = (operation.now, operation.now + limits::BOUND_CERTIFICATE_VALIDITY);
        authority
            .issue_bound_certificate(
                request,
                (&principal.client_id.to_string(), &principal.tenant_id.to_string()),
                resource.as_str(),
                (from.into(), until.into()),
                serial,
            )
            .map_err(|error| EnrolmentError::RequestInvalid(error.to_string()))
    }
}

/// Why a presented certificate proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    /// It is not one that the tenant issued for binding keys.
    #[error("it was not issued by the tenant for this use")]
    Foreign,
    /// It is another client's.
    #[error("it is another client's")]
    OtherClient,
    /// It is over, or not valid yet.
    #[error("it is not within its valid time")]
    OutsideValidity,
    /// The identity was taken from the resource since, or the resource is gone or does not run.
    #[error("the identity is not on its running resource any more")]
    Unassigned,
}

/// A certificate that a client proved to hold the key of, and what tokens are bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate {
    /// The resource on which it was issued.
    pub resource: ArmResourceId,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// When it was issued, Unix seconds.
    issued_at: i64,
    /// When it ends, Unix seconds.
    ends_at: i64,
}

/// What a presented certificate (DER) proves for a client of the tenant.
pub(crate) fn verify(
    snapshot: &Snapshot,
    tenant: &Tenant,
    principal: &ServicePrincipal,
    der: &[u8],
    now: UtcDateTime,
) -> Result<VerifiedCertificate, CertificateRefusal> {
    let read = BoundCertificate::read(der, &tenant.identity_authority_certificate)
        .map_err(|_| CertificateRefusal::Foreign)?;
    let is_of_tenant = read.tenant_id == tenant.id.to_string();
    if !is_of_tenant || read.client_id != principal.client_id.to_string() {
        return Err(CertificateRefusal::OtherClient);
    }
    let verified = VerifiedCertificate {
        resource: read.resource.parse().map_err(|_| CertificateRefusal::Foreign)?,
        sha256: read.sha256,
        issued_at: read.not_before.unix_timestamp(),
        ends_at: read.not_after.unix_timestamp(),
    };
    verified.check(snapshot, principal, now).map(|()| verified)
}

impl VerifiedCertificate {
    /// Whether the certificate still counts: its time, and that the identity is where it was issued, by the same assignment,
    /// on something that runs.
    pub(crate) fn check(
        &self,
        snapshot: &Snapshot,
        principal: &ServicePrincipal,
        now: UtcDateTime,
    ) -> Result<(), CertificateRefusal> {
        if !(self.issued_at..self.ends_at).contains(&now.unix_timestamp()) {
            return Err(CertificateRefusal::OutsideValidity);
        }
        let is_running = |place: &ArmResourceId| {
            Workload::find(snapshot, place)
                .is_some_and(|workload| workload.power_state == PowerState::Running)
        };
        // What moved since is the same workload.
        let is_held = relocation::places_since(snapshot, &self.resource).any(|place| {
            is_running(&place) && has_since(snapshot, &place, principal.id, self.issued_at)
        });
        if is_held { Ok(()) } else { Err(CertificateRefusal::Unassigned) }
    }
}
