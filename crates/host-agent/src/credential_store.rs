//! The private keys of this host's identity credentials: made here, never leaving here.
//!
//! They live in memory. After a restart each identity is enrolled anew when its first token is asked for. Renewals are
//! made beside: no token request waits for one while the credential that it would replace is good.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use keycard_crypto::encoding;
use keycard_crypto::jwt;
use keycard_crypto::secret::Secret;
use keycard_crypto::signing_key::AssertionKey;
use keycard_domain::clock::Clock;
use keycard_domain::credential::enrolment::{
    Enrolment, EnrolmentError, EnrolmentRequest, IdentityNames, IssuedCredential,
};
use keycard_domain::credential::rotation::{Renewal, renewal};
use keycard_domain::entropy::Entropy;
use keycard_domain::ids::PrincipalId;
use keycard_domain::limits;
use keycard_domain::resource_id::ArmResourceId;
use serde::Serialize;
use tokio::sync::Mutex as AsyncMutex;

/// Why there is no credential to sign with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The key or the request could not be made.
    #[error("a key cannot be made: {0}")]
    KeyUnusable(String),
    /// No certificate was issued.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
}

/// A private key with the certificate that was issued for it.
#[derive(Debug)]
struct HeldCredential {
    key: AssertionKey,
    issued: IssuedCredential,
}

/// Credentials that should have been renewed long ago and could not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unrenewed {
    /// Older than [`limits::CREDENTIAL_WARNING_AGE`].
    pub overdue: usize,
    /// Older than [`limits::CREDENTIAL_ALARM_AGE`], or over.
    pub critical: usize,
}

impl Unrenewed {
    /// Says of a failed renewal what its urgency asks for.
    fn count(&mut self, resource: &ArmResourceId, renewal: Renewal, error: &CredentialError) {
        match renewal {
            Renewal::NotDue | Renewal::Due => {
                tracing::info!(%resource, %error, "a credential is due and was not renewed yet");
            }
            Renewal::Overdue => {
                self.overdue += 1;
                tracing::warn!(%resource, %error, "a credential is overdue and cannot be renewed");
            }
            Renewal::Critical | Renewal::Expired => {
                self.critical += 1;
                tracing::error!(%resource, %error, "a credential is about to end and cannot be renewed");
            }
        }
    }
}

/// One place per identity and resource, so that two requests do not enrol it twice.
type Slot = Arc<AsyncMutex<Option<Arc<HeldCredential>>>>;

/// The credentials of this host.
#[derive(Debug)]
pub struct CredentialStore {
    enrolment: Arc<dyn Enrolment>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    slots: Mutex<HashMap<(ArmResourceId, PrincipalId), Slot>>,
}

#[derive(Serialize)]
struct AssertionHeader<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(rename = "x5t#S256")]
    thumbprint: &'a str,
}

/// Source: RFC 7523, section 3.
#[derive(Serialize)]
struct AssertionClaims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    nbf: i64,
    exp: i64,
}

impl CredentialStore {
    /// An empty store that enrols through this port.
    pub fn new(
        enrolment: Arc<dyn Enrolment>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { enrolment, clock, entropy, slots: Mutex::default() }
    }

    /// A client assertion for the token service at `audience`, signed with the identity's credential on the resource.
    pub async fn assertion(
        &self,
        resource: &ArmResourceId,
        identity: IdentityNames,
        audience: &str,
    ) -> Result<Secret, CredentialError> {
        let credential = self.current(resource, identity).await?;
        let now = self.clock.now().unix_timestamp();
        let client_id = identity.client_id.to_string();
        let thumbprint = encoding::base64url_encode(&credential.issued.sha256);
        let header = AssertionHeader { alg: "ES256", typ: "JWT", thumbprint: &thumbprint };
        let claims = AssertionClaims {
            aud: audience,
            iss: &client_id,
            sub: &client_id,
            jti: self.entropy.uuid().to_string(),
            nbf: now,
            exp: now + limits::ASSERTION_LIFETIME.whole_seconds(),
        };
        let unusable =
            |error: &dyn std::fmt::Display| CredentialError::KeyUnusable(error.to_string());
        let unsigned = jwt::signing_input(&header, &claims).map_err(|error| unusable(&error))?;
        let signature =
            credential.key.sign(unsigned.as_bytes()).map_err(|error| unusable(&error))?;
        Ok(Secret::new(jwt::assemble(unsigned, &signature)))
    }

    /// Forgets the credential of an identity on a resource: it was unassigned, or the server no longer knows it.
    pub fn forget(&self, resource: &ArmResourceId, principal: PrincipalId) {
        self.slots().remove(&(resource.clone(), principal));
    }

    /// Renews the credentials that are due, and counts those that could not be and should have been. One that cannot be
    /// renewed now goes on being used while it is good; the next pass tries again.
    pub async fn renew_due(&self, identities: &[(ArmResourceId, IdentityNames)]) -> Unrenewed {
        let mut unrenewed = Unrenewed::default();
        for (resource, identity) in identities {
            let Some(former) = self.due(resource, identity.principal_id).await else { continue };
            if let Err(error) = self.replace(resource, *identity, &former).await {
                unrenewed.count(resource, self.renewal(&former), &error);
            }
        }
        unrenewed
    }

    /// The held credential of an identity, if it is to be renewed.
    async fn due(
        &self,
        resource: &ArmResourceId,
        principal: PrincipalId,
    ) -> Option<Arc<HeldCredential>> {
        let slot = self.slots().get(&(resource.clone(), principal)).map(Arc::clone)?;
        let held = slot.lock().await.clone()?;
        (self.renewal(&held) >= Renewal::Due).then_some(held)
    }

    /// Enrols the identity anew, and signs with the new credential from then on. Nobody waits for it meanwhile.
    async fn replace(
        &self,
        resource: &ArmResourceId,
        identity: IdentityNames,
        former: &Arc<HeldCredential>,
    ) -> Result<(), CredentialError> {
        let fresh = self.enrol(resource, identity, Some(former.issued.sha256)).await?;
        let slot = self.slot(resource, identity.principal_id);
        let mut held = slot.lock().await;
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, former)) {
            *held = Some(fresh);
        }
        Ok(())
    }

    fn renewal(&self, held: &HeldCredential) -> Renewal {
        renewal(held.issued.not_before, self.clock.now())
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<(ArmResourceId, PrincipalId), Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, resource: &ArmResourceId, principal: PrincipalId) -> Slot {
        Arc::clone(self.slots().entry((resource.clone(), principal)).or_default())
    }

    /// The credential to sign with: the held one while it is good, else a new one.
    async fn current(
        &self,
        resource: &ArmResourceId,
        identity: IdentityNames,
    ) -> Result<Arc<HeldCredential>, CredentialError> {
        let slot = self.slot(resource, identity.principal_id);
        let mut held = slot.lock().await;
        match held.as_ref().filter(|held| self.renewal(held) < Renewal::Expired) {
            Some(good) => Ok(Arc::clone(good)),
            None => Ok(Arc::clone(held.insert(self.enrol(resource, identity, None).await?))),
        }
    }

    async fn enrol(
        &self,
        resource: &ArmResourceId,
        identity: IdentityNames,
        in_use: Option<[u8; 32]>,
    ) -> Result<Arc<HeldCredential>, CredentialError> {
        let unusable =
            |error: &dyn std::fmt::Display| CredentialError::KeyUnusable(error.to_string());
        let key = AssertionKey::generate().map_err(|error| unusable(&error))?;
        let certificate_request = key
            .certificate_request(&identity.client_id.to_string(), &identity.tenant_id.to_string())
            .map_err(|error| unusable(&error))?;
        let request = EnrolmentRequest {
            resource: resource.clone(),
            principal_id: identity.principal_id,
            certificate_request,
            in_use,
        };
        let issued = self.enrolment.enrol(request).await?;
        Ok(Arc::new(HeldCredential { key, issued }))
    }
}
