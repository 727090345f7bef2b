//! Tokens for this host's workloads: from the cache, or from the token service with a signed client assertion.
//!
//! A kept token is given at once; from half of its life on, it is refreshed beside that. What the change feed shows to be
//! gone is dropped at once.

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
    AccessToken, Licence, Reuse, TokenError, TokenRequest, TokenSource,
};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::credential_store::{CredentialError, CredentialStore};
use crate::token_cache::{Slot, TokenCache, Turn, Wanted};

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

/// The token source of this host; a clone is the same one.
#[derive(Clone, Debug)]
pub struct HostTokenSource {
    view: Arc<dyn HostView>,
    service: Arc<dyn TokenService>,
    credentials: Arc<CredentialStore>,
    /// One per assignment that tokens were asked for. Whatever was given under it ends with it, wherever it is kept.
    licences: Arc<Mutex<HashMap<Assignment, (Licence, Since)>>>,
    cache: Arc<TokenCache>,
    refreshes: Arc<Semaphore>,
}

/// A token that is to be had from the token service.
#[derive(Debug)]
struct Errand {
    operation: OperationContext,
    resource: ArmResourceId,
    principal: Arc<ServicePrincipal>,
    wanted: Wanted,
    since: Since,
    licence: Licence,
}

impl HostTokenSource {
    /// A source that asks this service, with these credentials.
    pub fn new(
        view: Arc<dyn HostView>,
        service: Arc<dyn TokenService>,
        credentials: Arc<CredentialStore>,
    ) -> Self {
        let refreshes = Arc::new(Semaphore::new(limits::REFRESHES_AT_ONCE_MAX));
        let (licences, cache) = (Arc::default(), Arc::default());
        Self { view, service, credentials, licences, cache, refreshes }
    }

    fn licences(&self) -> MutexGuard<'_, HashMap<Assignment, (Licence, Since)>> {
        self.licences.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.cache.clear();
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
            self.cache.drop_identity(&resource, principal);
            self.credentials.forget(&resource, principal);
        }
        self.cache.retain(|resource| self.view.workload(resource).is_some());
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

    /// Gets a token while its slot's turn is held. What was taken away while it was on its way is not given out any more.
    async fn fetch(
        &self,
        errand: &Errand,
        slot: &Slot,
        turn: Turn,
    ) -> Result<AccessToken, TokenError> {
        let granted = self.request_enrolled(errand).await;
        let since = self.given_since(&(errand.resource.clone(), errand.principal.id));
        let now = errand.operation.now.unix_timestamp();
        let fetched = if since != Some(errand.since) || errand.licence.is_withdrawn() {
            errand.licence.withdraw();
            Err(since.map_or(TokenError::IdentityNotFound, |_| overtaken()))
        } else {
            granted.map(|granted| access_token(granted, now, errand.licence.clone()))
        };
        slot.settle(fetched, now, turn)
    }

    /// Refreshes a kept token while it is being given, unless that is being done or many others are.
    fn refresh_beside(&self, errand: Errand, slot: Arc<Slot>) {
        let permit = Arc::clone(&self.refreshes).try_acquire_owned();
        let (Ok(permit), Some(turn)) = (permit, slot.free_turn()) else { return };
        let source = self.clone();
        tokio::spawn(async move {
            // How it went is kept in the slot.
            let _ = source.fetch(&errand, &slot, turn).await;
            drop(permit);
        });
    }

    async fn request_enrolled(&self, errand: &Errand) -> Result<GrantedToken, TokenError> {
        match self.request(errand).await {
            // The server does not know this credential (it was restored, say): enrol anew, once.
            Err(TokenError::Refused(GrantError::AssertionKeyUnknown(_))) => {
                self.credentials.forget(&errand.resource, errand.principal.id);
                self.request(errand).await
            }
            other => other,
        }
    }

    async fn request(&self, errand: &Errand) -> Result<GrantedToken, TokenError> {
        let Errand { operation, resource, principal, wanted, .. } = errand;
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
            resource: wanted.audience.clone(),
            capabilities: wanted.capabilities.clone(),
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
        let TokenRequest { resource: audience, freshness, capabilities, .. } = request;
        let wanted = Wanted { principal: principal.id, audience, capabilities };
        let slot = self.cache.slot(&assignment.0, &wanted);
        let (operation, resource) = (operation.clone(), assignment.0);
        let now = operation.now.unix_timestamp();
        let errand = Errand { operation, resource, principal, wanted, since, licence };
        if let Some(token) = slot.token(freshness, now) {
            if token.reuse.refresh_at <= now {
                self.refresh_beside(errand, slot);
            }
            return Ok(token);
        }
        let turn = slot.turn().await?;
        match slot.token(freshness, now) {
            Some(token) => Ok(token),
            None => self.fetch(&errand, &slot, turn).await,
        }
    }
}
