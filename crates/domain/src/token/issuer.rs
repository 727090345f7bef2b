//! The issuer: find the client, check its proof, make the claims, sign, record. The one way to mint a token.

use std::sync::Arc;

use async_trait::async_trait;
use keycard_crypto::encoding;
use keycard_crypto::jwt;
use keycard_crypto::secret::Secret;
use keycard_crypto::signing_pool::SigningPool;
use serde::Serialize;

use super::audience::Audiences;
use super::claims::{Facts, ProofKind, claims};
use super::client_assertion;
use super::federation::{self, IssuerKeys};
use super::grant::{ClientProof, GrantError, GrantRequest, GrantedToken, TokenService};
use super::signing_key::{self, OpenKeys, SigningKeyRecord};
use super::throttle::Throttle;
use crate::audit::{self, AuditRecord, SignIn};
use crate::directory::application::SecretCheck;
use crate::directory::{ServicePrincipal, Tenant};
use crate::ids::{ClientId, FederatedCredentialId, TenantId};
use crate::limits;
use crate::operation::OperationContext;
use crate::records::Versioned;
use crate::resource_id::ArmResourceId;
use crate::snapshot::Snapshot;
use crate::state::State;

/// Mints tokens from the state of this node.
#[derive(Debug)]
pub struct Issuer {
    state: Arc<State>,
    signers: Arc<SigningPool>,
    audiences: Audiences,
    token_services: Vec<String>,
    issuer_keys: Arc<dyn IssuerKeys>,
    keys: OpenKeys,
    throttles: arc_swap::ArcSwap<std::collections::BTreeMap<TenantId, Arc<Throttle>>>,
}

/// A client that proved itself.
struct Proven<'a> {
    principal: &'a ServicePrincipal,
    proof: ProofKind,
    credential_sha256: Option<[u8; 32]>,
    federated_credential: Option<FederatedCredentialId>,
    origin: Option<ArmResourceId>,
}

/// The header of a v1 token.
#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    x5t: &'a str,
    kid: &'a str,
}

#[async_trait]
impl TokenService for Issuer {
    async fn grant(
        &self,
        operation: &OperationContext,
        request: GrantRequest,
    ) -> Result<GrantedToken, GrantError> {
        let mut sign_in = SignIn {
            time_unix_ms: audit::unix_ms(operation.now),
            correlation_id: operation.correlation_id.to_string(),
            tenant_id: request.tenant.to_string(),
            app_id: shortened(&request.client_id),
            service_principal_id: None,
            resource_identity: shortened(&request.resource),
            result_type: "0".to_owned(),
            result_description: None,
            service_principal_credential_thumbprint: None,
            federated_credential_id: None,
            unique_token_identifier: None,
        };
        let outcome = self.mint(operation, &request, &mut sign_in).await;
        if let Err(error) = &outcome {
            error.result_type().clone_into(&mut sign_in.result_type);
            sign_in.result_description = Some(shortened(&error.to_string()));
        }
        self.state.audit.append(self.record(sign_in)).await?;
        outcome
    }
}

impl Issuer {
    /// An issuer for the audiences of this keycard, reached at these addresses, each without a final slash.
    pub fn new(
        state: Arc<State>,
        signers: Arc<SigningPool>,
        audiences: Audiences,
        token_services: Vec<String>,
        issuer_keys: Arc<dyn IssuerKeys>,
    ) -> Self {
        let throttles = arc_swap::ArcSwap::default();
        let keys = OpenKeys::default();
        Self { state, signers, audiences, token_services, issuer_keys, keys, throttles }
    }

    /// Sign-ins of managed identities are a category of their own.
    fn record(&self, sign_in: SignIn) -> AuditRecord {
        let snapshot = self.state.snapshot();
        let principal = sign_in.service_principal_id.as_ref().and_then(|id| id.parse().ok());
        let principal = principal.and_then(|id| snapshot.service_principal(id));
        if principal.is_some_and(|principal| principal.identity_resource().is_some()) {
            AuditRecord::ManagedIdentitySignIn(sign_in)
        } else {
            AuditRecord::ApplicationSignIn(sign_in)
        }
    }

    async fn mint(
        &self,
        operation: &OperationContext,
        request: &GrantRequest,
        sign_in: &mut SignIn,
    ) -> Result<GrantedToken, GrantError> {
        self.await_signing_key(request.tenant, operation).await?;
        let snapshot = self.state.snapshot_to_keep();
        let tenant =
            snapshot.tenant(request.tenant).ok_or(GrantError::TenantNotFound(request.tenant))?;
        let audiences = client_assertion::accepted_audiences(&self.token_services, tenant.id);
        let issuer_keys = self.issuer_keys.as_ref();
        let proven = prove(&snapshot, tenant, request, &audiences, issuer_keys, operation).await?;
        sign_in.service_principal_id = Some(proven.principal.id.to_string());
        sign_in.service_principal_credential_thumbprint =
            proven.credential_sha256.map(|sha256| encoding::hex_encode(&sha256));
        sign_in.federated_credential_id = proven.federated_credential.map(|id| id.to_string());
        if self.audiences.service(&request.resource).is_none() {
            return Err(GrantError::ResourceNotFound {
                resource: request.resource.clone(),
                tenant: request.tenant,
            });
        }
        self.throttle(request.tenant, operation)?;
        let record = signing_key::active(&snapshot, tenant.id, operation.now)
            .ok_or(GrantError::SigningUnavailable("the tenant has no signing key"))?;
        let unique_id = self.unique_token_id();
        let token = self.sign(operation, request, tenant, &proven, record, &unique_id).await?;
        sign_in.unique_token_identifier = Some(unique_id);
        Ok(token)
    }

    async fn sign(
        &self,
        operation: &OperationContext,
        request: &GrantRequest,
        tenant: &Tenant,
        proven: &Proven<'_>,
        record: &SigningKeyRecord,
        unique_id: &str,
    ) -> Result<GrantedToken, GrantError> {
        let lifetime = self.state.limits.token_lifetime;
        let claims = claims(Facts {
            principal: proven.principal,
            issuer: tenant.issuer_v1(),
            resource: &request.resource,
            proof: proven.proof,
            origin: proven.origin.as_ref(),
            capabilities: &request.capabilities,
            unique_id,
            now: operation.now,
            lifetime,
        });
        let key_id = &record.key_id;
        let header = Header { typ: "JWT", alg: "RS256", x5t: key_id, kid: key_id };
        let unsigned = jwt::signing_input(&header, &claims)
            .map_err(|_| GrantError::SigningUnavailable("the claims cannot be encoded"))?;
        let key = self
            .keys
            .private(&self.state, record)
            .map_err(|_| GrantError::SigningUnavailable("the signing key cannot be opened"))?;
        let signature =
            self.signers.sign(key, unsigned.clone().into_bytes()).await.map_err(|_| {
                GrantError::SigningUnavailable("too many tokens are waiting to be signed")
            })?;
        Ok(GrantedToken {
            token: Secret::new(jwt::assemble(unsigned, &signature)),
            client_id: proven.principal.client_id,
            resource: request.resource.clone(),
            not_before: claims.nbf,
            expires_on: claims.exp,
            expires_in: lifetime.whole_seconds(),
        })
    }

    /// The first key of a fresh server is made in the background: only the first mint waits for it.
    async fn await_signing_key(
        &self,
        tenant: TenantId,
        operation: &OperationContext,
    ) -> Result<(), GrantError> {
        let mut revisions = self.state.revisions();
        loop {
            {
                let snapshot = self.state.snapshot();
                if snapshot.tenant(tenant).is_none()
                    || signing_key::active(&snapshot, tenant, operation.now).is_some()
                {
                    return Ok(());
                }
            }
            revisions
                .changed()
                .await
                .map_err(|_| GrantError::SigningUnavailable("the tenant has no signing key"))?;
        }
    }

    fn throttle(&self, tenant: TenantId, operation: &OperationContext) -> Result<(), GrantError> {
        let throttle = self.throttles.load().get(&tenant).map(Arc::clone).unwrap_or_else(|| {
            self.throttles.rcu(|known| {
                let mut known = std::collections::BTreeMap::clone(known);
                known.entry(tenant).or_default();
                known
            });
            self.throttles.load().get(&tenant).map(Arc::clone).unwrap_or_default()
        });
        throttle
            .admit(self.state.limits.tenant_mints, operation.now)
            .map_err(|retry_after_seconds| GrantError::Throttled { retry_after_seconds })
    }

    fn unique_token_id(&self) -> String {
        let mut bytes = [0; 16];
        self.state.entropy.fill(&mut bytes);
        encoding::base64url_encode(&bytes)
    }
}

/// What a stranger wrote, as much of it as the record keeps.
fn shortened(text: &str) -> String {
    text.chars().take(limits::AUDITED_CHARS_MAX).collect()
}

/// Finds the client in the tenant and checks its proof.
async fn prove<'a>(
    snapshot: &'a Snapshot,
    tenant: &Tenant,
    request: &GrantRequest,
    assertion_audiences: &[String],
    issuer_keys: &dyn IssuerKeys,
    operation: &OperationContext,
) -> Result<Proven<'a>, GrantError> {
    let not_found =
        || GrantError::ClientNotFound { client_id: request.client_id.clone(), tenant: tenant.id };
    let client_id: ClientId = request.client_id.parse().map_err(|_| not_found())?;
    let principal: &Versioned<ServicePrincipal> = snapshot
        .service_principal_of_client(client_id)
        .filter(|principal| principal.tenant_id == tenant.id && principal.is_enabled)
        .ok_or_else(not_found)?;
    match request.proof.as_ref().ok_or(GrantError::ProofMissing)? {
        ClientProof::Secret(secret) => {
            let check = snapshot
                .application_of_client(client_id)
                .map_or(SecretCheck::Wrong, |application| {
                    application.check_secret(secret, operation.now)
                });
            match check {
                SecretCheck::Valid(_) => Ok(Proven {
                    principal,
                    proof: ProofKind::Secret,
                    credential_sha256: None,
                    federated_credential: None,
                    origin: None,
                }),
                SecretCheck::Expired => Err(GrantError::SecretExpired(client_id)),
                SecretCheck::Wrong => Err(GrantError::SecretWrong(client_id)),
            }
        }
        ClientProof::Assertion(assertion) => {
            if let Some(jwt) = federation::read(snapshot, client_id, assertion.expose()) {
                let now = operation.now;
                let id = federation::verify(snapshot, principal, jwt, issuer_keys, now).await?;
                return Ok(Proven {
                    principal,
                    proof: ProofKind::Certificate,
                    credential_sha256: None,
                    federated_credential: Some(id),
                    origin: None,
                });
            }
            let verified = client_assertion::verify(
                snapshot,
                principal,
                assertion.expose(),
                assertion_audiences,
                operation.now,
            )?;
            Ok(Proven {
                principal,
                proof: ProofKind::Certificate,
                credential_sha256: Some(verified.credential_sha256),
                federated_credential: None,
                origin: verified.origin,
            })
        }
    }
}
