//! The port in which every local token endpoint ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use keycard_crypto::secret::Secret;

use super::grant::GrantError;
use crate::directory::lookup::DefaultRule;
use crate::fault::EndpointFault;
use crate::ids::{ClientId, PrincipalId};
use crate::operation::OperationContext;
use crate::resource_id::ArmResourceId;

/// Which of the resource's identities is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// None is named.
    Default,
    /// By client id.
    ClientId(ClientId),
    /// By object id.
    PrincipalId(PrincipalId),
    /// By resource id.
    ResourceId(ArmResourceId),
}

/// Whether a cached token will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A cached token will do.
    Cached,
    /// A new one is wanted.
    New,
    /// Any but the one with this SHA-256: it was rejected where it was shown.
    Unlike([u8; 32]),
}

/// What a workload asks its local endpoint for.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// What the token is for, exactly as the workload wrote it.
    pub resource: String,
    /// Which identity.
    pub selector: Selector,
    /// What no selector means at this endpoint.
    pub default_rule: DefaultRule,
    /// Whether a cached token will do.
    pub freshness: Freshness,
    /// Client capabilities to be put into the token as `xms_cc`.
    pub capabilities: Vec<String>,
}

/// Whether something may still be given; shared by all that was given under it, and withdrawn for all at once.
#[derive(Clone, Debug, Default)]
pub struct Licence(Arc<AtomicBool>);

impl Licence {
    /// Ends it, everywhere and for good.
    pub fn withdraw(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has ended.
    pub fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Until when, and as long as what, the same token may be given again without asking.
#[derive(Clone, Debug, Default)]
pub struct Reuse {
    /// Unix seconds: from then on a newer token is to be had.
    pub refresh_at: i64,
    /// Of the identity on the resource: ends when one is taken from the other, or the resource is switched off.
    identity: Licence,
    /// Of this very token: ends when a newer one takes its place.
    token: Licence,
}

impl Reuse {
    /// A token that may be given again until `refresh_at`, Unix seconds, while the identity may be given.
    pub fn until(refresh_at: i64, identity: Licence) -> Self {
        Self { refresh_at, identity, token: Licence::default() }
    }

    /// Ends the reuse of this token.
    pub fn withdraw(&self) {
        self.token.withdraw();
    }

    /// Whether the token may be given at this moment, Unix seconds.
    pub fn is_good_at(&self, now: i64) -> bool {
        now < self.refresh_at && !self.is_withdrawn()
    }

    /// Whether the reuse has ended before its time.
    pub fn is_withdrawn(&self) -> bool {
        self.token.is_withdrawn() || self.identity.is_withdrawn()
    }
}

/// A token and what an endpoint tells about it.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The JWT.
    pub token: Secret,
    /// What it is for: the claim `aud`.
    pub resource: String,
    /// The identity's client id.
    pub client_id: ClientId,
    /// Unix seconds: the claim `exp`.
    pub expires_on: i64,
    /// Unix seconds: the claim `nbf`.
    pub not_before: i64,
    /// How long the same answer may be given again.
    pub reuse: Reuse,
}

impl AccessToken {
    /// Whether it has not expired at this moment, Unix seconds, and may still be given.
    pub fn is_usable_at(&self, now: i64) -> bool {
        now < self.expires_on && !self.reuse.is_withdrawn()
    }
}

/// Why a workload gets no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The resource has no such identity, or none at all, or the identity was deleted.
    #[error("the identity is not found")]
    IdentityNotFound,
    /// Several could be meant.
    #[error("several user-assigned identities exist and none is named")]
    SeveralIdentities,
    /// The resource does not run.
    #[error("the resource is stopped or deallocated")]
    NotRunning,
    /// The token service refused.
    #[error(transparent)]
    Refused(#[from] GrantError),
    /// No credential could be had, or the token service is out of reach.
    #[error("no token can be had now: {reason}")]
    Unavailable {
        /// For the log.
        reason: String,
        /// When to try again.
        retry_after_seconds: u32,
    },
    /// A fault was set on the workload.
    #[error(transparent)]
    Fault(EndpointFault),
}

/// Gives tokens to the workloads of compute resources.
#[async_trait]
pub trait TokenSource: std::fmt::Debug + Send + Sync + 'static {
    /// A token for the workload that the operation names.
    async fn acquire(
        &self,
        operation: &OperationContext,
        request: TokenRequest,
    ) -> Result<AccessToken, TokenError>;
}
