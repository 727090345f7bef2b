//! Tokens for this host's workloads: from the cache, or from the token service with a signed client assertion.
//!
//! The cache is keyed by (resource, identity, audience) and refreshed at half of a token's life. What the change feed
//! shows to be gone is dropped at once. One request per key is under way at a time; the others wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use keycard_domain::compute::{ComputeResource, PowerState};
use keycard_domain::credential::enrolment::{EnrolmentError, IdentityNames};
use keycard_domain::directory::{ServicePrincipal, lookup};
use keycard_domain::ids::PrincipalId;
use keycard_domain::limits;
use keycard_domain::operation::{Caller, OperationContext};
use keycard_domain::resource_id::ArmResourceId;
use keycard_domain::token::grant::{
    ClientProof, GrantError, GrantRequest, GrantedToken, TokenService,
};
use keycard_domain::token::source::{
    AccessToken, Freshness, Reuse, TokenError, TokenRequest, TokenSource,
};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use crate::credential_store::{CredentialError, CredentialStore};

/// What a host knows of its resources and their identities.
pub trait HostView: std::fmt::Debug + Send + Sync + 'static {
    /// The resource, if it exists.
    fn resource(&self, id: &ArmResourceId) -> Option<Arc<ComputeResource>>;

    /// The live principal behind an identity; a broken reference has none.
    fn principal(&self, id: PrincipalId) -> Option<Arc<ServicePrincipal>>;

    /// All resources of this host.
    fn resources(&self) -> Vec<Arc<ComputeResource>>;

    /// Where the tenant's token service is, for the audience of assertions.
    fn token_endpoint(&self, principal: &ServicePrincipal) -> String;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CacheKey {
    resource: ArmResourceId,
    principal: PrincipalId,
    audience: String,
}

/// One place per key: the lock makes one request at a time, the rest find its token.
type Slot = Arc<AsyncMutex<Option<AccessToken>>>;

/// The token source of this host.
#[derive(Debug)]
pub struct HostTokenSource {
    view: Arc<dyn HostView>,
    service: Arc<dyn TokenService>,
    credentials: Arc<CredentialStore>,
    cache: Mutex<HashMap<CacheKey, Slot>>,
}

/// Tokens kept for one resource; an application asks for a handful of audiences.
const TOKENS_PER_RESOURCE_MAX: usize = 64;

impl HostTokenSource {
    /// A source that asks this service, with these credentials.
    pub fn new(
        view: Arc<dyn HostView>,
        service: Arc<dyn TokenService>,
        credentials: Arc<CredentialStore>,
    ) -> Self {
        Self { view, service, credentials, cache: Mutex::default() }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<CacheKey, Slot>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, key: &CacheKey) -> Slot {
        let mut cache = self.cache();
        if let Some(slot) = cache.get(key) {
            return Arc::clone(slot);
        }
        let of_resource = cache.keys().filter(|other| other.resource == key.resource).count();
        if of_resource >= TOKENS_PER_RESOURCE_MAX {
            cache.retain(|other, _| other.resource != key.resource);
        }
        Arc::clone(cache.entry(key.clone()).or_default())
    }

    /// Drops what can no longer be given: to be called whenever the resources or principals have changed.
    pub fn drop_stale(&self) {
        let mut gone = Vec::new();
        self.cache().retain(|key, slot| {
            let keeps = self.may_still_give(key);
            if !keeps {
                gone.push((key.clone(), Arc::clone(slot)));
            }
            keeps
        });
        for (key, slot) in gone {
            // A slot that is locked is being filled by a request that checks for itself; its token is not kept.
            if let Ok(held) = slot.try_lock()
                && let Some(token) = held.as_ref()
            {
                token.reuse.withdraw();
            }
            self.credentials.forget(&key.resource, key.principal);
        }
    }

    fn may_still_give(&self, key: &CacheKey) -> bool {
        self.view.resource(&key.resource).is_some_and(|resource| {
            resource.power_state == PowerState::Running
                && resource.identity.principals().any(|principal| principal == key.principal)
        }) && self.view.principal(key.principal).is_some()
    }

    async fn fetch(
        &self,
        operation: &OperationContext,
        resource: &ArmResourceId,
        principal: &ServicePrincipal,
        audience: &str,
    ) -> Result<AccessToken, TokenError> {
        let first = self.request(operation, resource, principal, audience).await;
        match first {
            // The server does not know this credential (it was restored, say): enrol anew, once.
            Err(TokenError::Refused(GrantError::AssertionKeyUnknown(_))) => {
                self.credentials.forget(resource, principal.id);
                self.request(operation, resource, principal, audience).await
            }
            other => other,
        }
    }

    async fn request(
        &self,
        operation: &OperationContext,
        resource: &ArmResourceId,
        principal: &ServicePrincipal,
        audience: &str,
    ) -> Result<AccessToken, TokenError> {
        let identity = IdentityNames {
            tenant_id: principal.tenant_id,
            principal_id: principal.id,
            client_id: principal.client_id,
        };
        let endpoint = self.view.token_endpoint(principal);
        let assertion = self
            .credentials
            .assertion(resource, identity, &endpoint)
            .await
            .map_err(|error| unavailable(&error))?;
        let request = GrantRequest {
            tenant: principal.tenant_id,
            client_id: principal.client_id.to_string(),
            proof: Some(ClientProof::Assertion(assertion)),
            resource: audience.to_owned(),
            capabilities: Vec::new(),
        };
        let granted = timeout(limits::GRANT_TIME_MAX, self.service.grant(operation, request)).await;
        let granted = granted
            .unwrap_or(Err(GrantError::SigningUnavailable("the token was not granted in time")))?;
        Ok(access_token(granted, operation.now.unix_timestamp()))
    }
}

fn unavailable(error: &CredentialError) -> TokenError {
    match error {
        CredentialError::Enrolment(EnrolmentError::IdentityNotFound) => {
            TokenError::IdentityNotFound
        }
        CredentialError::Enrolment(_) | CredentialError::KeyUnusable(_) => {
            TokenError::Unavailable { reason: error.to_string(), retry_after_seconds: 1 }
        }
    }
}

fn access_token(granted: GrantedToken, now: i64) -> AccessToken {
    AccessToken {
        token: granted.token,
        resource: granted.resource,
        client_id: granted.client_id,
        expires_on: granted.expires_on,
        not_before: granted.not_before,
        reuse: Reuse::until(now + (granted.expires_on - now) / 2),
    }
}

#[async_trait]
impl TokenSource for HostTokenSource {
    async fn acquire(
        &self,
        operation: &OperationContext,
        request: TokenRequest,
    ) -> Result<AccessToken, TokenError> {
        let Caller::Workload(id) = &operation.caller else {
            return Err(TokenError::IdentityNotFound);
        };
        let resource = self.view.resource(id).ok_or(TokenError::IdentityNotFound)?;
        if resource.power_state != PowerState::Running {
            return Err(TokenError::NotRunning);
        }
        let found = lookup::find(&resource, &request.selector, request.default_rule)?;
        let principal =
            self.view.principal(found.principal_id).ok_or(TokenError::IdentityNotFound)?;
        let key = CacheKey {
            resource: resource.id.clone(),
            principal: principal.id,
            audience: request.resource.clone(),
        };
        let slot = self.slot(&key);
        let mut held = slot.lock().await;
        let now = operation.now.unix_timestamp();
        let cached = held.as_ref().filter(|_| request.freshness == Freshness::Cached);
        if let Some(token) = cached.filter(|token| token.reuse.is_good_at(now)) {
            return Ok(token.clone());
        }
        match self.fetch(operation, &resource.id, &principal, &request.resource).await {
            Ok(token) => {
                if let Some(former) = held.replace(token.clone()) {
                    former.reuse.withdraw();
                }
                Ok(token)
            }
            Err(error) => self.fall_back(&mut held, &key, now, error),
        }
    }
}

impl HostTokenSource {
    /// A token past half of its life is still good while a newer one cannot be had; a refusal ends it.
    fn fall_back(
        &self,
        held: &mut Option<AccessToken>,
        key: &CacheKey,
        now: i64,
        error: TokenError,
    ) -> Result<AccessToken, TokenError> {
        let is_passing = matches!(
            error,
            TokenError::Unavailable { .. }
                | TokenError::Refused(
                    GrantError::SigningUnavailable(_)
                        | GrantError::Audit(_)
                        | GrantError::Throttled { .. }
                )
        );
        let usable =
            held.as_ref().filter(|token| token.expires_on > now && !token.reuse.is_withdrawn());
        match usable {
            Some(token) if is_passing && self.may_still_give(key) => Ok(token.clone()),
            _ => {
                // A failure is never kept as an answer, and an unknown audience leaves nothing behind.
                if held.is_none() {
                    self.cache().remove(key);
                }
                Err(error)
            }
        }
    }
}
