//! Enrolment: a host asks for a certificate for an identity that its resource has.

use async_trait::async_trait;
use keycard_crypto::seal::SealingKey;
use keycard_crypto::signing_key::PublicKey;
use keycard_crypto::x509::CertificateAuthority;
use time::UtcDateTime;

use super::{IdentityCredential, credentials_of};
use crate::compute::Workload;
use crate::directory::lookup::{self, Found};
use crate::directory::{ServicePrincipal, Tenant};
use crate::ids::{ClientId, PrincipalId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;
use crate::state::{State, WriteError};

/// What a host sends.
#[derive(Clone, Debug)]
pub struct EnrolmentRequest {
    /// The resource that the host runs.
    pub resource: ArmResourceId,
    /// The identity.
    pub principal_id: PrincipalId,
    /// A PKCS#10 request, DER: subject CN = client id, DC = tenant id, a P-256 key.
    pub certificate_request: Vec<u8>,
    /// SHA-256 of the certificate that the host signs with until this one is there.
    pub in_use: Option<[u8; 32]>,
}

/// What a host gets.
#[derive(Clone, Debug)]
pub struct IssuedCredential {
    /// SHA-256 of the certificate, for `x5t#S256`.
    pub sha256: [u8; 32],
    /// When the certificate becomes valid.
    pub not_before: UtcDateTime,
    /// When it ends.
    pub not_after: UtcDateTime,
}

/// What a host has to know of an identity to ask for its certificate and sign with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityNames {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The service principal.
    pub principal_id: PrincipalId,
    /// The client id.
    pub client_id: ClientId,
}

/// Why no certificate is issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentError {
    /// The resource does not have this identity, or the identity is no more.
    #[error("the resource has no such identity")]
    IdentityNotFound,
    /// The request is not what was asked for.
    #[error("the certificate request is refused: {0}")]
    RequestInvalid(String),
    /// The tenant's authority cannot be used.
    #[error("the tenant's certificate authority cannot be used")]
    AuthorityUnusable,
    /// The credential could not be recorded.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The way a host gets certificates: in process on a single node, over the network for a fleet.
#[async_trait]
pub trait Enrolment: std::fmt::Debug + Send + Sync + 'static {
    /// Issues a certificate for the request.
    async fn enrol(&self, request: EnrolmentRequest) -> Result<IssuedCredential, EnrolmentError>;
}

/// Enrolment at the state of this very node.
#[derive(Debug)]
pub struct LocalEnrolment(pub std::sync::Arc<State>);

#[async_trait]
impl Enrolment for LocalEnrolment {
    async fn enrol(&self, request: EnrolmentRequest) -> Result<IssuedCredential, EnrolmentError> {
        let operation = OperationContext::system(self.0.clock.now(), self.0.entropy.uuid());
        enrol(&self.0, &operation, &request).await
    }
}

/// Verifies the request, issues the certificate and records its public key.
pub async fn enrol(
    state: &State,
    operation: &OperationContext,
    request: &EnrolmentRequest,
) -> Result<IssuedCredential, EnrolmentError> {
    let credential = issue(state, &state.snapshot(), operation, request)?;
    let issued = IssuedCredential {
        sha256: credential.sha256,
        not_before: timestamp(credential.not_before),
        not_after: timestamp(credential.not_after),
    };
    state
        .transact(operation, |snapshot, changes| {
            find_identity(snapshot, &request.resource, request.principal_id)?;
            for outlived in outlived(snapshot, request) {
                changes.delete(snapshot, outlived);
            }
            changes.put(snapshot, &credential);
            Ok::<_, EnrolmentError>(())
        })
        .await?;
    Ok(issued)
}

/// The credentials that a new one takes the place of: all but the one that the host signs with, or the newest.
///
/// A host that never hears of its renewals asks again and again. What it goes on signing with has to stay.
fn outlived<'a>(
    snapshot: &'a Snapshot,
    request: &EnrolmentRequest,
) -> impl Iterator<Item = &'a IdentityCredential> {
    let mut former: Vec<&IdentityCredential> = credentials_of(snapshot, request.principal_id)
        .map(|credential| credential.record.as_ref())
        .filter(|former| former.resource == request.resource)
        .collect();
    let is_in_use = |credential: &IdentityCredential| Some(credential.sha256) == request.in_use;
    former.sort_by_key(|former| (!is_in_use(former), std::cmp::Reverse(former.not_before)));
    former.into_iter().skip(limits::CREDENTIALS_PER_ATTACHMENT_MAX - 1)
}

fn timestamp(seconds: i64) -> UtcDateTime {
    UtcDateTime::from_unix_timestamp(seconds).unwrap_or(UtcDateTime::UNIX_EPOCH)
}

/// The identity's principal, if it lives and the workload has it.
pub(super) fn find_identity<'a>(
    snapshot: &'a Snapshot,
    resource: &ArmResourceId,
    principal_id: PrincipalId,
) -> Result<&'a ServicePrincipal, EnrolmentError> {
    let workload = Workload::find(snapshot, resource).ok_or(EnrolmentError::IdentityNotFound)?;
    let has_it = workload.has_identity(principal_id);
    let principal =
        snapshot.service_principal(principal_id).ok_or(EnrolmentError::IdentityNotFound)?;
    let found = Found { principal_id: principal.id, client_id: principal.client_id };
    lookup::live_principal(snapshot, found).map_err(|_| EnrolmentError::IdentityNotFound)?;
    if has_it { Ok(principal) } else { Err(EnrolmentError::IdentityNotFound) }
}

fn issue(
    state: &State,
    snapshot: &Snapshot,
    operation: &OperationContext,
    request: &EnrolmentRequest,
) -> Result<IdentityCredential, EnrolmentError> {
    let principal = find_identity(snapshot, &request.resource, request.principal_id)?;
    let tenant = snapshot.tenant(principal.tenant_id).ok_or(EnrolmentError::AuthorityUnusable)?;
    let authority = open_authority(state, tenant)?;
    let mut serial = [0; 16];
    state.entropy.fill(&mut serial);
    let not_before = operation.now;
    let not_after = not_before + limits::CREDENTIAL_VALIDITY;
    let certificate = authority
        .issue_identity_credential(
            &request.certificate_request,
            &principal.client_id.to_string(),
            &principal.tenant_id.to_string(),
            not_before.into(),
            not_after.into(),
            serial,
        )
        .map_err(|error| EnrolmentError::RequestInvalid(error.to_string()))?;
    let PublicKey::EcP256 { point } = certificate.public_key else {
        return Err(EnrolmentError::RequestInvalid("the key is not P-256".to_owned()));
    };
    Ok(IdentityCredential {
        principal_id: principal.id,
        resource: request.resource.clone(),
        public_point: point,
        sha1: certificate.sha1,
        sha256: certificate.sha256,
        not_before: not_before.unix_timestamp(),
        not_after: not_after.unix_timestamp(),
    })
}

pub(super) fn open_authority(
    state: &State,
    tenant: &Tenant,
) -> Result<CertificateAuthority, EnrolmentError> {
    let sealing_key: SealingKey = Tenant::sealing_key(&state.master_key, tenant.id);
    let key = sealing_key
        .open(&Tenant::identity_authority_place(tenant.id), &tenant.identity_authority_key_sealed)
        .map_err(|_| EnrolmentError::AuthorityUnusable)?;
    CertificateAuthority::from_parts(&tenant.identity_authority_certificate, &key)
        .map_err(|_| EnrolmentError::AuthorityUnusable)
}
