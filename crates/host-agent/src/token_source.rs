//! Tokens for this host's workloads: from the cache, or from the token service with a signed client assertion.
//!
//! The cache is keyed by (resource, identity, audience) and refreshed at half of a token's life. What the change feed
//! shows to be gone is dropped at once. One request per key is under way at a time; the others wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use keycard_domain::compute::{PowerState, Workload};
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
    AccessToken, Freshness, Licence, Reuse, TokenError, TokenRequest, TokenSource,
};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use crate::credential_store::{CredentialError, CredentialStore};

/// What a host knows of its resources and their identities.
pub trait HostView: std::fmt::Debug + Send + Sync + 'static {
    /// The workload with this resource id, if it exists.
    fn workload(&self, id: &ArmResourceId) -> Option<Workload>;

    /// The live principal behind an identity; a broken reference has none.
    fn principal(&self, id: PrincipalId) -> Option<Arc<ServicePrincipal>>;

    /// All workloads of this host.
    fn workloads(&self) -> Vec<Workload>;

    /// Where the tenant's token service is, for the audience of assertions.
    fn token_endpoint(&self, principal: &ServicePrincipal) -> String;
}

/// One place per identity and audience: the lock makes one request at a time, the rest find its token.
type Slot = Arc<AsyncMutex<Option<AccessToken>>>;

/// The tokens of one resource, by identity and audience.
type Slots = HashMap<(PrincipalId, String), Slot>;

/// An identity on a resource.
type Assignment = (ArmResourceId, PrincipalId);

/// What a licence holds for: it ends when either is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Since {
    /// When the identity was assigned, Unix seconds; zero for the resource's own.
    assigned_at: i64,
    /// When all tokens that it had were revoked last.
    revoked_at: Option<i64>,
}

/// The token source of this host.
#[derive(Debug)]
pub struct HostTokenSource {
    view: Arc<dyn HostView>,
    service: Arc<dyn TokenService>,
    credentials: Arc<CredentialStore>,
    /// One per assignment that tokens were asked for. Whatever was given under it ends with it, wherever it is kept.
    licences: Mutex<HashMap<Assignment, (Licence, Since)>>,
    cache: Mutex<HashMap<ArmResourceId, Slots>>,
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
        Self { view, service, credentials, licences: Mutex::default(), cache: Mutex::default() }
    }

    fn cache(&self) -> MutexGuard<'_, HashMap<ArmResourceId, Slots>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn licences(&self) -> MutexGuard<'_, HashMap<Assignment, (Licence, Since)>> {
        self.licences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, (resource, principal): &Assignment, audience: &str) -> Slot {
        let mut cache = self.cache();
        let slots = cache.entry(resource.clone()).or_default();
        let key = (*principal, audience.to_owned());
        if slots.len() >= TOKENS_PER_RESOURCE_MAX && !slots.contains_key(&key) {
            slots.clear();
        }
        Arc::clone(slots.entry(key).or_default())
    }

    /// The licence of an assignment. Taken before the assignment is looked at for the last time: a change after that
    /// finds it here and withdraws it.
    fn licence(&self, assignment: &Assignment, since: Since) -> Licence {
        let mut licences = self.licences();
        let (licence, of) =
            licences.entry(assignment.clone()).or_insert_with(|| (Licence::default(), since));
        if *of != since {
            licence.withdraw();
            (*licence, *of) = (Licence::default(), since);
        }
        licence.clone()
    }

    /// Ends all tokens that are kept: a key that signed some of them was withdrawn.
    pub fn drop_all(&self) {
        self.licences().retain(|_, (licence, _)| {
            licence.withdraw();
            false
        });
        self.cache().clear();
    }

    /// Ends what can no longer be given: to be called whenever the resources or principals have changed.
    pub fn drop_stale(&self) {
        let mut gone = Vec::new();
        self.licences().retain(|assignment, (licence, since)| {
            let keeps = self.given_since(assignment) == Some(*since);
            if !keeps {
                licence.withdraw();
                gone.push(assignment.clone());
            }
            keeps
        });
        for (resource, principal) in gone {
            if let Some(slots) = self.cache().get_mut(&resource) {
                slots.retain(|(of, _), _| *of != principal);
            }
            self.credentials.forget(&resource, principal);
        }
        self.cache().retain(|resource, _| self.view.workload(resource).is_some());
    }

    /// Since when tokens of a living identity may be given on a running resource; `None` when none may be.
    fn given_since(&self, (resource, principal): &Assignment) -> Option<Since> {
        let workload = self.view.workload(resource)?;
        let revoked_at = self.view.principal(*principal)?.tokens_valid_from;
        if workload.power_state != PowerState::Running {
            return None;
        }
        let identity = &workload.bearer.identity;
        let own = identity.system_assigned.as_ref().filter(|own| own.principal_id == *principal);
        let assigned = identity.user_assigned.iter().find(|of| of.principal_id == *principal);
        let assigned_at = own.map(|_| 0).or_else(|| assigned.map(|it| it.assigned_at))?;
        Some(Since { assigned_at, revoked_at })
    }

    async fn fetch(
        &self,
        operation: &OperationContext,
        resource: &ArmResourceId,
        principal: &ServicePrincipal,
        audience: &str,
    ) -> Result<GrantedToken, TokenError> {
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
    ) -> Result<GrantedToken, TokenError> {
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
        let late = GrantError::SigningUnavailable("the token was not granted in time");
        Ok(granted.unwrap_or(Err(late))?)
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

/// The identity is there, and what was fetched for it counts no more: the next request gets a token that does.
fn overtaken() -> TokenError {
    let reason = "the identity's tokens were revoked while one was fetched".to_owned();
    TokenError::Unavailable { reason, retry_after_seconds: 1 }
}

fn access_token(granted: GrantedToken, now: i64, licence: Licence) -> AccessToken {
    AccessToken {
        token: granted.token,
        resource: granted.resource,
        client_id: granted.client_id,
        expires_on: granted.expires_on,
        not_before: granted.not_before,
        reuse: Reuse::until(now + (granted.expires_on - now) / 2, licence),
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
        let workload = self.view.workload(id).ok_or(TokenError::IdentityNotFound)?;
        if workload.power_state != PowerState::Running {
            return Err(TokenError::NotRunning);
        }
        let found = lookup::find(&workload.bearer, &request.selector, request.default_rule)?;
        let principal =
            self.view.principal(found.principal_id).ok_or(TokenError::IdentityNotFound)?;
        let assignment = (workload.id, principal.id);
        let since = self.given_since(&assignment).ok_or(TokenError::IdentityNotFound)?;
        let licence = self.licence(&assignment, since);
        let slot = self.slot(&assignment, &request.resource);
        let mut held = slot.lock().await;
        let now = operation.now.unix_timestamp();
        let cached = held.as_ref().filter(|_| request.freshness == Freshness::Cached);
        if let Some(token) = cached.filter(|token| token.reuse.is_good_at(now)) {
            return Ok(token.clone());
        }
        let fetched = self.fetch(operation, &assignment.0, &principal, &request.resource).await;
        // What was taken away while the token was on its way is not given out any more.
        let now_since = self.given_since(&assignment);
        if now_since != Some(since) || licence.is_withdrawn() {
            licence.withdraw();
            return Err(now_since.map_or(TokenError::IdentityNotFound, |_| overtaken()));
        }
        match fetched {
            Ok(granted) => {
                let token = access_token(granted, now, licence);
                if let Some(former) = held.replace(token.clone()) {
                    former.reuse.withdraw();
                }
                Ok(token)
            }
            Err(error) => fall_back(&mut held, now, error),
        }
    }
}

/// A token past half of its life is still good while a newer one cannot be had; a refusal ends it. A failure is never
/// kept as an answer.
fn fall_back(
    held: &mut Option<AccessToken>,
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
    let is_usable = |token: &&AccessToken| token.expires_on > now && !token.reuse.is_withdrawn();
    if let Some(token) = held.as_ref().filter(is_usable).filter(|_| is_passing) {
        return Ok(token.clone());
    }
    if let Some(former) = held.take() {
        former.reuse.withdraw();
    }
    Err(error)
}
