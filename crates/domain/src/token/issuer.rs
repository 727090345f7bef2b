//! The issuer: find the client, check its proof, make the claims, sign, record. The one way to mint a token.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use keycard_crypto::encoding;
use keycard_crypto::jwt::{self, UnverifiedJwt};
use keycard_crypto::secret::Secret;
use keycard_crypto::signing_pool::SigningPool;
use serde::Serialize;
use time::Duration;

use super::audience::{Audiences, Target};
use super::claims::{Facts, GroupClaims, ProofKind, claims};
use super::client_assertion::{self, RegisteredKey, VerifiedAssertion};
use super::federation::{self, IssuerKeys, Mismatch};
use super::grant::{
    ClientProof, GrantError, GrantRequest, GrantedToken, RefusedRequest, TokenService,
};
use super::replay::{Use, UsedAssertions};
use super::signing_key::{self, OpenKeys};
use super::throttle::FairThrottle;
use crate::audit::{AuditRecord, SignIn};
use crate::credential::key_binding::{self, VerifiedCertificate};
use crate::directory::application::{SecretCheck, TokenVersion};
use crate::directory::federated_credential::FederatedCredential;
use crate::directory::group::{self, Reach};
use crate::directory::{ServicePrincipal, Tenant, app_role_assignment, policy};
use crate::ids::{ClientId, KeyId, TenantId};
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
    addresses: Addresses,
    issuer_keys: Arc<dyn IssuerKeys>,
    keys: OpenKeys,
    of_tenants: ArcSwap<BTreeMap<TenantId, Arc<OfTenant>>>,
}

/// What is counted and remembered for each tenant by itself, so that none can use up what another needs.
#[derive(Debug, Default)]
struct OfTenant {
    throttle: FairThrottle,
    used: UsedAssertions,
}

/// Where the faces are that tokens and assertions name, each without a final slash.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// The token service, under each of its names.
    pub token_services: Vec<String>,
    /// Microsoft Graph.
    pub graph: String,
}

/// A client that proved itself.
struct Proven<'a> {
    principal: &'a ServicePrincipal,
    credential: Credential,
}

/// The credential with which a client proved itself.
enum Credential {
    /// A client secret.
    Secret(KeyId),
    /// A certificate, with an assertion that is good once.
    Certificate(VerifiedAssertion),
    /// A certificate whose key the client proved to hold on its connection. The token is bound to it.
    Bound(VerifiedCertificate),
    /// A federated credential. The issuer's token is good as often as its issuer lets it be: workloads read it from a
    /// file and present it for each resource, and after each restart.
    Federated(Arc<FederatedCredential>),
}

impl Credential {
    const fn proof_kind(&self) -> ProofKind {
        match self {
            Self::Secret(_) => ProofKind::Secret,
            Self::Certificate(_) | Self::Bound(_) | Self::Federated(_) => ProofKind::Certificate,
        }
    }

    /// What an assertion was verified by has to be there still.
    fn check_held(
        &self,
        snapshot: &Snapshot,
        principal: &ServicePrincipal,
        operation: &OperationContext,
    ) -> Result<(), GrantError> {
        match self {
            Self::Bound(bound) => bound
                .check(snapshot, principal, operation.now)
                .map_err(GrantError::CertificateRefused),
            Self::Federated(credential) if !federation::is_held(snapshot, credential) => {
                let presented = credential.trust.issuer.clone();
                Err(GrantError::FederationMismatch { mismatch: Mismatch::Issuer, presented })
            }
            Self::Secret(_) | Self::Certificate(_) | Self::Federated(_) => Ok(()),
        }
    }

    /// What the token is bound to: SHA-256 of a certificate.
    const fn confirmation(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Bound(bound) => Some(&bound.sha256),
            Self::Secret(_) | Self::Certificate(_) | Self::Federated(_) => None,
        }
    }

    /// The resource whose host signed the assertion, or on which the certificate was issued.
    const fn origin(&self) -> Option<&ArmResourceId> {
        match self {
            Self::Certificate(assertion) => assertion.credential.origin.as_ref(),
            Self::Bound(bound) => Some(&bound.resource),
            Self::Secret(_) | Self::Federated(_) => None,
        }
    }
}

/// What a token is made of, once it is clear that it may be made.
struct Draft<'a> {
    snapshot: &'a Snapshot,
    request: &'a GrantRequest,
    tenant: &'a Tenant,
    proven: Proven<'a>,
    target: Target<'a>,
    /// What the client was given at the resource.
    roles: Vec<String>,
}

/// The header of a token; v2 tokens name their key once.
#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    x5t: Option<&'a str>,
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
            tenant_id: request.tenant.to_string(),
            app_id: shortened(&request.client_id),
            resource_identity: shortened(&request.resource),
            ..SignIn::of(operation)
        };
        let outcome = self.mint(operation, &request, &mut sign_in).await;
        if let Err(error) = &outcome {
            error.result_type().clone_into(&mut sign_in.result_type);
            sign_in.result_description = Some(shortened(&error.to_string()));
        }
        self.state.audit.append(self.record(sign_in)).await?;
        outcome
    }

    async fn note_refusal(
        &self,
        operation: &OperationContext,
        refused: RefusedRequest,
    ) -> Result<(), GrantError> {
        let sign_in = SignIn {
            tenant_id: shortened(&refused.tenant),
            app_id: shortened(&refused.client_id),
            resource_identity: shortened(&refused.resource),
            result_type: refused.result_type,
            result_description: Some(shortened(&refused.description)),
            ..SignIn::of(operation)
        };
        Ok(self.state.audit.append(AuditRecord::ApplicationSignIn(sign_in)).await?)
    }
}

impl Issuer {
    /// An issuer for the audiences of this keycard.
    pub fn new(
        state: Arc<State>,
        signers: Arc<SigningPool>,
        audiences: Audiences,
        addresses: Addresses,
        issuer_keys: Arc<dyn IssuerKeys>,
    ) -> Self {
        Self {
            state,
            signers,
            audiences,
            addresses,
            issuer_keys,
            keys: OpenKeys::default(),
            of_tenants: ArcSwap::default(),
        }
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
        let not_found = || GrantError::TenantNotFound(request.tenant);
        snapshot.tenant(request.tenant).ok_or_else(not_found)?;
        let credential = self.prove(&snapshot, request, operation).await?;
        // An issuer may have been asked meanwhile: what went since gives no token.
        let snapshot = self.state.snapshot_to_keep();
        let tenant = snapshot.tenant(request.tenant).ok_or_else(not_found)?;
        let principal = client(&snapshot, tenant.id, &request.client_id)?;
        credential.check_held(&snapshot, principal, operation)?;
        if let Some(retry_after_seconds) = principal.issues_again_in(operation.now) {
            return Err(GrantError::Throttled { retry_after_seconds });
        }
        let proven = Proven { principal, credential };
        note_client(sign_in, &proven);
        let target = Target::named(&self.audiences, &snapshot, tenant.id, &request.resource)
            .ok_or_else(|| GrantError::ResourceNotFound {
                resource: request.resource.clone(),
                tenant: request.tenant,
            })?;
        note_target(sign_in, &target);
        let roles = roles(&snapshot, &proven, &target, request)?;
        let draft = Draft { snapshot: &snapshot, request, tenant, proven, target, roles };
        let own = self.of_tenant(tenant.id);
        let first_use = first_use(&own.used, &draft, operation)?;
        let unique_id = self.unique_token_id();
        let signed = match self.throttle(&own.throttle, &draft, operation) {
            Ok(()) => self.sign(operation, &draft, &unique_id).await,
            Err(error) => Err(error),
        };
        let signed = signed.and_then(|token| {
            // The token may have waited for a signing thread: who went meanwhile gets none.
            let present = self.state.snapshot();
            let principal = client(&present, request.tenant, &request.client_id)?;
            draft.proven.credential.check_held(&present, principal, operation)?;
            Ok(token)
        });
        match (&signed, first_use) {
            (Ok(_), _) => sign_in.unique_token_identifier = Some(unique_id),
            // It led to no token: the client may present it again.
            (Err(_), Some(unused)) => own.used.take_back(unused),
            (Err(_), None) => {}
        }
        signed
    }

    async fn sign(
        &self,
        operation: &OperationContext,
        draft: &Draft<'_>,
        unique_id: &str,
    ) -> Result<GrantedToken, GrantError> {
        let Draft { snapshot, request, tenant, proven, target, roles } = draft;
        let unavailable = |why| move || GrantError::SigningUnavailable(why);
        let record = signing_key::active(snapshot, tenant.id, operation.now)
            .ok_or_else(unavailable("the tenant has no signing key"))?;
        let issuer = tenant.issuers.first().ok_or_else(unavailable("the tenant has no issuer"))?;
        let lifetime = self.lifetime(snapshot, proven.principal);
        let (version, audience) = (target.token_version(), target.audience(&request.resource));
        let groups = self.groups(snapshot, proven.principal, target);
        let claims = claims(Facts {
            principal: proven.principal,
            issuer,
            version,
            audience: &audience,
            proof: proven.credential.proof_kind(),
            origin: proven.credential.origin(),
            confirmation: proven.credential.confirmation(),
            capabilities: &request.capabilities,
            roles,
            groups: &groups,
            mapped: mapped(snapshot, target),
            unique_id,
            now: operation.now,
            lifetime,
        });
        let key_id = &record.key_id;
        let x5t = (version == TokenVersion::V1).then_some(key_id.as_str());
        let header = Header { typ: "JWT", alg: "RS256", x5t, kid: key_id };
        let unsigned = jwt::signing_input(&header, &claims)
            .map_err(|_| unavailable("the claims cannot be encoded")())?;
        let key = self
            .keys
            .private(&self.state, tenant.id, record)
            .map_err(|_| unavailable("the signing key cannot be opened")())?;
        let signature = self
            .signers
            .sign(key, unsigned.clone().into_bytes())
            .await
            .map_err(|_| unavailable("too many tokens are waiting to be signed")())?;
        Ok(GrantedToken {
            token: Secret::new(jwt::assemble(unsigned, &signature)),
            client_id: proven.principal.client_id,
            resource: request.resource.clone(),
            not_before: claims.nbf,
            expires_on: claims.exp,
            expires_in: lifetime.whole_seconds(),
            is_bound: proven.credential.confirmation().is_some(),
        })
    }

    /// How long a token of the principal lives: as a policy says, else as the profile does.
    fn lifetime(&self, snapshot: &Snapshot, principal: &ServicePrincipal) -> Duration {
        let limits = &self.state.limits;
        let is_managed = principal.identity_resource().is_some();
        let policy = policy::access_token_lifetime(snapshot, principal)
            .filter(|_| !is_managed || limits.policies_hold_for_managed_identities);
        policy.unwrap_or_else(|| {
            if is_managed {
                return limits.token_lifetime;
            }
            let (least, greatest) = limits.application_token_lifetime;
            let spread = (greatest - least).whole_seconds();
            let mut drawn = [0; 2];
            if spread > 0 {
                self.state.entropy.fill(&mut drawn);
            }
            least + Duration::seconds(spread * i64::from(u16::from_be_bytes(drawn)) / 65_536)
        })
    }

    /// The groups of the principal, as they are now, where the resource wants to know them.
    fn groups(
        &self,
        snapshot: &Snapshot,
        principal: &ServicePrincipal,
        target: &Target<'_>,
    ) -> GroupClaims {
        let Target::Application { application, .. } = target else { return GroupClaims::None };
        if !application.wants_group_claims {
            return GroupClaims::None;
        }
        let (tenant, id) = (principal.tenant_id, principal.id);
        let groups = group::groups_of(snapshot, tenant, id, Reach::Transitive);
        let graph = &self.addresses.graph;
        GroupClaims::of(groups.iter().map(group::DirectoryObject::id).collect(), || {
            format!("{graph}/v1.0/servicePrincipals/{id}/getMemberObjects")
        })
    }

    /// The first key of a fresh tenant is made in the background: only the first mint waits for it.
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

    fn of_tenant(&self, tenant: TenantId) -> Arc<OfTenant> {
        if let Some(known) = self.of_tenants.load().get(&tenant) {
            return Arc::clone(known);
        }
        self.of_tenants.rcu(|known| {
            let mut known = BTreeMap::clone(known);
            known.entry(tenant).or_default();
            known
        });
        self.of_tenants.load().get(&tenant).map(Arc::clone).unwrap_or_default()
    }

    fn throttle(
        &self,
        throttle: &FairThrottle,
        draft: &Draft<'_>,
        operation: &OperationContext,
    ) -> Result<(), GrantError> {
        let client = draft.proven.principal.client_id;
        throttle
            .admit(client, self.state.limits.tenant_mints, operation.now)
            .map_err(|retry_after_seconds| GrantError::Throttled { retry_after_seconds })
    }

    fn unique_token_id(&self) -> String {
        let mut bytes = [0; 16];
        self.state.entropy.fill(&mut bytes);
        encoding::base64url_encode(&bytes)
    }

    /// Finds the client in the tenant and checks its proof.
    async fn prove(
        &self,
        snapshot: &Snapshot,
        request: &GrantRequest,
        operation: &OperationContext,
    ) -> Result<Credential, GrantError> {
        let principal = client(snapshot, request.tenant, &request.client_id)?;
        match request.proof.as_ref().ok_or(GrantError::ProofMissing)? {
            ClientProof::Secret(secret) => {
                check_secret(snapshot, principal.client_id, secret, operation)
                    .map(Credential::Secret)
            }
            ClientProof::Certificate(der) => {
                let tenant = snapshot.tenant(request.tenant);
                let tenant = tenant.ok_or(GrantError::TenantNotFound(request.tenant))?;
                key_binding::verify(snapshot, tenant, principal, der, operation.now)
                    .map(Credential::Bound)
                    .map_err(GrantError::CertificateRefused)
            }
            ClientProof::Assertion(assertion) => {
                self.check_assertion(snapshot, principal, assertion.expose(), operation).await
            }
        }
    }

    async fn check_assertion(
        &self,
        snapshot: &Snapshot,
        principal: &ServicePrincipal,
        assertion: &str,
        operation: &OperationContext,
    ) -> Result<Credential, GrantError> {
        let now = operation.now;
        let jwt = UnverifiedJwt::parse(assertion.trim(), limits::JWT_BYTES_MAX)
            .map_err(|_| GrantError::AssertionMalformed("not a JWT"))?;
        if federation::is_meant(snapshot, principal.client_id, &jwt) {
            let (limits, keys) = (&self.state.limits, self.issuer_keys.as_ref());
            return federation::verify(limits, snapshot, principal, jwt, keys, now)
                .await
                .map(Credential::Federated);
        }
        let token_services = &self.addresses.token_services;
        client_assertion::verify(snapshot, principal, jwt, token_services, now)
            .map(Credential::Certificate)
    }
}

/// What a stranger wrote, as much of it as the record keeps.
fn shortened(text: &str) -> String {
    text.chars().take(limits::AUDITED_CHARS_MAX).collect()
}

/// The living principal of the client that a request names.
fn client<'a>(
    snapshot: &'a Snapshot,
    tenant: TenantId,
    client_id: &str,
) -> Result<&'a Versioned<ServicePrincipal>, GrantError> {
    let found = client_id.parse().ok().and_then(|id| snapshot.service_principal_of_client(id));
    found
        .filter(|principal| principal.tenant_id == tenant && principal.is_enabled)
        .ok_or_else(|| GrantError::ClientNotFound { client_id: client_id.to_owned(), tenant })
}

fn check_secret(
    snapshot: &Snapshot,
    client_id: ClientId,
    secret: &Secret,
    operation: &OperationContext,
) -> Result<KeyId, GrantError> {
    let application = snapshot.application_of_client(client_id);
    match application.map_or(SecretCheck::Wrong, |it| it.check_secret(secret, operation.now)) {
        SecretCheck::Valid(key_id) => Ok(key_id),
        SecretCheck::Expired => Err(GrantError::SecretExpired(client_id)),
        SecretCheck::Wrong => Err(GrantError::SecretWrong(client_id)),
    }
}

/// The roles that the client was given at the resource, as they are now.
fn roles(
    snapshot: &Snapshot,
    proven: &Proven<'_>,
    target: &Target<'_>,
    request: &GrantRequest,
) -> Result<Vec<String>, GrantError> {
    let Target::Application { principal: resource, .. } = target else { return Ok(Vec::new()) };
    let (tenant, client) = (resource.tenant_id, proven.principal);
    if resource.requires_assignment
        && !app_role_assignment::is_assigned(snapshot, tenant, client.id, resource.id)
    {
        return Err(GrantError::AssignmentRequired {
            client_id: client.client_id,
            resource: request.resource.clone(),
        });
    }
    Ok(app_role_assignment::role_values(snapshot, tenant, client.id, resource.id))
}

/// What a policy of the resource adds to tokens for it.
fn mapped<'a>(snapshot: &'a Snapshot, target: &Target<'_>) -> &'a [policy::MappedClaim] {
    match target {
        Target::Service(_) => &[],
        Target::Application { principal, .. } => policy::mapped_claims(snapshot, principal),
    }
}

/// Notes the use of an assertion, which is good once for each thing that tokens are for, however the client names it, and
/// once more with capabilities.
fn first_use(
    used: &UsedAssertions,
    draft: &Draft<'_>,
    operation: &OperationContext,
) -> Result<Option<Use>, GrantError> {
    let Credential::Certificate(assertion) = &draft.proven.credential else { return Ok(None) };
    let client = draft.proven.principal.client_id.to_string();
    let mut purpose = vec![draft.target.name()];
    purpose.extend(draft.request.capabilities.iter().cloned());
    let this = Use::new(&client, &assertion.name, &purpose, assertion.ends_at);
    if used.note(this, operation.now.unix_timestamp()) {
        Ok(Some(this))
    } else {
        Err(GrantError::AssertionReplayed)
    }
}

fn note_client(sign_in: &mut SignIn, Proven { principal, credential }: &Proven<'_>) {
    sign_in.service_principal_id = Some(principal.id.to_string());
    sign_in.service_principal_name = Some(principal.display_name.clone());
    sign_in.origin_resource_id = credential.origin().map(ToString::to_string);
    match credential {
        Credential::Secret(id) => {
            sign_in.service_principal_credential_key_id = Some(id.to_string());
        }
        Credential::Certificate(assertion) => {
            let RegisteredKey { key_id, sha256, .. } = &assertion.credential;
            sign_in.service_principal_credential_key_id = Some(key_id.to_string());
            sign_in.service_principal_credential_thumbprint = Some(encoding::hex_encode(sha256));
        }
        Credential::Bound(bound) => {
            sign_in.service_principal_credential_thumbprint =
                Some(encoding::hex_encode(&bound.sha256));
        }
        Credential::Federated(credential) => {
            sign_in.federated_credential_id = Some(credential.id.to_string());
        }
    }
}

fn note_target(sign_in: &mut SignIn, target: &Target<'_>) {
    match target {
        Target::Service(service) => {
            sign_in.resource_display_name = Some(service.display_name().to_owned());
        }
        Target::Application { application, principal } => {
            sign_in.resource_display_name = Some(application.display_name.clone());
            sign_in.resource_service_principal_id = Some(principal.id.to_string());
        }
    }
}
